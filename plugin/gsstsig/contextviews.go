package gsstsig

import (
	"cmp"
	"slices"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// eachContext calls table with each table of contexts of the configuration in force, and then elsewhere with each server,
// for what other servers share with it.
func (p *process) eachContext(table func(*gsstsig.Table), elsewhere func(*gsstsig.Server)) {
	blocks := p.inForce()
	seen := make(map[*gsstsig.Table]bool)
	for _, b := range blocks {
		if !seen[b.contexts] {
			seen[b.contexts] = true
			table(b.contexts)
		}
	}
	for _, b := range blocks {
		elsewhere(b.server)
	}
}

// contextNumbers counts the contexts of the configuration in force.
func (p *process) contextNumbers() (n view.Contexts) {
	counted := make(map[*gsstsig.Table]bool)
	for _, b := range p.inForce() {
		if counted[b.contexts] {
			continue
		}
		counted[b.contexts] = true
		established, halfOpen := b.contexts.Len()
		limits := b.service.Load().ContextLimits
		n.Established.Used += established
		n.Established.Limit += cmp.Or(limits.MaxContexts, gsstsig.DefaultMaxContexts)
		n.HalfOpen.Used += halfOpen
		n.HalfOpen.Limit += cmp.Or(limits.MaxHalfOpen, gsstsig.DefaultMaxHalfOpen)
	}
	return n
}

// contextViews describes the contexts of the configuration in force, in no order.
func (p *process) contextViews() []view.Context {
	list := []view.Context{}
	listed := make(map[string]bool) // by key name, of those that are shared: several blocks may know of one
	add := func(contexts []gsstsig.ContextInfo) {
		for _, c := range contexts {
			if !c.Shared || !listed[c.KeyName] {
				listed[c.KeyName] = listed[c.KeyName] || c.Shared
				list = append(list, contextView(c))
			}
		}
	}
	p.eachContext(func(t *gsstsig.Table) { add(t.Contexts()) }, func(s *gsstsig.Server) { add(s.Elsewhere()) })
	return list
}

func contextView(c gsstsig.ContextInfo) view.Context {
	v := view.Context{
		Key: c.KeyName, Principal: c.Principal.String(), Account: c.Account.Name, Service: c.Service.String(), Enctype: c.Enctype.String(),
		Created: timeOf(c.Created), Expires: rounded(c.Expires), Used: timeOf(c.LastUse), Messages: c.Messages,
	}
	if v.Created != nil {
		v.Address = c.Client.String()
	}
	if c.Shared {
		v.Server = c.Maker
	}
	return v
}

// sortContexts sorts contexts by principal and key.
func sortContexts(list []view.Context) {
	slices.SortFunc(list, comparePrincipals)
}

// sortNewest sorts contexts by age, the newest first. Those from before the last restart, whose age is not known, come last.
func sortNewest(list []view.Context) {
	created := func(c *view.Context) time.Time {
		if c.Created == nil {
			return time.Time{}
		}
		return *c.Created
	}
	slices.SortFunc(list, func(a, b view.Context) int {
		return cmp.Or(created(&b).Compare(created(&a)), comparePrincipals(a, b))
	})
}

func comparePrincipals(a, b view.Context) int {
	return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Key, b.Key))
}
