package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// A Setting is what is known of the server that rules are for. What is not known is taken to be
// possible.
type Setting struct {
	// Realms are the accepted client realms, compared exactly; nil if they are not known.
	Realms []string
	// Keys are the names of the server's HMAC keys; nil if they are not known.
	Keys []string
	// Zones are the zones of the rules, with their modes.
	Zones []ZoneSetting
}

// A ZoneSetting is one zone that rules are for.
type ZoneSetting struct {
	Origin string // absolute
	Mode   Mode   // which updates it takes
}

// An IneffectiveRule is a rule that never decides.
type IneffectiveRule struct {
	Rule   Rule   // the rule itself, with its position
	Reason string // such as "clients of the realm OTHER.TEST are not accepted"
	Fix    string // what the administrator can do
}

// Ineffective returns the rules of a list that never decide on a change, in their order: no client of
// the server has their identity, no name of its zones is theirs, no update has their types, or rules
// in front of them decide whenever they would. It is conservative: a rule that is not returned may
// still be one that never decides.
//
// The most frequent causes are identities that are read as the name of an HMAC key because they
// have no realm, and names that are meant to be relative.
func (s Setting) Ineffective(rules []Rule) []IneffectiveRule {
	k := s.known()
	var list []IneffectiveRule
	for i := range rules {
		c := k.cause(&rules[i])
		if c == nil {
			c = k.shadow(rules, i)
		}
		if c != nil {
			list = append(list, IneffectiveRule{rules[i], c.reason, c.fix})
		}
	}
	return list
}

// UnmatchedIdentity returns why an identity of a list, as ParseIdentities and Config.Proxies take it,
// includes no client of the server, and what to do about it; empty strings if it may include some.
// ownerForm says that a word with neither '@' nor a final dot is a realm, as in ParseIdentities, and not
// an HMAC key, as in Config.Proxies.
func (s Setting) UnmatchedIdentity(word string, ownerForm bool) (reason, fix string) {
	p, err := parsePattern(word, ownerForm)
	if err != nil {
		return "", ""
	}
	k := s.known()
	switch c := k.stranger(&p, word, false); {
	case c == nil:
		return "", ""
	case p.kind == keyName && k.isRealm(word) && groupName(word) == nil:
		return "a realm is no identity here; it is the name of an HMAC key, and there is no such key", "name the principals, or a group of theirs by its sid:"
	default:
		return c.reason, c.fix
	}
}

// A cause is why a rule never decides.
type cause struct{ reason, fix string }

// known is a Setting in the form that rules compare with.
type known struct {
	realms     []string
	keys       []string // names
	keysKnown  bool
	zones      []knownZone
	zonesNamed string // for messages
}

type knownZone struct {
	origin   string
	unsigned bool // unsigned updates reach the rules
}

func (s Setting) known() *known {
	k := &known{realms: s.Realms, keysKnown: s.Keys != nil}
	for _, key := range s.Keys {
		if name, ok := parseName(key); ok {
			k.keys = append(k.keys, name)
		}
	}
	var names []string
	for _, z := range s.Zones {
		if name, ok := parseName(z.Origin); ok {
			k.zones = append(k.zones, knownZone{name, z.Mode == NonsecureAndSecure})
			names = append(names, z.Origin)
		}
	}
	k.zonesNamed = strings.Join(names, ", ")
	return k
}

// cause returns why a rule by itself never decides, or nil.
func (k *known) cause(r *Rule) *cause {
	if c := k.senders(r); c != nil {
		return c
	}
	if c := k.types(r); c != nil {
		return c
	}
	if len(k.zones) == 0 {
		return nil
	}
	if slices.ContainsFunc(k.zones, func(z knownZone) bool { return k.mayReach(r, z.origin) }) {
		if r.onlyUnsigned() && !slices.ContainsFunc(k.zones, func(z knownZone) bool { return z.unsigned && k.mayReach(r, z.origin) }) {
			return &cause{"unsigned updates are refused before any rule unless the mode of the zone is nonsecure-and-secure",
				"leave the rule out, or set \"updates nonsecure-and-secure\""}
		}
		return nil
	}
	return k.outside(r)
}

