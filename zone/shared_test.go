package zone

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/tidwall/btree"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// openServer opens the zone of a cluster at one server.
func openServer(t testing.TB, s store.Shared, edit func(*Config)) *Zone {
	t.Helper()
	return openText(t, testApex, func(c *Config) {
		c.Store, c.Shared = nil, s
		if edit != nil {
			edit(c)
		}
	})
}

// until waits for a condition that another goroutine brings about.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// reaches waits until a zone has the newest state.
func reaches(t testing.TB, z *Zone, c *storetest.Cluster) {
	t.Helper()
	until(t, "the zone is in the newest state", func() bool {
		// The clock is read after the state is published: a test that sets it next waits for that too.
		z.advancing.Lock()
		defer z.advancing.Unlock()
		return z.Snapshot().position == c.Head()
	})
}

// sameTree reports whether two trees have the same contents.
func sameTree[V any](a, b *btree.Map[string, V]) bool {
	return reflect.DeepEqual(a.Keys(), b.Keys()) && reflect.DeepEqual(a.Values(), b.Values())
}

// same compares all of two states.
func same(t testing.TB, what string, a, b *Snapshot) {
	t.Helper()
	verify(t, a)
	var inA, inB []string
	for _, side := range []struct {
		s    *Snapshot
		list *[]string
	}{{a, &inA}, {b, &inB}} {
		side.s.nodes(func(key string, n *node) bool {
			*side.list = append(*side.list, fmt.Sprintf("%q %x", key, n.packed))
			return true
		})
	}
	for i := range max(len(inA), len(inB)) {
		if i >= len(inA) || i >= len(inB) || inA[i] != inB[i] {
			t.Fatalf("%s: nodes differ at %d:\n%q\n%q", what, i, inA[min(i, len(inA)):min(i+1, len(inA))], inB[min(i, len(inB)):min(i+1, len(inB))])
		}
	}
	if !sameTree(a.zonecuts, b.zonecuts) || !sameTree(a.services, b.services) || !sameTree(a.abroad, b.abroad) || !sameTree(a.aliases, b.aliases) || !sameTree(a.owners, b.owners) || !sameTree(a.tombstones, b.tombstones) ||
		!sameTree(a.reserved, b.reserved) || !sameTree(a.ownerTombstones, b.ownerTombstones) || !sameTree(a.tombstoneRanks, b.tombstoneRanks) ||
		!reflect.DeepEqual(a.usage.single.Keys(), b.usage.single.Keys()) || !reflect.DeepEqual(a.usage.single.Values(), b.usage.single.Values()) ||
		!reflect.DeepEqual(a.usage.several.Keys(), b.usage.several.Keys()) || !reflect.DeepEqual(a.usage.several.Values(), b.usage.several.Values()) {
		t.Fatalf("%s: trees differ", what)
	}
	type counts struct {
		tombstoneOwners, tombstoneOctets, reservedOctets, records, dynamic, octets int
		serial                                                                     uint32
		position                                                                   store.Position
	}
	of := func(s *Snapshot) counts {
		return counts{s.tombstoneOwners, s.tombstoneOctets, s.reservedOctets, s.records, s.dynamic, s.octets, s.serial, s.position}
	}
	if of(a) != of(b) {
		t.Fatalf("%s: counts differ:\n%+v\n%+v", what, of(a), of(b))
	}
}

// randomChanges changes some of a few names, in all ways that there are.
func randomChanges(r *rand.Rand) *dns.Msg {
	names := []string{"example.test.", "a.example.test.", "B.Example.test.", "b.example.test.", "x.a.example.test.", "y.X.a.example.test.", "_ldap._tcp.example.test.", "cut.example.test."}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	m := new(dns.Msg).SetUpdate("example.test.")
	if r.IntN(8) == 0 {
		m.NameUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: pick(names...)}}})
	}
	for range 1 + r.IntN(4) {
		name := pick(names...)
		ttl := 60 * (1 + r.IntN(3))
		var text string
		switch r.IntN(9) {
		case 0, 1, 2:
			text = fmt.Sprintf("%s %d IN A 192.0.2.%d", name, ttl, r.IntN(4))
		case 3:
			text = fmt.Sprintf("%s %d IN TXT %q", name, ttl, pick("a", "A", strings.Repeat("x", 200)))
		case 4:
			text = fmt.Sprintf("%s %d IN SRV 0 0 389 %s", name, ttl, pick("a.example.test.", "A.example.test.", "b.Example.test."))
		case 5:
			text = fmt.Sprintf("%s %d IN NS %s", name, ttl, pick("ns1.example.test.", "NS1.example.test."))
		case 6:
			text = fmt.Sprintf("%s %d IN CNAME %s", name, ttl, pick("a.example.test.", "A.example.test."))
		case 7:
			text = fmt.Sprintf("%s %d IN MX 10 %s", name, ttl, pick("a.example.test.", "A.EXAMPLE.test."))
		case 8:
			text = fmt.Sprintf("%s %d IN AAAA 2001:db8::%d", name, ttl, r.IntN(3))
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		switch r.IntN(8) {
		case 0:
			m.RemoveName([]dns.RR{rr})
		case 1:
			m.RemoveRRset([]dns.RR{rr})
		case 2, 3:
			m.Remove([]dns.RR{rr})
		default:
			m.Insert([]dns.RR{rr})
		}
	}
	return m
}

// TestReplicasAreEqual: what a server makes of the changes of others is what they have, and what the store has, to the octet and in all counts.
func TestReplicasAreEqual(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			var now sync.Mutex
			at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
			clock := func() time.Time { now.Lock(); defer now.Unlock(); return at }
			cluster := storetest.NewCluster(storetest.ClusterOptions{})
			edit := func(c *Config) {
				c.Now, c.TombstoneLifetime = clock, 48*time.Hour
				c.Aging = Aging{NoRefresh: time.Hour, Refresh: time.Hour}
				c.Limits = Limits{Tombstones: 4, OwnerTombstones: 2}
			}
			zones := []*Zone{openServer(t, cluster.Server("a"), edit), openServer(t, cluster.Server("b"), edit)}
			// One that only follows.
			follower := openServer(t, cluster.Server("c"), edit)
			changed := 0
			for i := range 300 {
				now.Lock()
				at = at.Add(time.Duration(r.IntN(90)) * time.Minute)
				now.Unlock()
				m := randomChanges(r)
				var claims []Claim
				var released []string
				for range r.IntN(3) {
					name := wire(t, m.Ns[r.IntN(len(m.Ns))].Header().Name)
					if r.IntN(6) == 0 {
						released = append(released, name)
						continue
					}
					owner := []string{"host/a@REALM", "host/b@REALM", AdministratorOwner, SignedOwner, FirstComeOwner}[r.IntN(5)]
					claims = append(claims, Claim{name, owner})
				}
				z := zones[r.IntN(2)]
				result := z.Apply(t.Context(), &Update{
					Message: pack(t, m), Static: r.IntN(4) == 0,
					Authorize: func(*Proposal) Decision { return Decision{Allow: true, Own: claims, Released: released} },
				})
				if result.Rcode == dns.RcodeServerFailure {
					t.Fatalf("%+v", result)
				}
				if result.Changed {
					changed++
				}
				if i%40 == 39 {
					if _, err := z.Scavenge(t.Context(), nil); err != nil && !errors.As(err, new(*LimitError)) {
						t.Fatal(err)
					}
				}
				if i%10 != 9 {
					continue
				}
				fresh := openServer(t, cluster.Server("d"), edit)
				for _, other := range append(zones, follower) {
					reaches(t, other, cluster)
					same(t, fmt.Sprint("after update ", i), other.Snapshot(), fresh.Snapshot())
				}
			}
			if changed < 75 {
				t.Errorf("only %d of the updates changed anything", changed)
			}
		})
	}
}

