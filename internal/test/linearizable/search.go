package linearizable

import (
	"context"
	"math"
	"slices"

	"github.com/anishathalye/porcupine"
)

// A search looks for an order of the operations of one group whose path is known. Porcupine, which knows nothing of what its
// operations do, may try all orders of those that change nothing. Here it is only tried which of them made each change.
type search struct {
	ctx  context.Context
	path []string
	list []porcupine.Operation
	vain map[situation]bool // those that lead nowhere
}

// A situation is what the rest of a search depends on.
type situation struct {
	at   int
	text string // of the state
	far  string
}

// How far an operation has come. One that can have changed nothing stays for a later change, until what was sent after its
// answer has made one.
const (
	pending byte = iota
	idle         // has a place in the order where it changes nothing
	done         // made a change
)

// ordered reports whether there is an order, or returns an error if ctx ended before one was found.
func ordered(ctx context.Context, path []string, list []porcupine.Operation) (bool, error) {
	s := search{ctx: ctx, path: path, list: list, vain: make(map[situation]bool)}
	return s.from(make([]byte, len(list)), place{state: new(state), path: path})
}

// from goes on where the operations have come so far, which it modifies.
func (s *search) from(far []byte, p place) (bool, error) {
	if err := s.ctx.Err(); err != nil {
		return false, err
	}
	s.settle(far, p)
	if p.at == len(s.path)-1 {
		return s.answered(far) == math.MaxInt64, nil
	}
	now := situation{at: p.at, text: p.text, far: string(far)}
	if s.vain[now] {
		return false, nil
	}
	answered := s.answered(far)
	for i, op := range s.list {
		if far[i] == done || op.Call > answered {
			continue
		}
		ok, after := step(p, op.Input, op.Output)
		if !ok || after.(place).at == p.at {
			continue
		}
		if then := s.change(far, i); then != nil {
			if found, err := s.from(then, after.(place)); found || err != nil {
				return found, err
			}
		}
	}
	s.vain[now] = true
	return false, nil
}

// settle finds the pending operations that can be done here and change nothing.
func (s *search) settle(far []byte, p place) {
	for again := true; again; {
		again = false
		answered := s.answered(far)
		for i, op := range s.list {
			if far[i] != pending || op.Call > answered || op.Output.(output).rcode == Unknown {
				continue
			}
			if ok, after := step(p, op.Input, op.Output); ok && after.(place).at == p.at {
				far[i], again = idle, true
			}
		}
	}
}

// change returns how far the operations are once one makes a change, nil if it cannot because what was sent after its answer
// made one before. If it had a place before, what was sent after its answer loses its own.
func (s *search) change(far []byte, maker int) []byte {
	then := slices.Clone(far)
	then[maker] = done
	for i, op := range s.list {
		if op.Call > s.list[maker].Return {
			switch far[i] {
			case done:
				return nil
			case idle:
				then[i] = pending
			}
		}
	}
	return then
}

// answered is when the first of the pending operations was answered. What was sent later comes after it.
func (s *search) answered(far []byte) int64 {
	first := int64(math.MaxInt64)
	for i, op := range s.list {
		if far[i] == pending {
			first = min(first, op.Return)
		}
	}
	return first
}
