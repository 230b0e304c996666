package timeshare

import (
	"fmt"
	"testing"
	"time"
)

// A source that works all the time that it is permitted gets its share of the time beside others, and all
// of it alone.
func TestShares(t *testing.T) {
	for _, tc := range []struct {
		others, parallel int
		want             float64
	}{
		{0, 1, 1},
		{1, 1, 1. / 2},
		{3, 1, 1. / 4},
		{3, 2, 1. / 2},
		{100, 1, 1. / LeastShare},
	} {
		t.Run(fmt.Sprintf("%d others, %d at a time", tc.others, tc.parallel), func(t *testing.T) {
			s := Shares{Parallel: tc.parallel}
			const each, end = time.Millisecond, 10 * time.Second
			var worked, now time.Duration
			for now < end {
				for i := range tc.others {
					s.Arrived(fmt.Sprint("other", i), now)
				}
				s.Arrived("heavy", now)
				if wait := s.Wait("heavy", now, 0); wait > 0 {
					now += min(wait, Window/2)
					continue
				}
				worked += each
				now += each
				s.Charge("heavy", each, now, 0)
				if wait := s.Wait("other0", now, 0); wait > 0 {
					t.Fatalf("another waits %v", wait)
				}
			}
			if got := worked.Seconds() / end.Seconds(); got < 0.95*tc.want || got > 1.05*tc.want {
				t.Errorf("%.3f of the time, want %.3f", got, tc.want)
			}
		})
	}
}

// Short pieces of work in a row do not wait, and nothing waits once no other source is active.
func TestBurstAndEnd(t *testing.T) {
	var s Shares
	s.Arrived("a", 0)
	s.Arrived("b", 0)
	for range 2 {
		s.Charge("a", Burst/4, 0, 0)
		if wait := s.Wait("a", 0, 0); wait != 0 {
			t.Errorf("waits %v within the burst", wait)
		}
	}
	s.Charge("a", time.Hour, 0, 0)
	if s.Wait("a", 0, 0) == 0 {
		t.Error("does not wait beside another")
	}
	s.Charge("c", time.Second, 3*Window, 0)
	if s.Wait("c", 3*Window, 2) == 0 {
		t.Error("work is not charged while no source is active")
	}
	s.Arrived("a", 3*Window)
	if wait := s.Wait("a", 3*Window, 0); wait != 0 {
		t.Errorf("waits %v alone", wait)
	}
	if s.Wait("a", 3*Window, 2) == 0 {
		t.Error("does not wait beside another that waits")
	}
}

// Sources are forgotten once they are not active and have had no more than their share.
func TestSourcesAreForgotten(t *testing.T) {
	var s Shares
	for i := range 1000 {
		s.Arrived(fmt.Sprint(i), 0)
	}
	s.Charge("heavy", time.Hour, 0, 0)
	for now := range 3 {
		s.Arrived("last", time.Duration(now+1)*Window)
	}
	if len(s.sources) != 2 {
		t.Errorf("%d sources, want the one that has to wait and the one that is active", len(s.sources))
	}
	s.Arrived("last", 100*time.Hour)
	if len(s.sources) != 1 {
		t.Errorf("%d sources, want the one that is active", len(s.sources))
	}
}

// A time that was read before that of another call, as concurrent callers do, forgets no source.
func TestEarlierTime(t *testing.T) {
	var s Shares
	s.Arrived("a", 2*Window)
	s.Arrived("b", 2*Window)
	s.Charge("a", time.Hour, 2*Window-1, 0)
	if s.Wait("a", 2*Window, 0) == 0 {
		t.Error("the heavy source need not wait for its share")
	}
}