// TestConflict: an update that another server's has overtaken is decided on the state after that.
func TestConflict(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	var commits []Commit
	first := cluster.Server("a")
	applied := make(chan Applied, 10)
	a := openServer(t, first, func(c *Config) {
		c.Committed = func(c Commit) { commits = append(commits, c) }
		c.Applied = func(x Applied) { applied <- x }
	})
	b := openServer(t, cluster.Server("b"), nil)
	overtaken := false
	first.Faults(func(call storetest.Call) storetest.Fault {
		switch {
		case call == storetest.Deliver:
			return storetest.Lost // only the conflict tells
		case call == storetest.Propose && !overtaken:
			overtaken = true
			if r := apply(t, b, "U a.example.test. 5 IN A 192.0.2.2"); r.Rcode != dns.RcodeSuccess {
				t.Errorf("%+v", r)
			}
		}
		return storetest.None
	})
	asked := 0
	u := &Update{
		Message: pack(t, message(t, "P a.example.test. 0 NONE ANY\nU a.example.test. 5 IN A 192.0.2.1\nU a.example.test. 5 IN A 192.0.2.3")),
		Authorize: func(p *Proposal) Decision {
			asked++
			if got := len(p.Name(0).Records(dns.TypeA)); got != asked-1 || p.Count(1) != got+2 || !p.Name(0).Changes(dns.TypeA) {
				t.Errorf("asked %d times: %d records, %d after the update", asked, got, p.Count(1))
			}
			return Decision{Allow: true, Rule: fmt.Sprint(asked)}
		},
	}
	if r := a.Apply(t.Context(), u); r.Rcode != dns.RcodeYXDomain || r.Decision.Rule != "2" || r.Changed {
		t.Errorf("%+v", r)
	}
	if len(commits) != 1 || commits[0].Conflicts != 1 || commits[0].Err != nil || commits[0].Unknown || commits[0].Updates != 0 {
		t.Errorf("%+v", commits)
	}
	if x := <-applied; x.Server != "b" || x.Before != 10 || x.After != 11 || len(x.Changes) != 1 || x.Time.IsZero() || len(applied) > 0 {
		t.Errorf("%+v and %d more", x, len(applied))
	}
	if err := a.Writable(); err != nil {
		t.Errorf("after a conflict: %v", err)
	}
	if a.LastChange().IsZero() {
		t.Error("the other server's change is none of the zone")
	}
	same(t, "after the conflict", a.Snapshot(), b.Snapshot())
}

// TestNothingChangesWithoutConfirmation: an answer that rests on the zone's state is not given from a state that is not the newest.
func TestNothingChangesWithoutConfirmation(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	first := cluster.Server("a")
	a, b := openServer(t, first, nil), openServer(t, cluster.Server("b"), nil)
	first.Faults(func(call storetest.Call) storetest.Fault {
		if call == storetest.Deliver {
			return storetest.Lost
		}
		return storetest.None
	})
	for i, step := range []struct {
		does, elsewhere, script string
		rcode                   int
		changed                 bool
	}{
		{"a no-op that is none any more", "U a.example.test. 5 IN A 192.0.2.1", "U a.example.test. 0 ANY ANY", dns.RcodeSuccess, true},
		{"a no-op that stays one", "U a.example.test. 5 IN A 192.0.2.1", "U a.example.test. 5 IN A 192.0.2.1", dns.RcodeSuccess, false},
		{"a prerequisite that is met now", "U b.example.test. 5 IN A 192.0.2.1", "P b.example.test. 0 ANY ANY\nU b.example.test. 5 IN A 192.0.2.2", dns.RcodeSuccess, true},
		{"one that is not met any more", "U b.example.test. 0 ANY ANY", "P b.example.test. 0 ANY ANY", dns.RcodeNameError, false},
	} {
		if r := apply(t, b, step.elsewhere); r.Rcode != dns.RcodeSuccess || !r.Changed {
			t.Fatalf("%d: elsewhere: %+v", i, r)
		}
		if r := apply(t, a, step.script); r.Rcode != step.rcode || r.Changed != step.changed {
			t.Errorf("%s: %+v", step.does, r)
		}
		reaches(t, b, cluster)
		same(t, step.does, a.Snapshot(), b.Snapshot())
	}
	// Without an answer of the store there is none.
	first.Cut(true)
	for _, script := range []string{"", "P gone.example.test. 0 ANY ANY"} {
		r := apply(t, a, script)
		if r.Rcode != dns.RcodeServerFailure || errors.Is(r.Err, store.ErrUnknown) || !errors.Is(r.Err, errUnconfirmed) {
			t.Errorf("%q while the store cannot be reached: %+v", script, r)
		}
	}
	r := a.Apply(t.Context(), &Update{Message: pack(t, message(t, "")), Authorize: func(*Proposal) Decision { return Decision{} }})
	if r.Rcode != dns.RcodeServerFailure {
		t.Errorf("a refusal while the store cannot be reached: %+v", r)
	}
	// Nor is there one for an update that comes before one that changes something.
	var batch []*pending
	for _, script := range []string{"", "U c.example.test. 5 IN A 192.0.2.1"} {
		u := &Update{Message: pack(t, message(t, script))}
		p, err := a.parse(u, &a.settings.Load().limits)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, &pending{update: u, proposal: p, done: make(chan struct{})})
	}
	a.writing.Lock()
	a.do(slices.Clone(batch))
	a.endWriting()
	for i, p := range batch {
		if p.result.Rcode != dns.RcodeServerFailure || errors.Is(p.result.Err, store.ErrUnknown) != (i == 1) {
			t.Errorf("update %d: %+v", i, p.result)
		}
	}
}

