package listener

import (
	"context"
	"maps"
	"runtime"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
	"github.com/gsstsig/coredns-gsstsig/internal/timeshare"
)

const (
	// maxDelayed is how many UDP requests of a client may wait for its share of the time. By TCP they are as many as it
	// has connections, which are not read meanwhile.
	maxDelayed = 32

	// leastDelay is how long a request waits at least if it has to wait.
	leastDelay = time.Millisecond

	// messageTime and octetTime bound the time that the work on a request counts as. A measured time has gaps in it in
	// which the processor did something else.
	messageTime = 100 * time.Microsecond
	octetTime   = 50 * time.Nanosecond

	// maxFull bounds workTime.full.
	maxFull = 1024
)

// workTime bounds how much of the processors' time each client that signs has while others do. What has no signature is
// bounded by other means. It is safe for concurrent use.
type workTime struct {
	clock func() time.Duration // monotonic

	mu      sync.Mutex
	shares  timeshare.Shares
	delayed map[string]*delayedRequests // by client; none is empty
	// full tells of addresses, each with a key, until when their messages by UDP need not be verified: there is no room
	// for them. Only a message that was verified makes an entry, so that nobody else can have a client's messages dropped.
	full map[ratelimit.Key]time.Duration
}

// delayedRequests are requests of one client that wait.
type delayedRequests struct {
	turns   []chan struct{} // of each, closed when those before it have gone
	packets int             // how many came by UDP
}

func newWorkTime(now func() time.Time) *workTime {
	began := now()
	return &workTime{
		clock:   func() time.Duration { return now().Sub(began) },
		shares:  timeshare.Shares{Parallel: runtime.GOMAXPROCS(0)},
		delayed: make(map[string]*delayedRequests),
		full:    make(map[ratelimit.Key]time.Duration),
	}
}

// signerOf is who has signed a request: the principal, whichever context it used, or the static key.
func signerOf(t *gsstsig.Transaction) string {
	id := t.Identity()
	if id.Static {
		return "\x00" + id.KeyName
	}
	return id.Principal.String()
}

// begin waits from now until a request of the client may be worked on, or until ended says that waiting is over, and
// charges the client for the work that was needed to verify it. It returns the time then, and reports false at once if
// too many of the client's requests that came by UDP wait. from is the source, with the key.
func (t *workTime) begin(client string, from ratelimit.Key, stream bool, verified, now time.Duration, ended func() bool) (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shares.Arrived(client, now)
	line := t.delayed[client]
	if wait := t.shares.Wait(client, now, 0); line != nil || wait > 0 {
		if line == nil {
			line = new(delayedRequests)
			t.delayed[client] = line
		}
		if !stream {
			if line.packets == maxDelayed {
				t.setFull(from, now, now+delay(wait))
				return now, false
			}
			line.packets++
			defer func() { line.packets-- }()
		}
		t.await(client, line, ended)
		now = t.clock()
	}
	t.shares.Charge(client, verified, now, 0)
	return now, true
}

// await waits in a client's line. The first one waits for the time, and the others for those before them, so that few
// goroutines wake up. The caller holds t.mu, which is not held meanwhile.
func (t *workTime) await(client string, line *delayedRequests, ended func() bool) {
	turn := make(chan struct{})
	line.turns = append(line.turns, turn)
	if len(line.turns) > 1 {
		t.mu.Unlock()
		<-turn
		t.mu.Lock()
	}
	for wait := t.shares.Wait(client, t.clock(), 0); wait > 0 && !ended(); wait = t.shares.Wait(client, t.clock(), 0) {
		t.mu.Unlock()
		time.Sleep(delay(wait))
		t.mu.Lock()
	}
	if line.turns = line.turns[1:]; len(line.turns) > 0 {
		close(line.turns[0])
	} else {
		delete(t.delayed, client)
	}
}

// delay is how long to sleep of a wait, which may become shorter, and is not worth waking up for if it is very short.
func delay(wait time.Duration) time.Duration { return min(max(wait, leastDelay), timeshare.Window) }

func (t *workTime) setFull(from ratelimit.Key, now, until time.Duration) {
	if len(t.full) >= maxFull {
		maps.DeleteFunc(t.full, func(_ ratelimit.Key, until time.Duration) bool { return until <= now })
	}
	if len(t.full) < maxFull {
		t.full[from] = until
	}
}

// hasRoom reports whether a message by UDP from that source with that key need be verified.
func (t *workTime) hasRoom(from ratelimit.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, full := t.full[from]
	if full && t.clock() >= until {
		delete(t.full, from)
		return true
	}
	return !full
}

// end charges a client for the work on a request, which is done now.
func (t *workTime) end(client string, worked, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shares.Charge(client, worked, now, 0)
}

// beginWork waits until a request that is signed may be worked on. It reports false if the request is to be dropped.
// Otherwise endWork must follow.
func (s *server) beginWork(w *responseWriter) bool {
	if w.transaction == nil {
		return true
	}
	work := s.limiter.work
	w.signer = signerOf(w.transaction)
	stopping := s.requests.closed.Load
	now := work.clock()
	began, ok := work.begin(w.signer, w.sender, w.stream, min(now-w.began, w.mostTime()), now, stopping)
	if !ok {
		s.observer.Dropped(Busy)
		return false
	}
	w.began = began
	return true
}

// endWork charges the signer for the work since beginWork.
func (s *server) endWork(w *responseWriter) {
	if w.signer != "" {
		work := s.limiter.work
		now := work.clock()
		work.end(w.signer, min(now-w.began-w.waited, w.mostTime()), now)
	}
}

// mostTime is the most that the work on a request counts as.
func (w *responseWriter) mostTime() time.Duration {
	return messageTime + time.Duration(w.size)*octetTime
}

// Wait calls a function of the handler of ctx's request that waits for others: for a queue, or for a disk. The time of
// that is not counted as work for the client.
func Wait(ctx context.Context, wait func()) {
	w, ok := ctx.Value(writerKey{}).(*responseWriter)
	if !ok {
		wait()
		return
	}
	clock := w.server.limiter.work.clock
	began := clock()
	wait()
	w.waited += clock() - began
}
