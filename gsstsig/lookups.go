package gsstsig

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// A context that another server has just made may not be known here when its first
// message comes. So a key name that is not found is looked for again when all is
// known that was done in the shared table before. That takes one request to it for
// all who wait at the time, and there is at most one in lookupInterval: names that
// clients make up cost the table the same, however many there are.
const (
	lookupInterval = 5 * time.Millisecond
	// Those who wait are bounded, for each source and in all. Sources that are
	// proven, by TCP, are counted apart from others, which can be forged.
	maxLookups       = 2048
	maxSourceLookups = 256
)

// lookups are the messages that wait. It is safe for concurrent use.
type lookups struct {
	sync func(context.Context) error

	mu      sync.Mutex
	next    *lookupRound // that one joins; nil if none waits
	running bool         // a goroutine makes rounds
	waiting [2]lookupsOf // by whether the source is proven
}

type lookupsOf struct {
	all int
	of  map[ratelimit.Key]int
}

// lookupRound is one request to the shared table.
type lookupRound struct {
	done chan struct{} // closed when it has ended
	err  error
}

var errLookups = errors.New("too many messages with unknown key names wait for the table of shared contexts")

// wait returns nil when this server knows all that was done in the shared table before
// the call.
func (l *lookups) wait(ctx context.Context, client netip.Addr, proven bool) error {
	source := ratelimit.Of(client)
	round, err := l.join(source, proven)
	if err != nil {
		return err
	}
	defer l.leave(source, proven)
	select {
	case <-round.done:
		return round.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *lookups) join(source ratelimit.Key, proven bool) (*lookupRound, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waitingOf(proven)
	if w.all >= maxLookups || w.of[source] >= maxSourceLookups {
		return nil, errLookups
	}
	if w.of == nil {
		w.of = make(map[ratelimit.Key]int)
	}
	w.all++
	w.of[source]++
	if l.next == nil {
		l.next = &lookupRound{done: make(chan struct{})}
	}
	if !l.running {
		l.running = true
		go l.run()
	}
	return l.next, nil
}

func (l *lookups) leave(source ratelimit.Key, proven bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waitingOf(proven)
	w.all--
	if w.of[source]--; w.of[source] == 0 {
		delete(w.of, source)
	}
}

// waitingOf is used while l.mu is held.
func (l *lookups) waitingOf(proven bool) *lookupsOf {
	if proven {
		return &l.waiting[1]
	}
	return &l.waiting[0]
}

// run makes rounds until nobody waits.
func (l *lookups) run() {
	for round := l.take(); round != nil; round = l.take() {
		interval := time.NewTimer(lookupInterval)
		ctx, cancel := context.WithTimeout(context.Background(), sharingTimeout)
		round.err = l.sync(ctx)
		cancel()
		close(round.done)
		<-interval.C
	}
}

// take returns the round that was joined, and closes it for others: who comes later may
// look for what is done after the round begins.
func (l *lookups) take() *lookupRound {
	l.mu.Lock()
	defer l.mu.Unlock()
	round := l.next
	l.next = nil
	l.running = round != nil
	return round
}
