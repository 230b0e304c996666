package gsstsig

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// Defaults of TableConfig.
const (
	DefaultMaxContexts      = 10000
	DefaultMaxHalfOpen      = 256
	DefaultHalfOpenLifetime = time.Minute
)

// A principal has a tenth of the table unless told otherwise, and a source an
// eighth of the unfinished negotiations, but never less than leastShare: in a
// small table a fair share would be too small to work with.
const (
	principalShare = 10
	sourceShare    = 8
	leastShare     = 16
)

// TableConfig bounds a Table.
type TableConfig struct {
	// MaxContexts is how many established contexts are kept; 0 is
	// DefaultMaxContexts. A further one replaces the least recently used. As many that
	// other servers share are kept beside.
	MaxContexts int
	// MaxPerPrincipal is how many of those made here one principal may have; 0 is a tenth
	// of MaxContexts, and 16 at least. A further one replaces the principal's
	// least recently used, so that one client with a ticket cannot evict the
	// contexts of all others.
	MaxPerPrincipal int
	// MaxHalfOpen is how many unfinished negotiations are kept; 0 is
	// DefaultMaxHalfOpen. A further one replaces the oldest. They are counted
	// apart from established contexts, so that unauthenticated clients evict
	// only each other's.
	MaxHalfOpen int
	// MaxHalfOpenPerSource is how many of them one source may have, an IPv4
	// address or an IPv6 network of 64 bits; 0 is an eighth of MaxHalfOpen, and
	// 16 at least. A further one replaces the source's oldest.
	MaxHalfOpenPerSource int
	// HalfOpenLifetime is how long a client may take to finish; 0 is
	// DefaultHalfOpenLifetime.
	HalfOpenLifetime time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Table holds security contexts by key name. It outlives the Server that fills
// it, so that a reload of the configuration costs no client its key. It is
// safe for concurrent use. An expired context is dropped when it is found. A
// goroutine runs only where contexts are shared, while there is something to do in
// the shared table that no client waits for.
type Table struct {
	now    func() time.Time
	seed   maphash.Seed
	shards []shard
	quota  quota
	shared atomic.Pointer[sharing] // nil: contexts are good here alone

	halfOpenMu       sync.Mutex // guards what follows
	halfOpen         map[string]*halfOpen
	halfOpenOf       map[ratelimit.Key]int // how many a source has
	byDeadline       list[halfOpen]
	maxHalfOpen      int
	maxPerSource     int
	halfOpenLifetime time.Duration
}

// A table of some size is split into shards, each with its own lock and its own
// order of use, so that verifying on many cores does not wait for one lock; see
// BenchmarkLookup. The hash is seeded: clients choose key names, but not the
// shard.
const (
	shardCount   = 16
	shardAtLeast = 64 // contexts per shard, else one shard is enough
)

type shard struct {
	quota *quota // of the table; it has a lock of its own, taken after this one

	mu       sync.Mutex // guards the rest, and byUse of the contexts in it
	max      int        // of those made here, and of others
	contexts map[string]*securityContext
	made     list[securityContext] // here, the longest unused first
	adopted  list[securityContext] // the same of those that other servers made
}

// byUse is the list that c is in, or is to be in. What other servers made is counted apart,
// so that its use here displaces nothing that was made here, which would end it everywhere.
func (s *shard) byUse(c *securityContext) *list[securityContext] {
	if c.adopted {
		return &s.adopted
	}
	return &s.made
}

// securityContext is an established context. All but the links, the counts of use
// and what becomes of the record is immutable.
// One that left the table still signs the answers of transactions under way.
type securityContext struct {
	name      string // on the wire
	algorithm string // on the wire, as negotiated
	identity  Identity
	mechanism *krb5.AcceptorContext
	expires   time.Time     // by the wall clock, as the client was told
	until     time.Duration // since started, by the clock that is never set
	client    netip.AddrPort
	created   time.Time
	lastUse   atomic.Int64  // Unix time of the last message that verified, 0 if there was none
	messages  atomic.Uint64 // that verified
	mark      [16]byte      // tells the context from all others, at all servers

	// Of a shared context.
	id      [32]byte
	record  []byte      // nil: it was never shared
	maker   string      // the server that made it
	adopted bool        // another one did, or an earlier process
	inTable atomic.Bool // it was filed in the server's own table
	filed   atomic.Bool // the record was in the shared table
	kept    atomic.Bool // it was taken out of it, and the context is good here alone

	byUse link[securityContext] // in its shard
	quotaEntry
}

// started is what the clock that is never set counts from. Times of a clock in
// a test have no such reading, and count by the wall clock.
var started = time.Now()

// over reports whether the context's time is up at now, elapsed after started.
// A wall clock that is set ahead ends contexts, since it ends their tickets; one
// that is set back does not make them last longer.
func (c *securityContext) over(now time.Time, elapsed time.Duration) bool {
	return !now.Before(c.expires) || elapsed >= c.until
}

func (c *securityContext) sign(message []byte) ([]byte, error) { return c.mechanism.GetMIC(message) }

// size is that of RFC 4121 section 4.2.6.1: a header of 16 octets and the
// checksum of the encryption type.
func (c *securityContext) size() int {
	switch c.mechanism.SessionEnctype() {
	case 17, 18: // RFC 3962
		return 16 + 12
	case 19: // RFC 8009
		return 16 + 16
	default: // 20, and room enough for what else there may be
		return 16 + 24
	}
}

// NewTable returns an empty table.
func NewTable(config TableConfig) *Table {
	n := shardCount
	if withDefaults(config).MaxContexts < shardCount*shardAtLeast {
		n = 1
	}
	t := &Table{
		now:        config.Now,
		seed:       maphash.MakeSeed(),
		shards:     make([]shard, n),
		halfOpen:   make(map[string]*halfOpen),
		halfOpenOf: make(map[ratelimit.Key]int),
	}
	if t.now == nil {
		t.now = time.Now
	}
	t.quota.of = make(map[string]*list[securityContext])
	for i := range t.shards {
		t.shards[i].contexts = make(map[string]*securityContext)
		t.shards[i].quota = &t.quota
	}
	t.Limit(config)
	return t
}

func withDefaults(config TableConfig) TableConfig {
	if config.MaxContexts <= 0 {
		config.MaxContexts = DefaultMaxContexts
	}
	if config.MaxPerPrincipal <= 0 {
		config.MaxPerPrincipal = max(leastShare, config.MaxContexts/principalShare)
	}
	if config.MaxHalfOpen <= 0 {
		config.MaxHalfOpen = DefaultMaxHalfOpen
	}
	if config.MaxHalfOpenPerSource <= 0 {
		config.MaxHalfOpenPerSource = max(leastShare, config.MaxHalfOpen/sourceShare)
	}
	if config.HalfOpenLifetime <= 0 {
		config.HalfOpenLifetime = DefaultHalfOpenLifetime
	}
	return config
}

// Limit changes the bounds of the table, as after a reload of the configuration;
// the clock stays. If there are more entries than the new bounds permit, new
// entries replace them.
func (t *Table) Limit(config TableConfig) {
	config = withDefaults(config)
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.max = max(1, (config.MaxContexts+i)/len(t.shards)) // sums up to MaxContexts
		s.mu.Unlock()
	}
	t.quota.limit(config.MaxPerPrincipal)
	t.halfOpenMu.Lock()
	defer t.halfOpenMu.Unlock()
	t.maxHalfOpen, t.maxPerSource = config.MaxHalfOpen, config.MaxHalfOpenPerSource
	t.halfOpenLifetime = config.HalfOpenLifetime
}

