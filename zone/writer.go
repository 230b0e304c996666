package zone

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// errNotPermitted is in the Result of an update that was not permitted.
var errNotPermitted = errors.New("zone: not permitted")

// pending is an update in the queue. Apply and the writer both try to change its state from
// waiting: an update that Apply has abandoned is not applied, and Apply always waits for one that
// the writer has taken.
type pending struct {
	update   *Update
	proposal *Proposal
	size     int // Proposal.size
	state    atomic.Uint32
	took     time.Duration // the writer's work on it
	changes  bool          // it changes something, as far as was evaluated last
	result   Result        // of the one that has taken it
	done     chan struct{} // closed when there is the result

	ahead, behind *pending // in its line of the queue
}

const (
	waiting uint32 = iota
	taken
	abandoned
)

// Apply does one dynamic update (RFC 2136 section 3) after those that are queued already, and
// returns when the update is durable or has failed.
//
// The form of the message is checked first (FORMERR, NOTAUTH, NOTZONE), up to the limits of an
// update. Then Refusal applies or Authorize is called (REFUSED). Then the prerequisites are
// compared (NXDOMAIN, YXDOMAIN, NXRRSET, YXRRSET). An update that exceeds a limit is REFUSED, and
// so is one for which the queue has no room, or from which the queue has taken the room again: see
// [Update.Source]. If the store cannot commit, the rcode is SERVFAIL and the zone is unchanged. If ctx
// ends before the writer has taken the update, it is not applied and the rcode is SERVFAIL; later ctx
// has no effect.
//
// If several servers change the zone, the outcome is as if one server had done all updates, each at some
// moment between its call and its return. Whatever the answer is, the store has confirmed the state that
// it rests on. After 2.5 seconds without that the rcode is SERVFAIL: the zone is unchanged, unless
// [Result].Err is store.ErrUnknown. Then the update may have been done, or be done soon.
func (z *Zone) Apply(ctx context.Context, u *Update) Result {
	limits := &z.settings.Load().limits
	proposal, err := z.parse(u, limits)
	if err != nil {
		return z.failure(err)
	}
	if u.Refusal != nil {
		return failed(z.Snapshot(), *u.Refusal, notPermitted(*u.Refusal))
	}
	if err := ctx.Err(); err != nil {
		return z.failure(fmt.Errorf("zone: update not started: %w", err))
	}
	select {
	case <-z.closing:
		return z.failure(ErrClosed)
	default:
	}
	p := &pending{update: u, proposal: proposal, size: proposal.size(len(u.Message)), done: make(chan struct{})}
	if u.Sections != nil && u.stale == nil { // scavenging has no haste
		return z.applyAlone(p)
	}
	refused, limit := z.queue.put(p, limits)
	for _, r := range refused {
		if r.state.CompareAndSwap(waiting, taken) {
			r.result = z.failure(limit)
			close(r.done)
		}
	}
	z.tryWrite()
	select {
	case <-p.done:
		return p.result
	case <-ctx.Done():
		err = fmt.Errorf("zone: update not started: %w", ctx.Err())
	case <-z.stopped:
		err = ErrClosed
	}
	if p.state.CompareAndSwap(waiting, abandoned) {
		return z.failure(err)
	}
	<-p.done
	return p.result
}

func (z *Zone) parse(u *Update, limits *Limits) (*Proposal, error) {
	if u.Sections != nil {
		return parseSections(z.origin, u.Sections)
	}
	return parse(z.origin, u.Message, limits)
}

// applyAlone does an update in a batch of its own.
func (z *Zone) applyAlone(p *pending) Result {
	z.writing.Lock()
	defer z.endWriting()
	select {
	case <-z.closing:
		return z.failure(ErrClosed)
	default:
	}
	z.do([]*pending{p})
	return p.result
}

// failure is the Result of an update that did not get as far as the writer.
func (z *Zone) failure(err error) Result {
	return failed(z.Snapshot(), Decision{}, err)
}

func failed(s *Snapshot, d Decision, err error) Result {
	r := Result{Rcode: dns.RcodeServerFailure, Before: s.serial, After: s.serial, Decision: d, Err: err}
	var form *formError
	var limit *LimitError
	switch {
	case errors.As(err, &form):
		r.Rcode = form.rcode
	case errors.Is(err, ErrReplayed):
		r.Rcode = dns.RcodeRefused
	case errors.As(err, &limit), errors.Is(err, errNotPermitted), errors.Is(err, store.ErrTooLarge):
		r.Rcode = dns.RcodeRefused
	}
	return r
}

