package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
)

const nodes = 3 // and members of etcd

// cluster is servers with one zone on etcd, beside etcd alone.
type cluster struct {
	*bench
	members *etcd.Cluster
	clients []*clientv3.Client // of one member each
	servers []*subject
}

// onEtcd measures a zone on etcd: updates at one busy server and at three, each beside as many clients that put values of the
// size of an update into etcd, and what else depends on etcd.
func (b *bench) onEtcd(ctx context.Context) error {
	c := &cluster{bench: b}
	defer c.stop()
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"cluster updates 1", func(ctx context.Context) error { return c.updates(ctx, 1, 1, 0.7) }},
		{"cluster updates 16", func(ctx context.Context) error { return c.updates(ctx, 1, 16, 1) }},
		{"cluster updates 256", func(ctx context.Context) error { return c.updates(ctx, 1, 256, 1.5) }},
		{"cluster updates 3", func(ctx context.Context) error { return c.updates(ctx, nodes, 3, 0.25) }},
		{"cluster updates 15", func(ctx context.Context) error { return c.updates(ctx, nodes, 15, 0.4) }},
		{"cluster updates 255", func(ctx context.Context) error { return c.updates(ctx, nodes, 255, 1.2) }},
		{"cluster contexts", c.sharedContexts},
		{"cluster queries", c.queries},
		{"cluster failover", c.failover},
		{"cluster start", c.largeZone},
		{"cluster morning", c.mondayMorning},
	} {
		if b.only != nil && !b.only.MatchString(part.name) {
			continue
		}
		if c.members == nil {
			if err := c.start(ctx); err != nil {
				return err
			}
		}
		if err := part.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) start(ctx context.Context) (err error) {
	// A commit is as fast as the disk below it.
	if err := os.Setenv("TMPDIR", c.dir); err != nil {
		return err
	}
	flags := []string{"--auto-compaction-mode=periodic", "--auto-compaction-retention=5m", "--quota-backend-bytes=8589934592"}
	if c.profiles != "" {
		flags = append(flags, "--enable-pprof")
	}
	c.members, err = etcd.Start(ctx, etcd.Config{Members: nodes, Disk: true, Flags: flags})
	if err != nil {
		return err
	}
	for i := range nodes {
		client, err := c.members.Client(i)
		if err != nil {
			return err
		}
		c.clients = append(c.clients, client)
		s := c.node(i, c.middle)
		if _, err := s.start(ctx); err != nil {
			return err
		}
		c.servers = append(c.servers, s)
	}
	return nil
}

func (c *cluster) stop() {
	for _, s := range c.servers {
		s.stop()
	}
	for _, client := range c.clients {
		_ = client.Close() // nothing is under way
	}
	if c.members != nil {
		c.members.Stop()
	}
}

// node is this project's server with a zone on etcd. Each has another member as its nearest.
func (c *cluster) node(i int, zone zoneSpec) *subject {
	name := fmt.Sprintf("node%d", i)
	dir := filepath.Join(c.dir, name+"-"+zone.origin)
	var endpoints []string
	for j := range nodes {
		endpoints = append(endpoints, c.members.Endpoint((i+j)%nodes))
	}
	return &subject{name: name, dir: dir, zones: []zoneSpec{zone}, command: func(s *subject) (*exec.Cmd, error) {
		profile := ""
		if c.profiles != "" {
			if !s.pprof.IsValid() {
				port, err := loopback.Port()
				if err != nil {
					return nil, err
				}
				s.pprof = loopback.Address(port)
			}
			profile = fmt.Sprintf("  pprof %s\n", s.pprof)
		}
		return coreDNS(s, c.binary, fmt.Sprintf(`%s {
  bind 127.0.0.1
  errors
  gsstsig {
    keytab %s
    grant %s@%s zonesub ANY
    file %s %s
    etcd %s
    etcd_server %s
    control off
  }
%s}
`, zone.origin, c.keytab, updater, realmName, zone.file, zone.origin, strings.Join(endpoints, " "), name, profile))
	}}
}

// putters are clients of etcd alone, as many at each of the members as there are servers.
func (c *cluster) putters(members, clients int) []operation {
	value := strings.Repeat("x", 250)
	all := make([]operation, clients)
	for i := range all {
		client, key := c.clients[i%members], fmt.Sprintf("/bench/%d", i)
		all[i] = func(ctx context.Context) error {
			_, err := client.Put(ctx, key, value)
			return err
		}
	}
	return all
}

