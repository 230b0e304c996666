package zone

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// A request is an UPDATE message whose form was found right, ready to be evaluated.
type request struct {
	prerequisites []condition
	// values are the RRsets of the value-dependent prerequisites (RFC 2136 section 2.4.2), each
	// gathered from all of its records.
	values  []requiredSet
	changes []instruction
}

// A condition is a prerequisite that does not depend on values: sections 2.4.1, 2.4.3, 2.4.4 and
// 2.4.5.
type condition struct {
	key    string
	rrtype uint16 // ANY for the name
	exist  bool
}

type requiredSet struct {
	key    string
	rrtype uint16
	data   [][]byte
}

// An instruction is one record of the update section (2.5).
type instruction struct {
	action action
	key    string
	rrtype uint16
	ttl    uint32
	data   []byte
}

type action uint8

const (
	addRecord    action = iota // 2.5.1
	deleteSet                  // 2.5.2
	deleteName                 // 2.5.3
	deleteRecord               // 2.5.4
)

// A formError is a message that is refused for what it looks like.
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
	errShort    = errors.New("rdata ends early")
)

// parse checks all of an UPDATE message that can be checked without the zone's data (RFC 2136
// sections 3.1, 3.2.5 and 3.4.1). It only reads m. It runs before the client is authorized, so its
// cost must be linear in the octets that the limits permit.
func parse(o *origin, m *dns.Msg, limits *Limits) (*request, error) {
	if m == nil || m.Opcode != dns.OpcodeUpdate || m.Response {
		return nil, malformed(dns.RcodeFormatError, "not an UPDATE request")
	}
	if err := parseZone(o, m.Question); err != nil {
		return nil, err
	}
	if len(m.Answer)+len(m.Ns) > limits.UpdateRecords {
		return nil, &LimitError{Limit: "UpdateRecords", Max: limits.UpdateRecords}
	}
	p := &parser{origin: o, request: new(request)}
	if err := p.section(m.Answer, p.prerequisite, limits); err != nil {
		return nil, err
	}
	if err := p.section(m.Ns, p.instruction, limits); err != nil {
		return nil, err
	}
	return p.request, nil
}

// parseZone checks the zone section (section 3.1).
func parseZone(o *origin, question []dns.Question) error {
	if len(question) != 1 {
		return malformed(dns.RcodeFormatError, "%d records in the zone section", len(question))
	}
	q := question[0]
	if q.Qtype != dns.TypeSOA {
		return malformed(dns.RcodeFormatError, "zone section of type %s", dns.Type(q.Qtype))
	}
	switch q.Qclass {
	case dns.ClassINET:
	case dns.ClassANY, dns.ClassNONE:
		return malformed(dns.RcodeFormatError, "zone section of class %s", dns.Class(q.Qclass))
	default:
		return malformed(dns.RcodeNotAuth, "zone section of class %s", dns.Class(q.Qclass))
	}
	var w wireName
	if err := w.set(q.Name); err != nil {
		return malformed(dns.RcodeFormatError, "zone section: %w", err)
	}
	if !equalFold(w.bytes(), o.wire) {
		return malformed(dns.RcodeNotAuth, "not the zone %s", q.Name)
	}
	return nil
}

// maxFew is how many of a request's RRsets are searched in a row before an index is made.
const maxFew = 8

type parser struct {
	origin  *origin
	request *request
	octets  int
	// index finds the request's values, once there are more than maxFew.
	index map[setKey]int
}

// A setKey says which RRset of the zone is meant.
type setKey struct {
	key    string
	rrtype uint16
}

// section takes the records of a section. It looks at none beyond the one that exceeds the limit of
// octets.
func (p *parser) section(rrs []dns.RR, take func(dns.RR) error, limits *Limits) error {
	for _, rr := range rrs {
		if err := take(rr); err != nil {
			return err
		}
		if p.octets > limits.UpdateOctets {
			return &LimitError{Limit: "UpdateOctets", Max: limits.UpdateOctets}
		}
	}
	return nil
}

// key returns the key of a record's owner, which must be in the zone.
func (p *parser) key(rr dns.RR) (string, error) {
	if rr == nil {
		return "", malformed(dns.RcodeFormatError, "%w", errNoRecord)
	}
	var w wireName
	if err := w.set(rr.Header().Name); err != nil {
		return "", malformed(dns.RcodeFormatError, "owner: %w", err)
	}
	var buf [maxKey]byte
	key, ok := p.origin.appendKey(buf[:0], w.bytes())
	if !ok {
		return "", malformed(dns.RcodeNotZone, "%s is not in the zone", rr.Header().Name)
	}
	p.octets += w.n + rrHeader - 1
	return string(key), nil
}

// data returns a record's rdata, checked.
func (p *parser) data(rr dns.RR) ([]byte, error) {
	data, err := rdataOf(rr)
	if err == nil && withoutRdata(rr, data) {
		data = nil
	}
	if err == nil {
		err = checkRdata(rr.Header().Rrtype, data)
	}
	if err == nil && data != nil && shortened(rr.Header(), data) {
		err = errShort
	}
	if err != nil {
		return nil, malformed(dns.RcodeFormatError, "%s: %w", rr.Header().Name, err)
	}
	p.octets += len(data)
	return data, nil
}

