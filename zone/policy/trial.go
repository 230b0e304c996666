package policy

import (
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// A trial is one update before the rules. It looks only at the snapshot that
// the update would apply to, and finds out about a name no more than the rules
// ask for: most updates are of names that the sender owns or that are new, and
// pass without a look at a single record.
type trial struct {
	policy  *Policy
	subject *subject
	zone    *zone.Snapshot
	updates []dns.RR

	rules   []*rule // those whose identity fits the sender
	names   []nameState
	nameOf  []int32 // for each of updates, its name's index in names
	next    []int32 // for each of updates, the next one of the same name, or -1
	spent   int     // comparisons of records made
	granted *rule   // the first rule that granted a change
	hint    hint    // of the record at hand

	// What the slices begin in, for policies and updates of ordinary size.
	fewRules [16]*rule
	fewNames [4]nameState
	fewIndex [2][16]int32
}

// nameState is what a trial knows about one name.
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

// pointerSet is an RRset whose records are judged one by one. It is fetched and
// judged once, however often an update speaks of it.
type pointerSet struct {
	fetched bool
	records []dns.RR
	judged  bool
	rule    *rule
	ok      bool
}

// pointerSet returns what is known of the name's PTR or SRV records.
func (t *trial) pointerSet(n *nameState, rrtype uint16) *pointerSet {
	p := &n.pointers[0]
	if rrtype == dns.TypeSRV {
		p = &n.pointers[1]
	}
	if !p.fetched {
		p.fetched = true
		p.records = t.zone.RRset(n.name, rrtype)
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
		return "the name belonged until lately to " + n.owner
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
func (t *trial) sort() {
	t.names = t.fewNames[:0]
	if n := len(t.updates); n <= len(t.fewIndex[0]) {
		t.nameOf, t.next = t.fewIndex[0][:n], t.fewIndex[1][:n]
	} else {
		t.nameOf, t.next = make([]int32, n), make([]int32, n)
	}
	var index map[string]int32
	for i, rr := range t.updates {
		name := canonical(rr.Header().Name)
		at := t.find(index, name)
		if at < 0 {
			at = int32(len(t.names))
			t.names = append(t.names, nameState{name: name, first: int32(i)})
			if index == nil && at == maxFew {
				index = make(map[string]int32, 2*maxFew)
				for j := range t.names {
					index[t.names[j].name] = int32(j)
				}
			} else if index != nil {
				index[name] = at
			}
		} else {
			t.next[t.names[at].last] = int32(i)
		}
		t.names[at].last = int32(i)
		t.nameOf[i], t.next[i] = at, -1
	}
}

func (t *trial) find(index map[string]int32, name string) int32 {
	if n := len(t.names); n > 0 && t.names[n-1].name == name {
		return int32(n - 1)
	}
	if index != nil {
		if at, ok := index[name]; ok {
			return at
		}
		return -1
	}
	for at := range t.names {
		if t.names[at].name == name {
			return int32(at)
		}
	}
	return -1
}

func (t *trial) decide() zone.Decision {
	t.rules = t.fewRules[:0]
	for i := range t.policy.rules {
		if r := &t.policy.rules[i]; r.means(t.subject) {
			t.rules = append(t.rules, r)
		}
	}
	t.sort()
	for i, rr := range t.updates {
		n := &t.names[t.nameOf[i]]
		t.hint = noHint
		if r, ok := t.judge(i, n, rr); !ok {
			return t.refusal(r, n, rr.Header().Rrtype)
		}
	}
	return t.permission()
}

// judge decides on one record of the update section.
func (t *trial) judge(i int, n *nameState, rr dns.RR) (*rule, bool) {
	h := rr.Header()
	switch h.Rrtype {
	case dns.TypeNSEC, dns.TypeNSEC3:
		t.hint = hintSigner
		return nil, false
	case dns.TypeRRSIG:
		if n.name != t.zone.Origin() {
			t.hint = hintSigner
			return nil, false
		}
	}
	hasTarget := h.Rrtype == dns.TypePTR || h.Rrtype == dns.TypeSRV
	switch {
	case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY:
		return t.judgeAll(n)
	case h.Class == dns.ClassANY && hasTarget:
		return t.judgeSet(n, h.Rrtype)
	case h.Class == dns.ClassNONE && hasTarget:
		if !t.present(n, rr) {
			return nil, true
		}
		return t.match(n, h.Rrtype, target(rr))
	case h.Class == dns.ClassNONE, h.Class == dns.ClassANY:
		return t.match(n, h.Rrtype, "")
	}
	n.added = true
	to := ""
	if hasTarget {
		to = target(rr)
	}
	r, ok := t.match(n, h.Rrtype, to)
	if ok && r != nil {
		if max, _ := r.limit(h.Rrtype); max > 0 && t.work(n).exceeds(i, max) {
			t.hint = hintCount
			return r, false
		}
	}
	return r, ok
}

// judgeAll decides on the deletion of everything at a name: each type that is
// there must be granted, but for what only the signer makes.
func (t *trial) judgeAll(n *nameState) (*rule, bool) {
	for _, rrtype := range t.zone.Types(n.name) {
		var r *rule
		var ok bool
		switch rrtype {
		case dns.TypeRRSIG, dns.TypeNSEC:
			continue
		case dns.TypePTR, dns.TypeSRV:
			r, ok = t.judgeSet(n, rrtype)
		default:
			r, ok = t.match(n, rrtype, "")
		}
		if !ok {
			return r, false
		}
	}
	return nil, true
}

// judgeSet decides on the deletion of an RRset whose records name a target:
// each record that is there must be granted.
func (t *trial) judgeSet(n *nameState, rrtype uint16) (*rule, bool) {
	p := t.pointerSet(n, rrtype)
	if p.judged {
		return p.rule, p.ok
	}
	p.judged, p.ok = true, true
	for _, rr := range p.records {
		if r, ok := t.match(n, rrtype, target(rr)); !ok {
			p.rule, p.ok = r, false
			break
		}
	}
	return p.rule, p.ok
}

// present reports whether the record, of class NONE, may be in the zone.
func (t *trial) present(n *nameState, rr dns.RR) bool {
	for _, held := range t.pointerSet(n, rr.Header().Rrtype).records {
		t.spent++
		if same, certain := sameRecord(held, rr, false); same || !certain || t.spent > maxComparisons {
			return true
		}
	}
	return false
}

// target returns the name that a PTR or SRV record points at. A record that
// does not show it points at the root, which is no machine.
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

// match finds the first rule that matches. It returns that rule and what it
// says, or nil and false.
func (t *trial) match(n *nameState, rrtype uint16, target string) (*rule, bool) {
	for _, r := range t.rules {
		if !r.reaches(t.subject, n.name, target) {
			continue
		}
		if r.kind == ruleOwner {
			if t.owns(r, n, rrtype) {
				return t.grant(r, n), true
			}
			continue
		}
		if _, covered := r.limit(rrtype); !covered {
			continue
		}
		if r.deny {
			return r, false
		}
		return t.grant(r, n), true
	}
	return nil, false
}

func (t *trial) grant(r *rule, n *nameState) *rule {
	n.granted = true
	n.byOwner = n.byOwner || r.kind == ruleOwner
	if t.granted == nil {
		t.granted = r
	}
	return r
}

// learn looks the name and its owner up, once.
func (t *trial) learn(n *nameState) {
	if n.known {
		return
	}
	n.known = true
	n.exists = t.zone.Exists(n.name)
	o, ok := t.zone.Owner(n.name)
	if !ok || o.Principal == "" {
		return
	}
	if !o.Deleted.IsZero() {
		if t.policy.now().Sub(o.Deleted) >= t.policy.lifetime {
			return
		}
		n.deleted = true
	}
	n.owner = o.Principal
	n.mine = sameOwner(n.owner, t.subject.owner)
}

// work works out what the update does to the name, once.
func (t *trial) work(n *nameState) *effect {
	if !n.worked {
		n.worked = true
		w := worker{zone: t.zone, name: n.name, apex: n.name == t.zone.Origin(), spent: &t.spent}
		for i := n.first; i >= 0; i = t.next[i] {
			w.do(int(i), t.updates[i])
		}
		n.effect = w.finish()
	}
	return &n.effect
}

func (t *trial) refusal(r *rule, n *nameState, rrtype uint16) zone.Decision {
	d := zone.Decision{Rule: "no rule", Reason: n.name + " " + dns.Type(rrtype).String() + ": "}
	if r != nil {
		d.Rule = r.label
	}
	switch {
	case r != nil && r.deny:
		d.Reason += "denied"
	case t.hint != noHint:
		d.Reason += t.hint.text(n)
	default:
		d.Reason += "no rule grants it to " + t.subject.String()
	}
	return d
}

func (t *trial) permission() zone.Decision {
	d := zone.Decision{Allow: true}
	if t.granted != nil {
		d.Rule = t.granted.label
	} else {
		d.Reason = "nothing to change"
	}
	if t.subject.Kind == Anonymous {
		return d
	}
	for i := range t.names {
		t.claim(&t.names[i], &d)
	}
	return d
}
