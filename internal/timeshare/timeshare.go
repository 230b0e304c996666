// Package timeshare bounds how much working time each of several sources has while others are active.
//
// A queue that serves its sources in turn is fair only if all of them have something in it. A client that
// waits for each answer before it sends the next request has nothing there when the work on its request
// ends, and a piece of work that has begun cannot be interrupted. A source with many requests that take
// long would have most of the time. So the time that the work took is charged to its source, and the
// source's next request has to wait if the source has had more than its share.
package timeshare

import "time"

const (
	// Window is for how long a source counts as active after a request.
	Window = 100 * time.Millisecond
	// Burst is how much time a source may have beyond its share.
	Burst = 5 * time.Millisecond
	// LeastShare is the divisor of the smallest share of the time that a source has, however many are
	// active: most sources need much less than an equal share.
	LeastShare = 8
)

// Shares is the time that sources have had. Its zero value is ready for use. It remembers the sources
// that were active in the last two windows, and those that have had more than their share. It is not safe
// for concurrent use. Times are those of a monotonic clock. One may be before that of the last call.
type Shares struct {
	// Parallel is how many work at the same time; 0 is 1. A source's share is that of their time together.
	Parallel int

	sources  map[string]*share
	window   time.Duration // number of the Window that current counts for
	current  int           // sources that were active in it
	previous int           // and in the one before
}

// A share is what is known of one source.
type share struct {
	window time.Duration // in which it was active last
	due    time.Duration // when it will have had no more than its share
}

// Arrived notes that a source is active.
func (s *Shares) Arrived(source string, now time.Duration) {
	s.advance(now)
	one := s.of(source)
	if one.window == s.window {
		return
	}
	one.window = s.window
	s.current++
}

// Charge notes that the work on a request of the source took that long. waiting is how many sources have
// requests that wait, as far as the caller knows.
func (s *Shares) Charge(source string, took, now time.Duration, waiting int) {
	s.advance(now)
	one := s.of(source)
	one.due = max(one.due, now) + took*time.Duration(min(s.active(waiting), LeastShare))/time.Duration(max(1, s.Parallel))
}

// Wait returns how long a source has to wait before the next of its requests is worked on, 0 if not at
// all. It may be less later, when fewer sources are active. waiting is as for Charge.
func (s *Shares) Wait(source string, now time.Duration, waiting int) time.Duration {
	s.advance(now)
	if s.active(waiting) < 2 {
		return 0
	}
	one, known := s.sources[source]
	if !known {
		return 0
	}
	return max(0, one.due-Burst-now)
}

// advance begins another window if it is time, and forgets the sources that are not needed any more.
func (s *Shares) advance(now time.Duration) {
	window := now / Window
	if window <= s.window {
		return
	}
	if s.previous = 0; window == s.window+1 {
		s.previous = s.current
	}
	s.window, s.current = window, 0
	for source, one := range s.sources {
		if one.window < window-1 && one.due <= now {
			delete(s.sources, source)
		}
	}
}

// active returns how many sources are active, at least the one that is asked for.
func (s *Shares) active(waiting int) int { return max(1, s.current, s.previous, waiting) }

// of returns what is known of a source. A new one is not active.
func (s *Shares) of(source string) *share {
	one, known := s.sources[source]
	if !known {
		if s.sources == nil {
			s.sources = make(map[string]*share)
		}
		one = &share{window: s.window - 2}
		s.sources[source] = one
	}
	return one
}
