package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Load implements store.Shared. It reads the names page by page as they were at one revision. If etcd compacts its
// history meanwhile, it fails and may be called again, with another visitor. It also reads the whole log
// and the marks that are kept apart from it.
func (z *Zone) Load(ctx context.Context, v store.SharedVisitor) (at store.Position, found bool, err error) {
	ctx, leave, err := z.enter(ctx, "load")
	if err != nil {
		return at, false, err
	}
	defer leave()
	if err := z.cluster.requireVersion(ctx); err != nil {
		return at, false, z.fail("load", err)
	}
	before := z.history.position()
	h, kv, revision, err := z.readHead(ctx)
	if err != nil {
		return at, false, z.fail("load", err)
	}
	if kv == nil {
		return at, false, nil
	}
	if h.frozen != (store.Freeze{}) {
		if err := v.Frozen(h.frozen); err != nil {
			return at, true, err
		}
	}
	if h.soa.Name != "" {
		if err := v.Record(h.soa); err != nil {
			return at, true, err
		}
	}
	visit := func(marks []store.Mark) error {
		for _, mark := range marks {
			if err := v.Mark(mark); err != nil {
				return &visitorError{err}
			}
		}
		return nil
	}
	entries, marked, err := z.readLog(ctx, h, revision, visit)
	if err == nil {
		err = z.cluster.pages(ctx, z.nameRoot(), clientv3.GetPrefixRangeEnd(z.nameRoot()), revision, func(kv *mvccpb.KeyValue) error {
			name, err := z.name(kv.Key)
			if err != nil {
				return err
			}
			broken, err := visitName(name, kv.Value, v)
			switch {
			case err != nil:
				return &visitorError{err}
			case broken != nil:
				return damaged(string(kv.Key), broken)
			}
			return nil
		})
	}
	var visitor *visitorError
	switch {
	case errors.As(err, &visitor):
		return at, true, visitor.error
	case err != nil:
		return at, true, z.fail("load", err)
	}
	z.history.replace(before, *h, kv.ModRevision, entries, marked, z.options.CacheOctets)
	return h.position(kv.ModRevision), true, nil
}

// A visitorError is one that a visitor returned.
type visitorError struct{ error }

func (h *head) position(revision int64) store.Position {
	return store.Position{Sequence: h.sequence, Serial: h.serial, Epoch: h.batch.epoch(), Revision: revision, Batch: h.batch}
}

// readHead reads the head, and the revision at which it was read. kv is nil if there is none.
func (z *Zone) readHead(ctx context.Context) (*head, *mvccpb.KeyValue, int64, error) {
	answer, err := z.cluster.get(ctx, z.headKey())
	if err != nil || len(answer.Kvs) == 0 {
		return nil, nil, 0, err
	}
	h, err := decodeHead(answer.Kvs[0].Value)
	if err != nil {
		return nil, nil, 0, damaged(z.headKey(), err)
	}
	return &h, answer.Kvs[0], answer.Header.Revision, nil
}

// readLog reads the log at a revision and verifies that it is a chain that ends at the head. visit sees the marks of
// the log, and those that are kept of batches before it. marked are the sequences whose marks are kept apart.
func (z *Zone) readLog(ctx context.Context, h *head, revision int64, visit func([]store.Mark) error) (entries []entry, marked map[uint64]bool, err error) {
	marked = make(map[uint64]bool)
	err = z.cluster.pages(ctx, z.marksKey(h.marks), z.marksKey(h.oldest), revision, func(kv *mvccpb.KeyValue) error {
		sequence, err := z.sequence(z.marksRoot(), kv.Key)
		if err != nil {
			return err
		}
		marks, err := decodeMarks(kv.Value)
		if err != nil {
			return damaged(string(kv.Key), err)
		}
		marked[sequence] = true
		return visit(marks)
	})
	if err != nil {
		return nil, nil, err
	}
	held, forgotten := int64(0), 0
	err = z.cluster.pages(ctx, z.logRoot(), z.logEnd(), revision, func(kv *mvccpb.KeyValue) error {
		e, err := z.entry(kv)
		if err != nil {
			return err
		}
		switch n := len(entries); {
		case e.sequence < h.oldest:
			// Left by a committer that removes what it trims later.
			return nil
		case e.sequence != h.oldest+uint64(n) || n > 0 && (e.before != entries[n-1].batch || e.from != entries[n-1].to):
			return damaged(string(kv.Key), errChain)
		}
		_, b, err := decodeEntry(kv.Value)
		if err != nil {
			return damaged(string(kv.Key), err)
		}
		if len(b.Marks) > 0 {
			e.encoded = appendMarks([]byte{marksVersion}, b.Marks)
		}
		entries = append(entries, e)
		// What the cache will not have need not be held until the end.
		for held += int64(len(kv.Value)); held > z.options.CacheOctets; forgotten++ {
			held -= int64(entries[forgotten].size)
			entries[forgotten].raw = nil
		}
		return visit(b.Marks)
	})
	if err != nil {
		return nil, nil, err
	}
	if n := len(entries); uint64(n) != h.sequence+1-h.oldest || n > 0 && (entries[n-1].batch != h.batch || entries[n-1].to != h.serial) {
		return nil, nil, damaged(z.headKey(), errChain)
	}
	return entries, marked, nil
}

var errChain = errors.New("does not fit the log")

// pages hands all keys from start up to end, as they were at a revision, to visit. The next page is read
// meanwhile.
func (c *Cluster) pages(ctx context.Context, start, end string, revision int64, visit func(*mvccpb.KeyValue) error) error {
	const (
		octets    = 1 << 20 // about how many a page has
		fewest    = 16
		most      = 10_000
		firstPage = 500
	)
	type page struct {
		kvs []*mvccpb.KeyValue
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan page, 1)
	go func() {
		defer close(ready)
		limit := firstPage
		for more := true; more; {
			answer, err := c.getWithin(ctx, pageTimeout, pagesTimeout, start,
				clientv3.WithRange(end), clientv3.WithRev(revision), clientv3.WithLimit(int64(limit)))
			var p page
			switch {
			case errors.Is(err, rpctypes.ErrCompacted):
				p.err = diagnose.WithFix(fmt.Errorf("etcd has compacted the revision that is being read: %w", err),
					"let etcd keep its history for some minutes: --auto-compaction-mode=periodic --auto-compaction-retention=10m")
			case err != nil:
				p.err = err
			default:
				p.kvs, more = answer.Kvs, answer.More
			}
			select {
			case ready <- p:
			case <-ctx.Done():
				return
			}
			if err != nil || len(p.kvs) == 0 {
				return
			}
			size := 1
			for _, kv := range p.kvs {
				size += len(kv.Key) + len(kv.Value)
			}
			start = string(p.kvs[len(p.kvs)-1].Key) + "\x00"
			limit = min(max(limit*octets/size, fewest), 2*limit, most)
		}
	}()
	for p := range ready {
		if p.err != nil {
			return p.err
		}
		for _, kv := range p.kvs {
			if err := visit(kv); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// ensure reads the index of the log unless it is known.
func (z *Zone) ensure(ctx context.Context) error {
	if _, _, known := z.history.state(); known {
		return nil
	}
	before := z.history.position()
	h, kv, revision, err := z.readHead(ctx)
	if err != nil || kv == nil {
		return err
	}
	entries, marked, err := z.readLog(ctx, h, revision, func([]store.Mark) error { return nil })
	if err != nil {
		return err
	}
	z.history.replace(before, *h, kv.ModRevision, entries, marked, z.options.CacheOctets)
	return nil
}
