package zone

import (
	"context"
	"fmt"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// retryInterval is how long Writable keeps to an answer before it asks the store again.
const retryInterval = time.Second

// noteCommit notes how a commit ended. The caller holds z.writing.
func (z *Zone) noteCommit(err error) {
	if err == nil {
		if z.failing.Load() != nil {
			z.failing.Store(nil)
		}
		return
	}
	z.failing.Store(&err)
	z.failedAt = z.elapsed()
}

// Writable returns why the store takes no updates, nil if it does: the error of its last commit. If
// that failed, Writable makes one that changes nothing, once a second at most, and returns how that
// ended: so a store that works again is known before the next update comes. It may wait for the
// store.
func (z *Zone) Writable() error {
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
	serial := z.Snapshot().serial
	err := z.store.Commit(context.Background(), []store.Change{{From: serial, To: serial}})
	z.noteCommit(err)
	if err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	return nil
}
