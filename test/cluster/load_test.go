//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/linearizable"
)

const (
	clientsOfGroup = 3
	groupsAtOnce   = 2
	updatesOfGroup = 120 // bounds what the search for an order has to look at
)

// load is updates under way at all servers.
type load struct {
	d       *deployment
	random  *rand.Rand
	senders []*sender
	made    int // groups in all

	// Since the last settle:
	history *linearizable.History
	first   uint32 // the zone's serial before it
	groups  []string

	mu     sync.Mutex
	states map[uint32]state // by serial; guarded by mu
	seen   []sight          // guarded by mu
}

// state is what a server had at a serial.
type state struct {
	server int
	text   string
}

// sight is the serial that a server had after it had answered an update NOERROR.
type sight struct {
	update *linearizable.Update
	server int
	serial uint32
}

func (d *deployment) newLoad() *load {
	d.t.Helper()
	l := &load{d: d, random: rand.New(rand.NewPCG(rand.Uint64(), 0)), history: linearizable.NewHistory(), states: make(map[uint32]state)}
	for range clientsOfGroup * groupsAtOnce {
		l.senders = append(l.senders, d.newSender())
	}
	d.until("a serial", func() (err error) {
		l.first, err = d.serial(0)
		return err
	})
	return l
}

// during has clients update at all servers from before fault begins until after it has returned.
func (l *load) during(fault func()) {
	for _, s := range l.senders {
		clear(s.keys) // contexts are made while something is wrong, too
	}
	var working sync.WaitGroup
	over := make(chan struct{})
	for i := range groupsAtOnce {
		group := fmt.Sprintf("g%d", l.made)
		l.made++
		g := linearizable.NewGenerator(rand.New(rand.NewPCG(l.random.Uint64(), 0)), zoneName, group, full(principals)...)
		l.groups = append(l.groups, group)
		for client := range clientsOfGroup {
			r := rand.New(rand.NewPCG(l.random.Uint64(), 0))
			s := l.senders[i*clientsOfGroup+client]
			working.Go(func() { l.work(s, g, client, r, over) })
		}
	}
	working.Go(func() { l.watch(over) })
	fault()
	close(over)
	working.Wait()
}

// work has one client update until that is over, and a few times more.
func (l *load) work(s *sender, g *linearizable.Generator, client int, r *rand.Rand, over <-chan struct{}) {
	const before, after = updatesOfGroup/clientsOfGroup - 5, 5
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	update := func() {
		server := client % size
		if r.IntN(4) == 0 {
			server = r.IntN(size)
		}
		u := g.Next()
		l.history.Do(client, u, func() int { return l.update(s, g, server, u) })
	}
	for range before {
		update()
		select {
		case <-over:
		case <-pause.C:
			continue
		}
		break
	}
	select {
	case <-over:
	case <-l.d.ctx.Done():
		return
	}
	for range after {
		update()
	}
}

// update sends an update and, if it is answered NOERROR, a query.
func (l *load) update(s *sender, g *linearizable.Generator, server int, u *linearizable.Update) int {
	rcode, err := s.update(server, u)
	if err != nil {
		l.d.t.Error(err)
	}
	if rcode == dns.RcodeSuccess || rcode == linearizable.Unknown {
		g.Answered(u)
	}
	if rcode == dns.RcodeSuccess {
		if serial, err := l.d.serial(server); err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.seen = append(l.seen, sight{u, server, serial})
		}
	}
	return rcode
}

// watch compares whole zones of the servers at equal serials.
func (l *load) watch(over <-chan struct{}) {
	pause := time.NewTicker(150 * time.Millisecond)
	defer pause.Stop()
	for i := 0; ; i++ {
		select {
		case <-over:
			return
		case <-pause.C:
		}
		if records, err := l.d.transfer(i % size); err == nil && len(records) > 0 {
			l.compare(i%size, records)
		}
	}
}

// compare holds a server's zone against what others had at that serial.
func (l *load) compare(server int, records []dns.RR) {
	soa, ok := records[0].(*dns.SOA)
	if !ok {
		l.d.t.Errorf("server %d: a transfer begins with %v", server, records[0])
		return
	}
	lines := make([]string, len(records))
	for i, rr := range records {
		lines[i] = rr.String()
	}
	is := state{server, strings.Join(lines, "\n")}
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, found := l.states[soa.Serial]; !found {
		l.states[soa.Serial] = is
	} else if was.text != is.text {
		l.d.t.Errorf("at serial %d server %d has\n%s\nand server %d\n%s", soa.Serial, server, is.text, was.server, was.text)
	}
}

