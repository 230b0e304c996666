package policy

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A pattern is the identity field of a rule that compares with the sender of an update: name,
// subdomain, zonesub, wildcard, self, selfsub, selfwild, owner. (The krb5- and ms- types have a
// realm there, tcp-self and 6to4-self a name.)
type pattern struct {
	kind       patternKind
	text       string   // key name, wildcard's suffix (a name if it has no realm) or SID
	components []string // of a principal
	realm      string   // of a principal or a wildcard with '@'; exact
}

type patternKind uint8

const (
	anySigner     patternKind = iota // *
	anyKerberos                      // every principal: the built-in rule without realms
	noSigner                         // anonymous
	principal                        // host/a.example.test@EXAMPLE.TEST
	realmOnly                        // EXAMPLE.TEST, as owner has it
	keyName                          // the name of an HMAC key
	wildcardName                     // *.suffix or *.suffix@REALM
	group                            // sid:S-1-5-21-...
	administrator                    // administrator
)

// decimalEscape is an octet by its number (RFC 1035 section 5.1), or an escaped backslash, which
// begins none.
var decimalEscape = regexp.MustCompile(`\\\\|\\[0-9]{3}`)

var (
	errRealmStar = errors.New("an asterisk stands for whole labels, so *@REALM matches no principal. Fix: name the realm in a krb5- or ms- rule")
	errEscape    = errors.New("an escape in a principal is a backslash and one character")
	errNoRealm   = errors.New("a principal ends in @ and its realm")
)

// parsePattern reads an identity that names senders. bareRealm says that a word with neither '@'
// nor a final dot is a realm rather than a key.
func parsePattern(word string, bareRealm bool) (pattern, error) {
	switch {
	case word == "":
		return pattern{}, errors.New("empty identity")
	case word == "*" || word == "*.":
		return pattern{kind: anySigner}, nil
	case word == "anonymous":
		return pattern{kind: noSigner}, nil
	case word == AdministratorName:
		return pattern{kind: administrator}, nil
	case strings.HasPrefix(word, "sid:"):
		sid := word[len("sid:"):]
		return pattern{kind: group, text: sid}, checkSID(sid)
	case strings.HasPrefix(word, "*@"), strings.HasPrefix(word, `*\@`):
		return pattern{}, errRealmStar
	case strings.HasPrefix(word, "*."):
		return parseWildcard(word[len("*."):])
	case strings.IndexByte(word, '@') >= 0, strings.Contains(word, `\064`): // the same octet
		components, realm, err := parsePrincipal(word)
		return pattern{kind: principal, components: components, realm: realm}, err
	case bareRealm && !strings.HasSuffix(word, "."):
		return pattern{kind: realmOnly, realm: word}, nil
	}
	name, ok := parseName(word)
	if !ok {
		return pattern{}, errors.New("not a key name")
	}
	return pattern{kind: keyName, text: name}, nil
}

// sidForm is the text of a SID (MS-DTYP section 2.4.2.1) as the PAC's SIDs are written.
var sidForm = regexp.MustCompile(`^S-1-(0|[1-9][0-9]*)(-(0|[1-9][0-9]*)){1,15}$`)

// checkSID returns an error for what no account and no group has as its SID: one that is not the text of a
// SID, or the SID of a domain, to which the number of the account or group is missing.
func checkSID(sid string) error {
	if !strings.HasPrefix(sid, "S-1-") {
		return errors.New("a group is sid: and its SID, which starts with S-1-")
	}
	if !sidForm.MatchString(sid) {
		return errors.New("it is not a SID. Fix: write it as S-1-5-21- and four numbers with hyphens, as Get-ADGroup or wbinfo -n tells it")
	}
	const domain, numbers = "S-1-5-21", 7 // with three numbers more
	if (sid == domain || strings.HasPrefix(sid, domain+"-")) && strings.Count(sid, "-") < numbers {
		return errors.New("it is the SID of a domain, or a part of it, and no account's or group's. Fix: add the number of the group, such as 512 for Domain Admins")
	}
	return nil
}

