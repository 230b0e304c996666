//go:build e2e

package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/linearizable"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// followedChanges is how many updates a secondary has to follow.
const followedChanges = 10_000

// TestSecondary has BIND follow a zone from three primaries, by NOTIFY and by IXFR from whichever it asks, while changes are made
// at all of them and they are killed one after the other.
func TestSecondary(t *testing.T) {
	tested.Path(t, tested.Client{Name: "BIND", Package: "bind9"}, "secondary of three servers with one zone on etcd, by NOTIFY and IXFR")
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	d := deploy(t, config{to: fmt.Sprintf("* 127.0.0.1:%d", port)})
	var primaries []netip.AddrPort
	for i := range size {
		primaries = append(primaries, d.address(i))
	}
	secondary, err := named.Start(d.ctx, named.Config{Port: port, Debug: 3, Memory: true, Zones: []named.Zone{{Name: zoneName, Primary: primaries[0], Primaries: primaries[1:]}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(secondary.Stop)
	const clients = 4 * size
	var made atomic.Int64
	var working sync.WaitGroup
	for client := range clients {
		s := d.newSender()
		working.Go(func() {
			for {
				n := int(made.Add(1))
				if n > followedChanges || t.Failed() {
					return
				}
				server := client % size
				d.until("an update", func() error {
					// A server that was killed: the client goes to another.
					reply, err := s.exchange(server, alice, replace(fmt.Sprintf("h%d", n%500), fmt.Sprint(n)))
					if err == nil && reply.Rcode != dns.RcodeSuccess {
						err = fmt.Errorf("rcode %s", dns.RcodeToString[reply.Rcode])
					}
					if err != nil {
						server = (server + 1) % size
					}
					return err
				})
			}
		})
	}
	// BIND asks the first of them that answers.
	for i, step := range []func(){
		func() { d.kill(0) }, func() { d.kill(1) }, func() { d.restart(0) }, func() { d.restart(1) }, func() { d.kill(2) }, func() { d.restart(2) },
	} {
		d.until("changes", func() error {
			if done := int(made.Load()); done < (i+1)*followedChanges/7 {
				return fmt.Errorf("%d so far", done)
			}
			return nil
		})
		step()
	}
	working.Wait()
	serial := d.sameSerial()
	d.until("BIND to be at the servers' serial", func() error {
		got, err := serialAt(d.ctx, secondary.Address)
		if err == nil && got != serial {
			err = fmt.Errorf("serial %d, want %d", got, serial)
		}
		return err
	})
	for i := range size {
		ours, err := d.transfer(i)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := transferFrom(secondary.Address)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := sorted(theirs), sorted(ours); !slices.Equal(got, want) {
			t.Errorf("BIND has\n%s\nand server %d\n%s", strings.Join(got, "\n"), i, strings.Join(want, "\n"))
		}
	}
	said := secondary.Log()
	whole, incremental := strings.Count(said, "got nonincremental response"), strings.Count(said, "got incremental response")
	// The first transfer is whole. So may be that after one that a kill has broken off.
	if whole > 1+size || incremental < size {
		t.Errorf("%d whole and %d incremental transfers", whole, incremental)
	}
	for _, primary := range primaries {
		if !strings.Contains(said, fmt.Sprintf("%s#%d", primary.Addr(), primary.Port())) {
			t.Errorf("BIND never speaks of %s", primary)
		}
	}
	if serial < followedChanges {
		t.Errorf("serial %d after %d changes", serial, followedChanges)
	}
	t.Logf("%d changes, %d whole and %d incremental transfers", followedChanges, whole, incremental)
}

// sorted returns the records of a transfer in one order: a server sends its own.
func sorted(records []dns.RR) []string {
	var list []string
	for _, rr := range records[1:] {
		list = append(list, linearizable.Record(rr))
	}
	slices.Sort(list)
	return list
}
