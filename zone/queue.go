package zone

import (
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/timeshare"
)

// A queue holds the updates that wait for the zone's writer, in a line for each source. It is fair
// between sources in what it has room for, in what it hands out and in the time that the writer works
// on that, however many updates one of them sends and however large these are. It is safe for
// concurrent use.
type queue struct {
	clock func() time.Duration // monotonic; set before use

	mu     sync.Mutex
	lines  map[string]*line // by Update.Source; none is empty
	next   *line            // whose turn it is, in a ring of all lines; nil if there are none
	batch  uint64           // how often take was called
	count  int
	octets int
	spare  *line // one for later, since most lines are short-lived
	awaits int   // how many updates the channel enough is for; 0 for none
	enough chan struct{}
	shares timeshare.Shares
}

// octetTime bounds the time that the work on an update counts as, for each octet of its size. A
// measured time has gaps in which the processor did something else.
const octetTime = 50 * time.Nanosecond

// sinceStart is the clock of a queue.
func sinceStart() time.Duration { return time.Since(start) }

var start = time.Now()

// A line is the updates of one source that wait.
type line struct {
	source     string
	prev, next *line // in the ring

	oldest, newest *pending
	count, octets  int

	batch uint64 // the batch that taken and waits are for
	taken int    // octets that the batch has taken from the line
	waits bool   // for its share of the writer's time
}

// batchOctets bounds the updates that are done in one batch, in octets as Proposal.size counts them:
// an update that comes during a batch waits for its end. The last one may exceed it.
const batchOctets = 512 << 10

// waiting reports whether updates wait, and how long it takes until one may be taken.
func (q *queue) waiting() (some bool, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count == 0 {
		return false, 0
	}
	now := q.clock()
	// If no source is active by then, none has to wait.
	wait = timeshare.Window
	for l, first := q.next, true; wait > 0 && (first || l != q.next); l, first = l.next, false {
		wait = min(wait, q.shares.Wait(l.source, now, len(q.lines)))
	}
	return true, wait
}

// charge notes how long the writer has worked on updates that were taken.
func (q *queue) charge(done []*pending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.clock()
	for _, p := range done {
		q.shares.Charge(p.update.Source, min(p.took, time.Duration(p.size)*octetTime), now, len(q.lines))
	}
}

// put adds an update. If there is no room, the newest updates of the source with the most in the
// queue are removed. They are returned with the limit; p itself is, if that is its own source.
func (q *queue) put(p *pending, limits *Limits) (refused []*pending, limit *LimitError) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.full(p, limits) {
		limit = &LimitError{Limit: "Queue", Max: limits.Queue}
		if q.count < limits.Queue {
			limit = &LimitError{Limit: "QueueOctets", Max: limits.QueueOctets}
		}
		heaviest := q.heavierThan(p, limits)
		if heaviest == nil {
			return append(refused, p), limit
		}
		refused = append(refused, q.remove(heaviest, heaviest.newest))
	}
	l := q.lines[p.update.Source]
	if l == nil {
		l = q.open(p.update.Source)
	}
	if p.ahead = l.newest; p.ahead != nil {
		p.ahead.behind = p
	} else {
		l.oldest = p
	}
	l.newest = p
	q.shares.Arrived(p.update.Source, q.clock())
	l.count++
	l.octets += p.size
	q.count++
	q.octets += p.size
	if q.count == q.awaits {
		close(q.enough)
		q.awaits = 0
	}
	return refused, limit
}

// expect returns how many updates wait, and a channel that is closed when they are as many as n, which is more. It
// takes the place of the one before; 0 is for none.
func (q *queue) expect(n int) (enough <-chan struct{}, count int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.awaits = 0; n > q.count {
		q.awaits, q.enough = n, make(chan struct{})
	}
	return q.enough, q.count
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// full reports whether there is no room for p. A single update is taken however large it is.
func (q *queue) full(p *pending, limits *Limits) bool {
	return q.count >= limits.Queue || q.count > 0 && q.octets+p.size > limits.QueueOctets
}

// heavierThan returns the line that fills the most of the queue, nil if p's own would with p.
func (q *queue) heavierThan(p *pending, limits *Limits) *line {
	filled := func(count, octets int) float64 {
		return max(float64(count)/float64(limits.Queue), float64(octets)/float64(limits.QueueOctets))
	}
	most := filled(1, p.size)
	if own := q.lines[p.update.Source]; own != nil {
		most = filled(own.count+1, own.octets+p.size)
	}
	var heaviest *line
	for _, l := range q.lines {
		if f := filled(l.count, l.octets); f > most && l.source != p.update.Source {
			heaviest, most = l, f
		}
	}
	return heaviest
}

// take appends waiting updates to an empty batch, one of each source in turn, until the batch has
// reached its capacity or batchOctets, of which so many octets are taken already. A source that has more
// than its share of octets in the batch, or has had more than its share of the writer's time, gets no more
// into it.
func (q *queue) take(batch []*pending, octets int) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batch++
	share := batchOctets / max(1, len(q.lines))
	now := q.clock()
	for passed := 0; passed < len(q.lines) && len(batch) < cap(batch) && octets < batchOctets; {
		l := q.next
		q.next = l.next
		if l.batch != q.batch {
			l.batch, l.taken = q.batch, 0
			l.waits = q.shares.Wait(l.source, now, len(q.lines)) > 0
		}
		if l.waits || l.taken > share {
			passed++
			continue
		}
		passed = 0
		p := q.remove(l, l.oldest)
		l.taken += p.size
		octets += p.size
		batch = append(batch, p)
	}
	return batch
}

// open makes a line for a source. Its turn comes after those of all others.
func (q *queue) open(source string) *line {
	l := q.spare
	if q.spare = nil; l == nil {
		l = new(line)
	}
	*l = line{source: source}
	if q.lines == nil {
		q.lines = make(map[string]*line)
	}
	q.lines[source] = l
	if q.next == nil {
		l.prev, l.next, q.next = l, l, l
		return l
	}
	l.prev, l.next = q.next.prev, q.next
	l.prev.next, l.next.prev = l, l
	return l
}

// remove takes the oldest or the newest update of a line out, and the line if it was the only one.
func (q *queue) remove(l *line, p *pending) *pending {
	if p == l.oldest {
		l.oldest = p.behind
	}
	if p == l.newest {
		l.newest = p.ahead
	}
	if p.ahead != nil {
		p.ahead.behind = nil
	}
	if p.behind != nil {
		p.behind.ahead = nil
	}
	p.ahead, p.behind = nil, nil
	l.count--
	l.octets -= p.size
	q.count--
	q.octets -= p.size
	if l.count > 0 {
		return p
	}
	delete(q.lines, l.source)
	if q.next == l {
		q.next = l.next
	}
	if q.next == l {
		q.next = nil
	}
	l.prev.next, l.next.prev = l.next, l.prev
	q.spare = l
	return p
}
