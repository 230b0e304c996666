package linearizable

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A state is the contents of a zone at the names of one group. It is never modified.
type state struct {
	names map[string]*entry
	text  string // of all of it: equal if and only if the states are
}

// An entry is a name. One that is there has an owner.
type entry struct {
	owner string
	sets  []rrset // by type; none in a tombstone
}

type rrset struct {
	rrtype uint16
	ttl    uint32
	data   []string // sorted
}

func (e *entry) set(rrtype uint16) *rrset {
	if e == nil {
		return nil
	}
	for i := range e.sets {
		if e.sets[i].rrtype == rrtype {
			return &e.sets[i]
		}
	}
	return nil
}

func (e *entry) inUse() bool { return e != nil && len(e.sets) > 0 }

func (r *rrset) equal(other *rrset) bool {
	if r == nil || other == nil {
		return r == other
	}
	return r.ttl == other.ttl && slices.Equal(r.data, other.data)
}

// records returns the name's records as [Record] prints them.
func (e *entry) records(name string) []string {
	var list []string
	if e == nil {
		return nil
	}
	for _, set := range e.sets {
		for _, data := range set.data {
			list = append(list, recordText(name, set.ttl, set.rrtype, data))
		}
	}
	return list
}

func recordText(name string, ttl uint32, rrtype uint16, data string) string {
	return fmt.Sprintf("%s %d %s %s", name, ttl, dns.TypeToString[rrtype], data)
}

// Record returns a record in the form that [History.Contents] and [Chain] have it in.
func Record(rr dns.RR) string {
	h := rr.Header()
	return recordText(strings.ToLower(h.Name), h.Ttl, h.Rrtype, strings.TrimPrefix(rr.String(), h.String()))
}

// contents returns all records, sorted.
func (s *state) contents() []string {
	var list []string
	for name, e := range s.names {
		list = append(list, e.records(name)...)
	}
	slices.Sort(list)
	return list
}

// update does what a server does with an update (RFC 2136 section 3), and returns the rcode and the state after it.
func (s *state) update(u *Update) (int, *state) {
	after := make(map[string]*entry)
	for _, l := range u.Lines {
		e, ok := after[l.Name]
		if !ok {
			e = s.names[l.Name].copy()
			after[l.Name] = e
		}
		e.apply(l)
	}
	if !s.permits(u, after) {
		return dns.RcodeRefused, s
	}
	if rcode := s.prerequisites(u.Prerequisites); rcode != dns.RcodeSuccess {
		return rcode, s
	}
	changed := false
	for name, e := range after {
		changed = changed || e.differs(s.names[name])
	}
	if !changed {
		return dns.RcodeSuccess, s
	}
	next := &state{names: make(map[string]*entry, len(s.names)+1)}
	for name, e := range s.names {
		next.names[name] = e
	}
	for name, e := range after {
		if e.differs(s.names[name]) {
			e.owner = u.Principal
			next.names[name] = e
		}
	}
	next.text = next.describe()
	return dns.RcodeSuccess, next
}

// describe also tells who owns what has no records any more.
func (s *state) describe() string {
	var lines []string
	for name, e := range s.names {
		lines = append(lines, name+" "+e.owner+"\n"+strings.Join(e.records(name), "\n"))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (e *entry) copy() *entry {
	c := &entry{}
	if e == nil {
		return c
	}
	c.owner = e.owner
	for _, set := range e.sets {
		set.data = slices.Clone(set.data)
		c.sets = append(c.sets, set)
	}
	return c
}

// differs reports whether an entry has other records than before.
func (e *entry) differs(before *entry) bool {
	if !before.inUse() || !e.inUse() {
		return before.inUse() != e.inUse()
	}
	if len(e.sets) != len(before.sets) {
		return true
	}
	for i := range e.sets {
		if e.sets[i].rrtype != before.sets[i].rrtype || !e.sets[i].equal(&before.sets[i]) {
			return true
		}
	}
	return false
}

// permits decides by the default rule: a change of an RRset takes a name that is the principal's, or new. What changes nothing
// is permitted.
func (s *state) permits(u *Update, after map[string]*entry) bool {
	for _, l := range u.Lines {
		before := s.names[l.Name]
		if before == nil || before.owner == u.Principal {
			continue
		}
		types := []uint16{l.Type}
		if l.Form == DeleteName {
			types = types[:0]
			for _, set := range before.sets {
				types = append(types, set.rrtype)
			}
		}
		for _, rrtype := range types {
			if !before.set(rrtype).equal(after[l.Name].set(rrtype)) {
				return false
			}
		}
	}
	return true
}

// prerequisites is section 3.2.
func (s *state) prerequisites(list []Line) int {
	type key struct {
		name   string
		rrtype uint16
	}
	values := make(map[key][]string)
	for _, l := range list {
		e := s.names[l.Name]
		switch {
		case l.Form == NameInUse && !e.inUse():
			return dns.RcodeNameError
		case l.Form == NameUnused && e.inUse():
			return dns.RcodeYXDomain
		case l.Form == SetExists && e.set(l.Type) == nil:
			return dns.RcodeNXRrset
		case l.Form == SetAbsent && e.set(l.Type) != nil:
			return dns.RcodeYXRrset
		case l.Form == SetEquals:
			k := key{l.Name, l.Type}
			values[k] = append(values[k], l.Data)
		}
	}
	for k, want := range values {
		slices.Sort(want)
		set := s.names[k.name].set(k.rrtype)
		if set == nil || !slices.Equal(set.data, slices.Compact(want)) {
			return dns.RcodeNXRrset
		}
	}
	return dns.RcodeSuccess
}

// apply is section 3.4.2 for one record.
func (e *entry) apply(l Line) {
	switch l.Form {
	case DeleteName:
		e.sets = nil
	case DeleteSet:
		e.sets = slices.DeleteFunc(e.sets, func(set rrset) bool { return set.rrtype == l.Type })
	case DeleteRecord:
		if set := e.set(l.Type); set != nil {
			set.data = slices.DeleteFunc(set.data, func(data string) bool { return data == l.Data })
			e.sets = slices.DeleteFunc(e.sets, func(set rrset) bool { return len(set.data) == 0 })
		}
	case Add:
		e.add(l)
	}
}

func (e *entry) add(l Line) {
	alias := e.set(dns.TypeCNAME)
	switch {
	case l.Type == dns.TypeCNAME && alias == nil && e.inUse(), l.Type != dns.TypeCNAME && alias != nil:
		return // section 3.4.2.2: ignored
	case l.Type == dns.TypeCNAME && alias != nil:
		alias.data, alias.ttl = []string{l.Data}, l.TTL
		return
	}
	set := e.set(l.Type)
	if set == nil {
		at, _ := slices.BinarySearchFunc(e.sets, l.Type, func(set rrset, rrtype uint16) int { return int(set.rrtype) - int(rrtype) })
		e.sets = slices.Insert(e.sets, at, rrset{rrtype: l.Type})
		set = &e.sets[at]
	}
	set.ttl = l.TTL
	if at, found := slices.BinarySearch(set.data, l.Data); !found {
		set.data = slices.Insert(set.data, at, l.Data)
	}
}
