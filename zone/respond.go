package zone

import (
	"bytes"
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// Sizes in a message (RFC 1035 section 4.1).
const (
	headerSize       = 12
	recordHeaderSize = 10 // behind the owner's name: type, class, TTL, RDLENGTH
)

// pointerTo begins a compressed name (RFC 1035 section 4.1.4).
const pointerTo = 0xC000

// maxPointer is the first offset that no compression pointer can have.
const maxPointer = 0x4000

// Respond turns the beginning of a response into the whole of it: response is a header and one
// question of class IN, uncompressed, with nothing set in the header but the ID, QR and what the
// query's flags ask for. Respond appends the answer or authority section, and sets AA, the rcode
// and the counts.
//
// It gives the same answer as Lookup, for simple cases only: records at the name or at a wildcard,
// or none. It reports false and appends nothing for aliases, zone cuts, additional records, the
// type ANY, a name outside the zone, and a response longer than limit octets; use Lookup for those.
func (s *Snapshot) Respond(response []byte, limit int) (whole []byte, ok bool) {
	if len(response) < headerSize {
		return response, false
	}
	name := response[headerSize:]
	n := dnswire.NameLen(name)
	if n == 0 || len(name) != n+4 {
		return response, false
	}
	name, qtype := name[:n:n], binary.BigEndian.Uint16(name[n:])

	var buf [maxKey]byte
	octets, in := s.origin.appendKey(buf[:0], name)
	if !in || dnswire.IsMeta(qtype) || dnswire.HasAdditional(qtype) {
		return response, false
	}
	key := string(octets)
	if _, _, cut := s.above(key, qtype); cut {
		return response, false
	}
	owner := ownerName{offset: headerSize}
	found, exists := s.node(key)
	if exists {
		owner = ownerAt(headerSize, name, found)
	} else if found, exists = s.node(s.closestEncloser(key) + wildcardKey); !exists {
		return s.deny(response, n, qtype, dns.RcodeNameError, limit)
	}
	if set := found.set(qtype); !set.empty() {
		return answer(response, owner, set, limit)
	}
	if !found.set(dns.TypeCNAME).empty() && !besideCNAME(qtype) {
		return response, false
	}
	return s.deny(response, n, qtype, dns.RcodeSuccess, limit)
}

// An ownerName is the owner of records in a response: a name that is in the message already, or one
// that is spelled in another way and has to be appended.
type ownerName struct {
	offset int
	wire   []byte // nil if the name at offset is meant
	fold   bool   // wire is to be written in lower case
}

// ownerAt returns the owner of records of a node, given the same name at an offset of the message.
func ownerAt(offset int, name []byte, n *node) ownerName {
	spelling := n.spelling()
	switch {
	case spelling == nil && !hasUpper(name), spelling != nil && bytes.Equal(spelling, name):
		return ownerName{offset: offset}
	case spelling == nil:
		return ownerName{wire: name, fold: true}
	}
	return ownerName{wire: spelling}
}

// extra is how many octets more than a compression pointer the first record takes for the owner.
func (o *ownerName) extra() int { return max(len(o.wire)-2, 0) }

// answer appends the records of a set as the answer.
func answer(response []byte, owner ownerName, set rrset, limit int) ([]byte, bool) {
	// A set has two octets for the length of each record as well.
	if len(response)+len(set.packed)+set.count*(2+recordHeaderSize-2)+owner.extra() > limit {
		return response, false
	}
	for data := range set.records {
		response = owner.appendRecord(response, set.rrtype, set.ttl, data)
	}
	completeHeader(response, dns.RcodeSuccess, set.count, 0)
	return response, true
}

// deny appends the SOA with the time that the denial may be cached. length is that of the
// question's name.
func (s *Snapshot) deny(response []byte, length int, qtype uint16, rcode, limit int) ([]byte, bool) {
	apex := s.apex()
	set := apex.set(dns.TypeSOA)
	data := set.first()
	// The zone's name is the end of the question's.
	at := headerSize + length - len(s.origin.wire)
	owner := ownerName{offset: at}
	// Nearly always it has the same octets, which costs less to find out (BenchmarkRespond).
	if name := response[at : headerSize+length]; apex.spelling() != nil || !bytes.Equal(name, s.origin.wire) {
		owner = ownerAt(at, name, apex)
	}
	if len(response)+2+recordHeaderSize+len(data)+owner.extra() > limit {
		return response, false
	}
	ttl := negativeTTL(set.ttl, binary.BigEndian.Uint32(data[len(data)-4:]), qtype, rcode)
	response = owner.appendRecord(response, dns.TypeSOA, ttl, data)
	completeHeader(response, rcode, 0, 1)
	return response, true
}

// appendRecord appends a record. The next one refers to the owner of this one.
func (o *ownerName) appendRecord(message []byte, rrtype uint16, ttl uint32, data []byte) []byte {
	if o.wire != nil {
		at := len(message)
		if o.fold {
			message = dnswire.AppendLower(message, o.wire)
		} else {
			message = append(message, o.wire...)
		}
		if at < maxPointer {
			o.offset, o.wire = at, nil
		}
	} else {
		message = binary.BigEndian.AppendUint16(message, pointerTo|uint16(o.offset))
	}
	var h [recordHeaderSize]byte
	binary.BigEndian.PutUint16(h[0:], rrtype)
	binary.BigEndian.PutUint16(h[2:], dns.ClassINET)
	binary.BigEndian.PutUint32(h[4:], ttl)
	binary.BigEndian.PutUint16(h[8:], uint16(len(data)))
	return append(append(message, h[:]...), data...)
}

// completeHeader makes the header that of an authoritative response.
func completeHeader(message []byte, rcode, answers, authorities int) {
	const authoritative = 0x04
	message[2] |= authoritative
	message[3] = message[3]&0xF0 | byte(rcode)
	binary.BigEndian.PutUint16(message[4:], 1)
	binary.BigEndian.PutUint16(message[6:], uint16(answers))
	binary.BigEndian.PutUint16(message[8:], uint16(authorities))
	binary.BigEndian.PutUint16(message[10:], 0)
}
