package zone

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// applyAs does an update with claims, by the principals named in them.
func applyAs(t testing.TB, z *Zone, script string, claims ...Claim) Result {
	t.Helper()
	return z.Apply(context.Background(), &Update{
		Message:   pack(t, message(t, script)),
		Authorize: func(*Proposal) Decision { return Decision{Allow: true, Rule: "test", Own: claims} },
	})
}

func TestAuthorize(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.3.1 permission")
	standard.Deviates(t, "RFC 2136", "3.3.2 when", "Permission is checked before the prerequisites: a refusal tells nothing about what the zone has.")
	z := openText(t, testApex, nil)
	asked := 0
	update := func(script string, d Decision) Result {
		u := &Update{Message: pack(t, message(t, script))}
		u.Authorize = func(p *Proposal) Decision {
			asked++
			if p.state != z.Snapshot() || string(p.Origin()) != wire(t, "example.test.") {
				t.Error("asked about something else")
			}
			return d
		}
		return z.Apply(t.Context(), u)
	}
	// Form comes before it, prerequisites after.
	if r := update("U a.example.test. 5 ANY A", Decision{}); r.Rcode != dns.RcodeFormatError || asked != 0 {
		t.Errorf("%+v, asked %d times", r, asked)
	}
	if r := update("U a.example.net. 5 IN A 192.0.2.1", Decision{}); r.Rcode != dns.RcodeNotZone || asked != 0 {
		t.Errorf("%+v, asked %d times", r, asked)
	}
	d := Decision{Rule: "deny", Reason: "not yours", Notes: []string{"note"}, Own: []Claim{{wire(t, "ns1.example.test."), "x"}}}
	if r := update("P nope.example.test. 0 ANY ANY", d); r.Rcode != dns.RcodeRefused || asked != 1 || r.Decision.Rule != "deny" || r.Err == nil {
		t.Errorf("%+v, asked %d times", r, asked)
	}
	if _, owned := z.Snapshot().Owner("ns1.example.test."); owned {
		t.Error("a refused update left an owner")
	}
	d.Allow = true
	if r := update("P nope.example.test. 0 ANY ANY", d); r.Rcode != dns.RcodeNameError || asked != 2 {
		t.Errorf("%+v, asked %d times", r, asked)
	}
	if _, owned := z.Snapshot().Owner("ns1.example.test."); owned {
		t.Error("an update whose prerequisites failed left an owner")
	}
	if r := update("", d); r.Rcode != dns.RcodeSuccess || r.Decision.Notes[0] != "note" {
		t.Errorf("%+v", r)
	}
}

// However many records an update has, the rules are asked once and about one state, so that none of
// it goes by rules that others do not (BIND GL #5006).
func TestLessonRulesAreReadOnce(t *testing.T) {
	z := openText(t, testApex, nil)
	var script strings.Builder
	for i := range 100 {
		fmt.Fprintf(&script, "U a%d.example.test. 5 IN A 192.0.2.1\n", i)
	}
	asked := 0
	u := &Update{Message: pack(t, message(t, script.String())), Authorize: func(p *Proposal) Decision {
		if asked++; p.state != z.Snapshot() {
			t.Error("asked about another state")
		}
		return Decision{Allow: asked == 1}
	}}
	if r := z.Apply(t.Context(), u); r.Rcode != dns.RcodeSuccess || asked != 1 {
		t.Errorf("%+v, asked %d times", r, asked)
	}
}

func TestAuthorizePanics(t *testing.T) {
	z := openText(t, testApex, nil)
	r := z.Apply(t.Context(), &Update{
		Message:   pack(t, message(t, "U a.example.test. 5 IN A 192.0.2.1")),
		Authorize: func(*Proposal) Decision { panic("flaw") },
	})
	if r.Rcode != dns.RcodeServerFailure || r.Changed || r.Err == nil {
		t.Errorf("%+v", r)
	}
	if r := apply(t, z, "U a.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", r)
	}
}

