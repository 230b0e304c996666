package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
)

// The zones of the machines.
const (
	morningZone  = "morning.test."
	morningPTR   = "10.in-addr.arpa."
	morningPTRv6 = "8.b.d.0.1.0.0.2.ip6.arpa."
	// morningSeeds is how many hosts the zone has before the first machine comes. They are what is asked for.
	morningSeeds = 10_000
	// morningMost is how many machines have addresses of their own.
	morningMost = 1 << 22
	// A machine waits so long for an answer, and sends a message so often.
	morningTimeout  = 3 * time.Second
	morningAttempts = 3
)

// What a machine must not wait for, and what queries must keep beside.
const (
	morningWait  = time.Second
	morningShare = 0.8
	// morningMemory is how many octets the server may take for each machine, beside morningRoom for its buffers.
	morningMemory = 4 << 10
	morningRoom   = 64 << 20
)

// steps are what a machine does, in this order.
var steps = [...]string{"context", "A and AAAA", "PTR of A", "PTR of AAAA"}

// machines are the computers of a site that are switched on: each has a ticket of its own, makes a context, and registers two
// addresses and their names. Tickets are made with the service's key, as a KDC would: no KDC is measured.
type machines struct {
	keys    *keytab.Keytab
	enctype int32
	version int
	target  func() string // where the next request of any machine goes
	most    int           // at work at a time

	repeated atomic.Int64 // messages that got no answer

	mu      sync.Mutex
	took    [len(steps)][]time.Duration // guarded by mu
	longest time.Duration               // of a whole machine; guarded by mu
	failed  []error                     // guarded by mu
}

func newMachines(file string, target func() string) (*machines, error) {
	keys, err := keytab.Load(file)
	if err != nil {
		return nil, err
	}
	for _, entry := range keys.Entries {
		if krb5.Enctype(entry.Key.KeyType) == krb5.AES256SHA1 {
			return &machines{keys: keys, enctype: entry.Key.KeyType, version: int(entry.KVNO), target: target, most: 256}, nil
		}
	}
	return nil, fmt.Errorf("%s has no key of type %v", file, krb5.AES256SHA1)
}

// A machine is known by its number.
type machine int

func (m machine) name() string { return fmt.Sprintf("pc%07d.%s", m, morningZone) }

func (m machine) v4() netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(m >> 16), byte(m >> 8), byte(m)})
}

func (m machine) v6() netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 13: byte(m >> 16), 14: byte(m >> 8), 15: byte(m)})
}

// source is where it asks from: an address of its own on this computer.
func (m machine) source() netip.Addr {
	return netip.AddrFrom4([4]byte{127, 1 + byte(m>>16), byte(m >> 8), byte(m)})
}

// network is UDP for half of them.
func (m machine) network() string { return []string{"udp", "tcp"}[m%2] }

// updates are its registration, as nsupdate and SSSD send it: what was there is deleted.
func (m machine) updates() []*dns.Msg {
	a := &dns.A{Hdr: dns.RR_Header{Name: m.name(), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 3600}, A: m.v4().AsSlice()}
	aaaa := &dns.AAAA{Hdr: dns.RR_Header{Name: m.name(), Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: 3600}, AAAA: m.v6().AsSlice()}
	all := []*dns.Msg{registration(morningZone, a, aaaa)}
	for _, ptr := range m.pointers() {
		zone := morningPTR
		if strings.HasSuffix(ptr.Hdr.Name, morningPTRv6) {
			zone = morningPTRv6
		}
		all = append(all, registration(zone, ptr))
	}
	return all
}

func (m machine) pointers() []*dns.PTR {
	var all []*dns.PTR
	for _, address := range []netip.Addr{m.v4(), m.v6()} {
		owner, err := dns.ReverseAddr(address.String())
		if err != nil {
			panic(err) // it is an address
		}
		all = append(all, &dns.PTR{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 3600}, Ptr: m.name()})
	}
	return all
}

