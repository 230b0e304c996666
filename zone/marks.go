package zone

import (
	"slices"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Bounds of the marks that a zone remembers.
const (
	// markTime is how long a mark is remembered at least, if there are not too many.
	markTime = 48 * time.Hour
	// markContexts is for how many contexts, the latest ones, marks are remembered at least.
	markContexts = 1 << 19
	// markSpans is how many gaps the numbers of a context may have. If there are more, the oldest counts
	// as seen: a message from it that comes as late as that is refused.
	markSpans = 64
)

// A markTable remembers which signed messages the zone has done, or another server has.
//
// A mark is needed for as long as any server accepts the message again. TSIG ends that when the time
// signed is further from the server's clock than the fudge (RFC 8945 section 5.2.3): the clients known
// send 300 seconds, so a message is accepted for ten minutes in all, and for two hours more if the
// clocks of two servers are an hour off each way. The context's lifetime ends it in any case. Marks are
// therefore forgotten by the time since the zone learned them, which is of one monotonic clock, and not
// by the times of messages and of other servers: after markTime. They are forgotten earlier only if
// clients use more than markContexts contexts in the ten minutes: 870 new ones a second.
//
// Numbers in a context are nearly consecutive, so a context takes little however many there are.
//
// Contexts are in one of two generations. A new generation begins when the time is over or it has
// markContexts; the one before the last is then forgotten.
type markTable struct {
	elapsed     func() time.Duration // monotonic
	latest, old map[[16]byte]spans
	began       time.Duration // of latest
}

// spans are ranges of numbers, in ascending order and with gaps between them.
type spans []span

type span struct{ first, last uint64 }

// has reports whether a message is known.
func (t *markTable) has(m store.Mark) bool {
	return t.latest[m.Context].has(m.Number) || t.old[m.Context].has(m.Number)
}

// add notes messages.
func (t *markTable) add(marks []store.Mark) {
	for _, m := range marks {
		now := t.elapsed()
		if t.latest == nil || len(t.latest) >= markContexts || now-t.began >= markTime {
			t.old, t.latest, t.began = t.latest, make(map[[16]byte]spans), now
		}
		t.latest[m.Context] = t.latest[m.Context].with(m.Number)
	}
}

func (s spans) find(n uint64) (int, bool) {
	return slices.BinarySearchFunc(s, n, func(s span, n uint64) int {
		switch {
		case s.last < n:
			return -1
		case s.first > n:
			return 1
		}
		return 0
	})
}

func (s spans) has(n uint64) bool {
	_, found := s.find(n)
	return found
}

// with returns the spans with one more number.
func (s spans) with(n uint64) spans {
	at, found := s.find(n)
	if found {
		return s
	}
	follows := at > 0 && s[at-1].last+1 == n
	precedes := at < len(s) && n+1 == s[at].first
	switch {
	case follows && precedes:
		s[at-1].last = s[at].last
		s = slices.Delete(s, at, at+1)
	case follows:
		s[at-1].last = n
	case precedes:
		s[at].first = n
	default:
		s = slices.Insert(s, at, span{n, n})
	}
	if len(s) > markSpans {
		s[1].first = s[0].first
		s = slices.Delete(s, 0, 1)
	}
	return s
}
