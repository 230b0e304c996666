package gsstsig

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// servedZone is a zone of the process, which several blocks may use.
type servedZone struct {
	origin string
	place  string // where it is kept: the directory of its database, etcd with the prefix of its keys, or inMemory

	zone    atomic.Pointer[zone.Zone] // nil until it is loaded, which may take long for a zone on etcd only
	expired atomic.Bool               // it is not known for too long whether the zone is the newest

	// Of a zone on etcd.
	loader   *zoneLoader
	told     time.Time                        // when it was logged that the zone cannot be loaded, of the goroutine that loads it alone
	rejoined time.Time                        // when the last attempt was, of the goroutine that watches the zone alone
	applied  chan struct{}                    // holds one value if another server has changed the zone
	closed   chan struct{}                    // closed by close; nil for a zone that is not on etcd
	failure  atomic.Pointer[diagnose.Finding] // why it is not loaded, or what is wrong with it; nil if nothing is

	commits commitCounts

	// Of a reload that moves the zone; guarded by process.mu.
	former       *servedZone // whose place this one is to take; nil once that is closed
	sealedToMove bool        // it was frozen for clients alone before

	stale int // records that the last pass has left, although they are stale; guarded by process.mu

	mu       sync.Mutex
	settings zoneSettings // of the configuration in force
}

// commitCounts are numbers of commits to etcd, since the zone is served.
type commitCounts struct{ conflicts, unknown atomic.Int64 }

// observe counts before next does.
func (n *commitCounts) observe(next func(zone.Commit)) func(zone.Commit) {
	return func(c zone.Commit) {
		n.conflicts.Add(int64(c.Conflicts))
		if c.Unknown {
			n.unknown.Add(1)
		}
		next(c)
	}
}

// zoneSettings are what a reload may change of a zone.
type zoneSettings struct {
	limits     zone.Limits
	tombstones time.Duration
	aging      zone.Aging
}

// newServedZone makes a zone that is loaded.
func newServedZone(z *zone.Zone, place string) *servedZone {
	s := &servedZone{origin: z.Origin(), place: place}
	s.zone.Store(z)
	return s
}

// loaded returns the zone, nil if it is not loaded yet.
func (s *servedZone) loaded() *zone.Zone { return s.zone.Load() }

// serving returns the zone if its data may be served, else nil.
func (s *servedZone) serving() *zone.Zone {
	if s.expired.Load() {
		return nil
	}
	return s.zone.Load()
}

// configure sets what the configuration in force says about the zone, also for the time when it is loaded.
func (s *servedZone) configure(of *service.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings = zoneSettings{of.Limits, of.Tombstones, of.Aging(s.origin)}
	s.applySettings()
}

// applySettings configures the zone, if it is loaded. The caller holds mu.
func (s *servedZone) applySettings() {
	if z := s.zone.Load(); z != nil {
		z.Configure(s.settings.limits, s.settings.tombstones, s.settings.aging)
	}
}

// close closes the zone.
func (s *servedZone) close() error {
	s.mu.Lock()
	if s.closed != nil {
		close(s.closed)
	}
	z := s.zone.Load()
	s.mu.Unlock()
	if z == nil {
		return nil
	}
	return z.Close()
}