func TestOwnership(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 500, time.UTC)
	second := start.Truncate(time.Second)
	c := &clock{at: start}
	memory := store.NewMemory(store.MemoryOptions{})
	edit := func(config *Config) { config.Store, config.Now = memory, c.now }
	z := openText(t, testApex, edit)
	const name = "a.example.test."
	steps := []struct {
		does    string
		script  string
		claims  []Claim
		after   time.Duration
		owner   string
		deleted time.Time
		changed bool
	}{
		{"a claim without record is dropped", "", []Claim{{wire(t, name), "alice"}}, 0, "", time.Time{}, false},
		{"add then delete leaves nothing", "U a.example.test. 5 IN A 192.0.2.1\nU a.example.test. 0 ANY A", []Claim{{wire(t, name), "alice"}}, 0, "", time.Time{}, false},
		{"unowned record", "U a.example.test. 5 IN A 192.0.2.1", nil, 0, "", time.Time{}, true},
		{"claim with a no-op", "U a.example.test. 5 IN A 192.0.2.1", []Claim{{wire(t, "A.Example.test."), "alice"}}, 0, "alice", time.Time{}, false},
		{"the same claim again", "", []Claim{{wire(t, name), "alice"}}, 0, "alice", time.Time{}, false},
		{"a change keeps the owner", "U a.example.test. 5 IN A 192.0.2.2", nil, 0, "alice", time.Time{}, true},
		{"another claim", "U a.example.test. 5 IN A 192.0.2.3", []Claim{{wire(t, name), "bob"}}, 0, "bob", time.Time{}, true},
		{"outside the zone", "", []Claim{{wire(t, "a.example.net."), "bob"}}, 0, "bob", time.Time{}, false},
		{"last record goes", "U a.example.test. 0 ANY ANY", nil, 0, "bob", second, true},
		{"nothing there to delete", "U a.example.test. 0 ANY ANY", nil, time.Hour, "bob", second, false},
		{"re-claimed while deleted", "", []Claim{{wire(t, name), "carol"}}, time.Hour, "carol", second, false},
		{"comes back", "U a.example.test. 5 IN A 192.0.2.3", nil, time.Hour, "carol", time.Time{}, true},
		{"goes by its new owner's claim", "U a.example.test. 0 ANY ANY", []Claim{{wire(t, name), "dave"}}, time.Hour, "dave", second.Add(time.Hour), true},
	}
	for _, step := range steps {
		c.at = start.Add(step.after)
		r := applyAs(t, z, step.script, step.claims...)
		if r.Rcode != dns.RcodeSuccess || r.Changed != step.changed || (r.Before != r.After) != step.changed {
			t.Fatalf("%s: %+v", step.does, r)
		}
		own, owned := z.Snapshot().Owner("A.example.test.")
		if owned != (step.owner != "") || own.Principal != step.owner || !own.Deleted.Equal(step.deleted) {
			t.Fatalf("%s: owner %+v, %v", step.does, own, owned)
		}
		verify(t, z.Snapshot())
	}
	// A tombstone is not a name.
	s := z.Snapshot()
	if s.Exists(name) || s.Lookup(name, dns.TypeA).Rcode != dns.RcodeNameError {
		t.Error("a tombstone exists")
	}
	if r := apply(t, z, "P a.example.test. 0 NONE ANY"); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", r)
	}
	// All of it is in the store.
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	memory, err := memory.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	z, err = Open(Config{Origin: "example.test", Store: memory, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	verify(t, z.Snapshot())
	if own, _ := z.Snapshot().Owner(name); own.Principal != "dave" || !own.Deleted.Equal(second.Add(time.Hour)) {
		t.Errorf("after reopening: %+v", own)
	}
}

func TestDeletedByClaimOfUnowned(t *testing.T) {
	z := openText(t, testApex+"a.example.test. 60 IN A 192.0.2.1\n", nil)
	applyAs(t, z, "U a.example.test. 0 ANY ANY", Claim{wire(t, "a.example.test."), "alice"})
	if own, ok := z.Snapshot().Owner("a.example.test."); !ok || own.Principal != "alice" || own.Deleted.IsZero() {
		t.Errorf("%+v", own)
	}
	verify(t, z.Snapshot())
}

// Tombstones go after their lifetime, a few with each change, none with an update that changes
// nothing.
func TestTombstonesExpire(t *testing.T) {
	c := &clock{at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	memory := store.NewMemory(store.MemoryOptions{})
	z := openText(t, testApex, func(config *Config) {
		config.Now, config.TombstoneLifetime, config.Store = c.now, 24*time.Hour, memory
	})
	const count = 3 * expireSteps
	for i := range count {
		name := fmt.Sprintf("h%d.example.test.", i)
		applyAs(t, z, "U "+name+" 5 IN A 192.0.2.1", Claim{wire(t, name), "alice"})
		apply(t, z, "U "+name+" 0 ANY ANY")
	}
	owners := func() int { return z.Snapshot().owners.Len() }
	c.at = c.at.Add(23 * time.Hour)
	apply(t, z, "U x.example.test. 5 IN A 192.0.2.1")
	if owners() != count {
		t.Errorf("%d owners before the time", owners())
	}
	c.at = c.at.Add(2 * time.Hour)
	apply(t, z, "")
	if owners() != count {
		t.Errorf("%d owners after a no-op", owners())
	}
	apply(t, z, "U x.example.test. 5 IN A 192.0.2.2")
	if owners() != count-expireSteps {
		t.Errorf("%d owners after one change", owners())
	}
	// One that is taken up in the same update stays.
	next, _, _ := z.Snapshot().tombstones.Min()
	key, _ := splitTombstoneKey(next)
	name := z.origin.nameOf(key)
	applyAs(t, z, "U "+name+" 5 IN A 192.0.2.2", Claim{wire(t, name), "bob"})
	apply(t, z, "U x.example.test. 5 IN A 192.0.2.3")
	apply(t, z, "U x.example.test. 5 IN A 192.0.2.4")
	if owners() != 1 {
		t.Errorf("%d owners in the end", owners())
	}
	verify(t, z.Snapshot())
	z.Close()
	memory, err := memory.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	if _, _, err := memory.Load(t.Context(), countOwners{&kept}); err != nil || kept != 1 {
		t.Errorf("%d owners in the store, %v", kept, err)
	}
}

// An owner whose time is over gets nothing that comes to the name later, though the entry was still
// there.
func TestExpiredOwnerDoesNotComeBack(t *testing.T) {
	c := &clock{at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	z := openText(t, testApex, func(config *Config) { config.Now, config.TombstoneLifetime = c.now, 24*time.Hour })
	applyAs(t, z, "U a.example.test. 5 IN A 192.0.2.1", Claim{wire(t, "a.example.test."), "alice"})
	apply(t, z, "U a.example.test. 0 ANY ANY")
	c.at = c.at.Add(24*time.Hour - time.Second)
	apply(t, z, "U a.example.test. 5 IN A 192.0.2.2")
	if own, _ := z.Snapshot().Owner("a.example.test."); own.Principal != "alice" {
		t.Errorf("a second before the time: owned by %+v", own)
	}
	apply(t, z, "U a.example.test. 0 ANY ANY")
	c.at = c.at.Add(24 * time.Hour)
	apply(t, z, "U a.example.test. 5 IN A 192.0.2.2")
	if own, owned := z.Snapshot().Owner("a.example.test."); owned {
		t.Errorf("owned by %+v", own)
	}
	verify(t, z.Snapshot())
}

// A tombstone goes when its lifetime is over, not a second later.
func TestTombstoneExpiresOnTime(t *testing.T) {
	c := &clock{at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	z := openText(t, testApex, func(config *Config) { config.Now, config.TombstoneLifetime = c.now, 24*time.Hour })
	applyAs(t, z, "U a.example.test. 5 IN A 192.0.2.1", Claim{wire(t, "a.example.test."), "alice"})
	apply(t, z, "U a.example.test. 0 ANY ANY")
	c.at = c.at.Add(24*time.Hour - time.Second)
	for i, want := range []bool{true, false} {
		apply(t, z, fmt.Sprintf("U b.example.test. 5 IN A 192.0.2.%d", i))
		if _, owned := z.Snapshot().Owner("a.example.test."); owned != want {
			t.Errorf("%v: owned: %v", c.at, owned)
		}
		c.at = c.at.Add(time.Second)
	}
}

// Who authorizes an update sees a tombstone up to the second in which it expires.
func TestProposalTombstoneExpiresOnTime(t *testing.T) {
	c := &clock{at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	z := openText(t, testApex, func(config *Config) { config.Now, config.TombstoneLifetime = c.now, 24*time.Hour })
	applyAs(t, z, "U a.example.test. 5 IN A 192.0.2.1", Claim{wire(t, "a.example.test."), "alice"})
	apply(t, z, "U a.example.test. 0 ANY ANY")
	c.at = c.at.Add(24*time.Hour - time.Second)
	for _, want := range []bool{true, false} {
		z.Apply(t.Context(), &Update{Message: pack(t, message(t, "U a.example.test. 5 IN A 192.0.2.1")), Authorize: func(p *Proposal) Decision {
			if _, owned := p.Name(0).Owner(); owned != want {
				t.Errorf("%v: owned: %v", c.at, owned)
			}
			return Decision{}
		}})
		c.at = c.at.Add(time.Second)
	}
}

// A claim without a principal changes no owner.
func TestClaimWithoutPrincipal(t *testing.T) {
	z := openText(t, testApex, nil)
	applyAs(t, z, "U a.example.test. 5 IN A 192.0.2.1", Claim{wire(t, "a.example.test."), ""})
	if own, owned := z.Snapshot().Owner("a.example.test."); owned {
		t.Errorf("owned by %+v", own)
	}
	applyAs(t, z, "", Claim{wire(t, "a.example.test."), "alice"})
	applyAs(t, z, "U a.example.test. 5 IN A 192.0.2.2", Claim{wire(t, "a.example.test."), ""})
	if own, _ := z.Snapshot().Owner("a.example.test."); own.Principal != "alice" {
		t.Errorf("owned by %+v", own)
	}
}

// A name that is released has no owner, whether it keeps its records, loses them or has none.
func TestRelease(t *testing.T) {
	z := openText(t, testApex, nil)
	name := wire(t, "a.example.test.")
	release := func(update string) {
		t.Helper()
		m := pack(t, message(t, update))
		if r := z.Apply(context.Background(), &Update{Message: m, Authorize: func(*Proposal) Decision {
			return Decision{Allow: true, Released: []string{name, wire(t, "never.example.test."), wire(t, "other.test.")}}
		}}); r.Err != nil {
			t.Fatal(r.Err)
		}
		if own, owned := z.Snapshot().Owner("a.example.test."); owned {
			t.Errorf("%s: owned by %+v", update, own)
		}
	}
	own := func(update string) {
		t.Helper()
		applyAs(t, z, update, Claim{name, "alice"})
		if _, owned := z.Snapshot().Owner("a.example.test."); !owned {
			t.Fatal("not owned")
		}
	}
	own("U a.example.test. 5 IN A 192.0.2.1")
	release("")
	own("U a.example.test. 5 IN A 192.0.2.2")
	release("U a.example.test. 0 ANY ANY")
	own("U a.example.test. 5 IN A 192.0.2.2")
	own("U a.example.test. 0 ANY ANY") // which leaves a tombstone
	release("")
}

type countOwners struct{ n *int }

func (countOwners) Record(store.Record) error { return nil }
func (c countOwners) Owner(store.Owner) error { *c.n++; return nil }

func TestTombstonesAreBounded(t *testing.T) {
	z := openText(t, testApex, func(c *Config) { c.Limits.Tombstones = 5 })
	for i := range 20 {
		name := fmt.Sprintf("h%d.example.test.", i)
		applyAs(t, z, "U "+name+" 5 IN A 192.0.2.1", Claim{wire(t, name), "alice"})
		apply(t, z, "U "+name+" 0 ANY ANY")
		if n := z.Snapshot().tombstones.Len(); n > 5 {
			t.Fatalf("%d tombstones", n)
		}
		verify(t, z.Snapshot())
	}
	if _, ok := z.Snapshot().Owner("h19.example.test."); !ok {
		t.Error("the newest went")
	}
}

// What one update deletes the next ones make room for, however much it is: those that delete the
// most do not get ahead.
func TestTombstonesOfLargeUpdatesAreBounded(t *testing.T) {
	z := openText(t, testApex, func(c *Config) { c.Limits.Tombstones = 5 })
	const names = 3 * expireSteps
	for round := range 4 {
		var add, remove strings.Builder
		var claims []Claim
		for i := range names {
			name := fmt.Sprintf("h%d-%d.example.test.", round, i)
			add.WriteString("U " + name + " 5 IN A 192.0.2.1\n")
			remove.WriteString("U " + name + " 0 ANY ANY\n")
			claims = append(claims, Claim{wire(t, name), "alice"})
		}
		applyAs(t, z, add.String(), claims...)
		apply(t, z, remove.String())
		if n := z.Snapshot().tombstones.Len(); n > names {
			t.Fatalf("%d tombstones after %d rounds", n, round+1)
		}
	}
	verify(t, z.Snapshot())
}

// Records of a set and types of a name have their bounds (BIND CVE-2024-1737), and so have updates
// and zones.
func TestLimits(t *testing.T) {
	records := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format+"\n", i)
		}
		return b.String()
	}
	base := testApex + records("full.example.test. 60 IN A 192.0.2.%d", 5)
	for _, tc := range []struct {
		name   string
		limits Limits
		script string
		limit  string // "" if it is to succeed
	}{
		{"records of an update, at", Limits{UpdateRecords: 3}, "P ns1.example.test. 0 ANY A\n" + records("U a.example.test. 5 IN A 192.0.2.%d", 2), ""},
		{"records of an update, over", Limits{UpdateRecords: 3}, "P ns1.example.test. 0 ANY A\n" + records("U a.example.test. 5 IN A 192.0.2.%d", 3), "UpdateRecords"},
		{"octets of an update", Limits{UpdateOctets: 400}, records("U a.example.test. 5 IN TXT "+strings.Repeat("x", 200)+"%d", 2), "UpdateOctets"},
		{"records of a set, at", Limits{RecordsPerSet: 3}, records("U a.example.test. 5 IN A 192.0.2.%d", 3), ""},
		{"records of a set, over", Limits{RecordsPerSet: 3}, records("U a.example.test. 5 IN A 192.0.2.%d", 4), "RecordsPerSet"},
		{"records of a set, over and back", Limits{RecordsPerSet: 3}, records("U a.example.test. 5 IN A 192.0.2.%d", 4) + "U a.example.test. 0 NONE A 192.0.2.1", ""},
		{"a set that was too large may shrink", Limits{RecordsPerSet: 3}, "U full.example.test. 0 NONE A 192.0.2.1", ""},
		{"but not grow", Limits{RecordsPerSet: 3}, "U full.example.test. 60 IN A 192.0.2.99", "RecordsPerSet"},
		{"types of a name, at", Limits{TypesPerName: 2}, "U a.example.test. 5 IN A 192.0.2.1\nU a.example.test. 5 IN TXT x", ""},
		{"types of a name, over", Limits{TypesPerName: 2}, "U a.example.test. 5 IN A 192.0.2.1\nU a.example.test. 5 IN TXT x\nU a.example.test. 5 IN MX 1 x.", "TypesPerName"},
		{"records of the zone, at", Limits{ZoneRecords: 9}, "U a.example.test. 5 IN A 192.0.2.1", ""},
		{"records of the zone, over", Limits{ZoneRecords: 9}, records("U a.example.test. 5 IN A 192.0.2.%d", 2), "ZoneRecords"},
		{"records of the zone, replaced", Limits{ZoneRecords: 8}, "U full.example.test. 0 NONE A 192.0.2.1\nU a.example.test. 5 IN A 192.0.2.1", ""},
		{"records of the zone, shrinking", Limits{ZoneRecords: 1}, "U full.example.test. 0 NONE A 192.0.2.1", ""},
		{"octets of the zone", Limits{ZoneOctets: 400}, records("U a.example.test. 5 IN TXT "+strings.Repeat("x", 200)+"%d", 2), "ZoneOctets"},
		{"octets of the zone, shrinking", Limits{ZoneOctets: 1}, "U full.example.test. 0 NONE A 192.0.2.1", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			z := openText(t, base, func(c *Config) { c.Limits = tc.limits })
			before := z.Snapshot()
			r := apply(t, z, tc.script)
			verify(t, z.Snapshot())
			if tc.limit == "" {
				if r.Rcode != dns.RcodeSuccess || !r.Changed {
					t.Errorf("%+v", r)
				}
				return
			}
			var limit *LimitError
			if r.Rcode != dns.RcodeRefused || !errors.As(r.Err, &limit) || limit.Limit != tc.limit || !strings.Contains(r.Err.Error(), tc.limit) {
				t.Errorf("%+v", r)
			}
			if z.Snapshot() != before {
				t.Error("the state changed")
			}
		})
	}
}

// A name of the seed may have more types than updates may give it, and then have fewer.
func TestTooManyTypesMayBecomeFewer(t *testing.T) {
	const name = "a.example.test. 60 IN "
	z := openText(t, testApex+name+"A 192.0.2.1\n"+name+"TXT x\n"+name+"MX 1 x.\n"+name+"LOC 0 N 0 E 0\n",
		func(c *Config) { c.Limits.TypesPerName = 2 })
	for _, step := range []struct {
		script string
		rcode  int
	}{
		{"U a.example.test. 0 ANY LOC", dns.RcodeSuccess},
		{"U a.example.test. 60 IN A 192.0.2.2", dns.RcodeSuccess},
		{"U a.example.test. 60 IN AAAA 2001:db8::1", dns.RcodeRefused},
	} {
		if r := apply(t, z, step.script); r.Rcode != step.rcode || r.Changed != (step.rcode == dns.RcodeSuccess) {
			t.Errorf("%s: %+v", step.script, r)
		}
	}
}

// A name that goes makes room for another of its length.
func TestNamesThatGoCountNoMore(t *testing.T) {
	z := openText(t, testApex+"a.example.test. 60 IN A 192.0.2.1\n", nil)
	z.Configure(Limits{ZoneOctets: z.Snapshot().octets}, 0, Aging{})
	if r := apply(t, z, "U a.example.test. 0 ANY ANY\nU b.example.test. 60 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", r)
	}
	if r := apply(t, z, "U b.example.test. 0 ANY ANY\nU bb.example.test. 60 IN A 192.0.2.1"); r.Rcode != dns.RcodeRefused {
		t.Errorf("a longer one: %+v", r)
	}
}

