package zone

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// bury adds and deletes names of an owner, each of these in one update.
func bury(t *testing.T, z *Zone, principal string, names ...string) {
	t.Helper()
	var add, remove strings.Builder
	var claims []Claim
	for _, name := range names {
		add.WriteString("U " + name + " 5 IN A 192.0.2.1\n")
		remove.WriteString("U " + name + " 0 ANY ANY\n")
		claims = append(claims, Claim{wire(t, name), principal})
	}
	for _, r := range []Result{applyAs(t, z, add.String(), claims...), apply(t, z, remove.String())} {
		if r.Rcode != dns.RcodeSuccess || !r.Changed {
			t.Fatalf("%+v", r)
		}
	}
}

func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d.example.test.", prefix, i)
	}
	return names
}

// Whoever deletes many names loses the tombstones of these, not those of others: by many updates or
// by large ones, with one account or with many that each begin where others have filled the table.
func TestTombstonesOfOthersStay(t *testing.T) {
	const most = 200
	z := openText(t, testApex, func(c *Config) { c.Limits.Tombstones = most })
	bury(t, z, "alice", "alice.example.test.")
	bury(t, z, "bob", numbered("bob", 3)...)
	largest := 0
	check := func(who string) {
		t.Helper()
		if _, ok := z.Snapshot().Owner("alice.example.test."); !ok {
			t.Fatalf("%s pushed alice's tombstone out", who)
		}
		if u := z.Snapshot().usage.get(idOf("bob")); u.tombstones != 3 {
			t.Fatalf("%s left bob %d tombstones", who, u.tombstones)
		}
		largest = max(largest, z.Snapshot().tombstones.Len())
	}
	for i := range 2 * most {
		bury(t, z, "mallory", fmt.Sprintf("m%d.example.test.", i))
		check("mallory")
	}
	if largest > most {
		t.Errorf("%d tombstones of %d", largest, most)
	}
	if _, ok := z.Snapshot().Owner(fmt.Sprintf("m%d.example.test.", 2*most-1)); !ok {
		t.Error("mallory's newest went")
	}
	for account := range 20 {
		name := fmt.Sprintf("mallory%d", account)
		bury(t, z, name, numbered(name, most)...)
		check(name)
		for i := range 20 {
			bury(t, z, name, fmt.Sprintf("x%d.%s.example.test.", i, name))
			check(name)
		}
	}
	if largest > 2*most {
		t.Errorf("%d tombstones of %d", largest, most)
	}
	verify(t, z.Snapshot())
}

