package zone

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A condition is a prerequisite that does not depend on values: RFC 2136 sections 2.4.1, 2.4.3,
// 2.4.4 and 2.4.5.
type condition struct {
	name   int32
	rrtype uint16 // ANY for the name
	exist  bool
}

// A requiredRecord is one record of an RRset that must exist with exactly these values (section
// 2.4.2).
type requiredRecord struct {
	name   int32
	rrtype uint16
	data   []byte
}

// An Action is what an [Instruction] does.
type Action uint8

const (
	AddRecord    Action = iota // RFC 2136 section 2.5.1
	DeleteRRset                // section 2.5.2
	DeleteName                 // section 2.5.3
	DeleteRecord               // section 2.5.4
)

// An Instruction is one record of the update section (RFC 2136 section 2.5).
type Instruction struct {
	Action Action
	// Type is the type of the record or RRset, ANY for DeleteName.
	Type uint16
	// Name is the owner: an index for [Proposal.Name].
	Name int
	// TTL is that of an added record.
	TTL uint32
	// Data is the uncompressed rdata of AddRecord and DeleteRecord. It must not be modified.
	Data []byte

	next  int32 // the next instruction for the same name, or -1
	count int32 // records in the RRset after this one made it grow, 0 if it did not

	ignored ignored
}

// A formError is a message that is refused because of its form.
type formError struct {
	rcode int
	err   error
}

func (e *formError) Error() string { return "zone: " + e.err.Error() }
func (e *formError) Unwrap() error { return e.err }

func malformed(rcode int, format string, args ...any) *formError {
	return &formError{rcode: rcode, err: fmt.Errorf(format, args...)}
}

var (
	errNoRecord = errors.New("empty record")
	errHasRdata = errors.New("has rdata")
)

// parse checks everything of an UPDATE message that can be checked without the zone's data (RFC
// 2136 sections 3.1, 3.2.5 and 3.4.1). It runs before the client is authorized, so its cost must be
// linear in the octets that the limits permit. The Proposal has no state yet, and shares nothing
// with the message.
func parse(o *origin, message []byte, limits *Limits) (*Proposal, error) {
	p := &parser{proposal: &Proposal{origin: o}, arena: make([]byte, 0, min(2*len(message), 1<<16))}
	walker, err := dnswire.NewWalker(message)
	if err != nil {
		return nil, malformed(dns.RcodeFormatError, "%w", err)
	}
	p.walker = walker
	header := walker.Header()
	if header.Opcode() != dns.OpcodeUpdate || header.Response() {
		return nil, malformed(dns.RcodeFormatError, "not an UPDATE request")
	}
	if err := p.zone(int(header.Counts[dnswire.Questions])); err != nil {
		return nil, err
	}
	prerequisites, updates := int(header.Counts[dnswire.Answers]), int(header.Counts[dnswire.Authority])
	if prerequisites+updates > limits.UpdateRecords {
		return nil, &LimitError{Limit: "UpdateRecords", Max: limits.UpdateRecords}
	}
	if err := p.section(prerequisites, p.prerequisite, limits); err != nil {
		return nil, err
	}
	if updates > 0 {
		p.proposal.instructions = make([]Instruction, 0, min(updates, len(message)/11))
	}
	if err := p.section(updates, p.instruction, limits); err != nil {
		return nil, err
	}
	for p.walker.Next(&p.record) {
		// The additional section is not for the zone, but the message must end with it.
	}
	if err := p.walker.Err(); err != nil {
		return nil, malformed(dns.RcodeFormatError, "%w", err)
	}
	p.sortRequired()
	p.proposal.octets = len(p.arena)
	return p.proposal, nil
}

// parseSections is parse for an update that is no message.
func parseSections(o *origin, sections *Sections) (*Proposal, error) {
	p := &parser{proposal: &Proposal{origin: o}}
	p.proposal.instructions = make([]Instruction, 0, len(sections.Updates))
	for _, section := range []struct {
		records []store.Record
		parse   func(*dnswire.Record) error
	}{{sections.Prerequisites, p.prerequisite}, {sections.Updates, p.instruction}} {
		for i := range section.records {
			p.given = &section.records[i]
			p.record = dnswire.Record{Type: p.given.Type, Class: p.given.Class, TTL: p.given.TTL, RdataEnd: len(p.given.Data)}
			if err := section.parse(&p.record); err != nil {
				return nil, err
			}
		}
	}
	p.sortRequired()
	p.proposal.octets = len(p.arena)
	return p.proposal, nil
}

// size is about how many octets the proposal and its message take in memory.
func (p *Proposal) size(message int) int {
	const ofName, ofInstruction, ofPrerequisite = 256, 64, 40
	return message + p.octets + ofName*len(p.names) + ofInstruction*len(p.instructions) +
		ofPrerequisite*(len(p.prerequisites)+len(p.required))
}

