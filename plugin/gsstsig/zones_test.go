package gsstsig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

var durableCorefile = strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\tdatabase {DIR}/zones", 1)

// TestDatabase: records, ownership and serial are there after a restart, and a reload keeps the database open.
func TestDatabase(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.5 stable storage")
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
	other := s.context("host/client2.example.test")
	want(t, "ownership", s.signed(other, message(t, "example.test.", "+www.example.test. 300 A 192.0.2.9")), dns.RcodeRefused)

	info, err := os.Stat(filepath.Join(s.directory, "zones", "example.test"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "mode", info.Mode().Perm(), 0o700)
}

// TestDatabaseMoves: a reload does not move a zone that is being served, neither to another directory nor to or from memory.
func TestDatabaseMoves(t *testing.T) {
	s := start(t, smallCorefile)
	moved := strings.Replace(durableCorefile, "{DIR}/zones", "{DIR}/elsewhere", 1)
	refused := func(from, to, corefile string) {
		t.Helper()
		err := s.reload(corefile)
		if err == nil {
			t.Errorf("a reload moves the zone from %s to %s", from, to)
			return
		}
		for _, words := range []string{"zone example.test.: it is served from " + from + " and cannot move to " + to + " by a reload", "Fix: restart CoreDNS"} {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("from %s to %s: %q does not say %q", from, to, err, words)
			}
		}
		want(t, "still served", s.lookup("example.test.", dns.TypeNS), "example.test. 3600 IN NS ns1.example.test.")
	}
	zones := filepath.Join(s.directory, "zones", "example.test")
	elsewhere := filepath.Join(s.directory, "elsewhere", "example.test")
	refused("memory", zones, durableCorefile)
	s.stop()
	s.restart(durableCorefile)
	refused(zones, "memory", smallCorefile)
	refused(zones, elsewhere, moved)
	if _, err := os.Stat(elsewhere); !os.IsNotExist(err) {
		t.Errorf("the reload that was refused made a database: %v", err)
	}
}

// TestStorageIsNamed: a start says that a zone is in memory only, and that a database is a new one.
func TestStorageIsNamed(t *testing.T) {
	standard.Deviates(t, "RFC 2136", "3.5 stable storage", "Without the properties `database` and `etcd` a zone is in memory, and lost when the process ends. The start warns of it.")
	inMemory := []string{"WARNING", "zone example.test.: it has no database", "lost at a restart", `Fix: add "database DIR"`}
	before := len(logged.lines(inMemory...))
	s := start(t, smallCorefile)
	want(t, "lines about memory", len(logged.lines(inMemory...))-before, 1)
	s.stop()

	before = len(logged.lines(inMemory...))
	isNew := []string{"WARNING", "zone example.test.: a new, empty database was made in " + filepath.Join(s.directory, "zones", "example.test"), "Fix: "}
	s.restart(durableCorefile)
	want(t, "lines about a new database", len(logged.lines(isNew...)), 1)
	s.stop()
	s.restart(durableCorefile)
	want(t, "lines about a new database, after a restart", len(logged.lines(isNew...)), 1)
	want(t, "lines about memory, with a database", len(logged.lines(inMemory...))-before, 0)
}

// TestCopiesInMemory: two blocks that have one zone in memory have two copies of it, which a start warns of; in a database it is one.
func TestCopiesInMemory(t *testing.T) {
	two := func(lines string) string {
		block := "example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  " + lines + "\n }\n}\n"
		return block + strings.Replace(block, "127.0.0.1", "127.0.0.2", 1)
	}
	copies := []string{"WARNING", "zone example.test.: several server blocks have it in memory", "Fix: "}
	before := len(logged.lines(copies...))
	s := start(t, two("database {DIR}/zones"))
	want(t, "in a database", len(logged.lines(copies...))-before, 0)
	s.stop()
	s.restart(two(""))
	want(t, "in memory", len(logged.lines(copies...))-before, 1)
}

// TestZoneInMemoryIsDropped: a reload without a zone that is in memory says what is lost with it. One in a database is not lost,
// nor is one that remains, whatever else changes in its block.
func TestZoneInMemoryIsDropped(t *testing.T) {
	corefile := func(zones, database string) string {
		return zones + " {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  " + database + "\n }\n}\n"
	}
	both, one := "example.test:{PORT} other.test:{PORT}", "example.test:{PORT}"
	dropped := []string{"WARNING", "zone other.test.: a reload has taken a server block with it out of the Corefile", "with serial 1 and 2 records", `Fix: add "database DIR"`}
	count := func() int { return len(logged.lines("a reload has taken a server block with it out of the Corefile")) }

	before := count()
	s := start(t, corefile(both, ""))
	for i, zones := range []string{both, one, one, both, one} {
		if err := s.reload(corefile(zones, "updates none")); err != nil {
			t.Fatal(err)
		}
		want(t, fmt.Sprintf("lines after reload %d", i), count()-before, []int{0, 1, 1, 1, 2}[i])
	}
	want(t, "lines in full", len(logged.lines(dropped...)), count())
	s.stop()
	s.restart(corefile(both, "database {DIR}/zones"))
	if err := s.reload(corefile(one, "database {DIR}/zones")); err != nil {
		t.Fatal(err)
	}
	want(t, "lines about a database, and about an end", count()-before, 2)
}

// TestMasterFileIsReadOnce: the database is the zone; a master file that changes, or is added later, is reported.
func TestMasterFileIsReadOnce(t *testing.T) {
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

// TestMasterFileIncludes: a master file may include others, relative to itself. A change of one of these is reported too, and
// what is doubtful in the files is in the log.
func TestMasterFileIncludes(t *testing.T) {
	s := start(t, smallCorefile) // for the directory
	s.stop()
	seed := write(t, "db.example.test", strings.Replace(exampleZone, "$TTL 300\n", "", 1)+"$INCLUDE hosts\nfixed 5 A 192.0.2.97\nfixed NSEC . A\n")
	hosts := filepath.Join(filepath.Dir(seed), "hosts")
	if err := os.WriteFile(hosts, []byte("Included A 192.0.2.96\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	corefile := strings.Replace(durableCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\tfile "+seed+" example.test", 1)
	s.restart(corefile)
	want(t, "included", strings.HasSuffix(s.lookup("included.example.test.", dns.TypeA), " IN A 192.0.2.96"), true)
	want(t, "unsigned", s.lookup("fixed.example.test.", dns.TypeNSEC), "")
	for _, words := range []string{"there is no TTL", "has TTL 5, but", "1 records of a signed zone"} {
		want(t, words, len(logged.lines("[WARNING]", "zone example.test.: "+seed, words, "Fix: ")), 1)
	}
	s.stop()
	s.restart(corefile)
	want(t, "no change", len(logged.lines("has changed since the database", filepath.Dir(seed))), 0)
	s.stop()
	if err := os.WriteFile(hosts, []byte("included A 192.0.2.95\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart(corefile)
	want(t, "changed", len(logged.lines("has changed since the database", hosts)), 1)
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
