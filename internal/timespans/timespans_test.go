package timespans

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSpans(t *testing.T) {
	var s Spans
	if s.Has(0) {
		t.Error("the zero value has a time")
	}
	for _, at := range []int64{5, 7, 6, 6, 9, -3, math.MaxInt64, math.MinInt64} {
		s.Add(at)
	}
	if want := []span{{math.MinInt64, math.MinInt64}, {-3, -3}, {5, 7}, {9, 9}, {math.MaxInt64, math.MaxInt64}}; !slices.Equal(s.spans, want) {
		t.Errorf("%v", s.spans)
	}
}

// Of spans that are equally far apart, the first two become one: what comes next is rarely of the time between these.
func TestSpansEquallyFarApart(t *testing.T) {
	var s Spans
	for i := range int64(most + 2) {
		s.Add(10 * i)
	}
	if !s.Has(15) || s.Has(25) || s.Has(10*most+5) {
		t.Errorf("%v", s.spans)
	}
}

// Nothing that was added is lost, the spans are bounded and in order, and what lies far from everything stays out.
func TestSpansAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s Spans
		var added []int64
		for range 300 {
			at := random.Int64N(2000)
			if random.IntN(2) == 0 {
				at += 1_000_000 // of a clock that was ahead
			}
			s.Add(at)
			added = append(added, at)
		}
		for _, at := range added {
			if !s.Has(at) {
				t.Fatalf("%d is lost: %v", at, s.spans)
			}
		}
		if len(s.spans) > most || !slices.IsSortedFunc(s.spans, func(a, b span) int { return int(a.first - b.first) }) {
			t.Fatalf("%v", s.spans)
		}
		for i := range s.spans[1:] {
			if s.spans[i].last+1 >= s.spans[i+1].first {
				t.Fatalf("not apart: %v", s.spans)
			}
		}
		for _, at := range []int64{-1, 5000, 500_000, 999_999, 1_002_000} {
			if s.Has(at) {
				t.Fatalf("%d was not added: %v", at, s.spans)
			}
		}
	}
}
