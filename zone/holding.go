package zone

import (
	"bytes"
	"strings"

	"github.com/miekg/dns"
	"github.com/tidwall/btree"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// A Holding is a name with records, or with an owner, before an update.
type Holding struct {
	// Name is in wire form and lower case.
	Name []byte
	// Owner is the owner of the name, if Owned. A tombstone that has expired is none.
	Owner Ownership
	Owned bool
}

// Holding returns the closest name at or above name, and below the zone's own, that has records or an
// owner before the update. name is in wire form.
func (p *Proposal) Holding(name []byte) (Holding, bool) {
	var buf [maxKey]byte
	octets, ok := p.origin.appendKey(buf[:0], name)
	if !ok || len(octets) == 0 {
		return Holding{}, false
	}
	key := string(octets)
	if held, known := p.holdings[key]; known {
		return held, held.Name != nil
	}
	held := p.holding(key)
	if len(p.names) > 1 {
		// Most names of one message have the same parent.
		if p.holdings == nil {
			p.holdings = make(map[string]Holding)
		}
		p.holdings[key] = held
	}
	return held, held.Name != nil
}

// holding returns the Holding for a key, with a nil Name if there is none.
func (p *Proposal) holding(key string) Holding {
	owned := p.closestOwned(key)
	inUse := p.state.closestInUse(key)
	if len(inUse) > len(owned) {
		return Holding{Name: p.origin.appendName(nil, inUse)}
	}
	if owned == "" {
		return Holding{}
	}
	own, _ := p.state.owners.Get(owned)
	return Holding{Name: p.origin.appendName(nil, owned), Owner: own.export(), Owned: true}
}

// closestOwned returns the closest key at or above one, other than the apex, that has an owner, or "".
// As in delegated, the key before one in the tree tells which labels need no look.
func (p *Proposal) closestOwned(key string) string {
	owners := p.state.owners
	for key != "" && owners.Len() > 0 {
		found := ""
		var own ownership
		owners.Descend(key, func(k string, o ownership) bool {
			found, own = k, o
			return false
		})
		switch {
		case found == "":
			return ""
		case !strings.HasPrefix(key, found):
			key = key[:commonAncestor(key, found)]
		case own.deleted() == 0 || own.deleted() > p.expired:
			return found
		default:
			key = parentKey(found)
		}
	}
	return ""
}

// closestInUse returns the closest key at or above one, other than the apex, that has records, or "".
func (s *Snapshot) closestInUse(key string) string {
	found := ""
	s.names.Descend(key, func(k string, _ *node) bool {
		found = k
		return false
	})
	// All names above one in the tree are in the tree.
	for key = key[:commonAncestor(key, found)]; key != ""; key = parentKey(key) {
		if n, _ := s.names.Get(key); !n.empty() {
			return key
		}
	}
	return ""
}

// IsNameServer reports whether the zone's SOA record has the name as primary server, or its NS records
// as a name server, before the update.
func (n *ProposedName) IsNameServer() bool {
	apex := n.proposal.state.apex()
	primary := apex.set(dns.TypeSOA).first()
	return dnswire.EqualNames(primary[:dnswire.NameLen(primary)], n.lower) || apex.set(dns.TypeNS).leadsTo(n.lower)
}

// IsServiceTarget reports whether records of the zone's own services lead to the name before the update: see
// [Snapshot.LeadsTo].
func (n *ProposedName) IsServiceTarget() bool { return n.proposal.state.LeadsTo(n.lower) }

// LeadsTo reports whether records of the zone's own services lead to a name, in wire form and lower case, of this zone or of
// another: those at the apex whose targets a client looks up next, such as NS, MX and HTTPS, and all at service labels of the
// zone (RFC 2782, RFC 8552: names that end in _Service.ZONE), such as SRV, or the CNAME of _acme-challenge. In a zone that is
// below a service label itself, such as _msdcs.example.org, all names are those of services. The name servers of delegations are
// among the targets: who has such a name answers for all below the delegation. So are all names below the target of a DNAME
// record, and what such a name of this zone is an alias of.
func (s *Snapshot) LeadsTo(name []byte) bool {
	var buf [maxKey]byte
	if octets, ok := s.origin.appendKey(buf[:0], name); !ok {
		if s.leadsAbroad(name) {
			return true
		}
	} else if s.services.Len() > 0 {
		key := string(octets)
		if _, found := s.services.Get(key); found {
			return true
		}
		for key != "" {
			key = parentKey(key)
			if _, found := s.services.Get(redirectedKey(key)); found {
				return true
			}
		}
	}
	found := false
	s.aliases.Scan(func(key string, _ struct{}) bool {
		found = s.isAlias(key, name)
		return !found
	})
	return found
}

// leadsAbroad is LeadsTo for records at service labels and for the name servers of delegations, to names that are not in the zone.
func (s *Snapshot) leadsAbroad(name []byte) bool {
	if s.abroad.Len() == 0 {
		return false
	}
	if _, found := s.abroad.Get(string(name)); found {
		return true
	}
	for len(name) > 1 {
		name = name[1+int(name[0]):]
		if _, found := s.abroad.Get(redirectedAbroad + string(name)); found {
			return true
		}
	}
	return false
}

// isAlias reports whether CNAME records of the zone lead from a key to the name. Those of a client's own name count as little as its
// addresses do: with them it could keep others from their names.
func (s *Snapshot) isAlias(key string, name []byte) bool {
	var buf [maxKey]byte
	for range maxChain {
		n, _ := s.node(key)
		set := n.set(dns.TypeCNAME)
		if set.empty() {
			return false
		}
		if own, owned := s.owners.Get(key); owned && isClient(own.principal()) {
			return false
		}
		alias := set.first()
		if dnswire.EqualNames(alias, name) {
			return true
		}
		octets, ok := s.origin.appendKey(buf[:0], alias)
		if !ok {
			return false
		}
		key = string(octets)
	}
	return false
}

// leadsTo reports whether a record of the set is that name.
func (r rrset) leadsTo(name []byte) bool {
	for data := range r.records {
		if dnswire.EqualNames(data, name) {
			return true
		}
	}
	return false
}

// HasRecordsAfter reports whether the name has records after the update.
func (n *ProposedName) HasRecordsAfter() bool {
	n.evaluate()
	return !n.after.empty()
}

// updateServices keeps services, abroad and aliases up to date when old has become n.
func (s *Snapshot) updateServices(key string, old, n *node) {
	counts := dnswire.HasAdditional // at the apex
	if key != "" {
		counts = func(uint16) bool { return true }
		if before, after := old.set(dns.TypeCNAME).empty(), n.set(dns.TypeCNAME).empty(); before != after {
			_, found := s.services.Get(key)
			s.setAlias(key, found && !after)
		}
	}
	// The first label of a key is the one directly below the origin.
	if key != "" && key[0] != '_' && !s.origin.service {
		before, after := old.set(dns.TypeNS), n.set(dns.TypeNS)
		if !bytes.Equal(before.packed, after.packed) {
			s.countTargets(before, -1)
			s.countTargets(after, 1)
		}
		return
	}
	for before := range old.sets {
		if counts(before.rrtype) && !bytes.Equal(before.packed, n.set(before.rrtype).packed) {
			s.countTargets(before, -1)
		}
	}
	for after := range n.sets {
		if counts(after.rrtype) && !bytes.Equal(after.packed, old.set(after.rrtype).packed) {
			s.countTargets(after, 1)
		}
	}
}

func (s *Snapshot) countTargets(set rrset, by int) {
	var buf [maxKey]byte
	for data := range set.records {
		for name := range dnswire.Names(set.rrtype, data) {
			target := data[name.Start:name.End]
			octets, ok := s.origin.appendKey(buf[:0], target)
			switch {
			case len(target) == 1 || ok && len(octets) == 0: // no name, or the apex
			case ok:
				key := string(octets)
				leads := count(s.services, key, by)
				n, _ := s.node(key)
				s.setAlias(key, leads && !n.set(dns.TypeCNAME).empty())
				if set.rrtype == dns.TypeDNAME {
					count(s.services, redirectedKey(key), by)
				}
			default:
				lower := string(dnswire.AppendLower(nil, target))
				count(s.abroad, lower, by)
				if set.rrtype == dns.TypeDNAME {
					count(s.abroad, redirectedAbroad+lower, by)
				}
			}
		}
	}
}

// count adds to the number of a name, and reports whether it is more than none then.
func count(names *btree.Map[string, int], name string, by int) bool {
	n, _ := names.Get(name)
	if n += by; n <= 0 {
		names.Delete(name)
		return false
	}
	names.Set(name, n)
	return true
}

// setAlias enters a key into aliases, or takes it out.
func (s *Snapshot) setAlias(key string, is bool) {
	if is {
		s.aliases.Set(key, struct{}{})
	} else if s.aliases.Len() > 0 {
		s.aliases.Delete(key)
	}
}

// redirectedAbroad and a name stand in abroad for all names below it that DNAME records lead to. No name begins with an empty label.
const redirectedAbroad = "\x00"

// redirectedKey stands in services for all names below one that DNAME records lead to. No name has it: it ends in an
// empty label.
func redirectedKey(key string) string { return key + string(rune(endOfLabel)) }