// One owner has at most its share of tombstones while there is room for more.
func TestOwnerTombstones(t *testing.T) {
	c := &clock{at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	z := openText(t, testApex, func(config *Config) { config.Limits.OwnerTombstones, config.Now = 10, c.now })
	bury(t, z, "alice", "alice.example.test.")
	for i := range 30 {
		c.at = c.at.Add(time.Second)
		bury(t, z, "mallory", fmt.Sprintf("m%d.example.test.", i))
	}
	if u := z.Snapshot().usage.get(idOf("mallory")); u.tombstones != 10 {
		t.Errorf("%d tombstones", u.tombstones)
	}
	for name, want := range map[string]bool{"alice": true, "m0": false, "m19": false, "m20": true, "m29": true} {
		if _, ok := z.Snapshot().Owner(name + ".example.test."); ok != want {
			t.Errorf("%s: %t", name, ok)
		}
	}
	verify(t, z.Snapshot())
}

// Tombstones of long names are bounded by their octets, and keep nobody from adding or deleting.
func TestTombstoneOctets(t *testing.T) {
	const octets = 40_000
	z := openText(t, testApex, func(c *Config) { c.Limits.ZoneOctets = octets })
	bury(t, z, "alice", "alice.example.test.")
	label := strings.Repeat("x", 60)
	for i := range 100 {
		bury(t, z, "mallory-"+label, fmt.Sprintf("%d.%s.%s.%s.example.test.", i, label, label, label))
		if s := z.Snapshot(); s.tombstoneOctets > octets/4 {
			t.Fatalf("%d octets of %d tombstones", s.tombstoneOctets, s.tombstones.Len())
		}
	}
	if n := z.Snapshot().tombstones.Len(); n < 5 {
		t.Errorf("%d tombstones", n)
	}
	if _, ok := z.Snapshot().Owner("alice.example.test."); !ok {
		t.Error("alice's went")
	}
	verify(t, z.Snapshot())
}

// An owner has at most its share of names, records and octets; others, and names without owner, do
// not suffer by it.
func TestOwnerShares(t *testing.T) {
	long := strings.Repeat("x", 60)
	for name, tc := range map[string]struct {
		limits Limits
		limit  string
		grow   string // what exceeds the limit at the name x
		swap   string // what does not
	}{
		"names":   {Limits{OwnerNames: 3}, "OwnerNames", "U x.example.test. 5 IN A 192.0.2.1", "U h0.example.test. 5 IN TXT more"},
		"records": {Limits{OwnerRecords: 3}, "OwnerRecords", "U x.example.test. 5 IN A 192.0.2.1", "U h0.example.test. 0 ANY A\nU h0.example.test. 5 IN A 192.0.2.2"},
		"octets":  {Limits{OwnerOctets: 100}, "OwnerOctets", "U x.example.test. 5 IN TXT " + long, "U h0.example.test. 0 ANY A\nU h0.example.test. 5 IN A 192.0.2.2"},
	} {
		t.Run(name, func(t *testing.T) {
			memory := store.NewMemory(store.MemoryOptions{})
			edit := func(c *Config) { c.Limits, c.Store = tc.limits, memory }
			z := openText(t, testApex, edit)
			as := func(principal, script string, names ...string) Result {
				var claims []Claim
				for _, name := range names {
					claims = append(claims, Claim{wire(t, name), principal})
				}
				return applyAs(t, z, script, claims...)
			}
			permitted := func(r Result) {
				t.Helper()
				if r.Rcode != dns.RcodeSuccess || !r.Changed {
					t.Errorf("%+v", r)
				}
				verify(t, z.Snapshot())
			}
			refused := func(r Result) {
				t.Helper()
				var limit *LimitError
				if r.Rcode != dns.RcodeRefused || !errors.As(r.Err, &limit) || limit.Limit != tc.limit || limit.Name != "mallory" {
					t.Errorf("%+v", r)
				}
			}
			for i := range 3 {
				name := fmt.Sprintf("h%d.example.test.", i)
				permitted(as("mallory", "U "+name+" 5 IN A 192.0.2.1", name))
			}
			refused(as("mallory", tc.grow, "x.example.test."))
			permitted(as("alice", strings.ReplaceAll(tc.grow, "x.ex", "a.ex"), "a.example.test."))
			permitted(as("", strings.ReplaceAll(tc.grow, "x.ex", "b.ex")))
			permitted(as("", tc.swap))
			// It cannot be given another's either.
			refused(as("mallory", "", "a.example.test."))
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			var err error
			if memory, err = memory.Reopen(); err != nil {
				t.Fatal(err)
			}
			z = openText(t, testApex, edit)
			verify(t, z.Snapshot())
			refused(as("mallory", tc.grow, "x.example.test."))
			permitted(as("mallory", "U h1.example.test. 0 ANY ANY\nU h2.example.test. 0 ANY ANY"))
			permitted(as("mallory", tc.grow, "x.example.test."))
		})
	}
}

// Tombstones of the administrator stay until they expire. What would add more than their share is
// refused, and nothing else is.
func TestTombstonesOfTheAdministratorStay(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		limit  string
		label  string // of the names
		most   int    // how many tombstones there is room for
	}{
		"number": {Limits{OwnerTombstones: 3, Tombstones: 5}, "OwnerTombstones", "x", 3},
		"octets": {Limits{ZoneOctets: 16 * 350, Tombstones: 5}, "ZoneOctets", strings.Repeat("x", 58), 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
			z := openText(t, testApex, func(config *Config) {
				config.Limits, config.Now, config.TombstoneLifetime = tc.limits, c.now, time.Hour
			})
			names := numbered(tc.label, tc.most+1)
			deleteLast := func(name string) Result {
				return applyAs(t, z, "U "+name+" 0 ANY ANY", Claim{wire(t, name), AdministratorOwner})
			}
			for _, name := range names {
				if r := apply(t, z, "U "+name+" 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
					t.Fatalf("%+v", r)
				}
			}
			for _, name := range names[:tc.most] {
				if r := deleteLast(name); r.Rcode != dns.RcodeSuccess {
					t.Fatalf("%+v", r)
				}
			}
			last := names[tc.most]
			refused := func() {
				t.Helper()
				var limit *LimitError
				if r := deleteLast(last); r.Rcode != dns.RcodeRefused || !errors.As(r.Err, &limit) || limit.Limit != tc.limit || limit.Name != AdministratorOwner {
					t.Errorf("%+v", r)
				}
			}
			refused()
			bury(t, z, "alice", "alice.example.test.")
			for _, name := range numbered("mallory", 20) {
				bury(t, z, "mallory", name)
			}
			refused()
			if s := z.Snapshot(); s.reserved.Len() != tc.most || s.tombstones.Len() > 5 {
				t.Errorf("%d tombstones of the administrator, %d of others", s.reserved.Len(), s.tombstones.Len())
			}
			if _, ok := z.Snapshot().Owner("alice.example.test."); !ok {
				t.Error("alice's went")
			}
			// Others may use such a name if the decision says so, and make room by it.
			if r := applyAs(t, z, "U "+names[0]+" 5 IN A 192.0.2.1", Claim{wire(t, names[0]), "alice"}); r.Rcode != dns.RcodeSuccess {
				t.Errorf("%+v", r)
			}
			verify(t, z.Snapshot())
			if r := deleteLast(last); r.Rcode != dns.RcodeSuccess {
				t.Errorf("%+v", r)
			}
			if r := apply(t, z, "U "+last+" 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
				t.Errorf("%+v", r)
			}
			if r := apply(t, z, "U more."+last+" 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
				t.Errorf("%+v", r)
			}
			c.at = c.at.Add(2 * time.Hour)
			for _, name := range []string{last, "more." + last} {
				if r := deleteLast(name); r.Rcode != dns.RcodeSuccess {
					t.Errorf("%+v", r)
				}
			}
			if n := z.Snapshot().reserved.Len(); n != 2 {
				t.Errorf("%d tombstones", n)
			}
			verify(t, z.Snapshot())
		})
	}
}