// faulty opens a zone on a store that can be made to fail.
func faulty(t *testing.T, edit func(*Config)) (*Zone, *storetest.Faulty) {
	f := &storetest.Faulty{Store: memory()}
	return openText(t, testApex, func(c *Config) {
		c.Store = f
		if edit != nil {
			edit(c)
		}
	}), f
}

func TestCommitFails(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.4.2.1 failure")
	z, f := faulty(t, nil)
	full := errors.New("no space left on device")
	before := z.Snapshot()
	f.Fail(full)
	r := applyAs(t, z, "U a.example.test. 5 IN A 192.0.2.1", Claim{wire(t, "a.example.test."), "alice"})
	if r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, full) || r.Changed || r.Before != r.After {
		t.Errorf("%+v", r)
	}
	if z.Snapshot() != before || len(before.Lookup("ns1.example.test.", dns.TypeA).Answer) != 1 {
		t.Error("the state changed")
	}
	// What changes nothing needs no store.
	if r := apply(t, z, "P ns1.example.test. 0 NONE A"); r.Rcode != dns.RcodeYXRrset {
		t.Errorf("%+v", r)
	}
	f.Fail(nil)
	if r := apply(t, z, "U a.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess || r.After != before.Serial()+1 {
		t.Errorf("%+v", r)
	}
	if _, owned := z.Snapshot().Owner("a.example.test."); owned {
		t.Error("the owner of a failed update was kept")
	}
	verify(t, before)
	verify(t, z.Snapshot())
}

