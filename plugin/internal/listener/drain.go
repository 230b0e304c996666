package listener

import (
	"sync"
	"sync/atomic"
)

// drainGroup counts requests until it is closed to new ones, and tells when the last one is done. A sync.WaitGroup has no
// close: an Add from 0 must not run at the same time as its Wait.
type drainGroup struct {
	count  atomic.Int64
	closed atomic.Bool
	idle   chan struct{} // closed once the group is closed and the count is 0
	once   sync.Once
}

func newDrainGroup() *drainGroup { return &drainGroup{idle: make(chan struct{})} }

// add counts a request, and reports false if the group is closed. Otherwise done must follow.
func (g *drainGroup) add() bool {
	// Count first: either close sees the count, or the mark of close is seen here.
	g.count.Add(1)
	if g.closed.Load() {
		g.done()
		return false
	}
	return true
}

// addAnother counts one more request while the caller has one counted. done must follow.
func (g *drainGroup) addAnother() { g.count.Add(1) }

func (g *drainGroup) done() {
	if g.count.Add(-1) == 0 && g.closed.Load() {
		g.once.Do(func() { close(g.idle) })
	}
}

func (g *drainGroup) close() {
	g.closed.Store(true)
	if g.count.Load() == 0 {
		g.once.Do(func() { close(g.idle) })
	}
}