// senders returns why no client has the rule's identity, or nil.
func (k *known) senders(r *Rule) *cause {
	switch r.kind {
	case ruleKrb5Self, ruleKrb5Selfsub, ruleKrb5Subdomain, ruleKrb5SubdomainSelfRHS:
		return k.strangeRealm(r.realm, r.word)
	case ruleMSSelf, ruleMSSelfsub, ruleMSSubdomain, ruleMSSubdomainSelfRHS:
		if c := k.strangeRealm(r.realm, r.word); c != nil {
			return c
		}
		if accountDomain(r.realm) == "" {
			return &cause{fmt.Sprintf("the realm %s is not a domain name, so its accounts NAME$ have no domain names", r.realm),
				"name another realm, or use the krb5- types"}
		}
		return nil
	case ruleTCPSelf, rule6to4Self:
		return nil // the identity is about names
	case ruleSelf, ruleSelfsub, ruleSelfwild:
		if r.who.kind == wildcardName && r.who.realm != "" {
			return &cause{"self compares with the name of an HMAC key, and the identity is a principal", "use krb5-self, or ms-self"}
		}
		if k.keysKnown && len(k.keysOf(r)) == 0 {
			return k.strangeKey(r.word)
		}
		return nil
	}
	return k.stranger(&r.who, r.word, r.deny)
}

// stranger returns why no client matches a pattern that was written as word, or nil.
func (k *known) stranger(p *pattern, word string, deny bool) *cause {
	switch p.kind {
	case principal:
		return k.strangeRealm(p.realm, word)
	case realmOnly:
		return k.strangeRealm(p.realm, word)
	case keyName:
		if k.keysKnown && !slices.Contains(k.keys, p.text) {
			return k.strangeKey(word)
		}
	case wildcardName:
		if p.realm != "" {
			return k.strangeRealm(p.realm, word)
		}
		suffix := p.components[0]
		if k.realms == nil || !k.keysKnown || slices.ContainsFunc(k.realms, func(realm string) bool { return hasSuffix(realm, suffix) }) ||
			slices.ContainsFunc(k.keys, func(key string) bool { return below(key, p.text) }) {
			return nil
		}
		return &cause{fmt.Sprintf("no HMAC key and no accepted realm (%s) is below %s", strings.Join(k.realms, ", "), suffix[1:]),
			"for principals, add the realm, as in " + word + "@" + k.realms[0]}
	}
	return nil
}

// strangeRealm returns why clients of a realm are not accepted, or nil. The word is the identity as it
// was written.
func (k *known) strangeRealm(realm, word string) *cause {
	if k.realms == nil || slices.Contains(k.realms, realm) {
		return nil
	}
	for _, accepted := range k.realms {
		if equalFold(accepted, realm) {
			return &cause{fmt.Sprintf("the realm is %s: realms are compared with case", accepted),
				"write " + strings.TrimSuffix(strings.TrimSuffix(word, "."), realm) + accepted}
		}
	}
	if c := groupName(word); c != nil {
		return c
	}
	return &cause{fmt.Sprintf("clients of the realm %s are not accepted, only those of %s", realm, strings.Join(k.realms, ", ")),
		"correct the realm, or add it to the property realm"}
}

// strangeKey is the cause where an identity is read as the name of an HMAC key that does not exist.
func (k *known) strangeKey(word string) *cause {
	if c := groupName(word); c != nil {
		return c
	}
	if k.isRealm(word) {
		return &cause{"a realm is an identity in the types owner, krb5- and ms- only; here it is the name of an HMAC key, and there is no such key",
			"for all principals of the realm write the type owner, for its machines a krb5- or ms- type"}
	}
	for _, realm := range k.realms {
		if account, ok := strings.CutSuffix(word, realm); ok && account != "" && !strings.HasSuffix(account, ".") {
			return &cause{"there is no @ in front of the realm, so that it is the name of an HMAC key, and there is no such key",
				fmt.Sprintf("write %s@%s for a principal, or %s$@%s for an account of a machine. A shell takes $@ out of what is not in single quotes",
					account, realm, account, realm)}
		}
	}
	fix := "correct the name, or give the key to the plugin tsig"
	if len(k.realms) > 0 && !strings.HasSuffix(word, ".") && !strings.HasPrefix(word, "*") {
		fix = fmt.Sprintf("for a principal write %s@%s; for a key, give it to the plugin tsig", word, k.realms[0])
	}
	return &cause{"without @ and a realm it is the name of an HMAC key, and there is no such key", fix}
}

