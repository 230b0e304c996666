package gsstsig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var durableCorefile = strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\tdatabase {DIR}/zones", 1)

// TestDatabase: records, ownership and serial are there after a restart, and a reload keeps the database open.
func TestDatabase(t *testing.T) {
	s := start(t, durableCorefile)
	host := s.context("host/client1.example.test")
	want(t, "update", s.signed(host, message(t, "example.test.", "+www.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	if err := s.reload(durableCorefile + "# again\n"); err != nil {
		t.Fatal(err)
	}
	want(t, "after a reload", s.signed(host, message(t, "example.test.", "+www.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)

	// A zone that joins the block finds the others open.
	if err := s.reload(strings.Replace(durableCorefile, "example.test:{PORT} ", "example.test:{PORT} more.test:{PORT} ", 1)); err != nil {
		t.Fatal(err)
	}
	want(t, "a zone more", s.signed(host, message(t, "more.test.", "+www.more.test. 300 A 192.0.2.3")), dns.RcodeSuccess)
	want(t, "and the one before", s.signed(host, message(t, "example.test.", "+www.example.test. 300 A 192.0.2.3")), dns.RcodeSuccess)

	s.stop()
	s.restart(durableCorefile)
	want(t, "records", strings.Count(s.lookup("www.example.test.", dns.TypeA), " A "), 3)
	if !strings.Contains(s.lookup("example.test.", dns.TypeSOA), " 4 900 ") {
		t.Errorf("serial: %s", s.lookup("example.test.", dns.TypeSOA))
	}
	stranger := s.context("host/client2.example.test")
	want(t, "ownership", s.signed(stranger, message(t, "example.test.", "+www.example.test. 300 A 192.0.2.9")), dns.RcodeRefused)

	info, err := os.Stat(filepath.Join(s.directory, "zones", "example.test"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "mode", info.Mode().Perm(), 0o700)
}

// TestDatabaseMoves: a reload does not move a zone that is being served.
func TestDatabaseMoves(t *testing.T) {
	s := start(t, smallCorefile)
	err := s.reload(durableCorefile)
	if err == nil || !strings.Contains(err.Error(), "this takes a restart") {
		t.Errorf("from memory to a database by a reload: %v", err)
	}
	want(t, "still served", s.lookup("example.test.", dns.TypeNS), "example.test. 3600 IN NS ns1.example.test.")
	s.stop()
	s.restart(durableCorefile)
	err = s.reload(smallCorefile)
	if err == nil || !strings.Contains(err.Error(), "this takes a restart") {
		t.Errorf("from a database to memory by a reload: %v", err)
	}
}

// TestSeedIsReadOnce: the database is the truth; a seed that changes, or comes later, is reported.
func TestSeedIsReadOnce(t *testing.T) {
	s := start(t, smallCorefile) // for the directory
	seed := write(t, "db.example.test", exampleZone)
	corefile := strings.Replace(durableCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\tfile "+seed+" example.test", 1)
	s.stop()
	s.restart(corefile)
	want(t, "from the seed", s.lookup("fixed.example.test.", dns.TypeA), "fixed.example.test. 300 IN A 192.0.2.99")
	s.stop()

	if err := os.WriteFile(seed, []byte(exampleZone+"late A 192.0.2.98\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := len(logged.lines("has changed since the database", seed))
	s.restart(corefile)
	want(t, "not merged", s.lookup("late.example.test.", dns.TypeA), "")
	want(t, "reported", len(logged.lines("has changed since the database", seed))-before, 1)
	if err := s.reload(corefile + "# again\n"); err != nil {
		t.Fatal(err)
	}
	want(t, "reported at a reload", len(logged.lines("has changed since the database", seed))-before, 2)
	s.stop()

	if err := os.Remove(seed); err != nil {
		t.Fatal(err)
	}
	s.restart(corefile)
	want(t, "without the seed", s.lookup("fixed.example.test.", dns.TypeA), "fixed.example.test. 300 IN A 192.0.2.99")
	s.stop()

	later := write(t, "db.reverse", "$TTL 300\n@ SOA ns1.example.test. hostmaster.example.test. 7 900 600 86400 300\n@ NS ns1.example.test.\n")
	s.restart(strings.Replace(durableCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\tfile "+later+" 2.0.192.in-addr.arpa", 1))
	want(t, "a seed that comes later", len(logged.lines("is not read", later)), 1)
}

// TestDamagedDatabase: a start ends with what to do; nothing falls back to the seed.
func TestDamagedDatabase(t *testing.T) {
	s := start(t, durableCorefile)
	s.stop()
	damaged := filepath.Join(s.directory, "zones", "example.test", "ZONE")
	if err := os.WriteFile(damaged, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.tryRestart(durableCorefile)
	if err == nil || !strings.Contains(err.Error(), filepath.Dir(damaged)) || !strings.Contains(err.Error(), "Corefile:3") {
		t.Errorf("starting with a damaged database: %v", err)
	}
}