// TestUnknown: the update of an unknown outcome is not done again, and what became of it is learned.
func TestUnknown(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   storetest.Fault
		release bool
		done    bool
		follow  bool
	}{
		{"lost", storetest.Lost, false, false, true},
		{"committed, told by Follow", storetest.Unanswered, false, true, true},
		{"committed, told by a conflict", storetest.Unanswered, false, true, false},
		{"committed later", storetest.Delayed, true, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster := storetest.NewCluster(storetest.ClusterOptions{})
			s := cluster.Server("a")
			applied := make(chan Applied, 10)
			var commits []Commit
			z := openServer(t, s, func(c *Config) {
				c.Applied = func(x Applied) { applied <- x }
				c.Committed = func(c Commit) { commits = append(commits, c) }
			})
			proposals := 0
			s.Faults(func(call storetest.Call) storetest.Fault {
				if call == storetest.Propose {
					if proposals++; proposals == 1 {
						return test.fault
					}
				}
				if call == storetest.Deliver && !test.follow {
					return storetest.Lost
				}
				return storetest.None
			})
			r := apply(t, z, "U a.example.test. 5 IN A 192.0.2.1")
			if r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, store.ErrUnknown) || r.Changed || proposals != 1 {
				t.Fatalf("%+v after %d proposals", r, proposals)
			}
			if len(commits) != 1 || !commits[0].Unknown || commits[0].Err == nil {
				t.Errorf("%+v", commits)
			}
			if err := z.Writable(); !errors.Is(err, store.ErrUnknown) {
				t.Errorf("writable: %v", err)
			}
			if test.release {
				s.Release()
			}
			if test.done && test.follow {
				until(t, "the zone has the update", func() bool { return z.Snapshot().Exists("a.example.test.") })
			}
			r = apply(t, z, "U b.example.test. 5 IN A 192.0.2.1")
			if r.Rcode != dns.RcodeSuccess || !r.Changed {
				t.Errorf("the next one: %+v", r)
			}
			if got := z.Snapshot().Exists("a.example.test."); got != test.done {
				t.Errorf("the update was done: %v", got)
			}
			// The next change of another server is the last to be told of.
			other := openServer(t, cluster.Server("b"), nil)
			s.Faults(nil)
			if r := apply(t, other, "U c.example.test. 5 IN A 192.0.2.1"); !r.Changed {
				t.Fatalf("%+v", r)
			}
			cluster.Heartbeat()
			var servers []string
			for x := range applied {
				if servers = append(servers, x.Server); x.Server == "b" || x.Loaded {
					break
				}
			}
			want := []string{"b"}
			if test.done {
				want = []string{"a", "b"}
			}
			if !slices.Equal(servers, want) {
				t.Errorf("told of changes of %q, want %q", servers, want)
			}
		})
	}
}

// TestTooLarge: a batch that the store cannot take in one piece is done in several, and an update that it can never take is refused.
func TestTooLarge(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{BatchRecords: 8})
	z := openServer(t, cluster.Server("a"), nil)
	var batch []*pending
	add := func(count int) {
		var script strings.Builder
		for i := range count {
			fmt.Fprintf(&script, "U h%d-%d.example.test. 5 IN A 192.0.2.1\n", len(batch), i)
		}
		u := &Update{Message: pack(t, message(t, script.String()))}
		p, err := z.parse(u, &z.settings.Load().limits)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, &pending{update: u, proposal: p, done: make(chan struct{})})
	}
	for _, count := range []int{1, 2, 30, 3, 1} {
		add(count)
	}
	z.writing.Lock()
	all := append([]*pending(nil), batch...)
	z.do(batch)
	z.endWriting()
	for i, p := range all {
		want := dns.RcodeSuccess
		if i == 2 {
			want = dns.RcodeRefused
		}
		if p.result.Rcode != want || errors.Is(p.result.Err, store.ErrTooLarge) != (i == 2) {
			t.Errorf("update %d: %+v", i, p.result)
		}
	}
	if got := z.Snapshot().Serial(); got != 14 {
		t.Errorf("serial %d", got)
	}
	if err := z.Writable(); err != nil {
		t.Errorf("writable: %v", err)
	}
}

// TestHistoryIsGone: a server for which the log does not reach back any more loads the zone again, beside its readers.
func TestHistoryIsGone(t *testing.T) {
	for _, first := range []string{"by an update", "by Follow"} {
		t.Run(first, func(t *testing.T) {
			cluster := storetest.NewCluster(storetest.ClusterOptions{})
			s := cluster.Server("a")
			applied := make(chan Applied, 10)
			a := openServer(t, s, func(c *Config) { c.Applied = func(x Applied) { applied <- x } })
			b := openServer(t, cluster.Server("b"), nil)
			s.Cut(true)
			for i := range 20 {
				if r := apply(t, b, fmt.Sprintf("U h%d.example.test. 5 IN A 192.0.2.1", i)); !r.Changed {
					t.Fatalf("%+v", r)
				}
			}
			cluster.Trim(5)
			if first == "by an update" {
				s.Faults(func(call storetest.Call) storetest.Fault {
					if call == storetest.Deliver {
						return storetest.Lost
					}
					return storetest.None
				})
			}
			s.Cut(false)
			if first == "by an update" {
				if r := apply(t, a, "P h19.example.test. 0 NONE ANY"); r.Rcode != dns.RcodeYXDomain {
					t.Errorf("%+v", r)
				}
			}
			reaches(t, a, cluster)
			same(t, "loaded again", a.Snapshot(), b.Snapshot())
			if x := <-applied; !x.Loaded || x.Before != 10 || x.After != 30 || len(x.Changes) > 0 || len(applied) > 0 {
				t.Errorf("told of %+v and %d more", x, len(applied))
			}
		})
	}
}

// TestOthersInit: two servers that fill a store at the same moment have the same zone.
func TestOthersInit(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	var b *Zone
	a := openServer(t, cluster.Server("a"), func(c *Config) {
		seed := c.Seed
		c.Seed = func() ([]store.Record, error) {
			b = openServer(t, cluster.Server("b"), func(c *Config) {
				c.Seed = func() ([]store.Record, error) { return GeneratedApex("example.test.", "other.test.") }
			})
			return seed()
		}
	})
	same(t, "at first", a.Snapshot(), b.Snapshot())
	if r := apply(t, a, "U a.example.test. 5 IN A 192.0.2.1"); !r.Changed {
		t.Errorf("%+v", r)
	}
	reaches(t, b, cluster)
	same(t, "after an update", a.Snapshot(), b.Snapshot())
}

// TestFreezeAtAllServers: one server freezes and thaws the zone for all.
func TestFreezeAtAllServers(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	s := cluster.Server("b")
	a, b := openServer(t, cluster.Server("a"), nil), openServer(t, s, nil)
	if !freeze(t, a) || freeze(t, a) {
		t.Error("the first Freeze freezes, the second finds the zone frozen")
	}
	// The other server may not know yet, but nothing is applied.
	if r := apply(t, b, "U a.example.test. 60 IN A 192.0.2.1"); r.Rcode != dns.RcodeRefused || r.Decision.Cause != CauseFrozen {
		t.Errorf("%+v", r)
	}
	if freeze(t, b) {
		t.Error("the other server did not know that the zone is frozen")
	}
	c := openServer(t, cluster.Server("c"), nil)
	sinceA, _ := a.Frozen()
	for _, z := range []*Zone{b, c} {
		if since, frozen := z.Frozen(); !frozen || !since.Equal(sinceA) {
			t.Errorf("frozen %v since %v, not %v", frozen, since, sinceA)
		}
	}
	if !thaw(t, b) || thaw(t, a) {
		t.Error("the first Thaw thaws, the second finds the zone thawed")
	}
	if r := apply(t, a, "U a.example.test. 60 IN A 192.0.2.1"); !r.Changed {
		t.Errorf("%+v", r)
	}
	// One that has missed it learns it when it loads the zone again.
	s.Cut(true)
	freeze(t, a)
	cluster.Trim(0)
	s.Cut(false)
	until(t, "the other server knows that the zone is frozen", func() bool { _, frozen := b.Frozen(); return frozen })
	s.Cut(true)
	thaw(t, a)
	cluster.Trim(0)
	s.Cut(false)
	until(t, "the other server knows that the zone is thawed", func() bool { _, frozen := b.Frozen(); return !frozen })
	s.Cut(true)
	if changed, err := b.Freeze(t.Context()); changed || !errors.Is(err, store.ErrUnknown) {
		t.Errorf("without the store: %v, %v", changed, err)
	}
	if _, frozen := b.Frozen(); frozen {
		t.Error("frozen by a proposal that was not committed")
	}
}

