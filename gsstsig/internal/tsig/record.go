package tsig

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// DefaultFudge is the fudge, in seconds, that RFC 8945 section 10 recommends.
const DefaultFudge = 300

// Record is the TSIG record of a message (RFC 8945 section 4.2). Its slices
// share memory with the message.
type Record struct {
	Name       Name   // of the key
	Algorithm  Name   // of the MAC
	TimeSigned uint64 // seconds since 1970, 48 bits
	Fudge      uint16 // seconds
	MAC        []byte
	OriginalID uint16
	Error      uint16 // dns.RcodeBadSig and the like
	Other      []byte
}

// Record reads the TSIG record into r. It reports false if there is none.
func (m *Message) Record(r *Record) bool {
	if m.record == 0 {
		return false
	}
	octets := m.Octets
	if _, ok := r.Name.read(octets, m.record); !ok {
		return false
	}
	off, ok := r.Algorithm.read(octets, m.data)
	if !ok || off+10 > len(octets) {
		return false
	}
	r.TimeSigned = uint64(binary.BigEndian.Uint16(octets[off:]))<<32 | uint64(binary.BigEndian.Uint32(octets[off+2:]))
	r.Fudge = binary.BigEndian.Uint16(octets[off+6:])
	size := int(binary.BigEndian.Uint16(octets[off+8:]))
	off += 10
	if off+size+6 > len(octets) {
		return false
	}
	r.MAC = octets[off : off+size]
	off += size
	r.OriginalID = binary.BigEndian.Uint16(octets[off:])
	r.Error = binary.BigEndian.Uint16(octets[off+2:])
	size = int(binary.BigEndian.Uint16(octets[off+4:]))
	off += 6
	if off+size != len(octets) {
		return false
	}
	r.Other = octets[off:]
	return true
}

// Fields are the fields of a TSIG record that is made here.
type Fields struct {
	Name       string // of the key, in canonical wire form
	Algorithm  string // likewise
	TimeSigned uint64 // seconds since 1970, 48 bits
	Fudge      uint16 // seconds
	Error      uint16 // dns.RcodeBadSig and the like
	Other      []byte
}

// Size returns how many octets a record with a MAC of mac octets has.
func (f *Fields) Size(mac int) int {
	return len(f.Name) + 10 + len(f.Algorithm) + 16 + mac + len(f.Other)
}

// AppendTo adds the record to a message that ends with b and begins at start
// in it, and counts it in the header. Both names are uncompressed: RFC 8945
// section 4.2 requires that of the algorithm, and the owner's compression would
// depend on the rest of the message. It reports false if there is no room.
func (f *Fields) AppendTo(b []byte, start int, originalID uint16, mac []byte) ([]byte, bool) {
	count := b[start+10 : start+12]
	additional := binary.BigEndian.Uint16(count)
	if additional == 0xFFFF || len(b)-start+f.Size(len(mac)) > dns.MaxMsgSize {
		return b, false
	}
	binary.BigEndian.PutUint16(count, additional+1)
	b = append(b, f.Name...)
	b = binary.BigEndian.AppendUint16(b, dns.TypeTSIG)
	b = binary.BigEndian.AppendUint16(b, dns.ClassANY)
	b = binary.BigEndian.AppendUint32(b, 0) // TTL
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.Algorithm)+16+len(mac)+len(f.Other)))
	b = append(b, f.Algorithm...)
	b = appendTimers(b, f.TimeSigned, f.Fudge)
	b = appendCounted(b, mac)
	b = binary.BigEndian.AppendUint16(b, originalID)
	b = binary.BigEndian.AppendUint16(b, f.Error)
	return appendCounted(b, f.Other), true
}