type parser struct {
	walker   dnswire.Walker
	given    *store.Record // the current record, if there is no message
	record   dnswire.Record
	proposal *Proposal
	// arena holds names and rdata. Slices of it stay valid when it grows.
	arena  []byte
	octets int
	// last is the index of the name of the record before.
	last int32
	// index finds names by key, once there are more than a few.
	index map[string]int32
}

// zone checks the zone section (section 3.1).
func (p *parser) zone(count int) error {
	if count != 1 {
		return malformed(dns.RcodeFormatError, "%d records in the zone section", count)
	}
	if !p.walker.Next(&p.record) {
		return malformed(dns.RcodeFormatError, "zone section: %w", p.walker.Err())
	}
	r := &p.record
	if r.Type != dns.TypeSOA {
		return malformed(dns.RcodeFormatError, "zone section of type %s", dnswire.TypeText(r.Type))
	}
	switch r.Class {
	case dns.ClassINET:
	case dns.ClassANY, 0: // as for BIND
		return malformed(dns.RcodeFormatError, "zone section of class %s", dns.Class(r.Class))
	default:
		return malformed(dns.RcodeNotAuth, "zone section of class %s", dns.Class(r.Class))
	}
	var buf [dnswire.MaxName]byte
	name, err := p.walker.AppendOwner(buf[:0], r)
	if err != nil {
		return malformed(dns.RcodeFormatError, "zone section: %w", err)
	}
	if !dnswire.EqualNames(name, p.proposal.origin.wire) {
		return malformed(dns.RcodeNotAuth, "not the zone %s", dnswire.NameText(name))
	}
	return nil
}

// section parses the records of a section. It parses none beyond the one that exceeds the limit of
// octets.
func (p *parser) section(count int, parse func(*dnswire.Record) error, limits *Limits) error {
	for range count {
		if !p.walker.Next(&p.record) {
			return malformed(dns.RcodeFormatError, "%w", p.walker.Err())
		}
		if err := parse(&p.record); err != nil {
			return err
		}
		if p.octets > limits.UpdateOctets {
			return &LimitError{Limit: "UpdateOctets", Max: limits.UpdateOctets}
		}
	}
	return nil
}

// maxLinear is how many names are compared with before there is an index of them. An update of a
// few names is parsed faster without (BenchmarkParse).
const maxLinear = 8

// owner returns the index of a record's owner, which must be in the zone.
func (p *parser) owner(r *dnswire.Record) (int32, error) {
	names := p.proposal.names
	start := len(p.arena)
	octets, err := p.appendOwner(r)
	if err != nil {
		return 0, malformed(dns.RcodeFormatError, "owner: %w", err)
	}
	wire := octets[start:len(octets):len(octets)]
	p.octets += len(wire) + recordHeaderSize
	if len(names) > 0 && bytes.Equal(wire, names[p.last].wire) {
		return p.last, nil
	}
	var buf [maxKey]byte
	key, ok := p.proposal.origin.appendKey(buf[:0], wire)
	if !ok {
		return 0, malformed(dns.RcodeNotZone, "%s is not in the zone", dnswire.NameText(wire))
	}
	if at, ok := p.find(key); ok {
		p.last = at
		return at, nil
	}
	p.arena = octets
	n := ProposedName{key: string(key), wire: wire, lower: wire, first: -1, last: -1}
	if hasUpper(wire) {
		start := len(p.arena)
		p.arena = dnswire.AppendLower(p.arena, wire)
		n.lower = p.arena[start:len(p.arena):len(p.arena)]
	}
	p.last = int32(len(names))
	if p.index != nil {
		p.index[n.key] = p.last
	}
	p.proposal.names = append(names, n)
	return p.last, nil
}

func (p *parser) find(key []byte) (int32, bool) {
	names := p.proposal.names
	if len(names) <= maxLinear {
		for at := range names {
			if names[at].key == string(key) {
				return int32(at), true
			}
		}
		return 0, false
	}
	if p.index == nil {
		p.index = make(map[string]int32, 2*len(names))
		for at := range names {
			p.index[names[at].key] = int32(at)
		}
	}
	at, ok := p.index[string(key)]
	return at, ok
}

// data returns a record's rdata, uncompressed and valid.
func (p *parser) data(r *dnswire.Record) ([]byte, error) {
	start := len(p.arena)
	octets, err := p.appendRdata(r)
	if err != nil {
		return nil, malformed(dns.RcodeFormatError, "%s: %w", p.nameText(), err)
	}
	p.arena = octets
	p.octets += len(octets) - start
	return octets[start:len(octets):len(octets)], nil
}

