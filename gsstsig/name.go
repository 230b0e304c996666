package gsstsig

import (
	"github.com/miekg/dns"
)

const maxName = 255 // octets of a name on the wire, RFC 1035 section 2.3.4

// wireName is a name as TSIG covers it and as tables are keyed by it:
// uncompressed, letters in lower case (RFC 4034 section 6.2).
type wireName struct {
	octets [maxName]byte
	length int
}

func (n *wireName) bytes() []byte { return n.octets[:n.length] }

// text returns the presentation form, with escapes where they are needed.
func (n *wireName) text() string { return nameText(n.bytes()) }

func nameText(wire []byte) string {
	text, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return "." // not reached: wire was checked when it was made
	}
	return text
}

// nameFromText is the inverse of text. It reports false for what is no
// absolute domain name.
func nameFromText(text string) (string, bool) {
	var buf [maxName + 1]byte
	n, err := dns.PackDomainName(dns.Fqdn(text), buf[:], 0, nil, false)
	if err != nil || n > maxName {
		return "", false
	}
	lowerName(buf[:n])
	return string(buf[:n]), true
}

// lowerName turns A-Z into lower case. The octets of lengths are at most 63
// and so never letters.
func lowerName(wire []byte) {
	for i, b := range wire {
		if 'A' <= b && b <= 'Z' {
			wire[i] = b + ('a' - 'A')
		}
	}
}

// readName reads the name at off, following compression, and returns the
// offset after it. Pointers must point backwards, before everything that was
// read of this name so far, so that reading ends.
func (n *wireName) readName(message []byte, off int) (next int, ok bool) {
	n.length = 0
	lowest := off
	for {
		if off >= len(message) {
			return 0, false
		}
		c := int(message[off])
		switch {
		case c == 0:
			if n.length+1 > maxName {
				return 0, false
			}
			n.octets[n.length] = 0
			n.length++
			if next == 0 {
				next = off + 1
			}
			lowerName(n.bytes())
			return next, true
		case c < 64:
			if off+1+c > len(message) || n.length+1+c+1 > maxName {
				return 0, false
			}
			n.length += copy(n.octets[n.length:], message[off:off+1+c])
			off += 1 + c
		case c >= 0xC0:
			if off+2 > len(message) {
				return 0, false
			}
			target := (c&0x3F)<<8 | int(message[off+1])
			if target >= lowest || target < headerSize {
				return 0, false
			}
			if next == 0 {
				next = off + 2
			}
			lowest, off = target, target
		default:
			return 0, false // label types that were never assigned
		}
	}
}

// skipName returns the offset after the name at off without following
// compression.
func skipName(message []byte, off int) (next int, ok bool) {
	for length := 0; off < len(message); {
		c := int(message[off])
		switch {
		case c == 0:
			return off + 1, true
		case c < 64:
			if length += 1 + c; length >= maxName {
				return 0, false
			}
			off += 1 + c
		case c >= 0xC0:
			return off + 2, off+2 <= len(message)
		default:
			return 0, false
		}
	}
	return 0, false
}