// Propose returns an update and the zone's current state for [Update.Authorize], without doing the
// update: a program can ask for a decision and what it rests on.
func (z *Zone) Propose(message []byte) (*Proposal, error) {
	set := z.settings.Load()
	p, err := parse(z.origin, message, &set.limits)
	if err != nil {
		return nil, err
	}
	now := z.clock()
	p.bind(z.Snapshot(), z.grace.expired(now, set.lifetime), timing{now: now.Unix(), aging: set.aging})
	return p, nil
}

// tryWrite does the writer's work if no writer is active: passing a single update to another
// goroutine and its result back would cost more than the update itself. If a writer is active, the
// update was queued before this call, and is done by that writer or by writeQueued.
func (z *Zone) tryWrite() {
	if !z.writing.TryLock() {
		return
	}
	z.writeBatch()
	z.endWriting()
}

// endWriting lets another writer begin. Updates that were queued meanwhile are left to writeQueued,
// so that Apply does not delay its own result for the updates of others. If their sources have to
// wait for their share of the time, writeQueued is told later.
func (z *Zone) endWriting() {
	z.writing.Unlock()
	switch some, wait := z.queue.waiting(); {
	case !some:
	case wait > 0:
		z.later.Reset(wait)
	default:
		z.wakeWriter()
	}
}

// wakeWriter has writeQueued look into the queue.
func (z *Zone) wakeWriter() {
	select {
	case z.wake <- struct{}{}:
	default: // signalled already
	}
}

// writeQueued does the updates that were queued while a writer was active. Under load these are
// most updates.
func (z *Zone) writeQueued() {
	defer close(z.stopped)
	for {
		select {
		case <-z.closing:
			return
		case <-z.wake:
		}
		z.writing.Lock()
		for z.writeBatch() {
		}
		z.endWriting()
	}
}

// writeBatch does one batch of queued updates. It reports false if the queue is empty or the zone
// is being closed. The caller holds z.writing.
func (z *Zone) writeBatch() bool {
	select {
	case <-z.closing:
		return false
	default:
	}
	z.gather()
	batch := z.queue.take(z.batch[:0], 0)
	if len(batch) == 0 {
		return false
	}
	z.do(batch)
	clear(batch)
	return true
}

// do does a batch and returns the results.
func (z *Zone) do(batch []*pending) {
	live := batch[:0]
	for _, p := range batch {
		if p.state.CompareAndSwap(waiting, taken) {
			live = append(live, p)
		}
	}
	if len(live) > 0 {
		live = z.settle(live)
	}
	z.queue.charge(live)
	for _, p := range live {
		close(p.done)
	}
	clear(live)
}

// Bounds of the work on one batch if several servers change the zone. The client waits, and sends its
// update again after some seconds.
const (
	settleTime     = 2500 * time.Millisecond
	settleAttempts = 200
)

// settle does the updates of a batch, and tells the observer. It returns them with those that have joined.
func (z *Zone) settle(live []*pending) []*pending {
	var c Commit
	if !z.shared {
		z.attempt(context.Background(), live, time.Time{}, &c)
	} else if err := z.Diverged(); err != nil {
		z.fail(live, err)
		return live
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), settleTime)
		defer cancel()
		live = z.attempt(ctx, live, time.Now().Add(joinTime), &c)
		z.crowd.note(len(live)+z.queue.length(), &c)
		if c.Err != nil && z.failing.Load() != nil {
			z.failQueued(c.Err)
		}
	}
	if z.observe != nil && (c.Updates > 0 || c.Conflicts > 0 || c.Err != nil) {
		z.observe(c)
	}
	return live
}

// failQueued ends the updates that wait, after the store has not answered for as long as one may wait: otherwise
// each would wait for the batches before it, and then for its own.
func (z *Zone) failQueued(cause error) {
	for queued := z.queue.take(make([]*pending, 0, cap(z.batch)), 0); len(queued) > 0; queued = z.queue.take(queued[:0], 0) {
		for _, p := range queued {
			if p.state.CompareAndSwap(waiting, taken) {
				p.result = z.failure(fmt.Errorf("%w: %v", errNotStarted, cause))
				close(p.done)
			}
		}
	}
}

// errNotStarted is the error of an update that waited while the store did not answer.
var errNotStarted = errors.New("zone: update not started, as the store did not answer those before it")

