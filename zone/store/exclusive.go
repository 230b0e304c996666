package store

import (
	"context"
	"fmt"
	"iter"
)

// Exclusive returns s as a Shared store, so that a zone has one way to change what it keeps. Propose is
// Commit, Confirm asks nobody, and Follow yields nothing, since nobody else changes the store. Marks and
// Frozen of a Batch are not kept.
func Exclusive(s Store) Shared { return &exclusive{store: s} }

type exclusive struct {
	store Store
	at    Position // after the last Load, Init or Propose
}

var _ Shared = (*exclusive)(nil)

// Load implements Shared.
func (e *exclusive) Load(ctx context.Context, v SharedVisitor) (Position, bool, error) {
	serial, found, err := e.store.Load(ctx, v)
	if err != nil || !found {
		return Position{}, found, err
	}
	e.at.Serial = serial
	return e.at, true, nil
}

// Init implements Shared.
func (e *exclusive) Init(ctx context.Context, c Contents) (Position, error) {
	if err := e.store.Init(ctx, c); err != nil {
		return Position{}, err
	}
	e.at.Serial = c.Serial
	return e.at, nil
}

// Propose implements Shared.
func (e *exclusive) Propose(ctx context.Context, at Position, b Batch) (Position, []Committed, error) {
	if err := e.is(at); err != nil {
		return Position{}, nil, err
	}
	if err := e.store.Commit(ctx, b.Changes); err != nil {
		return Position{}, nil, err
	}
	e.at.Sequence++
	if n := len(b.Changes); n > 0 {
		e.at.Serial = b.Changes[n-1].To
	}
	return e.at, nil, nil
}

// Confirm implements Shared.
func (e *exclusive) Confirm(_ context.Context, at Position) ([]Committed, error) {
	return nil, e.is(at)
}

// is returns ErrHistory if the store is at another position: there is no log of batches.
func (e *exclusive) is(at Position) error {
	if at != e.at {
		return fmt.Errorf("%w: at batch %d, not %d", ErrHistory, e.at.Sequence, at.Sequence)
	}
	return nil
}

// Follow implements Shared.
func (e *exclusive) Follow(context.Context, Position) iter.Seq2[Committed, error] {
	return func(func(Committed, error) bool) {}
}

// Changes implements Shared.
func (e *exclusive) Changes(ctx context.Context, from, to uint32) iter.Seq2[Change, error] {
	return e.store.Changes(ctx, from, to)
}

// Log implements Shared.
func (e *exclusive) Log(ctx context.Context) iter.Seq2[Change, error] { return e.store.Log(ctx) }

// Close implements Shared.
func (e *exclusive) Close() error { return e.store.Close() }
