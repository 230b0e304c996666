package zone

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// Sizes in a message (RFC 1035 section 4.1).
const (
	headerSize       = 12
	recordHeaderSize = 10 // behind the owner's name: type, class, TTL, RDLENGTH
)

// pointerTo begins a compressed name (RFC 1035 section 4.1.4).
const pointerTo = 0xC000

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
	n := wireNameLen(name)
	if n == 0 || len(name) != n+4 {
		return response, false
	}
	name, qtype := name[:n:n], binary.BigEndian.Uint16(name[n:])

	var buf [maxKey]byte
	octets, in := s.origin.appendKey(buf[:0], name)
	if !in || isMeta(qtype) || hasAdditional(qtype) {
		return response, false
	}
	key := string(octets)
	if _, _, cut := s.above(key, qtype); cut {
		return response, false
	}
	found, exists := s.node(key)
	if !exists {
		if found, exists = s.node(s.closestEncloser(key) + wildcardKey); !exists {
			return s.deny(response, n, qtype, dns.RcodeNameError, limit)
		}
	}
	if set := found.set(qtype); !set.empty() {
		return state(response, set, limit)
	}
	if !found.set(dns.TypeCNAME).empty() && !besideCNAME(qtype) {
		return response, false
	}
	return s.deny(response, n, qtype, dns.RcodeSuccess, limit)
}

// hasAdditional reports whether answers of that type come with addresses.
func hasAdditional(rrtype uint16) bool {
	return rrtype == dns.TypeNS || rrtype == dns.TypeMX || rrtype == dns.TypeSRV
}

// state appends the records of a set as the answer.
func state(response []byte, set rrset, limit int) ([]byte, bool) {
	// A set keeps two octets for the length of each record as well.
	if len(response)+len(set.packed)+set.count*(2+recordHeaderSize-2) > limit {
		return response, false
	}
	for data := range set.records {
		response = appendRecord(response, headerSize, set.rrtype, set.ttl, data)
	}
	completeHeader(response, dns.RcodeSuccess, set.count, 0)
	return response, true
}

// deny appends the SOA with the time that the denial may be cached. length is that of the
// question's name.
func (s *Snapshot) deny(response []byte, length int, qtype uint16, rcode, limit int) ([]byte, bool) {
	set := s.apex().set(dns.TypeSOA)
	data := set.first()
	if len(response)+2+recordHeaderSize+len(data) > limit {
		return response, false
	}
	ttl := negativeTTL(set.ttl, binary.BigEndian.Uint32(data[len(data)-4:]), qtype, rcode)
	// The zone's name is the end of the question's.
	response = appendRecord(response, headerSize+length-len(s.origin.wire), dns.TypeSOA, ttl, data)
	completeHeader(response, rcode, 0, 1)
	return response, true
}

// appendRecord appends a record whose owner is the name that stands at an offset of the message.
func appendRecord(message []byte, owner int, rrtype uint16, ttl uint32, data []byte) []byte {
	var h [2 + recordHeaderSize]byte
	binary.BigEndian.PutUint16(h[:], pointerTo|uint16(owner))
	binary.BigEndian.PutUint16(h[2:], rrtype)
	binary.BigEndian.PutUint16(h[4:], dns.ClassINET)
	binary.BigEndian.PutUint32(h[6:], ttl)
	binary.BigEndian.PutUint16(h[10:], uint16(len(data)))
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