// Names that are the administrator's, or wait for the first client, are bounded by the zone alone.
func TestMarkedNamesAreNoClients(t *testing.T) {
	z := openText(t, testApex, func(c *Config) { c.Limits.OwnerNames, c.Limits.OwnerRecords, c.Limits.OwnerOctets = 3, 3, 100 })
	for _, owner := range []string{AdministratorOwner, SignedOwner, FirstComeOwner} {
		for _, name := range numbered(strings.TrimSuffix(owner, ":"), 10) {
			if r := applyAs(t, z, "U "+name+" 5 IN A 192.0.2.1", Claim{wire(t, name), owner}); r.Rcode != dns.RcodeSuccess || !r.Changed {
				t.Fatalf("%s: %+v", name, r)
			}
		}
	}
	verify(t, z.Snapshot())
}

// A zone that has more than the limits can always become smaller.
func TestShrinkBeyondLimits(t *testing.T) {
	z := openText(t, testApex, nil)
	names := numbered("h", 20)
	for _, name := range names {
		applyAs(t, z, "U "+name+" 5 IN A 192.0.2.1", Claim{wire(t, name), "alice"})
	}
	z.Configure(Limits{ZoneRecords: 1, ZoneOctets: 1, OwnerNames: 1, Tombstones: 1}, 0, Aging{})
	for _, name := range names {
		if r := apply(t, z, "U "+name+" 0 ANY ANY"); r.Rcode != dns.RcodeSuccess || !r.Changed {
			t.Fatalf("%s: %+v", name, r)
		}
	}
	if n := z.Snapshot().tombstones.Len(); n > 1 {
		t.Errorf("%d tombstones", n)
	}
	verify(t, z.Snapshot())
}

// Whatever happens to names and their owners, what is counted for each owner is what it has, also
// after a restart.
func TestUsageModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		memory := store.NewMemory(store.MemoryOptions{})
		edit := func(c *Config) {
			c.Store, c.Limits = memory, Limits{Tombstones: 1 + r.IntN(20), OwnerTombstones: 1 + r.IntN(10), OwnerNames: 5 + r.IntN(20)}
		}
		z := openText(t, testApex, edit)
		for range 300 {
			var script strings.Builder
			var claims []Claim
			for range 1 + r.IntN(4) {
				name := []string{"a", "b", "c", "d.a", "e.d.a", "f.g", "h", "i.h"}[r.IntN(8)] + fmt.Sprintf("%d.example.test.", r.IntN(4))
				switch r.IntN(4) {
				case 0:
					script.WriteString("U " + name + " 0 ANY ANY\n")
				case 1:
					fmt.Fprintf(&script, "U %s 5 IN TXT %s\n", name, strings.Repeat("t", 1+r.IntN(30)))
				default:
					fmt.Fprintf(&script, "U %s 5 IN A 192.0.2.%d\n", name, r.IntN(4))
				}
				if r.IntN(2) == 0 {
					claims = append(claims, Claim{wire(t, name), []string{"p", "q", "r", "s", AdministratorOwner, SignedOwner, FirstComeOwner}[r.IntN(7)]})
				}
			}
			applyAs(t, z, script.String(), claims...)
			verify(t, z.Snapshot())
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if memory, err = memory.Reopen(); err != nil {
			t.Fatal(err)
		}
		before := z.Snapshot()
		z = openText(t, testApex, edit)
		verify(t, z.Snapshot())
		if s := z.Snapshot(); s.octets != before.octets || s.tombstoneOctets != before.tombstoneOctets || s.reservedOctets != before.reservedOctets {
			t.Fatalf("%d and %d octets, %d and %d before", s.octets, s.tombstoneOctets, before.octets, before.tombstoneOctets)
		}
	}
}
