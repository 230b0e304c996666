package admin

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// onEtcd returns a Corefile as that of the site, with the zone on an etcd at that address.
func (s *site) onEtcd(address string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		s.t.Fatal(err)
	}
	return writeFile(s.t, strings.Replace(string(text), "database "+filepath.Join(s.dir, "db"),
		"etcd http://"+address+"\n\t\tetcd_server ns1\n\t\tcontrol "+filepath.Join(s.dir, "none.sock"), 1))
}

// TestEtcdIsOutOfReach: where no server runs and no member of etcd answers, whether it refuses connections or says nothing, commands end
// with what is wrong and the fix.
func TestEtcdIsOutOfReach(t *testing.T) {
	s := newSite(t, "")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	master := writeFile(t, "@ 60 SOA ns1 host 1 900 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n")
	database := s.conf
	s.command("", "load", "example.test", master)
	const zone, fix = "etcd is out of reach", "Fix: see that a majority of etcd's members run, and that this machine reaches one: coredns gsstsig check"
	var commands sync.WaitGroup // all at once: each waits for some seconds
	for member, address := range map[string]string{"refuses": "127.0.0.1:9", "is silent": silent.Addr().String()} {
		conf := s.onEtcd(address)
		for _, test := range []struct {
			args  string
			words []string
		}{
			{"dump example.test", []string{zone, fix}},
			{"show example.test", []string{"not running: reading etcd http://" + address, zone, fix}},
			{"changes example.test", []string{"not running: reading etcd", zone, fix}},
			{"stale example.test", []string{"not running: reading etcd", zone, fix}},
			{"may bob@EXAMPLE.TEST a.example.test A 192.0.2.1", []string{zone, fix}},
			{"own a.example.test bob@EXAMPLE.TEST", []string{"not running: changing etcd", zone, fix}},
			{"release a.example.test", []string{"not running: changing etcd", zone, fix}},
			{"update example.test", []string{"not running: changing etcd", zone, fix}},
			{"freeze example.test", []string{"not running: changing etcd", zone, fix}},
			{"thaw example.test", []string{"not running: changing etcd", zone, fix}},
			{"load example.test " + master, []string{zone, fix}},
			{"restored example.test", []string{zone, fix}},
			{"migrate example.test -to " + database, []string{zone, fix}},
			{"status", []string{"the server is not running", "Fix: start the server"}},
			{"contexts", []string{"the server is not running", "Fix: start the server"}},
			{"check", []string{"the member does not answer", "Fix: start it, or correct its URL", "SERVFAIL until etcd answers", "Fix: start a majority of the members", "plain text"}},
		} {
			commands.Go(func() {
				var out bytes.Buffer
				status := Run("gsstsigctl", append(strings.Fields(test.args), "-conf", conf), Streams{In: strings.NewReader("update add a.example.test 60 A 192.0.2.1\n"), Out: &out, Err: &out})
				if status != ExitNo {
					t.Errorf("%s, where a member %s: exit status %d", test.args, member, status)
				}
				for _, w := range test.words {
					if !strings.Contains(out.String(), w) {
						t.Errorf("%s, where a member %s: no %q in\n%s", test.args, member, w, &out)
					}
				}
			})
		}
	}
	commands.Wait()
}

// TestCheckSkipsDamagedZones: a zone that cannot be read on etcd is not said to keep the server from starting.
func TestCheckSkipsDamagedZones(t *testing.T) {
	servers, err := corefile.ReadFile(newSite(t, "").onEtcd("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := service.Open(servers[0].Block)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{ctx: t.Context(), damaged: []string{"example.test."}}
	if c.zones(s, nil); len(c.findings) > 0 {
		t.Errorf("%v", c.findings)
	}
}

// TestMigrateToEtcdOutOfReach: the zone goes on at the running server.
func TestMigrateToEtcdOutOfReach(t *testing.T) {
	s := newSite(t, "")
	s.start()
	status, _, errs := s.command("", "migrate", "example.test", "-to", s.onEtcd("127.0.0.1:9"))
	if status != ExitNo || !strings.Contains(errs, "etcd is out of reach") || !strings.Contains(errs, "Fix: see that a majority") {
		t.Errorf("exit status %d:\n%s", status, errs)
	}
	if out := s.must("", "status"); strings.Contains(out, "frozen") {
		t.Errorf("the zone is frozen:\n%s", out)
	}
}

// TestMigrateMemory: a zone in memory is neither a source nor a target, and the messages say what is possible.
func TestMigrateMemory(t *testing.T) {
	s := newSite(t, "")
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	memory := writeFile(t, strings.Replace(string(text), "database "+filepath.Join(s.dir, "db"), "", 1))
	for _, test := range []struct{ from, to, fix string }{
		{memory, s.conf, `Fix: transfer it from the running server by "coredns gsstsig load -conf ` + s.conf + ` example.test. axfr://SERVER"`},
		{s.conf, memory, `Fix: add "database DIR" to the gsstsig block`},
	} {
		var out bytes.Buffer
		if status := Run("gsstsigctl", []string{"migrate", "example.test", "-conf", test.from, "-to", test.to}, Streams{Out: &out, Err: &out}); status != ExitNo ||
			!strings.Contains(out.String(), "zone example.test. has no database, it is in memory only. "+test.fix) || strings.Count(out.String(), "Fix:") != 1 {
			t.Errorf("exit status %d:\n%s", status, &out)
		}
	}
}

// TestMigrateAgainAfterKill: a migrate that was killed has left the zone frozen, and a database without a zone. The next one goes on.
func TestMigrateAgainAfterKill(t *testing.T) {
	s := newSite(t, "")
	s.start()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(s.dir, "other")
	to := writeFile(t, strings.Replace(string(text), "database "+filepath.Join(s.dir, "db"), "database "+other, 1))
	s.must("", "freeze", "example.test")
	left := disk.Path(other, "example.test.")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(left, disk.Options{Origin: "example.test."})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	s.must("", "migrate", "example.test", "-to", to)
	before := s.must("", "dump", "example.test")
	var after bytes.Buffer
	if status := Run("gsstsigctl", []string{"dump", "example.test", "-conf", to}, Streams{Out: &after, Err: &after}); status != ExitOK || after.String() != before {
		t.Errorf("exit status %d:\n%s\nand before\n%s", status, &after, before)
	}
}
