package policy

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// shadow returns the cause if rules in front of rules[i] decide whenever it would: for each zone and each
// record type there is one that includes all its clients and names. It returns nil if there may be a change
// that the rule decides on.
func (k *known) shadow(rules []Rule, i int) *cause {
	r := &rules[i]
	var deciders []*Rule
	for _, z := range k.zones {
		if !k.mayReach(r, z.origin) || r.onlyUnsigned() && !z.unsigned {
			continue
		}
		for _, rrtype := range typesOf(rules, r) {
			at := slices.IndexFunc(rules[:i], func(other Rule) bool { return k.includes(&other, r, z, rrtype) })
			if at < 0 {
				return nil
			}
			if !slices.Contains(deciders, &rules[at]) {
				deciders = append(deciders, &rules[at])
			}
		}
	}
	if len(deciders) == 0 {
		return nil
	}
	var names, places []string
	opposite := false
	for _, d := range deciders {
		names = append(names, `"`+d.text+`"`)
		places = append(places, d.position)
		opposite = opposite || d.deny != r.deny
	}
	c := &cause{reason: strings.Join(names, " and ") + ", in front of it, decides whenever it would", fix: "leave it out"}
	if len(names) > 1 {
		c.reason = strings.Join(names, " and ") + ", in front of it, decide whenever it would"
	}
	if opposite || !slices.Equal(r.types, deciders[0].types) {
		c.fix = "put it in front of " + strings.Join(places, " and ")
		if slices.Contains(places, "") {
			c.fix = "put it in front"
		}
		if !opposite {
			c.fix = "leave it out, or, if its record types are to hold, " + c.fix
		}
	}
	return c
}

// typesOf returns the types that a rule may decide on and that rules may treat differently: those that
// any rule names, those that some rules or targets treat apart, and one that stands for all others.
func typesOf(rules []Rule, r *Rule) []uint16 {
	all := []uint16{dns.TypePTR, dns.TypeSRV, dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG}
	for i := range rules {
		for _, t := range rules[i].types {
			if changeable(t.rrtype) {
				all = append(all, t.rrtype)
			}
		}
	}
	if r.isAboutAdministrator() {
		all = append(all, dns.TypeNSEC, dns.TypeNSEC3) // which others change in no case
	}
	const privateUse = 65280 // RFC 6895 section 3.1
	other := uint16(privateUse)
	for slices.Contains(all, other) {
		other++
	}
	all = append(all, other)
	if r.kind == ruleOwner {
		return all // it permits what changes nothing, whatever its types
	}
	return slices.DeleteFunc(all, func(rrtype uint16) bool {
		_, covered := r.limit(rrtype)
		return !covered
	})
}

// includes reports whether a rule decides on every change of that type in the zone that the other rule
// would decide on.
func (k *known) includes(r, other *Rule, z knownZone, rrtype uint16) bool {
	if r.kind == ruleOwner {
		return false // it leaves changes to the next rule
	}
	_, covered := r.limit(rrtype)
	return covered && r.includesSenders(other, z.unsigned) && r.includesNames(other, z.origin, rrtype)
}

// isSelf, isHost, isAccount and isAddress are the families of rule types that compare names with the
// sender's own.
func (r *Rule) isSelf() bool {
	return r.kind == ruleSelf || r.kind == ruleSelfsub || r.kind == ruleSelfwild
}

func (r *Rule) isHost() bool {
	return r.kind == ruleKrb5Self || r.kind == ruleKrb5Selfsub || r.kind == ruleKrb5Subdomain || r.kind == ruleKrb5SubdomainSelfRHS
}

func (r *Rule) isAccount() bool {
	return r.kind == ruleMSSelf || r.kind == ruleMSSelfsub || r.kind == ruleMSSubdomain || r.kind == ruleMSSubdomainSelfRHS
}

func (r *Rule) isAddress() bool { return r.kind == ruleTCPSelf || r.kind == rule6to4Self }

// isAboutAdministrator reports whether the rule is one about the administrator, whom no other identity includes.
func (r *Rule) isAboutAdministrator() bool { return r.who.kind == administrator && !r.isAddress() }

// onlyUnsigned reports whether the rule is about clients that did not sign alone.
func (r *Rule) onlyUnsigned() bool { return r.who.kind == noSigner && !r.isAddress() }

