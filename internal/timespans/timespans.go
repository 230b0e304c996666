// Package timespans remembers points in time in little memory, as spans. A memory of messages that were seen notes in
// it of which times it has forgotten some: what is of such a time may be a replay.
//
// One mark, the last of these times, would do for a clock that only goes forward. After a clock that was ahead and was
// set back, all that comes would lie before the mark, until the clock gets there.
package timespans

import "slices"

// most is how many spans there are at most. A clock that was wrong takes one or two.
const most = 16

// Spans are points in time. The zero value has none. It is not safe for concurrent use.
type Spans struct {
	spans []span // in order, apart from each other
}

type span struct{ first, last int64 }

// Add adds a point in time. If there are too many spans, the two with the shortest time between them become one, with
// that time.
func (s *Spans) Add(at int64) {
	i, _ := slices.BinarySearchFunc(s.spans, at, func(x span, at int64) int {
		if x.last < at {
			return -1
		}
		return 1
	})
	if i < len(s.spans) && s.spans[i].first <= at {
		return
	}
	s.spans = slices.Insert(s.spans, i, span{at, at})
	if i+1 < len(s.spans) && s.spans[i+1].first == at+1 {
		s.join(i)
	}
	if i > 0 && s.spans[i-1].last == at-1 {
		s.join(i - 1)
	}
	if len(s.spans) <= most {
		return
	}
	closest := 0
	for i := range len(s.spans) - 1 {
		if s.gap(i) < s.gap(closest) {
			closest = i
		}
	}
	s.join(closest)
}

// gap is the time between a span and the next one. Unsigned, it holds the difference of any two times.
func (s *Spans) gap(i int) uint64 { return uint64(s.spans[i+1].first) - uint64(s.spans[i].last) }

// join makes a span and the next one one.
func (s *Spans) join(i int) {
	s.spans[i].last = s.spans[i+1].last
	s.spans = slices.Delete(s.spans, i+1, i+2)
}

// Has reports whether a point in time was added, or lies between two that were and whose spans became one.
func (s *Spans) Has(at int64) bool {
	return slices.ContainsFunc(s.spans, func(x span) bool { return x.first <= at && at <= x.last })
}
