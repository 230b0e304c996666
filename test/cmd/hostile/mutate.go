package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/miekg/dns"
)

// span is a field of a message.
type span struct{ start, end int }

// shape is where a message's fields are, and which lengths count them.
type shape struct {
	fields  []span
	lengths []length
}

// length is a 16-bit field that counts the octets of another.
type length struct {
	at int
	of span
}

// shapeOf walks over a well-formed message.
func shapeOf(m []byte) shape {
	var s shape
	off := 0
	take := func(n int) span {
		f := span{off, off + n}
		s.fields = append(s.fields, f)
		off += n
		return f
	}
	name := func() {
		end := off
		for m[end] != 0 {
			if m[end] >= 0xc0 {
				end++
				break
			}
			end += 1 + int(m[end])
		}
		take(end + 1 - off)
	}
	counted := func() { // a 16-bit length and what it counts
		at := off
		n := int(binary.BigEndian.Uint16(m[off:]))
		take(2)
		s.lengths = append(s.lengths, length{at, span{off, off + n}})
		if n > 0 {
			take(n)
		}
	}
	for range 6 {
		take(2)
	}
	for range binary.BigEndian.Uint16(m[4:]) {
		name()
		take(2)
		take(2)
	}
	records := 0
	for i := 6; i < 12; i += 2 {
		records += int(binary.BigEndian.Uint16(m[i:]))
	}
	for range records {
		name()
		rrtype := binary.BigEndian.Uint16(m[off:])
		take(2)
		take(2)
		take(4)
		at := off
		take(2)
		data := span{off, off + int(binary.BigEndian.Uint16(m[at:]))}
		s.lengths = append(s.lengths, length{at, data})
		switch rrtype {
		case dns.TypeTKEY: // RFC 2930 section 2
			name()
			for _, n := range []int{4, 4, 2, 2} {
				take(n)
			}
			token := off + 2
			counted()
			s.fields = append(s.fields, elements(m[token:off], token)...)
			counted()
		case dns.TypeTSIG: // RFC 8945 section 4.2
			name()
			take(6)
			take(2)
			counted()
			take(2)
			take(2)
			counted()
		default:
			if data.end > data.start {
				take(data.end - data.start)
			}
		}
	}
	return s
}

// elements lists the DER elements of a token and the elements in them, and for each its header and its contents.
func elements(der []byte, base int) []span {
	var found []span
	for off := 0; off+2 <= len(der); {
		start, tag := off, der[off]
		n, size := int(der[off+1]), 2
		if n >= 0x80 {
			k := n & 0x7f
			if k == 0 || k > 2 || off+2+k > len(der) {
				return found
			}
			n = 0
			for _, b := range der[off+2 : off+2+k] {
				n = n<<8 | int(b)
			}
			size += k
		}
		end := off + size + n
		if end > len(der) {
			return found
		}
		found = append(found, span{base + start, base + start + size})
		if n > 0 {
			found = append(found, span{base + start, base + end}, span{base + start + size, base + end})
		}
		inner := der[start+size : end]
		switch {
		case tag&0x20 != 0 || tag == 0x04 && n > 2 && inner[0] == 0x60:
			found = append(found, elements(inner, base+start+size)...)
		case tag == 0x06 && end+2 < len(der) && der[end] <= 2 && der[end+1] == 0:
			// The framing of RFC 4121 section 4.1: two octets between the mechanism and its message.
			found = append(found, span{base + end, base + end + 2})
			end += 2
		}
		off = end
	}
	return found
}

// changes are what is done to a field.
var changes = []func(r *rand.Rand, field []byte) []byte{
	func(_ *rand.Rand, f []byte) []byte { return f[:len(f)/2] },
	func(_ *rand.Rand, f []byte) []byte { return nil },
	func(r *rand.Rand, f []byte) []byte { return append(bytes.Clone(f), randomOctets(r, 1+r.IntN(64))...) },
	func(r *rand.Rand, f []byte) []byte { return append(bytes.Clone(f), make([]byte, 2000)...) },
	func(_ *rand.Rand, f []byte) []byte { return append(bytes.Clone(f), f...) },
	func(_ *rand.Rand, f []byte) []byte { return make([]byte, len(f)) },
	func(_ *rand.Rand, f []byte) []byte { return bytes.Repeat([]byte{0xff}, len(f)) },
	func(r *rand.Rand, f []byte) []byte {
		f = bytes.Clone(f)
		f[r.IntN(len(f))] ^= 1 << r.IntN(8)
		return f
	},
	func(r *rand.Rand, f []byte) []byte { return randomOctets(r, len(f)) },
}

// mutations makes messages out of a recorded one: each change to each field, once with the lengths around it left alone
// and once put right; each field exchanged with the next; and the message cut off after each.
func mutations(r *rand.Rand, m []byte) [][]byte {
	s := shapeOf(m)
	var made [][]byte
	for i, f := range s.fields {
		if f.start == f.end {
			continue
		}
		made = append(made, bytes.Clone(m[:f.start]))
		for _, change := range changes {
			fresh := change(r, m[f.start:f.end])
			broken := bytes.Join([][]byte{m[:f.start], fresh, m[f.end:]}, nil)
			if len(broken) > dns.MaxMsgSize {
				continue
			}
			made = append(made, broken)
			if delta := len(fresh) - (f.end - f.start); delta != 0 {
				made = append(made, repaired(broken, s, f, delta))
			}
		}
		for _, g := range s.fields[i+1:] {
			if g.start >= f.end && g.end > g.start {
				made = append(made, bytes.Join([][]byte{m[:f.start], m[g.start:g.end], m[f.end:g.start], m[f.start:f.end], m[g.end:]}, nil))
				break
			}
		}
	}
	return made
}

// repaired puts the lengths right that count a field which has grown by delta octets.
func repaired(broken []byte, s shape, changed span, delta int) []byte {
	fixed := bytes.Clone(broken)
	for _, l := range s.lengths {
		if l.at+2 <= changed.start && l.of.start <= changed.start && changed.end <= l.of.end {
			binary.BigEndian.PutUint16(fixed[l.at:], uint16(l.of.end-l.of.start+delta))
		}
	}
	return fixed
}

// randomMessages makes messages of random octets: whole ones, and ones with a plausible header.
func randomMessages(r *rand.Rand, n int) [][]byte {
	made := make([][]byte, n)
	for i := range made {
		m := randomOctets(r, r.IntN(1500))
		if i%2 == 0 && len(m) >= 12 {
			m[2], m[3] = byte(r.IntN(6))<<3, 0
			clear(m[4:12])
			m[5], m[11] = 1, byte(r.IntN(3))
		}
		made[i] = m
	}
	return made
}

func randomOctets(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// hostileMessages makes the whole arsenal. The same recording makes the same messages.
func hostileMessages(recorded [][]byte) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	var made [][]byte
	for _, m := range recorded {
		made = append(made, mutations(r, m)...)
		made = append(made, m) // a replay
	}
	made = append(made, randomMessages(r, 1000)...)
	r.Shuffle(len(made), func(i, j int) { made[i], made[j] = made[j], made[i] })
	return made
}
