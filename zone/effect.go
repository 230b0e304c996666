package zone

import (
	"cmp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// An effect is the net result of an update, worked out before anything changes.
type effect struct {
	nodes    []nodeEffect // of names that differ afterwards, if only in times, in key order
	owners   []ownerEffect
	changed  bool // records have changed, not only their times
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

// effect works out the whole update section, without changing the state. RRsets in unrefreshed keep
// the times of their records.
func (p *Proposal) effect(unrefreshed []ProposedSet) *effect {
	s := p.state
	e := &effect{from: s.serial, to: s.serial}
	slices.SortFunc(unrefreshed, func(a, b ProposedSet) int { return cmp.Or(a.Name-b.Name, int(a.Type)-int(b.Type)) })
	for i := range p.names {
		n := &p.names[i]
		n.evaluate()
		after := n.after
		if own := setsOf(&unrefreshed, i); len(own) > 0 && after != n.before {
			after = keepTimes(n.before, after, own)
		}
		if after != n.before {
			e.nodes = append(e.nodes, nodeEffect{key: n.key, before: n.before, after: after})
			e.changed = e.changed || len(n.changed) > 0
		}
	}
	if len(e.nodes) == 0 {
		return e
	}
	slices.SortFunc(e.nodes, func(a, b nodeEffect) int { return strings.Compare(a.key, b.key) })
	if e.changed {
		e.advance(s)
	}
	return e
}

// setsOf cuts off the sets of that name, which are the first ones in sets.
func setsOf(sets *[]ProposedSet, name int) []ProposedSet {
	end := 0
	for end < len(*sets) && (*sets)[end].Name == name {
		end++
	}
	own := (*sets)[:end]
	*sets = (*sets)[end:]
	return own
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

// check holds an effect with its claims against the limits. What an update does not make larger may
// be as large as it is. Tombstones are not in the way of anything: they are removed early.
func (l *Limits) check(s *Snapshot, e *effect) error {
	if e.nonTerminals(s) > l.NonTerminals {
		return &LimitError{Limit: "NonTerminals", Max: l.NonTerminals}
	}
	records, octets := s.records, s.octets
	for _, oe := range e.owners {
		if old, ok := s.owners.Get(oe.key); ok && old.deleted() == 0 {
			octets -= old.octets(oe.key)
		}
		if oe.own != nil && oe.own.deleted() == 0 {
			octets += oe.own.octets(oe.key)
		}
	}
	for _, ne := range e.nodes {
		before, after := ne.before.tally(), ne.after.tally()
		records += after.records - before.records
		octets += after.octets - before.octets
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
	return l.checkOwners(s, e)
}

// nonTerminals returns how many empty non-terminals the update creates. All names above a new one
// that exist are above the name before it too, in the tree or among the new ones.
func (e *effect) nonTerminals(s *Snapshot) int {
	count, last := 0, ""
	for _, ne := range e.nodes {
		if ne.before != nil || ne.after == nil {
			continue
		}
		parent := parentKey(ne.key)
		if parent == "" {
			continue
		}
		known := commonAncestor(parent, last)
		last = ne.key
		s.names.Descend(parent, func(before string, _ *node) bool {
			known = max(known, commonAncestor(parent, before))
			return false
		})
		count += strings.Count(parent[known:], string(rune(endOfLabel)))
	}
	return count
}

// claim adds the changes of ownership to the effect: those of the decision, tombstones for owned
// names that lost their records, and the removal of tombstones of names that have records again.
// A tombstone from expired or before has no effect: if records are added to its name without a
// claim, the name has no owner. Times are in seconds of Unix time.
func (e *effect) claim(s *Snapshot, d *Decision, now, expired int64) {
	var principals map[string]string // "" for a name that is released
	set := func(name, principal string) {
		if key, ok := s.origin.keyOf(name); ok {
			if principals == nil {
				principals = make(map[string]string, len(d.Own)+len(d.Released))
			}
			principals[key] = principal
		}
	}
	for _, c := range d.Own {
		if c.Principal != "" {
			set(c.Name, c.Principal)
		}
	}
	for _, name := range d.Released {
		set(name, "")
	}
	settle := func(key string, before, after *node) {
		old, owned := s.owners.Get(key)
		is := old
		if principal, claimed := principals[key]; claimed && principal == "" {
			if owned {
				e.owners = append(e.owners, ownerEffect{key: key})
			}
			return
		} else if claimed {
			is = newOwnership(principal, is.deleted())
		} else if !owned {
			return
		} else if old.deleted() != 0 && old.deleted() <= expired && !after.empty() {
			e.owners = append(e.owners, ownerEffect{key: key})
			return
		}
		switch {
		case !after.empty():
			is = is.withDeleted(0)
		case !owned && before.empty():
			return // it never had records
		case !before.empty() || is.deleted() == 0:
			is = is.withDeleted(now)
		}
		if !owned || is != old {
			e.owners = append(e.owners, ownerEffect{key: key, own: &is})
		}
	}
	for i := range e.nodes {
		settle(e.nodes[i].key, e.nodes[i].before, e.nodes[i].after)
	}
	for key := range principals {
		compare := func(ne nodeEffect, key string) int { return strings.Compare(ne.key, key) }
		if _, changes := slices.BinarySearchFunc(e.nodes, key, compare); !changes {
			n, _ := s.node(key)
			settle(key, n, n)
		}
	}
	slices.SortFunc(e.owners, func(a, b ownerEffect) int { return strings.Compare(a.key, b.key) })
}

// apply carries the effect out. Names go after others have come, so that no empty non-terminal is
// removed and made again.
func (e *effect) apply(s *Snapshot) {
	for _, ne := range e.nodes {
		if ne.after != nil {
			s.replace(ne.key, ne.before, ne.after)
		}
	}
	for _, ne := range e.nodes {
		if ne.after == nil {
			s.replace(ne.key, ne.before, nil)
		}
	}
	for _, o := range e.owners {
		s.setOwner(o.key, o.own)
	}
}

// change returns the effect as the store keeps it. The SOA comes first, as its name does.
func (e *effect) change(o *origin) store.Change {
	c := store.Change{From: e.from, To: e.to}
	if n := len(e.nodes); e.changed {
		// Most updates replace one record of each name.
		room := make([]store.Record, 2*n)
		c.Removed, c.Added = room[:0:n], room[n:n]
	}
	for _, ne := range e.nodes {
		// A name keeps its spelling while it has records.
		name := o.spelled(ne.key, ne.before)
		if ne.before.empty() {
			name = o.spelled(ne.key, ne.after)
		}
		to := func(list *[]store.Record) func(rrset, []byte, uint32) {
			return func(set rrset, data []byte, hours uint32) {
				r := store.Record{Name: name, Type: set.rrtype, Class: dns.ClassINET, TTL: set.ttl, Hours: hours, Data: data}
				if ne.key == "" && set.rrtype == dns.TypeSOA {
					*list = slices.Insert(*list, 0, r)
					return
				}
				*list = append(*list, r)
			}
		}
		compared := comparison{removed: to(&c.Removed), added: to(&c.Added), refreshed: to(&c.Refreshed)}
		compared.compare(ne.before, ne.after)
	}
	for _, oe := range e.owners {
		name := o.wireOf(oe.key)
		if oe.own == nil {
			c.Disowned = append(c.Disowned, name)
			continue
		}
		own := oe.own.export()
		c.Owners = append(c.Owners, store.Owner{Name: name, Principal: own.Principal, Deleted: own.Deleted})
	}
	return c
}