func (t *Table) shard(name []byte) *shard {
	if len(t.shards) == 1 {
		return &t.shards[0]
	}
	return &t.shards[maphash.Bytes(t.seed, name)%uint64(len(t.shards))]
}

// lookup returns the live context of that name, nil if there is none, and
// counts that as use of it.
func (t *Table) lookup(name []byte) *securityContext {
	now := t.now()
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := t.live(s, name, now)
	if c == nil {
		return nil
	}
	c.noteUse()
	s.byUse(c).moveToBack(&c.byUse)
	return c
}

// holds reports whether a live context has that name and algorithm. It is no
// use of it.
func (t *Table) holds(name, algorithm []byte) bool {
	now := t.now()
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := t.live(s, name, now)
	return c != nil && c.algorithm == string(algorithm)
}

// taken reports whether a live context has that name.
func (t *Table) taken(name string) bool {
	if t.hasLive([]byte(name)) {
		return true
	}
	shared := t.shared.Load()
	return shared != nil && shared.find(contextID([]byte(name))) != nil
}

// hasLive reports whether a live context in this table has that name. It is no use of
// it.
func (t *Table) hasLive(name []byte) bool {
	now := t.now()
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.live(s, name, now) != nil
}

// insert files c under its name and makes room for it. It reports false when a
// live context has the name.
func (t *Table) insert(c *securityContext) bool { return t.insertOr(c) == c }

