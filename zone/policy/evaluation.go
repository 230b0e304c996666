package policy

import (
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// A evaluation is one update before the rules. It looks only at the snapshot that the update would
// apply to, and finds out about a name no more than the rules ask for: most updates are of names
// that the sender owns or that are new, and pass without a look at a single record.
type evaluation struct {
	policy  *Policy
	subject *subject
	zone    *zone.Snapshot
	updates []dns.RR

	rules       []*rule // those whose identity fits the sender
	names       []nameState
	nameOf      []int32 // for each of updates, its name's index in names
	next        []int32 // for each of updates, the next one of the same name, or -1
	comparisons int     // comparisons of records made
	granted     *rule   // the first rule that granted a change
	hint        hint    // of the record at hand

	// What the slices begin in, for policies and updates of ordinary size.
	fewRules [16]*rule
	fewNames [4]nameState
	fewIndex [2][16]int32
}

// nameState is what a evaluation knows about one name.
type nameState struct {
	name        string
	first, last int32 // indices of its first and last record in updates

	known   bool   // learn has set what follows
	exists  bool   // it has records
	owner   string // to whom it belongs, tombstones that still count included
	mine    bool   // that is the sender
	deleted bool   // it is a tombstone that still counts

	guarded bool // guard is set
	guard   hint // why the rule owner never gives the name away, or noHint

	added   bool // a record is to be added
	granted bool // a rule granted something here
	byOwner bool // ... and it was the rule owner

	worked bool // effect is set
	effect effect

	pointers [2]pointerSet // the name's PTR and SRV records
}

// pointerSet is an RRset whose records are decided one by one. It is fetched and decided once,
// however often an update speaks of it.
type pointerSet struct {
	fetched bool
	records []dns.RR
	decided bool
	rule    *rule
	ok      bool
}

// pointerSet returns what is known of the name's PTR or SRV records.
func (e *evaluation) pointerSet(n *nameState, rrtype uint16) *pointerSet {
	p := &n.pointers[0]
	if rrtype == dns.TypeSRV {
		p = &n.pointers[1]
	}
	if !p.fetched {
		p.fetched = true
		p.records = e.zone.RRset(n.name, rrtype)
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
	hintCount
	hintSigner
)

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
	case hintCount:
		return "the rule allows no more records of the type there"
	case hintSigner:
		return "only the zone's signer makes such records"
	}
	return ""
}

// maxFew is how many names are searched in a row before an index is made.
const maxFew = 8

// sort groups the records by their names.
func (e *evaluation) sort() {
	e.names = e.fewNames[:0]
	if n := len(e.updates); n <= len(e.fewIndex[0]) {
		e.nameOf, e.next = e.fewIndex[0][:n], e.fewIndex[1][:n]
	} else {
		e.nameOf, e.next = make([]int32, n), make([]int32, n)
	}
	var index map[string]int32
	for i, rr := range e.updates {
		name := canonical(rr.Header().Name)
		at := e.find(index, name)
		if at < 0 {
			at = int32(len(e.names))
			e.names = append(e.names, nameState{name: name, first: int32(i)})
			if index == nil && at == maxFew {
				index = make(map[string]int32, 2*maxFew)
				for j := range e.names {
					index[e.names[j].name] = int32(j)
				}
			} else if index != nil {
				index[name] = at
			}
		} else {
			e.next[e.names[at].last] = int32(i)
		}
		e.names[at].last = int32(i)
		e.nameOf[i], e.next[i] = at, -1
	}
}

func (e *evaluation) find(index map[string]int32, name string) int32 {
	if n := len(e.names); n > 0 && e.names[n-1].name == name {
		return int32(n - 1)
	}
	if index != nil {
		if at, ok := index[name]; ok {
			return at
		}
		return -1
	}
	for at := range e.names {
		if e.names[at].name == name {
			return int32(at)
		}
	}
	return -1
}

func (e *evaluation) decide() zone.Decision {
	e.rules = e.fewRules[:0]
	for i := range e.policy.rules {
		if r := &e.policy.rules[i]; r.means(e.subject) {
			e.rules = append(e.rules, r)
		}
	}
	e.sort()
	for i, rr := range e.updates {
		n := &e.names[e.nameOf[i]]
		e.hint = noHint
		if r, ok := e.decideRecord(i, n, rr); !ok {
			return e.refusal(r, n, rr.Header().Rrtype)
		}
	}
	return e.permission()
}

// judge decides on one record of the update section.
func (e *evaluation) decideRecord(i int, n *nameState, rr dns.RR) (*rule, bool) {
	h := rr.Header()
	switch h.Rrtype {
	case dns.TypeNSEC, dns.TypeNSEC3:
		e.hint = hintSigner
		return nil, false
	case dns.TypeRRSIG:
		if n.name != e.zone.Origin() {
			e.hint = hintSigner
			return nil, false
		}
	}
	hasTarget := h.Rrtype == dns.TypePTR || h.Rrtype == dns.TypeSRV
	switch {
	case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY:
		return e.decideName(n)
	case h.Class == dns.ClassANY && hasTarget:
		return e.decideSet(n, h.Rrtype)
	case h.Class == dns.ClassNONE && hasTarget:
		if !e.present(n, rr) {
			return nil, true
		}
		return e.match(n, h.Rrtype, target(rr))
	case h.Class == dns.ClassNONE, h.Class == dns.ClassANY:
		return e.match(n, h.Rrtype, "")
	}
	n.added = true
	to := ""
	if hasTarget {
		to = target(rr)
	}
	r, ok := e.match(n, h.Rrtype, to)
	if ok && r != nil {
		if max, _ := r.limit(h.Rrtype); max > 0 && e.work(n).exceeds(i, max) {
			e.hint = hintCount
			return r, false
		}
	}
	return r, ok
}

