package policy

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// An evaluation is the decision on one update. It looks only at the state that the update would
// apply to, and asks about a name no more than the rules need: most updates are of names that the
// sender owns or that are new, and pass without a look at a single record.
type evaluation struct {
	policy   *Policy
	subject  *subject
	proposal *zone.Proposal

	names   []nameState // of the proposal's names
	granted *rule       // the first rule that granted a change
	hint    hint        // of the record at hand

	unrefreshed []zone.ProposedSet // granted only because nothing of them changes
}

// nameState is what an evaluation knows about one name.
type nameState struct {
	known   bool   // learn has set what follows
	exists  bool   // it has records, or is marked
	marked  bool   // it is the administrator's, by administratorOwner
	owner   string // the owner, of a tombstone that has not expired too
	mine    bool   // that is the sender
	deleted bool   // it is a tombstone

	guarded bool // guard is set
	guard   hint // why the rule owner does not permit any change of the name, or noHint

	granted  bool  // a rule granted something here
	narrowly bool  // ... and not every type: the rule, which was not owner, or a deny in front of it has a list
	byOwner  bool  // ... and it was the rule owner, because of title
	byOther  bool  // ... and it was another rule
	title    title // the strongest

	movedKnown bool          // movedHere has set moved
	moved      bool          // the name has come to the client with its address
	above      *zone.Holding // the name above it that stands in the way
	host       []byte        // the name that it is a service label of, in wire form

	pointers [2]pointerSet // the name's PTR and SRV records
}

// pointerSet is an RRset whose records are decided on one by one. It is fetched and decided on once,
// however often an update refers to it.
type pointerSet struct {
	fetched bool
	records [][]byte
	decided bool
	rule    *rule
	ok      bool
}

// pointerSet returns what is known of the name's PTR or SRV records.
func (e *evaluation) pointerSet(name int, rrtype uint16) *pointerSet {
	p := &e.names[name].pointers[0]
	if rrtype == dns.TypeSRV {
		p = &e.names[name].pointers[1]
	}
	if !p.fetched {
		p.fetched = true
		p.records = e.proposal.Name(name).Records(rrtype)
	}
	return p
}

// A hint is why a rule that seemed to fit did not.
type hint uint8

const (
	noHint hint = iota
	hintType
	hintApex
	hintDelegation
	hintWildcard
	hintServer
	hintBlocked
	hintAdministrator
	hintOwned
	hintTombstone
	hintTarget
	hintTargetElsewhere
	hintService
	hintServiceOf
	hintServiceOfNone
	hintBelow
	hintCount
	hintSigner
)

// cause returns the kind of a refusal for [zone.Decision].
func (h hint) cause() string {
	switch h {
	case hintApex, hintDelegation, hintWildcard, hintServer, hintBlocked, hintTarget, hintTargetElsewhere, hintService, hintSigner:
		return CauseProtected
	case hintAdministrator:
		return CauseAdministrator
	case hintOwned, hintTombstone, hintServiceOf:
		return CauseOwned
	case hintBelow, hintServiceOfNone:
		return CauseBelow
	case hintCount:
		return CauseCount
	}
	return CauseNoRule
}

func (h hint) text(n *nameState) string {
	switch h {
	case hintType:
		return "the rule owner does not cover the type"
	case hintApex:
		return "the apex is protected"
	case hintDelegation:
		return "delegations are protected"
	case hintWildcard:
		return "wildcards are protected"
	case hintServer:
		return "the name is one of the server's own"
	case hintBlocked:
		return "wpad and isatap are protected"
	case hintAdministrator:
		return "the name was entered by the administrator"
	case hintOwned:
		return "the name belongs to " + n.owner
	case hintTombstone:
		return "the name belonged until recently to " + n.owner
	case hintTarget:
		return "records of the zone's own services, or of a delegation, lead to the name"
	case hintTargetElsewhere:
		return "records of the services of another zone of the server lead to the name"
	case hintService:
		return "the zone's own service labels are protected"
	case hintServiceOfNone:
		return "service labels belong to the owner of the name that they are below, and " + dnswire.NameText(n.host) + " has none"
	case hintServiceOf:
		return "service labels belong to the owner of the name that they are below: " + holderText(n.above)
	case hintBelow:
		return "names below another one belong to its owner: " + holderText(n.above)
	case hintCount:
		return "the rule allows no more records of the type there"
	case hintSigner:
		return "only the zone's signer makes such records"
	}
	return ""
}

