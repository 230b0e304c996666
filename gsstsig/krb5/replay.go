package krb5

import (
	"crypto/sha256"
	"encoding/binary"
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
// largest clock skew of any acceptor that uses the cache. Those not younger
// than one that has been forgotten are refused, so that neither a clock that
// is set back nor a larger skew in a new configuration opens a gap.
type ReplayCache struct {
	shards []replayShard
}

type replayShard struct {
	mu        sync.Mutex
	limit     int
	count     int
	skew      int64                            // seconds
	buckets   map[int64]map[replayKey]struct{} // by authenticator time / bucketSeconds
	swept     int64                            // what forget looked for last
	forgotten int64                            // the last bucket that was dropped
}

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
			buckets:   make(map[int64]map[replayKey]struct{}),
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
	s := &c.shards[int(k[0])%len(c.shards)]
	bucket := floorDiv(at.Unix(), bucketSeconds)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	if bucket <= s.forgotten {
		return ErrReplay
	}
	seen := s.buckets[bucket]
	if _, ok := seen[k]; ok {
		return ErrReplay
	}
	if s.count >= s.limit {
		return ErrReplayCacheFull
	}
	if seen == nil {
		seen = make(map[replayKey]struct{})
		s.buckets[bucket] = seen
	}
	seen[k] = struct{}{}
	s.count++
	return nil
}

// forget drops the buckets that lie wholly before now - skew. There are never
// more buckets than the skew spans twice, so this is cheap; most calls find
// that it has been done.
func (s *replayShard) forget(now time.Time) {
	last := floorDiv(now.Unix()-s.skew, bucketSeconds) - 1
	if last == s.swept {
		return
	}
	s.swept = last
	for b, seen := range s.buckets {
		if b <= last {
			s.forgotten = max(s.forgotten, b)
			s.count -= len(seen)
			delete(s.buckets, b)
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
