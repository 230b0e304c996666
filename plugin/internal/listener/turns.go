package listener

import (
	"container/list"
	"context"
	"sync"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// turns bounds how many answers to queries by TCP are made at a time, and has the sources of those that wait take turns. Without it,
// a source with many connections that ask for large answers without waiting for them would have as many goroutines run as it has
// connections, and each step of another client's request would wait for all of these. It is safe for concurrent use.
//
// A turn that ends goes to another source, if one waits, or else is free, and a request that waits is woken. The goroutine whose
// turn has ended often begins the next one first, which costs less: for the goroutines of a source's connections to relieve each
// other with each request takes half as long again as a small answer does. What was woken for nothing gets the next turn.
type turns struct {
	mu    sync.Mutex
	free  int
	lines map[ratelimit.Key]*list.Element // of order, by source
	order list.List                       // *turnLine, the source whose turn is next first
	woken *turnRequest                    // it will see if a turn is free; nil if none does
}

// turnLine is the requests of one source that wait, at least one.
type turnLine struct {
	source   ratelimit.Key
	requests []*turnRequest
}

// turnRequest is a request that waits.
type turnRequest struct {
	wake   chan struct{} // closed when it has a turn
	given  bool
	passed bool // it was woken for nothing
}

func newTurns(atOnce int) *turns {
	return &turns{free: atOnce, lines: make(map[ratelimit.Key]*list.Element)}
}

// acquire waits for a turn of the source; release must follow.
func (t *turns) acquire(source ratelimit.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return
	}
	r := &turnRequest{wake: make(chan struct{}, 1)}
	e := t.lines[source]
	if e == nil {
		e = t.order.PushBack(&turnLine{source: source})
		t.lines[source] = e
	}
	line := e.Value.(*turnLine)
	line.requests = append(line.requests, r)
	for !r.given {
		t.mu.Unlock()
		<-r.wake
		t.mu.Lock()
		if t.woken != r {
			continue
		}
		t.woken = nil
		if r.passed = t.free == 0; !r.passed {
			t.free--
			t.give(e)
			t.wakeNext()
		}
	}
}

// release ends a turn of the source.
func (t *turns) release(source ratelimit.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.order.Front()
	if next != nil && next.Value.(*turnLine).source == source && next.Next() != nil {
		next = next.Next()
	}
	if next != nil {
		if line := next.Value.(*turnLine); line.source != source || line.requests[0].passed {
			t.give(next)
			return
		}
	}
	t.free++
	t.wakeNext()
}

// give gives a turn to the first request of a line.
func (t *turns) give(e *list.Element) {
	line := e.Value.(*turnLine)
	r := line.requests[0]
	r.given = true
	if t.woken == r {
		t.woken = nil
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	if line.requests = line.requests[1:]; len(line.requests) > 0 {
		t.order.MoveToBack(e)
	} else {
		t.order.Remove(e)
		delete(t.lines, line.source)
	}
}

// wakeNext wakes the request that is next, if a turn is free and none is awake.
func (t *turns) wakeNext() {
	if e := t.order.Front(); e != nil && t.free > 0 && t.woken == nil {
		t.woken = e.Value.(*turnLine).requests[0]
		t.woken.wake <- struct{}{}
	}
}

// fewRecords is how many records are packed without a turn, which takes about as long as to wait for one.
const fewRecords = 32

// beginTurn waits until an answer with so many records may be packed, if it is one to a query by TCP. The caller holds w.mu.
func (w *responseWriter) beginTurn(records int) {
	if w.stream && w.opcode == dns.OpcodeQuery && records > fewRecords {
		w.server.limiter.turns.acquire(w.source)
		w.turn = true
	}
}

// endTurn ends the turn, if there is one: what is sent may take as long as the client likes. The caller holds w.mu.
func (w *responseWriter) endTurn() {
	if w.turn {
		w.turn = false
		w.server.limiter.turns.release(w.source)
	}
}

// Compute calls a function of the handler of ctx's request that finds the answer to a query, and waits for nothing. By TCP it is
// called when it is the turn of the request's source.
func Compute(ctx context.Context, find func()) {
	if w, ok := ctx.Value(writerKey{}).(*responseWriter); ok && w.stream {
		t := w.server.limiter.turns
		t.acquire(w.source)
		defer t.release(w.source)
	}
	find()
}