// includesSenders reports whether Rule.means holds of every client of which it holds for the other rule.
// unsigned says that these may be clients that did not sign. Which tickets a deny includes and a grant
// does not is said at pattern.matches.
func (r *Rule) includesSenders(other *Rule, unsigned bool) bool {
	stricter := r.deny || !other.deny
	switch {
	case other.isAboutAdministrator():
		return r.isAboutAdministrator()
	case r.isAddress():
		return r.kind == other.kind && r.includesAddresses(other)
	case r.isHost():
		return other.isHost() && r.realm == other.realm && stricter
	case r.isAccount():
		return other.isAccount() && r.realm == other.realm && stricter
	case r.isSelf() && !other.isSelf():
		return false
	}
	switch r.who.kind {
	case anySigner:
		mayBeUnsigned := unsigned && !other.isSelf() && !other.isHost() && !other.isAccount() &&
			(other.isAddress() || other.who.kind == noSigner || other.who.kind == anySigner && other.deny)
		return r.deny || !mayBeUnsigned
	case wildcardName:
		if r.who.realm == "" && other.realmOf() != "" {
			return hasSuffix(other.realmOf(), r.who.components[0])
		}
	}
	return !other.isHost() && !other.isAccount() && !other.isAddress() && r.who.equal(&other.who) && stricter
}

// realmOf is the realm of all clients of a rule, or "".
func (r *Rule) realmOf() string {
	if r.isHost() || r.isAccount() {
		return r.realm
	}
	switch r.who.kind {
	case principal, realmOnly, wildcardName:
		if !r.isAddress() {
			return r.who.realm
		}
	}
	return ""
}

// equal reports whether two patterns include the same clients.
func (p *pattern) equal(other *pattern) bool {
	if p.kind != other.kind || p.realm != other.realm || p.text != other.text {
		return false
	}
	if p.kind == wildcardName {
		return slices.Equal(p.components, other.components) // the end of a realm, compared with case
	}
	return equalComponents(p.components, other.components)
}

// includesAddresses compares the identities of two rules of the type tcp-self or 6to4-self.
func (r *Rule) includesAddresses(other *Rule) bool {
	switch {
	case r.who.kind != keyName:
		return true
	case other.who.kind != keyName:
		return false
	case isWildcard(r.identity):
		suffix := r.identity[len("\x01*"):]
		if isWildcard(other.identity) {
			return subdomain(other.identity[len("\x01*"):], suffix)
		}
		return below(other.identity, suffix)
	}
	return r.identity == other.identity
}

// includesNames reports whether a rule whose identity fits all clients of another one fits all names of
// the zone that the other rule fits for a record of that type.
func (r *Rule) includesNames(other *Rule, zone string, rrtype uint16) bool {
	if r.comparesTarget(rrtype) {
		return other.kind == r.kind && subdomain(other.name, r.name)
	}
	switch r.kind {
	case ruleZonesub:
		return true
	case ruleSubdomain, ruleKrb5Subdomain, ruleMSSubdomain, ruleKrb5SubdomainSelfRHS, ruleMSSubdomainSelfRHS:
		top, _ := other.top()
		return subdomain(zone, r.name) || top != "" && subdomain(top, r.name)
	case ruleWildcard:
		top, itself := other.top()
		return below(zone, r.name) || top != "" && (below(top, r.name) || top == r.name && !itself)
	case ruleName:
		return other.kind == ruleName && other.name == r.name
	case ruleSelfsub:
		return other.isSelf()
	case ruleKrb5Selfsub:
		return other.kind == ruleKrb5Self || other.kind == ruleKrb5Selfsub
	case ruleMSSelfsub:
		return other.kind == ruleMSSelf || other.kind == ruleMSSelfsub
	}
	return other.kind == r.kind // self, selfwild, krb5-self, ms-self, tcp-self, 6to4-self
}

// comparesTarget reports whether the rule fits records of a type by their targets only.
func (r *Rule) comparesTarget(rrtype uint16) bool {
	return (r.kind == ruleKrb5SubdomainSelfRHS || r.kind == ruleMSSubdomainSelfRHS) && (rrtype == dns.TypePTR || rrtype == dns.TypeSRV)
}

// top returns a name that all names of a rule are, or are below, and whether the rule may fit that name
// itself. It is empty if there is none but the root.
func (r *Rule) top() (name string, itself bool) {
	switch r.kind {
	case ruleName, ruleSubdomain, ruleOwner, ruleKrb5Subdomain, ruleMSSubdomain, ruleKrb5SubdomainSelfRHS, ruleMSSubdomainSelfRHS:
		return r.name, true
	case ruleWildcard:
		return r.name, false
	case ruleMSSelf, ruleMSSelfsub:
		return accountDomain(r.realm), false
	case ruleSelf, ruleSelfsub, ruleSelfwild:
		if r.who.kind == keyName {
			return r.who.text, r.kind != ruleSelfwild
		}
	}
	return "", true
}
