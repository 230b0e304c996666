package zone

import (
	"bytes"
	"strings"

	"github.com/miekg/dns"

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

// IsServiceTarget reports whether records of the zone's own services lead to the name before the update: those at the
// apex whose targets a client looks up next, such as MX and HTTPS, and all at service labels of the zone (RFC 2782,
// RFC 8552: names that end in _Service.ZONE), such as SRV, or the CNAME of _acme-challenge. The name servers of
// delegations are among them: who has such a name answers for all below the delegation. So are all names below the
// target of a DNAME record.
func (n *ProposedName) IsServiceTarget() bool {
	s := n.proposal.state
	if s.services.Len() > 0 {
		if _, found := s.services.Get(n.key); found {
			return true
		}
		for key := n.key; key != ""; {
			key = parentKey(key)
			if _, found := s.services.Get(redirectedKey(key)); found {
				return true
			}
		}
	}
	for set := range s.apex().sets {
		if set.rrtype == dns.TypeNS || !dnswire.HasAdditional(set.rrtype) {
			continue
		}
		for data := range set.records {
			for name := range dnswire.Names(set.rrtype, data) {
				if name.Additional && dnswire.EqualNames(data[name.Start:name.End], n.lower) {
					return true
				}
			}
		}
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

// updateServices keeps services up to date when old becomes n.
func (s *Snapshot) updateServices(key string, old, n *node) {
	if key == "" {
		return
	}
	// The first label of a key is the one directly below the origin.
	if key[0] != '_' {
		before, after := old.set(dns.TypeNS), n.set(dns.TypeNS)
		if !bytes.Equal(before.packed, after.packed) {
			s.countTargets(before, -1)
			s.countTargets(after, 1)
		}
		return
	}
	for before := range old.sets {
		if !bytes.Equal(before.packed, n.set(before.rrtype).packed) {
			s.countTargets(before, -1)
		}
	}
	for after := range n.sets {
		if !bytes.Equal(after.packed, old.set(after.rrtype).packed) {
			s.countTargets(after, 1)
		}
	}
}

func (s *Snapshot) countTargets(set rrset, by int) {
	var buf [maxKey]byte
	for data := range set.records {
		for name := range dnswire.Names(set.rrtype, data) {
			octets, ok := s.origin.appendKey(buf[:0], data[name.Start:name.End])
			if !ok || len(octets) == 0 {
				continue
			}
			key := string(octets)
			s.countTarget(key, by)
			if set.rrtype == dns.TypeDNAME {
				s.countTarget(redirectedKey(key), by)
			}
		}
	}
}

func (s *Snapshot) countTarget(key string, by int) {
	if count, _ := s.services.Get(key); count+by > 0 {
		s.services.Set(key, count+by)
	} else {
		s.services.Delete(key)
	}
}

// redirectedKey stands in services for all names below one that DNAME records lead to. No name has it: it ends in an
// empty label.
func redirectedKey(key string) string { return key + string(rune(endOfLabel)) }
