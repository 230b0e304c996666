package tsig

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// A MAC covers, by RFC 8945 section 4.3: the MAC of the request or of the
// message before, with its length; the message without its TSIG record, under
// its original ID; and all of the TSIG record but the MAC, or only its timers
// in the later messages of an answer.

// AppendRequestDigest appends what the MAC of a request covers. r is the
// record of m.
func (m *Message) AppendRequestDigest(b []byte, r *Record) []byte {
	return appendVariables(m.appendUnsigned(b, r), r.Name.Bytes(), r.Algorithm.Bytes(), r.TimeSigned, r.Fudge, r.Error, r.Other)
}

// appendUnsigned appends the message as it was before the record was added,
// under its original ID.
func (m *Message) appendUnsigned(b []byte, r *Record) []byte {
	b = binary.BigEndian.AppendUint16(b, r.OriginalID)
	b = append(b, m.Octets[2:10]...)
	b = binary.BigEndian.AppendUint16(b, binary.BigEndian.Uint16(m.Octets[10:])-1)
	return append(b, m.Octets[HeaderSize:m.record]...)
}

// appendVariables appends the TSIG variables (RFC 8945 section 4.3.3). Both
// names are in canonical wire form.
func appendVariables[T string | []byte](b []byte, name, algorithm T, timeSigned uint64, fudge, tsigError uint16, other []byte) []byte {
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, dns.ClassANY)
	b = binary.BigEndian.AppendUint32(b, 0) // TTL
	b = append(b, algorithm...)
	b = appendTimers(b, timeSigned, fudge)
	b = binary.BigEndian.AppendUint16(b, tsigError)
	return appendCounted(b, other)
}

// appendTimers appends the time signed and the fudge (RFC 8945 section 4.3.3).
func appendTimers(b []byte, timeSigned uint64, fudge uint16) []byte {
	return binary.BigEndian.AppendUint16(AppendTime(b, timeSigned), fudge)
}

// AppendTime appends a time as TSIG has it: seconds since 1970, 48 bits.
func AppendTime(b []byte, seconds uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(seconds>>32))
	return binary.BigEndian.AppendUint32(b, uint32(seconds))
}

// ReadTime is the inverse of AppendTime. It reports false if b is not a time.
func ReadTime(b []byte) (seconds uint64, ok bool) {
	if len(b) != 6 {
		return 0, false
	}
	return uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:])), true
}

// appendCounted appends octets with their number in front: a MAC or other data.
func appendCounted(b, octets []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(octets)))
	return append(b, octets...)
}
