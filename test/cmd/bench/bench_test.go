package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.values, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0.1234: "0.123", 12: "12", 99.96: "100", 345.6: "346", 1266: "1,270", 86_249: "86,200", 1_234_567: "1,230,000"} {
		if got := number(value); got != want {
			t.Errorf("%v is written %s, want %s", value, got, want)
		}
	}
}

// TestDriveCounts tells what is counted: what completes in time, and every failure.
func TestDriveCounts(t *testing.T) {
	var window atomic.Bool
	var worked, failed, all atomic.Int64 // the first two inside the window
	enough := make(chan struct{})
	var once sync.Once
	tell := func(inside *atomic.Int64) {
		all.Add(1)
		if window.Load() {
			inside.Add(1)
		}
		// An operation is counted after its end, so that of several all but the last are.
		if worked.Load() > 2 && failed.Load() > 2 {
			once.Do(func() { close(enough) })
		}
	}
	works := func(context.Context) error { tell(&worked); return nil }
	timesOut := func(context.Context) error { tell(&failed); return os.ErrDeadlineExceeded }
	c := drive(t.Context(), []operation{works, timesOut}, 0, func() {
		window.Store(true)
		<-enough
	})
	if c.completed == 0 || int64(c.completed) > all.Load() {
		t.Errorf("%d counted of %d", c.completed, all.Load())
	}
	if c.failed == 0 || c.unanswered != c.failed || !errors.Is(c.failure, os.ErrDeadlineExceeded) {
		t.Errorf("%+v, want every failure to be one without answer", c)
	}
}

// TestUpdatersKeepApart makes sure that no two updaters change one host, or they would not know what to expect there.
func TestUpdatersKeepApart(t *testing.T) {
	for _, hosts := range []int{100, 10_000} {
		const clients = 16
		seen := make(map[int]int)
		for i := range clients {
			u := &updaterClient{zone: zoneSpec{hosts: hosts}, next: i, step: clients}
			for range 2 * hosts {
				host := u.pick()
				if other, ok := seen[host]; ok && other != i {
					t.Fatalf("%d hosts: updaters %d and %d both have host %d", hosts, other, i, host)
				}
				seen[host] = i
			}
		}
		if len(seen) < hosts-clients {
			t.Errorf("%d hosts: only %d are ever updated", hosts, len(seen))
		}
	}
}

// TestUndisturbed has a measurement repeated while others use too much of the machine, but not for ever, and not after an error.
func TestUndisturbed(t *testing.T) {
	failure := errors.New("failed")
	for _, c := range []struct {
		busiest int
		others  []float64 // of each attempt; of all further ones the last
		fails   bool
		want    int // attempts
	}{
		{100, []float64{1}, false, 1},
		{10, []float64{0.1}, false, 1},
		{10, []float64{0.5, 0.11, 0.05}, false, 3},
		{10, []float64{0.5}, false, 1 + repetitions},
		{10, []float64{0.5}, true, 1},
	} {
		b := &bench{settings: settings{busiest: c.busiest}}
		attempts := 0
		m, err := b.undisturbed(func() (m sample, err error) {
			m.others = c.others[min(attempts, len(c.others)-1)]
			m.failed, m.unanswered = 2, 1
			attempts++
			if c.fails {
				err = failure
			}
			return m, err
		})
		if attempts != c.want || errors.Is(err, failure) != c.fails {
			t.Errorf("others use %v, %d %% at most: %d attempts, want %d; %v", c.others, c.busiest, attempts, c.want, err)
		}
		if m.failed != 2*attempts || m.unanswered != attempts {
			t.Errorf("%d attempts: %d failed, %d unanswered", attempts, m.failed, m.unanswered)
		}
		if last := c.others[len(c.others)-1]; m.others != last || len(b.others) != 1 || b.others[0] != last {
			t.Errorf("others use %v: noted %v, returned %v", c.others, b.others, m.others)
		}
	}
}

func TestFileSystemOf(t *testing.T) {
	if got, err := fileSystemOf("/proc"); err != nil || got != "proc" {
		t.Errorf("/proc is on %q, %v", got, err)
	}
}
