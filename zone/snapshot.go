package zone

import (
	"iter"
	"strings"

	"github.com/miekg/dns"
	"github.com/tidwall/btree"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A Snapshot is the state of the zone at one moment. It never changes, and shares memory with later
// states except for the data that updates have replaced. All methods are safe for concurrent use.
type Snapshot struct {
	origin *origin
	// top is the apex's node. It changes with every update, and its place in the tree would have to
	// be copied each time.
	top *node
	// names has a node for every other name with records and for every empty non-terminal. The
	// apex, whose key is "", is always there as one.
	names *btree.Map[string, *node]
	// zonecuts are the keys of nodes other than the apex with an NS or DNAME. Most zones have few,
	// so looking up all ancestors of a name here costs little.
	zonecuts *btree.Map[string, struct{}]
	// services counts, for names of the zone, the records of the apex, those at service labels of the zone itself, and the NS
	// records of delegations, that lead to them, and under redirectedKey the DNAME records: updateServices.
	services *btree.Map[string, int]
	// abroad counts the same for names of other zones, in wire form and lower case, and aliases has the keys of services with a
	// CNAME record.
	abroad  *btree.Map[string, int]
	aliases *btree.Map[string, struct{}]
	// owners has an entry for every owned name, with records or without.
	owners *btree.Map[string, ownership]
	// tombstones order the owners without records by age: tombstoneKey. Those that stay until they
	// expire are in reserved.
	tombstones, reserved *btree.Map[string, struct{}]
	// ownerTombstones order those of each owner by age: ownerTombstoneKey.
	ownerTombstones *btree.Map[string, struct{}]
	// tombstoneRanks order the owners of more than one tombstone by how many they have: rankKey.
	tombstoneRanks *btree.Map[string, struct{}]
	// usage is what each owner has.
	usage           usages
	tombstoneOwners int // that have a tombstone
	// sharesOwners says that the trees of owners are still those of the snapshot before.
	sharesOwners    bool
	tombstoneOctets int // without those in reserved
	reservedOctets  int
	records         int
	dynamic         int // records that are not static
	octets          int // without tombstones
	serial          uint32
	position        store.Position // in the store
}

func newSnapshot(o *origin) *Snapshot {
	s := &Snapshot{
		origin:     o,
		top:        emptyNode,
		names:      new(btree.Map[string, *node]),
		zonecuts:   new(btree.Map[string, struct{}]),
		services:   new(btree.Map[string, int]),
		abroad:     new(btree.Map[string, int]),
		aliases:    new(btree.Map[string, struct{}]),
		owners:     new(btree.Map[string, ownership]),
		tombstones: new(btree.Map[string, struct{}]),
		reserved:   new(btree.Map[string, struct{}]),

		ownerTombstones: new(btree.Map[string, struct{}]),
		tombstoneRanks:  new(btree.Map[string, struct{}]),
		usage:           newUsages(),
	}
	s.names.Set("", emptyNode)
	return s
}

// Origin returns the zone's name, in lower case and absolute.
func (s *Snapshot) Origin() string { return s.origin.name }

// Serial returns the SOA's serial.
func (s *Snapshot) Serial() uint32 { return s.serial }

// SOA returns the zone's SOA record. The caller may modify it.
func (s *Snapshot) SOA() *dns.SOA {
	apex := s.apex()
	set := apex.set(dns.TypeSOA)
	soa, _ := newRR(s.ownerText("", apex), dns.TypeSOA, set.ttl, set.first()).(*dns.SOA)
	return soa
}

// ownerText returns the name of a node in presentation form, in the spelling in which it was entered.
func (s *Snapshot) ownerText(key string, n *node) string {
	if spelling := n.spelling(); spelling != nil {
		return dnswire.NameText(spelling)
	}
	return s.origin.nameOf(key)
}

// Len returns the number of records.
func (s *Snapshot) Len() int { return s.records }

// Dynamic returns the number of records that are not static: those with a time of their last refresh.
func (s *Snapshot) Dynamic() int { return s.dynamic }

// Records yields every record: the SOA first, the rest by name in canonical order, then by type,
// then by rdata. Owners are in the spelling in which they were entered. A record whose struct would
// not pack to the octets of its rdata is a [dns.RFC3597]. The caller may modify the records.
func (s *Snapshot) Records() iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		if !yield(s.SOA()) {
			return
		}
		s.nodes(func(key string, n *node) bool {
			if n.empty() {
				return true
			}
			owner := s.ownerText(key, n)
			for set := range n.sets {
				if key == "" && set.rrtype == dns.TypeSOA {
					continue
				}
				for data := range set.records {
					if !yield(newRR(owner, set.rrtype, set.ttl, data)) {
						return false
					}
				}
			}
			return true
		})
	}
}

