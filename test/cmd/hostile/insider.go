package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// insider is a client whose ticket is good and who abuses it. Its identity is the one that is recorded.
const insider = 0

// An abuse is what an insider sends: the message of that number, starting with 1.
type abuse struct {
	name    string
	message func(n int) *dns.Msg
	unread  bool // the answers are not read
}

// ordinary is what the abuses are compared with: updates like those of the good clients.
var ordinary = abuse{name: "ordinary updates", message: func(n int) *dns.Msg {
	return updateOf("client0."+zoneName, uint32(n))
}}

// namesEach is how many names a message of many names has.
const namesEach = 250

var abuses = []abuse{
	{name: "long names", message: func(n int) *dns.Msg {
		return addressesOf(n%2 == 1, namesEach, func(i int) string {
			return fmt.Sprintf("%s.%s.%s.long%d.", strings.Repeat("x", 60), strings.Repeat("y", 60), strings.Repeat("z", 60), i)
		})
	}},
	{name: "deep names", message: func(n int) *dns.Msg {
		// As many names as the limit on empty non-terminals permits, and then what it refuses.
		names := 9
		if n%4 > 1 {
			names = namesEach
		}
		return addressesOf(n%2 == 1, names, func(i int) string { return strings.Repeat("a.", 100) + fmt.Sprintf("deep%d.", i) })
	}},
	{name: "nothing to change", message: func(int) *dns.Msg {
		return addressesOf(false, 1, func(int) string { return "missing." })
	}},
	{name: "tombstones", message: func(n int) *dns.Msg {
		return addressesOf(n%2 == 1, namesEach, func(i int) string { return fmt.Sprintf("t%d-%d.", (n-1)/2, i) })
	}},
	{name: "unread answers", message: ordinary.message, unread: true},
}

// addressesOf adds an address to that many names, or deletes the names.
func addressesOf(add bool, names int, name func(i int) string) *dns.Msg {
	m := new(dns.Msg).SetUpdate(zoneName)
	for i := range names {
		header := dns.RR_Header{Name: name(i) + zoneName, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}
		if add {
			m.Insert([]dns.RR{&dns.A{Hdr: header, A: net.IPv4(10, 0, 0, 1)}})
		} else {
			m.RemoveName([]dns.RR{&dns.A{Hdr: header}})
		}
	}
	return m
}

// harm is what an insider has done.
type harm struct {
	Messages, Octets int
	Rcodes           map[string]int // of the answers that were read
}

// abuse has the insider send from several connections until the context ends or, unless it is 0, that many messages are
// sent, and no more than that many octets a second, unless they are 0.
func (h *harness) abuse(ctx context.Context, a abuse, connections, messages, octetsPerSecond int) (harm, error) {
	total := harm{Rcodes: make(map[string]int)}
	var mu sync.Mutex
	began := time.Now()
	// next gives the number of the next message, 0 if there is none.
	next := func() int {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil || messages > 0 && total.Messages == messages {
			return 0
		}
		total.Messages++
		return total.Messages
	}
	count := func(octets int, rcode string) {
		mu.Lock()
		total.Octets += octets
		if rcode != "" {
			total.Rcodes[rcode]++
		}
		ahead := time.Duration(0)
		if octetsPerSecond > 0 {
			ahead = time.Duration(float64(total.Octets)/float64(octetsPerSecond)*float64(time.Second)) - time.Since(began)
		}
		mu.Unlock()
		if ahead > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(ahead):
			}
		}
	}
	var group sync.WaitGroup
	errs := make([]error, connections)
	for i := range connections {
		group.Go(func() { errs[i] = h.abuseOne(a, next, count) })
	}
	group.Wait()
	return total, errors.Join(errs...)
}

// abuseOne is one connection of an insider. It does not end with the context of the attack but between two messages.
func (h *harness) abuseOne(a abuse, next func() int, count func(octets int, rcode string)) error {
	ctx := context.Background()
	c, err := h.dial(ctx, client.Config{Network: "tcp", Timeout: time.Minute}, insider)
	if err != nil {
		return err
	}
	defer c.Close()
	key, err := c.Negotiate(ctx)
	if err != nil {
		return err
	}
	defer key.Close()
	var unread net.Conn
	for n := next(); n != 0; n = next() {
		m := a.message(n)
		if !a.unread {
			reply, err := key.Exchange(ctx, m)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			count(m.Len(), dns.RcodeToString[reply.Rcode])
			continue
		}
		wire, _, err := key.Sign(m)
		if err != nil {
			return err
		}
		if unread == nil {
			if unread, err = net.Dial("tcp", h.server.Address.String()); err != nil {
				return err
			}
		}
		unread.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := unread.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)); err != nil {
			// The server waits for the answers to be read, or has closed the connection.
			unread.Close()
			unread = nil
		}
		count(len(wire), "")
	}
	if unread != nil {
		unread.Close()
	}
	return nil
}

// soakInsider measures the good clients' rate beside each abuse and beside ordinary updates of the same octets.
func (h *harness) soakInsider(ctx context.Context, slice time.Duration, least float64, say func(string, ...any)) error {
	const connections = 4
	beside := func(a abuse, octetsPerSecond int) (float64, harm, error) {
		attack, stop := context.WithCancel(ctx)
		defer stop()
		var done harm
		var failed error
		var group sync.WaitGroup
		w, err := h.work(ctx, task{duration: slice, attempts: untilAnswer, begin: func() error {
			group.Go(func() { done, failed = h.abuse(attack, a, connections, 0, octetsPerSecond) })
			return nil
		}})
		stop()
		group.Wait()
		say("beside an insider's %s: %.0f updates/s, %d failed; the insider: %.0f messages/s, %.2f MB/s, answers %v; load %s", a.name, w.rate(slice),
			w.Failures, float64(done.Messages)/slice.Seconds(), float64(done.Octets)/slice.Seconds()/1e6, done.Rcodes, load())
		if w.Failures > 0 {
			failed = errors.Join(failed, fmt.Errorf("beside %s %d operations of good clients failed: %v", a.name, w.Failures, w.Errors))
		}
		return w.rate(slice), done, errors.Join(err, failed)
	}
	var errs []error
	for _, a := range abuses {
		undisturbed, done, err := beside(ordinary, 0)
		if err != nil {
			return err
		}
		rate, _, err := beside(a, int(float64(done.Octets)/slice.Seconds()))
		if err != nil {
			return err
		}
		say("good clients kept %.0f %% of their rate beside as many octets of ordinary updates", 100*rate/undisturbed)
		if rate < least*undisturbed {
			errs = append(errs, fmt.Errorf("beside %s good clients kept %.0f %% of their rate, %.0f %% are due", a.name, 100*rate/undisturbed, 100*least))
		}
		if _, _, err := beside(a, 0); err != nil { // as fast as it goes
			return err
		}
	}
	return errors.Join(append(errs, h.crashed())...)
}
