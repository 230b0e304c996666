package etcd

import (
	"fmt"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func diverged(format string, args ...any) error {
	return diagnose.WithFix(fmt.Errorf("%w: %s", store.ErrDiverged, fmt.Sprintf(format, args...)),
		"if etcd was restored from a backup, begin a new epoch of the zone, with a serial above all that were served; "+
			"otherwise find out who else writes to these keys")
}

// check compares what the head is with what it should be, for a server that knows the position at. Its errors are
// store.ErrHistory and store.ErrDiverged.
func (h *head) check(at store.Position, revision int64) error {
	known, found := id(at.Batch).epoch(), h.batch.epoch()
	switch {
	case found > known:
		return fmt.Errorf("%w: a new epoch has begun", store.ErrHistory)
	case found < known:
		return diverged("it is in epoch %d, and this server has seen %d", found, known)
	case h.sequence < at.Sequence:
		return diverged("it ends with batch %d, and this server has seen %d", h.sequence, at.Sequence)
	case h.sequence == at.Sequence && h.batch != id(at.Batch):
		return diverged("its batch %d is not the one that this server has seen", h.sequence)
	case revision < at.Revision:
		return diverged("its revision is %d, and this server has seen %d", revision, at.Revision)
	case h.oldest > at.Sequence+1:
		return fmt.Errorf("%w: it begins with batch %d", store.ErrHistory, h.oldest)
	}
	return nil
}

// wiped is for a zone that this server knows and etcd does not.
func wiped() error { return diverged("it does not have the zone at all") }
