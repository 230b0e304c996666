package storetest

import (
	"context"
	"sync"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Faulty is a store whose Commit can be made to fail, or to wait. Everything else is the store's
// that it wraps. Its methods are safe for concurrent use.
type Faulty struct {
	store.Store

	mu      sync.Mutex
	fail    error
	gate    <-chan struct{}
	entered chan<- struct{}
	batches []int
}

// Fail makes Commit return err without doing anything, until it is called with nil.
func (f *Faulty) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// Hold makes Commit send on entered, then wait for gate to be closed, until it is called with nil.
func (f *Faulty) Hold(entered chan<- struct{}, gate <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entered, f.gate = entered, gate
}

// Commits returns the number of changes in each Commit so far.
func (f *Faulty) Commits() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int(nil), f.batches...)
}

// Commit implements store.Store.
func (f *Faulty) Commit(ctx context.Context, changes []store.Change) error {
	f.mu.Lock()
	fail, gate, entered := f.fail, f.gate, f.entered
	f.batches = append(f.batches, len(changes))
	f.mu.Unlock()
	if gate != nil {
		entered <- struct{}{}
		<-gate
	}
	if fail != nil {
		return fail
	}
	return f.Store.Commit(ctx, changes)
}
