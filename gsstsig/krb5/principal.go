package krb5

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Bounds on names read from the network or from a file. Real names are far
// below them: a DNS name has at most 255 octets.
const (
	maxComponents  = 16
	maxNameOctets  = 1024 // of a realm, and of all components together
	maxShownOctets = 256  // of a name in an error's text
)

// Principal is a Kerberos name: components and a realm (RFC 4120, sections
// 6.1 and 6.2). Name types carry no meaning when names are compared (section
// 6.2) and are not kept.
type Principal struct {
	Components []string // not escaped, such as DNS and ns1.example.test
	Realm      string   // not escaped; its case matters
}

// ParsePrincipal reads the form that people write, "DNS/ns1.example.test@REALM".
// A backslash takes the next character literally, except that \n, \t, \b and
// \0 stand for newline, tab, backspace and NUL. The realm may be missing.
// Empty names, a realm that is announced by "@" but empty, an unescaped "@" or
// "/" in the realm, and names beyond 1024 octets or 16 components are errors.
func ParsePrincipal(s string) (Principal, error) {
	if s == "" {
		return Principal{}, errors.New("principal: the name is empty")
	}
	if len(s) > 2*maxNameOctets {
		return Principal{}, errors.New("principal: the name is too long")
	}
	var (
		p       Principal
		part    []byte
		inRealm bool
	)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			i++
			if i == len(s) {
				return Principal{}, errors.New("principal: the name ends in a backslash")
			}
			part = append(part, unescape(s[i]))
		case c == '/' && !inRealm:
			p.Components = append(p.Components, string(part))
			part = part[:0]
		case c == '@' && !inRealm:
			p.Components = append(p.Components, string(part))
			part = part[:0]
			inRealm = true
		case c == '/' || c == '@':
			return Principal{}, errors.New("principal: unescaped " + strconv.Quote(string(c)) + " in the realm")
		default:
			part = append(part, c)
		}
	}
	if inRealm {
		if len(part) == 0 {
			return Principal{}, errors.New("principal: nothing follows the @")
		}
		p.Realm = string(part)
	} else {
		p.Components = append(p.Components, string(part))
	}
	if !p.bounded() {
		return Principal{}, errors.New("principal: the name is empty or too long")
	}
	return p, nil
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case '0':
		return 0
	}
	return c
}

// bounded reports whether the name has at least one component with at least
// one octet and stays within this package's limits.
func (p Principal) bounded() bool {
	if len(p.Components) == 0 || len(p.Components) > maxComponents || len(p.Realm) > maxNameOctets {
		return false
	}
	n := 0
	for _, c := range p.Components {
		n += len(c)
	}
	return n > 0 && n <= maxNameOctets
}

// String returns the name with its realm, if it has one, in the form that
// ParsePrincipal reads.
func (p Principal) String() string {
	if p.Realm == "" {
		return p.Name()
	}
	var buffer [128]byte
	return string(appendEscaped(append(p.appendName(buffer[:0]), '@'), p.Realm))
}

// Name returns the components without the realm, escaped as in String.
func (p Principal) Name() string {
	var buffer [128]byte
	return string(p.appendName(buffer[:0]))
}

func (p Principal) appendName(b []byte) []byte {
	for i, c := range p.Components {
		if i > 0 {
			b = append(b, '/')
		}
		b = appendEscaped(b, c)
	}
	return b
}

func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '/', '@', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\b':
			b = append(b, '\\', 'b')
		case 0:
			b = append(b, '\\', '0')
		default:
			b = append(b, c)
		}
	}
	return b
}

// Equal reports whether both names have the same components and realm, octet
// for octet.
func (p Principal) Equal(q Principal) bool {
	return p.Realm == q.Realm && slices.Equal(p.Components, q.Components)
}

// folded is the key under which a service's keys are found: the name with
// ASCII letters in lower case. Active Directory ignores case in service
// principal names and puts the client's spelling into the ticket; realms are
// compared exactly.
func (p Principal) folded() string {
	b := p.appendName(make([]byte, 0, 128))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	b = append(b, '@')
	return string(appendEscaped(b, p.Realm))
}

// isDNS reports whether the name is that of a DNS service on a host.
func (p Principal) isDNS() bool {
	return len(p.Components) == 2 && strings.EqualFold(p.Components[0], "DNS")
}

// isAnonymous reports whether the name is the one that a KDC gives to
// any client that asks (RFC 8062).
func (p Principal) isAnonymous() bool {
	return len(p.Components) == 2 && p.Components[0] == "WELLKNOWN" && p.Components[1] == "ANONYMOUS"
}

// shown is the name for a log line: escaped so that no octet of it can break
// the line, and cut.
func (p Principal) shown() string {
	return shown(p.String())
}

func shown(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i == maxShownOctets {
			b.WriteString("...")
			break
		}
		if c := s[i]; c >= ' ' && c <= '~' {
			b.WriteByte(c)
		} else {
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