// WireRecords yields the same records in the same order as they are stored. Their rdata must not be
// modified.
func (s *Snapshot) WireRecords() iter.Seq[store.Record] {
	return func(yield func(store.Record) bool) {
		apex := s.apex()
		soa := apex.set(dns.TypeSOA)
		if !yield(store.Record{Name: s.origin.spelled("", apex), Type: dns.TypeSOA, Class: dns.ClassINET, TTL: soa.ttl, Data: soa.first()}) {
			return
		}
		s.nodes(func(key string, n *node) bool {
			if n.empty() {
				return true
			}
			name := s.origin.spelled(key, n)
			for set := range n.sets {
				if key == "" && set.rrtype == dns.TypeSOA {
					continue
				}
				for data, hours := range set.timed {
					if !yield(store.Record{Name: name, Type: set.rrtype, Class: dns.ClassINET, TTL: set.ttl, Hours: hours, Data: data}) {
						return false
					}
				}
			}
			return true
		})
	}
}

// WireRecordsAt yields the records of one name as they are stored. Their rdata must not be modified.
func (s *Snapshot) WireRecordsAt(name string) iter.Seq[store.Record] {
	return func(yield func(store.Record) bool) {
		key, ok := s.origin.key(name)
		if !ok {
			return
		}
		n, _ := s.node(key)
		if n.empty() {
			return
		}
		spelled := s.origin.spelled(key, n)
		for set := range n.sets {
			for data, hours := range set.timed {
				if !yield(store.Record{Name: spelled, Type: set.rrtype, Class: dns.ClassINET, TTL: set.ttl, Hours: hours, Data: data}) {
					return
				}
			}
		}
	}
}

// at returns all that a name in wire form holds, for store.Batch.
func (s *Snapshot) at(name string) (records []store.Record, owner *store.Owner) {
	key, ok := s.origin.keyOf(name)
	if !ok {
		return nil, nil
	}
	n, _ := s.node(key)
	if !n.empty() {
		spelled := s.origin.spelled(key, n)
		for set := range n.sets {
			for data, hours := range set.timed {
				records = append(records, store.Record{Name: spelled, Type: set.rrtype, Class: dns.ClassINET, TTL: set.ttl, Hours: hours, Data: data})
			}
		}
	}
	if own, owned := s.owners.Get(key); owned {
		e := own.export()
		owner = &store.Owner{Name: s.origin.wireOf(key), Principal: e.Principal, Deleted: e.Deleted}
	}
	return records, owner
}

// InZone reports whether name is the origin or below it.
func (s *Snapshot) InZone(name string) bool {
	_, ok := s.origin.key(name)
	return ok
}

// Exists reports whether name is in use, which is to have at least one record (RFC 2136 section
// 2.4.4). Empty non-terminals, and names that only a wildcard or a tombstone matches, are not in
// use. Names below a zone cut are.
func (s *Snapshot) Exists(name string) bool { return !s.nodeAt(name).empty() }

// Types returns the types of name's RRsets in ascending order.
func (s *Snapshot) Types(name string) []uint16 {
	n := s.nodeAt(name)
	if n == nil {
		return nil
	}
	var types []uint16
	for set := range n.sets {
		types = append(types, set.rrtype)
	}
	return types
}

// RRset returns the records of that name and type exactly: no wildcard, no CNAME, no zone cut
// applies. The owner is name as given. The caller may modify the records.
func (s *Snapshot) RRset(name string, rrtype uint16) []dns.RR {
	return s.nodeAt(name).set(rrtype).appendTo(nil, name)
}