// TestSealAtAllServers: one server seals the zone for all, also for one that does not know it yet, or that starts then.
func TestSealAtAllServers(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	a, b := openServer(t, cluster.Server("a"), nil), openServer(t, cluster.Server("b"), nil)
	s := Sections{Updates: []store.Record{record(t, "a.example.test.", "A", dns.ClassINET, 60, "192.0.2.1")}}
	administer := func(z *Zone, want int) {
		t.Helper()
		if r := z.Apply(t.Context(), &Update{Sections: &s, Administrative: true}); r.Rcode != want {
			t.Errorf("administrative: %+v", r)
		}
	}
	freeze(t, a)
	administer(b, dns.RcodeSuccess)
	if changed, err := a.Seal(t.Context()); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	administer(b, dns.RcodeRefused)
	administer(openServer(t, cluster.Server("c"), nil), dns.RcodeRefused)
	// One that does not know it yet must not thaw it.
	d := openServer(t, cluster.Server("d"), nil)
	if changed, err := d.Unseal(t.Context()); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	if changed, err := a.Seal(t.Context()); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	if changed, err := d.Thaw(t.Context()); changed || !errors.Is(err, ErrSealed) {
		t.Errorf("%v, %v", changed, err)
	}
	administer(a, dns.RcodeRefused)
	if changed, err := b.Unseal(t.Context()); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	administer(a, dns.RcodeSuccess)
	if r := apply(t, a, "U b.example.test. 60 IN A 192.0.2.1"); r.Rcode != dns.RcodeRefused {
		t.Errorf("not frozen any more: %+v", r)
	}
}

// TestReplayed: a message is done once, by whatever server it comes to first.
func TestReplayed(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	a, b := openServer(t, cluster.Server("a"), nil), openServer(t, cluster.Server("b"), nil)
	send := func(z *Zone, number uint64, script string) Result {
		return z.Apply(context.Background(), &Update{Message: pack(t, message(t, script)), Mark: store.Mark{Context: [16]byte{1}, Number: number}})
	}
	add, remove := "U a.example.test. 5 IN A 192.0.2.1", "U a.example.test. 0 ANY ANY"
	if r := send(a, 1, remove); r.Rcode != dns.RcodeSuccess || r.Changed {
		t.Fatalf("%+v", r)
	}
	if r := send(b, 2, "P a.example.test. 0 ANY ANY\n"+remove); r.Rcode != dns.RcodeNameError {
		t.Fatalf("%+v", r)
	}
	if r := send(a, 3, add); !r.Changed {
		t.Fatalf("%+v", r)
	}
	c := openServer(t, cluster.Server("c"), nil)
	for _, z := range []*Zone{a, b, c} {
		for number, script := range []string{1: remove, 2: "P a.example.test. 0 ANY ANY\n" + remove, 3: add} {
			if script == "" {
				continue
			}
			if r := send(z, uint64(number), script); !errors.Is(r.Err, ErrReplayed) || r.Changed {
				t.Errorf("message %d again: %+v", number, r)
			}
		}
	}
	// One that was refused may come again.
	u := &Update{Message: pack(t, message(t, remove)), Mark: store.Mark{Number: 9}, Authorize: func(*Proposal) Decision { return Decision{} }}
	if r := b.Apply(t.Context(), u); r.Rcode != dns.RcodeRefused || errors.Is(r.Err, ErrReplayed) {
		t.Errorf("%+v", r)
	}
	u.Authorize = nil
	if r := c.Apply(t.Context(), u); !r.Changed {
		t.Errorf("%+v", r)
	}
}

// TestDiverged: a store that has another history is not followed, and queries go on.
func TestDiverged(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	s := cluster.Server("a")
	a := openServer(t, s, nil)
	backup := cluster.Backup()
	if r := apply(t, a, "U a.example.test. 5 IN A 192.0.2.1"); !r.Changed {
		t.Fatalf("%+v", r)
	}
	if err := a.Diverged(); err != nil {
		t.Error(err)
	}
	// It could not tell a store that is where it has not followed it from yet.
	begun := time.Now()
	until(t, "the zone follows", func() bool { cluster.Heartbeat(); return a.Confirmed().After(begun) })
	cluster.Restore(backup)
	until(t, "the zone knows", func() bool { return a.Diverged() != nil })
	if err := a.Diverged(); !errors.Is(err, store.ErrDiverged) {
		t.Error(err)
	}
	s.Faults(func(call storetest.Call) storetest.Fault {
		t.Errorf("call %d of a store with another history", call)
		return storetest.None
	})
	if r := apply(t, a, "U b.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, store.ErrDiverged) {
		t.Errorf("%+v", r)
	}
	if _, err := a.Freeze(t.Context()); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("freeze: %v", err)
	}
	if err := a.Writable(); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("writable: %v", err)
	}
	if !a.Snapshot().Exists("a.example.test.") {
		t.Error("what the server had is gone")
	}
}

// TestEpochRaisesTheSerial: a server that learns of a restored backup only when an administrator has declared that to be the zone loads
// it if its serial is greater than the one that it has served. Secondaries would not take a lower one.
func TestEpochRaisesTheSerial(t *testing.T) {
	for _, by := range []int32{-1, 0, 1} {
		raised := by > 0
		cluster := storetest.NewCluster(storetest.ClusterOptions{})
		s := cluster.Server("a")
		a := openServer(t, s, nil)
		backup := cluster.Backup()
		for _, name := range []string{"a", "b"} {
			if r := apply(t, a, "U "+name+".example.test. 5 IN A 192.0.2.1"); !r.Changed {
				t.Fatalf("%+v", r)
			}
		}
		served := a.Snapshot().Serial()
		s.Cut(true)
		cluster.Restore(backup)
		cluster.NewEpoch()
		b := openServer(t, cluster.Server("b"), nil)
		for i := 0; int32(b.Snapshot().Serial()-served) < by; i++ {
			if r := apply(t, b, fmt.Sprintf("U c%d.example.test. 5 IN A 192.0.2.1", i)); !r.Changed {
				t.Fatalf("%+v", r)
			}
		}
		s.Cut(false)
		if raised {
			until(t, "the server has the new epoch", func() bool { return a.Epoch() == b.Epoch() })
			if a.Snapshot().Exists("a.example.test.") || a.Snapshot().Serial() != b.Snapshot().Serial() {
				t.Errorf("serial %d, wanted %d", a.Snapshot().Serial(), b.Snapshot().Serial())
			}
			continue
		}
		until(t, "the server knows", func() bool { return a.Diverged() != nil })
		if err := a.Diverged(); !errors.Is(err, store.ErrDiverged) || a.Snapshot().Serial() != served || !a.Snapshot().Exists("a.example.test.") {
			t.Errorf("serial %d, wanted %d: %v", a.Snapshot().Serial(), served, err)
		}
	}
}

