package etcd

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// set takes one record over into the index, unless what is there is newer.
func (t *Contexts) set(id [32]byte, s sealed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(id, s)
}

// put is set with mu held.
func (t *Contexts) put(id [32]byte, s sealed) {
	if s.revision < t.records[id].revision {
		return
	}
	if s.record == nil && s.revision <= t.revision {
		delete(t.records, id)
		return
	}
	t.records[id] = s
}

// follow keeps the index.
func (t *Contexts) follow() {
	for wait := firstWait; ; wait = nextWait(wait) {
		began := time.Now()
		if err := t.read(); err == nil {
			for t.watch() {
			}
		}
		if time.Since(began) > time.Second {
			wait = firstWait
		}
		if !sleep(t.ctx, wait) {
			return
		}
	}
}

// read reads the whole table.
func (t *Contexts) read() error {
	before := t.newest()
	answer, err := t.cluster.get(t.ctx, t.head)
	if err != nil {
		return err
	}
	revision := answer.Header.Revision
	t.compare(before, revision)
	records := make(map[[32]byte]sealed)
	err = t.cluster.pages(t.ctx, t.root, t.end(), revision, func(kv *mvccpb.KeyValue) error {
		if id, s, ok := t.record(kv); ok {
			records[id] = s
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, s := range t.records {
		if s.revision > revision {
			records[id] = s
		}
	}
	t.records = records
	t.advance(revision)
	select {
	case <-t.outdated:
	default:
	}
	return nil
}

// record decodes a record of the table. What is not valid is told of and left out: it harms one context.
func (t *Contexts) record(kv *mvccpb.KeyValue) (id [32]byte, s sealed, ok bool) {
	if len(kv.Key) != len(t.root)+len(id) {
		t.cluster.options.Log(fmt.Sprintf("etcd: %v", damaged(string(kv.Key), errKey)))
		return id, s, false
	}
	copy(id[:], kv.Key[len(t.root):])
	record, expires, err := decodeContext(kv.Value)
	if err != nil {
		t.cluster.options.Log(fmt.Sprintf("etcd: %v", damaged(string(kv.Key), err)))
		return id, s, false
	}
	return id, sealed{record: record, expires: expires, revision: kv.ModRevision}, true
}

// advance is called with mu held.
func (t *Contexts) advance(revision int64) {
	t.known, t.revision = true, revision
	close(t.changed)
	t.changed = make(chan struct{})
}

// upTo returns the revision up to which the index is complete.
func (t *Contexts) upTo() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.revision
}

// newest returns the highest revision that this server knows: its own records are in the index before the watch is.
func (t *Contexts) newest() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.latest()
}

// latest is newest with mu held.
func (t *Contexts) latest() int64 {
	latest := t.revision
	for _, s := range t.records {
		latest = max(latest, s.revision)
	}
	return latest
}

// compare has the table read again if etcd's revision is lower than one that was known before it was asked: a backup
// was restored. A watch would be silent until etcd comes to revisions that this server has not seen. What was known
// counts no more.
func (t *Contexts) compare(before, revision int64) {
	if revision >= before {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.latest() <= revision {
		return // it was read meanwhile
	}
	t.known, t.revision, t.records = false, 0, make(map[[32]byte]sealed)
	select {
	case t.outdated <- struct{}{}:
	default: // it is told already
	}
}

// watch follows one watch. It reports whether another one may go on where this one ends; the table is read again
// otherwise.
func (t *Contexts) watch() bool {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	t.mu.RLock()
	revision := t.revision
	t.mu.RUnlock()
	events, changed, ok := t.cluster.members.watch(ctx, t.head, t.end(), revision+1)
	if !ok {
		return sleep(t.ctx, firstWait)
	}
	for {
		select {
		case answer, ok := <-events:
			if !ok || answer.Canceled || answer.Err() != nil {
				return false
			}
			t.apply(answer.Events)
		case <-t.outdated:
			return false
		case <-changed:
			return true
		case <-t.ctx.Done():
			return false
		}
	}
}

// apply takes events of the watch over into the index.
func (t *Contexts) apply(events []*clientv3.Event) {
	if len(events) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known {
		return // from before a backup was restored; the table is read again
	}
	for _, e := range events {
		if string(e.Kv.Key) == t.head {
			continue
		}
		if e.Type == clientv3.EventTypePut {
			if id, s, ok := t.record(e.Kv); ok {
				t.put(id, s)
			}
			continue
		}
		var id [32]byte
		if len(e.Kv.Key) == len(t.root)+len(id) {
			copy(id[:], e.Kv.Key[len(t.root):])
			if t.records[id].revision <= e.Kv.ModRevision {
				delete(t.records, id)
			}
		}
	}
	t.advance(events[len(events)-1].Kv.ModRevision)
}