// groupName is the cause if a word can only be the name of a group or of a person, or nil.
func groupName(word string) *cause {
	if !strings.Contains(word, " ") {
		return nil
	}
	return &cause{"it is not the name of a principal, realm or HMAC key; a group is named by its SID",
		fmt.Sprintf("write sid: and the SID of %q, as Get-ADGroup, or wbinfo -n, tells it", word)}
}

// types returns why no update has a record of the rule's types, or nil. The rule owner also decides on
// updates that change nothing, whatever its types are.
func (k *known) types(r *Rule) *cause {
	if len(r.types) == 0 || r.kind == ruleOwner || r.isAboutAdministrator() || slices.ContainsFunc(r.types, func(t typeLimit) bool { return changeable(t.rrtype) || t.rrtype == dns.TypeANY }) {
		return nil
	}
	return &cause{"no update can change records of these types", "leave the rule out, or correct its record types"}
}

// changeable reports whether rules decide on records of a type.
func changeable(rrtype uint16) bool {
	return rrtype != dns.TypeNSEC && rrtype != dns.TypeNSEC3 && !dnswire.IsMeta(rrtype)
}

// outside is the cause where no name of the zones is the rule's.
func (k *known) outside(r *Rule) *cause {
	switch r.kind {
	case ruleSelf, ruleSelfsub, ruleSelfwild:
		return &cause{fmt.Sprintf("it permits names after the HMAC key itself, which is in none of the zones %s", k.zonesNamed),
			"use another rule type, such as subdomain"}
	case ruleMSSelf, ruleMSSelfsub:
		return &cause{fmt.Sprintf("it is about names NAME.%s, which are in none of the zones %s", lower(r.realm), k.zonesNamed),
			"use another rule type; for PTR records there is ms-subdomain-self-rhs"}
	case ruleTCPSelf, rule6to4Self:
		return &cause{fmt.Sprintf("no reverse name that it is about is in one of the zones %s", k.zonesNamed),
			"add a zone of in-addr.arpa or ip6.arpa to the server block, or correct the identity"}
	}
	fix := "correct the name, which is absolute, or move the rule to the server block of its zone"
	if first := k.zones[0].origin; len(r.name) == 2+int(r.name[0]) && first != root && len(r.name)-1+len(first) <= maxWire {
		absolute := nameText(r.name[:len(r.name)-1] + first)
		if r.kind == ruleWildcard {
			absolute = "*." + absolute
		}
		fix = "names in rules are absolute: write " + absolute
	}
	return &cause{fmt.Sprintf("the name %s is in none of the zones %s", nameText(r.name), k.zonesNamed), fix}
}

// maxWire is the length of the longest name (RFC 1035 section 2.3.4).
const maxWire = 255

// mayReach reports whether the rule can fit a name of a zone.
func (k *known) mayReach(r *Rule, zone string) bool {
	switch r.kind {
	case ruleName:
		return subdomain(r.name, zone)
	case ruleSubdomain, ruleWildcard, ruleOwner, ruleKrb5Subdomain, ruleKrb5SubdomainSelfRHS, ruleMSSubdomain, ruleMSSubdomainSelfRHS:
		return overlap(r.name, zone)
	case ruleSelf:
		return !k.keysListed(r) || slices.ContainsFunc(k.keysOf(r), func(key string) bool { return subdomain(key, zone) })
	case ruleSelfsub, ruleSelfwild:
		return !k.keysListed(r) || slices.ContainsFunc(k.keysOf(r), func(key string) bool { return overlap(key, zone) })
	case ruleMSSelf:
		domain := accountDomain(r.realm)
		return subdomain(domain, zone) || below(zone, domain) && zone[1+int(zone[0]):] == domain
	case ruleMSSelfsub:
		return overlap(accountDomain(r.realm), zone)
	case ruleTCPSelf:
		return r.mayBeReverse(zone, reversePattern4) || r.mayBeReverse(zone, reversePattern6)
	case rule6to4Self:
		return r.mayBeReverse(zone, reversePattern6to4)
	}
	return true // zonesub; krb5-self and krb5-selfsub: host/NAME may have any name
}

