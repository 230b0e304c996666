package disk

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler lets the engine run one compaction at a time, and none behind a closed fence, where it
// would repeat the same one endlessly. Unlike Pebble's own scheduler it has no timer.
type scheduler struct {
	fence *fence
	db    pebble.DBForCompaction // set once, before all else

	// mu is acquired with the engine's locks held, so that the engine must not be called with it.
	mu       sync.Mutex
	idle     sync.Cond // signalled when granting ends
	running  bool
	granting bool
	ended    bool
}

var _ pebble.CompactionScheduler = (*scheduler)(nil)

func newScheduler(f *fence) *scheduler {
	s := &scheduler{fence: f}
	s.idle.L = &s.mu
	return s
}

func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

func (s *scheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for s.granting {
		s.idle.Wait()
	}
}

func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	closed := s.fence.failure() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running || s.ended || closed {
		return false, nil
	}
	s.running = true
	return true, grant{s}
}

// UpdateGetAllowedWithoutPermission does nothing: the limit of one compaction does not change.
func (s *scheduler) UpdateGetAllowedWithoutPermission() {}

// grant is the permission to run one compaction.
type grant struct{ s *scheduler }

func (grant) Started()                                            {}
func (grant) MeasureCPU(pebble.CompactionGoroutineKind)           {}
func (grant) CumulativeStats(_ pebble.CompactionGrantHandleStats) {}

// Done passes the permission on to a compaction that waits.
func (g grant) Done() {
	s := g.s
	closed := s.fence.failure() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	if s.ended || closed {
		return
	}
	s.granting, s.running = true, true
	s.mu.Unlock()
	waiting, _ := s.db.GetWaitingCompaction()
	accepted := waiting && s.db.Schedule(g)
	s.mu.Lock()
	s.granting = false
	if !accepted {
		s.running = false
	}
	s.idle.Broadcast()
}
