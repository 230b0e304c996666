package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// TestCheckOffline: what Corefile, keytab and zones tell by themselves.
func TestCheckOffline(t *testing.T) {
	seed := func(text string) string {
		return write(t, "\t\tfile "+writeFile(t, "$TTL 300\n"+text)+" example.test")
	}
	tests := map[string]struct {
		conf   string
		status int
		says   []string
	}{
		"all is well": {write(t, ""), ExitOK, []string{"ok      zone example.test.", "DNS/ns1.example.test@EXAMPLE.TEST version 3"}},
		"another primary": {seed("@ SOA dc1.example.test. h.example.test. 1 900 600 86400 300\n@ NS ns1\nns1 A 192.0.2.1\ndc1 A 192.0.2.2\n"), ExitNo,
			[]string{"error   zone example.test.", "dc1.example.test", "Server not found in Kerberos database", "        Fix: name ns1.example.test in the zone's SOA"}},
		"another primary of the reverse zone": {write(t, "\t\tfile "+writeFile(t, "$TTL 300\n@ SOA dc1.example.test. h.example.test. 1 900 600 86400 300\n@ NS dc1.example.test.\n")+" 2.0.192.in-addr.arpa"), ExitNo,
			[]string{"ok      zone example.test.", "error   zone 2.0.192.in-addr.arpa.", "dc1.example.test", "Server not found in Kerberos database"}},
		"another name server": {seed("@ SOA ns1 h 1 900 600 86400 300\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n"), ExitOK,
			[]string{"warning zone example.test.", "ns2.example.test", "net ads dns"}},
		"no address":             {seed("@ SOA ns1 h 1 900 600 86400 300\n@ NS ns1\n"), ExitOK, []string{"warning zone example.test.", "has no address"}},
		"realm in small letters": {write(t, "\t\trealm example.test"), ExitNo, []string{"error   realm", "EXAMPLE.TEST", "the case of realms matters"}},
		"no block":               {writeFile(t, ". {\n\twhoami\n}\n"), ExitNo, []string{"error   ", "no server block has gsstsig", "        Fix: name the Corefile of the server by -conf"}},
		"no usable key": {write(t, "\t\tenctypes aes256-cts-hmac-sha384-192"), ExitNo,
			[]string{"error   keytab", "accepts no client", "        Clients show: \"TKEY is unacceptable\"", "        Fix: give the principal AES keys"}},
		"bad seed": {seed("@ NS ns1\n"), ExitNo, []string{"error   zone example.test.: the server does not start: ", "SOA"}},
		"several errors of a seed": {seed("@ SOA ns1 h 1 900 600 86400 300\n@ NS ns1\nns1 A 192.0.2\nexample.org. A 192.0.2.1\n"), ExitNo,
			[]string{":4: A: ", ":5: example.org.: record is not in the zone example.test.\n        Fix: "}},
		"signed seed": {seed("@ SOA ns1 h 1 900 600 86400 300\n@ NS ns1\nns1 A 192.0.2.1\nns1 NSEC @ A\n@ NSEC ns1 NS SOA\n"), ExitOK,
			[]string{"warning zone example.test.: ", ": 2 records of a signed zone (RRSIG, ", "        Fix: sign it as it is served, by CoreDNS's plugin dnssec"}},
		"seed without TTL": {write(t, "\t\tfile "+writeFile(t, "@ SOA ns1 h 1 900 600 86400 300\n@ NS ns1\nns1 A 192.0.2.1\n")+" example.test"), ExitOK,
			[]string{"warning zone example.test.: ", ":1: there is no TTL", "        Fix: begin the file with $TTL"}},
		"backup as seed": {seed("@ SOA ns1 h 1 900 600 86400 300\n@ NS ns1\nns1 A 192.0.2.1\n;gsstsig: owner ns1.example.test. a@B\n"), ExitOK,
			[]string{"warning zone example.test.: ", "owners of names", "coredns gsstsig load"}},
		"bad block": {write(t, "\t\tupdates maybe"), ExitNo, []string{":5", "maybe"}},
		"in memory": {write(t, ""), ExitOK, []string{"warning zone example.test.: it has no database", "warning zone 2.0.192.in-addr.arpa.: it has no database", "Fix: add \"database DIR\""}},
		"a first rule": {write(t, "\t\tgrant EXAMPLE.TEST ms-self . A"), ExitOK,
			[]string{"ok      rules: ", `replace the default rule, "grant EXAMPLE.TEST owner ."`}},
		"a rule type": {write(t, "\t\tgrant EXAMPLE.TEST ms-itself . A"), ExitNo, []string{"ms-self, ", "the server does not start"}},
		"no variable": {write(t, "\t\tlimit queue {$GSSTSIG_TEST_QUEUE}"), ExitNo,
			[]string{":5: the environment variable GSSTSIG_TEST_QUEUE is not set here", "Fix: set it"}},
		"no file": {"/nonexistent/Corefile", ExitNo, []string{"/nonexistent/Corefile"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, out, err := run(t, "check", "-offline", "-conf", test.conf)
			if status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			for _, words := range test.says {
				if !strings.Contains(out+err, words) {
					t.Errorf("%q is not in:\n%s%s", words, out, err)
				}
			}
		})
	}
}