// Owner returns the owner of name, which may be a tombstone.
func (s *Snapshot) Owner(name string) (Ownership, bool) {
	key, ok := s.origin.key(name)
	if !ok {
		return Ownership{}, false
	}
	own, ok := s.owners.Get(key)
	return own.export(), ok
}

// Owners yields every owned name, with records or without, in canonical order.
func (s *Snapshot) Owners() iter.Seq[store.Owner] {
	return func(yield func(store.Owner) bool) {
		s.owners.Scan(func(key string, own ownership) bool {
			e := own.export()
			return yield(store.Owner{Name: s.origin.wireOf(key), Principal: e.Principal, Deleted: e.Deleted})
		})
	}
}

// apex returns the node of the origin, which is always there.
func (s *Snapshot) apex() *node { return s.top }

// node returns the node of a key.
func (s *Snapshot) node(key string) (n *node, ok bool) {
	if key == "" {
		return s.top, true
	}
	return s.names.Get(key)
}

// nodes calls visit with every node in canonical order, until it returns false.
func (s *Snapshot) nodes(visit func(key string, n *node) bool) {
	if visit("", s.top) {
		s.names.Ascend("\x00", visit) // which sorts after "" and before every other key
	}
}

// nodeAt returns the node of a name in presentation form, nil if none.
func (s *Snapshot) nodeAt(name string) *node {
	key, ok := s.origin.key(name)
	if !ok {
		return nil
	}
	n, _ := s.node(key)
	return n
}

// delegated reports whether a name is at or below a delegation. It asks for the zone cut before the
// name in canonical order, and for those before the ancestor that both share, so that it does not
// look at every label.
func (s *Snapshot) delegated(key string) bool {
	for s.zonecuts.Len() > 0 && key != "" {
		cut := ""
		s.zonecuts.Descend(key, func(found string, _ struct{}) bool {
			cut = found
			return false
		})
		if cut == "" {
			return false
		}
		if !strings.HasPrefix(key, cut) {
			key = key[:commonAncestor(key, cut)]
			continue
		}
		if n, _ := s.node(cut); !n.set(dns.TypeNS).empty() {
			return true
		}
		key = parentKey(cut)
	}
	return false
}

// The methods below change a Snapshot that is not published yet.

// fork returns a copy that can be changed without the original. Copying a tree marks the original
// as shared, in a field that reads never touch, so only who holds Zone.advancing may fork.
func (s *Snapshot) fork() *Snapshot {
	f := *s
	f.names = s.names.Copy()
	f.zonecuts = s.zonecuts.Copy()
	f.services = s.services.Copy()
	f.abroad = s.abroad.Copy()
	f.aliases = s.aliases.Copy()
	f.sharesOwners = true
	return &f
}

// moved returns a copy that will have another position and no other difference.
func (s *Snapshot) moved() *Snapshot {
	m := *s
	return &m
}

// replace replaces old, the node in the tree, by n, which is nil if the name has no records any
// more.
func (s *Snapshot) replace(key string, old, n *node) {
	before, after := old.tally(), n.tally()
	records, octets := after.records-before.records, after.octets-before.octets
	s.records += records
	s.dynamic += after.dynamic - before.dynamic
	s.octets += octets
	if (records != 0 || octets != 0) && s.owners.Len() > 0 {
		if own, ok := s.owners.Get(key); ok && own.deleted() == 0 {
			d := usageOf(key, n, false)
			d.add(usageOf(key, old, false).negative())
			s.charge(own.principal(), d)
		}
	}
	if key == "" {
		if s.top = n; n == nil {
			s.top = emptyNode
		}
		s.updateServices(key, old, n)
		if soa := n.set(dns.TypeSOA); !soa.empty() {
			s.serial = soaSerial(soa.first())
		}
		return
	}
	switch {
	case n != nil:
		if old == nil {
			s.octets += len(key)
			s.addAncestors(key)
		}
		s.names.Set(key, n)
	case old != nil:
		if s.hasDescendants(key) {
			s.names.Set(key, emptyNode)
		} else {
			s.names.Delete(key)
			s.octets -= len(key)
			s.pruneAncestors(key)
		}
	}
	s.updateServices(key, old, n)
	was, is := old.cuts(), n.cuts()
	if is && !was {
		s.zonecuts.Set(key, struct{}{})
	} else if was && !is {
		s.zonecuts.Delete(key)
	}
}