// held makes the store wait in Commit with one update, and returns once it does.
func held(t *testing.T, z *Zone, f *storetest.Faulty) (release func() Result) {
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	f.Hold(entered, gate)
	first := make(chan Result, 1)
	m := message(t, "U first.example.test. 5 IN A 192.0.2.1")
	go func() { first <- z.Apply(context.Background(), &Update{Message: pack(t, m)}) }()
	<-entered
	f.Hold(nil, nil)
	return func() Result {
		close(gate)
		return <-first
	}
}

// queued waits until that many updates are in the queue.
func queued(t *testing.T, z *Zone, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); z.queue.length() < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d updates are queued", z.queue.length(), n)
		}
		time.Sleep(time.Millisecond)
	}
}

// Updates that wait share one Commit, in their order, each on the state that the one before leaves,
// each with its own answer.
func TestGroupCommit(t *testing.T) {
	standard.Requires(t, "RFC 2136", "2.4 current state", "3.5 stable storage", "3.7 one after the other")
	z, f := faulty(t, nil)
	release := held(t, z, f)
	scripts := []struct {
		script string
		rcode  int
	}{
		{"P a.example.test. 0 NONE ANY\nU a.example.test. 5 IN A 192.0.2.1", dns.RcodeSuccess},
		{"P a.example.test. 0 NONE ANY\nU a.example.test. 5 IN A 192.0.2.2", dns.RcodeYXDomain},
		{"P a.example.test. 0 IN A 192.0.2.1\nU a.example.test. 0 ANY A\nU a.example.test. 5 IN A 192.0.2.3", dns.RcodeSuccess},
		{"U a.example.test. 5 IN A 192.0.2.3", dns.RcodeSuccess},
		{"U b.example.test. 5 IN A 192.0.2.3", dns.RcodeSuccess},
	}
	results := make([]chan Result, len(scripts))
	for i, sc := range scripts {
		results[i] = make(chan Result, 1)
		m := message(t, sc.script)
		go func() { results[i] <- z.Apply(context.Background(), &Update{Message: pack(t, m)}) }()
		queued(t, z, i+1)
	}
	before := z.Snapshot()
	if before.Exists("first.example.test.") {
		t.Error("published before it was durable")
	}
	if r := release(); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", r)
	}
	for i, sc := range scripts {
		if r := <-results[i]; r.Rcode != sc.rcode {
			t.Errorf("update %d: %+v", i, r)
		} else if z.Snapshot().Serial() < r.After {
			t.Errorf("update %d was answered before it was published", i)
		}
	}
	if got := f.Commits(); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("commits of %v changes", got)
	}
	if got := z.Snapshot().Serial(); got != 14 {
		t.Errorf("serial %d", got)
	}
	verify(t, z.Snapshot())
	verify(t, before)
}

