package policy

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// A title is why the rule owner permits a client to change a name.
type title uint8

const (
	noTitle         title = iota
	titleOwner            // it is the owner
	titleNew              // the name has no records and no tombstone
	titleFirstCome        // the name is marked as first-come
	titleSuccession       // it belonged to the machine's earlier account
	titleReclaim          // it is the machine of that name: Config.Reclaim
	titleAddress          // it is the reverse name of the client's address
	titleService          // the name is a service label below a name of the client's
	titleUnsigned         // an unsigned update could make the change
)

// owns reports whether the client has a title to changes of that type at a name by the rule owner.
func (e *evaluation) owns(r *rule, name int, rrtype uint16) bool {
	_, covered := r.limit(rrtype)
	guard := e.protection(name, rrtype)
	switch {
	case !covered:
		e.hint = hintType
	case guard != noHint:
		e.hint = guard
	default:
		title, refused := e.title(r, name, rrtype)
		if title != noTitle {
			n := &e.names[name]
			n.byOwner = true
			if title > n.title {
				n.title = title
			}
			return true
		}
		e.hint = refused
	}
	return false
}

// title returns the client's title to changes of that type at a name that is not protected, or why it
// has none.
func (e *evaluation) title(r *rule, name int, rrtype uint16) (title, hint) {
	n, proposed := e.learn(name), e.proposal.Name(name)
	// A rule for a name is the administrator's consent to names below it: only labels in front of the
	// last start octets are looked at.
	origin := e.proposal.Origin()
	start := max(len(origin), len(r.name))
	if origin[0] > 0 && origin[1] == '_' && !subdomain(r.name, string(origin)) {
		return noTitle, hintService
	}
	base := serviceBase(proposed.Wire(), start)
	if len(base) > 0 && len(serviceBase(r.name, len(origin))) == 0 {
		if title, refused, decided := e.serviceTitle(name, rrtype, base); decided {
			return title, refused
		}
	} else if n.mine {
		return titleOwner, noHint
	}
	if proposed.IsServiceTarget() {
		return noTitle, hintTarget
	}
	if e.policy.isTarget != nil && e.policy.isTarget(proposed.Wire()) {
		return noTitle, hintTargetElsewhere
	}
	switch {
	case n.owner == firstComeOwner:
		return titleFirstCome, noHint
	case n.owner == "" && !n.exists:
		// The machine of a name needs no consent for it.
		if held := e.above(name, start); held != nil && !e.isMine(held) && !e.isOpen(held) && !e.mayReclaim(name) {
			if e.openUnsignedBelow(held, proposed.Wire(), rrtype) {
				return titleUnsigned, noHint
			}
			n.above = held
			return noTitle, hintBelow
		}
		return titleNew, noHint
	case e.maySucceed(name):
		return titleSuccession, noHint
	case e.mayReclaim(name):
		return titleReclaim, noHint
	case rrtype == dns.TypePTR && e.movedHere(name):
		return titleAddress, noHint
	case n.owner == "" && e.openUnsigned(proposed.Wire(), rrtype):
		return titleUnsigned, noHint
	case n.owner == "" || n.owner == signedOwner:
		return noTitle, hintAdministrator
	case n.deleted:
		return noTitle, hintTombstone
	}
	return noTitle, hintOwned
}

// serviceTitle decides on a name that is a service label below a name, such as _ssh._tcp below a
// host, which belongs to the owner of that name, no matter which client created it. What the
// administrator has entered there stays the administrator's. It does not decide if every client may
// change both names.
func (e *evaluation) serviceTitle(name int, rrtype uint16, base []byte) (title, hint, bool) {
	n := &e.names[name]
	if bytes.Equal(base, e.proposal.Origin()) {
		return noTitle, hintService, true
	}
	held, found := e.holding(base)
	switch {
	case found && e.isMine(&held):
		switch {
		case n.mine:
			return titleOwner, noHint, true
		case n.owner != "" && n.owner != signedOwner:
			return titleService, noHint, true
		}
		// New, or the administrator's.
		return noTitle, noHint, false
	case n.mine && (!found || !held.Owned):
		// Its name has no owner any more.
		return titleOwner, noHint, true
	case found && e.isOpen(&held):
		return noTitle, noHint, false
	case n.owner == "" && found && e.openUnsignedBelow(&held, e.proposal.Name(name).Wire(), rrtype):
		return titleUnsigned, noHint, true
	}
	n.host = base
	if !found {
		return noTitle, hintServiceOfNone, true
	}
	n.above = &held
	return noTitle, hintServiceOf, true
}

