package listener

import (
	"container/list"
	"net"
	"sync"
)

// maxConnections bounds the TCP connections of all endpoints together. Beyond it the one that has been idle for longest
// gives way to a new one.
const maxConnections = 10000

// connection is an accepted TCP connection.
type connection struct {
	net.Conn

	// Guarded by the table.
	element *list.Element // in idle, nil while a request is worked on
	evicted bool
}

// connectionTable counts connections and keeps the idle ones in the order in which they became so. A connection whose
// message has only arrived in part is idle, too: a slow sender is the first to go.
type connectionTable struct {
	max  int
	mu   sync.Mutex
	open map[*connection]bool
	idle list.List
}

var connections = newConnectionTable(maxConnections)

func newConnectionTable(max int) *connectionTable {
	return &connectionTable{max: max, open: make(map[*connection]bool)}
}

// add enters a new connection, idle. If there are too many it names one for the caller to close, or, if all the others
// are at work, refuses the new one.
func (t *connectionTable) add(c *connection) (evicted *connection, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) >= t.max {
		oldest := t.idle.Front()
		if oldest == nil {
			return nil, false
		}
		evicted = t.idle.Remove(oldest).(*connection)
		evicted.element, evicted.evicted = nil, true
		delete(t.open, evicted)
	}
	t.open[c] = true
	c.element = t.idle.PushBack(c)
	return evicted, true
}

// work notes that a request of c is worked on. It reports false if c was evicted.
func (t *connectionTable) work(c *connection) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.evicted {
		return false
	}
	t.unlist(c)
	return true
}

// rest notes that c waits for its next message.
func (t *connectionTable) rest(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[c] && c.element == nil {
		c.element = t.idle.PushBack(c)
	}
}

// remove forgets c.
func (t *connectionTable) remove(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unlist(c)
	delete(t.open, c)
}

func (t *connectionTable) unlist(c *connection) {
	if c.element != nil {
		t.idle.Remove(c.element)
		c.element = nil
	}
}