func registration(zone string, records ...dns.RR) *dns.Msg {
	u := new(dns.Msg).SetUpdate(zone)
	u.RemoveRRset(records)
	u.Ns = append(u.Ns, records...)
	return u
}

// ticket is what the KDC gives a machine.
func (all *machines) ticket(m machine) (client.ServiceTicket, error) {
	principal, err := krb5.ParsePrincipal("host/" + strings.TrimSuffix(m.name(), ".") + "@" + realmName)
	if err != nil {
		return client.ServiceTicket{}, err
	}
	start := time.Now().UTC().Add(-time.Second).Truncate(time.Second)
	end := start.Add(10 * time.Hour)
	ticket, key, err := messages.NewTicket(
		types.PrincipalName{NameType: 1, NameString: principal.Components}, realmName,
		types.PrincipalName{NameType: 2, NameString: strings.Split(service, "/")}, realmName,
		types.NewKrbFlags(), all.keys, all.enctype, all.version, start, start, end, end)
	return client.ServiceTicket{Ticket: ticket, SessionKey: key, Client: principal, Expires: end}, err
}

// repeat does a step again that got no answer, as clients do: a datagram can be lost. What it takes in all is waited for.
func (all *machines) repeat(step func() error) error {
	for attempt := 1; ; attempt++ {
		err := step()
		if timeout := net.Error(nil); attempt == morningAttempts || !errors.As(err, &timeout) || !timeout.Timeout() {
			return err
		}
		all.repeated.Add(1)
	}
}

// register does what a machine does.
func (all *machines) register(ctx context.Context, m machine, due time.Time) error {
	ticket, err := all.ticket(m)
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, client.Config{Server: all.target(), Network: m.network(), Source: m.source(), Timeout: morningTimeout,
		Credentials: client.FromTicket(ticket), ServicePrincipal: service})
	if err != nil {
		return err
	}
	defer c.Close()
	var took [len(steps)]time.Duration
	began := time.Now()
	var key *client.Context
	err = all.repeat(func() (err error) {
		key, err = c.Negotiate(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %s: %w", m.name(), steps[0], err)
	}
	defer key.Close()
	took[0] = time.Since(began)
	for i, u := range m.updates() {
		began = time.Now()
		err := all.repeat(func() error {
			_, err := key.Update(ctx, u)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %s: %w", m.name(), steps[1+i], err)
		}
		took[1+i] = time.Since(began)
	}
	whole := time.Since(due)
	all.mu.Lock()
	defer all.mu.Unlock()
	for i, d := range took {
		all.took[i] = append(all.took[i], d)
	}
	all.longest = max(all.longest, whole)
	return nil
}

// come has the machines from first on come evenly spread over a time; with none, as fast as they are served. It returns how
// long that took.
func (all *machines) come(ctx context.Context, first machine, count int, over time.Duration) time.Duration {
	var next atomic.Int64
	var working sync.WaitGroup
	began := time.Now()
	for range min(all.most, count) {
		working.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				due := time.Now()
				if over > 0 {
					due = began.Add(time.Duration(float64(over) * float64(i) / float64(count)))
					pause(ctx, time.Until(due))
				}
				if err := all.register(ctx, first+machine(i), due); err != nil {
					all.mu.Lock()
					all.failed = append(all.failed, err)
					all.mu.Unlock()
				}
			}
		})
	}
	working.Wait()
	return time.Since(began)
}

// quantile of durations that are sorted.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// waits tells how long each step has taken, and the longest of all.
func (all *machines) waits() (text string, longest time.Duration) {
	all.mu.Lock()
	defer all.mu.Unlock()
	var b strings.Builder
	for i, name := range steps {
		took := slices.Sorted(slices.Values(all.took[i]))
		slowest := quantile(took, 1)
		longest = max(longest, slowest)
		fmt.Fprintf(&b, "  %-12s median %8v   99 %% within %8v   longest %8v\n", name, quantile(took, 0.5).Round(10*time.Microsecond),
			quantile(took, 0.99).Round(10*time.Microsecond), slowest.Round(100*time.Microsecond))
	}
	fmt.Fprintf(&b, "  %-12s %63v\n", "a machine", all.longest.Round(100*time.Microsecond))
	return b.String(), longest
}

