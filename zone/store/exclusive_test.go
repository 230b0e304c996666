package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A store of one server commits as it does without the adapter, and from the latest position only.
func TestExclusive(t *testing.T) {
	ctx := context.Background()
	s := store.Exclusive(store.NewMemory(store.MemoryOptions{}))
	first, err := s.Init(ctx, store.Contents{Serial: 1, Records: slices.Values([]store.Record{soa(1)})})
	if err != nil || first.Serial != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	c := store.Change{From: 1, To: 2, Removed: []store.Record{soa(1)}, Added: []store.Record{soa(2)}}
	second, missed, err := s.Propose(ctx, first, store.Batch{Changes: []store.Change{c}})
	if err != nil || missed != nil || second.Serial != 2 || second.Sequence != first.Sequence+1 {
		t.Fatalf("%+v, %v, %v", second, missed, err)
	}
	if _, _, err := s.Propose(ctx, first, store.Batch{Changes: []store.Change{c}}); !errors.Is(err, store.ErrHistory) {
		t.Errorf("from the position before: %v", err)
	}
	if _, err := s.Confirm(ctx, first); !errors.Is(err, store.ErrHistory) {
		t.Errorf("the position before: %v", err)
	}
	if _, err := s.Confirm(ctx, second); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Propose(ctx, second, store.Batch{Changes: []store.Change{c}}); !errors.Is(err, store.ErrOrder) {
		t.Errorf("the same again: %v", err)
	}
	for c := range s.Changes(ctx, 1, 2) {
		if c.To != 2 {
			t.Errorf("%+v", c)
		}
	}
	for range s.Follow(ctx, second) {
		t.Error("something to follow")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Propose(ctx, second, store.Batch{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