// TestConfirmed: a server knows since when it has heard nothing.
func TestConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := storetest.NewCluster(storetest.ClusterOptions{})
		s := cluster.Server("a")
		z := openServer(t, s, nil)
		synctest.Wait()
		age := func(want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := time.Since(z.Confirmed()); got != want {
				t.Errorf("confirmed %s ago, want %s", got, want)
			}
		}
		age(0)
		time.Sleep(5 * time.Second)
		age(5 * time.Second)
		cluster.Heartbeat()
		age(0)
		s.Cut(true)
		time.Sleep(time.Minute)
		cluster.Heartbeat()
		age(time.Minute)
		apply(t, z, "")
		age(time.Minute)
		s.Cut(false)
		age(0)
		time.Sleep(time.Second)
		apply(t, z, "")
		age(0)
		// What comes late is as old as it is.
		s.Faults(func(call storetest.Call) storetest.Fault {
			time.Sleep(3 * time.Second)
			return storetest.None
		})
		cluster.Heartbeat()
		time.Sleep(3 * time.Second)
		age(3 * time.Second)
		z.Close()
	})
}

// TestBatchAfterAnOutage: what another server has committed while this one was cut off shows no wrong clock.
func TestBatchAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := storetest.NewCluster(storetest.ClusterOptions{})
		s := cluster.Server("a")
		a, b := openServer(t, s, nil), openServer(t, cluster.Server("b"), nil)
		synctest.Wait()
		s.Cut(true)
		if r := apply(t, b, "U a.example.test. 5 IN A 192.0.2.1"); !r.Changed {
			t.Fatalf("%+v", r)
		}
		time.Sleep(5 * time.Hour)
		s.Cut(false)
		synctest.Wait()
		if !a.Snapshot().Exists("a.example.test.") {
			t.Fatal("it has not come")
		}
		if other, difference := a.grace.differed(); other != "" {
			t.Errorf("the clock of %s differs by %v", other, difference)
		}
		a.Close()
		b.Close()
	})
}

// TestAppliedDoesNotHoldUp: neither updates nor Close wait for who is told of changes, and what piles up is bounded.
func TestAppliedDoesNotHoldUp(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	entered, leave := make(chan Applied), make(chan struct{})
	t.Cleanup(func() { close(leave) })
	a := openServer(t, cluster.Server("a"), func(c *Config) {
		c.Applied = func(x Applied) {
			entered <- x
			<-leave
		}
	})
	b := openServer(t, cluster.Server("b"), nil)
	change := func(i int) {
		if r := apply(t, b, fmt.Sprintf("U a.example.test. 0 ANY TXT\nU a.example.test. 5 IN TXT %d", i)); !r.Changed {
			t.Fatalf("%+v", r)
		}
	}
	change(0)
	<-entered
	for i := range maxAnnounced + 1 {
		change(1 + i)
	}
	if r := apply(t, a, "P a.example.test. 0 NONE ANY"); r.Rcode != dns.RcodeYXDomain {
		t.Errorf("%+v", r)
	}
	leave <- struct{}{}
	if x := <-entered; !x.Loaded || x.Before != 11 || x.After != a.Snapshot().Serial() {
		t.Errorf("%+v", x)
	}
	change(maxAnnounced + 2)
	leave <- struct{}{}
	if x := <-entered; x.Loaded || len(x.Changes) != 1 {
		t.Errorf("%+v", x)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// TestBatchTellsWholeNames: a store is told what the names that a batch touches hold after it.
func TestBatchTellsWholeNames(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	s := &whole{Shared: cluster.Server("a"), t: t, records: make(map[string][]store.Record), owners: make(map[string]store.Owner)}
	z := openServer(t, s, nil)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		m := randomChanges(r)
		var claims []Claim
		if r.IntN(2) == 0 {
			claims = append(claims, Claim{wire(t, m.Ns[0].Header().Name), "host/a@REALM"})
		}
		z.Apply(t.Context(), &Update{Message: pack(t, m), Authorize: func(*Proposal) Decision { return Decision{Allow: true, Own: claims} }})
	}
	var got, want []string
	for _, records := range s.records {
		for _, r := range records {
			got = append(got, fmt.Sprint(r))
		}
	}
	for r := range z.Snapshot().WireRecords() {
		want = append(want, fmt.Sprint(r))
	}
	for o := range z.Snapshot().Owners() {
		want = append(want, fmt.Sprint(o))
	}
	for _, o := range s.owners {
		got = append(got, fmt.Sprint(o))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("names hold\n%q\nthe zone holds\n%q", got, want)
	}
}

// whole keeps what each name holds.
type whole struct {
	store.Shared
	t       *testing.T
	records map[string][]store.Record
	owners  map[string]store.Owner
}

func (w *whole) Init(ctx context.Context, c store.Contents) (store.Position, error) {
	for r := range c.Records {
		key := strings.ToLower(r.Name)
		w.records[key] = append(w.records[key], r)
	}
	return w.Shared.Init(ctx, c)
}

func (w *whole) Propose(ctx context.Context, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	touched := make(map[string]bool)
	for _, c := range b.Changes {
		for _, r := range slices.Concat(c.Removed, c.Added, c.Refreshed) {
			touched[strings.ToLower(r.Name)] = true
		}
		for _, o := range c.Owners {
			touched[o.Name] = true
		}
		for _, name := range c.Disowned {
			touched[name] = true
		}
	}
	for name := range touched {
		records, owner := b.At(name)
		w.records[name] = records
		if delete(w.owners, name); owner != nil {
			w.owners[name] = *owner
		}
	}
	return w.Shared.Propose(ctx, at, b)
}

// TestTimeIsBounded: an update has an answer after 2.5 seconds, whatever the store does.
func TestTimeIsBounded(t *testing.T) {
	update := func(z *Zone) (Result, time.Duration) {
		begun := time.Now()
		r := apply(t, z, "U a.example.test. 5 IN A 192.0.2.1")
		return r, time.Since(begun)
	}
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := storetest.NewCluster(storetest.ClusterOptions{}).Server("a")
			z := openServer(t, s, nil)
			s.Faults(func(call storetest.Call) storetest.Fault {
				if call == storetest.Deliver {
					return storetest.None
				}
				return storetest.Silent
			})
			if r, took := update(z); r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, store.ErrUnknown) || took != settleTime {
				t.Errorf("%+v after %s", r, took)
			}
			begun := time.Now()
			if _, err := z.Freeze(t.Context()); !errors.Is(err, store.ErrUnknown) || time.Since(begun) != settleTime {
				t.Errorf("freeze: %v after %s", err, time.Since(begun))
			}
			s.Faults(nil)
			z.Close()
		})
	})
	for name, pause := range map[string]time.Duration{"slow conflicts": 100 * time.Millisecond, "many conflicts": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := storetest.NewCluster(storetest.ClusterOptions{})
				s := cluster.Server("a")
				var commits []Commit
				z := openServer(t, s, func(c *Config) { c.Committed = func(c Commit) { commits = append(commits, c) } })
				other := openServer(t, cluster.Server("b"), nil)
				attempts := 0
				s.Faults(func(call storetest.Call) storetest.Fault {
					if call == storetest.Propose {
						attempts++
						time.Sleep(pause)
						if r := apply(t, other, fmt.Sprintf("U b.example.test. %d IN A 192.0.2.1", attempts)); !r.Changed {
							t.Errorf("%+v", r)
						}
					}
					return storetest.None
				})
				r, took := update(z)
				if r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, store.ErrConflict) || errors.Is(r.Err, store.ErrUnknown) || r.Changed {
					t.Errorf("%+v", r)
				}
				if took > settleTime+pause || attempts > settleAttempts || attempts < 20 || len(commits) != 1 || commits[0].Conflicts < attempts-1 || commits[0].Unknown {
					t.Errorf("%d attempts in %s, %+v", attempts, took, commits)
				}
				if err := z.Writable(); err != nil {
					t.Errorf("writable: %v", err)
				}
				s.Faults(nil)
				if r, _ := update(z); !r.Changed {
					t.Errorf("afterwards: %+v", r)
				}
				z.Close()
				other.Close()
			})
		})
	}
	t.Run("loaded again for long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cluster := storetest.NewCluster(storetest.ClusterOptions{})
			s := cluster.Server("a")
			z := openServer(t, s, nil)
			other := openServer(t, cluster.Server("b"), nil)
			s.Cut(true)
			apply(t, other, "U b.example.test. 5 IN A 192.0.2.1")
			cluster.Trim(0)
			const load = 10 * time.Second
			s.Faults(func(call storetest.Call) storetest.Fault {
				if call == storetest.Load {
					time.Sleep(load)
				}
				return storetest.None
			})
			s.Cut(false)
			if r, took := update(z); r.Rcode != dns.RcodeServerFailure || !errors.Is(r.Err, store.ErrHistory) || took != settleTime {
				t.Errorf("%+v after %s", r, took)
			}
			time.Sleep(load)
			if r, _ := update(z); !r.Changed || r.Before != 11 {
				t.Errorf("afterwards: %+v", r)
			}
			z.Close()
			other.Close()
		})
	})
}

