package zone

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// errNotPermitted is in the Result of an update that Authorize did not allow.
var errNotPermitted = errors.New("zone: not permitted")

// pending is an update in the queue. Its sender and the writer race for it with
// state, so that an update whose sender gave up is not applied, and one that
// the writer has taken is always waited for.
type pending struct {
	update  *Update
	request *request
	state   atomic.Uint32
	done    chan Result // holds one
}

const (
	waiting uint32 = iota
	taken
	abandoned
)

// Apply does one dynamic update (RFC 2136 section 3), waiting its turn behind
// those already queued, and returns when the update is durable or has failed.
//
// Errors of form are found first (FORMERR, NOTAUTH, NOTZONE), as far as the
// limits of an update reach, then Refusal counts or Authorize is asked
// (REFUSED), then the prerequisites are compared (NXDOMAIN, YXDOMAIN, NXRRSET, YXRRSET). A limit
// exceeded is REFUSED, a full queue too. If the store cannot commit, the answer
// is SERVFAIL and the zone is as before. If ctx ends before the writer has taken
// the update it is not applied and the answer is SERVFAIL; after that ctx has no
// effect.
func (z *Zone) Apply(ctx context.Context, u *Update) Result {
	request, err := parse(z.origin, u.Message, &z.settings.Load().limits)
	if err != nil {
		return z.failure(err)
	}
	if u.Refusal != nil {
		return failed(z.Snapshot(), *u.Refusal, notPermitted(*u.Refusal))
	}
	if err := ctx.Err(); err != nil {
		return z.failure(fmt.Errorf("zone: update not begun: %w", err))
	}
	select {
	case <-z.closing:
		return z.failure(ErrClosed)
	default:
	}
	p := &pending{update: u, request: request, done: make(chan Result, 1)}
	select {
	case z.queue <- p:
	default:
		return z.failure(&LimitError{Limit: "Queue", Max: cap(z.queue)})
	}
	z.takeTurn()
	select {
	case r := <-p.done:
		return r
	case <-ctx.Done():
		err = fmt.Errorf("zone: update not begun: %w", ctx.Err())
	case <-z.stopped:
		err = ErrClosed
	}
	if p.state.CompareAndSwap(waiting, abandoned) {
		return z.failure(err)
	}
	return <-p.done
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
	case errors.As(err, &limit), errors.Is(err, errNotPermitted):
		r.Rcode = dns.RcodeRefused
	}
	return r
}

// takeTurn does the writer's work if nobody is at it: handing a lone update to
// another goroutine and its answer back would cost more than the update itself.
// Whoever finds the turn taken has queued before looking, and is seen to by the
// holder, or by write.
func (z *Zone) takeTurn() {
	if !z.turn.TryLock() {
		return
	}
	z.workOff()
	z.giveBack()
}

// giveBack ends a turn. What was queued while it lasted is for write, so that
// nobody is kept from their own answer by others' updates.
func (z *Zone) giveBack() {
	z.turn.Unlock()
	if len(z.queue) == 0 {
		return
	}
	select {
	case z.left <- struct{}{}:
	default: // it knows
	}
}

// write does the updates that are left behind when turns end, which is most of
// them while many come at a time.
func (z *Zone) write() {
	defer close(z.stopped)
	for {
		select {
		case <-z.closing:
			return
		case <-z.left:
		}
		z.turn.Lock()
		for z.workOff() {
		}
		z.giveBack()
	}
}

// workOff does one batch of what is queued. It reports false if there is
// nothing, or the zone is being closed. It is for whoever has the turn.
func (z *Zone) workOff() bool {
	select {
	case <-z.closing:
		return false
	default:
	}
	batch := z.batch[:0]
	for len(batch) < cap(batch) {
		select {
		case p := <-z.queue:
			batch = append(batch, p)
			continue
		default:
		}
		break
	}
	if len(batch) == 0 {
		return false
	}
	z.do(batch)
	clear(batch)
	return true
}

// do evaluates a batch in order, each update on the state that those before it
// leave, commits the changes together, publishes the state and only then
// answers.
func (z *Zone) do(batch []*pending) {
	b := transaction{zone: z, state: z.Snapshot(), first: -1}
	live := batch[:0]
	for _, p := range batch {
		if p.state.CompareAndSwap(waiting, taken) {
			live = append(live, p)
		}
	}
	b.results = make([]Result, len(live))
	if err := b.run(live); err != nil {
		// Everything from the first change on was judged by a state that
		// did not come to be.
		for i := max(b.first, 0); i < len(live); i++ {
			b.results[i] = failed(z.Snapshot(), b.results[i].Decision, err)
		}
	} else if len(b.changes) > 0 {
		z.current.Store(b.state)
	}
	for i, p := range live {
		p.done <- b.results[i]
	}
}

// transaction is a batch being worked on.
type transaction struct {
	zone    *Zone
	state   *Snapshot // the published one until the first change
	changes []store.Change
	first   int // index of the first update that changes something, or -1
	results []Result
}

// run evaluates and commits. A panic is an error like one of the store: a flaw
// in evaluating one update must not end the server.
func (b *transaction) run(batch []*pending) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.first = 0
			err = fmt.Errorf("zone: internal error in an update: %v", r)
		}
	}()
	for i, p := range batch {
		var e *effect
		b.results[i], e = b.decide(p)
		if e == nil || e.empty() {
			continue
		}
		if b.first < 0 {
			b.first = i
			b.state = b.state.fork()
		}
		e.apply(b.state)
		b.changes = append(b.changes, e.change(b.zone.origin))
	}
	if len(b.changes) == 0 {
		return nil
	}
	if err := b.zone.store.Commit(context.Background(), b.changes); err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	return nil
}

// decide works out what one update gets and does, changing nothing.
func (b *transaction) decide(p *pending) (Result, *effect) {
	s, z := b.state, b.zone
	d, err := authorize(s, p.update)
	if err != nil {
		return failed(s, d, err), nil
	}
	if rcode := p.request.met(s); rcode != dns.RcodeSuccess {
		r := failed(s, d, fmt.Errorf("zone: a prerequisite is not met: %s", dns.RcodeToString[rcode]))
		r.Rcode = rcode
		return r, nil
	}
	set := z.settings.Load()
	e, err := p.request.evaluate(s, &set.limits)
	if err != nil {
		return failed(s, d, err), nil
	}
	now := z.now()
	expired := now.Add(-set.lifetime).Unix()
	e.claim(s, d.Own, now.Unix(), expired)
	if !e.empty() {
		e.expire(s, expired, set.limits.Tombstones)
	}
	return Result{
		Rcode:    dns.RcodeSuccess,
		Before:   e.from,
		After:    e.to,
		Changed:  len(e.nodes) > 0,
		Decision: d,
	}, e
}

// authorize asks the caller, whose panic is not ours to die of.
func authorize(s *Snapshot, u *Update) (d Decision, err error) {
	if u.Authorize == nil {
		return Decision{Allow: true}, nil
	}
	defer func() {
		if r := recover(); r != nil {
			d, err = Decision{}, fmt.Errorf("zone: internal error in authorizing an update: %v", r)
		}
	}()
	if d = u.Authorize(s, u); d.Allow {
		return d, nil
	}
	d.Own = nil
	return d, notPermitted(d)
}

// notPermitted is the error of a decision that refuses.
func notPermitted(d Decision) error {
	if d.Reason == "" {
		return errNotPermitted
	}
	return fmt.Errorf("%w: %s", errNotPermitted, d.Reason)
}