func full(names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = name + "@" + realmName
	}
	return list
}

// settle waits until all servers are at one serial, and checks everything that holds then.
func (l *load) settle() {
	d := l.d
	d.t.Helper()
	// An update at each server: what is still under way comes before it, or to nothing.
	last := d.newSender()
	g := linearizable.NewGenerator(rand.New(rand.NewPCG(l.random.Uint64(), 0)), zoneName, fmt.Sprintf("last%d", l.made), full(principals)...)
	for i := range size {
		d.until(fmt.Sprintf("an update at server %d", i), func() error {
			u := g.Next()
			rcode, err := last.update(i, u)
			g.Answered(u)
			if err == nil && rcode != dns.RcodeSuccess {
				err = fmt.Errorf("rcode %d", rcode)
			}
			return err
		})
	}
	d.sharesContexts()
	serial := d.sameSerial()
	var zones [size][]dns.RR
	var chain linearizable.Chain
	for i := range size {
		var err error
		if zones[i], err = d.transfer(i); err != nil {
			d.t.Fatal(err)
		}
		l.compare(i, zones[i])
		records, err := d.transfer(i, l.first)
		if err != nil {
			d.t.Fatal(err)
		}
		own, err := linearizable.ParseTransfer(records)
		if err != nil {
			d.t.Fatalf("server %d, since %d: %v", i, l.first, err)
		}
		if i == 0 {
			chain = own
		} else if err := own.Equal(chain); err != nil {
			d.t.Errorf("server %d and server 0: %v", i, err)
		}
	}
	l.contents(zones[0])
	if err := chain.Once(l.history); err != nil {
		d.t.Error(err)
	} else {
		l.history.Resolve(chain)
	}
	for _, s := range l.seen {
		if made, found := chain.Serial(s.update); found && int32(s.serial-made) < 0 {
			d.t.Errorf("server %d answered an update NOERROR that is in serial %d, and then a query from serial %d: %v", s.server, made, s.serial, s.update)
		}
	}
	ctx, cancel := context.WithTimeout(d.ctx, 2*time.Minute)
	defer cancel()
	if err := l.history.Check(ctx); err != nil {
		d.t.Error(err)
	}
	d.t.Logf("serial %d to %d, %v", l.first, serial, l.history.Counts())
	l.history, l.first, l.groups, l.seen = linearizable.NewHistory(), serial, nil, nil
	clear(l.states)
}

// sharesContexts waits until what is made at one server is good at each other at once.
func (d *deployment) sharesContexts() {
	d.t.Helper()
	for i := range size {
		for j := range size {
			d.sharesContext(i, j)
		}
	}
}

func (d *deployment) sharesContext(from, to int) {
	d.t.Helper()
	d.until(fmt.Sprintf("a context of server %d at server %d", from, to), func() error {
		s := d.newSender()
		defer s.close()
		if _, err := s.key(from, alice); err != nil {
			return err
		}
		// An update without records is permitted to everybody.
		reply, err := s.exchange(to, alice, new(dns.Msg).SetUpdate(zoneName))
		if err == nil && reply.Rcode != dns.RcodeSuccess {
			err = fmt.Errorf("rcode %s", dns.RcodeToString[reply.Rcode])
		}
		return err
	})
}

// sameSerial waits until all servers have the same serial, and returns it.
func (d *deployment) sameSerial() (serial uint32) {
	d.t.Helper()
	d.until("one serial at all servers", func() error {
		var serials [size]uint32
		for i := range size {
			var err error
			if serials[i], err = d.serial(i); err != nil {
				return err
			}
		}
		if serial = serials[0]; serials[1] != serial || serials[2] != serial {
			return fmt.Errorf("serials %v", serials)
		}
		return nil
	})
	return serial
}

// contents adds what the zone has in the end to the history.
func (l *load) contents(zone []dns.RR) {
	groups := make(map[string][]string)
	for _, rr := range zone[1 : len(zone)-1] {
		group, _, _ := strings.Cut(rr.Header().Name, "-")
		groups[group] = append(groups[group], linearizable.Record(rr))
	}
	for _, group := range l.groups {
		l.history.Contents(group, groups[group])
	}
}
