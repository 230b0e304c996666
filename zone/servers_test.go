package zone_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/linearizable"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

const (
	sharedZone = "example.test."
	servers    = 3
)

var principals = []string{"alice@EXAMPLE.TEST", "bob@EXAMPLE.TEST", "carol@EXAMPLE.TEST"}

// A cluster is zones over one store, each as a server of its own has it: with a link of its own and a clock that is an hour
// apart from the next.
type cluster struct {
	t      *testing.T
	memory *storetest.Cluster
	mutant func(store.Shared) store.Shared
	policy *policy.Policy
	links  []*link
	clock  []func() time.Time

	mu    sync.RWMutex // held for writing while a server restarts
	zones []*zone.Zone

	seed   maphash.Seed
	states sync.Map // serial to the hash of all records
}

func newCluster(t *testing.T, options storetest.ClusterOptions, random *rand.Rand, mutant func(store.Shared) store.Shared) *cluster {
	t.Helper()
	p, err := policy.New(policy.Config{Mode: policy.Secure})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, memory: storetest.NewCluster(options), mutant: mutant, policy: p, seed: maphash.MakeSeed(),
		zones: make([]*zone.Zone, servers)}
	for i := range servers {
		apart := time.Duration(i-1) * time.Hour
		c.clock = append(c.clock, func() time.Time { return time.Now().Add(apart) })
		c.links = append(c.links, &link{random: rand.New(rand.NewPCG(random.Uint64(), 0))})
		c.start(i)
	}
	t.Cleanup(func() {
		for _, z := range c.zones {
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

// start opens the zone of a server.
func (c *cluster) start(i int) {
	c.t.Helper()
	name := fmt.Sprintf("ns%d", i)
	var s store.Shared = &unreliable{Shared: c.memory.Server(name), late: c.memory.Server(name), link: c.links[i], mu: new(sync.Mutex)}
	if c.mutant != nil {
		s = c.mutant(s)
	}
	z, err := zone.Open(zone.Config{Origin: sharedZone, Shared: s, Now: c.clock[i], Seed: func() ([]store.Record, error) {
		return zone.GeneratedApex(sharedZone, "ns1.example.test.")
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.zones[i] = z
}

// restart ends a server while others go on, and starts it again.
func (c *cluster) restart(i int) {
	if err := c.zones[i].Close(); err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start(i)
}

func (c *cluster) zone(i int) *zone.Zone {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.zones[i]
}

func (c *cluster) setFaulty(faulty, losses bool) {
	for _, l := range c.links {
		l.setFaulty(faulty, losses)
	}
}

// apply has a server do an update, which came in a message of that mark. A query at that server then sees it.
func (c *cluster) apply(server int, u *linearizable.Update, mark store.Mark) int {
	m, err := u.Message()
	if err != nil {
		c.t.Error(err)
		return linearizable.Unknown
	}
	packed, err := m.Pack()
	if err != nil {
		c.t.Error(err)
		return linearizable.Unknown
	}
	name, realm, _ := strings.Cut(u.Principal, "@")
	id := policy.Identity{Kind: policy.Kerberos, Name: u.Principal, Components: []string{name}, Realm: realm}
	z, update := c.zone(server), c.policy.Update(id, packed)
	update.Mark = mark
	result := z.Apply(context.Background(), update)
	if errors.Is(result.Err, zone.ErrReplayed) {
		return linearizable.NotSent
	}
	// What the store takes in one batch is no part of the model: an RRset of seven records gets another TTL in none of six.
	if errors.Is(result.Err, store.ErrTooLarge) {
		return linearizable.NotSent
	}
	s := z.Snapshot()
	if result.Rcode == dns.RcodeSuccess && int32(s.Serial()-result.After) < 0 {
		c.t.Errorf("the server that answered NOERROR at serial %d is at %d", result.After, s.Serial())
	}
	c.observe(server, s)
	return result.Rcode
}

// observe holds the state of a server against those that others had at that serial.
func (c *cluster) observe(server int, s *zone.Snapshot) {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for r := range s.WireRecords() {
		fmt.Fprintf(&h, "%q %d %d %q\n", r.Name, r.Type, r.TTL, r.Data)
	}
	if other, found := c.states.LoadOrStore(s.Serial(), h.Sum64()); found && other != h.Sum64() && c.mutant == nil {
		c.t.Errorf("server %d has other records at serial %d than another server", server, s.Serial())
	}
}

// settle waits until all servers have the newest state, and compares them.
func (c *cluster) settle(h *linearizable.History, first uint32, groups []string) {
	c.t.Helper()
	c.setFaulty(false, false)
	// A late request may still arrive. An update at each server comes after it, or makes it come to nothing.
	last := linearizable.NewGenerator(rand.New(rand.NewPCG(1, 1)), sharedZone, "last"+fmt.Sprint(len(groups)), principals...)
	for i := range servers {
		for u := last.Next(); c.apply(i, u, store.Mark{}) != dns.RcodeSuccess; u = last.Next() {
			if c.t.Failed() || c.t.Context().Err() != nil {
				return
			}
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for c.zone(0).Snapshot().Serial() != c.zone(1).Snapshot().Serial() || c.zone(1).Snapshot().Serial() != c.zone(2).Snapshot().Serial() {
		select {
		case <-tick.C:
		case <-c.t.Context().Done():
			c.t.Error("the servers do not come to one serial")
			return
		}
	}
	states, chains := make([][]string, servers), make([]linearizable.Chain, servers)
	for i := range servers {
		z := c.zone(i)
		s := z.Snapshot()
		states[i], chains[i] = everything(s), c.chain(z, s, first)
		if !slices.Equal(states[i], states[0]) {
			c.t.Errorf("server %d has\n%q\nand server 0\n%q", i, states[i], states[0])
		}
		if err := chains[i].Equal(chains[0]); err != nil {
			c.t.Errorf("server %d: %v", i, err)
		}
	}
	if err := chains[0].Once(h); err != nil {
		c.t.Error(err)
	}
	for _, group := range groups {
		h.Contents(group, contentsOf(c.zone(0).Snapshot(), group))
	}
	h.Resolve(chains[0])
}

// everything returns all that a server knows of the zone but times.
func everything(s *zone.Snapshot) []string {
	var list []string
	for r := range s.WireRecords() {
		list = append(list, fmt.Sprintf("%q %d %d %d %q", r.Name, r.Type, r.TTL, r.Hours, r.Data))
	}
	for o := range s.Owners() {
		list = append(list, fmt.Sprintf("%+v", o))
	}
	slices.Sort(list)
	return list
}

// contentsOf returns what the zone has at the names of a group.
func contentsOf(s *zone.Snapshot, group string) []string {
	var list []string
	for rr := range s.Records() {
		if strings.HasPrefix(rr.Header().Name, group+"-") {
			list = append(list, linearizable.Record(rr))
		}
	}
	return list
}

func (c *cluster) chain(z *zone.Zone, s *zone.Snapshot, first uint32) linearizable.Chain {
	c.t.Helper()
	records := []dns.RR{s.SOA()}
	for rr, err := range z.Since(c.t.Context(), s, first) {
		if err != nil {
			c.t.Fatal(err)
		}
		records = append(records, rr)
	}
	chain, err := linearizable.ParseTransfer(append(records, s.SOA()))
	if err != nil {
		c.t.Fatal(err)
	}
	return chain
}

// A workload is what clients do in some rounds.
type workload struct {
	rounds   int
	updates  int  // of each client in a round
	replays  bool // some messages are sent to two servers
	restarts bool // a server restarts in some rounds
	lossless bool // links only delay
}

// run has clients update at all servers.
func (c *cluster) run(h *linearizable.History, random *rand.Rand, load workload) (groups []string) {
	const clients = 4
	base := random.IntN(1_000_000)
	for round := range load.rounds {
		c.setFaulty(true, !load.lossless)
		var working sync.WaitGroup
		for i := range 2 {
			g := linearizable.NewGenerator(rand.New(rand.NewPCG(random.Uint64(), 0)), sharedZone, fmt.Sprintf("g%d-%d-%d", base, round, i), principals...)
			groups = append(groups, g.Group())
			for client := range clients {
				r := rand.New(rand.NewPCG(random.Uint64(), 0))
				working.Go(func() {
					for number := range load.updates {
						u, server := g.Next(), (client+r.IntN(2))%servers
						mark := store.Mark{Number: uint64(number)}
						binary.BigEndian.PutUint64(mark.Context[:], r.Uint64())
						c.send(h, client, server, u, mark, load.replays && r.IntN(4) == 0)
						g.Answered(u)
					}
				})
			}
		}
		if load.restarts && round%4 == 0 {
			c.restart(round / 4 % servers)
		}
		working.Wait()
	}
	return groups
}

// send has a server do an update. With replay, another gets the same message at the same time: no more than one may do it.
func (c *cluster) send(h *linearizable.History, client, server int, u *linearizable.Update, mark store.Mark, replay bool) {
	var done atomic.Int32
	to := func(server int) {
		h.Do(client, u, func() int {
			rcode := c.apply(server, u, mark)
			switch rcode {
			case linearizable.NotSent, linearizable.Unknown, dns.RcodeServerFailure, dns.RcodeRefused:
			default:
				done.Add(1)
			}
			return rcode
		})
	}
	var both sync.WaitGroup
	if replay {
		both.Go(func() { to((server + 1) % servers) })
	}
	to(server)
	both.Wait()
	if done.Load() > 1 && c.mutant == nil {
		c.t.Errorf("two servers did one message: %v", u)
	}
}

// TestServersAreOne: what several servers of a zone answer at once, over links that fail, is what one server would have
// answered. With a short log, servers that come late load the zone again.
func TestServersAreOne(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options storetest.ClusterOptions
		load    workload
	}{
		{"long log", storetest.ClusterOptions{}, workload{rounds: 20, updates: 12, replays: true, restarts: true}},
		// A server that loads the zone again does not know the marks of what is not in the log.
		{"short log", storetest.ClusterOptions{Batches: 3}, workload{rounds: 10, updates: 12, restarts: true}},
		{"small batches", storetest.ClusterOptions{BatchRecords: 6}, workload{rounds: 5, updates: 12, replays: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(rand.Uint64(), 0))
			c := newCluster(t, tt.options, random, nil)
			h := linearizable.NewHistory()
			first := c.zone(0).Snapshot().Serial()
			groups := c.run(h, random, tt.load)
			c.settle(h, first, groups)
			t.Log(h.Counts())
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := h.Check(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestServersFillAnEmptyStore: of servers that start at once with different seeds, one fills the store, and all have what it
// has put in.
func TestServersFillAnEmptyStore(t *testing.T) {
	for range 20 {
		memory := storetest.NewCluster(storetest.ClusterOptions{})
		zones := make([]*zone.Zone, servers)
		var starting sync.WaitGroup
		for i := range zones {
			starting.Go(func() {
				z, err := zone.Open(zone.Config{Origin: sharedZone, Shared: memory.Server(fmt.Sprint(i)), Seed: func() ([]store.Record, error) {
					return zone.GeneratedApex(sharedZone, fmt.Sprintf("ns%d.example.test.", i))
				}})
				if err != nil {
					t.Error(err)
					return
				}
				zones[i] = z
			})
		}
		starting.Wait()
		if t.Failed() {
			return
		}
		for _, z := range zones {
			if got, want := everything(z.Snapshot()), everything(zones[0].Snapshot()); !slices.Equal(got, want) {
				t.Errorf("one server has %q, another %q", got, want)
			}
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestMistakesAreFound: the check above finds what each of the three precautions is there for.
func TestMistakesAreFound(t *testing.T) {
	for _, mistake := range []struct {
		name string
		make func(store.Shared) store.Shared
		load workload
	}{
		{"no barrier", func(s store.Shared) store.Shared { return withoutBarrier{s} }, workload{rounds: 1, updates: 15, lossless: true}},
		{"no compare", func(s store.Shared) store.Shared { return withoutCompare{s} }, workload{rounds: 1, updates: 5}},
		{"blind retry", func(s store.Shared) store.Shared { return retriesBlindly{s} }, workload{rounds: 1, updates: 15}},
	} {
		t.Run(mistake.name, func(t *testing.T) {
			const attempts = 200
			for attempt := range attempts {
				random := rand.New(rand.NewPCG(rand.Uint64(), 0))
				c := newCluster(t, storetest.ClusterOptions{}, random, mistake.make)
				h := linearizable.NewHistory()
				c.run(h, random, mistake.load)
				// If most outcomes are unknown, the search may take for ever: look at another history then.
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				err := h.Check(ctx)
				cancel()
				var violation *linearizable.Violation
				if errors.As(err, &violation) {
					t.Logf("found in attempt %d", attempt)
					return
				}
			}
			t.Errorf("not found in %d attempts", attempts)
		})
	}
}
