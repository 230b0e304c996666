package etcd

import (
	"context"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A server that is far from etcd's leader would lose almost every commit to one that is near, and a commit that is
// lost costs etcd as much as one that is done. So the servers take turns while several of them commit: in the order of
// their names after the one that committed last. Whose turn it is not waits for the others' commits, and for each of
// them so long at most as a server needs that has something to commit. This is for fairness and speed alone: whoever
// commits out of turn does no harm.
//
// Two kinds of servers have turns: those that have lost put a key, which their next commit removes; and while commits
// are lost, those that have committed lately are expected to do so again.

const (
	// patience is how long a server that has put its key is waited for.
	patience = 30 * time.Millisecond
	// lately is how long ago a commit may be of a server that is expected to commit again.
	lately = 100 * time.Millisecond
	// contended is for how long after a lost commit turns are taken with servers that have put no key.
	contended = time.Second
	// commits is for how many times what a commit takes such a server is waited for.
	commits = 2
)

// turns are the servers that have lost, as far as this one knows.
type turns struct {
	mu sync.Mutex
	// wants has the revision of each server's key; guarded by mu.
	wants map[string]int64
	// skipped has those of servers that did not use their turn; guarded by mu.
	skipped map[string]int64
	// mine says that this server's key is there; guarded by mu.
	mine bool
	// seen has when a commit of each other server was last seen; guarded by mu.
	seen map[string]time.Time
	// lost is when commits were last found to be lost; guarded by mu.
	lost time.Time
	// took is about how long a commit takes here; guarded by mu.
	took time.Duration
}

// maxWants bounds how many servers' keys are looked at.
const maxWants = 64

// learn takes over the keys that an answer had. root is what they begin with.
func (t *turns) learn(kvs []*mvccpb.KeyValue, root, self string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(kvs) == 0 && len(t.wants) == 0 {
		return
	}
	t.wants = make(map[string]int64)
	for _, kv := range kvs {
		t.wants[string(kv.Key[min(len(root), len(kv.Key)):])] = kv.ModRevision
	}
	for server, revision := range t.skipped {
		if t.wants[server] != revision {
			delete(t.skipped, server)
		}
	}
	if len(kvs) > 0 {
		t.lost = time.Now()
	}
	_, t.mine = t.wants[self]
}

// committed notes that another server has committed: its turn is over.
func (t *turns) committed(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.wants, server)
	if t.seen == nil || len(t.seen) > maxWants {
		t.seen = make(map[string]time.Time)
	}
	t.seen[server] = time.Now()
}

// note notes how long a commit took.
func (t *turns) note(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.took == 0 {
		t.took = took
	}
	t.took += (took - t.took) / 8
}

// put notes whether this server's key is there.
func (t *turns) put(self string, there bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mine = there
	if there {
		t.lost = time.Now()
		if t.wants == nil {
			t.wants = make(map[string]int64)
		}
		t.wants[self] = 0
	} else {
		delete(t.wants, self)
	}
}

func (t *turns) isMine() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mine
}

// ahead returns the server whose turn it is before self, after last has committed, and how long it is waited for; "" if
// it is self's turn.
func (t *turns) ahead(last, self string, now time.Time) (server string, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A server that is behind last comes before all that are not.
	first := self
	before := func(a, b string) bool {
		if aBehind, bBehind := a > last, b > last; aBehind != bBehind {
			return aBehind
		}
		return a < b
	}
	for server, revision := range t.wants {
		if skipped, ok := t.skipped[server]; ok && skipped == revision {
			continue
		}
		if server != self && before(server, first) {
			first, wait = server, patience
		}
	}
	if now.Sub(t.lost) < contended {
		for server, at := range t.seen {
			if server != self && now.Sub(at) < lately && before(server, first) {
				first, wait = server, min(commits*t.took, patience)
			}
		}
	}
	if first == self {
		return "", 0
	}
	return first, wait
}

// skip passes over a server that did not use its turn.
func (t *turns) skip(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.skipped == nil {
		t.skipped = make(map[string]int64)
	}
	if revision, ok := t.wants[server]; ok {
		t.skipped[server] = revision
	}
	delete(t.seen, server)
}

// awaitTurn returns when it is this server's turn.
func (z *Zone) awaitTurn(ctx context.Context) {
	for ctx.Err() == nil {
		h, changed := z.history.last()
		ahead, wait := z.turns.ahead(h, z.cluster.options.Server, time.Now())
		if ahead == "" {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
			z.turns.skip(ahead)
		case <-ctx.Done():
		}
		timer.Stop()
	}
}
