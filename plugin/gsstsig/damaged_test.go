package gsstsig

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
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
	for _, at := range []string{"a start", "a reload"} {
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
			want(t, "lines about the update", len(logged.lines("[ERROR]", "update zone=sub.example.test.", "rcode=SERVFAIL", "the zone is not served: database damaged")), 1)
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

// TestDamagedZoneIsShown: status lists a damaged zone with the error and the fix, in the control socket and in the status page,
// and the other operations fail with both.
func TestDamagedZoneIsShown(t *testing.T) {
	page, path := freeAddress(t), socketPath(t)
	corefile := strings.Replace(durableCorefile, "database", "control "+path+"\n\t\tstatus "+page+"\n\t\tdatabase", 1)
	s := start(t, corefile)
	s.stop()
	damage(t, filepath.Join(s.directory, "zones", "example.test"))
	s.restart(corefile)
	c := control.NewClient(path)
	defer c.Close()

	const problem, fix = "database damaged", "restore it from a dump, or move the directory away"
	show := func(what string, state view.Status, zones int) {
		t.Helper()
		var names []string
		for _, z := range state.Zones {
			names = append(names, z.Zone)
			if damaged := z.Zone == "example.test."; damaged != (z.Damaged != nil) {
				t.Errorf("%s: %+v", what, z)
			} else if damaged && (!strings.Contains(z.Damaged.Problem, problem) || !strings.HasPrefix(z.Damaged.Fix, fix) || z.Updates != "secure" || z.Database == "" || len(z.Rules) == 0) {
				t.Errorf("%s: %+v", what, z)
			}
		}
		if len(names) != zones || !slices.IsSorted(names) || !slices.Contains(names, "example.test.") {
			t.Errorf("%s: zones %q", what, names)
		}
		if state.Ready || !slices.ContainsFunc(state.Findings, func(f diagnose.Finding) bool {
			return f.Severity == diagnose.Error && f.Subject == "zone example.test." && strings.HasPrefix(f.Fix, fix)
		}) {
			t.Errorf("%s: ready %t, findings %+v", what, state.Ready, state.Findings)
		}
	}
	for zone, zones := range map[string]int{"": 2, "Example.Test": 1} {
		state, err := control.Call[view.Status](t.Context(), c, "status", view.StatusRequest{Zone: zone})
		if err != nil {
			t.Fatal(err)
		}
		show("status "+zone, state, zones)
	}
	show("the page", fetch[struct{ Status view.Status }](t, page, "/index.json").Status, 2)
	may := fetch[struct{ Error string }](t, page, "/may.json?principal=host/client1.example.test@EXAMPLE.TEST&name=client1.example.test&type=A").Error
	if !strings.Contains(may, problem) || !strings.Contains(may, fix) {
		t.Errorf("may: %q", may)
	}

	named := view.ZoneRequest{Zone: "example.test"}
	owned := view.OwnRequest{Name: "a.example.test", Owner: "host/client1.example.test@EXAMPLE.TEST"}
	for operation, request := range map[string]any{
		"names": view.NamesRequest{Zone: "example.test"}, "update": view.Update{Zone: "example.test"}, "edit": view.Edit{Zone: "example.test"},
		"own": owned, "release": view.NameRequest{Name: owned.Name}, "freeze": named, "thaw": named, "changes": view.ChangesRequest{Zone: "example.test"},
		"stale": view.StaleRequest{Zone: "example.test"}, "scavenge": named,
	} {
		_, err := control.Call[any](t.Context(), c, operation, request)
		var failed *control.Error
		if !errors.As(err, &failed) || !strings.Contains(failed.Problem, "zone example.test.: ") || !strings.Contains(failed.Problem, problem) || !strings.HasPrefix(failed.Fix, fix) {
			t.Errorf("%s: %v", operation, err)
		}
	}
	if _, err := control.Call[view.Zone](t.Context(), c, "freeze", view.ZoneRequest{Zone: "2.0.192.in-addr.arpa"}); err != nil {
		t.Errorf("the other zone: %v", err)
	}
}
