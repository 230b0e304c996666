package zone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A replica is what keeps a zone that other servers change too up to date.
type replica struct {
	announcer announcer

	// confirmed is when the state was last known to be the newest.
	confirmed atomic.Pointer[time.Time]
	// diverged is the error that says that the store has another history, nil if it has not.
	diverged atomic.Pointer[error]
	// trouble is the error for which following ended last; nil since something has come.
	trouble atomic.Pointer[error]
	// stale says that the zone has to be loaded again.
	stale atomic.Bool
	// interrupt ends the current call of Follow.
	interrupt atomic.Pointer[context.CancelFunc]

	running context.Context // until Close
	stop    context.CancelFunc
	stopped chan struct{} // closed when follow has ended

	// What follows is guarded by Zone.advancing.

	newer     chan struct{} // closed when a state is published; nil if nobody waits
	proposing bool          // the writer waits for the outcome of a batch
	deferred  []notice      // for applied, once that outcome is known
}

// A notice is an Applied with the number of its batch.
type notice struct {
	sequence uint64
	applied  Applied
}

// An announcer calls Config.Applied, one call at a time and in the order of the changes. It is safe for
// concurrent use.
type announcer struct {
	call func(Applied) // may be nil

	mu      sync.Mutex // guards what follows
	queue   []Applied
	running bool
	closed  bool
}

// maxAnnounced is how many calls may wait.
const maxAnnounced = 1024

// tell has call called. If too many calls wait, they become one, without the changes.
func (a *announcer) tell(what Applied) {
	if a.call == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	if len(a.queue) == maxAnnounced {
		what = Applied{Before: a.queue[0].Before, After: what.After, Loaded: true}
		a.queue = nil
	}
	a.queue = append(a.queue, what)
	if !a.running {
		a.running = true
		go a.run()
	}
}

// run makes the calls that wait.
func (a *announcer) run() {
	for {
		a.mu.Lock()
		if a.running = len(a.queue) > 0; !a.running {
			a.queue = nil
			a.mu.Unlock()
			return
		}
		what := a.queue[0]
		a.queue = a.queue[1:]
		a.mu.Unlock()
		a.call(what)
	}
}

// close drops the calls that wait.
func (a *announcer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue, a.closed = nil, true
}

// isConflict reports whether an error says that the zone has changed meanwhile.
func isConflict(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrHistory)
}

// Confirmed returns when the zone was last known to be in the newest state, by this machine's clock. A
// zone that no other server changes always is.
func (z *Zone) Confirmed() time.Time {
	if !z.shared {
		return time.Now()
	}
	return *z.replica.confirmed.Load()
}

// outage is for how long a server must have been without its store for aging to wait, as it does after
// the zone was opened: clients may have been unable to refresh their records.
const outage = time.Hour

// confirmedAt notes that the published state was the newest at a time.
func (z *Zone) confirmedAt(at time.Time) {
	if z.shared {
		now := at
		z.noteConfirmed(&now)
		if z.replica.trouble.Load() != nil {
			z.replica.trouble.Store(nil)
		}
	}
}

// noteConfirmed is apart so that a zone of one server allocates nothing.
func (z *Zone) noteConfirmed(now *time.Time) {
	for {
		before := z.replica.confirmed.Load()
		if before != nil && !now.After(*before) {
			return
		}
		if before != nil && now.Sub(*before) >= outage {
			z.grace.begin(z.now().Unix())
		}
		if z.replica.confirmed.CompareAndSwap(before, now) {
			return
		}
	}
}

// Diverged returns an error if the store holds another history of the zone than this server, for
// instance after it was restored from a backup: see store.ErrDiverged. Updates get SERVFAIL from then
// on, and the zone stays as it is, until it is opened again.
func (z *Zone) Diverged() error {
	if err := z.replica.diverged.Load(); err != nil {
		return *err
	}
	return nil
}

func (z *Zone) diverge(err error) {
	err = fmt.Errorf("zone: updates are not taken and the zone is not kept up to date: %w", err)
	z.replica.diverged.CompareAndSwap(nil, &err)
}

