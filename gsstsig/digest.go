package gsstsig

import (
	"encoding/binary"
	"sync"

	"github.com/miekg/dns"
)

// What a MAC covers is RFC 8945 section 4.3: the MAC of the request or of the
// message before, with its length; the message without its TSIG record, under
// its original ID; and of the TSIG record all but the MAC, or only the timers
// in the later messages of an answer.

// scratch lends buffers for what MACs cover and for messages being packed.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// maxScratch keeps one large message from pinning its buffer for good.
const maxScratch = 16 << 10

func lend() *[]byte { return scratch.Get().(*[]byte) }

func giveBack(b *[]byte) {
	if cap(*b) <= maxScratch {
		*b = (*b)[:0]
		scratch.Put(b)
	}
}

// appendRequest appends what the MAC of a received request covers.
func (t *tsigRecord) appendRequest(b, message []byte) []byte {
	return appendVariables(t.appendMessage(b, message), t.name.bytes(), t.algorithm.bytes(), t.timeSigned, t.fudge, t.tsigError, t.other)
}

// appendMessage appends the message that the record was found in as it was
// before the record was added, under its original ID.
func (t *tsigRecord) appendMessage(b, message []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, t.originalID)
	b = append(b, message[2:10]...)
	b = binary.BigEndian.AppendUint16(b, binary.BigEndian.Uint16(message[10:])-1)
	return append(b, message[headerSize:t.start]...)
}

// appendVariables appends the TSIG variables, RFC 8945 section 4.3.3. Both
// names are canonical.
func appendVariables(b, name, algorithm []byte, timeSigned uint64, fudge, tsigError uint16, other []byte) []byte {
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, dns.ClassANY)
	b = binary.BigEndian.AppendUint32(b, 0) // TTL
	b = append(b, algorithm...)
	b = appendTimers(b, timeSigned, fudge)
	b = binary.BigEndian.AppendUint16(b, tsigError)
	b = binary.BigEndian.AppendUint16(b, uint16(len(other)))
	return append(b, other...)
}

// appendTimers appends the time signed, 48 bits, and the fudge.
func appendTimers(b []byte, timeSigned uint64, fudge uint16) []byte {
	b = appendUint48(b, timeSigned)
	return binary.BigEndian.AppendUint16(b, fudge)
}

func appendUint48(b []byte, v uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(v>>32))
	return binary.BigEndian.AppendUint32(b, uint32(v))
}

// appendMAC appends a MAC with its length in front, as the request's and the
// prior message's are covered.
func appendMAC(b, mac []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(mac)))
	return append(b, mac...)
}

// appendTSIG appends the record itself, with uncompressed names: RFC 8945
// section 4.2 says so for the algorithm, and the owner follows the message in
// whatever way that was compressed.
func appendTSIG(b, name, algorithm []byte, timeSigned uint64, fudge uint16, mac []byte, originalID, tsigError uint16, other []byte) []byte {
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, dns.TypeTSIG)
	b = binary.BigEndian.AppendUint16(b, dns.ClassANY)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(algorithm)+16+len(mac)+len(other)))
	b = append(b, algorithm...)
	b = appendTimers(b, timeSigned, fudge)
	b = appendMAC(b, mac)
	b = binary.BigEndian.AppendUint16(b, originalID)
	b = binary.BigEndian.AppendUint16(b, tsigError)
	return appendMAC(b, other)
}

// tsigSize is what appendTSIG adds, in octets.
func tsigSize(name, algorithm string, mac, other int) int {
	return len(name) + 10 + len(algorithm) + 16 + mac + other
}
