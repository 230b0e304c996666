package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const (
	// maxGroup is how many records one transaction adds or removes.
	maxGroup = 64
	// maxGroups is how many transactions are under way at once.
	maxGroups = 4
	// maxWaiting is how many requests wait for a transaction. The others wait in their callers.
	maxWaiting = 64 * maxGroup
)

// A contextRequest is one record to add, or to remove.
type contextRequest struct {
	ctx context.Context
	id  [32]byte
	// record is what to add; nil removes.
	record  []byte
	expires time.Time
	// revision is that of the record to replace or to remove; 0 adds where there is none.
	revision int64
	answer   chan contextAnswer // takes one
}

// A contextAnswer tells what became of a request.
type contextAnswer struct {
	done bool
	// over is the revision of a record that is in the way and whose time is over.
	over int64
	err  error
}

// do hands a request to the writer and waits for its answer.
func (t *Contexts) do(ctx context.Context, r *contextRequest) contextAnswer {
	if cause := t.cluster.members.outOfReach(); cause != nil {
		return contextAnswer{err: t.cluster.explain(cause)}
	}
	r.ctx, r.answer = ctx, make(chan contextAnswer, 1)
	requests := t.requests
	for {
		select {
		case requests <- r:
			requests = nil
		case a := <-r.answer:
			return a
		case <-ctx.Done():
			return contextAnswer{err: fmt.Errorf("store: etcd: contexts: %w", ctx.Err())}
		case <-t.ctx.Done():
			return contextAnswer{err: store.ErrClosed}
		}
	}
}

// write groups requests into transactions: those that come while as many as may be are under way.
func (t *Contexts) write() {
	var running sync.WaitGroup
	defer running.Wait()
	busy := make(chan struct{}, maxGroups)
	var waiting []*contextRequest
	for {
		var free chan struct{}
		if len(waiting) > 0 {
			free = busy
		}
		requests := t.requests
		if len(waiting) >= maxWaiting {
			requests = nil
		}
		select {
		case r := <-requests:
			waiting = append(waiting, r)
			continue
		case free <- struct{}{}:
		case <-t.ctx.Done():
			return
		}
		var group []*contextRequest
		group, waiting = nextGroup(waiting)
		running.Go(func() {
			defer func() { <-busy }()
			t.commit(group)
		})
	}
}

// nextGroup takes off requests for one transaction, in which no two may have the same id.
func nextGroup(waiting []*contextRequest) (group, rest []*contextRequest) {
	ids := make(map[[32]byte]bool)
	octets := 0
	for _, r := range waiting {
		switch {
		case r.ctx.Err() != nil:
			// Nobody waits for it.
			continue
		case len(group) == maxGroup || ids[r.id] || octets > maxRequest/2:
			rest = append(rest, r)
		default:
			group = append(group, r)
			octets += len(r.record)
		}
		ids[r.id] = true // requests for one id stay in their order
	}
	return group, rest
}

// commit does a group of requests in one transaction, each of them by itself.
func (t *Contexts) commit(group []*contextRequest) {
	if len(group) == 0 {
		return
	}
	before := t.upTo()
	answer, err := t.transaction(group)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		// Nothing was done. etcd was restored, or a clock has moved.
		t.leases.forget()
		answer, err = t.transaction(group)
	}
	if err != nil {
		err = fmt.Errorf("contexts: %w", t.cluster.explain(err))
	} else {
		t.compare(before, answer.Header.Revision)
	}
	for i, r := range group {
		if err != nil {
			r.answer <- contextAnswer{err: err}
			continue
		}
		r.answer <- t.outcome(r, answer.Responses[i].GetResponseTxn(), answer.Header.Revision)
	}
}

func (t *Contexts) transaction(group []*contextRequest) (answer *clientv3.TxnResponse, err error) {
	var operations []clientv3.Op
	for _, r := range group {
		key := t.key(r.id)
		put := clientv3.OpDelete(key)
		if r.record != nil {
			lease, err := t.leases.until(t.ctx, t.cluster, r.expires)
			if err != nil {
				return nil, err
			}
			put = clientv3.OpPut(key, string(encodeContext(r.record, r.expires)), clientv3.WithLease(lease))
		}
		operations = append(operations, clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", r.revision)},
			[]clientv3.Op{put}, []clientv3.Op{clientv3.OpGet(key)}))
	}
	operations = append(operations, clientv3.OpPut(t.head, ""))
	err = t.cluster.members.attempt(t.ctx, func(ctx context.Context, client *clientv3.Client) (err error) {
		answer, err = client.Txn(ctx).Then(operations...).Commit()
		return err
	})
	return answer, err
}

// outcome takes over into the index what became of a request.
func (t *Contexts) outcome(r *contextRequest, answer *pb.TxnResponse, revision int64) contextAnswer {
	if answer.GetSucceeded() {
		t.set(r.id, sealed{record: r.record, expires: r.expires, revision: revision})
		return contextAnswer{done: true}
	}
	kvs := answer.GetResponses()[0].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		// It was removed between two attempts to add. The caller tries again; who removes has nothing to do.
		return contextAnswer{done: r.record == nil}
	}
	record, expires, err := decodeContext(kvs[0].Value)
	if err != nil {
		return contextAnswer{err: damaged(string(kvs[0].Key), err)}
	}
	found := sealed{record: record, expires: expires, revision: kvs[0].ModRevision}
	t.set(r.id, found)
	switch {
	case r.record == nil:
		return contextAnswer{done: true}
	case bytes.Equal(record, r.record):
		// etcd's client has repeated the request by itself.
		return contextAnswer{done: true}
	case !found.live(time.Now()):
		return contextAnswer{over: found.revision}
	}
	return contextAnswer{}
}

// leases are those of contexts: one for all whose time is over in the same minute.
type leases struct {
	mu sync.Mutex
	// granted has the leases by minute of Unix time; guarded by mu.
	granted map[int64]clientv3.LeaseID
}

// until returns a lease that ends at least a minute after expires, so that clocks need not agree.
func (l *leases) until(ctx context.Context, c *Cluster, expires time.Time) (clientv3.LeaseID, error) {
	minute := expires.Unix()/60 + 2
	l.mu.Lock()
	defer l.mu.Unlock()
	if lease, ok := l.granted[minute]; ok {
		return lease, nil
	}
	now := time.Now().Unix()
	for past := range l.granted {
		if past*60 < now {
			delete(l.granted, past)
		}
	}
	var lease clientv3.LeaseID
	err := c.members.attempt(ctx, func(ctx context.Context, client *clientv3.Client) error {
		answer, err := client.Grant(ctx, minute*60-now)
		if err == nil {
			lease = answer.ID
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if l.granted == nil {
		l.granted = make(map[int64]clientv3.LeaseID)
	}
	l.granted[minute] = lease
	return lease, nil
}

func (l *leases) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.granted = nil
}