// insertOr is insert, and returns the live context that has the name then.
func (t *Table) insertOr(c *securityContext) *securityContext {
	there, removed, surplus := t.file(c)
	for _, old := range surplus {
		if t.delete(old) {
			removed = append(removed, old)
		}
	}
	t.forget(removed)
	return there
}

// forget has contexts that made room taken out of the shared table, if they were made
// here: other servers do not hold contexts for ones that are used elsewhere.
func (t *Table) forget(removed []*securityContext) {
	removed = slices.DeleteFunc(removed, func(c *securityContext) bool { return c.record == nil || c.adopted || c.kept.Load() })
	if shared := t.shared.Load(); shared != nil && len(removed) > 0 {
		shared.forget(removed)
	}
}

// file is insertOr but for the contexts of the same principal that have to go;
// they may be in any shard. removed are those that made room.
func (t *Table) file(c *securityContext) (there *securityContext, removed, surplus []*securityContext) {
	now := t.now()
	s := t.shard([]byte(c.name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if there := t.live(s, []byte(c.name), now); there != nil {
		return there, nil, nil
	}
	// Two expired ones go for each that comes, so that a busy table forgets
	// faster than it learns, and no insertion takes long.
	byUse := s.byUse(c)
	for range 2 {
		if c := byUse.front(); c != nil && c.over(now, now.Sub(started)) {
			s.remove(c)
		}
	}
	for byUse.size >= s.max {
		removed = append(removed, byUse.front())
		s.remove(byUse.front())
	}
	s.contexts[c.name] = c
	c.inTable.Store(true)
	byUse.pushBack(&c.byUse, c)
	if c.adopted {
		return c, removed, nil // it counts where it was made
	}
	return c, removed, t.quota.add(c)
}

// delete takes c out. It reports false when c is not there, which is what all
// but one of several concurrent callers learn.
func (t *Table) delete(c *securityContext) bool {
	s := t.shard([]byte(c.name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contexts[c.name] != c {
		return false
	}
	s.remove(c)
	return true
}

// Clear drops every context, established or not.
func (t *Table) Clear() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, c := range s.contexts {
			s.remove(c)
		}
		s.mu.Unlock()
	}
	t.halfOpenMu.Lock()
	defer t.halfOpenMu.Unlock()
	for _, h := range t.halfOpen {
		t.removeHalfOpen(h)
		h.drop()
	}
}

// Len returns how many established and how many unfinished contexts there are.
// It drops the expired ones first, in time that grows with the table, which
// suits a metric and not a hot path.
func (t *Table) Len() (live, halfOpen int) {
	now := t.now()
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, c := range s.contexts {
			if c.over(now, now.Sub(started)) {
				s.remove(c)
			}
		}
		live += len(s.contexts)
		s.mu.Unlock()
	}
	t.halfOpenMu.Lock()
	defer t.halfOpenMu.Unlock()
	t.expireHalfOpen(now)
	return live, len(t.halfOpen)
}

// live returns the context of that name, unless its time is over or it was deleted at
// another server. The shard is locked.
func (t *Table) live(s *shard, name []byte, now time.Time) *securityContext {
	c := s.contexts[string(name)]
	if c == nil {
		return nil
	}
	if c.over(now, now.Sub(started)) || t.deletedElsewhere(c) {
		s.remove(c)
		return nil
	}
	return c
}

// deletedElsewhere reports whether a shared context is not shared any more.
func (t *Table) deletedElsewhere(c *securityContext) bool {
	if c.record == nil || c.kept.Load() {
		return false
	}
	shared := t.shared.Load()
	return shared != nil && !shared.holds(c)
}

func (s *shard) remove(c *securityContext) {
	delete(s.contexts, c.name)
	s.byUse(c).remove(&c.byUse)
	s.quota.remove(c)
}
