package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// replyTimeout is after how long a request counts as unanswered.
const replyTimeout = 2 * time.Second

// operation is one thing that a client does, again and again.
type operation func(context.Context) error

// counts is what a load achieved.
type counts struct {
	completed  int           // within the time that counts
	elapsed    time.Duration // that time
	failed     int           // in all, those unanswered included
	unanswered int
	failure    error // one of them
}

func (c counts) perSecond() float64 { return float64(c.completed) / c.elapsed.Seconds() }

// drive has each client do its operation from now on. What completes within warm is not counted, so that every client is
// at work when the count begins; then it goes on for as long as window takes. Operations begun before the end run to
// theirs, or one would seem lost only because the time was up.
func drive(ctx context.Context, operations []operation, warm time.Duration, window func()) counts {
	var completed, failed, unanswered atomic.Int64
	var counting, over atomic.Bool
	var failure atomic.Pointer[error]
	var clients sync.WaitGroup
	for _, do := range operations {
		clients.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				err := do(ctx)
				if err == nil {
					if counting.Load() {
						completed.Add(1)
					}
					continue
				}
				if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
					unanswered.Add(1)
				}
				failed.Add(1)
				failure.CompareAndSwap(nil, &err)
			}
		})
	}
	pause(ctx, warm)
	start := time.Now()
	counting.Store(true)
	window()
	counting.Store(false)
	elapsed := time.Since(start)
	over.Store(true)
	clients.Wait()
	c := counts{completed: int(completed.Load()), elapsed: elapsed, failed: int(failed.Load()), unanswered: int(unanswered.Load())}
	if err := failure.Load(); err != nil {
		c.failure = *err
	}
	return c
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// dial makes a client of one server.
func (b *bench) dial(ctx context.Context, s *subject) (*client.Client, error) {
	return client.Dial(ctx, client.Config{
		Server: s.address.String(), Network: "udp", Timeout: b.patience,
		// On loopback nothing has to fit a path: what the servers do with a datagram is compared.
		MaxUDP:      4096,
		Credentials: b.credentials, ServicePrincipal: service,
	})
}

// handshakes are clients that make a context, forget it and make the next, as nsupdate -g does.
func (b *bench) handshakes(ctx context.Context, s *subject, clients int) ([]operation, error) {
	c, err := b.dial(ctx, s)
	if err != nil {
		return nil, err
	}
	operations := make([]operation, clients)
	for i := range operations {
		operations[i] = func(ctx context.Context) error {
			key, err := c.Negotiate(ctx)
			if err == nil {
				key.Close()
			}
			return err
		}
	}
	return operations, nil
}

// updaterClient is a client with a context of its own that gives one host after the other a new address. No two updaters of a
// set have the same hosts.
type updaterClient struct {
	key   *client.Context
	zone  zoneSpec
	next  int // host
	step  int
	count uint32
	sent  map[string]net.IP // by host: the address last acknowledged; nil once it is unknown
}

// updaters makes clients that update a zone of one server. With own, each has one host that the zone file does not know;
// otherwise they go through the zone's.
func (b *bench) updaters(ctx context.Context, s *subject, zone zoneSpec, clients int, own bool) ([]*updaterClient, error) {
	c, err := b.dial(ctx, s)
	if err != nil {
		return nil, err
	}
	all := make([]*updaterClient, clients)
	for i := range all {
		key, err := c.Negotiate(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		all[i] = &updaterClient{key: key, zone: zone, next: i, step: clients, sent: make(map[string]net.IP)}
		if own {
			all[i].next, all[i].step = zone.hosts+i, 0
		}
	}
	return all, nil
}

// scattered spreads consecutive numbers over a zone. Its prime divides no zone's size, so this is a permutation of the hosts.
func scattered(i, hosts int) int { return int(int64(i) * 7919 % int64(hosts)) }

// pick returns the number of the host to update next.
func (u *updaterClient) pick() int {
	if u.step == 0 {
		return u.next
	}
	host := scattered(u.next, u.zone.hosts)
	u.next = (u.next + u.step) % (u.zone.hosts - u.zone.hosts%u.step)
	return host
}

func (u *updaterClient) update(ctx context.Context) error {
	u.count++
	name := u.zone.host(u.pick())
	header := dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}
	// A new address each time, or the server would have nothing to write.
	address := net.IPv4(10, byte(u.count>>16), byte(u.count>>8), byte(u.count)).To4()
	m := new(dns.Msg).SetUpdate(u.zone.origin)
	m.RemoveRRset([]dns.RR{&dns.A{Hdr: header}})
	m.Ns = append(m.Ns, &dns.A{Hdr: header, A: address})
	u.sent[name] = nil
	if _, err := u.key.Update(ctx, m); err != nil {
		return err
	}
	u.sent[name] = address
	return nil
}

func operations(updaters []*updaterClient) []operation {
	all := make([]operation, len(updaters))
	for i, u := range updaters {
		all[i] = u.update
	}
	return all
}

// paced holds operations to so many per second together.
func paced(all []operation, perSecond float64) []operation {
	interval := time.Duration(float64(len(all)) / perSecond * float64(time.Second))
	for i, do := range all {
		due := time.Now()
		all[i] = func(ctx context.Context) error {
			if now := time.Now(); due.Before(now.Add(-interval)) {
				due = now // too slow: do not catch up
			}
			pause(ctx, time.Until(due))
			due = due.Add(interval)
			return do(ctx)
		}
	}
	return all
}

// verifyUpdates makes sure that the server has what it acknowledged.
func verifyUpdates(ctx context.Context, s *subject, updaters []*updaterClient) error {
	c := &dns.Client{Timeout: replyTimeout}
	const sample = 20
	for _, u := range updaters {
		asked := 0
		for name, want := range u.sent {
			if want == nil {
				continue
			}
			if asked++; asked > sample {
				break
			}
			if err := verifyAddress(ctx, c, s, name, want); err != nil {
				return err
			}
		}
	}
	return nil
}

// verifyAddress makes sure that the server answers the address that it acknowledged.
func verifyAddress(ctx context.Context, c *dns.Client, s *subject, name string, want net.IP) error {
	reply, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, dns.TypeA), s.address.String())
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if len(reply.Answer) != 1 || !reply.Answer[0].(*dns.A).A.Equal(want) {
		return fmt.Errorf("%s acknowledged %s A %v and now answers %v", s.name, name, want, reply.Answer)
	}
	return nil
}
