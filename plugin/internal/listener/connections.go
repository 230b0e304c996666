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
	from       *connectionSource
	idle       *list.Element // in the list of its source, nil from a request until its first answer
	unfinished *list.Element // in the list of TLS handshakes that are not finished, else nil
	evicted    bool
	held       *list.Element // in the list of those that wait for nothing but their end, else nil
	ending     *time.Timer   // of a held connection
}

// abort closes the connection without a word to the client. Other than Close it never waits for one that does not read.
func (c *connection) abort() { c.accepted.Close() }

// connectionTable counts connections and keeps the idle ones of each source in the order in which they became so. A connection
// whose message, or whose TLS handshake, has only arrived in part is idle, too, and so is one whose answer is being sent: a slow
// sender or reader is the first to go.
type connectionTable struct {
	mu         sync.Mutex
	open       map[*connection]bool
	idle       int
	unfinished list.List // of the idle ones, those whose TLS handshake is not finished
	held       list.List // of the idle ones, those that wait for nothing but their end
	sources    map[ratelimit.Key]*connectionSource
	// ranks has the sources with n idle connections at n, in the order in which one of these last did something, and top is the
	// largest such n. Numbers change by one at a time, so that no source is searched for.
	ranks []*list.List
	top   int
}

// unfinishedShare is the part of the connections that TLS handshakes may be: one in so many. Without a bound of their own, a
// flood of handshakes that nobody finishes would close the connections of those who have finished theirs.
const unfinishedShare = 4

// connectionSource is a source with connections. One that is not known has one.
type connectionSource struct {
	open int
	idle list.List
	rank *list.Element // in the table's list for so many idle ones, nil if there are none
	at   int           // which list that is
}

func newConnectionTable() *connectionTable {
	return &connectionTable{open: make(map[*connection]bool), sources: make(map[ratelimit.Key]*connectionSource)}
}

// add enters a new connection, idle. If there are too many of its source, it names one for the caller to close: the one of the
// source that has been idle longest. If there are too many altogether, it is that of the source which has the most idle ones, so
// that a few sources with many connections do not close those of others; among sources with as many, of the one that has done
// nothing for longest. If none is idle it refuses the new one. For a TLS handshake too many, the oldest one of that source
// goes or, if it has none, of all.
func (t *connectionTable) add(c *connection, max, maxSource int) (evicted *connection, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var oldest *list.Element
	switch s := t.sources[c.source]; {
	case s != nil && s.open >= maxSource && c.source != ratelimit.Key{}:
		oldest = s.idle.Front()
	case c.secure != nil && t.unfinished.Len()*unfinishedShare >= max:
		oldest = t.oldestUnfinished()
	case len(t.open) >= max:
		if oldest = t.held.Front(); oldest == nil && t.top > 0 {
			oldest = t.largest().idle.Front()
		}
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

// largest returns the source that has the most idle connections. There must be one.
func (t *connectionTable) largest() *connectionSource {
	return t.ranks[t.top].Front().Value.(*connectionSource)
}

// oldestUnfinished returns the connection whose TLS handshake is ended for another one.
func (t *connectionTable) oldestUnfinished() *list.Element {
	for e := t.largest().idle.Front(); e != nil; e = e.Next() {
		if e.Value.(*connection).unfinished != nil {
			return e
		}
	}
	return t.unfinished.Front()
}

func (t *connectionTable) insert(c *connection) {
	c.from = t.sources[c.source]
	if c.from == nil {
		c.from = new(connectionSource)
		if c.source != (ratelimit.Key{}) {
			t.sources[c.source] = c.from
		}
	}
	c.from.open++
	t.open[c] = true
	t.list(c)
	if c.secure != nil {
		c.unfinished = t.unfinished.PushBack(c)
	}
}

func (t *connectionTable) delete(c *connection) {
	t.unlist(c)
	t.finish(c)
	if c.held != nil {
		t.held.Remove(c.held)
		c.held = nil
	}
	delete(t.open, c)
	if c.from.open--; c.from.open == 0 {
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
	case c.idle == nil:
		t.list(c)
	default:
		c.from.idle.MoveToBack(c.idle)
		t.rank(c.from)
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
	if c.idle == nil {
		t.list(c)
	}
	c.from.idle.MoveToFront(c.idle)
	c.held = t.held.PushBack(c)
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
	c.idle = c.from.idle.PushBack(c)
	t.idle++
	t.rank(c.from)
}

func (t *connectionTable) unlist(c *connection) {
	if c.idle != nil {
		c.from.idle.Remove(c.idle)
		c.idle = nil
		t.idle--
		t.rank(c.from)
	}
}

// rank moves a source to the end of the list of those with as many idle connections as it has now.
func (t *connectionTable) rank(s *connectionSource) {
	if s.rank != nil && s.at == s.idle.Len() {
		t.ranks[s.at].MoveToBack(s.rank)
		return
	}
	if s.rank != nil {
		t.ranks[s.at].Remove(s.rank)
		s.rank = nil
	}
	s.at = s.idle.Len()
	for len(t.ranks) <= s.at {
		t.ranks = append(t.ranks, new(list.List))
	}
	if s.at > 0 {
		s.rank = t.ranks[s.at].PushBack(s)
	}
	for t.top = max(t.top, s.at); t.top > 0 && t.ranks[t.top].Len() == 0; {
		t.top--
	}
}