// holderText says whose a name is.
func holderText(held *zone.Holding) string {
	name := dnswire.NameText(held.Name)
	switch owner := held.Owner.Principal; {
	case !held.Owned, owner == signedOwner:
		return name + " was entered by the administrator"
	case owner == firstComeOwner:
		return name + " has no owner yet"
	default:
		return name + " belongs to " + owner
	}
}

func (e *evaluation) decide() zone.Decision {
	for i, in := range e.proposal.Instructions() {
		e.hint = noHint
		if r, ok := e.decideRecord(i, &in); !ok {
			return e.refusal(r, in.Name, in.Type)
		}
	}
	return e.permission()
}

// decideRecord decides on one record of the update section.
func (e *evaluation) decideRecord(i int, in *zone.Instruction) (*rule, bool) {
	switch in.Type {
	case dns.TypeNSEC, dns.TypeNSEC3:
		e.hint = hintSigner
		return nil, false
	case dns.TypeRRSIG:
		if !e.proposal.Name(in.Name).IsApex() {
			e.hint = hintSigner
			return nil, false
		}
	}
	pointer := in.Type == dns.TypePTR || in.Type == dns.TypeSRV
	switch {
	case in.Action == zone.DeleteName:
		return e.decideName(in.Name)
	case in.Action == zone.DeleteRRset && pointer:
		return e.decideSet(in.Name, in.Type)
	case in.Action == zone.DeleteRecord && pointer:
		if !e.present(in) {
			return nil, true
		}
		return e.match(in.Name, in.Type, target(in.Type, in.Data))
	case in.Action != zone.AddRecord:
		return e.match(in.Name, in.Type, nil)
	}
	r, ok := e.match(in.Name, in.Type, target(in.Type, in.Data))
	if ok && r != nil {
		if max, _ := r.limit(in.Type); max > 0 && e.proposal.Count(i) > max {
			e.hint = hintCount
			return r, false
		}
	}
	return r, ok
}

// decideName decides on the deletion of all RRsets of a name: each type that is there must be
// granted, except for those that only the signer makes.
func (e *evaluation) decideName(name int) (*rule, bool) {
	for _, rrtype := range e.proposal.Name(name).Types() {
		var r *rule
		var ok bool
		switch rrtype {
		case dns.TypeRRSIG, dns.TypeNSEC:
			continue
		case dns.TypePTR, dns.TypeSRV:
			r, ok = e.decideSet(name, rrtype)
		default:
			r, ok = e.match(name, rrtype, nil)
		}
		if !ok {
			return r, false
		}
	}
	return nil, true
}

// decideSet decides on the deletion of an RRset whose records name a target: each record that is
// there must be granted.
func (e *evaluation) decideSet(name int, rrtype uint16) (*rule, bool) {
	p := e.pointerSet(name, rrtype)
	if p.decided {
		return p.rule, p.ok
	}
	p.decided, p.ok = true, true
	for _, data := range p.records {
		if r, ok := e.match(name, rrtype, target(rrtype, data)); !ok {
			p.rule, p.ok = r, false
			break
		}
	}
	return p.rule, p.ok
}

// present reports whether a record to be deleted is in the zone.
func (e *evaluation) present(in *zone.Instruction) bool {
	records := e.pointerSet(in.Name, in.Type).records
	_, found := slices.BinarySearchFunc(records, in.Data, func(a, b []byte) int { return dnswire.Compare(in.Type, a, b) })
	return found
}

// target returns the name that a PTR or SRV record points to, nil for other types.
func target(rrtype uint16, data []byte) []byte {
	switch rrtype {
	case dns.TypePTR:
		return data
	case dns.TypeSRV:
		const priorityWeightPort = 6
		return data[priorityWeightPort:]
	}
	return nil
}

