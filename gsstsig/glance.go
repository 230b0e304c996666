package gsstsig

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// Glance is what the octets of a message tell before it is unpacked and before
// any MAC is computed. Under a flood nearly everything can be turned away by
// it, at the cost of a walk over the message and a look into a table.
type Glance struct {
	// Malformed: there is no walking over the records, or its TSIG record is
	// out of place or broken. Verify returns an error of that kind.
	Malformed bool
	// Signed: there is a TSIG record.
	Signed bool
	// Known: the TSIG record names a key that is held, under its algorithm.
	// Nothing is said about the MAC. If a message is Signed and not Known,
	// Verify returns an error of kind BadKey.
	Known bool
	// QuestionType is that of the first question, 0 if there is none.
	QuestionType uint16

	sig tsigRecord
}

// KeyName returns the name of the key on the wire, in lower case; empty when
// the message is not signed. It is valid as long as the Glance is.
func (g *Glance) KeyName() []byte { return g.sig.name.bytes() }

// Glance looks at a message as received. It keeps references to wire, counts as
// no use of a context, and does not panic.
func (v *Verifier) Glance(wire []byte, g *Glance) {
	g.Malformed, g.Signed, g.Known, g.QuestionType, g.sig.name.length = false, false, false, 0, 0
	// As in Verify: a fault costs one message.
	defer func() {
		if recover() != nil {
			g.Malformed, g.Signed, g.Known = true, false, false
		}
	}()
	signed, err := g.sig.findTSIG(wire)
	if question := firstQuestion(wire); question != nil {
		g.QuestionType = binary.BigEndian.Uint16(question[len(question)-4:])
	}
	if err != nil {
		g.Malformed = true
		return
	}
	if g.Signed = signed; signed {
		g.Known = v.holds(&g.sig)
	}
}

// holds reports whether there is a key that the record may have been made with.
func (v *Verifier) holds(sig *tsigRecord) bool {
	name, algorithm := sig.name.bytes(), sig.algorithm.bytes()
	if string(algorithm) == wireGSS || string(algorithm) == wireGSSMicrosoft {
		if v.reserved.has(name) {
			return false
		}
		for _, server := range v.servers {
			if server.contexts.holds(name, algorithm) {
				return true
			}
		}
		return false
	}
	if v.static[string(name)] == nil {
		return false
	}
	for i := range hmacs {
		if string(algorithm) == hmacs[i].name {
			return true
		}
	}
	return false
}

// firstQuestion returns the octets of the first question, nil if there is none
// that is whole and written without compression. There is nothing before it
// that a pointer could point to.
func firstQuestion(wire []byte) []byte {
	if len(wire) < headerSize || binary.BigEndian.Uint16(wire[4:]) == 0 {
		return nil
	}
	off := headerSize
	for length := 0; off < len(wire); {
		c := int(wire[off])
		if c == 0 {
			if end := off + 5; end <= len(wire) {
				return wire[headerSize:end]
			}
			return nil
		}
		if length += 1 + c; c > 63 || length >= maxName {
			return nil
		}
		off += 1 + c
	}
	return nil
}

// hasOPT reports whether a message that findTSIG has walked over holds an OPT
// record (RFC 6891 section 6.1.1): its answer is due one.
func hasOPT(wire []byte) bool {
	off, ok := headerSize, true
	for range binary.BigEndian.Uint16(wire[4:]) {
		if off, ok = skipName(wire, off); !ok {
			return false
		}
		off += 4
	}
	records := 0
	for i := 6; i < headerSize; i += 2 {
		records += int(binary.BigEndian.Uint16(wire[i:]))
	}
	for range records {
		if off, ok = skipName(wire, off); !ok || off+10 > len(wire) {
			return false
		}
		if binary.BigEndian.Uint16(wire[off:]) == dns.TypeOPT {
			return true
		}
		off += 10 + int(binary.BigEndian.Uint16(wire[off+8:]))
	}
	return false
}