// updates compares the rates of updates at that many servers with those of puts.
func (c *cluster) updates(ctx context.Context, servers, clients int, goal float64) error {
	var updaters []*updaterClient
	for i := range servers {
		own, err := c.updatersAt(ctx, i, clients/servers)
		if err != nil {
			return err
		}
		updaters = append(updaters, own...)
	}
	share := clients / servers
	least := 1.0
	var rates [2][]float64
	err := c.inTurn(ctx, func(_, i int) error {
		if i == 1 {
			what := fmt.Sprintf("puts, %d members, %d clients", servers, clients)
			m, err := c.loadEtcd(ctx, what, func() (counts, error) {
				m := c.raw(ctx, what, c.putters(servers, clients))
				return m, m.failure
			})
			rates[1] = append(rates[1], m.perSecond())
			return err
		}
		before := counted(updaters, share)
		what := fmt.Sprintf("%d on etcd, %d clients", servers, clients)
		m, err := c.loadEtcd(ctx, what, func() (counts, error) {
			m, err := c.load(ctx, what, c.servers[0], operations(updaters))
			return m.counts, err
		})
		if err != nil {
			return err
		}
		rates[0] = append(rates[0], m.perSecond())
		total, own := 0.0, counted(updaters, share)
		for s := range own {
			own[s] -= before[s]
			total += own[s]
		}
		for s := range own {
			least = min(least, own[s]/total)
		}
		return nil
	}, 2)
	if err != nil {
		return err
	}
	for i := range servers {
		if err := verifyUpdates(ctx, c.servers[i], updaters[i*share:(i+1)*share]); err != nil {
			return err
		}
	}
	ratio := median(ratios(rates[0], rates[1]))
	r := row{
		what: fmt.Sprintf("signed updates/s, zone on etcd, 1 busy server, %d clients", clients),
		ours: number(median(rates[0])), peer: number(median(rates[1])), ratio: times(ratio),
		goal: fmt.Sprintf("≥ %g × puts", goal), reached: ratio >= goal,
	}
	if servers > 1 {
		r.what = fmt.Sprintf("signed updates/s, zone on etcd, %d busy servers, %d clients", servers, clients)
		r.goal += fmt.Sprintf(", each server ≥ 25 %% (%.0f %%)", 100*least)
		r.reached = r.reached && least >= 0.25
	}
	c.onEtcdTable.add(r)
	return nil
}

// updatersAt makes clients of a server. No two have the same host.
func (c *cluster) updatersAt(ctx context.Context, server, clients int) ([]*updaterClient, error) {
	all, err := c.updaters(ctx, c.servers[server], c.middle, clients, true)
	for i, u := range all {
		u.next = c.middle.hosts + server*clients + i
	}
	return all, err
}

// counted returns how many updates the clients of each server have sent.
func counted(updaters []*updaterClient, share int) []float64 {
	sums := make([]float64, len(updaters)/share)
	for i, u := range updaters {
		sums[i/share] += float64(u.count)
	}
	return sums
}

// raw measures clients of etcd.
func (c *cluster) raw(ctx context.Context, what string, all []operation) counts {
	m := drive(ctx, all, c.duration/10, func() { pause(ctx, c.duration) })
	fmt.Fprintf(os.Stderr, "%-28s %-8s %8.0f/s\n", what, "etcd", m.perSecond())
	return m
}

// loadEtcd tells what each operation of a measurement costs etcd and our servers, all together, and takes profiles of
// etcd's members.
func (c *cluster) loadEtcd(ctx context.Context, what string, measure func() (counts, error)) (counts, error) {
	if c.profiles != "" {
		for i := range nodes {
			stop := c.profileOf(ctx, fmt.Sprintf("%s etcd%d", what, i), c.members.Endpoint(i))
			defer stop()
		}
	}
	type costs struct {
		members, servers     time.Duration // CPU
		proposals, revisions float64       // proposals are transactions, done or not, and puts
	}
	read := func() (costs, error) {
		var now costs
		for i := range nodes {
			now.members += processCPU(c.members.PID(i))
			now.servers += c.servers[i].cpu()
		}
		status, err := c.clients[0].Status(ctx, c.members.Endpoint(0))
		if err == nil {
			now.proposals, now.revisions = float64(status.RaftIndex), float64(status.Header.Revision)
		}
		return now, err
	}
	before, err := read()
	if err != nil {
		return counts{}, err
	}
	m, err := measure()
	if err != nil {
		return m, err
	}
	after, err := read()
	each := float64(m.completed) * 1.1 // with what was done before the count began
	fmt.Fprintf(os.Stderr, "%-28s %-8s for each: %.2f proposals, %.2f revisions; CPU µs: members %.0f, servers %.0f\n", "  all together", "etcd",
		(after.proposals-before.proposals)/each, (after.revisions-before.revisions)/each,
		(after.members-before.members).Seconds()/each*1e6, (after.servers-before.servers).Seconds()/each*1e6)
	return m, err
}