func TestGroupCommitFails(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.4.2.1 failure", "3.5 stable storage")
	z, f := faulty(t, nil)
	release := held(t, z, f)
	scripts := []struct {
		script string
		rcode  int
	}{
		{"P ns1.example.test. 0 NONE ANY", dns.RcodeYXDomain}, // before the first change: certain
		{"U a.example.test. 5 IN A 192.0.2.1", dns.RcodeServerFailure},
		{"P a.example.test. 0 NONE ANY", dns.RcodeServerFailure}, // evaluated on a state that was not committed
		{"U b.example.test. 5 IN A 192.0.2.1", dns.RcodeServerFailure},
	}
	results := make([]chan Result, len(scripts))
	for i, sc := range scripts {
		results[i] = make(chan Result, 1)
		m := message(t, sc.script)
		go func() { results[i] <- z.Apply(context.Background(), &Update{Message: pack(t, m)}) }()
		queued(t, z, i+1)
	}
	f.Fail(errors.New("no space left on device"))
	if r := release(); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", r) // it was past the fault
	}
	for i, sc := range scripts {
		if r := <-results[i]; r.Rcode != sc.rcode || r.Changed {
			t.Errorf("update %d: %+v", i, r)
		}
	}
	s := z.Snapshot()
	if s.Serial() != 11 || s.Exists("a.example.test.") || s.Exists("b.example.test.") {
		t.Errorf("serial %d, %v", s.Serial(), texts(s))
	}
	verify(t, s)
}

