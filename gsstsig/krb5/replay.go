package krb5

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync"
	"time"
)

const (
	// defaultReplays is the bound where none is given: five minutes of 7,000
	// handshakes a second.
	defaultReplays = 1 << 21
	// maxReplayShards divides the cache so that handshakes do not wait for each
	// other.
	maxReplayShards = 64
	// bucketSeconds is the span of authenticator times that are forgotten
	// together.
	bucketSeconds = 16
)

// ReplayCache remembers authenticators that have been accepted, so that none
// is accepted twice (RFC 4120, section 3.2.3). One cache serves all acceptors
// that hold keys of the same services, and outlives them over reloads. It is
// safe for concurrent use and bounded; entries cost no goroutine.
//
// An authenticator is remembered until its time is further back than the
// largest clock skew of any acceptor that uses the cache, by the wall clock and
// by one that is never set: a wall clock that jumps ahead makes the cache forget
// nothing before its time. Those not younger than one that has been forgotten
// are refused, so that neither a clock that is set back nor a larger skew in a
// new configuration opens a gap.
type ReplayCache struct {
	shards []replayShard
}

type replayShard struct {
	mu        sync.Mutex
	limit     int
	count     int
	skew      int64                   // seconds
	buckets   map[int64]*replayBucket // by authenticator time / bucketSeconds
	swept     int64                   // what forget looked for last
	forgotten int64                   // the last bucket that was dropped
}

// replayBucket is the authenticators of one span of time.
type replayBucket struct {
	seen  map[replayKey]struct{}
	until time.Duration // since started, when the last one is too old
}

// started is what the clock that is never set counts from. (Times of a clock
// in a test have no such reading, and count by the wall clock throughout.)
var started = time.Now()

// replayKey is a part of a SHA-256 digest, long enough that nobody meets
// another's.
type replayKey [20]byte

// NewReplayCache returns a cache for at most max authenticators; for max <= 0
// about two million. A full cache refuses new authenticators: it never forgets
// one that could be accepted again.
func NewReplayCache(max int) *ReplayCache {
	if max <= 0 {
		max = defaultReplays
	}
	n := 1
	for n < maxReplayShards && max/(2*n) >= 64 {
		n *= 2
	}
	c := &ReplayCache{shards: make([]replayShard, n)}
	for i := range c.shards {
		c.shards[i] = replayShard{
			limit:     max / n,
			buckets:   make(map[int64]*replayBucket),
			swept:     -1 << 62,
			forgotten: -1 << 62,
		}
	}
	return c
}

// Len is the number of authenticators remembered.
func (c *ReplayCache) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.count
		s.mu.Unlock()
	}
	return n
}

// keepFor makes the cache remember authenticators for at least this skew.
func (c *ReplayCache) keepFor(skew time.Duration) {
	seconds := int64((skew + time.Second - 1) / time.Second)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.skew = max(s.skew, seconds)
		s.mu.Unlock()
	}
}

// replayKeyOf is the identity of an authenticator: who spoke to whom and when,
// and its cipher text, so that two that were made in the same microsecond are
// told apart. Names are prefixed by their length: none can pass for another.
func replayKeyOf(client, service Principal, at time.Time, cipher []byte) replayKey {
	h := sha256.New()
	b := make([]byte, 0, 256)
	for _, p := range [...]Principal{client, service} {
		b = appendCounted(b, p.Realm)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Components)))
		for _, c := range p.Components {
			b = appendCounted(b, c)
		}
	}
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMicro()))
	h.Write(b)
	h.Write(cipher)
	var sum [sha256.Size]byte
	return replayKey(h.Sum(sum[:0])[:20])
}

func appendCounted(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// add records the authenticator made at time at, in one step with looking for
// it. It returns ErrReplay if it was there or may have been, and
// ErrReplayCacheFull if it cannot be remembered.
func (c *ReplayCache) add(k replayKey, at, now time.Time) error {
	return c.addAt(k, at, now, now.Sub(started))
}

// addAt is add with the time by the wall clock and by the one that is never
// set.
func (c *ReplayCache) addAt(k replayKey, at, now time.Time, elapsed time.Duration) error {
	s := &c.shards[int(k[0])%len(c.shards)]
	bucket := floorDiv(at.Unix(), bucketSeconds)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now, elapsed)
	if bucket <= s.forgotten {
		return ErrReplay
	}
	b := s.buckets[bucket]
	if b != nil {
		if _, ok := b.seen[k]; ok {
			return ErrReplay
		}
	}
	if s.count >= s.limit {
		return ErrReplayCacheFull
	}
	if b == nil {
		b = &replayBucket{seen: make(map[replayKey]struct{}), until: math.MinInt64}
		s.buckets[bucket] = b
	}
	b.seen[k] = struct{}{}
	b.until = max(b.until, elapsed+at.Sub(now)+time.Duration(s.skew)*time.Second)
	s.count++
	return nil
}

// forget drops the buckets that lie wholly before now - skew, unless only the
// wall clock says so: then it was set ahead, and may be set back. There are
// hardly more buckets than the skew spans twice, so this is cheap; most calls
// find that it has been done.
func (s *replayShard) forget(now time.Time, elapsed time.Duration) {
	last := floorDiv(now.Unix()-s.skew, bucketSeconds) - 1
	if last == s.swept {
		return
	}
	s.swept = last
	for n, b := range s.buckets {
		if n <= last && b.until < elapsed {
			s.forgotten = max(s.forgotten, n)
			s.count -= len(b.seen)
			delete(s.buckets, n)
		}
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
