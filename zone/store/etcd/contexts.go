package etcd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const (
	contextVersion = 1
	// MaxContexts is how many sealed contexts there may be in a cluster.
	MaxContexts = 200_000
	// MaxContext is how many octets a sealed context may have.
	MaxContext = 64 << 10
)

var (
	errTooManyContexts = fmt.Errorf("store: etcd: there are %d contexts", MaxContexts)
	errContextTime     = errors.New("store: etcd: the time of the context is over")
	errContextSize     = fmt.Errorf("store: etcd: a context has no octets, or more than %d", MaxContext)
)

// Contexts are the sealed contexts that all servers share: a table of octets that are opaque here. Every server
// has an index of it in memory, which a watch keeps. Its methods are safe for concurrent use.
type Contexts struct {
	cluster *Cluster
	head    string // the key that changes with each change of the table
	root    string // of the keys of records

	ctx      context.Context // ends with the cluster
	requests chan *contextRequest
	leases   leases

	mu sync.RWMutex
	// known is set once the table was read; guarded by mu.
	known bool
	// records is the index; guarded by mu.
	records map[[32]byte]sealed
	// revision is up to which the index is complete; guarded by mu.
	revision int64
	// changed is closed when revision or known change; guarded by mu.
	changed chan struct{}
	// outdated holds a value if the table is to be read again.
	outdated chan struct{}
}

// A sealed record, as the index has it. Without octets it is one that this server has removed, until the watch
// has come to that.
type sealed struct {
	record   []byte
	expires  time.Time
	revision int64
}

// live reports whether there is a record whose time is not over.
func (s *sealed) live(now time.Time) bool { return s.record != nil && now.Before(s.expires) }

// Contexts returns the table of contexts. It is read from the first call on, in the background.
func (c *Cluster) Contexts() *Contexts {
	c.starting.Do(func() {
		c.contexts = &Contexts{
			cluster: c, head: c.options.Prefix + "c", root: c.options.Prefix + "c/", ctx: c.ctx,
			requests: make(chan *contextRequest), records: make(map[[32]byte]sealed), changed: make(chan struct{}),
			outdated: make(chan struct{}, 1),
		}
		if c.isClosed() {
			return
		}
		c.running.Go(c.contexts.follow)
		c.running.Go(c.contexts.write)
	})
	return c.contexts
}

func (t *Contexts) key(id [32]byte) string { return t.root + string(id[:]) }

// end is the first key behind the table's.
func (t *Contexts) end() string { return t.head + "0" }

// A value in etcd is when the record's time is over, in seconds of Unix time, and the record.

func encodeContext(record []byte, expires time.Time) []byte {
	value := binary.AppendUvarint([]byte{contextVersion}, uint64(expires.Unix()))
	return append(value, record...)
}

func decodeContext(value []byte) (record []byte, expires time.Time, err error) {
	d := decode(value, contextVersion)
	seconds := d.uvarint(math.MaxInt32 * 8)
	record = d.rest
	if d.err == nil && (len(record) == 0 || len(record) > MaxContext) {
		d.fail(errContextSize)
	}
	return record, time.Unix(int64(seconds), 0), d.err
}

// Find returns the record that this server knows under an id, nil if there is none or its time is over. It does
// not wait. known is false until the table was read for the first time; without a connection the last knowledge
// stays. The octets must not be modified.
func (t *Contexts) Find(id [32]byte) (record []byte, known bool) {
	t.mu.RLock()
	s, known := t.records[id], t.known
	t.mu.RUnlock()
	if !s.live(time.Now()) {
		return nil, known
	}
	return s.record, known
}

// All yields the records that this server knows, in any order. They must not be modified.
func (t *Contexts) All() iter.Seq2[[32]byte, []byte] {
	return func(yield func([32]byte, []byte) bool) {
		t.mu.RLock()
		records := maps.Clone(t.records)
		t.mu.RUnlock()
		now := time.Now()
		for id, s := range records {
			if s.live(now) && !yield(id, s.record) {
				return
			}
		}
	}
}

// Add puts a record under an id until expires, unless one whose time is not over is there: then it returns false.
// All servers agree on who was first. After true, Find has the record here at once, and at others after Sync. After
// an error, the record may be there or may come yet. It fails at once while etcd is known to be out of reach, and
// beyond MaxContexts. Calls at the same time share transactions.
func (t *Contexts) Add(ctx context.Context, id [32]byte, record []byte, expires time.Time) (bool, error) {
	now := time.Now()
	t.mu.RLock()
	s, n := t.records[id], len(t.records)
	t.mu.RUnlock()
	switch {
	case len(record) == 0 || len(record) > MaxContext:
		return false, errContextSize
	case !now.Before(expires):
		return false, errContextTime
	case s.live(now):
		// If it was removed elsewhere a moment ago, the client chooses another name.
		return false, nil
	case n >= MaxContexts:
		return false, errTooManyContexts
	}
	r := &contextRequest{id: id, record: record, expires: expires}
	// A record whose time is over may be there still. It may be replaced by somebody else meanwhile.
	for range 3 {
		a := t.do(ctx, r)
		if a.done || a.err != nil || a.over == 0 {
			return a.done, a.err
		}
		r.revision = a.over
	}
	return false, nil
}

// Remove takes records out, each if it is still that one. After nil, Find does not have them here, and at others
// after Sync. Calls at the same time share transactions.
func (t *Contexts) Remove(ctx context.Context, records map[[32]byte][]byte) error {
	answers := make(chan error, len(records))
	for id, record := range records {
		go func() { answers <- t.remove(ctx, id, record) }()
	}
	var failed error
	for range records {
		if err := <-answers; err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

func (t *Contexts) remove(ctx context.Context, id [32]byte, record []byte) error {
	t.mu.RLock()
	s := t.records[id]
	t.mu.RUnlock()
	if s.record == nil || !bytes.Equal(s.record, record) {
		// The watch is behind, or this server knows a later one.
		answer, err := t.cluster.get(ctx, t.key(id))
		if err != nil {
			return fmt.Errorf("contexts: %w", err)
		}
		if len(answer.Kvs) == 0 {
			return nil
		}
		found, _, err := decodeContext(answer.Kvs[0].Value)
		if err != nil || !bytes.Equal(found, record) {
			return nil
		}
		s.revision = answer.Kvs[0].ModRevision
	}
	return t.do(ctx, &contextRequest{id: id, revision: s.revision}).err
}

// Sync returns nil once Find has all that was added, and has not what was removed, at any server before the call.
// It costs one read of a majority.
func (t *Contexts) Sync(ctx context.Context) error {
	before := t.upTo()
	answer, err := t.cluster.get(ctx, t.head)
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	t.compare(before, answer.Header.Revision)
	revision := int64(0)
	if len(answer.Kvs) > 0 {
		revision = answer.Kvs[0].ModRevision
	}
	for {
		t.mu.RLock()
		ready, changed := t.known && t.revision >= revision, t.changed
		t.mu.RUnlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("store: etcd: contexts: %w", ctx.Err())
		case <-t.ctx.Done():
			return store.ErrClosed
		}
	}
}