// serviceBase returns the name that the service labels of a name are below: what follows the last
// label that begins with an underscore. It is empty if there is none in front of the last start octets.
func serviceBase[Name string | []byte](name Name, start int) (base Name) {
	for i := 0; len(name)-i > start; {
		next := i + 1 + int(name[i])
		if name[i+1] == '_' {
			base = name[next:]
		}
		i = next
	}
	return base
}

// above returns the closest name above one that has records or an owner, if it does not lie within
// the last start octets. The names of addresses stand beside each other, whatever their labels.
func (e *evaluation) above(name, start int) *zone.Holding {
	wire := e.proposal.Name(name).Wire()
	if isReverse(wire) {
		return nil
	}
	if wire = wire[1+int(wire[0]):]; len(wire) <= start {
		return nil
	}
	held, found := e.holding(wire)
	if !found || len(held.Name) <= start {
		return nil
	}
	return &held
}

// isReverse reports whether a name is in the tree of addresses.
func isReverse(name []byte) bool {
	return bytes.HasSuffix(name, []byte("\x04arpa\x00")) &&
		(subdomain(name, "\x07in-addr\x04arpa\x00") || subdomain(name, "\x03ip6\x04arpa\x00"))
}

// holding returns the closest name at or above one that has records or an owner, or is marked as the
// administrator's.
func (e *evaluation) holding(name []byte) (zone.Holding, bool) {
	held, found := e.proposal.Holding(name)
	if held.Owner.Principal == administratorOwner {
		held.Owner, held.Owned = zone.Ownership{}, false
	}
	return held, found
}

// isMine reports whether the client owns a name, or is the machine of that name.
func (e *evaluation) isMine(held *zone.Holding) bool {
	owner := held.Owner.Principal
	return sameOwner(owner, e.subject.owner) || e.mayReclaimFrom(held.Name, owner)
}

// isOpen reports whether every client may change all of a name that is there.
func (e *evaluation) isOpen(held *zone.Holding) bool {
	if held.Owned {
		return held.Owner.Principal == firstComeOwner
	}
	return e.isEverybodys(held.Name)
}

// openUnsigned reports whether an unsigned update could change a name that has no owner. A signed one
// is then permitted no less.
func (e *evaluation) openUnsigned(name []byte, rrtype uint16) bool {
	return e.unsignedRule(name, rrtype) != nil
}

// openUnsignedBelow reports whether an unsigned update could make the change though the name is below
// another one. The rule owner asks for the consent of that one.
func (e *evaluation) openUnsignedBelow(held *zone.Holding, name []byte, rrtype uint16) bool {
	r := e.unsignedRule(name, rrtype)
	return r != nil && (r.kind != ruleOwner || !held.Owned && e.openUnsigned(held.Name, rrtype))
}

// unsignedRule returns the rule that grants an unsigned update a change of that type at a name that has
// no owner, or nil.
func (e *evaluation) unsignedRule(name []byte, rrtype uint16) *rule {
	if e.policy.mode != NonsecureAndSecure {
		return nil
	}
	for i := range e.policy.rules {
		r := &e.policy.rules[i]
		if !r.means(&e.policy.unsigned) || !r.reaches(&e.policy.unsigned, name, nil) {
			continue
		}
		if _, covered := r.limit(rrtype); !covered {
			continue
		}
		if r.deny {
			return nil
		}
		if !e.opens(r, name, rrtype) {
			continue
		}
		return r
	}
	return nil
}

