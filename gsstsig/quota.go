package gsstsig

import (
	"sync"
	"sync/atomic"
)

// owners count the contexts of each principal. They are kept apart from the
// shards, since those of one principal may be in all of them.
type owners struct {
	mu  sync.Mutex // guards the rest, and the ownership of contexts but for used
	max int        // contexts of one
	of  map[string]*owner
}

// owner is a principal with contexts.
type owner struct {
	name         string
	count        int
	first, final *securityContext // ends of the list in order of their turn to go
}

// ownership is a context's place among those of its principal. To keep the list
// in the order of use would need this lock whenever a message is verified.
// Instead a context that was used since it was last looked at is passed over
// and goes to the end, as in the clock algorithm for pages.
type ownership struct {
	used             atomic.Bool
	owner            *owner // nil when it is not, or no longer, counted
	earlier, laterOn *securityContext
}

// touch notes a use.
func (c *securityContext) touch() {
	if !c.used.Load() { // a store would take the cache line from the other cores
		c.used.Store(true)
	}
}

func (o *owners) limit(max int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.max = max
}

// add counts c and returns those that its principal has too many. They are
// counted no more; the caller takes them out of the table.
func (o *owners) add(c *securityContext) (surplus []*securityContext) {
	name := c.identity.Principal.String()
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.of[name]
	if p == nil {
		p = &owner{name: name}
		o.of[name] = p
	}
	for p.count >= o.max {
		idle := p.first
		// Everything may have been used: once around, then it is the first's turn.
		for range p.count {
			if !idle.used.Swap(false) {
				break
			}
			p.unlink(idle)
			p.link(idle)
			idle = p.first
		}
		p.unlink(idle)
		idle.owner = nil
		surplus = append(surplus, idle)
	}
	p.link(c)
	c.owner = p
	return surplus
}

// remove counts c no more. It may be called again.
func (o *owners) remove(c *securityContext) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := c.owner
	if p == nil {
		return
	}
	p.unlink(c)
	c.owner = nil
	if p.count == 0 {
		delete(o.of, p.name)
	}
}

// link puts c at the end.
func (p *owner) link(c *securityContext) {
	c.earlier, c.laterOn = p.final, nil
	if p.final != nil {
		p.final.laterOn = c
	} else {
		p.first = c
	}
	p.final = c
	p.count++
}

func (p *owner) unlink(c *securityContext) {
	if c.earlier != nil {
		c.earlier.laterOn = c.laterOn
	} else {
		p.first = c.laterOn
	}
	if c.laterOn != nil {
		c.laterOn.earlier = c.earlier
	} else {
		p.final = c.earlier
	}
	c.earlier, c.laterOn = nil, nil
	p.count--
}
