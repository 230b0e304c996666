package policy

import (
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// Names here are in wire form and lower case (RFC 4034 section 6.2): two names are the same name
// exactly if their octets are equal. Rules and identities hold them as strings.

// root is the name of the root.
const root = "\x00"

// maxNameText is more than the longest text of a 255-octet name (every octet written as \DDD), so
// that longer input is rejected unread.
const maxNameText = 1024

// parseName reads a name in presentation form. Names in configuration are absolute with or without
// the final dot, as in BIND's policies.
func parseName(s string) (string, bool) {
	if s == "" || len(s) > maxNameText {
		return "", false
	}
	if s == "@" {
		s = `\@` // which is the origin in a master file alone
	}
	wire, err := dnswire.ParseName(s, []byte(root))
	if err != nil {
		return "", false
	}
	return string(dnswire.AppendLower(nil, wire)), true
}

// nameText returns a name in presentation form.
func nameText(name string) string { return dnswire.NameText([]byte(name)) }

// canonicalText returns a name in presentation form and lower case, without needless escapes. What
// is not a name is only lowered.
func canonicalText(s string) string {
	if name, ok := parseName(s); ok {
		return nameText(name)
	}
	return lower(s)
}

// subdomain reports whether child is parent or lies below it.
func subdomain[Name string | []byte](child Name, parent string) bool {
	return string(child) == parent || below(child, parent)
}

// below reports whether child lies below parent, not being parent itself.
func below[Name string | []byte](child Name, parent string) bool {
	cut := len(child) - len(parent)
	if cut <= 0 || parent == "" || string(child[cut:]) != parent {
		return false
	}
	at := 0
	for at < cut {
		at += 1 + int(child[at])
	}
	return at == cut
}

// isWildcard reports whether the leftmost label of a name is the single asterisk of RFC 4592.
func isWildcard[Name string | []byte](name Name) bool {
	return len(name) > 2 && name[0] == 1 && name[1] == '*'
}

// escaped reports whether the byte of s at index i is escaped by backslashes before it.
func escaped(s string, i int) bool {
	n := 0
	for j := i - 1; j >= 0 && s[j] == '\\'; j-- {
		n++
	}
	return n%2 == 1
}

// hostName returns the domain name that plain host text stands for, such as the second component of
// host/a.example.test. Letters, digits, '-', '_' and single dots between labels of at most 63 octets
// are plain; anything else, which would need escaping or could be taken for another name, is refused.
func hostName(s string) (string, bool) {
	if len(s) == 0 || len(s) > 253 || strings.HasSuffix(s, ".") {
		return "", false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return "", false
		}
	}
	return parseName(s)
}

// lower lowers the ASCII letters of s and nothing else. Unicode folding would make look-alikes (the
// Kelvin sign folds to k) equal to other names.
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
