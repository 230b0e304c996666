package gsstsig

import (
	"cmp"
	"slices"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// tables lists the tables of contexts of the configuration in force.
func (p *process) tables() []*gsstsig.Table {
	var tables []*gsstsig.Table
	for _, b := range p.inForce() {
		if !slices.Contains(tables, b.contexts) {
			tables = append(tables, b.contexts)
		}
	}
	return tables
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
	for _, t := range p.tables() {
		for _, c := range t.Contexts() {
			list = append(list, contextView(c))
		}
	}
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
