package listener

import (
	"container/list"
	"net"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// connection is an accepted TCP connection.
type connection struct {
	net.Conn               // TLS, if the address has it
	accepted net.Conn      // what is below TLS
	secure   *tlsState     // nil without TLS
	source   ratelimit.Key // zero if it is not known yet

	// Guarded by the table.
	element    *list.Element // in idle, nil from a request until its first answer
	own        *list.Element // in the idle list of its source
	unfinished *list.Element // in the list of TLS handshakes that are not finished, else nil
	evicted    bool
	ending     *time.Timer // of a held connection
}

// abort closes the connection without a word to the client. Other than Close it never waits for one that does not read.
func (c *connection) abort() { c.accepted.Close() }

// connectionTable counts connections and keeps the idle ones in the order in which they became so. A connection whose
// message, or whose TLS handshake, has only arrived in part is idle, too, and so is one whose answer is being sent: a slow
// sender or reader is the first to go.
type connectionTable struct {
	mu         sync.Mutex
	open       map[*connection]bool
	idle       list.List
	unfinished list.List // of those in idle, the ones whose TLS handshake is not finished
	sources    map[ratelimit.Key]*connectionSource
}

// unfinishedShare is the part of the connections that TLS handshakes may be: one in so many. Without a bound of their own, a
// flood of handshakes that nobody finishes would close the connections of those who have finished theirs.
const unfinishedShare = 4

// connectionSource is a source with connections.
type connectionSource struct {
	open int
	idle list.List
}

func newConnectionTable() *connectionTable {
	return &connectionTable{open: make(map[*connection]bool), sources: make(map[ratelimit.Key]*connectionSource)}
}

// add enters a new connection, idle. If there are too many of its source, or altogether, it names one for the caller to
// close: the one of the source, or of all sources, that has been idle longest. If none is idle it refuses the new one. For a
// TLS handshake too many, the one that began first goes.
func (t *connectionTable) add(c *connection, max, maxSource int) (evicted *connection, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var oldest *list.Element
	switch s := t.sources[c.source]; {
	case s != nil && s.open >= maxSource && c.source != ratelimit.Key{}:
		oldest = s.idle.Front()
	case c.secure != nil && t.unfinished.Len()*unfinishedShare >= max:
		oldest = t.unfinished.Front()
	case len(t.open) >= max:
		oldest = t.idle.Front()
	default:
		t.insert(c)
		return nil, true
	}
	if oldest == nil {
		return nil, false
	}
	evicted = oldest.Value.(*connection)
	evicted.evicted = true
	if evicted.ending != nil {
		evicted.ending.Reset(0) // what it holds beside the table is freed now
	}
	t.delete(evicted)
	t.insert(c)
	return evicted, true
}

func (t *connectionTable) insert(c *connection) {
	s := t.sources[c.source]
	if s == nil {
		s = new(connectionSource)
		t.sources[c.source] = s
	}
	s.open++
	t.open[c] = true
	t.list(c)
	if c.secure != nil {
		c.unfinished = t.unfinished.PushBack(c)
	}
}

func (t *connectionTable) delete(c *connection) {
	t.unlist(c)
	t.finish(c)
	delete(t.open, c)
	s := t.sources[c.source]
	if s.open--; s.open == 0 {
		delete(t.sources, c.source)
	}
}

// setFinished notes that the TLS handshake of c is finished. It reports false if c was evicted.
func (t *connectionTable) setFinished(c *connection) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.evicted {
		return false
	}
	t.finish(c)
	return true
}

// isEvicted reports whether c was closed to make room.
func (t *connectionTable) isEvicted(c *connection) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.evicted
}

// setBusy notes that a request of c is worked on. It reports false if c was evicted.
func (t *connectionTable) setBusy(c *connection) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.evicted {
		return false
	}
	t.unlist(c)
	return true
}

// setIdle notes that c waits for the client from now on: for its next message, or until it has read an answer.
func (t *connectionTable) setIdle(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.open[c]:
	case c.element == nil:
		t.list(c)
	default:
		t.idle.MoveToBack(c.element)
		t.sources[c.source].idle.MoveToBack(c.own)
	}
}

// closeLater notes that c waits for nothing but its end, and calls end after the delay, or when c was closed to make
// room. It is the first to be closed then. closeLater reports false if it has been closed for that already.
func (t *connectionTable) closeLater(c *connection, delay time.Duration, end func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.evicted {
		return false
	}
	t.unlist(c)
	c.element = t.idle.PushFront(c)
	c.own = t.sources[c.source].idle.PushFront(c)
	c.ending = time.AfterFunc(delay, end)
	return true
}

// remove forgets c.
func (t *connectionTable) remove(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[c] {
		t.delete(c)
	}
}

func (t *connectionTable) finish(c *connection) {
	if c.unfinished != nil {
		t.unfinished.Remove(c.unfinished)
		c.unfinished = nil
	}
}

func (t *connectionTable) list(c *connection) {
	c.element = t.idle.PushBack(c)
	c.own = t.sources[c.source].idle.PushBack(c)
}

func (t *connectionTable) unlist(c *connection) {
	if c.element != nil {
		t.idle.Remove(c.element)
		t.sources[c.source].idle.Remove(c.own)
		c.element, c.own = nil, nil
	}
}
