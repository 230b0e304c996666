package gsstsig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// damage overwrites the tables of a zone's database, and returns what is in its directory then.
func damage(t *testing.T, dir string) map[string]string {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v, %v", tables, err)
	}
	for _, table := range tables {
		octets, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for i := range octets {
			octets[i] ^= 0x5A
		}
		if err := os.WriteFile(table, octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return contents(t, dir)
}

// contents is all that is below a directory but for empty files.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		octets, err := os.ReadFile(path)
		if len(octets) > 0 {
			all[path] = string(octets)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDamagedZone: the other zones of the block are served, the damaged one is SERVFAIL, its files stay as they are, and a
// reload finds it repaired.
func TestDamagedZone(t *testing.T) {
	corefile := strings.Replace(durableCorefile, "example.test:{PORT} ", "example.test:{PORT} sub.example.test:{PORT} ", 1)
	for n, at := range []string{"a start", "a reload"} {
		t.Run(at, func(t *testing.T) {
			s := start(t, corefile)
			host := s.context("host/client1.sub.example.test")
			want(t, "before", s.signed(host, message(t, "sub.example.test.", "+client1.sub.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
			dir := filepath.Join(s.directory, "zones", "sub.example.test")
			whole := t.TempDir()
			s.stop()
			if err := os.CopyFS(whole, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			damaged := damage(t, dir)
			words := []string{"[ERROR]", "zone sub.example.test.: ", dir, "database damaged", "SERVFAIL, and serves the others", "then reload the Corefile"}
			lines := len(logged.lines(words...))
			if at == "a start" {
				s.restart(corefile)
			} else {
				s.restart(durableCorefile)
				if err := s.reload(corefile); err != nil {
					t.Fatal(err)
				}
			}
			want(t, "the good zone", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
			want(t, "the good zone", s.lookup("client1.example.test.", dns.TypeA), "client1.example.test. 300 IN A 192.0.2.1")
			want(t, "lines", len(logged.lines(words...)), lines+1)
			for _, qtype := range []uint16{dns.TypeA, dns.TypeSOA, dns.TypeAXFR} {
				want(t, "a query", s.exchange(new(dns.Msg).SetQuestion("sub.example.test.", qtype)).Rcode, dns.RcodeServerFailure)
			}
			want(t, "a query", s.exchange(new(dns.Msg).SetQuestion("client1.sub.example.test.", dns.TypeA)).Rcode, dns.RcodeServerFailure)
			want(t, "an update", s.signed(host, message(t, "sub.example.test.", "+client1.sub.example.test. 300 A 192.0.2.2")), dns.RcodeServerFailure)
			want(t, "lines about the update", len(logged.lines("[ERROR]", "update zone=sub.example.test.", "rcode=SERVFAIL", "the zone is not served: database damaged")), n+1)
			want(t, "an alias into it", s.signed(host, message(t, "example.test.", "+alias.example.test. 300 CNAME client1.sub.example.test.")), dns.RcodeSuccess)
			want(t, "an alias into it", s.exchange(new(dns.Msg).SetQuestion("alias.example.test.", dns.TypeA)).Rcode, dns.RcodeServerFailure)

			if now := contents(t, dir); len(now) != len(damaged) {
				t.Errorf("%d files, %d before", len(now), len(damaged))
			} else {
				for file, octets := range damaged {
					if now[file] != octets {
						t.Errorf("%s was changed", file)
					}
				}
			}
			if err := os.Rename(dir, dir+".damaged"); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if err := s.reload(corefile + "# repaired\n"); err != nil {
				t.Fatal(err)
			}
			want(t, "repaired", s.lookup("client1.sub.example.test.", dns.TypeA), "client1.sub.example.test. 300 IN A 192.0.2.1")
			want(t, "repaired", s.signed(host, message(t, "sub.example.test.", "+client1.sub.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)
		})
	}
}

// TestOnlyDamagedZones: the server runs, so that one rule holds for any number of zones.
func TestOnlyDamagedZones(t *testing.T) {
	s := start(t, durableCorefile)
	s.stop()
	for _, zone := range []string{"example.test", "2.0.192.in-addr.arpa"} {
		damage(t, filepath.Join(s.directory, "zones", zone))
	}
	s.restart(durableCorefile)
	want(t, "a query", s.exchange(new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA)).Rcode, dns.RcodeServerFailure)
	want(t, "another block", s.exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeA)).Rcode, dns.RcodeSuccess)
	s.context("host/client1.example.test")
	s.stop()
	s.restart(durableCorefile)
}
