package policy

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// owns reports whether the rule owner grants a change of that type at a name:
//
//   - a change that has no effect, to every client;
//   - a change of a protected name, to no client;
//   - a name with an owner, to the owner and to the machine of that name;
//   - a host name, or a name whose PTR records point to it, to the machine whose earlier account owns
//     it;
//   - a name without records, to every client, which becomes its owner;
//   - a name that a proxy has created, to every client, which becomes its owner unless it is a
//     proxy itself;
//   - a name with records but no owner, which the administrator has entered, to the machine of that
//     name. In nonsecure-and-secure mode to every client, because a signed update must not be
//     permitted less than an unsigned one.
func (e *evaluation) owns(r *rule, name int, rrtype uint16) bool {
	n := e.learn(name)
	_, covered := r.limit(rrtype)
	switch guard := e.protection(name, rrtype); {
	case !covered:
		e.hint = hintType
	case guard != noHint:
		e.hint = guard
	case e.open(name):
		return true
	case n.owner == "":
		e.hint = hintAdministrator
	case n.deleted:
		e.hint = hintTombstone
	default:
		e.hint = hintOwned
	}
	return !e.proposal.Name(name).Changes(rrtype)
}

// open reports whether the client may change the name if it is not protected.
func (e *evaluation) open(name int) bool {
	n := e.learn(name)
	switch {
	case n.mine, n.owner == proxyOwner:
		return true
	case n.owner != "":
		return e.mayReclaim(name) || e.maySucceed(name)
	case !n.exists:
		return true
	}
	return e.policy.mode == NonsecureAndSecure || e.mayReclaim(name)
}

// mayReclaim reports whether the client may take the name from its owner, or from the administrator.
func (e *evaluation) mayReclaim(name int) bool {
	if e.subject.host == "" && e.subject.machine == "" {
		return false
	}
	return e.subject.mayReclaim(string(e.proposal.Name(name).Wire()), e.names[name].owner)
}

// maySucceed reports whether the client is a machine whose account was made again, and the name one
// that the earlier account had as the machine's own: its host name, or a name with PTR records that
// all point to it. In a tombstone nothing tells any more what it pointed to.
func (e *evaluation) maySucceed(name int) bool {
	if !e.subject.isRecreated(e.names[name].owner) {
		return false
	}
	proposed := e.proposal.Name(name)
	if e.subject.isHostName(proposed.Wire()) {
		return true
	}
	types := proposed.Types()
	if len(types) != 1 || types[0] != dns.TypePTR {
		return false
	}
	return !slices.ContainsFunc(proposed.Records(dns.TypePTR), func(target []byte) bool {
		return !e.subject.isHostName([]byte(lower(string(target))))
	})
}

// protection returns why a change of that type at the name is protected from every client of the
// rule owner, or noHint.
func (e *evaluation) protection(name int, rrtype uint16) hint {
	switch rrtype {
	case dns.TypeNS, dns.TypeDS, dns.TypeDNAME:
		// DNAME redirects everything below it, as a delegation does.
		return hintDelegation
	}
	n := &e.names[name]
	if !n.guarded {
		n.guarded = true
		n.guard = e.guard(e.proposal.Name(name))
	}
	return n.guard
}

func (e *evaluation) guard(n *zone.ProposedName) hint {
	wire := n.Wire()
	switch {
	case n.IsApex():
		return hintApex
	case isWildcard(wire):
		return hintWildcard
	}
	if _, ok := e.policy.protected[string(wire)]; ok {
		return hintServer
	}
	for _, label := range [...]string{"\x04wpad", "\x06isatap"} {
		if rest, ok := bytes.CutPrefix(wire, []byte(label)); ok && bytes.Equal(rest, e.proposal.Origin()) {
			return hintBlocked
		}
	}
	// Glue decides where a delegation leads, as its NS records do.
	if n.IsDelegated() {
		return hintDelegation
	}
	return noHint
}

// claim adds to the decision what the update does to the ownership of a name. The signer of a
// change of a name without an owner becomes its owner, whatever rule granted the change, and a
// machine reclaims its own name. If another client changes a name by an administrator's rule, its
// owner stays the same.
func (e *evaluation) claim(name int, d *zone.Decision) {
	if !e.names[name].granted {
		return
	}
	n, proposed := e.learn(name), e.proposal.Name(name)
	takes := false
	switch {
	case n.mine && !n.deleted && !lacksSID(n.owner, e.subject.owner):
		return
	case n.owner != "" && !n.mine:
		takes = true
		if !(n.deleted && n.added) && n.owner != proxyOwner && !e.mayReclaim(name) && !e.maySucceed(name) {
			return
		}
	case !n.added && !n.byOwner:
		// An administrator's deletion leaves nothing to own.
		return
	}
	// A new name needs no further check: the zone drops a claim to a name that has no records
	// afterwards.
	if (n.exists || n.owner != "") && !proposed.Changed() {
		return
	}
	if e.protection(name, dns.TypeNone) != noHint {
		return
	}
	d.Own = append(d.Own, zone.Claim{Name: string(proposed.Wire()), Principal: e.subject.owner})
	who, text := e.subject.String(), proposed.Text
	switch {
	case takes && n.owner == proxyOwner:
		d.Notes = append(d.Notes, who+" became the owner of "+text()+", which a proxy had created")
	case takes && e.maySucceed(name):
		d.Notes = append(d.Notes, who+" took over "+text()+" from "+n.owner+", the machine's earlier account")
	case takes && e.mayReclaim(name):
		d.Notes = append(d.Notes, who+" reclaimed its own name "+text()+" from "+n.owner)
	case takes:
		d.Notes = append(d.Notes, who+" created "+text()+" again, which belonged to "+n.owner+" before it was deleted")
	case n.owner == "" && n.exists && n.byOwner && e.policy.mode == Secure:
		d.Notes = append(d.Notes, who+" took over its own name "+text()+", which the administrator had entered")
	}
}
