package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// A day of updates: each message refreshes the records of so many names, and gives one of them a new address.
const namesOfMessage = 10

// refreshAttempts is how often a message is sent that gets no answer.
const refreshAttempts = 10

// idling is how long a server has nothing to do after these updates until its memory is read: it may give back what it took
// for them.
const idling = 30 * time.Second

// agingInterval is both intervals of aging in the zone of owned names. All its records were refreshed longer ago, so that
// repeating one is a refresh.
const agingInterval = 7 * 24 * time.Hour

// ownedZone compares the memory of a million names, each with an owner of its own, after a restart and after each name was
// refreshed once and a tenth got another address. BIND has the same records, for it knows no owners.
func (b *bench) ownedZone(ctx context.Context) error {
	for _, s := range []*subject{b.file, b.knot, b.recommended, b.bigOurs, b.bigBIND} {
		s.stop()
	}
	krb5conf, err := b.realm.Config()
	if err != nil {
		return err
	}
	zone := zoneSpec{origin: "owned.test.", hosts: b.large.hosts}
	zone.file = filepath.Join(b.dir, zone.origin+"db")
	if err := zone.write(); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(b.dir, name) }
	hours := int(agingInterval.Hours())
	ours := newCoreDNS(in("gsstsig-owners"), b.binary, b.keytab, false, b.profiles != "", []string{fmt.Sprintf("aging %dh %[1]dh", hours)}, zone)
	subjects := []*subject{ours, newBIND(in("bind-owners"), b.keytab, krb5conf, zone)}
	defer func() {
		for _, s := range subjects {
			s.stop()
		}
	}()
	if err := b.loadOwned(ctx, ours, zone); err != nil {
		return err
	}
	read := func(what string, i int) (now, peak float64, err error) {
		now, peak, err = subjects[i].memory()
		fmt.Fprintf(os.Stderr, "%-28s %-8s %.0f MB, at the peak %.0f MB\n", what, subjects[i].name, now/1e6, peak/1e6)
		return now / 1e6, peak / 1e6, err
	}
	var started [2][]float64
	err = b.inTurn(ctx, func(_, i int) error {
		if _, err := subjects[i].start(ctx); err != nil {
			return err
		}
		pause(ctx, settling)
		now, _, err := read("owners, after a restart", i)
		started[i] = append(started[i], now)
		subjects[i].stop()
		return err
	}, len(subjects))
	if err != nil {
		return err
	}
	var later, peaks [2]float64
	for i, s := range subjects {
		if _, err := s.start(ctx); err != nil {
			return err
		}
		began := time.Now()
		if err := b.dayOfUpdates(ctx, s, zone); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%-28s %-8s %8.2f s\n", "owners, updates", s.name, time.Since(began).Seconds())
		pause(ctx, idling)
		if later[i], peaks[i], err = read("owners, after updates", i); err != nil {
			return err
		}
		if i == 0 {
			b.heapProfile(ctx, "owners", s)
		}
		if err := verifyDay(ctx, s, zone); err != nil {
			return err
		}
		s.stop()
	}
	const restartGoal, laterGoal = 0.8, 1.2
	bindMemory := median(started[1])
	ratio := median(ratios(started[0], started[1]))
	b.table.add(row{
		what: "memory of 1e6 names with owners, after a restart",
		ours: number(median(started[0])) + " MB", peer: number(bindMemory) + " MB",
		ratio: times(ratio), goal: fmt.Sprintf("≤ %g × BIND", restartGoal), reached: ratio <= restartGoal,
	})
	ratio = later[0] / bindMemory
	b.table.add(row{
		what: fmt.Sprintf("the same after %s refreshes and %s changes; at the peak %s MB, BIND %s MB",
			number(float64(zone.hosts)), number(float64(zone.hosts/namesOfMessage)), number(peaks[0]), number(peaks[1])),
		ours: number(later[0]) + " MB", peer: number(later[1]) + " MB", ratio: times(later[0] / later[1]),
		goal: fmt.Sprintf("≤ %g × BIND after its start (%s)", laterGoal, times(ratio)), reached: ratio <= laterGoal,
	})
	return nil
}