// TestLostBatch: a batch that Follow has lost is had by following again, without loading the zone again.
func TestLostBatch(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	s := cluster.Server("a")
	applied := make(chan Applied, 10)
	var loads, delivered atomic.Int32
	a := openServer(t, s, func(c *Config) { c.Applied = func(x Applied) { applied <- x } })
	b := openServer(t, cluster.Server("b"), nil)
	s.Faults(func(call storetest.Call) storetest.Fault {
		switch call {
		case storetest.Load:
			loads.Add(1)
		case storetest.Deliver:
			if delivered.Add(1) == 1 {
				return storetest.Lost
			}
		}
		return storetest.None
	})
	for i := range 3 {
		apply(t, b, fmt.Sprintf("U h%d.example.test. 5 IN A 192.0.2.1", i))
	}
	for i := range 3 {
		if x := <-applied; x.Loaded || x.After != uint32(11+i) {
			t.Errorf("%+v", x)
		}
	}
	same(t, "after the loss", a.Snapshot(), b.Snapshot())
	// The last one of all is missed when the store says what is the newest.
	delivered.Store(0)
	apply(t, b, "U h9.example.test. 5 IN A 192.0.2.1")
	cluster.Heartbeat()
	if x := <-applied; x.Loaded || x.After != 14 {
		t.Errorf("%+v", x)
	}
	a.Close()
	if n := loads.Load(); n > 0 {
		t.Errorf("loaded %d times", n)
	}
}

// slow is a store that answers a proposal only after Follow has brought what was committed.
type slow struct {
	store.Shared
	zone   func() *Zone
	before func() // after the commit
}

func (s slow) Propose(ctx context.Context, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	p, missed, err := s.Shared.Propose(ctx, at, b)
	if err == nil && s.before != nil {
		s.before()
	}
	for ctx.Err() == nil && s.zone().Snapshot().position.Sequence < p.Sequence {
		time.Sleep(time.Millisecond)
	}
	return p, missed, err
}

// TestFollowIsFaster: a server's own batch that Follow brings first is its own all the same, and what comes after it stays.
func TestFollowIsFaster(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	applied := make(chan Applied, 10)
	b := openServer(t, cluster.Server("b"), nil)
	var a *Zone
	a = openServer(t, slow{cluster.Server("a"), func() *Zone { return a }, func() {
		if r := apply(t, b, "U b.example.test. 0 ANY ANY\nU b.example.test. 5 IN A 192.0.2.1\nU a.example.test. 5 IN A 192.0.2.9"); !r.Changed {
			t.Errorf("%+v", r)
		}
		until(t, "the other server's change is there", func() bool { return a.Snapshot().Exists("b.example.test.") })
		if len(applied) > 0 {
			t.Error("told of a change while it is not known whose it is")
		}
	}}, func(c *Config) { c.Applied = func(x Applied) { applied <- x } })
	r := apply(t, a, "U a.example.test. 5 IN A 192.0.2.1")
	if r.Rcode != dns.RcodeSuccess || !r.Changed || r.After != 11 {
		t.Errorf("%+v", r)
	}
	if s := a.Snapshot(); s.position != cluster.Head() || len(s.RRset("a.example.test.", dns.TypeA)) != 2 {
		t.Errorf("at %+v", s.position)
	}
	if x := <-applied; x.Server != "b" || x.Before != 11 || x.After != 12 || len(applied) > 0 {
		t.Errorf("told of %+v and %d more", x, len(applied))
	}
	same(t, "in the end", a.Snapshot(), b.Snapshot())
}

// TestOtherBatch: a batch with the number of one that this server has, but another one, is of another history.
func TestOtherBatch(t *testing.T) {
	z := openServer(t, storetest.NewCluster(storetest.ClusterOptions{}).Server("a"), nil)
	c := store.Committed{Position: z.Snapshot().position}
	if err := z.adopt([]store.Committed{c}); err != nil {
		t.Errorf("the same: %v", err)
	}
	c.Position.Batch[0]++
	if err := z.adopt([]store.Committed{c}); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("another: %v", err)
	}
}

// corrupt is a store whose log has other changes than were committed.
type corrupt struct {
	store.Shared
	damage func(*store.Change)
}

