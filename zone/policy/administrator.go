package policy

import (
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// decideAdministrator decides on an update of the administrator: it is permitted unless a rule denies
// a change in it. Names that come with it are the administrator's: a tombstone of one of them goes.
func (e *evaluation) decideAdministrator() zone.Decision {
	for _, in := range e.proposal.Instructions() {
		types := []uint16{in.Type}
		if in.Action == zone.DeleteName {
			types = e.proposal.Name(in.Name).Types()
		}
		for _, rrtype := range types {
			if r := e.denial(in.Name, rrtype); r != nil {
				return e.refusal(r, in.Name, rrtype)
			}
		}
	}
	d := zone.Decision{Allow: true, Rule: AdministratorName}
	for i := range e.names {
		proposed := e.proposal.Name(i)
		if n := e.learn(i); n.deleted && proposed.Changed() {
			d.Released = append(d.Released, string(proposed.Wire()))
			d.Notes = append(d.Notes, dnswire.NameText(proposed.Wire())+" belonged to "+n.owner+", and is the administrator's now")
		}
	}
	return d
}

// denial returns the rule that denies the administrator a change, nil if there is none.
func (e *evaluation) denial(name int, rrtype uint16) *rule {
	for _, r := range e.subject.rules {
		if _, covered := r.limit(rrtype); covered && r.reaches(e.subject, e.proposal.Name(name).Wire(), nil) {
			return r
		}
	}
	return nil
}

// DeniesAdministrator returns the refusal of a change of the owner of a name, in wire form and lower case: a rule that denies the
// administrator any change of the name's records denies that too. It returns nil if there is none.
func (p *Policy) DeniesAdministrator(name []byte) *zone.Decision {
	s := newSubject(Identity{Kind: Administrator}, nil)
	for i := range p.rules {
		if r := &p.rules[i]; r.means(s) && r.reaches(s, name, nil) {
			return &zone.Decision{Rule: r.label, Reason: dnswire.NameText(name) + ": denied", Cause: CauseDenied}
		}
	}
	return nil
}
