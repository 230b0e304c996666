package ratelimit

import (
	"sync"
	"time"
)

// ways is how many sources share a place in the table, of which the one with
// the most tokens is replaced by a new one.
const ways = 8

// DefaultSources is how many sources a table remembers unless told otherwise.
// It takes half a megabyte.
const DefaultSources = 16384

// Config describes Accounts.
type Config struct {
	// PerSecond is how many tokens come back to each source in a second.
	PerSecond float64
	// Burst is how many tokens a source has at most, and begins with.
	Burst int
	// Sources is how many sources are remembered; 0 is DefaultSources. It is
	// rounded up.
	Sources int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Accounts is a bounded table of buckets of tokens, one for each source. A
// source that is not in the table has a full bucket; when a source needs room,
// the fullest bucket of its set is dropped, because that changes the least. It
// is safe for concurrent use.
type Accounts struct {
	rate  float64 // tokens a nanosecond
	burst float64
	now   func() time.Time
	start time.Time
	sets  []set
}

type set struct {
	mu      sync.Mutex
	buckets [ways]bucket
}

type bucket struct {
	key    Key
	tokens float64
	at     time.Duration // since start, when tokens was right; 0: unused
}

// New makes an empty table.
func New(config Config) *Accounts {
	if config.Sources <= 0 {
		config.Sources = DefaultSources
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Accounts{
		rate:  config.PerSecond / float64(time.Second),
		burst: float64(config.Burst),
		now:   config.Now,
		// Unused buckets are at 0.
		start: config.Now().Add(-time.Nanosecond),
		sets:  make([]set, (config.Sources+ways-1)/ways),
	}
}

// Take takes a token of the source's. It reports false when there is none.
func (a *Accounts) Take(k Key) bool {
	s, now := a.set(k), a.age()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(k)
	if b == nil {
		if a.burst < 1 {
			return false
		}
		*s.place(a, now) = bucket{k, a.burst - 1, now}
		return true
	}
	b.tokens, b.at = a.filled(b, now), max(b.at, now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Charge takes a token of the source's, also when there is none: the source has
// less than nothing then, and its bucket fills from there. It is for work whose
// price is known only when it is done, after Empty was asked: of a source that has
// much work done at a time, each piece is paid for.
func (a *Accounts) Charge(k Key) {
	s, now := a.set(k), a.age()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(k)
	if b == nil {
		*s.place(a, now) = bucket{k, a.burst - 1, now}
		return
	}
	b.tokens, b.at = a.filled(b, now)-1, max(b.at, now)
}

// Empty reports whether Take would fail. It makes no account.
func (a *Accounts) Empty(k Key) bool {
	s, now := a.set(k), a.age()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(k)
	if b == nil {
		return a.burst < 1
	}
	return a.filled(b, now) < 1
}

// Return gives a token back to the source.
func (a *Accounts) Return(k Key) {
	s := a.set(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(k); b != nil {
		b.tokens = min(a.burst, b.tokens+1)
	}
}

func (a *Accounts) set(k Key) *set { return &a.sets[k.hash()%uint64(len(a.sets))] }

// age is the time since start, and never 0.
func (a *Accounts) age() time.Duration { return max(1, a.now().Sub(a.start)) }

// filled is what is in a bucket now. A clock that goes back fills nothing.
func (a *Accounts) filled(b *bucket, now time.Duration) float64 {
	return min(a.burst, b.tokens+float64(max(0, now-b.at))*a.rate)
}

func (s *set) find(k Key) *bucket {
	for i := range s.buckets {
		if b := &s.buckets[i]; b.at != 0 && b.key == k {
			return b
		}
	}
	return nil
}

// place finds room for a new source.
func (s *set) place(a *Accounts, now time.Duration) *bucket {
	fullest, most := &s.buckets[0], -1.0
	for i := range s.buckets {
		b := &s.buckets[i]
		if b.at == 0 {
			return b
		}
		if tokens := a.filled(b, now); tokens > most {
			fullest, most = b, tokens
		}
	}
	return fullest
}