// opens reports whether a rule that grants unsigned updates, and reaches the name, grants them a change of
// that type where the name has no owner. The rule owner does not at service labels of the zone, and at
// those below a name only as far as that is open: see title and serviceTitle.
func (e *evaluation) opens(r *rule, name []byte, rrtype uint16) bool {
	if r.kind != ruleOwner {
		return true
	}
	origin := e.proposal.Origin()
	if origin[0] > 0 && origin[1] == '_' && !subdomain(r.name, string(origin)) {
		return false
	}
	base := serviceBase(name, max(len(origin), len(r.name)))
	if len(base) == 0 || len(serviceBase(r.name, len(origin))) > 0 {
		return true
	}
	if bytes.Equal(base, origin) {
		return false
	}
	held, found := e.holding(base)
	return found && (e.isOpen(&held) || !held.Owned && e.openUnsigned(held.Name, rrtype))
}

// isEverybodys reports whether an unsigned update could make a name that has no owner free. One that may
// change some types only, or is denied some, could not.
func (e *evaluation) isEverybodys(name []byte) bool {
	if e.policy.mode != NonsecureAndSecure {
		return false
	}
	for i := range e.policy.rules {
		r := &e.policy.rules[i]
		if !r.means(&e.policy.unsigned) || !r.reaches(&e.policy.unsigned, name, nil) {
			continue
		}
		if r.deny || r.coversAll() && e.opens(r, name, dns.TypeNone) {
			return !r.deny
		}
	}
	return false
}

// mayReclaim reports whether the client may take a name of the update from its owner, or from the
// administrator.
func (e *evaluation) mayReclaim(name int) bool {
	return e.mayReclaimFrom(e.proposal.Name(name).Wire(), e.names[name].owner)
}

