package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const (
	// probeEvery is how often the head is read, to know whether the zone is the newest.
	probeEvery = time.Second
	// watchPatience is how long what a probe has seen may take to come by the watch.
	watchPatience = time.Second
	// answerPatience is how long the answer to this server's own commit may take once the watch has brought it.
	answerPatience = 50 * time.Millisecond
)

// Follow implements store.Shared. Batches come by a watch, from a member that has a leader. Once a second the head
// is read from a majority. What the watch does not deliver in time is read from the log, and another watch begins.
func (z *Zone) Follow(ctx context.Context, from store.Position) iter.Seq2[store.Committed, error] {
	return func(yield func(store.Committed, error) bool) {
		ctx, leave, err := z.enter(ctx, "follow")
		if err != nil {
			yield(store.Committed{}, err)
			return
		}
		defer leave()
		f := &follower{z: z, ctx: ctx, at: from, yield: yield}
		if err := f.run(); err != nil && !errors.Is(err, errEnough) {
			switch {
			case z.ctx.Err() != nil:
				err = store.ErrClosed
			case ctx.Err() != nil:
				err = fmt.Errorf("store: follow: %w", ctx.Err())
			default:
				err = z.fail("follow", err)
			}
			yield(store.Committed{}, err)
		}
	}
}

// errEnough ends a sequence whose reader has had enough.
var errEnough = errors.New("enough")

type follower struct {
	z     *Zone
	ctx   context.Context
	at    store.Position
	yield func(store.Committed, error) bool

	// newest is what the last probe found, if that was not yielded yet.
	newest *probed
}

// A probed head was the newest at some moment after asked.
type probed struct {
	head     head
	revision int64
	asked    time.Time
	err      error
}

// run returns an error when the sequence ends.
func (f *follower) run() error {
	probes := make(chan probed)
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	// A watch could deliver, from etcd's history, what the log does not have any more, until it is compacted. But a
	// server that is so far behind is to load the zone.
	if err := f.catchUp(); err != nil {
		return err
	}
	go f.probe(ctx, probes)
	for wait := firstWait; ; wait = nextWait(wait) {
		began := time.Now()
		if err := f.watch(probes); err != nil {
			return err
		}
		if time.Since(began) > time.Second {
			wait = firstWait
		}
		if !sleep(f.ctx, wait) {
			return f.ctx.Err()
		}
	}
}

