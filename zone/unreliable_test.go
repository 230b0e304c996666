package zone_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A link lies between a server and the store. It loses requests and answers, and delays them.
type link struct {
	mu     sync.Mutex
	random *rand.Rand
	faulty bool
	losses bool // if it is faulty; otherwise it only delays
}

// A fate is what becomes of a request.
type fate int

const (
	arrives fate = iota
	isLost
	isLate         // it arrives after the server has given it up
	losesItsAnswer // it arrives, and the server does not learn what came of it
)

func (l *link) setFaulty(faulty, losses bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faulty, l.losses = faulty, losses
}

// request returns what becomes of the next request, and how long it takes.
func (l *link) request() (fate, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.faulty {
		return arrives, 0
	}
	delay := time.Duration(0)
	if l.random.IntN(2) == 0 {
		delay = time.Duration(l.random.IntN(2000)) * time.Microsecond
	}
	switch n := l.random.IntN(100); {
	case !l.losses:
	case n < 3:
		return isLost, delay
	case n < 6:
		return isLate, delay
	case n < 10:
		return losesItsAnswer, delay
	}
	return arrives, delay
}

// breaks reports whether what the store yields to a follower breaks off, and how long the next batch takes.
func (l *link) breaks() (bool, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.faulty {
		return false, 0
	}
	return l.losses && l.random.IntN(50) == 0, time.Duration(l.random.IntN(20)) * time.Millisecond
}

var errLink = fmt.Errorf("%w: the link failed", store.ErrUnknown)

// unreliable is a store behind a link.
type unreliable struct {
	store.Shared
	link *link
	late store.Shared // the same store; late requests must not be in the way of others
	mu   *sync.Mutex  // held while late is used
}

// delay waits, as packets do, and not for anything.
func delay(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (u *unreliable) Propose(ctx context.Context, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	fate, d := u.link.request()
	delay(ctx, d)
	switch fate {
	case isLost:
		return store.Position{}, nil, errLink
	case isLate:
		go func() {
			delay(context.Background(), d)
			u.mu.Lock()
			defer u.mu.Unlock()
			_, _, _ = u.late.Propose(context.Background(), at, b) // nobody waits for the answer
		}()
		return store.Position{}, nil, errLink
	}
	next, missed, err := u.Shared.Propose(ctx, at, b)
	delay(ctx, d)
	if fate == losesItsAnswer {
		return store.Position{}, nil, errLink
	}
	return next, missed, err
}

func (u *unreliable) Confirm(ctx context.Context, at store.Position) ([]store.Committed, error) {
	fate, d := u.link.request()
	delay(ctx, d)
	if fate != arrives {
		return nil, errLink
	}
	missed, err := u.Shared.Confirm(ctx, at)
	delay(ctx, d)
	return missed, err
}

func (u *unreliable) Follow(ctx context.Context, from store.Position) iter.Seq2[store.Committed, error] {
	return func(yield func(store.Committed, error) bool) {
		for c, err := range u.Shared.Follow(ctx, from) {
			broken, d := u.link.breaks()
			delay(ctx, d)
			if broken && err == nil {
				yield(store.Committed{}, store.ErrHistory)
				return
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// Close also closes the second way to the store.
func (u *unreliable) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return errors.Join(u.Shared.Close(), u.late.Close())
}

// withoutBarrier is a mistake: decisions that change nothing are made on an old state.
type withoutBarrier struct{ store.Shared }

func (withoutBarrier) Confirm(context.Context, store.Position) ([]store.Committed, error) {
	return nil, nil
}

// withoutCompare is a mistake: a batch is committed although another server has changed the zone.
type withoutCompare struct{ store.Shared }

func (w withoutCompare) Propose(ctx context.Context, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	for {
		b.Changes = moved(b.Changes, at.Serial)
		next, missed, err := w.Shared.Propose(ctx, at, b)
		if !errors.Is(err, store.ErrConflict) || len(missed) == 0 {
			return next, missed, err
		}
		at = missed[len(missed)-1].Position
	}
}

// moved returns changes as if they began at another serial.
func moved(changes []store.Change, serial uint32) []store.Change {
	list := make([]store.Change, len(changes))
	for i, c := range changes {
		steps := c.To - c.From
		c.From = serial
		serial += steps
		c.To = serial
		list[i] = c
	}
	return list
}

// retriesBlindly is a mistake: what may have been committed is proposed as if it were something new.
type retriesBlindly struct{ store.Shared }

func (r retriesBlindly) Propose(ctx context.Context, at store.Position, b store.Batch) (store.Position, []store.Committed, error) {
	for {
		next, missed, err := r.Shared.Propose(ctx, at, b)
		if !errors.Is(err, store.ErrUnknown) {
			return next, missed, err
		}
	}
}