// check looks whether each machine is registered.
func (all *machines) check(ctx context.Context, first machine, count int, server netip.AddrPort) error {
	var next, wrong atomic.Int64
	var example atomic.Pointer[error]
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			c := &dns.Client{Timeout: replyTimeout}
			conn, err := c.DialContext(ctx, server.String())
			if err != nil {
				example.CompareAndSwap(nil, &err)
				return
			}
			defer conn.Close()
			for i := int(next.Add(1)) - 1; i < count && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := registered(c, conn, first+machine(i)); err != nil {
					wrong.Add(1)
					example.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	working.Wait()
	if err := example.Load(); err != nil {
		return fmt.Errorf("%d machines are not registered, such as: %w", wrong.Load(), *err)
	}
	return ctx.Err()
}

func registered(c *dns.Client, conn *dns.Conn, m machine) error {
	want := map[string]uint16{m.v4().String(): dns.TypeA, m.v6().String(): dns.TypeAAAA}
	for address, kind := range want {
		if err := answered(c, conn, m.name(), kind, address); err != nil {
			return err
		}
	}
	for _, ptr := range m.pointers() {
		if err := answered(c, conn, ptr.Hdr.Name, dns.TypePTR, ptr.Ptr); err != nil {
			return err
		}
	}
	return nil
}

func answered(c *dns.Client, conn *dns.Conn, name string, kind uint16, want string) error {
	reply, _, err := c.ExchangeWithConn(new(dns.Msg).SetQuestion(name, kind), conn)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(reply.Answer) == 1 {
		if text := reply.Answer[0].String(); strings.HasSuffix(text, "\t"+want) {
			return nil
		}
	}
	return fmt.Errorf("%s %s is %v, not %s", name, dns.TypeToString[kind], reply.Answer, want)
}

// morningServer is this project's server with the zones of the machines, as the README has it: what is kept where.
func (b *bench) morningServer(name string, zone zoneSpec, kept string) *subject {
	return &subject{name: name, dir: filepath.Join(b.dir, "morning", name), zones: []zoneSpec{zone}, command: func(s *subject) (*exec.Cmd, error) {
		profiling := ""
		if b.profiles != "" {
			var err error
			if profiling, err = s.profiling(); err != nil {
				return nil, err
			}
		}
		return coreDNS(s, b.binary, fmt.Sprintf("%s %s %s {\n  bind 127.0.0.1\n  errors\n%s  gsstsig {\n    keytab %s\n    file %s %s\n    control off\n    %s\n  }\n}\n",
			morningPTR, morningPTRv6, morningZone, profiling, b.keytab, zone.file, morningZone, kept))
	}}
}

// mondayMorning is on three servers with the zones on etcd, behind one address. Each message may meet another server.
func (c *cluster) mondayMorning(ctx context.Context) error {
	zone := zoneSpec{origin: morningZone, hosts: morningSeeds, file: filepath.Join(c.dir, morningZone+"db")}
	if err := zone.write(); err != nil {
		return err
	}
	var servers []*subject
	for i := range nodes {
		s := c.morningServer(fmt.Sprintf("morning%d", i), zone,
			fmt.Sprintf("etcd %s\n    etcd_prefix /morning\n    etcd_server morning%d", strings.Join(c.members.Endpoints(), " "), i))
		defer s.stop()
		if _, err := s.start(ctx); err != nil {
			return err
		}
		servers = append(servers, s)
	}
	var next atomic.Int64
	front, err := relay.Start(relay.Config{Pick: func() netip.AddrPort { return servers[int(next.Add(1))%nodes].address }})
	if err != nil {
		return err
	}
	defer front.Close()
	all, err := newMachines(c.keytab, front.Address.String)
	if err != nil {
		return err
	}
	return c.morning(ctx, ", three servers on etcd behind one address", &c.onEtcdTable, zone, all, servers...)
}

// mondayMorning has many machines come at about the same time, beside queries, and then as many as fast as they are served.
func (b *bench) mondayMorning(ctx context.Context) error {
	zone := zoneSpec{origin: morningZone, hosts: morningSeeds, file: filepath.Join(b.dir, morningZone+"db")}
	if err := zone.write(); err != nil {
		return err
	}
	s := b.morningServer("gsstsig", zone, "database "+filepath.Join(b.dir, "morning", "database"))
	if _, err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	all, err := newMachines(b.keytab, s.address.String)
	if err != nil {
		return err
	}
	return b.morning(ctx, "", &b.table, zone, all, s)
}

// morning measures machines that come to some servers: one, or several that have the same zones, of which the first is asked.
func (b *bench) morning(ctx context.Context, where string, result *table, zone zoneSpec, all *machines, servers ...*subject) error {
	asked := servers[0]
	file := filepath.Join(b.dir, "morning-queries")
	if err := queriesFile(file, zone); err != nil {
		return err
	}
	alone, _, err := query(ctx, asked, file, max(b.duration, 5*time.Second))
	if err != nil {
		return err
	}
	before, _, err := asked.memory()
	if err != nil {
		return err
	}
	count := b.machines
	var beside float64
	var lost int
	asking := make(chan error, 1)
	go func() {
		var err error
		beside, lost, err = query(ctx, asked, file, b.within)
		asking <- err
	}()
	meter := newMeter(asked)
	stop := b.profile(ctx, "morning"+where, asked)
	took := all.come(ctx, 0, count, b.within)
	usage := meter.read()
	stop()
	if err := errors.Join(<-asking, ctx.Err()); err != nil {
		return err
	}
	waits, longest := all.waits()
	_, peak, err := asked.memory()
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d machines in %.0f s%s: %d failed; queries %.0f/s, %.0f/s before, %d lost; memory %.0f MB, before %.0f MB; server %.2f and generator %.2f processors\n%s",
		count, took.Seconds(), where, len(all.failed), beside, alone, lost, peak/1e6, before/1e6, usage.server.Seconds()/took.Seconds(), usage.generator.Seconds()/took.Seconds(), waits)
	// The rush, with nothing else.
	rush := min(count, 20_000)
	rushed := all.come(ctx, machine(count), rush, 0)
	rate := float64(rush) / rushed.Seconds()
	fmt.Fprintf(os.Stderr, "%d more as fast as they go: %.0f machines/s; %d messages in all were repeated\n", rush, rate, all.repeated.Load())
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(all.failed) > 0 {
		return fmt.Errorf("%d of %d machines failed, such as: %w", len(all.failed), count+rush, all.failed[0])
	}
	for _, s := range servers {
		if err := all.check(ctx, 0, count+rush, s.address); err != nil {
			return err
		}
	}
	share := beside / alone
	bound := float64(morningRoom + morningMemory*count)
	result.add(row{
		what: fmt.Sprintf("%s machines register within %v%s: none fails, longest wait", number(float64(count)), b.within, where),
		ours: fmt.Sprintf("%v", longest.Round(time.Millisecond)), goal: fmt.Sprintf("≤ %v", morningWait), reached: longest <= morningWait,
	})
	result.add(row{
		what: "queries/s meanwhile (before: " + number(alone) + ")", ours: number(beside), ratio: times(share),
		goal: fmt.Sprintf("≥ %g × before", morningShare), reached: share >= morningShare,
	})
	result.add(row{
		what: "memory at its peak, more than before", ours: number((peak-before)/1e6) + " MB",
		goal: fmt.Sprintf("≤ %s MB", number(bound/1e6)), reached: peak-before <= bound,
	})
	result.add(row{what: "machines/s as fast as they are served", ours: number(math.Round(rate))})
	return nil
}