// An update that does not fit into the queue costs no work on rules (BIND CVE-2022-3094).
func TestQueueIsBounded(t *testing.T) {
	z, f := faulty(t, func(c *Config) { c.Limits.Queue = 2 })
	release := held(t, z, f)
	var waits sync.WaitGroup
	for i := range 2 {
		m := message(t, fmt.Sprintf("U h%d.example.test. 5 IN A 192.0.2.1", i))
		waits.Go(func() {
			if r := z.Apply(context.Background(), &Update{Message: pack(t, m)}); r.Rcode != dns.RcodeSuccess {
				t.Errorf("%+v", r)
			}
		})
		queued(t, z, i+1)
	}
	var limit *LimitError
	surplus := &Update{Message: pack(t, message(t, "U x.example.test. 5 IN A 192.0.2.1")), Authorize: func(*Proposal) Decision {
		t.Error("the rules were asked")
		return Decision{Allow: true}
	}}
	if r := z.Apply(context.Background(), surplus); r.Rcode != dns.RcodeRefused || !errors.As(r.Err, &limit) || limit.Limit != "Queue" {
		t.Errorf("%+v", r)
	}
	release()
	waits.Wait()
}

// An update whose refusal is known beforehand takes no place in the queue and waits for nothing, so
// that those which can only be refused do not crowd out others.
func TestKnownRefusalDoesNotWait(t *testing.T) {
	z, f := faulty(t, func(c *Config) { c.Limits.Queue = 1 })
	release := held(t, z, f)
	refuse := func(script string) Result {
		return z.Apply(t.Context(), &Update{
			Message: pack(t, message(t, script)),
			Authorize: func(*Proposal) Decision {
				t.Error("the rules were asked")
				return Decision{Allow: true}
			},
			Refusal: &Decision{Rule: "none", Reason: "not signed"},
		})
	}
	for range 3 {
		// What is in the zone does not show, form goes before all.
		for script, rcode := range map[string]int{
			"U a.example.test. 5 IN A 192.0.2.1":                         dns.RcodeRefused,
			"P nope.example.test. 0 ANY ANY":                             dns.RcodeRefused,
			"P ns1.example.test. 0 ANY ANY\nU a.example.test. 0 ANY ANY": dns.RcodeRefused,
			"U a.example.test. 5 ANY A":                                  dns.RcodeFormatError,
			"P a.example.net. 0 ANY ANY":                                 dns.RcodeNotZone,
			"Z example.net. IN SOA":                                      dns.RcodeNotAuth,
		} {
			r := refuse(script)
			if r.Rcode != rcode || r.Err == nil || r.Changed || r.Before != 10 || r.After != 10 {
				t.Errorf("%q: %+v", script, r)
			}
			if rcode == dns.RcodeRefused && (r.Decision.Rule != "none" || r.Decision.Reason != "not signed") {
				t.Errorf("%q: decision %+v", script, r.Decision)
			}
		}
	}
	if n := z.queue.length(); n != 0 {
		t.Errorf("%d updates are queued", n)
	}
	release()
}