// TestCheckCommandLine: what is wrong with the command line is not taken for the state of the server.
func TestCheckCommandLine(t *testing.T) {
	conf := write(t, "")
	empty := writeFile(t, "")
	for _, test := range []struct {
		args   string
		status int
		says   string
	}{
		{"-p x", ExitUsage, "-p x: must be a port"},
		{"-p 0", ExitUsage, "-p 0: must be a port"},
		{"-p 70000", ExitUsage, "must be a port"},
		{"-server ns1", ExitUsage, "-server ns1: must be HOST:PORT"},
		{"-server :53", ExitUsage, "must be HOST:PORT"},
		{"stray", ExitUsage, "takes no arguments"},
		{"-krb5conf /nonexistent/krb5.conf", ExitNo, "error   -krb5conf: krb5.conf: open /nonexistent/krb5.conf: no such file or directory\n        Fix: "},
		{"-ccache /nonexistent/ccache", ExitNo, "error   -ccache: stat /nonexistent/ccache: no such file or directory\n        Fix: "},
		{"-ccache " + empty, ExitNo, "error   -ccache: "},
		{"-offline -krb5conf /nonexistent/krb5.conf", ExitOK, "ok "},
	} {
		t.Setenv("KRB5_CONFIG", writeFile(t, "[libdefaults]\n default_realm = EXAMPLE.TEST\n"))
		status, out, errs := run(t, append([]string{"check", "-conf", conf, "-p", freePort(t)}, strings.Fields(test.args)...)...)
		if status != test.status || !strings.Contains(out+errs, test.says) {
			t.Errorf("%s: exit status %d, %q is not in:\n%s%s", test.args, status, test.says, out, errs)
		}
	}
}

// TestCheckComparesDatabases: check says if the server that answers on the port has other databases than the Corefile.
func TestCheckComparesDatabases(t *testing.T) {
	s := newSite(t, "")
	s.start()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5_CONFIG", "/nonexistent")
	database := filepath.Join(s.dir, "db")
	other := "database " + filepath.Join(s.dir, "other")
	for _, test := range []struct{ with, says string }{
		{"database " + database, "and has the databases of this Corefile"},
		{"database " + s.dir + "/./db", "and has the databases of this Corefile"},
		{other, "warning control socket " + filepath.Join(s.dir, "other", "control.sock") + ": a server answers for example.test., but not on this socket"},
		{other + "\n\t\tcontrol " + database + "/control.sock", "warning zone example.test.: this Corefile has it in the database " + s.dir + "/other/example.test, the running server (process "},
		{"control " + database + "/control.sock", "warning zone example.test.: this Corefile has it in memory, the running server"},
	} {
		conf := writeFile(t, strings.Replace(string(text), "database "+database, test.with, 1))
		if _, out, errs := run(t, "check", "-conf", conf); !strings.Contains(out, test.says) {
			t.Errorf("%s: %q is not in:\n%s%s", test.with, test.says, out, errs)
		}
	}
}

