package zone

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// A Proposal is a well-formed update together with the state of the zone that it would apply to. It
// tells [Update.Authorize] what the update section would do. This is worked out name by name, when
// it is asked for, by the code that makes the change if the update is permitted (RFC 2136 section
// 3.4.2).
//
// A Proposal is valid only during the call of Authorize, and is not for concurrent use. Nothing that
// it returns may be modified.
type Proposal struct {
	origin        *origin
	names         []ProposedName // of all sections
	prerequisites []condition
	required      []requiredRecord // sorted by name, type and value
	instructions  []Instruction
	octets        int // of names and rdata

	state    *Snapshot
	holdings map[string]Holding // what Holding has returned, by key
	expired  int64              // tombstones of this time or before have expired, in seconds of Unix time
	times    timing
}

// bind makes s the state that the update would apply to.
func (p *Proposal) bind(s *Snapshot, expired int64, times timing) {
	if p.state != nil {
		// It was evaluated on another state before.
		for i := range p.names {
			n := &p.names[i]
			n.found, n.evaluated, n.before, n.after, n.changed = false, false, nil, nil, nil
		}
		for i := range p.instructions {
			p.instructions[i].count = 0
		}
	}
	p.state, p.expired, p.times, p.holdings = s, expired, times, nil
	for i := range p.names {
		p.names[i].proposal = p
	}
}

// Origin returns the zone's name in wire form and lower case.
func (p *Proposal) Origin() []byte { return p.origin.wire }

// Instructions returns the update section in its order.
func (p *Proposal) Instructions() []Instruction { return p.instructions }

// Names returns how many different names the message has as owners, in both sections.
func (p *Proposal) Names() int { return len(p.names) }

// Name returns one of the names, by its index from 0.
func (p *Proposal) Name(i int) *ProposedName { return &p.names[i] }

// Count returns how many records the RRset had directly after an instruction that added one to it.
// It is 0 for an instruction that added none: for a deletion, for a record that was there already or
// replaced another, and for one that is ignored.
func (p *Proposal) Count(instruction int) int {
	in := &p.instructions[instruction]
	p.names[in.Name].evaluate()
	return int(in.count)
}

// Ignored returns why an instruction is ignored, as RFC 2136 section 3.4.2 wants it, or "" if it is not. The reason is a part of a
// sentence. A deletion of what is not there, and an addition of what is there already, are not ignored.
func (p *Proposal) Ignored(instruction int) string {
	in := &p.instructions[instruction]
	p.names[in.Name].evaluate()
	return ignoredTexts[in.ignored]
}

// ignored is why an instruction is ignored; 0: it is not.
type ignored uint8

const (
	ignoredBesideCNAME ignored = iota + 1
	ignoredCNAME
	ignoredSerial
	ignoredSOAPlace
	ignoredPlace
	ignoredSOADeletion
	ignoredAllNS
	ignoredLastNS
)

var ignoredTexts = [...]string{
	ignoredBesideCNAME: "the name has a CNAME record, beside which nothing else may stand (RFC 2136 section 3.4.2.2)",
	ignoredCNAME:       "the name has other records, beside which no CNAME record may stand (RFC 2136 section 3.4.2.2)",
	ignoredSerial:      "the serial is not greater than that of the zone (RFC 2136 section 3.4.2.2)",
	ignoredSOAPlace:    "only the zone's own name has an SOA record (RFC 2136 section 3.4.2.2)",
	ignoredPlace:       "no record of that type may be at this name: NS and DNAME records are not for wildcards, and the DS record of a zone is in the zone above",
	ignoredSOADeletion: "a zone keeps its SOA record (RFC 2136 section 3.4.2.4)",
	ignoredAllNS:       "the NS records of the zone's own name go one by one, and the last one stays (RFC 2136 section 3.4.2.3)",
	ignoredLastNS:      "a zone keeps its last NS record (RFC 2136 section 3.4.2.4)",
}

// A ProposedName is a name in a [Proposal].
type ProposedName struct {
	proposal    *Proposal
	key         string
	wire        []byte // in the spelling of the message
	lower       []byte
	first, last int32 // instructions, or -1

	found     bool // before is set
	evaluated bool // after and changed are set
	before    *node
	after     *node
	changed   []uint16
}

// Wire returns the name in wire form and lower case.
func (n *ProposedName) Wire() []byte { return n.lower }

// Text returns the name in presentation form and lower case.
func (n *ProposedName) Text() string { return dnswire.NameText(n.lower) }

// IsApex reports whether the name is the zone's own.
func (n *ProposedName) IsApex() bool { return n.key == "" }

// node returns the name's node in the state before the update.
func (n *ProposedName) node() *node {
	if !n.found {
		n.before, _ = n.proposal.state.node(n.key)
		n.found = true
	}
	return n.before
}

// Exists reports whether the name has records before the update.
func (n *ProposedName) Exists() bool { return !n.node().empty() }

// Types returns the types of the RRsets that the name has before the update, in ascending order.
func (n *ProposedName) Types() []uint16 {
	var types []uint16
	for set := range n.node().sets {
		types = append(types, set.rrtype)
	}
	return types
}

// Records returns the rdata of an RRset before the update, in canonical order.
func (n *ProposedName) Records(rrtype uint16) [][]byte {
	set := n.node().set(rrtype)
	if set.empty() {
		return nil
	}
	records := make([][]byte, 0, set.count)
	for data := range set.records {
		records = append(records, data)
	}
	return records
}

// Owner returns the owner of the name before the update. A tombstone that has expired is not
// returned.
func (n *ProposedName) Owner() (Ownership, bool) {
	own, ok := n.proposal.state.owners.Get(n.key)
	if !ok || own.deleted() != 0 && own.deleted() <= n.proposal.expired {
		return Ownership{}, false
	}
	return own.export(), true
}

