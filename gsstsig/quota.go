package gsstsig

import (
	"sync"
	"sync/atomic"
)

// quota bounds the contexts of each principal. It is kept apart from the
// shards, since the contexts of one principal may be in all of them.
type quota struct {
	mu  sync.Mutex // guards the rest, and the entries of contexts but for used
	max int        // contexts of one principal
	of  map[string]*list[securityContext]
}

// quotaEntry is a context's place among those of its principal. To keep that
// list in the order of use would take the quota's lock for every message that
// is verified; see BenchmarkLookup. Instead used notes that a context was used since it was last
// looked at: such a context is passed over once and goes to the end, as in the
// clock algorithm for memory pages.
type quotaEntry struct {
	used        atomic.Bool
	principal   string // set while the context counts
	ofPrincipal link[securityContext]
}

// noteUse notes a use.
func (e *quotaEntry) noteUse() {
	if !e.used.Load() { // a store would take the cache line from the other cores
		e.used.Store(true)
	}
}

func (q *quota) limit(max int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.max = max
}

// add counts c and returns the contexts by which its principal exceeds its
// quota. They no longer count; the caller takes them out of the table.
func (q *quota) add(c *securityContext) (surplus []*securityContext) {
	name := c.identity.Principal.String()
	q.mu.Lock()
	defer q.mu.Unlock()
	contexts := q.of[name]
	if contexts == nil {
		contexts = new(list[securityContext])
		q.of[name] = contexts
	}
	for contexts.size >= q.max {
		idle := contexts.front()
		// All may have been used: after one round the first is taken.
		for range contexts.size {
			if !idle.used.Swap(false) {
				break
			}
			contexts.moveToBack(&idle.ofPrincipal)
			idle = contexts.front()
		}
		contexts.remove(&idle.ofPrincipal)
		surplus = append(surplus, idle)
	}
	contexts.pushBack(&c.ofPrincipal, c)
	c.principal = name
	return surplus
}

// remove counts c no more. It may be called again.
func (q *quota) remove(c *securityContext) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.ofPrincipal.value == nil {
		return
	}
	contexts := q.of[c.principal]
	contexts.remove(&c.ofPrincipal)
	if contexts.size == 0 {
		delete(q.of, c.principal)
	}
}