// emptyNode is the node of every empty non-terminal.
var emptyNode = new(node)

// addAncestors makes empty non-terminals of the names above key that are not in the tree.
func (s *Snapshot) addAncestors(key string) {
	for key != "" {
		key = parentKey(key)
		if _, ok := s.names.Get(key); ok {
			return
		}
		// A copy, so that this key does not keep the longer one alive.
		s.names.Set(strings.Clone(key), emptyNode)
		s.octets += len(key)
	}
}

// pruneAncestors removes the empty non-terminals above key, which was removed, that have nothing
// below them any more.
func (s *Snapshot) pruneAncestors(key string) {
	for key != "" {
		key = parentKey(key)
		n, ok := s.names.Get(key)
		if key == "" || !ok || !n.empty() || s.hasDescendants(key) {
			return
		}
		s.names.Delete(key)
		s.octets -= len(key)
	}
}

// hasDescendants reports whether the tree has a name below key.
func (s *Snapshot) hasDescendants(key string) bool {
	found := false
	// Every key with this prefix sorts directly after it.
	s.names.Ascend(key, func(k string, _ *node) bool {
		if k == key {
			return true
		}
		found = strings.HasPrefix(k, key)
		return false
	})
	return found
}

// copyOwners makes the trees of owners the snapshot's own. Most updates change none of them.
func (s *Snapshot) copyOwners() {
	if !s.sharesOwners {
		return
	}
	s.sharesOwners = false
	s.owners = s.owners.Copy()
	s.tombstones = s.tombstones.Copy()
	s.reserved = s.reserved.Copy()
	s.ownerTombstones = s.ownerTombstones.Copy()
	s.tombstoneRanks = s.tombstoneRanks.Copy()
	s.usage = s.usage.copy()
}

// setOwner sets or, with nil, removes the ownership of a name.
func (s *Snapshot) setOwner(key string, own *ownership) {
	s.copyOwners()
	n, _ := s.node(key)
	old, owned := s.owners.Get(key)
	var d usage
	if owned {
		d = usageOf(key, n, old.deleted() != 0).negative()
		switch {
		case old.deleted() == 0:
			s.octets -= old.octets(key)
		case old.reserved():
			s.reserved.Delete(tombstoneKey(key, old.deleted()))
			s.reservedOctets -= old.octets(key)
		default:
			s.tombstones.Delete(tombstoneKey(key, old.deleted()))
			s.ownerTombstones.Delete(ownerTombstoneKey(old.principal(), key, old.deleted()))
			s.tombstoneOctets -= old.octets(key)
		}
	}
	if own == nil {
		s.charge(old.principal(), d)
		s.owners.Delete(key)
		return
	}
	if owned && old.principal() != own.principal() {
		s.charge(old.principal(), d)
		d = usage{}
	}
	d.add(usageOf(key, n, own.deleted() != 0))
	s.charge(own.principal(), d)
	s.owners.Set(key, *own)
	switch {
	case own.deleted() == 0:
		s.octets += own.octets(key)
	case own.reserved():
		s.reserved.Set(tombstoneKey(key, own.deleted()), struct{}{})
		s.reservedOctets += own.octets(key)
	default:
		s.tombstones.Set(tombstoneKey(key, own.deleted()), struct{}{})
		s.ownerTombstones.Set(ownerTombstoneKey(own.principal(), key, own.deleted()), struct{}{})
		s.tombstoneOctets += own.octets(key)
	}
}

// tombstoneKey sorts by time, then name.
func tombstoneKey(key string, deleted int64) string {
	b := make([]byte, 8, 8+len(key))
	for i := range 8 {
		b[i] = byte(uint64(deleted) >> (56 - 8*i))
	}
	return string(append(b, key...))
}

// splitTombstoneKey is the inverse of tombstoneKey.
func splitTombstoneKey(t string) (key string, deleted int64) {
	var d uint64
	for i := range 8 {
		d = d<<8 | uint64(t[i])
	}
	return t[8:], int64(d)
}