func (e *evaluation) mayReclaimFrom(name []byte, owner string) bool {
	if owner == signedOwner {
		owner = ""
	}
	return e.policy.reclaim.includes(e.subject) && e.subject.mayReclaim(string(name), owner)
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

// movedHere reports whether a name that another client owned is the reverse name of the client's
// address, as TCP proves it, and all PTR records that the update adds there lead to the client's own
// names.
func (e *evaluation) movedHere(name int) bool {
	n := &e.names[name]
	if n.owner == "" || n.owner == signedOwner || e.subject.reverse == "" || e.subject.Kind != Kerberos ||
		string(e.proposal.Name(name).Wire()) != e.subject.reverse {
		return false
	}
	if !n.movedKnown {
		n.movedKnown = true
		n.moved = e.pointsHome(name)
	}
	return n.moved
}

// pointsHome reports whether the update adds PTR records to the name, and all of them lead to names of
// the client.
func (e *evaluation) pointsHome(name int) bool {
	added := false
	for _, in := range e.proposal.Instructions() {
		if in.Name != name || in.Action != zone.AddRecord || in.Type != dns.TypePTR {
			continue
		}
		if !e.isHome(in.Data) {
			return false
		}
		added = true
	}
	return added
}

// isHome reports whether a name is that of the client's machine, or belongs to it.
func (e *evaluation) isHome(target []byte) bool {
	lower := dnswire.AppendLower(nil, target)
	if e.subject.isMachine(string(lower)) {
		return true
	}
	owner := ""
	if held, found := e.holding(lower); found {
		if bytes.Equal(held.Name, lower) {
			owner = held.Owner.Principal
		}
	} else if e.policy.ownerOf != nil {
		owner = e.policy.ownerOf(lower)
	}
	return sameOwner(owner, e.subject.owner)
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
	case n.IsNameServer():
		return hintServer
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

// claim adds to the decision what the update does to the ownership of a name. Only what the rule owner
// granted makes the signer the owner, so that a right does not grow by being used: the grant of one type
// at a name is no right to the others.
func (e *evaluation) claim(name int, d *zone.Decision) {
	n, proposed := &e.names[name], e.proposal.Name(name)
	switch {
	case !n.granted:
	case n.byOwner && n.title == titleUnsigned && (!n.exists || !e.isEverybodys(proposed.Wire())):
		// What unsigned updates may do there is no right to the name.
		n.narrowly = true
		e.claimForOthers(name, d)
	case n.byOwner && e.subject.Kind != Anonymous:
		e.learn(name)
		if n.title == titleOwner && !n.deleted && !lacksSID(n.owner, e.subject.owner) || !proposed.Changed() {
			return
		}
		d.Own = append(d.Own, zone.Claim{Name: string(proposed.Wire()), Principal: e.subject.owner})
		if note := e.note(name); note != "" {
			d.Notes = append(d.Notes, note)
		}
	case n.byOwner && n.marked:
		// It is everybody's.
		d.Released = append(d.Released, string(proposed.Wire()))
	case n.byOwner || !e.policy.ownership:
	default:
		e.claimForOthers(name, d)
	}
}

// claimForOthers keeps apart, for the rule owner, what is free and what is the administrator's, where
// other rules granted a change. Names with records but no owner are the administrator's, but in
// nonsecure-and-secure mode they are open to every client, and names without records are free. So:
//
//   - A new name that a proxy creates is first-come.
//   - In nonsecure-and-secure mode, a new name that another client creates with a signature is closed to
//     unsigned updates.
//   - The last record of a name leaves a tombstone of the administrator's, if the client may delete it
//     but may not change every type there. Otherwise it could make the name free, and then become its
//     owner. A client that may change every type has the name at its disposal anyway, as every client
//     has if unsigned updates may make the name free.
func (e *evaluation) claimForOthers(name int, d *zone.Decision) {
	n, proposed := e.learn(name), e.proposal.Name(name)
	remains, secure := proposed.HasRecordsAfter(), e.policy.mode == Secure
	if !n.byOwner && !n.byOther {
		return // nothing changes, which is permitted to every client
	}
	owner, wire := "", string(proposed.Wire())
	switch {
	case n.owner == "" && !n.exists && !remains:
		return
	case n.owner == "" && !n.exists && e.subject.owner == firstComeOwner && e.isFree(name):
		owner = firstComeOwner
	case n.owner == "" && !n.exists && !secure && e.subject.Kind != Anonymous:
		owner = signedOwner
	case n.owner == "" && n.exists && !n.marked && !remains && n.narrowly && !e.isEverybodys(proposed.Wire()):
		owner = administratorOwner
	case (n.marked || n.owner == signedOwner && (secure || n.deleted && e.subject.Kind == Anonymous)) && (remains || !n.narrowly):
		d.Released = append(d.Released, wire)
		return
	default:
		return
	}
	d.Own = append(d.Own, zone.Claim{Name: wire, Principal: owner})
}

// isFree reports whether the rule owner would let every client create the name.
func (e *evaluation) isFree(name int) bool {
	anywhere := rule{Rule: Rule{kind: ruleOwner, name: root}}
	title, _ := e.title(&anywhere, name, dns.TypeNone)
	return title == titleNew && e.protection(name, dns.TypeNone) == noHint
}

// note says for the log that a name changes hands.
func (e *evaluation) note(name int) string {
	n, who, text := &e.names[name], e.subject.String(), e.proposal.Name(name).Text()
	switch n.title {
	case titleFirstCome:
		return who + " became the owner of " + text + ", which was open to the first client"
	case titleSuccession:
		return who + " took over " + text + " from " + n.owner + ", the machine's earlier account"
	case titleReclaim:
		if n.owner == "" || n.owner == signedOwner {
			return who + " took over its own name " + text + ", which the administrator had entered"
		}
		return who + " reclaimed its own name " + text + " from " + n.owner
	case titleAddress:
		return who + " took over " + text + ", the name of its address, from " + n.owner
	case titleService:
		return who + " took over " + text + ", which is below a name of its own, from " + n.owner
	}
	return ""
}
