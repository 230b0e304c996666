package policy

import "github.com/miekg/dns"

// ruleType is the third word of a rule: how it relates the sender to the name that is to change.
type ruleType uint8

const (
	ruleName ruleType = iota
	ruleSubdomain
	ruleZonesub
	ruleWildcard
	ruleSelf
	ruleSelfsub
	ruleSelfwild
	ruleKrb5Self
	ruleKrb5Selfsub
	ruleKrb5Subdomain
	ruleKrb5SubdomainSelfRHS
	ruleMSSelf
	ruleMSSelfsub
	ruleMSSubdomain
	ruleMSSubdomainSelfRHS
	ruleTCPSelf
	rule6to4Self
	ruleOwner
)

// A typeLimit is one entry of a rule's type list.
type typeLimit struct {
	rrtype uint16 // TypeANY: every type
	max    int    // records of that type that a name may have; 0: no limit
}

// A Rule is one grant or deny of a policy. It is made by ParseRule and does not change.
type Rule struct {
	deny     bool
	kind     ruleType
	who      pattern
	realm    string // identity of the krb5- and ms- types
	name     string // the root where the type needs none
	identity string // a name: identity of tcp-self and 6to4-self
	types    []typeLimit
	text     string
	word     string // the identity field as it was written
	position string
}

// String returns the rule as it was written, with its position before it if it has one.
func (r Rule) String() string {
	if r.position == "" {
		return r.text
	}
	return r.position + ": " + r.text
}

// Text returns the rule as it was written, without its position.
func (r Rule) Text() string { return r.text }

// Position returns where the rule was written, as given to ParseRule.
func (r Rule) Position() string { return r.position }

// Grants reports whether the rule is a grant, not a deny.
func (r Rule) Grants() bool { return !r.deny }

// unsigned reports whether the rule speaks of senders who did not sign. A policy with such a rule
// decides on unsigned updates by its rules alone.
func (r *Rule) unsigned() bool {
	return r.kind == ruleTCPSelf || r.kind == rule6to4Self || r.who.kind == noSigner
}

// limit returns whether the rule covers a type, and the number of records of it that a name may
// have (0: any). An entry for the type goes before ANY.
func (r *Rule) limit(rrtype uint16) (max int, covered bool) {
	if len(r.types) == 0 {
		switch rrtype {
		case dns.TypeRRSIG, dns.TypeNS, dns.TypeSOA, dns.TypeNSEC, dns.TypeNSEC3:
			return 0, false
		}
		return 0, true
	}
	for _, t := range r.types {
		switch t.rrtype {
		case rrtype:
			return t.max, true
		case dns.TypeANY:
			max, covered = t.max, true
		}
	}
	return max, covered
}

// coversAll reports whether the rule grants changes of every type that a name of a client may have,
// with any data. A client with such a grant can do everything with the name.
func (r *Rule) coversAll() bool {
	if r.kind == ruleKrb5SubdomainSelfRHS || r.kind == ruleMSSubdomainSelfRHS {
		return false
	}
	if len(r.types) == 0 {
		return true
	}
	for _, t := range r.types {
		if t.max != 0 {
			return false
		}
	}
	_, covered := r.limit(dns.TypeNone)
	return covered
}

// means reports whether the rule's identity field fits the sender, as far as that can be told
// without the name that is to change.
func (r *Rule) means(s *subject) bool {
	switch r.kind {
	case ruleSelf, ruleSelfsub, ruleSelfwild:
		return s.Kind == Static && r.who.matches(s, r.deny)
	case ruleKrb5Self, ruleKrb5Selfsub, ruleKrb5Subdomain, ruleKrb5SubdomainSelfRHS:
		return s.host != "" && s.Realm == r.realm && (s.vouched || r.deny)
	case ruleMSSelf, ruleMSSelfsub, ruleMSSubdomain, ruleMSSubdomainSelfRHS:
		return s.machine != "" && s.Realm == r.realm && (s.vouched || r.deny)
	case ruleTCPSelf:
		return s.reverse != "" && r.meansAddress(s.reverse)
	case rule6to4Self:
		return s.sixto4 != "" && r.meansAddress(s.sixto4)
	}
	return r.who.matches(s, r.deny)
}

// meansAddress compares the identity of tcp-self and 6to4-self with the name made from the client's
// address.
func (r *Rule) meansAddress(name string) bool {
	switch {
	case r.who.kind == anySigner || r.who.kind == noSigner:
		return true
	case isWildcard(r.identity):
		return below(name, r.identity[len("\x01*"):])
	}
	return name == r.identity
}

// reaches reports whether the rule, whose identity fits the sender, fits the name. target is the name
// that a PTR or SRV record points to, in any case, and nil for all other records. For owner it
// leaves the question of ownership open.
func (r *Rule) reaches(s *subject, name, target []byte) bool {
	switch r.kind {
	case ruleName:
		return string(name) == r.name
	case ruleSubdomain, ruleOwner, ruleKrb5Subdomain, ruleMSSubdomain:
		return subdomain(name, r.name)
	case ruleZonesub:
		return true
	case ruleWildcard:
		return below(name, r.name)
	case ruleSelf:
		return string(name) == s.key
	case ruleSelfsub:
		return subdomain(name, s.key)
	case ruleSelfwild:
		return below(name, s.key)
	case ruleKrb5Self:
		return string(name) == s.host
	case ruleKrb5Selfsub:
		return subdomain(name, s.host)
	case ruleKrb5SubdomainSelfRHS:
		return subdomain(name, r.name) && pointsTo(target, s.host)
	case ruleMSSelf:
		return string(name) == s.machine
	case ruleMSSelfsub:
		return subdomain(name, s.machine)
	case ruleMSSubdomainSelfRHS:
		return subdomain(name, r.name) && pointsTo(target, s.machine)
	case ruleTCPSelf:
		return string(name) == s.reverse
	case rule6to4Self:
		return string(name) == s.sixto4
	}
	return false
}

// pointsTo reports whether a record has no target, or this one.
func pointsTo(target []byte, name string) bool {
	if target == nil {
		return true
	}
	if len(target) != len(name) {
		return false
	}
	for i, b := range target {
		if lowerByte(b) != name[i] {
			return false
		}
	}
	return true
}