// overlap reports whether one of two names is the other, or below it.
func overlap(a, b string) bool { return subdomain(a, b) || subdomain(b, a) }

// accountDomain is the domain of the names of accounts NAME$ of a realm, empty if they have none.
func accountDomain(realm string) string {
	name, ok := hostName("x." + realm)
	if !ok {
		return ""
	}
	return name[2:]
}

// keysListed reports whether all keys are known that a rule of the self types can be about.
func (k *known) keysListed(r *Rule) bool { return k.keysKnown || r.who.kind == keyName }

// keysOf returns the keys that match the identity of a rule of the self types.
func (k *known) keysOf(r *Rule) []string {
	if !k.keysKnown && r.who.kind == keyName {
		return []string{r.who.text}
	}
	var keys []string
	for _, key := range k.keys {
		if r.who.matches(&subject{Identity: Identity{Kind: Static}, key: key}, r.deny) {
			keys = append(keys, key)
		}
	}
	return keys
}

// A reversePattern is a form of names made from addresses: labels in front of a domain.
type reversePattern struct {
	domain string
	labels int
	octets bool // labels are 0 to 255; else one hexadecimal digit
}

var (
	reversePattern4    = reversePattern{"\x07in-addr\x04arpa\x00", 4, true}
	reversePattern6    = reversePattern{"\x03ip6\x04arpa\x00", 32, false}
	reversePattern6to4 = reversePattern{"\x012\x010\x010\x012\x03ip6\x04arpa\x00", 8, false}
)

// mayBeReverse reports whether a name of that form can fit the identity of tcp-self or 6to4-self and
// be in the zone.
func (r *Rule) mayBeReverse(zone string, p reversePattern) bool {
	if !p.reaches(zone, true) {
		return false
	}
	switch {
	case r.who.kind == anySigner || r.who.kind == noSigner:
		return true
	case isWildcard(r.identity):
		suffix := r.identity[len("\x01*"):]
		return p.reaches(suffix, false) && overlap(suffix, zone)
	}
	return p.labelsOf(r.identity) == p.labels && subdomain(r.identity, zone)
}

// reaches reports whether a name of the form is below a name or, if equal, is that name.
func (p reversePattern) reaches(name string, equal bool) bool {
	if subdomain(p.domain, name) {
		return true
	}
	n := p.labelsOf(name)
	return n >= 0 && (n < p.labels || equal && n == p.labels)
}

// labelsOf returns how many labels of the form a name has in front of the domain: -1 if it is not below
// the domain, or a label is not one of the form.
func (p reversePattern) labelsOf(name string) int {
	if !subdomain(name, p.domain) {
		return -1
	}
	n := 0
	for len(name) > len(p.domain) {
		label := name[1 : 1+name[0]]
		name = name[1+len(label):]
		if !p.isLabel(label) || n == p.labels {
			return -1
		}
		n++
	}
	return n
}

func (p reversePattern) isLabel(label string) bool {
	if !p.octets {
		return len(label) == 1 && strings.Contains(hexDigits, label)
	}
	value := 0
	for i := range len(label) {
		if label[i] < '0' || label[i] > '9' {
			return false
		}
		value = 10*value + int(label[i]-'0')
	}
	return len(label) > 0 && len(label) <= 3 && value <= 255 && (label[0] != '0' || len(label) == 1)
}

// isRealm reports whether a word is an accepted realm, in whatever case.
func (k *known) isRealm(word string) bool {
	return slices.ContainsFunc(k.realms, func(realm string) bool { return equalFold(realm, strings.TrimSuffix(word, ".")) })
}
