package zone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// retryInterval is how long Writable keeps to an answer before it asks the store again.
const retryInterval = time.Second

// noteCommit notes how a commit ended. A conflict, or a batch that is too large, says nothing about
// whether the store works. The caller holds z.writing.
func (z *Zone) noteCommit(err error) {
	switch {
	case errors.Is(err, store.ErrTooLarge):
		return
	case errors.Is(err, store.ErrDiverged):
		z.diverge(err)
	}
	if err == nil || isConflict(err) {
		if z.failing.Load() != nil {
			z.failing.Store(nil)
		}
		return
	}
	z.failing.Store(&err)
	z.failedAt = z.elapsed()
}

// Writable returns why the store takes no updates, nil if it does: the error of its last commit, or
// that of Diverged. If the last commit failed, Writable makes one that changes nothing, once a second at
// most, and returns how that ended: so a store that works again is known before the next update comes.
// It may wait for the store.
func (z *Zone) Writable() error {
	if err := z.Diverged(); err != nil {
		return err
	}
	last := z.failing.Load()
	if last == nil {
		return nil
	}
	if !z.writing.TryLock() {
		return *last // the next commit is on its way
	}
	defer z.endWriting()
	select {
	case <-z.closing:
		return ErrClosed
	default:
	}
	if z.elapsed()-z.failedAt < retryInterval {
		return *last
	}
	if err := z.probe(); err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	return nil
}

// probe has the store commit something that changes nothing. The caller holds z.writing.
func (z *Zone) probe() error {
	if z.shared {
		ctx, cancel := context.WithTimeout(context.Background(), settleTime)
		defer cancel()
		if _, err := z.confirm(ctx, z.Snapshot().position); !isConflict(err) {
			return err
		}
		return nil
	}
	b := transaction{zone: z, state: z.Snapshot(), first: -1}
	b.at = b.state.position
	b.changes = []store.Change{{From: b.state.serial, To: b.state.serial}}
	_, err := b.propose(context.Background(), new(Commit))
	return err
}
