package zone

import (
	"hash/maphash"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Bounds of a markTable.
const (
	markTime  = 4 * time.Hour
	maxMarked = 1 << 22
)

// A markTable remembers which signed messages were done, by this server or by another.
//
// A mark is needed for as long as any server would accept the message again. TSIG ends that when the
// time signed and the server's clock are further apart than the fudge (RFC 8945 section 5.2.3), for
// which clients send 300 seconds: each server accepts a message for ten minutes. If the clocks of two
// servers are an hour apart, one accepts it an hour later than the other: 70 minutes after the message
// was done. So marks are kept for four hours at least. They are counted from when this server learns of
// a mark, by its monotonic clock: what clocks say does not matter, those of messages, of other servers
// and of this one.
//
// Marks are forgotten earlier only if there are more than maxMarked in that time. That many updates in
// the ten minutes in which every server accepts a message are 7,000 a second, which is more than the
// servers of one zone can commit. Each mark takes 10 to 20 octets: it is a hash of 64 bits with a secret
// seed, so that nobody can find a message that has the mark of another.
//
// The marks are in two generations. When the newer one is full, or its time is over, it becomes the
// older one, and that is forgotten.
//
// A server that loads the zone learns the marks that the store's log has, as store.SharedVisitor says.
type markTable struct {
	elapsed func() time.Duration // monotonic
	seed    maphash.Seed
	max     int // in a generation

	newer, older map[uint64]struct{}
	began        time.Duration // the newer one
}

func newMarkTable(elapsed func() time.Duration) markTable {
	return markTable{elapsed: elapsed, seed: maphash.MakeSeed(), max: maxMarked}
}

// has reports whether a message was done.
func (t *markTable) has(m store.Mark) bool {
	if len(t.newer)+len(t.older) == 0 {
		return false
	}
	hash := maphash.Comparable(t.seed, m)
	_, newer := t.newer[hash]
	_, older := t.older[hash]
	return newer || older
}

// add notes that messages were done.
func (t *markTable) add(marks []store.Mark) {
	for _, m := range marks {
		if now := t.elapsed(); t.newer == nil || len(t.newer) >= t.max || now-t.began >= markTime {
			t.older, t.newer, t.began = t.newer, make(map[uint64]struct{}), now
		}
		t.newer[maphash.Comparable(t.seed, m)] = struct{}{}
	}
}
