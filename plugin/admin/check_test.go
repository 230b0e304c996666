package admin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
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
			[]string{"error   zone example.test.", "dc1.example.test", "Server not found in Kerberos database", "mend: name ns1.example.test in the zone's SOA"}},
		"another primary of the reverse zone": {write(t, "\t\tfile "+writeFile(t, "$TTL 300\n@ SOA dc1.example.test. h.example.test. 1 900 600 86400 300\n@ NS dc1.example.test.\n")+" 2.0.192.in-addr.arpa"), ExitNo,
			[]string{"ok      zone example.test.", "error   zone 2.0.192.in-addr.arpa.", "dc1.example.test", "Server not found in Kerberos database"}},
		"another name server": {seed("@ SOA ns1 h 1 900 600 86400 300\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n"), ExitOK,
			[]string{"warning zone example.test.", "ns2.example.test", "net ads dns"}},
		"no address":             {seed("@ SOA ns1 h 1 900 600 86400 300\n@ NS ns1\n"), ExitOK, []string{"warning zone example.test.", "has no address"}},
		"realm in small letters": {write(t, "\t\trealm example.test"), ExitNo, []string{"error   realm", "EXAMPLE.TEST", "case counts"}},
		"no block":               {writeFile(t, ". {\n\twhoami\n}\n"), ExitNo, []string{"no server block has gsstsig", "-conf"}},
		"no usable key": {write(t, "\t\tenctypes aes256-cts-hmac-sha384-192"), ExitNo,
			[]string{"error   keytab", "no client gets in", "TKEY is unacceptable", "mend: give the principal AES keys"}},
		"bad seed":  {seed("@ NS ns1\n"), ExitNo, []string{"error   zone example.test.", "SOA"}},
		"bad block": {write(t, "\t\tupdates maybe"), ExitNo, []string{":5", "maybe"}},
		"no file":   {"/nonexistent/Corefile", ExitNo, []string{"/nonexistent/Corefile"}},
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

// TestCheckSample: the Corefile that comes with the binary.
func TestCheckSample(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join("..", "..", "coredns-build", "Corefile"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("/etc/coredns/dns.keytab", keytabOf(t, write(t, "")), "/var/lib/coredns", t.TempDir(),
		"corp.example.com", "example.test").Replace(string(sample))
	status, out, errs := run(t, "check", "-offline", "-conf", writeFile(t, text))
	if status != ExitOK || !strings.Contains(out, "ok      zone example.test.") || strings.Contains(out, "error") {
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
	var findings []finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || status != ExitOK {
		t.Fatalf("exit status %d: %v\n%s", status, err, out)
	}
	if len(findings) == 0 || findings[0].Level != levelWarning || !strings.Contains(findings[0].Text, "chmod 600") {
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
		level  string
		says   string
	}{
		"held":            {ticketKey{3, 18}, levelOK, "version 3"},
		"newer":           {ticketKey{4, 18}, levelError, "but the keytab holds version 3"},
		"of another type": {ticketKey{3, 20}, levelError, "no key of that type"},
	} {
		f := compareKeys("test", service, test.ticket, keys)
		if f.Level != test.level || !strings.Contains(f.Text, test.says) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
