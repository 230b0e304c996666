// Package sharedcontexts is a table of security contexts that several servers of one test
// process share. It satisfies gsstsig.SharedContexts, as a cluster of etcd does.
package sharedcontexts

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Table is what the nodes have in common.
type Table struct {
	mu      sync.Mutex
	records map[[32]byte]entry
	nodes   []*Node
}

type entry struct {
	record  []byte
	expires time.Time
}

// New returns an empty table.
func New() *Table { return &Table{records: make(map[[32]byte]entry)} }

// Len returns the number of records.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.records)
}

// Put replaces a record, as one can who writes the store.
func (t *Table) Put(id [32]byte, record []byte, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records[id] = entry{record, expires}
	t.tell(nil)
}

// Node is a server's view of the table.
type Node struct {
	table *Table
	now   func() time.Time

	// Syncs counts the calls of Sync.
	Syncs atomic.Int64

	mu      sync.Mutex // taken after the table's
	known   map[[32]byte]entry
	behind  bool // it hears of nothing but by Sync and its own work
	cut     bool // the table is out of reach
	lost    bool // what it does is done, but it does not hear so
	unknown bool // it was never read
}

// Node adds a server, with its clock.
func (t *Table) Node(now func() time.Time) *Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &Node{table: t, now: now, known: maps.Clone(t.records)}
	t.nodes = append(t.nodes, n)
	return n
}

// Behind has the node hear of the work of others by Sync alone.
func (n *Node) Behind() { n.set(func() { n.behind = true }) }

// Cut puts the table out of reach of the node, or back into it.
func (n *Node) Cut(cut bool) { n.set(func() { n.cut = cut }) }

// LoseAnswers has the node not learn of what it has done.
func (n *Node) LoseAnswers(lost bool) { n.set(func() { n.lost = lost }) }

// Forget has the node be as one that has not read the table yet.
func (n *Node) Forget() { n.set(func() { n.known, n.unknown = nil, true }) }

func (n *Node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// tell tells all nodes but those behind, and by in any case, what is in the table. The
// table is locked.
func (t *Table) tell(by *Node) {
	for _, n := range t.nodes {
		n.mu.Lock()
		if n == by || !n.behind && !n.cut {
			n.known, n.unknown = maps.Clone(t.records), false
		}
		n.mu.Unlock()
	}
}

// reach waits until ctx is over if the table is out of reach. lost says that the answer
// will be.
func (n *Node) reach(ctx context.Context) (lost bool, err error) {
	n.mu.Lock()
	cut, lost := n.cut, n.lost
	n.mu.Unlock()
	if cut {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return lost, ctx.Err()
}

var errLost = errors.New("the answer of the table was lost")

// Add files a record.
func (n *Node) Add(ctx context.Context, id [32]byte, record []byte, expires time.Time) (bool, error) {
	lost, err := n.reach(ctx)
	if err != nil {
		return false, err
	}
	n.table.mu.Lock()
	defer n.table.mu.Unlock()
	if e, ok := n.table.records[id]; ok && n.now().Before(e.expires) {
		return false, nil
	}
	n.table.records[id] = entry{bytes.Clone(record), expires}
	if lost {
		n.table.tell(nil)
		return false, errLost
	}
	n.table.tell(n)
	return true, nil
}

// Remove takes records out.
func (n *Node) Remove(ctx context.Context, records map[[32]byte][]byte) error {
	lost, err := n.reach(ctx)
	if err != nil {
		return err
	}
	n.table.mu.Lock()
	defer n.table.mu.Unlock()
	for id, record := range records {
		if e, ok := n.table.records[id]; ok && bytes.Equal(e.record, record) {
			delete(n.table.records, id)
		}
	}
	if lost {
		return errLost
	}
	n.table.tell(n)
	return nil
}

// Find returns a record.
func (n *Node) Find(id [32]byte) (record []byte, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.known[id]; ok && n.now().Before(e.expires) {
		record = e.record
	}
	return record, !n.unknown
}

// Sync has the node know the table.
func (n *Node) Sync(ctx context.Context) error {
	n.Syncs.Add(1)
	if _, err := n.reach(ctx); err != nil {
		return err
	}
	n.table.mu.Lock()
	defer n.table.mu.Unlock()
	n.table.tell(n)
	return nil
}

// All yields the records that the node knows.
func (n *Node) All() iter.Seq2[[32]byte, []byte] {
	return func(yield func([32]byte, []byte) bool) {
		n.mu.Lock()
		known := maps.Clone(n.known)
		n.mu.Unlock()
		for id, e := range known {
			if n.now().Before(e.expires) && !yield(id, e.record) {
				return
			}
		}
	}
}