// hasRdata reports whether a record of class ANY or NONE that should have none does.
func hasRdata(rr dns.RR) bool {
	switch rr.(type) {
	case *dns.ANY, *dns.RR_Header:
		return rr.Header().Rdlength != 0
	}
	data, err := rdataOf(rr)
	return err != nil || !withoutRdata(rr, data)
}

// withoutRdata reports whether a record with RDLENGTH 0 stands for one without rdata, rather than
// one that was built by a program, which leaves RDLENGTH 0 too. miekg gives the former its type's
// zero value.
func withoutRdata(rr dns.RR, data []byte) bool {
	return rr.Header().Rdlength == 0 && bytes.Equal(data, zeroRdata()[rr.Header().Rrtype])
}

// shortened reports whether miekg has made up octets that the message did not have, by leaving
// fields at zero. It can be told for types without names, which alone change length when they are
// unpacked.
func shortened(h *dns.RR_Header, data []byte) bool {
	_, known := layouts[h.Rrtype]
	return !known && h.Rdlength != 0 && int(h.Rdlength) != len(data)
}

// prerequisite takes a record of the prerequisite section (section 3.2.5).
func (p *parser) prerequisite(rr dns.RR) error {
	key, err := p.key(rr)
	if err != nil {
		return err
	}
	h := rr.Header()
	if h.Ttl != 0 {
		return malformed(dns.RcodeFormatError, "prerequisite %s: TTL is not zero", h.Name)
	}
	if isMeta(h.Rrtype) && (h.Rrtype != dns.TypeANY || h.Class == dns.ClassINET) {
		return malformed(dns.RcodeFormatError, "prerequisite %s of type %s", h.Name, dns.Type(h.Rrtype))
	}
	switch h.Class {
	case dns.ClassANY, dns.ClassNONE:
		if hasRdata(rr) {
			return malformed(dns.RcodeFormatError, "prerequisite %s: rdata in class %s", h.Name, dns.Class(h.Class))
		}
		p.request.prerequisites = append(p.request.prerequisites,
			condition{key: key, rrtype: h.Rrtype, exist: h.Class == dns.ClassANY})
	case dns.ClassINET:
		data, err := p.data(rr)
		if err != nil {
			return err
		}
		p.require(key, h.Rrtype, data)
	default:
		return malformed(dns.RcodeFormatError, "prerequisite %s of class %s", h.Name, dns.Class(h.Class))
	}
	return nil
}

// require adds a record to the RRset that must be there as a whole.
func (p *parser) require(key string, rrtype uint16, data []byte) {
	if at, ok := p.required(key, rrtype); ok {
		v := &p.request.values[at]
		v.data = append(v.data, data)
		return
	}
	p.request.values = append(p.request.values, requiredSet{key: key, rrtype: rrtype, data: [][]byte{data}})
	switch n := len(p.request.values); {
	case p.index != nil:
		p.index[setKey{key, rrtype}] = n - 1
	case n > maxFew:
		p.index = make(map[setKey]int, 2*maxFew)
		for at, v := range p.request.values {
			p.index[setKey{v.key, v.rrtype}] = at
		}
	}
}

// required returns where in the request's values an RRset is.
func (p *parser) required(key string, rrtype uint16) (at int, ok bool) {
	if p.index != nil {
		at, ok = p.index[setKey{key, rrtype}]
		return at, ok
	}
	for at, v := range p.request.values {
		if v.key == key && v.rrtype == rrtype {
			return at, true
		}
	}
	return 0, false
}

// instruction takes a record of the update section (section 3.4.1).
func (p *parser) instruction(rr dns.RR) error {
	key, err := p.key(rr)
	if err != nil {
		return err
	}
	h := rr.Header()
	in := instruction{key: key, rrtype: h.Rrtype}
	if isMeta(h.Rrtype) && (h.Rrtype != dns.TypeANY || h.Class != dns.ClassANY) {
		return malformed(dns.RcodeFormatError, "update of %s in type %s", h.Name, dns.Type(h.Rrtype))
	}
	if h.Class != dns.ClassINET && h.Ttl != 0 {
		return malformed(dns.RcodeFormatError, "update of %s: TTL is not zero", h.Name)
	}
	switch h.Class {
	case dns.ClassINET:
		in.action = addRecord
		// RFC 2181 section 8: such a TTL is to be taken as zero.
		if in.ttl = h.Ttl; in.ttl >= 1<<31 {
			in.ttl = 0
		}
		in.data, err = p.data(rr)
	case dns.ClassANY:
		in.action = deleteSet
		if h.Rrtype == dns.TypeANY {
			in.action = deleteName
		}
		if hasRdata(rr) {
			return malformed(dns.RcodeFormatError, "update of %s: rdata in class ANY", h.Name)
		}
	case dns.ClassNONE:
		in.action = deleteRecord
		in.data, err = p.data(rr)
	default:
		return malformed(dns.RcodeFormatError, "update of %s in class %s", h.Name, dns.Class(h.Class))
	}
	if err != nil {
		return err
	}
	p.request.changes = append(p.request.changes, in)
	return nil
}