func parseWildcard(suffix string) (pattern, error) {
	if at := strings.LastIndexByte(suffix, '@'); at >= 0 {
		local := strings.TrimSuffix(suffix[:at], `\`)
		realm := strings.TrimSuffix(suffix[at+1:], ".")
		if local == "" || realm == "" || strings.IndexByte(local, '\\') >= 0 {
			return pattern{}, errNoRealm
		}
		return pattern{kind: wildcardName, text: "." + local, realm: realm}, nil
	}
	name, ok := parseName(suffix)
	if !ok {
		return pattern{}, errors.New("not a wildcard")
	}
	// The realm keeps its case; the key name is compared as a domain name.
	return pattern{kind: wildcardName, text: name, components: []string{"." + strings.TrimSuffix(suffix, ".")}}, nil
}

// parsePrincipal reads a principal in MIT's spelling, in which '@', '/' and '\' in a component are
// escaped, and in BIND's, in which the '@' before the realm is escaped as well, and '/' may be
// \047, for it is read as a domain name.
func parsePrincipal(word string) ([]string, string, error) {
	word = decimalEscape.ReplaceAllStringFunc(word, func(escape string) string {
		if octet, err := strconv.ParseUint(escape[1:], 10, 8); err == nil && octet != '\\' {
			return string([]byte{byte(octet)})
		}
		return escape // and no number at all
	})
	at := realmAt(word)
	local := ""
	if at >= 0 {
		local = word[:at]
	} else if at = strings.LastIndex(word, `\@`); at >= 0 {
		local = word[:at]
		at++
	} else {
		return nil, "", errNoRealm
	}
	realm := strings.TrimSuffix(word[at+1:], ".")
	if realm == "" {
		return nil, "", errNoRealm
	}
	var components []string
	var part []byte
	for i := 0; i < len(local); i++ {
		switch c := local[i]; c {
		case '/':
			components = append(components, string(part))
			part = part[:0]
		case '\\':
			i++
			if i == len(local) || local[i] >= '0' && local[i] <= '9' {
				return nil, "", errEscape
			}
			part = append(part, local[i])
		default:
			part = append(part, c)
		}
	}
	return append(components, string(part)), realm, nil
}

// matches reports whether the pattern includes the client of an update. In a deny rule the asterisk
// includes clients that did not sign, but never the administrator; a group includes clients whose groups are not known, and a name
// includes clients whose ticket has it although their account has another one.
func (p *pattern) matches(s *subject, deny bool) bool {
	switch p.kind {
	case administrator:
		return s.Kind == Administrator
	case anySigner:
		return s.Kind != Administrator && (s.Kind != Anonymous || deny)
	case anyKerberos:
		return s.Kind == Kerberos
	case noSigner:
		return s.Kind == Anonymous
	case principal:
		return s.Kind == Kerberos && s.Realm == p.realm &&
			((s.vouched || deny) && equalComponents(s.Components, p.components) || s.isAccount(p.components))
	case realmOnly:
		return s.Kind == Kerberos && s.Realm == p.realm
	case keyName:
		return s.Kind == Static && s.key == p.text
	case wildcardName:
		switch {
		case s.Kind == Static:
			return p.realm == "" && below(s.key, p.text)
		case s.Kind == Kerberos && p.realm == "":
			return hasSuffix(s.Realm, p.components[0])
		case s.Kind == Kerberos:
			return (s.vouched || deny) && s.Realm == p.realm && len(s.local) >= len(p.text) &&
				equalFold(s.local[len(s.local)-len(p.text):], p.text)
		}
	case group:
		return s.Kind == Kerberos && (deny && !s.HasPAC || slices.Contains(s.Groups, p.text))
	}
	return false
}

// hasSuffix is strings.HasSuffix for a proper suffix.
func hasSuffix(s, suffix string) bool {
	return len(s) > len(suffix) && strings.HasSuffix(s, suffix)
}

func equalComponents(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equalFold(a[i], b[i]) {
			return false
		}
	}
	return true
}
