package etcd

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestContextsAreBounded: a table that is full takes no more records, and what is there stays.
func TestContextsAreBounded(t *testing.T) {
	table := &Contexts{records: make(map[[32]byte]sealed), known: true, changed: make(chan struct{})}
	expires := time.Now().Add(time.Hour)
	id := func(n int) (id [32]byte) {
		binary.BigEndian.PutUint64(id[:], uint64(n))
		return id
	}
	for n := range MaxContexts {
		table.set(id(n), sealed{record: []byte{1}, expires: expires, revision: 1})
	}
	if added, err := table.Add(t.Context(), id(MaxContexts), []byte{2}, expires); added || !errors.Is(err, errTooManyContexts) {
		t.Errorf("one more: %v, %v", added, err)
	}
	if record, known := table.Find(id(0)); len(record) != 1 || !known {
		t.Errorf("one that is there: %v, %v", record, known)
	}
}

// TestContextsFromBeforeARestore: what a watch still brings when a backup was found to be restored does not make the table known, of
// which nothing was read since.
func TestContextsFromBeforeARestore(t *testing.T) {
	table := &Contexts{
		root: "c/", head: "c", records: make(map[[32]byte]sealed), known: true, revision: 1000,
		changed: make(chan struct{}), outdated: make(chan struct{}, 1),
	}
	var id [32]byte
	put := func(revision int64) {
		table.apply([]*clientv3.Event{{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{
			Key: []byte(table.key(id)), Value: encodeContext([]byte{1}, time.Now().Add(time.Hour)), ModRevision: revision,
		}}})
	}
	put(1001)
	if record, known := table.Find(id); record == nil || !known {
		t.Errorf("before: %v, %v", record, known)
	}
	table.compare(table.newest(), 500)
	put(1002)
	if record, known := table.Find(id); record != nil || known || table.upTo() != 0 {
		t.Errorf("after: %v, %v, up to %d", record, known, table.upTo())
	}
	if len(table.outdated) != 1 {
		t.Error("the table is not read again")
	}
}

// TestOwnContextsFromBeforeARestore: a record that this server has added, and to which the watch has not come, tells of a restored backup
// as well.
func TestOwnContextsFromBeforeARestore(t *testing.T) {
	table := &Contexts{records: make(map[[32]byte]sealed), known: true, revision: 400, changed: make(chan struct{}), outdated: make(chan struct{}, 1)}
	var id [32]byte
	table.set(id, sealed{record: []byte{1}, expires: time.Now().Add(time.Hour), revision: 1000})
	table.compare(table.newest(), 1000)
	if record, known := table.Find(id); record == nil || !known || len(table.outdated) != 0 {
		t.Errorf("nothing was restored: %v, %v", record, known)
	}
	table.compare(table.newest(), 500)
	if record, known := table.Find(id); record != nil || known || len(table.outdated) != 1 {
		t.Errorf("a backup was restored: %v, %v", record, known)
	}
}
