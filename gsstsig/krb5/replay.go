package krb5

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/timespans"
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
	// clientShare is the part of the cache that one client may have of its
	// second half. The first half is open to all: most sites have a client
	// that makes most of the handshakes.
	clientShare = 8
)

// ReplayCache remembers authenticators that have been accepted, so that none
// is accepted twice (RFC 4120, section 3.2.3). One cache serves all acceptors
// that hold keys of the same services, and outlives them over reloads. It is
// safe for concurrent use and bounded; entries cost no goroutine.
//
// An authenticator is remembered until its time is further back than the
// largest clock skew of any acceptor that uses the cache, by the wall clock and
// by the monotonic clock: if the wall clock jumps ahead, the cache drops nothing
// too early. An authenticator of the time of dropped ones is refused, so that a
// clock that is set back, or a larger skew in a new configuration, does not make
// a replay possible. A clock that was ahead and was set back leaves only the time
// in which it was ahead to be refused.
//
// A cache that begins with the process cannot know what was accepted before; see
// [AcceptorConfig].Replays.
type ReplayCache struct {
	shards []replayShard
	once   sync.Once
	began  time.Time // by the clock of the first acceptor
}

type replayShard struct {
	mu        sync.Mutex
	limit     int
	count     int
	skew      int64                   // seconds
	buckets   map[int64]*replayBucket // by authenticator time / bucketSeconds
	swept     int64                   // what forget looked for last
	forgotten timespans.Spans         // the buckets that were dropped
}

// replayBucket is the authenticators of one span of time.
type replayBucket struct {
	seen  map[replayDigest]struct{}
	of    map[uint64]int // how many a client has
	until time.Duration  // since started, when the last one is too old
}

// started is what the clock that is never set counts from. (Times of a clock
// in a test have no such reading, and count by the wall clock throughout.)
var started = time.Now()

// replayKey is the identity of an authenticator, and whose it is.
type replayKey struct {
	digest replayDigest
	client uint64 // a hash, for the accounts
}

// authenticatorID is a replayKey that means the same in another process.
type authenticatorID struct {
	digest replayDigest
	at     time.Time
}

func (id authenticatorID) replayKey(client Principal) replayKey {
	return replayKey{digest: id.digest, client: clientHash(appendPrincipal(nil, client))}
}

// replayDigest is a part of a SHA-256 digest, long enough that no client meets
// another's.
type replayDigest [20]byte

// clientSeed is of the hash of clients, so that none can choose to be taken for
// another.
var clientSeed = maphash.MakeSeed()

// NewReplayCache returns a cache for at most max authenticators; for max <= 0
// about two million. A full cache refuses new authenticators: it never forgets
// one that could be accepted again. One that is half full refuses those of
// clients that have an eighth of it, so that no client with a ticket locks out
// the others.
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
			limit:   max / n,
			buckets: make(map[int64]*replayBucket),
			swept:   -1 << 62,
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

// begin notes when the cache began to remember, unless that was noted before.
func (c *ReplayCache) begin(now time.Time) { c.once.Do(func() { c.began = now }) }

// beganAfter reports whether an authenticator of that time may have been accepted
// before the cache began to remember. Clients whose clocks are ahead can have made
// later ones by then.
func (c *ReplayCache) beganAfter(at time.Time) bool { return at.Before(c.began) }

// replayKeyOf is the identity of an authenticator: who spoke to whom and when,
// and its cipher text, so that two that were made in the same microsecond are
// told apart. Names are prefixed by their length, so that different names never
// give the same key.
func replayKeyOf(client, service Principal, at time.Time, cipher []byte) replayKey {
	h := sha256.New()
	b := appendPrincipal(make([]byte, 0, 256), client)
	k := replayKey{client: clientHash(b)}
	b = appendPrincipal(b, service)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMicro()))
	h.Write(b)
	h.Write(cipher)
	var sum [sha256.Size]byte
	copy(k.digest[:], h.Sum(sum[:0]))
	return k
}

// clientHash hashes a client's name as appendPrincipal writes it.
func clientHash(name []byte) uint64 { return maphash.Bytes(clientSeed, name) }

func appendPrincipal(b []byte, p Principal) []byte {
	b = appendCounted(b, p.Realm)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Components)))
	for _, c := range p.Components {
		b = appendCounted(b, c)
	}
	return b
}

func appendCounted(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// add records the authenticator made at time at, in one step with looking for
// it. It returns ErrReplay if it was there or may have been, and
// ErrReplayCacheFull if it cannot be remembered, or not for that client.
func (c *ReplayCache) add(k replayKey, at, now time.Time) error {
	return c.addAt(k, at, now, now.Sub(started))
}

// addAt is add with the time by the wall clock and by the one that is never
// set.
func (c *ReplayCache) addAt(k replayKey, at, now time.Time, elapsed time.Duration) error {
	s := &c.shards[int(k.digest[0])%len(c.shards)]
	bucket := floorDiv(at.Unix(), bucketSeconds)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now, elapsed)
	if s.forgotten.Has(bucket) {
		return ErrReplay
	}
	b := s.buckets[bucket]
	if b != nil {
		if _, ok := b.seen[k.digest]; ok {
			return ErrReplay
		}
	}
	if s.count >= s.limit || s.count >= s.limit/2 && s.of(k.client) >= max(1, s.limit/clientShare) {
		return ErrReplayCacheFull
	}
	if b == nil {
		b = &replayBucket{seen: make(map[replayDigest]struct{}), of: make(map[uint64]int), until: math.MinInt64}
		s.buckets[bucket] = b
	}
	b.seen[k.digest] = struct{}{}
	b.of[k.client]++
	b.until = max(b.until, elapsed+at.Sub(now)+time.Duration(s.skew)*time.Second)
	s.count++
	return nil
}

// of is how many authenticators of the client the shard remembers.
func (s *replayShard) of(client uint64) int {
	n := 0
	for _, b := range s.buckets {
		n += b.of[client]
	}
	return n
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
			s.forgotten.Add(n)
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