func (c corrupt) Follow(ctx context.Context, from store.Position) iter.Seq2[store.Committed, error] {
	return func(yield func(store.Committed, error) bool) {
		for b, err := range c.Shared.Follow(ctx, from) {
			b.Changes = slices.Clone(b.Changes)
			for i := range b.Changes {
				c.damage(&b.Changes[i])
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// TestDamagedLog: what cannot be applied is not, and the zone is loaded instead.
func TestDamagedLog(t *testing.T) {
	for name, damage := range map[string]func(*store.Change){
		"a gap":                  func(c *store.Change) { c.From++ },
		"another serial":         func(c *store.Change) { c.To++ },
		"a name outside":         func(c *store.Change) { c.Added[1].Name = wire(t, "a.example.net.") },
		"a name that is none":    func(c *store.Change) { c.Added[1].Name = "\x3fa" },
		"another class":          func(c *store.Change) { c.Added[1].Class = dns.ClassCHAOS },
		"a type that is none":    func(c *store.Change) { c.Added[1].Type = dns.TypeANY },
		"no record":              func(c *store.Change) { c.Removed = append(c.Removed, c.Added[1]) },
		"a refresh of no record": func(c *store.Change) { c.Refreshed = append(c.Refreshed, c.Removed[0]) },
		"malformed rdata":        func(c *store.Change) { c.Added[1].Type, c.Added[1].Data = dns.TypeSRV, []byte{1} },
		"another SOA":            func(c *store.Change) { c.Added[1].Type, c.Added[1].Data = dns.TypeSOA, c.Added[0].Data },
		"no NS": func(c *store.Change) {
			c.Removed = append(c.Removed, recordsOf(t, parseRR(t, "example.test. 3600 IN NS ns1.example.test."))...)
		},
		"an owner outside":        func(c *store.Change) { c.Owners = []store.Owner{{Name: wire(t, "a.example.net.")}} },
		"disowned outside":        func(c *store.Change) { c.Disowned = []string{"\x01"} },
		"the SOA is not replaced": func(c *store.Change) { c.Added = c.Added[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			cluster := storetest.NewCluster(storetest.ClusterOptions{})
			applied := make(chan Applied, 10)
			damaged := corrupt{cluster.Server("a"), func(c *store.Change) {
				c.Added, c.Removed = slices.Clone(c.Added), slices.Clone(c.Removed)
				damage(c)
			}}
			a := openServer(t, damaged, func(c *Config) { c.Applied = func(x Applied) { applied <- x } })
			b := openServer(t, cluster.Server("b"), nil)
			if r := apply(t, b, "U a.example.test. 5 IN A 192.0.2.1"); !r.Changed {
				t.Fatalf("%+v", r)
			}
			if x := <-applied; !x.Loaded {
				t.Errorf("applied %+v", x)
			}
			same(t, "loaded instead", a.Snapshot(), b.Snapshot())
		})
	}
}

// TestScavengeAtAllServers: each server may remove stale records. Each counts those that it has removed.
func TestScavengeAtAllServers(t *testing.T) {
	var mu sync.Mutex
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
	cluster := storetest.NewCluster(storetest.ClusterOptions{Now: clock})
	edit := func(c *Config) {
		c.Now = clock
		c.Aging = Aging{NoRefresh: time.Hour, Refresh: time.Hour}
	}
	var zones []*Zone
	for _, name := range []string{"a", "b", "c"} {
		zones = append(zones, openServer(t, cluster.Server(name), edit))
	}
	const count = 3*scavengeRecords + 7
	for i := range count {
		if r := apply(t, zones[i%3], fmt.Sprintf("U h%d.example.test. 5 IN A 192.0.2.1", i)); !r.Changed {
			t.Fatalf("%+v", r)
		}
	}
	for _, z := range zones {
		reaches(t, z, cluster)
	}
	mu.Lock()
	at = at.Add(30 * time.Minute)
	mu.Unlock()
	for _, z := range zones {
		z.grace.observe(clock().Unix(), z.elapsed())
	}
	for range 5 { // in steps that are no jump of the clock
		mu.Lock()
		at = at.Add(45 * time.Minute)
		mu.Unlock()
	}
	// One of them was refreshed, and a server that does not know it yet must not remove it.
	apply(t, zones[0], "U h0.example.test. 5 IN A 192.0.2.1")
	var removed [3]int
	var servers sync.WaitGroup
	for i, z := range zones {
		servers.Go(func() {
			s, err := z.Scavenge(t.Context(), func(r Result) {
				if r.Rcode != dns.RcodeSuccess {
					t.Errorf("%+v", r)
				}
			})
			if err != nil || s.Waiting > 0 {
				t.Errorf("%+v, %v", s, err)
			}
			removed[i] = s.Removed
		})
	}
	servers.Wait()
	if all := removed[0] + removed[1] + removed[2]; all != count-1 {
		t.Errorf("removed %v, want %d in all", removed, count-1)
	}
	for _, z := range zones {
		reaches(t, z, cluster)
		if s := z.Snapshot(); s.Dynamic() != 1 || !s.Exists("h0.example.test.") {
			t.Errorf("%d dynamic records are left", s.Dynamic())
		}
	}
}

// TestAgingWaitsAfterOutage: records that clients could not refresh, because the store was out of reach, are not removed at once.
func TestAgingWaitsAfterOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := storetest.NewCluster(storetest.ClusterOptions{})
		s := cluster.Server("a")
		aging := Aging{NoRefresh: time.Hour, Refresh: 24 * time.Hour}
		z := openServer(t, s, func(c *Config) { c.Aging = aging })
		for _, test := range []struct {
			outage time.Duration
			waits  bool
		}{{50 * time.Minute, false}, {3 * time.Hour, true}} {
			synctest.Wait()
			before := z.AgingFrom()
			s.Cut(true)
			time.Sleep(test.outage)
			s.Cut(false)
			synctest.Wait()
			if got := z.AgingFrom(); got.After(before) != test.waits || test.waits && got.Before(time.Now().Add(aging.Refresh-time.Second)) {
				t.Errorf("after %s without the store: aging from %s, before it from %s", test.outage, got, before)
			}
		}
		z.Close()
	})
}

// TestOneStore: a zone has one store.
func TestOneStore(t *testing.T) {
	for _, config := range []Config{
		{Origin: "example.test."},
		{Origin: "example.test.", Store: store.NewMemory(store.MemoryOptions{}), Shared: storetest.NewCluster(storetest.ClusterOptions{}).Server("a")},
	} {
		if _, err := Open(config); err == nil {
			t.Errorf("opened %+v", config)
		}
	}
}

// TestServersWithFaults: whatever goes wrong between servers and their store, an update is done once or not at all, as its answer says, and all servers
// have the same in the end.
func TestServersWithFaults(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			cluster := storetest.NewCluster(storetest.ClusterOptions{Batches: 20})
			var faults sync.Mutex
			random := rand.New(rand.NewPCG(seed, 3))
			draw := func(n int) int {
				faults.Lock()
				defer faults.Unlock()
				return random.IntN(n)
			}
			var servers []*storetest.Server
			var zones []*Zone
			for _, name := range []string{"a", "b", "c"} {
				s := cluster.Server(name)
				zones = append(zones, openServer(t, s, nil))
				servers = append(servers, s)
				s.Faults(func(call storetest.Call) storetest.Fault {
					if draw(12) > 0 {
						return storetest.None
					}
					if call == storetest.Propose {
						return []storetest.Fault{storetest.Lost, storetest.Unanswered, storetest.Delayed}[draw(3)]
					}
					return storetest.Lost
				})
			}
			var mu sync.Mutex
			outcomes := make(map[string]Result)
			var clients sync.WaitGroup
			for client := range 6 {
				clients.Go(func() {
					for i := range 60 {
						at := draw(3)
						name := fmt.Sprintf("h%d-%d.example.test.", client, i)
						r := zones[at].Apply(context.Background(), &Update{Message: pack(t, message(t, "P "+name+" 0 NONE ANY\nU "+name+" 5 IN A 192.0.2.1"))})
						mu.Lock()
						outcomes[name] = r
						mu.Unlock()
						switch draw(15) {
						case 0:
							servers[draw(3)].Release()
						case 1:
							servers[at].Cut(true)
						case 2, 3:
							servers[at].Cut(false)
						case 4:
							cluster.Trim(draw(5))
						}
					}
				})
			}
			clients.Wait()
			for _, s := range servers {
				s.Faults(nil)
				s.Cut(false)
				s.Release()
			}
			fresh := openServer(t, cluster.Server("d"), nil)
			for _, z := range zones {
				reaches(t, z, cluster)
				same(t, "in the end", z.Snapshot(), fresh.Snapshot())
			}
			count := make(map[uint16]int)
			for name, r := range outcomes {
				exists := fresh.Snapshot().Exists(name)
				unknown := errors.Is(r.Err, store.ErrUnknown)
				switch {
				case r.Rcode == dns.RcodeSuccess && r.Changed:
					count[0]++
					if !exists {
						t.Errorf("%s was acknowledged and is lost", name)
					}
				case r.Rcode == dns.RcodeServerFailure && !unknown && exists:
					t.Errorf("%s is there although the update failed: %v", name, r.Err)
				case r.Rcode == dns.RcodeServerFailure && unknown:
					count[1]++
				case r.Rcode != dns.RcodeServerFailure:
					t.Errorf("%s: %+v", name, r)
				}
			}
			if count[0] == 0 || count[1] == 0 {
				t.Errorf("%d updates were done, of %d it is not known", count[0], count[1])
			}
		})
	}
}

