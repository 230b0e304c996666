package tsig

import (
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// MaxName is the size of the longest name, in octets (RFC 1035 section 2.3.4).
const MaxName = dnswire.MaxName

// Name is a name in canonical wire form: uncompressed, letters in lower case
// (RFC 4034 section 6.2). The zero Name holds no name, not even the root.
type Name struct {
	octets [MaxName]byte
	length int
}

// Bytes returns the wire form. It shares memory with the Name.
func (n *Name) Bytes() []byte { return n.octets[:n.length] }

// String returns the presentation form, with escapes where they are needed.
func (n *Name) String() string { return dnswire.NameText(n.Bytes()) }

// NameFromText returns a name in canonical wire form. It reports false if text
// is not a domain name. A missing final dot is added.
func NameFromText(text string) (wire string, ok bool) {
	name, err := dnswire.ParseName(dns.Fqdn(text), nil)
	if err != nil {
		return "", false
	}
	return string(dnswire.AppendLower(name[:0], name)), true
}

// read reads the name at off, following compression, and returns the offset
// after it.
func (n *Name) read(message []byte, off int) (next int, ok bool) {
	name, next, err := dnswire.UnpackName(n.octets[:0], message, off)
	if err != nil {
		n.length = 0
		return 0, false
	}
	n.length = len(dnswire.AppendLower(n.octets[:0], name))
	return next, true
}
