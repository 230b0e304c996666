package etcd

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
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