// decideName decides on the deletion of everything at a name: each type that is there must be
// granted, but for what only the signer makes.
func (e *evaluation) decideName(n *nameState) (*rule, bool) {
	for _, rrtype := range e.zone.Types(n.name) {
		var r *rule
		var ok bool
		switch rrtype {
		case dns.TypeRRSIG, dns.TypeNSEC:
			continue
		case dns.TypePTR, dns.TypeSRV:
			r, ok = e.decideSet(n, rrtype)
		default:
			r, ok = e.match(n, rrtype, "")
		}
		if !ok {
			return r, false
		}
	}
	return nil, true
}

// decideSet decides on the deletion of an RRset whose records name a target: each record that is
// there must be granted.
func (e *evaluation) decideSet(n *nameState, rrtype uint16) (*rule, bool) {
	p := e.pointerSet(n, rrtype)
	if p.decided {
		return p.rule, p.ok
	}
	p.decided, p.ok = true, true
	for _, rr := range p.records {
		if r, ok := e.match(n, rrtype, target(rr)); !ok {
			p.rule, p.ok = r, false
			break
		}
	}
	return p.rule, p.ok
}

// present reports whether the record, of class NONE, may be in the zone.
func (e *evaluation) present(n *nameState, rr dns.RR) bool {
	for _, held := range e.pointerSet(n, rr.Header().Rrtype).records {
		e.comparisons++
		if same, certain := sameRecord(held, rr, false); same || !certain || e.comparisons > maxComparisons {
			return true
		}
	}
	return false
}

// target returns the name that a PTR or SRV record points at. A record that does not show it points
// at the root, which is no machine.
func target(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.PTR:
		if rr.Ptr != "" {
			return canonical(rr.Ptr)
		}
	case *dns.SRV:
		if rr.Target != "" {
			return canonical(rr.Target)
		}
	}
	return "."
}

// match finds the first rule that matches. It returns that rule and what it says, or nil and false.
func (e *evaluation) match(n *nameState, rrtype uint16, target string) (*rule, bool) {
	for _, r := range e.rules {
		if !r.reaches(e.subject, n.name, target) {
			continue
		}
		if r.kind == ruleOwner {
			if e.owns(r, n, rrtype) {
				return e.grant(r, n), true
			}
			continue
		}
		if _, covered := r.limit(rrtype); !covered {
			continue
		}
		if r.deny {
			return r, false
		}
		return e.grant(r, n), true
	}
	return nil, false
}

func (e *evaluation) grant(r *rule, n *nameState) *rule {
	n.granted = true
	n.byOwner = n.byOwner || r.kind == ruleOwner
	if e.granted == nil {
		e.granted = r
	}
	return r
}

// learn looks the name and its owner up, once.
func (e *evaluation) learn(n *nameState) {
	if n.known {
		return
	}
	n.known = true
	n.exists = e.zone.Exists(n.name)
	o, ok := e.zone.Owner(n.name)
	if !ok || o.Principal == "" {
		return
	}
	if !o.Deleted.IsZero() {
		if e.policy.now().Sub(o.Deleted) >= e.policy.lifetime {
			return
		}
		n.deleted = true
	}
	n.owner = o.Principal
	n.mine = sameOwner(n.owner, e.subject.owner)
}

// work works out what the update does to the name, once.
func (e *evaluation) work(n *nameState) *effect {
	if !n.worked {
		n.worked = true
		w := worker{zone: e.zone, name: n.name, apex: n.name == e.zone.Origin(), comparisons: &e.comparisons}
		for i := n.first; i >= 0; i = e.next[i] {
			w.do(int(i), e.updates[i])
		}
		n.effect = w.finish()
	}
	return &n.effect
}

func (e *evaluation) refusal(r *rule, n *nameState, rrtype uint16) zone.Decision {
	d := zone.Decision{Rule: "no rule", Reason: n.name + " " + dns.Type(rrtype).String() + ": "}
	if r != nil {
		d.Rule = r.label
	}
	switch {
	case r != nil && r.deny:
		d.Reason += "denied"
	case e.hint != noHint:
		d.Reason += e.hint.text(n)
	default:
		d.Reason += "no rule grants it to " + e.subject.String()
	}
	return d
}

func (e *evaluation) permission() zone.Decision {
	d := zone.Decision{Allow: true}
	if e.granted != nil {
		d.Rule = e.granted.label
	} else {
		d.Reason = "nothing to change"
	}
	if e.subject.Kind == Anonymous {
		return d
	}
	for i := range e.names {
		e.claim(&e.names[i], &d)
	}
	return d
}
