package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A Zone is a store.Shared in an etcd cluster.
type Zone struct {
	cluster *Cluster
	origin  string
	apex    string // the same in wire form
	root    string // of its keys
	options ZoneOptions

	history history
	turns   turns
	// lost counts the calls of Confirm in a row that came too late.
	lost atomic.Int32
	// underWay is the batch that Propose has sent, nil if there is none.
	underWay atomic.Pointer[underWay]

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

var _ store.Shared = (*Zone)(nil)

// An underWay is a batch whose outcome Propose waits for.
type underWay struct {
	batch id
	ended chan struct{} // closed when the outcome is known
}

// Zone returns the store of a zone. origin is its name: lower case, absolute, in presentation form. Nothing is
// read or written yet.
func (c *Cluster) Zone(origin string, options ZoneOptions) (*Zone, error) {
	apex, err := dnswire.ParseName(origin, nil)
	if err != nil {
		return nil, fmt.Errorf("store: etcd: origin %q: %w", origin, err)
	}
	z := &Zone{cluster: c, origin: origin, apex: string(dnswire.AppendLower(nil, apex)), root: ZonePrefix(c.options.Prefix, origin), options: options.withDefaults()}
	z.history.changed = make(chan struct{})
	z.ctx, z.cancel = context.WithCancel(c.ctx)
	return z, nil
}

// Close implements store.Shared. It ends Follow.
func (z *Zone) Close() error {
	z.cancel()
	return nil
}

// enter returns a context that ends with ctx or with Close, and store.ErrClosed after Close.
func (z *Zone) enter(ctx context.Context, doing string) (context.Context, context.CancelFunc, error) {
	if z.ctx.Err() != nil {
		return nil, nil, store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("store: %s: %w", doing, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(z.ctx, cancel)
	return ctx, func() { stop(); cancel() }, nil
}

// fail says which zone an error concerns, and that the store is closed if that is the cause.
func (z *Zone) fail(doing string, err error) error {
	if z.ctx.Err() != nil && !errors.Is(err, store.ErrUnknown) {
		return store.ErrClosed
	}
	return fmt.Errorf("%s of zone %s: %w", doing, z.origin, err)
}

// An entry is a batch as the log has it.
type entry struct {
	entryHeader
	revision int64
	size     int    // of the octets
	raw      []byte // the octets, or nil
	// encoded is the value of a key of its marks; nil if it has none, or is not known to.
	encoded []byte
}

func (e *entry) position() store.Position {
	return store.Position{Sequence: e.sequence, Serial: e.to, Epoch: e.batch.epoch(), Revision: e.revision, Batch: e.batch}
}

// entry reads what identifies an entry of the log.
func (z *Zone) entry(kv *mvccpb.KeyValue) (entry, error) {
	sequence, err := z.sequence(z.logRoot(), kv.Key)
	if err != nil {
		return entry{}, err
	}
	h, err := decodeHeader(kv.Value)
	switch {
	case err != nil:
		return entry{}, damaged(string(kv.Key), err)
	case h.sequence != sequence:
		return entry{}, damaged(string(kv.Key), errKey)
	}
	return entry{entryHeader: h, revision: kv.ModRevision, size: len(kv.Value), raw: kv.Value}, nil
}

// committed decodes the whole of an entry.
func (z *Zone) committed(e *entry) (store.Committed, error) {
	_, b, err := decodeEntry(e.raw)
	if err != nil {
		return store.Committed{}, damaged(z.logKey(e.sequence), err)
	}
	return store.Committed{Batch: b, Position: e.position(), Server: e.server, Time: e.time}, nil
}

// after verifies that an entry is the next one after a position.
func (e *entry) after(at store.Position) error {
	switch {
	case e.batch.epoch() != id(at.Batch).epoch():
		return fmt.Errorf("%w: it was begun again", store.ErrHistory)
	case e.sequence != at.Sequence+1:
		return fmt.Errorf("%w: batch %d after %d", store.ErrHistory, e.sequence, at.Sequence)
	case e.before != id(at.Batch) || e.from != at.Serial || e.revision <= at.Revision:
		return diverged("batch %d does not follow the one that this server has", e.sequence)
	}
	return nil
}
