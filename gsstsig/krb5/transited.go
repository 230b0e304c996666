package krb5

import (
	"errors"
	"strings"
)

// transitedCompressed is DOMAIN-X500-COMPRESS (RFC 4120, section 3.3.3.2), the
// only encoding of transited realms there is.
const transitedCompressed = 1

// Bounds on transited realms. Each hop is a trust that an administrator set up.
const (
	maxTransitedOctets = 4096
	maxTransitedRealms = 64
)

var errTransited = errors.New("the list of realms is malformed or too long")

// decodeTransited lists the realms that a ticket came through on its way from
// the client's realm to the service's, both of which are not in the list
// unless they were put there on purpose. The order carries no meaning.
//
// Subfields are separated by commas. One that ends in a dot is prepended to
// the realm before it, one that begins with a slash is appended to that,
// unless a space precedes it. An empty one stands for all realms between its
// neighbours, which at the ends are the client's and the service's realm. A
// backslash takes the next octet literally.
func decodeTransited(b []byte, client, service string) ([]string, error) {
	if len(b) > maxTransitedOctets {
		return nil, errTransited
	}
	if len(b) == 0 {
		return nil, nil
	}
	var (
		list    []string
		joined  string   // what the next subfield may be joined to
		last    = client // the neighbour of an empty subfield
		between bool     // an empty subfield came since
	)
	add := func(realms ...string) bool {
		list = append(list, realms...)
		return len(list) <= maxTransitedRealms
	}
	// fill adds the realms that an empty subfield stands for.
	fill := func(to string) bool {
		if !between {
			return true
		}
		between = false
		return related(last, to) && add(realmsBetween(last, to)...)
	}
	for rest := (cutter{b: b}); !rest.done; {
		f, ok := rest.next()
		if !ok {
			return nil, errTransited
		}
		if f.text == "" && !f.space {
			between = true
			continue
		}
		realm := f.text
		switch {
		case f.dot && (joined == "" || strings.HasPrefix(joined, "/")):
			return nil, errTransited
		case f.dot:
			realm += joined
		case f.slash && !f.space:
			realm = joined + realm
		}
		if realm == "" || len(realm) > maxNameOctets || !fill(realm) || !add(realm) {
			return nil, errTransited
		}
		joined, last = realm, realm
	}
	if !fill(service) {
		return nil, errTransited
	}
	return list, nil
}

// subfield is one of the list, and what of it was not escaped.
type subfield struct {
	text  string
	space bool // began with a space, which is cut off
	slash bool // begins with a slash
	dot   bool // ends in a dot
}

// cutter takes subfields off the list.
type cutter struct {
	b    []byte
	done bool
}

func (c *cutter) next() (f subfield, ok bool) {
	if len(c.b) > 0 && c.b[0] == ' ' {
		f.space = true
		c.b = c.b[1:]
	}
	var text []byte
	for i := 0; ; i++ {
		if i == len(c.b) || c.b[i] == ',' {
			c.done = i == len(c.b)
			c.b = c.b[min(i+1, len(c.b)):]
			f.text = string(text)
			return f, true
		}
		literal := c.b[i] == '\\'
		if literal {
			if i++; i == len(c.b) {
				return f, false
			}
		}
		if len(text) == 0 {
			f.slash = c.b[i] == '/' && !literal
		}
		f.dot = c.b[i] == '.' && !literal
		text = append(text, c.b[i])
	}
}

// superior is the realm above, "" if there is none: by the style of domain
// names or that of X.500 (RFC 4120, section 6.1).
func superior(realm string) string {
	if strings.HasPrefix(realm, "/") {
		return realm[:strings.LastIndexByte(realm, '/')]
	}
	_, above, _ := strings.Cut(realm, ".")
	return above
}

// isAbove reports whether a is superior to b, at whatever distance.
func isAbove(a, b string) bool {
	if a == "" || strings.HasPrefix(a, "/") != strings.HasPrefix(b, "/") {
		return false
	}
	if strings.HasPrefix(a, "/") {
		return strings.HasPrefix(b, a+"/")
	}
	return strings.HasSuffix(b, "."+a)
}

func related(a, b string) bool { return a == b || isAbove(a, b) || isAbove(b, a) }

// realmsBetween lists the realms on the way up or down from a to b, without
// them, if one is superior to the other; not many more than the policy permits.
func realmsBetween(a, b string) (list []string) {
	if isAbove(a, b) {
		a, b = b, a
	}
	if !isAbove(b, a) {
		return nil
	}
	for a = superior(a); a != b && a != "" && len(list) <= maxTransitedRealms; a = superior(a) {
		list = append(list, a)
	}
	return list
}
