package etcd

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A server that is far from etcd's leader would lose almost every commit to one that is near. So who loses puts a
// key, which its next commit removes, and while there are such keys the servers take turns: in the order of their
// names after the one that committed last. Who sees that it is not its turn waits for the others' commits, and for
// each of them patience at most. This is for fairness alone: whoever commits out of turn does no harm.

const patience = 30 * time.Millisecond

// turns are the servers that have lost, as far as this one knows.
type turns struct {
	mu sync.Mutex
	// wants has the revision of each server's key; guarded by mu.
	wants map[string]int64
	// skipped has those of servers that did not use their turn; guarded by mu.
	skipped map[string]int64
	// mine says that this server's key is there; guarded by mu.
	mine bool
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
	_, t.mine = t.wants[self]
}

// committed notes whose turn is over.
func (t *turns) committed(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.wants, server)
}

// put notes whether this server's key is there.
func (t *turns) put(self string, there bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mine = there
	if there {
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

// ahead returns the server whose turn it is before self, after last has committed; "" if it is self's turn.
func (t *turns) ahead(last, self string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.wants) == 0 {
		return ""
	}
	var order, behind []string // after last, and the others
	for server, revision := range t.wants {
		if skipped, ok := t.skipped[server]; ok && skipped == revision && server != self {
			continue
		}
		if server > last {
			order = append(order, server)
		} else {
			behind = append(behind, server)
		}
	}
	slices.Sort(order)
	slices.Sort(behind)
	order = append(order, behind...)
	if len(order) == 0 || order[0] == self {
		return ""
	}
	return order[0]
}

// skip passes over a server that did not use its turn.
func (t *turns) skip(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.skipped == nil {
		t.skipped = make(map[string]int64)
	}
	t.skipped[server] = t.wants[server]
}

// awaitTurn returns when it is this server's turn, or as soon as the position is outdated.
func (z *Zone) awaitTurn(ctx context.Context, at store.Position) {
	for {
		h, _, _ := z.history.state()
		ahead := z.turns.ahead(h.server, z.cluster.options.Server)
		if ahead == "" {
			return
		}
		sequence, changed := z.history.wait()
		if sequence > at.Sequence {
			return
		}
		timer := time.NewTimer(patience)
		select {
		case <-changed:
		case <-timer.C:
			z.turns.skip(ahead)
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}
