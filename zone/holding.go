package zone

import (
	"bytes"
	"encoding/binary"
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
	return dnswire.EqualNames(primary[:dnswire.NameLen(primary)], n.lower) || apex.set(dns.TypeNS).leadsTo(n.lower, 0)
}

// IsServiceTarget reports whether the zone's own MX records, or SRV records of a service of the zone
// (RFC 2782: names that end in _Service._Proto.ZONE), lead to the name before the update.
func (n *ProposedName) IsServiceTarget() bool {
	s := n.proposal.state
	if services := s.services; services.Len() > 0 {
		if _, found := services.Get(n.key); found {
			return true
		}
	}
	const preference = 2
	return s.apex().set(dns.TypeMX).leadsTo(n.lower, preference)
}

// leadsTo reports whether a record of the set has that name after the first skip octets.
func (r rrset) leadsTo(name []byte, skip int) bool {
	for p := r.packed; len(p) > 0; {
		end := 2 + int(binary.BigEndian.Uint16(p))
		if data := p[2:end]; len(data) == skip+len(name) && dnswire.EqualNames(data[skip:], name) {
			return true
		}
		p = p[end:]
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
	// The first label of a key is the one directly below the origin.
	if key == "" || key[0] != '_' {
		return
	}
	before, after := old.set(dns.TypeSRV), n.set(dns.TypeSRV)
	if bytes.Equal(before.packed, after.packed) {
		return
	}
	s.countTargets(before, -1)
	s.countTargets(after, 1)
}

func (s *Snapshot) countTargets(set rrset, by int) {
	const priorityWeightPort = 6
	var buf [maxKey]byte
	for data := range set.records {
		if len(data) <= priorityWeightPort {
			continue // an earlier release stored it
		}
		target := data[priorityWeightPort:]
		if dnswire.NameLen(target) != len(target) {
			continue
		}
		octets, ok := s.origin.appendKey(buf[:0], target)
		if !ok || len(octets) == 0 {
			continue
		}
		key := string(octets)
		if count, _ := s.services.Get(key); count+by > 0 {
			s.services.Set(key, count+by)
		} else {
			s.services.Delete(key)
		}
	}
}