// Unreadable returns an error if the zone is not kept up to date because the store holds something that this server
// cannot read, nil if it is out of reach or all is well.
func (z *Zone) Unreadable() error {
	if err := z.replica.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// noteTrouble notes how following ended.
func (z *Zone) noteTrouble(err error) {
	if errors.Is(err, store.ErrUnreadable) {
		z.replica.trouble.Store(&err)
	}
}

// confirm asks the store whether the zone is at a position. The caller holds z.writing.
func (z *Zone) confirm(ctx context.Context, at store.Position) ([]store.Committed, error) {
	begun := time.Now()
	missed, err := z.store.Confirm(ctx, at)
	z.noteCommit(err)
	if err == nil {
		z.confirmedAt(begun)
	}
	return missed, err
}

// publish makes s the state that is served. The caller holds z.advancing.
func (z *Zone) publish(s *Snapshot, changed bool) {
	if changed {
		now := z.now().UTC()
		z.changed.Store(&now)
	}
	z.current.Store(s)
	if z.replica.newer != nil {
		close(z.replica.newer)
		z.replica.newer = nil
	}
}

// beginProposal notes that the next batch may be this server's own.
func (z *Zone) beginProposal() {
	z.advancing.Lock()
	defer z.advancing.Unlock()
	z.replica.proposing = true
}

// endProposal tells of what came meanwhile, but for the server's own batch, if it was committed. The
// caller holds z.advancing.
func (z *Zone) endProposal(at store.Position, err error) {
	r := &z.replica
	r.proposing = false
	for _, n := range r.deferred {
		if err != nil || n.sequence != at.Sequence {
			r.announcer.tell(n.applied)
		}
	}
	r.deferred = nil
}

// announce tells of what was applied. The caller holds z.advancing.
func (z *Zone) announce(n notice) {
	r := &z.replica
	if r.proposing {
		r.deferred = append(r.deferred, n)
		return
	}
	r.announcer.tell(n.applied)
}

// catchUp makes a later state than that at a position the published one: by the batches that the
// store's conflict came with, or by having the zone loaded again. It reports whether there is one.
func (z *Zone) catchUp(ctx context.Context, at store.Position, missed []store.Committed) bool {
	err := z.adopt(missed)
	switch {
	case ctx.Err() != nil:
		return false
	case z.Snapshot().position.Sequence > at.Sequence:
		return true
	case errors.Is(err, store.ErrDiverged):
		z.diverge(err)
		return false
	}
	return z.awaitLoad(ctx, at)
}

// awaitLoad has the zone loaded again, and waits for a state after a position.
func (z *Zone) awaitLoad(ctx context.Context, at store.Position) bool {
	z.replica.stale.Store(true)
	if cancel := z.replica.interrupt.Load(); cancel != nil {
		(*cancel)()
	}
	for {
		z.advancing.Lock()
		if z.Snapshot().position.Sequence > at.Sequence {
			z.advancing.Unlock()
			return true
		}
		if z.replica.newer == nil {
			z.replica.newer = make(chan struct{})
		}
		newer := z.replica.newer
		z.advancing.Unlock()
		select {
		case <-newer:
		case <-ctx.Done():
			return false
		}
	}
}

// errGap says that a batch does not follow the state.
var errGap = errors.New("a batch is missing")

// adopt applies batches to the published state, but those that it has already.
func (z *Zone) adopt(batches []store.Committed) error {
	z.advancing.Lock()
	defer z.advancing.Unlock()
	for i := range batches {
		if err := z.adoptBatch(&batches[i]); err != nil {
			return fmt.Errorf("zone: batch %d: %w", batches[i].Position.Sequence, err)
		}
	}
	return nil
}

func (z *Zone) adoptBatch(c *store.Committed) (err error) {
	s := z.Snapshot()
	switch next := s.position.Sequence + 1; {
	case c.Position.Sequence == s.position.Sequence && c.Position != s.position:
		return fmt.Errorf("%w: its batch is another one", store.ErrDiverged)
	case c.Position.Sequence < next:
		return nil
	case c.Position.Sequence > next:
		return errGap
	}
	f, err := s.with(c)
	if err != nil {
		return err
	}
	z.publish(f, len(c.Changes) > 0)
	// The batch is not older than the state that it follows was known to be the newest. By the wall clock, which goes on
	// while a machine is suspended.
	late := time.Now().Round(0).Sub(z.Confirmed().Round(0))
	z.grace.compare(z.clock().Unix(), c.Server, c.Time.Unix(), late)
	z.marks.add(c.Marks)
	if c.Frozen != nil {
		z.setFrozen(*c.Frozen)
	}
	if len(c.Changes) > 0 || c.Frozen != nil {
		z.announce(notice{c.Position.Sequence, Applied{
			Before: s.serial, After: f.serial, Changes: c.Changes, Server: c.Server, Time: c.Time,
		}})
	}
	return nil
}

// startFollowing begins to take over what other servers commit.
func (z *Zone) startFollowing() {
	if !z.shared {
		return
	}
	z.replica.running, z.replica.stop = context.WithCancel(context.Background())
	z.replica.stopped = make(chan struct{})
	go z.follow()
}

// stopFollowing ends that.
func (z *Zone) stopFollowing() {
	if z.replica.stop != nil {
		z.replica.stop()
		<-z.replica.stopped
		z.replica.announcer.close()
	}
}

// followPause is how long follow waits after an attempt that brought nothing.
const followPause = 200 * time.Millisecond

// follow keeps the zone up to date until Close, or until the store has another history.
func (z *Zone) follow() {
	r := &z.replica
	defer close(r.stopped)
	for fruitless := 0; r.running.Err() == nil; {
		ctx, cancel := context.WithCancel(r.running)
		r.interrupt.Store(&cancel)
		var err error
		before := z.Snapshot().position.Sequence
		if r.stale.Load() {
			err = z.reload()
		} else {
			err = z.followFrom(ctx)
		}
		z.noteTrouble(err)
		interrupted := ctx.Err() != nil
		cancel()
		if fruitless++; z.Snapshot().position.Sequence > before {
			fruitless = 0
		}
		switch {
		case errors.Is(err, store.ErrDiverged):
			z.diverge(err)
			return
		case errors.Is(err, store.ErrHistory), errors.Is(err, errGap) && fruitless > 1:
			r.stale.Store(true)
		case fruitless > 1 && !interrupted:
			select {
			case <-r.running.Done():
			case <-time.After(followPause):
			}
		}
	}
}

// followFrom takes over the batches after the published state as they are committed.
func (z *Zone) followFrom(ctx context.Context) error {
	for c, err := range z.store.Follow(ctx, z.Snapshot().position) {
		if err != nil {
			return err
		}
		if len(c.Changes) > 0 || len(c.Marks) > 0 || c.Frozen != nil {
			err := z.adopt([]store.Committed{c})
			if err != nil && !errors.Is(err, errGap) && !errors.Is(err, store.ErrDiverged) {
				// The log is of no use, as if it did not have the batch.
				err = fmt.Errorf("%w: %w", store.ErrHistory, err)
			}
			if err != nil {
				return err
			}
			continue
		}
		if c.Position.Sequence > z.Snapshot().position.Sequence {
			return errGap
		}
		z.confirmedAt(c.Time)
	}
	return nil
}

// reload loads the zone again, beside the state that is served meanwhile.
func (z *Zone) reload() error {
	before, begun := z.Snapshot().position, time.Now()
	l, err := loadShared(z.replica.running, z.origin, z.store)
	switch {
	case err != nil:
		return err
	case l.state == nil:
		return fmt.Errorf("%w: it is empty", store.ErrDiverged)
	case l.state.position.Epoch > before.Epoch && int32(l.state.serial-z.Snapshot().serial) <= 0: // RFC 1982
		return fmt.Errorf("%w: an epoch has begun with the serial %d, but this server has served %d", store.ErrDiverged, l.state.serial, z.Snapshot().serial)
	case l.state.position.Sequence < before.Sequence:
		return fmt.Errorf("%w: its last batch is %d, but this server has seen batch %d", store.ErrDiverged, l.state.position.Sequence, before.Sequence)
	}
	z.replica.stale.Store(false)
	z.advancing.Lock()
	defer z.advancing.Unlock()
	z.confirmedAt(begun)
	z.marks.add(l.marks)
	switch s := z.Snapshot(); {
	case s.position.Sequence < l.state.position.Sequence:
		z.publish(l.state, true)
		z.setFrozen(l.frozen)
		z.announce(notice{l.state.position.Sequence, Applied{Before: s.serial, After: l.state.serial, Loaded: true}})
	case s.position.Sequence == l.state.position.Sequence && s.position != l.state.position:
		// The same state elsewhere, as after somebody has copied the store's keys. Another batch with that number is
		// found out by whoever follows.
		if s.position.Batch == l.state.position.Batch {
			moved := s.moved()
			moved.position = l.state.position
			z.publish(moved, false)
		}
	}
	return nil
}

// A loading is what a shared store holds.
type loading struct {
	state  *Snapshot // nil if the store is empty
	marks  []store.Mark
	frozen store.Freeze // zero if the zone is not
}

// sharedVisitor receives a loading.
type sharedVisitor struct {
	visitor
	to *loading
}

func (v sharedVisitor) Mark(m store.Mark) error {
	v.to.marks = append(v.to.marks, m)
	return nil
}

func (v sharedVisitor) Frozen(f store.Freeze) error {
	v.to.frozen = f
	return nil
}

// loadShared returns what a store holds.
func loadShared(ctx context.Context, o *origin, from store.Shared) (l loading, err error) {
	b := newBuilder(o)
	at, found, err := from.Load(ctx, sharedVisitor{visitor{b}, &l})
	if l.state, err = b.loaded(at.Serial, found, err); l.state != nil {
		l.state.position = at
	}
	return l, err
}

// setFrozen notes whether the zone is frozen.
func (z *Zone) setFrozen(f store.Freeze) {
	if f != (store.Freeze{}) {
		z.frozen.Store(&f)
		return
	}
	if z.frozen.Load() != nil {
		z.thaw()
	}
}

// agree freezes the zone at all servers, or thaws it, as next makes it of what it is. It returns what it was.
func (z *Zone) agree(ctx context.Context, next func(store.Freeze) store.Freeze) (before store.Freeze, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	z.writing.Lock()
	defer z.endWriting()
	select {
	case <-z.closing:
		return before, ErrClosed
	default:
	}
	if err := z.Diverged(); err != nil {
		return before, err
	}
	for attempts := 1; ; attempts++ {
		z.advancing.Lock()
		at := z.Snapshot().position
		before = z.freeze()
		z.advancing.Unlock()
		var missed []store.Committed
		if after := next(before); after != before {
			missed, err = z.proposeFrozen(ctx, at, after)
		} else {
			missed, err = z.confirm(ctx, at)
		}
		if err == nil {
			return before, nil
		}
		if !isConflict(err) || attempts == settleAttempts || !z.catchUp(ctx, at, missed) {
			return before, fmt.Errorf("zone: %w", err)
		}
	}
}

// proposeFrozen proposes what agree does, at a position. The caller holds z.writing.
func (z *Zone) proposeFrozen(ctx context.Context, at store.Position, f store.Freeze) ([]store.Committed, error) {
	z.beginProposal()
	begun := time.Now()
	after, missed, err := z.store.Propose(ctx, at, store.Batch{Frozen: &f})
	z.noteCommit(err)
	z.advancing.Lock()
	defer z.advancing.Unlock()
	if err == nil {
		b := transaction{zone: z, state: z.Snapshot(), first: -1}
		if b.publish(after, begun) {
			z.setFrozen(f)
		}
	}
	z.endProposal(after, err)
	return missed, err
}
