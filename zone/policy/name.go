package policy

import (
	"strings"

	"github.com/miekg/dns"
)

// Names here are strings in canonical form: lower case, absolute, and escaped the way miekg/dns
// writes a name that it read from the wire. In that form two names are the same name exactly if the
// strings are equal.

// maxNameText is more than the longest text of a 255-octet name (every octet written as \DDD), so
// that longer input can be turned away unread.
const maxNameText = 1024

// canonical returns name in canonical form. It does not allocate for a name that already is, which
// every name of a well-behaved client is.
func canonical(name string) string {
	if !strings.HasSuffix(name, ".") {
		return canonicalSlow(name)
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '*', c == '$', c == '/':
		default:
			return canonicalSlow(name)
		}
	}
	return name
}

// canonicalSlow sends the name through its wire form, so that two spellings of one label (an
// escaped letter, a decimal escape) cannot pass for two names. A name that has no wire form is only
// lowered: no rule matches it.
func canonicalSlow(name string) string {
	var wire [256]byte
	if n, err := dns.PackDomainName(dns.Fqdn(name), wire[:], 0, nil, false); err == nil {
		if s, _, err := dns.UnpackDomainName(wire[:n], 0); err == nil {
			name = s
		}
	}
	return dns.CanonicalName(name)
}

// parseName reads a name from configuration. Names there are absolute with or without the final
// dot, as in BIND's policies.
func parseName(s string) (string, bool) {
	if s == "" || len(s) > maxNameText {
		return "", false
	}
	if _, ok := dns.IsDomainName(s); !ok {
		return "", false
	}
	return canonicalSlow(s), true
}

// subdomain reports whether child is parent or lies below it; both are canonical.
func subdomain(child, parent string) bool {
	if parent == "." || child == parent {
		return true
	}
	return below(child, parent)
}

// below reports whether child lies below parent, not being parent itself.
func below(child, parent string) bool {
	if parent == "." {
		return child != "."
	}
	cut := len(child) - len(parent)
	if cut < 2 || child[cut-1] != '.' || child[cut:] != parent {
		return false
	}
	return !escaped(child, cut-1)
}

// escaped reports whether the byte of s at index i is escaped by backslashes before it.
func escaped(s string, i int) bool {
	n := 0
	for j := i - 1; j >= 0 && s[j] == '\\'; j-- {
		n++
	}
	return n%2 == 1
}

// isWildcard reports whether the leftmost label of a canonical name is the single asterisk of RFC
// 4592.
func isWildcard(name string) bool {
	return strings.HasPrefix(name, "*.")
}

// parentOf returns the name without its leftmost label; the root's parent is the root.
func parentOf(name string) string {
	i := 0
	for i < len(name) {
		if name[i] == '\\' {
			i += 2
			continue
		}
		if name[i] == '.' {
			if i+1 == len(name) {
				break
			}
			return name[i+1:]
		}
		i++
	}
	return "."
}

// hostText returns the canonical domain name that plain host text stands for, such as the second
// component of host/a.example.test. Letters, digits, '-', '_' and single dots between labels of at
// most 63 octets are plain; anything else, which would need escaping or could pass for another
// name, is refused.
func hostText(s string) (string, bool) {
	if len(s) == 0 || len(s) > 253 {
		return "", false
	}
	label := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return "", false
		}
		if label++; label > 63 {
			return "", false
		}
	}
	if label == 0 {
		return "", false
	}
	return lower(s) + ".", true
}

// lower lowers the ASCII letters of s and nothing else. Unicode folding would let look-alikes (the
// Kelvin sign folds to k) pass for other names.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lowerByte(b[i])
			}
			return string(b)
		}
	}
	return s
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// equalFold compares two strings without the case of ASCII letters.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}