// appendOwner appends the owner of the current record to the arena.
func (p *parser) appendOwner(r *dnswire.Record) ([]byte, error) {
	if p.given == nil {
		return p.walker.AppendOwner(p.arena, r)
	}
	if name := []byte(p.given.Name); len(name) == 0 || dnswire.NameLen(name) != len(name) {
		return nil, fmt.Errorf("%q is not a name in wire form", name)
	}
	return append(p.arena, p.given.Name...), nil
}

// appendRdata appends the rdata of the current record, uncompressed and valid, to the arena.
func (p *parser) appendRdata(r *dnswire.Record) ([]byte, error) {
	if p.given == nil {
		return p.walker.AppendRdata(p.arena, r)
	}
	if err := dnswire.Validate(r.Type, p.given.Data); err != nil {
		return nil, err
	}
	return append(p.arena, p.given.Data...), nil
}

// nameText returns the current record's owner for a message.
func (p *parser) nameText() string { return p.proposal.names[p.last].Text() }

// prerequisite parses a record of the prerequisite section (section 3.2.5). There is no check of
// its type: a type that no RRset has is a condition like others.
func (p *parser) prerequisite(r *dnswire.Record) error {
	name, err := p.owner(r)
	if err != nil {
		return err
	}
	if r.TTL != 0 {
		return malformed(dns.RcodeFormatError, "prerequisite %s: TTL is not zero", p.nameText())
	}
	switch r.Class {
	case dns.ClassANY, dns.ClassNONE:
		if r.RdataStart != r.RdataEnd {
			return malformed(dns.RcodeFormatError, "prerequisite %s of class %s: %w", p.nameText(), dns.Class(r.Class), errHasRdata)
		}
		p.proposal.prerequisites = append(p.proposal.prerequisites,
			condition{name: name, rrtype: r.Type, exist: r.Class == dns.ClassANY})
	case dns.ClassINET:
		data, err := p.data(r)
		if err != nil {
			return err
		}
		p.proposal.required = append(p.proposal.required, requiredRecord{name: name, rrtype: r.Type, data: data})
	default:
		return malformed(dns.RcodeFormatError, "prerequisite %s of class %s", p.nameText(), dns.Class(r.Class))
	}
	return nil
}

// sortRequired brings the records of each required RRset together, in canonical order and without
// repetitions: they are compared as sets.
func (p *parser) sortRequired() {
	required := p.proposal.required
	slices.SortFunc(required, func(a, b requiredRecord) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.rrtype, b.rrtype), dnswire.Compare(a.rrtype, a.data, b.data))
	})
	p.proposal.required = slices.CompactFunc(required, func(a, b requiredRecord) bool {
		return a.name == b.name && a.rrtype == b.rrtype && dnswire.Equal(a.rrtype, a.data, b.data)
	})
}

// instruction parses a record of the update section (section 3.4.1).
func (p *parser) instruction(r *dnswire.Record) error {
	name, err := p.owner(r)
	if err != nil {
		return err
	}
	in := Instruction{Name: int(name), Type: r.Type, next: -1}
	if dnswire.IsMeta(r.Type) && (r.Type != dns.TypeANY || r.Class != dns.ClassANY) {
		return malformed(dns.RcodeFormatError, "update of %s in type %s", p.nameText(), dnswire.TypeText(r.Type))
	}
	if r.Class != dns.ClassINET && r.TTL != 0 {
		return malformed(dns.RcodeFormatError, "update of %s: TTL is not zero", p.nameText())
	}
	switch r.Class {
	case dns.ClassINET:
		in.Action = AddRecord
		// RFC 2181 section 8: such a TTL is to be taken as zero.
		if in.TTL = r.TTL; in.TTL >= 1<<31 {
			in.TTL = 0
		}
		in.Data, err = p.data(r)
	case dns.ClassANY:
		in.Action = DeleteRRset
		if r.Type == dns.TypeANY {
			in.Action = DeleteName
		}
		if r.RdataStart != r.RdataEnd {
			return malformed(dns.RcodeFormatError, "update of %s in class ANY: %w", p.nameText(), errHasRdata)
		}
	case dns.ClassNONE:
		in.Action = DeleteRecord
		in.Data, err = p.data(r)
	default:
		return malformed(dns.RcodeFormatError, "update of %s in class %s", p.nameText(), dns.Class(r.Class))
	}
	if err != nil {
		return err
	}
	at := int32(len(p.proposal.instructions))
	n := &p.proposal.names[name]
	if n.last >= 0 {
		p.proposal.instructions[n.last].next = at
	} else {
		n.first = at
	}
	n.last = at
	p.proposal.instructions = append(p.proposal.instructions, in)
	return nil
}