// match finds the first rule that matches. It returns that rule and its decision, or nil and false.
//
// The rule owner grants what changes nothing to every client, but that is no title to anything. It
// refreshes records only if a later rule grants their change.
func (e *evaluation) match(name int, rrtype uint16, target []byte) (*rule, bool) {
	wire := e.proposal.Name(name).Wire()
	denied := false // other types, or other targets
	var unchanging *rule
	for _, r := range e.subject.rules {
		if !r.reaches(e.subject, wire, target) {
			denied = denied || r.deny && r.reaches(e.subject, wire, nil)
			continue
		}
		if r.kind == ruleOwner {
			if e.owns(r, name, rrtype) {
				if unchanging != nil {
					r = unchanging
				}
				return e.grant(r, name), true
			}
			if unchanging == nil && !e.proposal.Name(name).Changes(rrtype) {
				unchanging = r
			}
			continue
		}
		if _, covered := r.limit(rrtype); !covered {
			denied = denied || r.deny
			continue
		}
		switch {
		case r.deny && unchanging != nil:
			return e.grantUnchanging(unchanging, name, rrtype), true
		case r.deny:
			return r, false
		case unchanging != nil:
			return e.grant(unchanging, name), true
		}
		n := &e.names[name]
		n.byOther = true
		n.narrowly = n.narrowly || denied || !r.coversAll()
		return e.grant(r, name), true
	}
	if unchanging != nil {
		return e.grantUnchanging(unchanging, name, rrtype), true
	}
	return nil, false
}

// grantUnchanging grants what changes nothing, without a refresh.
func (e *evaluation) grantUnchanging(r *rule, name int, rrtype uint16) *rule {
	if set := (zone.ProposedSet{Name: name, Type: rrtype}); len(e.unrefreshed) == 0 || e.unrefreshed[len(e.unrefreshed)-1] != set {
		e.unrefreshed = append(e.unrefreshed, set)
	}
	return e.grant(r, name)
}

func (e *evaluation) grant(r *rule, name int) *rule {
	n := &e.names[name]
	n.granted = true
	if e.granted == nil {
		e.granted = r
	}
	return r
}

// learn looks the name and its owner up, once.
func (e *evaluation) learn(name int) *nameState {
	n := &e.names[name]
	if n.known {
		return n
	}
	n.known = true
	proposed := e.proposal.Name(name)
	n.exists = proposed.Exists()
	if o, ok := proposed.Owner(); ok && o.Principal == administratorOwner {
		n.marked, n.exists = true, true
	} else if ok && o.Principal != "" {
		n.owner, n.deleted = o.Principal, !o.Deleted.IsZero()
		n.mine = sameOwner(n.owner, e.subject.owner)
	}
	return n
}

func (e *evaluation) refusal(r *rule, name int, rrtype uint16) zone.Decision {
	d := zone.Decision{Rule: NoRule, Cause: e.hint.cause(), Name: e.proposal.Name(name).Text()}
	d.Reason = d.Name + " " + dnswire.TypeText(rrtype) + ": "
	if r != nil {
		d.Rule = r.label
	}
	switch {
	case r != nil && r.deny:
		d.Reason += "denied"
		d.Cause = CauseDenied
	case e.hint != noHint:
		n := &e.names[name]
		d.Reason += e.hint.text(n)
		if e.hint == hintServiceOf || e.hint == hintServiceOfNone {
			d.Name = dnswire.NameText(n.host) // whose owner decides
		}
	default:
		d.Reason += "no rule grants it to " + e.subject.String()
	}
	return d
}

func (e *evaluation) permission() zone.Decision {
	d := zone.Decision{Allow: true, Unrefreshed: e.unrefreshed}
	if e.granted != nil {
		d.Rule = e.granted.label
	} else {
		d.Reason = "nothing to change"
	}
	for i := range e.names {
		e.claim(i, &d)
	}
	return d
}