func TestContextEndsBeforeTheWriterIsThere(t *testing.T) {
	z, f := faulty(t, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if r := z.Apply(ended, &Update{Message: pack(t, message(t, "U a.example.test. 5 IN A 192.0.2.1"))}); r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, context.Canceled) {
		t.Errorf("%+v", r)
	}
	release := held(t, z, f)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan Result, 1)
	m := message(t, "U a.example.test. 5 IN A 192.0.2.1")
	go func() { result <- z.Apply(ctx, &Update{Message: pack(t, m)}) }()
	queued(t, z, 1)
	cancel()
	if r := <-result; r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, context.Canceled) {
		t.Errorf("%+v", r)
	}
	release()
	if r := apply(t, z, "P a.example.test. 0 ANY ANY"); r.Rcode != dns.RcodeNameError {
		t.Errorf("an abandoned update was applied: %+v", r)
	}
}

// Once the writer has it, an update is answered by what became of it.
func TestContextEndsAfterwards(t *testing.T) {
	z, f := faulty(t, nil)
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	f.Hold(entered, gate)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan Result, 1)
	m := message(t, "U a.example.test. 5 IN A 192.0.2.1")
	go func() { result <- z.Apply(ctx, &Update{Message: pack(t, m)}) }()
	<-entered
	cancel()
	close(gate)
	if r := <-result; r.Rcode != dns.RcodeSuccess || !r.Changed {
		t.Errorf("%+v", r)
	}
}

func TestClose(t *testing.T) {
	z, f := faulty(t, nil)
	s := z.Snapshot()
	release := held(t, z, f)
	result := make(chan Result, 1)
	m := message(t, "U a.example.test. 5 IN A 192.0.2.1")
	go func() { result <- z.Apply(context.Background(), &Update{Message: pack(t, m)}) }()
	queued(t, z, 1)
	closed := make(chan error, 1)
	go func() { closed <- z.Close() }()
	<-z.closing
	if r := release(); r.Rcode != dns.RcodeSuccess {
		t.Errorf("the update under way: %+v", r)
	}
	// The one in the queue was applied or not, and the answer is true.
	if r := <-result; (r.Rcode == dns.RcodeSuccess) != z.Snapshot().Exists("a.example.test.") {
		t.Errorf("%+v", r)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if r := apply(t, z, "U b.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, ErrClosed) {
		t.Errorf("%+v", r)
	}
	if len(s.Lookup("ns1.example.test.", dns.TypeA).Answer) != 1 {
		t.Error("a snapshot does not outlive its zone")
	}
}

// Each update moves a pair of records together. No reader may see them apart, nor a serial that
// goes back.
func TestReadersSeeWholeUpdates(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.6 together", "3.7 queries")
	z := openText(t, testApex+"x.example.test. 5 IN A 192.0.2.0\ny.b.example.test. 5 IN A 192.0.2.0\n", nil)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var last uint32
			for {
				select {
				case <-stop:
					return
				default:
					// A reader that never waits would starve the writer.
					runtime.Gosched()
				}
				s := z.Snapshot()
				x, y := s.Lookup("x.example.test.", dns.TypeA).Answer, s.Lookup("y.b.example.test.", dns.TypeA).Answer
				if len(x) != 1 || len(y) != 1 || !x[0].(*dns.A).A.Equal(y[0].(*dns.A).A) || s.Serial() < last {
					t.Errorf("%v and %v, serial %d after %d", x, y, s.Serial(), last)
					return
				}
				if n := 0; s.Serial()%64 == 0 {
					for range s.Records() {
						n++
					}
					if n != s.Len() {
						t.Errorf("%d records of %d", n, s.Len())
						return
					}
				}
				last = s.Serial()
			}
		})
	}
	for i := range 500 {
		var b strings.Builder
		for _, name := range []string{"x", "y.b"} {
			fmt.Fprintf(&b, "U %s.example.test. 0 ANY A\nU %s.example.test. 5 IN A 192.0.2.%d\n", name, name, i%200+1)
		}
		if r := apply(t, z, b.String()); r.Rcode != dns.RcodeSuccess {
			t.Fatalf("%+v", r)
		}
	}
	close(stop)
	readers.Wait()
}

