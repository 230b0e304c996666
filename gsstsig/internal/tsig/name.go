package tsig

import "github.com/miekg/dns"

// MaxName is the size of the longest name, in octets (RFC 1035 section 2.3.4).
const MaxName = 255

// Name is a name in canonical wire form: uncompressed, letters in lower case
// (RFC 4034 section 6.2). The zero Name holds no name, not even the root.
type Name struct {
	octets [MaxName]byte
	length int
}

// Bytes returns the wire form. It shares memory with the Name.
func (n *Name) Bytes() []byte { return n.octets[:n.length] }

// String returns the presentation form, with escapes where they are needed.
func (n *Name) String() string { return NameText(n.Bytes()) }

// NameText returns the presentation form of a name in wire form. It returns
// "." for octets that are no name.
func NameText(wire []byte) string {
	text, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return "."
	}
	return text
}

// NameFromText returns a name in canonical wire form. It reports false if text
// is not a domain name. A missing final dot is added.
func NameFromText(text string) (wire string, ok bool) {
	var buf [MaxName + 1]byte
	n, err := dns.PackDomainName(dns.Fqdn(text), buf[:], 0, nil, false)
	if err != nil || n > MaxName {
		return "", false
	}
	toLower(buf[:n])
	return string(buf[:n]), true
}

// toLower turns A-Z into lower case. Length octets are at most 63 and so never
// letters.
func toLower(wire []byte) {
	for i, b := range wire {
		if 'A' <= b && b <= 'Z' {
			wire[i] = b + ('a' - 'A')
		}
	}
}

// read reads the name at off, following compression, and returns the offset
// after it. A pointer must point before everything that was read of this name
// so far, so that reading ends.
func (n *Name) read(message []byte, off int) (next int, ok bool) {
	n.length = 0
	lowest := off
	for {
		if off >= len(message) {
			return 0, false
		}
		c := int(message[off])
		switch {
		case c == 0:
			if n.length+1 > MaxName {
				return 0, false
			}
			n.octets[n.length] = 0
			n.length++
			if next == 0 {
				next = off + 1
			}
			toLower(n.Bytes())
			return next, true
		case c < 64:
			if off+1+c > len(message) || n.length+1+c+1 > MaxName {
				return 0, false
			}
			n.length += copy(n.octets[n.length:], message[off:off+1+c])
			off += 1 + c
		case c >= 0xC0:
			if off+2 > len(message) {
				return 0, false
			}
			target := (c&0x3F)<<8 | int(message[off+1])
			if target >= lowest || target < HeaderSize {
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
			if length += 1 + c; length >= MaxName {
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
