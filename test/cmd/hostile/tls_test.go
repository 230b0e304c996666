//go:build e2e

package main

import (
	"context"
	"sync"
	"testing"
	"time"
)

// connections is how many a round of the flood has.
const connections = 10000

// leftBehind says what a round has left in the server. The log of changes, which grows by the good clients' updates, takes less than
// a thousand octets for each connection.
func leftBehind(before, after size) string {
	switch {
	case after.Heap > before.Heap+1000*connections:
		return "the live heap has grown"
	case after.Goroutines > max(before.Goroutines, restingGoroutines):
		return "there are more goroutines"
	}
	return ""
}

// TestTLSHandshakes floods the server with TLS handshakes that nobody finishes, from one address, beside good clients, of which some
// use DNS over TLS: those all succeed, nothing crashes, and the server stops working for that address.
func TestTLSHandshakes(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, binary, remove, err := prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	h, err := newHarness(ctx, dir, binary, "")
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	hello, err := clientHello()
	if err != nil {
		t.Fatal(err)
	}
	broken := brokenHellos(hello)
	messages := make([][]byte, connections)
	for i := range messages {
		if messages[i] = hello; i%2 == 1 {
			messages[i] = broken[i%len(broken)]
		}
	}
	var sizes [2]size
	began := time.Now()
	begun := uint64(0)
	for round := range sizes {
		var flood tally
		over := make(chan struct{})
		var group sync.WaitGroup
		done, err := h.work(ctx, task{attempts: untilAnswer, renew: true, tls: true, begin: func() error {
			group.Go(func() {
				defer close(over)
				a := attack{Network: "tls", Target: h.server.Port("TLS_PORT").String(), Sources: elsewhere[:1]}
				flood = a.run(ctx, messages, true)
			})
			return nil
		}, while: func() bool {
			select {
			case <-over:
				return false
			default:
				return true
			}
		}})
		group.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if done.Failures > 0 || done.Updates == 0 {
			t.Errorf("good clients made %d updates with %d contexts, %d operations failed: %v", done.Updates, done.Handshakes, done.Failures, done.Errors)
		}
		if err := h.crashed(); err != nil {
			t.Fatal(err)
		}
		if flood.Connections < connections*9/10 {
			t.Errorf("%d connections", flood.Connections)
		}
		// As many as may fail, and those that were open when that was found out.
		begun += flood.Answers
		if most := uint64(300 + 300*time.Since(began)/time.Minute + 2*tlsConnections); begun > most {
			t.Errorf("the server has begun %d handshakes, of %d at most", begun, most)
		}
		if sizes[round], err = h.settled(ctx, 4, func(now size) bool { return round == 0 || leftBehind(sizes[0], now) == "" }); err != nil {
			t.Fatal(err)
		}
		counters, err := h.counters(ctx)
		t.Logf("%+v, %+v, %v, %v, %v", flood, done, sizes[round], counters, err)
	}
	if what := leftBehind(sizes[0], sizes[1]); what != "" {
		t.Errorf("%s: %v, then %v", what, sizes[0], sizes[1])
	}
}