// IsDelegated reports whether the name is at or below a delegation before the update.
func (n *ProposedName) IsDelegated() bool { return n.proposal.state.delegated(n.key) }

// Changed reports whether the update changes any RRset of the name. Another TTL is a change.
func (n *ProposedName) Changed() bool {
	n.evaluate()
	return len(n.changed) > 0
}

// Changes reports whether the update changes the RRset of that type.
func (n *ProposedName) Changes(rrtype uint16) bool {
	n.evaluate()
	return slices.Contains(n.changed, rrtype)
}

// evaluate works out what the update section makes of the name, once. Instructions for other names
// have no influence on it.
func (n *ProposedName) evaluate() {
	if n.evaluated {
		return
	}
	n.evaluated = true
	before := n.node()
	n.after = before
	if n.first < 0 {
		return
	}
	d := newDraft(before)
	if before.empty() && len(n.wire) > 0 && &n.wire[0] != &n.lower[0] {
		d.spelling = n.wire
	}
	instructions := n.proposal.instructions
	for i := n.first; i >= 0; i = instructions[i].next {
		d.do(&instructions[i], n.key, &n.proposal.times)
	}
	d.settle(before, n.key, &n.proposal.times)
	after := d.node()
	if bytes.Equal(before.body(), after.body()) {
		return
	}
	// A change of times alone changes no type.
	n.changed = changedTypes(before, after)
	n.after = after
}

// changedTypes returns the types of the RRsets in which two nodes differ.
func changedTypes(a, b *node) []uint16 {
	var types []uint16
	for sa, sb := range pairs(a, b) {
		switch {
		case sb.empty():
			types = append(types, sa.rrtype)
		case sa.empty():
			types = append(types, sb.rrtype)
		case sa.ttl != sb.ttl || !bytes.Equal(sa.packed, sb.packed):
			types = append(types, sa.rrtype)
		}
	}
	return types
}

// met compares the prerequisites with the state (RFC 2136 section 3.2.5) and returns NOERROR or the
// rcode of the first that fails.
func (p *Proposal) met() int {
	for _, c := range p.prerequisites {
		n := p.names[c.name].node()
		switch {
		case c.rrtype == dns.TypeANY && c.exist && n.empty():
			return dns.RcodeNameError
		case c.rrtype == dns.TypeANY && !c.exist && !n.empty():
			return dns.RcodeYXDomain
		case c.rrtype != dns.TypeANY && c.exist && n.set(c.rrtype).empty():
			return dns.RcodeNXRrset
		case c.rrtype != dns.TypeANY && !c.exist && !n.set(c.rrtype).empty():
			return dns.RcodeYXRrset
		}
	}
	for rest := p.required; len(rest) > 0; {
		first := &rest[0]
		count := 1
		for count < len(rest) && rest[count].name == first.name && rest[count].rrtype == first.rrtype {
			count++
		}
		if !equalSet(rest[:count], p.names[first.name].node().set(first.rrtype)) {
			return dns.RcodeNXRrset
		}
		rest = rest[count:]
	}
	return dns.RcodeSuccess
}

// equalSet compares required records, sorted and without repetitions, with an RRset.
func equalSet(required []requiredRecord, set rrset) bool {
	if len(required) != set.count {
		return false
	}
	i := 0
	for data := range set.records {
		if !dnswire.Equal(set.rrtype, required[i].data, data) {
			return false
		}
		i++
	}
	return true
}

// do carries out one instruction.
func (d *draft) do(in *Instruction, key string, t *timing) {
	apex := key == ""
	in.ignored = 0
	switch in.Action {
	case AddRecord:
		d.doAdd(in, key)
	case DeleteName:
		d.sets = slices.DeleteFunc(d.sets, func(s draftSet) bool { return !apex || !atApex(s.rrtype) })
	case DeleteRRset:
		switch {
		case !apex || !atApex(in.Type):
			d.removeSet(in.Type)
		case in.Type == dns.TypeSOA:
			in.ignored = ignoredSOADeletion
		default:
			in.ignored = ignoredAllNS
		}
	case DeleteRecord:
		if in.Type == dns.TypeSOA {
			if apex {
				in.ignored = ignoredSOADeletion
			}
			return
		}
		if set := d.set(in.Type); apex && in.Type == dns.TypeNS && set != nil && len(set.records) == 1 {
			if dnswire.Equal(in.Type, set.records[0].data, in.Data) {
				in.ignored = ignoredLastNS
			}
			return
		}
		d.remove(in.Type, in.Data, t.stale)
	}
}

// doAdd follows section 3.4.2.2.
func (d *draft) doAdd(in *Instruction, key string) {
	switch {
	case d.conflictsWith(in.Type):
		in.ignored = ignoredBesideCNAME
		if in.Type == dns.TypeCNAME {
			in.ignored = ignoredCNAME
		}
		return
	case misplaced(in.Type, key):
		in.ignored = ignoredPlace
		return
	}
	set := d.set(in.Type)
	count := 0
	if set != nil {
		count = len(set.records)
	}
	if in.Type == dns.TypeSOA {
		// Only the apex has one.
		if set == nil {
			in.ignored = ignoredSOAPlace
			return
		}
		if !serialAfter(soaSerial(in.Data), soaSerial(set.records[0].data)) {
			in.ignored = ignoredSerial
			return
		}
	}
	d.add(in.Type, in.TTL, draftRecord{data: in.Data, written: true})
	if after := len(d.set(in.Type).records); after > count {
		in.count = int32(after)
	}
}
