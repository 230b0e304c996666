//go:build e2e

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(attackVariable); order != "" {
		if err := beAttacker(order); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// boundless are limits that no flood reaches, so that every message gets as far as it can.
const boundless = "limit handshake-failures 1000000000\nlimit source-errors 1000000000"

// TestHostileMessages sends every hostile message by UDP and TCP while correct clients work. All operations of these clients
// succeed, nothing crashes, and a second round leaves no more memory in use than the first. The same holds without limits,
// where every message gets as far into the server as it can.
func TestHostileMessages(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, binary, remove, err := prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	for name, limits := range map[string]string{"default limits": "", "without bounds": boundless} {
		t.Run(name, func(t *testing.T) {
			testHostileMessages(ctx, t, filepath.Join(dir, strings.Fields(name)[0]), binary, limits)
		})
	}
}

func testHostileMessages(ctx context.Context, t *testing.T, dir, binary, limits string) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := newHarness(ctx, dir, binary, limits)
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := h.record(ctx)
	if err != nil {
		t.Fatal(err)
	}
	messages := hostileMessages(recorded)
	if len(messages) < 500 {
		t.Fatalf("%d messages", len(messages))
	}
	// The zone's log of changes is full before anything is measured.
	var updates atomic.Int32
	if _, err := h.work(ctx, task{attempts: untilAnswer, while: func() bool { return updates.Add(1) <= 11000 }}); err != nil {
		t.Fatal(err)
	}
	var sizes [3]size
	for round := range sizes {
		var group sync.WaitGroup
		var tallies [2]tally
		var over atomic.Int32
		done, err := h.work(ctx, task{attempts: untilAnswer, renew: true, while: func() bool { return int(over.Load()) < len(tallies) }, begin: func() error {
			for i, network := range []string{"udp", "tcp"} {
				group.Go(func() {
					// At a rate that leaves few of them in the kernel's queue, where they would test nothing.
					a := attack{Network: network, Target: h.server.Address.String(), Sources: elsewhere, Rate: 6000}
					tallies[i] = a.run(ctx, messages, true)
					over.Add(1)
				})
			}
			return nil
		}})
		group.Wait()
		if err != nil {
			t.Fatal(err)
		}
		// Every operation is answered in the end, and rightly: how soon depends on what else the machine does.
		if done.Failures > 0 || done.Updates == 0 || done.Handshakes < goodClients {
			t.Errorf("good clients made %d updates with %d contexts, %d operations failed: %v",
				done.Updates, done.Handshakes, done.Failures, done.Errors)
		}
		for i, total := range tallies {
			if total.Sent < uint64(len(messages))*9/10 { // some are empty, or meet a connection that is being closed
				t.Errorf("attacker %d has sent %d messages of %d", i, total.Sent, len(messages))
			}
			if total.AnswerOctets > total.Octets {
				t.Errorf("attacker %d got %d octets for %d", i, total.AnswerOctets, total.Octets)
			}
		}
		if err := h.crashed(); err != nil {
			t.Fatal(err)
		}
		// Once more of the same leaves nothing behind; the first time the server grows to what it needs.
		leftNothing := func(now size) bool { return round < 2 || grown(comparable(sizes[1]), comparable(now)) == nil }
		if sizes[round], err = h.settled(ctx, 4, leftNothing); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d messages, %+v, %+v, %v", len(messages), tallies, done, sizes[round])
	}
	if err := grown(comparable(sizes[1]), comparable(sizes[2])); err != nil {
		stacks, failed := h.profile(ctx, "goroutine")
		heap, _ := h.profile(ctx, "heap")
		t.Errorf("%v\n%s\n%.4000s\n%v", err, stacks, heap, failed)
	}
}

// comparable leaves out the resident memory, since the race detector's own grows.
func comparable(s size) size {
	s.RSS = 0
	return s
}

// profile tells what the server's memory or goroutines are.
func (h *harness) profile(ctx context.Context, what string) (string, error) {
	return get(ctx, "http://"+h.server.Port("PPROF_PORT").String()+"/debug/pprof/"+what+"?debug=1")
}
