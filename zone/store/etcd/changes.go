package etcd

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// read returns one or more batches of the log, from first to last at most.
func (z *Zone) read(ctx context.Context, first, last uint64) ([]store.Batch, error) {
	const most = 64
	last = min(last, first+most-1)
	var list []store.Batch
	for sequence := first; sequence <= last; sequence++ {
		raw := z.history.raw(sequence)
		if raw == nil {
			break
		}
		_, b, err := decodeEntry(raw)
		if err != nil {
			return nil, damaged(z.logKey(sequence), err)
		}
		list = append(list, b)
	}
	if len(list) > 0 {
		return list, nil
	}
	answer, err := z.cluster.getWithin(ctx, pageTimeout, pagesTimeout, z.logKey(first), clientv3.WithRange(z.logKey(last+1)), clientv3.WithLimit(maxMissed))
	if err != nil {
		return nil, err
	}
	for i, kv := range answer.Kvs {
		b, err := z.logged(kv, first+uint64(i))
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: dropped meanwhile", store.ErrHistory)
	}
	return list, nil
}

func (z *Zone) logged(kv *mvccpb.KeyValue, sequence uint64) (store.Batch, error) {
	if string(kv.Key) != z.logKey(sequence) {
		return store.Batch{}, fmt.Errorf("%w: dropped meanwhile", store.ErrHistory)
	}
	_, b, err := decodeEntry(kv.Value)
	if err != nil {
		return store.Batch{}, damaged(string(kv.Key), err)
	}
	return b, nil
}

// transferred returns the changes of a batch that have a serial of their own, as transfers and the log have them.
func transferred(b *store.Batch) []store.Change {
	var list []store.Change
	for _, c := range b.Changes {
		if c.From != c.To {
			c.Refreshed, c.Owners, c.Disowned = nil, nil, nil
			list = append(list, c)
		}
	}
	return list
}

// Changes implements store.Shared. Batches that are not in memory are read from etcd.
func (z *Zone) Changes(ctx context.Context, from, to uint32) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		if err := z.changes(ctx, from, to, yield); err != nil {
			yield(store.Change{}, err)
		}
	}
}

func (z *Zone) changes(ctx context.Context, from, to uint32, yield func(store.Change, error) bool) error {
	ctx, leave, err := z.enter(ctx, "changes")
	if err != nil {
		return err
	}
	defer leave()
	if from == to {
		return nil
	}
	if err := z.ensure(ctx); err != nil {
		return z.fail("changes", err)
	}
	outOfReach := fmt.Errorf("%w: from %d to %d", store.ErrHistory, from, to)
	first, last, ok := z.history.between(from, to)
	if !ok {
		return outOfReach
	}
	// Either serial may be within a batch, and then a change has to begin or end with it.
	begun := false
	for at := first; at <= last; {
		list, err := z.read(ctx, at, last)
		if err != nil {
			return z.fail("changes", err)
		}
		for i := range list {
			changes := transferred(&list[i])
			if at+uint64(i) == last {
				end := slices.IndexFunc(changes, func(c store.Change) bool { return c.To == to })
				if end < 0 {
					return outOfReach
				}
				changes = changes[:end+1]
			}
			if !begun {
				start := slices.IndexFunc(changes, func(c store.Change) bool { return c.From == from })
				if start < 0 {
					return outOfReach
				}
				changes, begun = changes[start:], true
			}
			for _, c := range changes {
				if err := ctx.Err(); err != nil {
					return z.fail("changes", err)
				}
				if !yield(c, nil) {
					return nil
				}
			}
		}
		at += uint64(len(list))
	}
	return nil
}

// Log implements store.Shared. Batches that are not in memory are read from etcd.
func (z *Zone) Log(ctx context.Context) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		if err := z.backward(ctx, yield); err != nil {
			yield(store.Change{}, err)
		}
	}
}

func (z *Zone) backward(ctx context.Context, yield func(store.Change, error) bool) error {
	ctx, leave, err := z.enter(ctx, "log")
	if err != nil {
		return err
	}
	defer leave()
	if err := z.ensure(ctx); err != nil {
		return z.fail("log", err)
	}
	h, _, known := z.history.state()
	if !known {
		return nil
	}
	const most = 16
	for end := h.sequence; end >= h.oldest; {
		if now, _, _ := z.history.state(); now.oldest > end {
			return nil // dropped meanwhile
		}
		start := max(h.oldest, end-min(end, most-1))
		var list []store.Batch
		for at := start; at <= end; {
			part, err := z.read(ctx, at, end)
			if err != nil {
				return z.fail("log", err)
			}
			list, at = append(list, part...), at+uint64(len(part))
		}
		for i := range slices.Backward(list) {
			for _, c := range slices.Backward(transferred(&list[i])) {
				if err := ctx.Err(); err != nil {
					return z.fail("log", err)
				}
				if !yield(c, nil) {
					return nil
				}
			}
		}
		end = start - 1
	}
	return nil
}
