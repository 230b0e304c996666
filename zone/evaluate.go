package zone

import (
	"bytes"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// met compares the prerequisites with the state (RFC 2136 section 3.2.5) and returns NOERROR or the
// rcode of the first that fails.
func (r *request) met(s *Snapshot) int {
	for _, c := range r.prerequisites {
		n, _ := s.node(c.key)
		switch {
		case c.rrtype == dns.TypeANY && c.exist && n.empty():
			return dns.RcodeNameError
		case c.rrtype == dns.TypeANY && !c.exist && !n.empty():
			return dns.RcodeYXDomain
		case c.rrtype != dns.TypeANY && c.exist && n.set(c.rrtype).empty():
			return dns.RcodeNXRrset
		case c.rrtype != dns.TypeANY && !c.exist && !n.set(c.rrtype).empty():
			return dns.RcodeYXRrset
		}
	}
	for i := range r.values {
		n, _ := s.node(r.values[i].key)
		if !r.values[i].equals(n.set(r.values[i].rrtype)) {
			return dns.RcodeNXRrset
		}
	}
	return dns.RcodeSuccess
}

// equals compares as sets: order and repetition do not matter.
func (v *requiredSet) equals(set rrset) bool {
	compare := func(a, b []byte) int { return compareRdata(v.rrtype, a, b) }
	required := slices.Clone(v.data)
	slices.SortFunc(required, compare)
	required = slices.CompactFunc(required, func(a, b []byte) bool { return compare(a, b) == 0 })
	if len(required) != set.count {
		return false
	}
	i := 0
	for data := range set.records {
		if compare(required[i], data) != 0 {
			return false
		}
		i++
	}
	return true
}

// An effect is what an update comes to, worked out before anything changes.
type effect struct {
	nodes    []nodeEffect // of names that differ afterwards, in key order
	owners   []ownerEffect
	from, to uint32
}

type nodeEffect struct {
	key    string
	before *node
	after  *node // nil if the name has no records any more
}

type ownerEffect struct {
	key string
	own *ownership // nil if the entry goes
}

func (e *effect) empty() bool { return len(e.nodes) == 0 && len(e.owners) == 0 }

// drafts are the names that an update section has touched so far.
type drafts struct {
	snapshot *Snapshot
	byKey    map[string]*draft
}

func (d *drafts) at(key string) *draft {
	if found, ok := d.byKey[key]; ok {
		return found
	}
	n, _ := d.snapshot.node(key)
	made := newDraft(n)
	d.byKey[key] = made
	return made
}

// evaluate works out the update section on s (RFC 2136 section 3.4.2), which it does not change.
func (r *request) evaluate(s *Snapshot, limits *Limits) (*effect, error) {
	d := &drafts{snapshot: s, byKey: make(map[string]*draft, 1)}
	for i := range r.changes {
		in := &r.changes[i]
		d.at(in.key).do(in)
	}
	e := &effect{from: s.serial, to: s.serial}
	for key, draft := range d.byKey {
		before, _ := s.node(key)
		after := draft.node()
		if !sameRecords(before, after) {
			e.nodes = append(e.nodes, nodeEffect{key: key, before: before, after: after})
		}
	}
	if len(e.nodes) == 0 {
		return e, nil
	}
	slices.SortFunc(e.nodes, func(a, b nodeEffect) int { return strings.Compare(a.key, b.key) })
	e.advance(s)
	return e, limits.check(s, e)
}

func sameRecords(a, b *node) bool {
	if a.empty() || b.empty() {
		return a.empty() && b.empty()
	}
	return bytes.Equal(a.packed, b.packed)
}

// do carries out one instruction on its name.
func (d *draft) do(in *instruction) {
	apex := in.key == ""
	switch in.action {
	case addRecord:
		d.doAdd(in)
	case deleteName:
		d.sets = slices.DeleteFunc(d.sets, func(s draftSet) bool { return !apex || !atApex(s.rrtype) })
	case deleteSet:
		if !apex || !atApex(in.rrtype) {
			d.removeSet(in.rrtype)
		}
	case deleteRecord:
		if in.rrtype == dns.TypeSOA {
			return
		}
		if set := d.set(in.rrtype); apex && in.rrtype == dns.TypeNS && set != nil && len(set.data) == 1 {
			return
		}
		d.remove(in.rrtype, in.data)
	}
}

// atApex reports whether the type is one that the apex is never without.
func atApex(rrtype uint16) bool { return rrtype == dns.TypeSOA || rrtype == dns.TypeNS }

// doAdd follows section 3.4.2.2.
func (d *draft) doAdd(in *instruction) {
	if d.conflictsWith(in.rrtype) || misplaced(in.rrtype, in.key) {
		return
	}
	if in.rrtype == dns.TypeSOA {
		// Only the apex has one.
		soa := d.set(dns.TypeSOA)
		if soa == nil || !serialAfter(soaSerial(in.data), soaSerial(soa.data[0])) {
			return
		}
	}
	d.add(in.rrtype, in.ttl, in.data)
}

// misplaced reports whether a record of that type means nothing at that name: what an NS or DNAME
// at a wildcard would do is not defined (RFC 4592 sections 4.2 and 4.4), and the DS of the apex is
// in the parent zone (RFC 4035 section 2.4). BIND passes over such additions too, and would not
// load them.
func misplaced(rrtype uint16, key string) bool {
	switch rrtype {
	case dns.TypeNS, dns.TypeDNAME:
		return key == wildcardKey || strings.HasSuffix(key, "\x00"+wildcardKey)
	case dns.TypeDS:
		return key == ""
	}
	return false
}

// advance moves the serial on by one, unless the update itself has set it (section 3.6).
func (e *effect) advance(s *Snapshot) {
	if first := &e.nodes[0]; first.key == "" {
		set := first.after.set(dns.TypeSOA)
		if e.to = soaSerial(set.first()); e.to != e.from {
			return
		}
	} else {
		apex := s.apex()
		e.nodes = slices.Insert(e.nodes, 0, nodeEffect{before: apex, after: apex})
	}
	e.to = nextSerial(e.from)
	e.nodes[0].after = e.nodes[0].after.withSerial(e.to)
}

// check holds an effect against the limits. What an update does not make larger may be as large as
// it is.
func (l *Limits) check(s *Snapshot, e *effect) error {
	records, octets := s.records, s.octets
	for _, ne := range e.nodes {
		records += ne.after.count() - ne.before.count()
		octets += ne.after.octets() - ne.before.octets()
		if ne.before == nil {
			octets += len(ne.key)
		}
		if ne.after == nil {
			octets -= len(ne.key)
			continue
		}
		types, typesBefore := 0, 0
		for set := range ne.after.sets {
			types++
			if set.count > l.RecordsPerSet && set.count > ne.before.set(set.rrtype).count {
				return &LimitError{Limit: "RecordsPerSet", Max: l.RecordsPerSet, Name: s.origin.nameOf(ne.key)}
			}
		}
		if ne.before != nil {
			for range ne.before.sets {
				typesBefore++
			}
		}
		if types > l.TypesPerName && types > typesBefore {
			return &LimitError{Limit: "TypesPerName", Max: l.TypesPerName, Name: s.origin.nameOf(ne.key)}
		}
	}
	if records > l.ZoneRecords && records > s.records {
		return &LimitError{Limit: "ZoneRecords", Max: l.ZoneRecords}
	}
	if octets > l.ZoneOctets && octets > s.octets {
		return &LimitError{Limit: "ZoneOctets", Max: l.ZoneOctets}
	}
	return nil
}

// claim adds to the effect what becomes of ownership: the claims that came with the decision,
// tombstones for owned names that lost their records, and their end for those that got some again.
// A tombstone from expired or before has no effect: if records are added to its name without a
// claim, the name has no owner. Times are in seconds of Unix time.
func (e *effect) claim(s *Snapshot, claims []Claim, now, expired int64) {
	principals := make(map[string]string, len(claims))
	for _, c := range claims {
		if key, ok := s.origin.key(c.Name); ok && c.Principal != "" {
			principals[key] = c.Principal
		}
	}
	touched := make(map[string]*nodeEffect, len(e.nodes))
	for i := range e.nodes {
		touched[e.nodes[i].key] = &e.nodes[i]
	}
	settle := func(key string) {
		before, _ := s.node(key)
		after := before
		if ne := touched[key]; ne != nil {
			after = ne.after
		}
		old, owned := s.owners.Get(key)
		is := old
		if principal, claimed := principals[key]; claimed {
			is.principal = principal
		} else if !owned {
			return
		} else if old.deleted != 0 && old.deleted <= expired && !after.empty() {
			e.owners = append(e.owners, ownerEffect{key: key})
			return
		}
		switch {
		case !after.empty():
			is.deleted = 0
		case !owned && before.empty():
			return // it never came to be
		case !before.empty() || is.deleted == 0:
			is.deleted = now
		}
		if !owned || is != old {
			e.owners = append(e.owners, ownerEffect{key: key, own: &is})
		}
	}
	for key := range touched {
		settle(key)
	}
	for key := range principals {
		if touched[key] == nil {
			settle(key)
		}
	}
	slices.SortFunc(e.owners, func(a, b ownerEffect) int { return strings.Compare(a.key, b.key) })
}

// expireSteps bounds the tombstones that one update clears away, beyond those that it adds.
const expireSteps = 8

// expire adds to the effect the end of some tombstones from expired or before, in seconds of Unix
// time, and of the oldest while there are more than most.
func (e *effect) expire(s *Snapshot, expired int64, most int) {
	excess := s.tombstones.Len() - most
	steps := expireSteps
	set := make(map[string]struct{}, len(e.owners))
	for _, o := range e.owners {
		set[o.key] = struct{}{}
		if o.own != nil && o.own.deleted != 0 {
			excess++
			steps++
		}
	}
	s.tombstones.Scan(func(t string, _ struct{}) bool {
		key, deleted := splitTombstoneKey(t)
		if steps == 0 || (deleted > expired && excess <= 0) {
			return false
		}
		steps--
		excess--
		if _, ok := set[key]; !ok {
			e.owners = append(e.owners, ownerEffect{key: key})
		}
		return true
	})
}

// apply carries the effect out.
func (e *effect) apply(s *Snapshot) {
	for _, ne := range e.nodes {
		s.replace(ne.key, ne.before, ne.after)
	}
	for _, o := range e.owners {
		s.setOwner(o.key, o.own)
	}
}

// change returns the effect as the store keeps it. The SOA comes first, as its name does.
func (e *effect) change(o *origin) store.Change {
	c := store.Change{From: e.from, To: e.to}
	for _, ne := range e.nodes {
		name := o.nameOf(ne.key)
		record := func(list *[]store.Record, first bool) func(rrset, []byte) {
			return func(set rrset, data []byte) {
				r := store.Record{Name: name, Type: set.rrtype, Class: dns.ClassINET, TTL: set.ttl, Data: data}
				if first && set.rrtype == dns.TypeSOA {
					*list = slices.Insert(*list, 0, r)
					return
				}
				*list = append(*list, r)
			}
		}
		difference(ne.before, ne.after, record(&c.Removed, ne.key == ""), record(&c.Added, ne.key == ""))
	}
	for _, oe := range e.owners {
		name := o.nameOf(oe.key)
		if oe.own == nil {
			c.Disowned = append(c.Disowned, name)
			continue
		}
		own := oe.own.export()
		c.Owners = append(c.Owners, store.Owner{Name: name, Principal: own.Principal, Deleted: own.Deleted})
	}
	return c
}
