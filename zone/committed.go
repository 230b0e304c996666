package zone

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// with returns the state after a batch. It is the same as that of the server which made the batch, to
// the octet. What the batch says is not trusted: an error is one of the store's log. The caller holds
// Zone.advancing.
func (s *Snapshot) with(c *store.Committed) (f *Snapshot, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error in applying it: %v", r)
		}
	}()
	if len(c.Changes) == 0 {
		f = s.moved()
	} else {
		f = s.fork()
	}
	for i := range c.Changes {
		if err := f.apply(&c.Changes[i]); err != nil {
			return nil, err
		}
	}
	if f.serial != c.Position.Serial {
		return nil, fmt.Errorf("its changes lead to serial %d, not %d", f.serial, c.Position.Serial)
	}
	f.position = c.Position
	return f, nil
}

// apply carries a change from the log out.
func (s *Snapshot) apply(c *store.Change) error {
	if c.From != s.serial {
		return fmt.Errorf("a change starts at serial %d, not %d", c.From, s.serial)
	}
	d := drafts{state: s}
	for _, step := range []struct {
		records []store.Record
		do      func(*draft, *store.Record) error
	}{{c.Removed, (*draft).takeOut}, {c.Added, (*draft).putIn}, {c.Refreshed, (*draft).refresh}} {
		for i := range step.records {
			r := &step.records[i]
			n, err := d.of(r)
			if err == nil && r.Type == dns.TypeSOA && n.key != "" {
				err = errType
			}
			if err == nil {
				err = step.do(n.draft, r)
			}
			if err != nil {
				return fmt.Errorf("%s %s: %w", textOf(r.Name), dnswire.TypeText(r.Type), err)
			}
		}
	}
	d.settle()
	if soa := s.apex().set(dns.TypeSOA); soa.count != 1 || s.apex().set(dns.TypeNS).empty() {
		return fmt.Errorf("a change leaves the zone without SOA or NS")
	}
	if s.serial != c.To {
		return fmt.Errorf("a change leads to serial %d, not %d", s.serial, c.To)
	}
	b := builder{snapshot: s}
	for _, o := range c.Owners {
		if err := b.own(o); err != nil {
			return err
		}
	}
	for _, name := range c.Disowned {
		key, ok := s.origin.keyOf(name)
		if !ok {
			return fmt.Errorf("%s: %w", textOf(name), errOutside)
		}
		s.setOwner(key, nil)
	}
	return nil
}

// drafts are the names that a change concerns.
type drafts struct {
	state *Snapshot
	list  []drafted
	at    map[string]int // by key
	name  string         // of the record before
	last  int            // its index
}

// drafted is a name and what becomes of it.
type drafted struct {
	key    string
	before *node
	draft  *draft
}

// of returns the draft of a record's name.
func (d *drafts) of(r *store.Record) (*drafted, error) {
	if len(d.list) > 0 && d.name == r.Name {
		return &d.list[d.last], nil
	}
	key, ok := d.state.origin.keyOf(r.Name)
	if !ok {
		return nil, errOutside
	}
	at, known := d.at[key]
	if !known {
		if d.at == nil {
			d.at = make(map[string]int)
		}
		at = len(d.list)
		d.at[key] = at
		before, _ := d.state.node(key)
		d.list = append(d.list, drafted{key: key, before: before, draft: newDraft(before)})
	}
	// A name keeps its spelling while it has records.
	if n := &d.list[at]; n.before.empty() && hasUpper([]byte(r.Name)) {
		n.draft.spelling = []byte(r.Name)
	}
	d.name, d.last = r.Name, at
	return &d.list[at], nil
}

// settle puts the drafts into the state, in the order in which effect.apply does.
func (d *drafts) settle() {
	slices.SortFunc(d.list, func(a, b drafted) int { return strings.Compare(a.key, b.key) })
	nodes := make([]*node, len(d.list))
	for i, n := range d.list {
		if nodes[i] = n.draft.node(); nodes[i] != nil {
			d.state.replace(n.key, n.before, nodes[i])
		}
	}
	for i, n := range d.list {
		if nodes[i] == nil && !n.before.empty() {
			d.state.replace(n.key, n.before, nil)
		}
	}
}

var (
	errAbsent = errors.New("the record is not in the zone")
	errClass  = errors.New("class is not IN")
	errType   = errors.New("no record of this type can be there")
	errMany   = errors.New("too many records")
)

// exactly returns the set of a record and the record's index in it. It must be there with these octets.
func (d *draft) exactly(r *store.Record) (*draftSet, int, error) {
	s := d.set(r.Type)
	if s == nil {
		return nil, 0, errAbsent
	}
	at := slices.IndexFunc(s.records, func(d draftRecord) bool { return bytes.Equal(d.data, r.Data) })
	if at < 0 {
		return nil, 0, errAbsent
	}
	return s, at, nil
}

// takeOut removes a record.
func (d *draft) takeOut(r *store.Record) error {
	s, at, err := d.exactly(r)
	if err != nil {
		return err
	}
	if s.records = slices.Delete(s.records, at, at+1); len(s.records) == 0 {
		d.removeSet(r.Type)
	}
	return nil
}

// refresh gives a record another time.
func (d *draft) refresh(r *store.Record) error {
	s, at, err := d.exactly(r)
	if err != nil {
		return err
	}
	s.records[at].hours = r.Hours
	return nil
}

// putIn adds a record. What an update replaces by it is among those that were taken out.
func (d *draft) putIn(r *store.Record) error {
	switch {
	case r.Class != dns.ClassINET:
		return errClass
	case dnswire.IsMeta(r.Type):
		return errType
	case len(r.Data) > maxRdata:
		return errMany
	}
	if isStructural(r.Type) {
		if err := dnswire.Validate(r.Type, r.Data); err != nil {
			return err
		}
	}
	i, ok := d.find(r.Type)
	if !ok {
		d.sets = slices.Insert(d.sets, i, draftSet{rrtype: r.Type})
	}
	s := &d.sets[i]
	s.ttl = r.TTL &^ hasTimes
	at, same := s.find(r.Data)
	if !same {
		if len(s.records) >= maxSet {
			return errMany
		}
		s.records = slices.Insert(s.records, at, draftRecord{})
	}
	s.records[at] = draftRecord{data: r.Data, hours: r.Hours}
	return nil
}
