package policy

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// owns reports whether the rule owner grants a change of that type at a name:
//
//   - what changes nothing, to anybody;
//   - what is protected, to nobody;
//   - a name with an owner, to the owner, and to the machine whose own name it
//     is;
//   - a name without records, to anybody, who becomes its owner;
//   - a name that a proxy has made, to anybody, who becomes its owner unless a
//     proxy too;
//   - a name with records but no owner, which the administrator has entered,
//     to the machine whose own name it is; where unsigned updates are taken
//     to anybody, for a signature must not get less than none.
func (t *trial) owns(r *rule, n *nameState, rrtype uint16) bool {
	t.learn(n)
	_, covered := r.limit(rrtype)
	switch guard := t.protection(n, rrtype); {
	case !covered:
		t.hint = hintType
	case guard != noHint:
		t.hint = guard
	case t.open(n):
		return true
	case n.owner == "":
		t.hint = hintAdministrator
	case n.deleted:
		t.hint = hintTombstone
	default:
		t.hint = hintOwned
	}
	return !t.work(n).changes(rrtype)
}

// open reports whether the sender may change the name, protection aside.
func (t *trial) open(n *nameState) bool {
	switch {
	case n.mine, n.owner == proxyOwner:
		return true
	case n.owner != "":
		return t.subject.mayTakeBack(n.name, n.owner)
	case !n.exists:
		return true
	}
	return t.policy.mode == NonsecureAndSecure || t.subject.mayTakeBack(n.name, "")
}

// protection returns why a change of that type at the name is out of reach of
// the rule owner, whoever asks, or noHint.
func (t *trial) protection(n *nameState, rrtype uint16) hint {
	switch rrtype {
	case dns.TypeNS, dns.TypeDS, dns.TypeDNAME:
		// DNAME gives away all that is below it, just as a delegation does.
		return hintDelegation
	}
	if !n.guarded {
		n.guarded = true
		n.guard = t.guard(n.name)
	}
	return n.guard
}

func (t *trial) guard(name string) hint {
	origin := t.zone.Origin()
	if name == origin {
		return hintApex
	}
	if isWildcard(name) {
		return hintWildcard
	}
	if _, ok := t.policy.protected[name]; ok {
		return hintServer
	}
	for _, blocked := range [...]string{"wpad.", "isatap."} {
		if rest, ok := strings.CutPrefix(name, blocked); ok && rest == origin {
			return hintBlocked
		}
	}
	// Glue decides where a delegation leads as much as its NS records do.
	for at := name; at != origin && at != "."; at = parentOf(at) {
		if len(t.zone.RRset(at, dns.TypeNS)) > 0 {
			return hintDelegation
		}
	}
	return noHint
}

// claim adds to the decision what the update does to the ownership of a name:
// whoever signs a change of a name without an owner becomes its owner, by
// whichever rule, and a machine takes its own name back. The owner of a name
// that somebody else changes by an administrator's rule stays its owner.
func (t *trial) claim(n *nameState, d *zone.Decision) {
	if !n.granted {
		return
	}
	t.learn(n)
	takes := false
	switch {
	case n.mine && !n.deleted:
		return
	case n.owner != "" && !n.mine:
		takes = true
		if !(n.deleted && n.added) && n.owner != proxyOwner && !t.subject.mayTakeBack(n.name, n.owner) {
			return
		}
	case !n.added && !n.byOwner:
		// An administrator's deletion leaves nothing to own.
		return
	}
	// A new name needs no closer look: the zone drops a claim to what does not
	// come to be.
	if (n.exists || n.owner != "") && !t.work(n).any() {
		return
	}
	if t.protection(n, dns.TypeNone) != noHint {
		return
	}
	d.Own = append(d.Own, zone.Claim{Name: n.name, Principal: t.subject.owner})
	who := t.subject.String()
	switch {
	case takes && n.owner == proxyOwner:
		d.Notes = append(d.Notes, who+" became the owner of "+n.name+", which a proxy had made")
	case takes && t.subject.mayTakeBack(n.name, n.owner):
		d.Notes = append(d.Notes, who+" took its own name "+n.name+" back from "+n.owner)
	case takes:
		d.Notes = append(d.Notes, who+" created "+n.name+" anew, which belonged to "+n.owner+" until its deletion")
	case n.exists && n.byOwner && t.policy.mode == Secure:
		d.Notes = append(d.Notes, who+" took over its own name "+n.name+", which the administrator had entered")
	}
}