// probe reads the head now and then.
func (f *follower) probe(ctx context.Context, probes chan<- probed) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		p := probed{asked: time.Now()}
		// A majority cannot know less than what somebody was told before.
		known, revision, complete := f.z.history.state()
		h, kv, _, err := f.z.readHead(ctx)
		switch {
		case err != nil:
			p.err = err
		case kv == nil:
			p.err = wiped()
		default:
			p.head, p.revision = *h, kv.ModRevision
			if complete {
				p.err = h.check(known.position(revision), kv.ModRevision)
			}
		}
		select {
		case probes <- p:
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// watch yields what one watch delivers. It returns nil if another watch is to be begun.
func (f *follower) watch(probes <-chan probed) error {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	events, changed, ok := f.z.cluster.members.watch(ctx, f.z.logRoot(), f.z.logEnd(), f.at.Revision+1, clientv3.WithFilterDelete())
	if !ok {
		return nil
	}
	overdue := time.NewTimer(watchPatience)
	overdue.Stop()
	defer overdue.Stop()
	for {
		select {
		case answer, ok := <-events:
			switch {
			case !ok || answer.Canceled || answer.Err() != nil:
				// Compacted, no leader, or the connection is closed.
				return f.catchUp()
			}
			for _, event := range answer.Events {
				if err := f.event(event.Kv); err != nil {
					if errors.Is(err, errGap) {
						return f.catchUp()
					}
					return err
				}
			}
			if f.newest == nil {
				overdue.Stop()
			}
		case p := <-probes:
			if err := f.probed(p); err != nil {
				return err
			}
			if f.newest != nil {
				overdue.Reset(watchPatience)
			}
		case <-overdue.C:
			return f.catchUp()
		case <-changed:
			return nil
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

var errGap = errors.New("gap")

// event yields one entry of the log that the watch has delivered.
func (f *follower) event(kv *mvccpb.KeyValue) error {
	e, err := f.z.entry(kv)
	if err != nil {
		return err
	}
	switch {
	case e.sequence <= f.at.Sequence && e.batch.epoch() == id(f.at.Batch).epoch():
		return nil
	case e.sequence > f.at.Sequence+1 && e.batch.epoch() == id(f.at.Batch).epoch():
		return errGap
	}
	f.awaitAnswer(&e)
	if err := f.deliver(&e); err != nil {
		return err
	}
	return f.heartbeat()
}

// awaitAnswer lets Propose be first with a batch of this server's own: who proposed it has its state already, and its
// client waits.
func (f *follower) awaitAnswer(e *entry) {
	way := f.z.underWay.Load()
	if way == nil || way.batch != e.batch {
		return
	}
	timer := time.NewTimer(answerPatience)
	defer timer.Stop()
	select {
	case <-way.ended:
	case <-timer.C:
	case <-f.ctx.Done():
	}
}

func (f *follower) deliver(e *entry) error {
	if err := e.after(f.at); err != nil {
		return err
	}
	c, err := f.z.committed(e)
	if err != nil {
		return err
	}
	f.z.history.add(e, c.Marks, f.z.lastSOA(c.Changes), f.z.options.CacheOctets)
	f.z.turns.committed(e.server)
	f.at = c.Position
	if !f.yield(c, nil) {
		return errEnough
	}
	return nil
}

// probed takes over what a probe has found. Errors of reading are none: etcd is out of reach.
func (f *follower) probed(p probed) error {
	if p.err != nil {
		if errors.Is(p.err, store.ErrHistory) || errors.Is(p.err, store.ErrDiverged) || errors.Is(p.err, ErrDamaged) {
			return p.err
		}
		return nil
	}
	if p.head.sequence < f.at.Sequence {
		// The watch was faster.
		return nil
	}
	f.newest = &p
	return f.heartbeat()
}

// heartbeat yields that a position was the newest, once all up to it was yielded.
func (f *follower) heartbeat() error {
	p := f.newest
	if p == nil || p.head.sequence > f.at.Sequence {
		return nil
	}
	f.newest = nil
	if p.head.sequence < f.at.Sequence {
		return nil
	}
	if err := p.head.check(f.at, p.revision); err != nil {
		return err
	}
	if !f.yield(store.Committed{Position: f.at, Time: p.asked}, nil) {
		return errEnough
	}
	return nil
}

// catchUp yields what the log has after the position. It returns nil if etcd is out of reach.
func (f *follower) catchUp() error {
	for {
		_, headKey, _, err := f.z.readHead(f.ctx)
		if err != nil {
			return notFatal(f.ctx, err)
		}
		if headKey == nil {
			return wiped()
		}
		h, err := decodeHead(headKey.Value)
		if err != nil {
			return damaged(f.z.headKey(), err)
		}
		if err := h.check(f.at, headKey.ModRevision); err != nil {
			return err
		}
		if h.sequence == f.at.Sequence {
			return f.heartbeat()
		}
		entries, err := f.z.missed(f.ctx, f.at, []*mvccpb.KeyValue{headKey}, nil)
		if err != nil {
			return notFatal(f.ctx, err)
		}
		for i := range entries {
			if err := f.deliver(&entries[i]); err != nil {
				return err
			}
		}
	}
}

// notFatal returns nil for errors after which following goes on.
func notFatal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, store.ErrHistory) || errors.Is(err, store.ErrDiverged) || errors.Is(err, ErrDamaged) {
		return err
	}
	return nil
}