// TestStoreCopied: a zone whose store was copied elsewhere, so that the newest batch has another revision, takes updates again.
func TestStoreCopied(t *testing.T) {
	t.Parallel()
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	z := openServer(t, cluster.Server("a"), nil)
	if r := apply(t, z, "U a.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
		t.Fatalf("%+v", r)
	}
	cluster.Copied()
	reaches(t, z, cluster)
	if r := apply(t, z, "U b.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", r)
	}
}

// TestQueuedUpdatesFailTogether: an update that waits behind one to which the store does not answer has the same answer. It does not
// wait for the store once more.
func TestQueuedUpdatesFailTogether(t *testing.T) {
	t.Parallel()
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	server := cluster.Server("a")
	z := openServer(t, server, nil)
	var mu sync.Mutex
	calls := 0
	asked := func() int { mu.Lock(); defer mu.Unlock(); return calls }
	silent := true
	server.Faults(func(call storetest.Call) storetest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if call == storetest.Propose && silent {
			calls++
			return storetest.Silent
		}
		return storetest.None
	})
	results := make(chan Result)
	update := func(name string) {
		go func() { results <- apply(t, z, "U "+name+".example.test. 5 IN A 192.0.2.1") }()
	}
	update("first")
	until(t, "the store is asked", func() bool { return asked() == 1 })
	const behind = 3
	for i := range behind {
		update(fmt.Sprint("behind", i))
	}
	until(t, "updates wait", func() bool {
		some, _ := z.queue.waiting()
		z.queue.mu.Lock()
		defer z.queue.mu.Unlock()
		return some && z.queue.count == behind
	})
	notStarted := 0
	for range 1 + behind {
		r := <-results
		if r.Rcode != dns.RcodeServerFailure {
			t.Errorf("%+v", r)
		}
		if errors.Is(r.Err, errNotStarted) && !errors.Is(r.Err, store.ErrUnknown) {
			notStarted++
		}
	}
	if notStarted != behind || asked() != 1 {
		t.Errorf("%d were not started, and the store was asked %d times", notStarted, asked())
	}
	mu.Lock()
	silent = false
	mu.Unlock()
	if r := apply(t, z, "U later.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
		t.Errorf("when the store answers again: %+v", r)
	}
}

// frugal is a store that takes few records from a zone at once.
type frugal struct{ store.Shared }

func (f frugal) Propose(ctx context.Context, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	removed := 0
	for _, c := range b.Changes {
		removed += len(c.Removed)
	}
	if removed > 4 {
		return store.Position{}, nil, store.ErrTooLarge
	}
	return f.Shared.Propose(ctx, at, b)
}

// TestScavengeWithWrongClocks: where the clocks of two servers differ, neither removes what clients have refreshed at the other one. Whichever
// clock is wrong, and in which direction, it says whose differs and by how much.
func TestScavengeWithWrongClocks(t *testing.T) {
	for name, off := range map[string]time.Duration{"a year ahead": 52 * week, "a year behind": -52 * week, "15 days ahead": 15 * 24 * time.Hour, "15 days behind": -15 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			var at atomic.Int64 // hours
			right := func() time.Time { return timesNow.Add(time.Duration(at.Load()) * time.Hour) }
			wrong := func() time.Time { return right().Add(off) }
			var writer atomic.Pointer[func() time.Time]
			writer.Store(&right)
			cluster := storetest.NewCluster(storetest.ClusterOptions{Now: func() time.Time { return (*writer.Load())() }})
			open := func(server string, now func() time.Time) *Zone {
				return openServer(t, cluster.Server(server), func(c *Config) { c.Now, c.Aging = now, Aging{NoRefresh: week, Refresh: week} })
			}
			good := open("good", right)
			bad := open("bad", wrong)
			update := func(z *Zone, now func() time.Time, host string) {
				t.Helper()
				writer.Store(&now)
				r := apply(t, z, "U "+host+".example.test. 300 IN A 192.0.2.7\nU "+host+".example.test. 300 IN TXT "+fmt.Sprintf("%d", at.Load()))
				if r.Rcode != dns.RcodeSuccess {
					t.Fatal(r)
				}
				for _, z := range []*Zone{good, bad} {
					reaches(t, z, cluster)
				}
			}
			for range 4 * 7 {
				update(good, right, "a")
				update(bad, wrong, "b")
				at.Add(24)
				for z, other := range map[*Zone]string{good: "bad", bad: "good"} {
					want := off
					if z == bad {
						want = -off
					}
					gone, s := scavenge(t, z)
					late := s.ClockDifference - want // what the test itself took, which may be a late batch
					if len(gone) != 0 || s.Other != other || late < 0 || late >= time.Hour {
						t.Fatalf("after %d hours, other than %s: gone %q, %+v", at.Load(), other, gone, s)
					}
				}
			}
			// When the clocks are alike again, what nobody refreshes goes after the interval.
			at.Add(7*24 - 25)
			if gone, _ := scavenge(t, good); len(gone) != 0 {
				t.Errorf("gone: %q", gone)
			}
			at.Add(10 * 24)
			writer.Store(&right)
			if gone, s := scavenge(t, good); len(gone) == 0 || s.Other != "" {
				t.Errorf("gone: %q, %+v", gone, s)
			}
		})
	}
}

// TestScavengeTooLarge: where the records are so large that the store does not take many of them at once, aging removes fewer at once.
func TestScavengeTooLarge(t *testing.T) {
	var passed atomic.Int64
	now := func() time.Time { return timesNow.Add(time.Duration(passed.Load())) }
	cluster := storetest.NewCluster(storetest.ClusterOptions{Now: now})
	z := openServer(t, frugal{cluster.Server("a")}, func(config *Config) {
		config.Aging, config.Now = Aging{NoRefresh: week, Refresh: week}, now
	})
	const hosts = 10
	for i := range hosts {
		host(t, z, fmt.Sprint("h", i))
	}
	passed.Store(int64(2*week + time.Hour))
	if gone, _ := scavenge(t, z); len(gone) != hosts {
		t.Errorf("gone: %q", gone)
	}
}