// heapProfile writes what our server's memory has.
func (b *bench) heapProfile(ctx context.Context, what string, s *subject) {
	if b.profiles == "" || !s.pprof.IsValid() {
		return
	}
	if err := fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/heap?gc=1", s.pprof), filepath.Join(b.profiles, what+"-heap.pb.gz")); err != nil {
		fmt.Fprintf(os.Stderr, "heap profile of %s: %v\n", what, err)
	}
}

// loadOwned fills the database of a server that is not running: each record was refreshed longer ago than agingInterval, and
// each host has an owner of its own.
func (b *bench) loadOwned(ctx context.Context, s *subject, zone zoneSpec) (err error) {
	dump, err := os.Create(zone.file + ".dump")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dump.Name())) }()
	w := bufio.NewWriter(dump)
	fmt.Fprintf(w, ";gsstsig: zone %s serial 1\n%s 300 IN SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60\n%[1]s 300 IN NS ns1.example.test.\n",
		zone.origin, zone.origin)
	refreshed := time.Now().Add(-agingInterval - 24*time.Hour).UTC().Truncate(time.Hour).Format(time.RFC3339)
	for i := range zone.hosts {
		fmt.Fprintf(w, ";gsstsig: refreshed %s\n%s 300 IN A %v\n", refreshed, zone.host(i), zone.address(i))
	}
	for i := range zone.hosts {
		host := zone.host(i)
		fmt.Fprintf(w, ";gsstsig: owner %s host/%s@%s\n", host, host[:len(host)-1], realmName)
	}
	if err := errors.Join(w.Flush(), dump.Close()); err != nil {
		return err
	}
	if _, err := s.prepare(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.binary, "gsstsig", "-conf", filepath.Join(s.dir, "Corefile"), "load", zone.origin, dump.Name())
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load %s: %w\n%s", zone.origin, err, output)
	}
	return nil
}

// dayOfUpdates refreshes each host's record once, and gives a tenth of them another address, as fast as the server takes it.
func (b *bench) dayOfUpdates(ctx context.Context, s *subject, zone zoneSpec) error {
	const clients = 16
	c, err := b.dial(ctx, s)
	if err != nil {
		return err
	}
	var working sync.WaitGroup
	failures := make([]error, clients)
	for i := range clients {
		key, err := c.Negotiate(ctx)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s.name, err), ctx.Err())
		}
		working.Go(func() { failures[i] = refresh(ctx, key, zone, i, clients) })
	}
	working.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// refresh sends each clients-th message of such a day, from the one with number first on.
func refresh(ctx context.Context, key *client.Context, zone zoneSpec, first, clients int) error {
	for at := first * namesOfMessage; at < zone.hosts; at += clients * namesOfMessage {
		// What is repeated is as good as what was lost. BIND lets clients wait while it writes its zone file.
		for attempt := 1; ; attempt++ {
			_, err := key.Update(ctx, refreshMessage(zone, at))
			if err == nil {
				break
			}
			if timeout := net.Error(nil); attempt == refreshAttempts || !errors.As(err, &timeout) || !timeout.Timeout() {
				return fmt.Errorf("refresh of %s: %w", zone.host(scattered(at, zone.hosts)), err)
			}
		}
	}
	return nil
}

// verifyDay makes sure that the server has of every hundredth of these messages what it acknowledged.
func verifyDay(ctx context.Context, s *subject, zone zoneSpec) error {
	c := &dns.Client{Timeout: replyTimeout}
	for at := 0; at < zone.hosts; at += 100 * namesOfMessage {
		for _, rr := range refreshMessage(zone, at).Ns {
			if a, ok := rr.(*dns.A); ok {
				if err := verifyAddress(ctx, c, s, a.Hdr.Name, a.A); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// refreshMessage repeats the records of hosts, but that of the first, which gets another address.
func refreshMessage(zone zoneSpec, at int) *dns.Msg {
	m := new(dns.Msg).SetUpdate(zone.origin)
	for i := at; i < min(at+namesOfMessage, zone.hosts); i++ {
		a := &dns.A{Hdr: dns.RR_Header{Name: zone.host(scattered(i, zone.hosts)), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}}
		a.A = zone.address(scattered(i, zone.hosts))
		if i == at {
			a.A = net.IPv4(10, a.A[1], a.A[2], a.A[3]).To4()
		}
		m.RemoveRRset([]dns.RR{a})
		m.Ns = append(m.Ns, a)
	}
	return m
}