// TestPlaces: check tells a zone on etcd from one in memory or in a database.
func TestPlaces(t *testing.T) {
	onEtcd := corefile.Block{Etcd: corefile.Etcd{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: "/gsstsig/"}}
	for _, test := range []struct {
		block corefile.Block
		says  string
	}{
		{corefile.Block{}, "in memory"},
		{corefile.Block{Database: "/var/lib/coredns"}, "in the database /var/lib/coredns/example.test"},
		{onEtcd, "on etcd http://127.0.0.1:2379 prefix /gsstsig/"},
	} {
		p := placeOf(&test.block, "example.test.")
		if p.String() != test.says || !p.same(p) {
			t.Errorf("the zone is %q, want %q", p, test.says)
		}
		if other := placeOf(&corefile.Block{Database: "/other"}, "example.test."); p.same(other) || other.same(p) {
			t.Errorf("%v is taken for %v", p, other)
		}
	}
}

// TestCheckSample: the Corefile that comes with the binary is durable and has nothing to warn of.
func TestCheckSample(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join("..", "..", "coredns-build", "Corefile"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("/etc/coredns/dns.keytab", keytabOf(t, write(t, "")), "/var/lib/coredns", t.TempDir(),
		"corp.example.com", "example.test").Replace(string(sample))
	status, out, errs := run(t, "check", "-offline", "-conf", writeFile(t, text))
	if status != ExitOK || !strings.Contains(out, "ok      zone example.test.") || strings.Contains(out, "error") || strings.Contains(out, "warning") || strings.Contains(text, "\n    log\n") {
		t.Errorf("exit status %d:\n%s%s", status, out, errs)
	}
}

// TestCheckDamagedZone: the server starts with a damaged zone, but does not serve it.
func TestCheckDamagedZone(t *testing.T) {
	directory := t.TempDir()
	for _, zone := range []string{"example.test", "2.0.192.in-addr.arpa"} {
		if status, _, err := run(t, "load", "-database", directory, zone, writeFile(t, "@ 300 SOA ns1.example.test. h.example.test. 1 2 3 4 5\n@ 300 NS ns1.example.test.\n")); status != ExitOK {
			t.Fatal(err)
		}
	}
	tables, err := filepath.Glob(filepath.Join(directory, "example.test", "*", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v, %v", tables, err)
	}
	for _, table := range tables {
		if err := os.WriteFile(table, []byte("damage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, out, errs := run(t, "check", "-offline", "-conf", write(t, "\t\tdatabase "+directory))
	for _, words := range []string{"error   zone example.test.: ", "database damaged", "SERVFAIL, and serves the others", "then reload the Corefile", "ok      zone 2.0.192.in-addr.arpa."} {
		if status == ExitOK || !strings.Contains(out+errs, words) {
			t.Errorf("exit status %d, %q is not in:\n%s%s", status, words, out, errs)
		}
	}
}

// TestCheckEmptyDatabase: where a start ended before its first commit, the next one fills the database, so that nothing is wrong.
func TestCheckEmptyDatabase(t *testing.T) {
	directory := t.TempDir()
	d, err := disk.Open(filepath.Join(directory, "example.test"), disk.Options{Origin: "example.test."})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	status, out, errs := run(t, "check", "-offline", "-conf", write(t, "\t\tdatabase "+directory))
	if status != ExitOK || !strings.Contains(out, "ok      zone example.test.: serial 1, ") {
		t.Errorf("exit status %d:\n%s%s", status, out, errs)
	}
}

// TestCheckOutput: for programs, and for those who mistype.
func TestCheckOutput(t *testing.T) {
	conf := write(t, "")
	if err := os.Chmod(keytabOf(t, conf), 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, _ := run(t, "check", "-offline", "-conf", conf, "-o", "json")
	var findings []diagnose.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || status != ExitOK {
		t.Fatalf("exit status %d: %v\n%s", status, err, out)
	}
	if !slices.ContainsFunc(findings, func(f diagnose.Finding) bool {
		return f.Severity == diagnose.Warning && strings.HasPrefix(f.Subject, "keytab ") && strings.Contains(f.Fix, "chmod 600")
	}) {
		t.Errorf("a keytab for everybody to read: %+v", findings)
	}
	for _, args := range [][]string{{"-o", "xml"}, {"more"}, {"-nonsense"}} {
		if status, _, err := run(t, append([]string{"check"}, args...)...); status != ExitUsage || !strings.Contains(err, "usage:") {
			t.Errorf("%v: exit status %d: %s", args, status, err)
		}
	}
}

// keytabOf finds the keytab that a Corefile names.
func keytabOf(t *testing.T, conf string) string {
	t.Helper()
	content, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if file, ok := strings.CutPrefix(strings.TrimSpace(line), "keytab "); ok {
			return filepath.Clean(file)
		}
	}
	t.Fatal("no keytab")
	return ""
}

// TestCompareKeys: the key of the KDC's ticket against those of the keytab.
func TestCompareKeys(t *testing.T) {
	service := krb5.Principal{Components: []string{"DNS", "ns1.example.test"}, Realm: "EXAMPLE.TEST"}
	keys := []krb5.KeyInfo{
		{Principal: krb5.Principal{Components: []string{"dns", "NS1.example.test"}, Realm: "EXAMPLE.TEST"}, KVNO: 3, Enctype: 18},
		{Principal: krb5.Principal{Components: []string{"DNS", "ns1.example.test"}, Realm: "OTHER.TEST"}, KVNO: 4, Enctype: 18},
	}
	for name, test := range map[string]struct {
		ticket ticketKey
		want   diagnose.Severity
		says   string
	}{
		"held":            {ticketKey{3, 18}, diagnose.OK, "version 3"},
		"newer":           {ticketKey{4, 18}, diagnose.Error, "but the keytab has only version 3"},
		"of another type": {ticketKey{3, 20}, diagnose.Error, "no key of that type"},
	} {
		f := compareKeys("test", service, test.ticket, keys)
		if f.Severity != test.want || !strings.Contains(f.Problem, test.says) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestCheckDatabase: a database is examined whether a server has it open or not, and not changed.
func TestCheckDatabase(t *testing.T) {
	directory := t.TempDir()
	conf := write(t, "\t\tdatabase "+directory)
	if status, out, errs := run(t, "load", "-conf", conf, "example.test", writeFile(t, master)); status != ExitOK {
		t.Fatal(out, errs)
	}
	check := func(what string) {
		t.Helper()
		status, out, errs := run(t, "check", "-offline", "-conf", conf)
		if status != ExitOK || !strings.Contains(out, "ok      zone example.test.: serial ") {
			t.Errorf("%s: exit status %d:\n%s%s", what, status, out, errs)
		}
	}
	// changed names the files that were written or made since then. A server removes old files when it comes to it.
	changed := func(before map[string]string) (paths []string) {
		t.Helper()
		for path, state := range filesOf(t, directory) {
			if before[path] != state {
				paths = append(paths, path)
			}
		}
		return paths
	}
	before := filesOf(t, directory)
	check("stopped")
	if paths := changed(before); len(paths) != 0 || len(filesOf(t, directory)) != len(before) {
		t.Errorf("check changed the database: %q; files %v, before %v", paths, filesOf(t, directory), before)
	}
	served, err := disk.Open(disk.Path(directory, "example.test."), disk.Options{Origin: "example.test."})
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	before = filesOf(t, directory)
	check("served")
	if paths := changed(before); len(paths) != 0 {
		t.Errorf("check changed the database of a server: %q", paths)
	}
}

// filesOf has the size and the time of each file below a directory by its path.
func filesOf(t *testing.T, directory string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	if err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed by a server
		}
		if err != nil {
			return err
		}
		files[path] = fmt.Sprint(info.Size(), info.ModTime())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDefaultKrb5conf: a krb5.conf that cannot be read is an error if the command line names it; the default one may be missing.
func TestDefaultKrb5conf(t *testing.T) {
	k := newKDCs(filepath.Join(t.TempDir(), "krb5.conf"), "")
	for _, named := range []bool{false, true} {
		if findings := k.fileFindings(named); (len(findings) > 0) != named {
			t.Errorf("named %t: %v", named, findings)
		}
	}
}