// sharedContexts is how many contexts a second a server makes that are good at all servers.
func (c *cluster) sharedContexts(ctx context.Context) error {
	const clients, goal = 16, 700
	subjects := []*subject{c.servers[0], c.ours}
	sets := make([][]operation, len(subjects))
	for i, s := range subjects {
		var err error
		if sets[i], err = c.handshakes(ctx, s, clients); err != nil {
			return err
		}
	}
	rates := make([][]float64, len(subjects))
	err := c.inTurn(ctx, func(_, i int) error {
		m, err := c.load(ctx, "contexts", subjects[i], sets[i])
		rates[i] = append(rates[i], m.perSecond())
		return err
	}, len(subjects))
	if err != nil {
		return err
	}
	rate := median(rates[0])
	c.onEtcdTable.add(row{
		what: fmt.Sprintf("TKEY handshakes/s, contexts shared, %d clients (not shared: %s)", clients, number(median(rates[1]))),
		ours: number(rate), peer: "", ratio: times(median(ratios(rates[0], rates[1]))), goal: fmt.Sprintf("≥ %d/s", goal), reached: rate >= goal,
	})
	return nil
}

// queries compares a server with etcd and one with a database.
func (c *cluster) queries(ctx context.Context) error {
	const goal = 0.97
	subjects := []*subject{c.servers[0], c.ours}
	rates := make([][]float64, len(subjects))
	err := c.inTurn(ctx, func(_, i int) error {
		m, _, err := c.ask(ctx, "queries beside etcd", subjects[i], nil)
		rates[i] = append(rates[i], m.perSecond())
		return err
	}, len(subjects))
	if err != nil {
		return err
	}
	ratio := median(ratios(rates[0], rates[1]))
	c.onEtcdTable.add(row{
		what: fmt.Sprintf("queries/s on A (with a database: %s)", number(median(rates[1]))), ours: number(median(rates[0])),
		ratio: times(ratio), goal: fmt.Sprintf("≥ %g × with a database", goal), reached: ratio >= goal,
	})
	return nil
}

// failover is how long no update is answered when etcd's leader is killed. None may fail, and none may be lost.
func (c *cluster) failover(ctx context.Context) error {
	const clients, goal = 5, 2 * time.Second
	c.patience = 5 * time.Second // a server takes up to three to say that it failed
	defer func() { c.patience = replyTimeout }()
	var updaters []*updaterClient
	for i := range nodes {
		own, err := c.updatersAt(ctx, i, clients)
		if err != nil {
			return err
		}
		updaters = append(updaters, own...)
	}
	var mu sync.Mutex
	var last time.Time
	var gap time.Duration
	all := operations(updaters)
	for i, do := range all {
		all[i] = func(ctx context.Context) error {
			err := do(ctx)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				now := time.Now()
				if !last.IsZero() {
					gap = max(gap, now.Sub(last))
				}
				last = now
			}
			return err
		}
	}
	var gaps []float64
	failed := 0
	for range c.rounds {
		leader, err := c.members.Leader(ctx)
		if err != nil {
			return err
		}
		mu.Lock()
		gap, last = 0, time.Time{}
		mu.Unlock()
		m := drive(ctx, all, c.duration/10, func() {
			c.members.Kill(leader)
			pause(ctx, 2*goal)
		})
		mu.Lock()
		gap = max(gap, time.Since(last)) // if none was answered since
		mu.Unlock()
		if err := c.members.Restart(ctx, leader); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%-28s %-8s %8.2f s without updates, %d failed (%v)\n",
			"leader killed", "nodes", gap.Seconds(), m.failed, m.failure)
		gaps = append(gaps, gap.Seconds())
		failed += m.failed
	}
	for i := range nodes {
		if err := verifyUpdates(ctx, c.servers[i], updaters[i*clients:(i+1)*clients]); err != nil {
			return err
		}
	}
	c.onEtcdTable.add(row{
		what: "time without updates when etcd's leader is killed", ours: fmt.Sprintf("%.2g s, %d failed", median(gaps), failed),
		goal: fmt.Sprintf("≤ %v, none failed", goal), reached: median(gaps) <= goal.Seconds() && failed == 0,
	})
	return nil
}

// largeZone is how long a server takes to load a million names.
func (c *cluster) largeZone(ctx context.Context) error {
	const goal = 30
	s := c.node(0, c.large)
	s.name = "large0"
	defer s.stop()
	took, err := s.start(ctx) // fills etcd
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%-28s %-8s %8.2f s from the master file\n", "start on etcd", s.name, took.Seconds())
	var starts []float64
	for range c.rounds {
		s.stop()
		if took, err = s.start(ctx); err != nil {
			return err
		}
		starts = append(starts, took.Seconds())
		fmt.Fprintf(os.Stderr, "%-28s %-8s %8.2f s\n", "start on etcd", s.name, took.Seconds())
	}
	c.onEtcdTable.add(row{
		what: "start with 1e6 names on etcd", ours: number(median(starts)) + " s", goal: fmt.Sprintf("≤ %d s", goal), reached: median(starts) <= goal,
	})
	return nil
}
