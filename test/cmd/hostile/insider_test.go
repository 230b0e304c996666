//go:build e2e

package main

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// TestInsider has a client with a good ticket abuse it in every way, beside clients that do nothing wrong: those all
// succeed, nothing crashes, the tombstones of others stay, and memory and log are bounded.
func TestInsider(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, binary, remove, err := prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	h, err := newHarness(ctx, dir, binary, "limit tombstones 2000")
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	// update returns the rcode of one update of an identity.
	update := func(identity int, m *dns.Msg) string {
		t.Helper()
		c, err := h.dial(ctx, client.Config{Network: "tcp", Timeout: time.Minute}, identity)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		key, err := c.Negotiate(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer key.Close()
		reply, err := key.Exchange(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		return dns.RcodeToString[reply.Rcode]
	}
	victim := func(int) string { return "victim." }
	for _, add := range []bool{true, false} {
		if rcode := update(1, addressesOf(add, 1, victim)); rcode != "NOERROR" {
			t.Fatal(rcode)
		}
	}
	before, err := h.measure(ctx)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var over atomic.Bool
	var group sync.WaitGroup
	done, err := h.work(ctx, task{attempts: untilAnswer, while: func() bool { return !over.Load() }, begin: func() error {
		group.Go(func() {
			defer over.Store(true)
			// 10,000 names, twice as many messages.
			for i, messages := range []int{20, 40, 1000, 2 * 10_000 / namesEach, 1000, 1000} {
				order := h.order(abuses[i])
				order.Connections, order.Messages = 2, messages
				harm, err := order.run(ctx)
				if err != nil {
					t.Error(err)
				}
				if !abuses[i].unread && !abuses[i].udp && harm.Rcodes["NOERROR"]+harm.Rcodes["REFUSED"] != messages {
					t.Errorf("%s: %+v", abuses[i].name, harm)
				}
				t.Logf("%s: %+v", abuses[i].name, harm)
			}
		})
		return nil
	}})
	group.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if done.Failures > 0 || done.Updates == 0 {
		t.Errorf("good clients made %d updates, %d operations failed: %v", done.Updates, done.Failures, done.Errors)
	}
	if err := h.crashed(); err != nil {
		t.Fatal(err)
	}
	if rcode := update(2, addressesOf(true, 1, victim)); rcode != "REFUSED" {
		t.Errorf("another takes the name of which the tombstone was to stay: %s", rcode)
	}
	if rcode := update(1, addressesOf(true, 1, victim)); rcode != "NOERROR" {
		t.Errorf("the owner gets its name back: %s", rcode)
	}
	const room = 100 << 20
	after, err := h.settled(ctx, 1, func(s size) bool { return s.Heap < before.Heap+room })
	if err != nil {
		t.Fatal(err)
	}
	if after.Heap >= before.Heap+room {
		t.Errorf("%v, before %v", after, before)
	}
	// Lines about what changed nothing: as many at once, and as many a second, as the documentation says.
	unchanged, most := 0, 100+20*(1+int(time.Since(began)/time.Second))
	named := 0
	for line := range strings.Lines(h.server.Log().String()) {
		if len(line) > 12_000 {
			t.Errorf("a line of %d octets: %.200s", len(line), line)
		}
		if !strings.Contains(line, `identity="`+principalOf(insider)) {
			continue
		}
		if named++; strings.Contains(line, `-missing.`) {
			unchanged++
		}
	}
	if unchanged == 0 || unchanged > most {
		t.Errorf("%d lines about no changes, of %d at most", unchanged, most)
	}
	if named > linesOf(time.Since(began)) {
		t.Errorf("%d lines", named)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(h.server.Log().String(), "lines_left_out="); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the log does not say how many lines were left out")
		}
	}
	t.Logf("%+v, %v, before %v, %d lines about no changes, %d of the insider", done, after, before, unchanged, named)
}