// attempt evaluates updates in order, each on the state that the previous ones lead to. It commits the
// changes together and publishes the state. If another server has changed the zone meanwhile, it
// evaluates all of them again on what that server has made of it, and until a time those too that have
// come since. It returns all.
func (z *Zone) attempt(ctx context.Context, live []*pending, joined time.Time, c *Commit) []*pending {
	for attempts := 1; ; attempts++ {
		b := transaction{zone: z, first: -1}
		missed, err := b.run(ctx, live, c)
		switch {
		case err == nil:
			c.Updates += len(b.changes)
			return live
		case errors.Is(err, store.ErrTooLarge) && len(live) > 1:
			half := len(live) / 2
			z.attempt(ctx, live[:half], time.Time{}, c)
			z.attempt(ctx, live[half:], time.Time{}, c)
			return live
		case isConflict(err):
			c.Conflicts++
			if attempts < settleAttempts && z.catchUp(ctx, b.at, missed) {
				if time.Now().Before(joined) {
					live = z.join(live)
				}
				continue
			}
		case c.Conflicts > 0 && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrUnknown):
			// The store has answered, but the time was not enough.
			err = fmt.Errorf("zone: %w, %d times", store.ErrConflict, c.Conflicts)
			z.noteCommit(err)
		}
		c.Updates += len(b.changes)
		c.Err, c.Unknown = err, c.Unknown || errors.Is(err, store.ErrUnknown)
		b.fail(live, err)
		return live
	}
}

// fail ends all updates of a batch with an error.
func (z *Zone) fail(live []*pending, err error) {
	for _, p := range live {
		p.result = z.failure(err)
	}
}

// transaction is the state of one batch.
type transaction struct {
	zone    *Zone
	at      store.Position // of the state that it began with
	state   *Snapshot      // the published one until the first change
	changes []store.Change
	marks   []store.Mark
	first   int // index of the first update that changes something, or -1
}

// run evaluates and commits. A panic is an error like one of the store: an error in the evaluation
// of one update must not end the server.
func (b *transaction) run(ctx context.Context, batch []*pending, c *Commit) (missed []store.Committed, err error) {
	defer func() {
		if r := recover(); r != nil {
			b.first = 0
			err = fmt.Errorf("zone: internal error in an update: %v", r)
		}
	}()
	b.evaluate(batch)
	switch shared := b.zone.shared; {
	case len(b.changes) > 0 || len(b.marks) > 0 && shared:
		missed, err = b.propose(ctx, c)
	case shared:
		missed, err = b.zone.confirm(ctx, b.at)
	}
	if err != nil {
		err = fmt.Errorf("zone: %w", err)
	}
	return missed, err
}

// evaluate decides on the updates.
func (b *transaction) evaluate(batch []*pending) {
	z := b.zone
	z.advancing.Lock()
	defer z.advancing.Unlock()
	b.state = z.Snapshot()
	b.at = b.state.position
	began := z.queue.clock()
	for i, p := range batch {
		var e *effect
		p.result, e = b.decide(p)
		if p.update.Mark != (store.Mark{}) && wasDone(&p.result) {
			b.marks = append(b.marks, p.update.Mark)
		}
		if p.changes = e != nil && !e.empty(); p.changes {
			if b.first < 0 {
				b.first = i
				b.state = b.state.fork()
			}
			e.apply(b.state)
			c := e.change(z.origin)
			c.Author, c.Rule = store.CutText(p.update.Principal), store.CutText(p.result.Decision.Rule)
			p.result.Removed, p.result.Added = c.Removed, c.Added
			p.result.Refreshed = len(c.Refreshed)
			b.changes = append(b.changes, c)
		}
		ended := z.queue.clock()
		p.took += ended - began
		began = ended
	}
}

// wasDone reports whether an update has been done, even if it changed nothing, or has failed because of
// its prerequisites: a replay of either is not to be done later. One that was refused has no mark: those who
// may change nothing must not be able to write to a shared store, where their marks would displace changes.
func wasDone(r *Result) bool {
	return r.Rcode != dns.RcodeRefused && r.Rcode != dns.RcodeServerFailure && !errors.Is(r.Err, ErrReplayed)
}

// propose writes the changes to the store and publishes the state. The caller holds z.writing.
func (b *transaction) propose(ctx context.Context, c *Commit) ([]store.Committed, error) {
	z := b.zone
	batch := store.Batch{Changes: b.changes, Marks: b.marks}
	if z.shared {
		batch.At = b.state.at
		z.beginProposal()
	}
	begun := time.Now()
	at, missed, err := z.store.Propose(ctx, b.at, batch)
	if z.observe != nil || z.shared {
		c.Duration += time.Since(begun)
	}
	z.noteCommit(err)
	z.advancing.Lock()
	defer z.advancing.Unlock()
	if err == nil {
		b.publish(at, begun)
	}
	if z.shared {
		z.endProposal(at, err)
	}
	return missed, err
}

