package policy

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// owns reports whether the rule owner grants a change of that type at a name:
//
//   - a change that has no effect, to every client;
//   - a change of a protected name, to no client;
//   - a name with an owner, to the owner and to the machine of that name;
//   - a name without records, to every client, which becomes its owner;
//   - a name that a proxy has created, to every client, which becomes its owner unless it is a
//     proxy itself;
//   - a name with records but no owner, which the administrator has entered, to the machine of that
//     name. In nonsecure-and-secure mode to every client, because a signed update must not be
//     permitted less than an unsigned one.
func (e *evaluation) owns(r *rule, n *nameState, rrtype uint16) bool {
	e.learn(n)
	_, covered := r.limit(rrtype)
	switch guard := e.protection(n, rrtype); {
	case !covered:
		e.hint = hintType
	case guard != noHint:
		e.hint = guard
	case e.open(n):
		return true
	case n.owner == "":
		e.hint = hintAdministrator
	case n.deleted:
		e.hint = hintTombstone
	default:
		e.hint = hintOwned
	}
	return !e.work(n).changes(rrtype)
}

// open reports whether the client may change the name if it is not protected.
func (e *evaluation) open(n *nameState) bool {
	switch {
	case n.mine, n.owner == proxyOwner:
		return true
	case n.owner != "":
		return e.subject.mayReclaim(n.name, n.owner)
	case !n.exists:
		return true
	}
	return e.policy.mode == NonsecureAndSecure || e.subject.mayReclaim(n.name, "")
}

// protection returns why a change of that type at the name is protected from every client of the
// rule owner, or noHint.
func (e *evaluation) protection(n *nameState, rrtype uint16) hint {
	switch rrtype {
	case dns.TypeNS, dns.TypeDS, dns.TypeDNAME:
		// DNAME redirects everything below it, as a delegation does.
		return hintDelegation
	}
	if !n.guarded {
		n.guarded = true
		n.guard = e.guard(n.name)
	}
	return n.guard
}

func (e *evaluation) guard(name string) hint {
	origin := e.zone.Origin()
	if name == origin {
		return hintApex
	}
	if isWildcard(name) {
		return hintWildcard
	}
	if _, ok := e.policy.protected[name]; ok {
		return hintServer
	}
	for _, blocked := range [...]string{"wpad.", "isatap."} {
		if rest, ok := strings.CutPrefix(name, blocked); ok && rest == origin {
			return hintBlocked
		}
	}
	// Glue decides where a delegation leads, as its NS records do.
	for at := name; at != origin && at != "."; at = parentOf(at) {
		if len(e.zone.RRset(at, dns.TypeNS)) > 0 {
			return hintDelegation
		}
	}
	return noHint
}

// claim adds to the decision what the update does to the ownership of a name. The signer of a
// change of a name without an owner becomes its owner, whatever rule granted the change, and a
// machine reclaims its own name. If another client changes a name by an administrator's rule, its
// owner stays the same.
func (e *evaluation) claim(n *nameState, d *zone.Decision) {
	if !n.granted {
		return
	}
	e.learn(n)
	takes := false
	switch {
	case n.mine && !n.deleted:
		return
	case n.owner != "" && !n.mine:
		takes = true
		if !(n.deleted && n.added) && n.owner != proxyOwner && !e.subject.mayReclaim(n.name, n.owner) {
			return
		}
	case !n.added && !n.byOwner:
		// An administrator's deletion leaves nothing to own.
		return
	}
	// A new name needs no further check: the zone drops a claim to a name that has no records
	// afterwards.
	if (n.exists || n.owner != "") && !e.work(n).any() {
		return
	}
	if e.protection(n, dns.TypeNone) != noHint {
		return
	}
	d.Own = append(d.Own, zone.Claim{Name: n.name, Principal: e.subject.owner})
	who := e.subject.String()
	switch {
	case takes && n.owner == proxyOwner:
		d.Notes = append(d.Notes, who+" became the owner of "+n.name+", which a proxy had created")
	case takes && e.subject.mayReclaim(n.name, n.owner):
		d.Notes = append(d.Notes, who+" reclaimed its own name "+n.name+" from "+n.owner)
	case takes:
		d.Notes = append(d.Notes, who+" created "+n.name+" again, which belonged to "+n.owner+" before it was deleted")
	case n.exists && n.byOwner && e.policy.mode == Secure:
		d.Notes = append(d.Notes, who+" took over its own name "+n.name+", which the administrator had entered")
	}
}