// What the store keeps is what an incremental transfer needs: SOA first, and exactly the
// difference.
func TestChangesForTransfer(t *testing.T) {
	z := openText(t, testApex+"a.example.test. 60 IN A 192.0.2.1\na.example.test. 60 IN A 192.0.2.2\n", nil)
	apply(t, z, "U A.example.test. 0 NONE A 192.0.2.1\nU a.example.test. 60 IN A 192.0.2.3\nU example.test. 3600 IN MX 1 a.example.test.")
	apply(t, z, "U a.example.test. 60 IN A 192.0.2.3")
	apply(t, z, "U a.example.test. 0 ANY ANY")
	var got []string
	for c, err := range z.store.Changes(t.Context(), 10, 12) {
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range [][]store.Record{c.Removed, c.Added} {
			for _, r := range list {
				got = append(got, fmt.Sprintf("%d-%d %s", c.From, c.To, text(rrOf(r))))
			}
		}
	}
	want := []string{
		"10-11 example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 10 900 600 86400 300",
		"10-11 a.example.test. 60 IN A 192.0.2.1",
		"10-11 example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 11 900 600 86400 300",
		"10-11 example.test. 3600 IN MX 1 a.example.test.",
		"10-11 a.example.test. 60 IN A 192.0.2.3",
		"11-12 example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 11 900 600 86400 300",
		"11-12 a.example.test. 60 IN A 192.0.2.2",
		"11-12 a.example.test. 60 IN A 192.0.2.3",
		"11-12 example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 12 900 600 86400 300",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, err := range z.store.Changes(t.Context(), 9, 12) {
		if !errors.Is(err, store.ErrHistory) {
			t.Error(err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	seed := func(text string) func() ([]store.Record, error) {
		return func() ([]store.Record, error) {
			var rrs []dns.RR
			for line := range strings.Lines(text) {
				rrs = append(rrs, parseRR(t, line))
			}
			return recordsOf(t, rrs...), nil
		}
	}
	broken := errors.New("seed is broken")
	for name, c := range map[string]Config{
		"origin":     {Origin: "a..b.", Store: memory()},
		"store":      {Origin: "example.test."},
		"no seed":    {Origin: "example.test.", Store: memory()},
		"seed fails": {Origin: "example.test.", Store: memory(), Seed: func() ([]store.Record, error) { return nil, broken }},
		"no SOA":     {Origin: "example.test.", Store: memory(), Seed: seed("example.test. NS a.")},
		"no NS":      {Origin: "example.test.", Store: memory(), Seed: seed("example.test. SOA a. b. 1 2 3 4 5")},
		"outside":    {Origin: "example.test.", Store: memory(), Seed: seed("example.test. SOA a. b. 1 2 3 4 5\nexample.test. NS a.\nx. A 192.0.2.1")},
		"nil record": {Origin: "example.test.", Store: memory(), Seed: func() ([]store.Record, error) { return []store.Record{{}}, nil }},
		"empty record": {Origin: "example.test.", Store: memory(), Seed: func() ([]store.Record, error) {
			return []store.Record{{Name: wire(t, "example.test."), Type: dns.TypeMX, Class: 1}}, nil
		}},
	} {
		if z, err := Open(c); err == nil {
			z.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.HasPrefix(err.Error(), "zone") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A store that holds something else is refused, not repaired.
	m := memory()
	if err := m.Init(t.Context(), store.Contents{Serial: 1, Records: slices.Values([]store.Record{{Name: wire(t, "example.test."), Type: dns.TypeNS, Class: 1, Data: []byte{1, 2, 3}}})}); err != nil {
		t.Fatal(err)
	}
	if z, err := Open(Config{Origin: "example.test.", Store: m, Seed: seed("example.test. SOA a. b. 1 2 3 4 5\nexample.test. NS a.")}); err == nil {
		z.Close()
		t.Error("opened a store without a zone")
	}
}

func TestReopen(t *testing.T) {
	m := store.NewMemory(store.MemoryOptions{})
	z := openText(t, updateZone, func(c *Config) { c.Store = m })
	apply(t, z, "U new.example.test. 5 IN MX 10 New.example.test.\nU a.example.test. 0 NONE A 192.0.2.10")
	before := z.Snapshot()
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := m.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	z, err = Open(Config{Origin: "Example.test", Store: m, Seed: func() ([]store.Record, error) { return nil, errors.New("asked again") }})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	verify(t, z.Snapshot())
	if got, want := texts(z.Snapshot()), texts(before); !slices.Equal(got, want) || z.Snapshot().Serial() != before.Serial() {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