// publish publishes the state that was committed. It reports false if Follow was faster. The caller
// holds z.advancing.
func (b *transaction) publish(at store.Position, begun time.Time) bool {
	z := b.zone
	z.confirmedAt(begun)
	z.marks.add(b.marks)
	if z.Snapshot().position.Sequence >= at.Sequence {
		return false
	}
	changed := b.first >= 0
	if !changed {
		b.state = b.state.moved()
	}
	b.state.position = at
	z.publish(b.state, changed)
	return true
}

// fail ends the updates with an error of the store. If other servers change the zone too, no answer
// rests on a state that the store has not confirmed.
func (b *transaction) fail(batch []*pending, err error) {
	first, state := max(b.first, 0), b.zone.Snapshot()
	if b.zone.shared {
		first = 0
	}
	for _, p := range batch[first:] {
		reason := err
		if errors.Is(err, store.ErrUnknown) && !p.changes {
			reason = fmt.Errorf("%w: %v", errUnconfirmed, err)
		}
		p.result = failed(state, p.result.Decision, reason)
	}
}

// errUnconfirmed is the error of an update that was to change nothing.
var errUnconfirmed = errors.New("zone: the store did not confirm the state that the update was compared with")

// decide evaluates one update without changing anything.
func (b *transaction) decide(p *pending) (Result, *effect) {
	s, z := b.state, b.zone
	set, now := z.settings.Load(), z.clock()
	expired := z.grace.expired(now, set.lifetime)
	p.proposal.bind(s, expired, timing{now: now.Unix(), aging: set.aging, static: p.update.Static, stale: p.update.stale})
	if p.update.Mark != (store.Mark{}) && b.replayed(p.update.Mark) {
		return failed(s, Decision{}, ErrReplayed), nil
	}
	if f := z.freeze(); !f.Since.IsZero() && (f.Sealed || !p.update.Administrative) {
		d := Decision{Rule: "frozen", Cause: CauseFrozen, Reason: "the zone is frozen since " + f.Since.Format(time.RFC3339)}
		if f.Sealed {
			d.Reason += ", for the administrator too, because it is copied to another place"
		}
		return failed(s, d, notPermitted(d)), nil
	}
	d, err := authorize(p.update, p.proposal)
	if err != nil {
		return failed(s, d, err), nil
	}
	if rcode := p.proposal.met(); rcode != dns.RcodeSuccess {
		r := failed(s, d, fmt.Errorf("zone: a prerequisite is not met: %s", dns.RcodeToString[rcode]))
		r.Rcode = rcode
		return r, nil
	}
	e := p.proposal.effect(d.Unrefreshed)
	e.claim(s, &d, now.Unix(), expired)
	if !e.empty() {
		limits := set.limits
		if p.update.Sections != nil {
			limits.NonTerminals = math.MaxInt
		}
		err := limits.check(s, e)
		if err == nil {
			err = limits.checkReserved(s, e, expired)
		}
		if err != nil {
			return failed(s, d, err), nil
		}
		e.expire(s, expired, &set.limits)
	}
	return Result{
		Rcode:    dns.RcodeSuccess,
		Before:   e.from,
		After:    e.to,
		Changed:  e.changed,
		Decision: d,
	}, e
}

// replayed reports whether a message was done before, or is one of this batch.
func (b *transaction) replayed(m store.Mark) bool {
	return b.zone.marks.has(m) || slices.Contains(b.marks, m)
}

// authorize calls the caller's Authorize. A panic there is an error of this update alone.
func authorize(u *Update, p *Proposal) (d Decision, err error) {
	if u.Authorize == nil {
		return Decision{Allow: true}, nil
	}
	defer func() {
		if r := recover(); r != nil {
			d, err = Decision{}, fmt.Errorf("zone: internal error in authorizing an update: %v", r)
		}
	}()
	if d = u.Authorize(p); d.Allow {
		return d, nil
	}
	d.Own, d.Released, d.Unrefreshed = nil, nil, nil
	return d, notPermitted(d)
}

// notPermitted is the error of a refusal.
func notPermitted(d Decision) error {
	if d.Reason == "" {
		return errNotPermitted
	}
	return fmt.Errorf("%w: %s", errNotPermitted, d.Reason)
}
