package administration

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Edit applies the difference between two states of a zone as one transaction, if each RRset and each owner in it is still as in
// the former state. If not, nothing is changed, and the conflicts say what was found.
func (z Zone) Edit(ctx context.Context, edit *view.Edit) (view.Edited, zone.Result, error) {
	e, twice := editing{zone: z}, make(map[string]bool)
	for i := range edit.Sets {
		if err := e.addSet(&edit.Sets[i]); err != nil {
			return view.Edited{}, zone.Result{}, err
		}
		// Each of two changes of one RRset would be compared with the zone, and both be applied.
		s := &e.sets[i]
		if key := s.name + " " + dnswire.TypeText(s.rrtype); twice[key] {
			return view.Edited{}, zone.Result{}, fmt.Errorf("%s: the edit has two changes of this RRset", key)
		} else {
			twice[key] = true
		}
	}
	for _, c := range edit.Owners {
		wire, err := z.name(c.Name)
		if err != nil {
			return view.Edited{}, zone.Result{}, err
		}
		c.Name = text(wire) // with its final dot
		if twice[c.Name] {
			return view.Edited{}, zone.Result{}, fmt.Errorf("%s: the edit has two changes of this owner", c.Name)
		}
		twice[c.Name] = true
		if c.After != "" && c.After != c.Before {
			if c.After, err = parseRecordedOwner(c.After); err != nil {
				return view.Edited{}, zone.Result{}, fmt.Errorf("owner of %s: %w", c.Name, err)
			}
		}
		e.owners = append(e.owners, ownerChange{OwnerChange: c, wire: wire})
	}
	// The serial of an edited SOA record has to be greater than the zone's, which is known only once the writer is locked. The
	// edit begins again with a greater one if others have come first.
	for ahead := uint32(1); ; ahead *= 2 {
		sections := e.sections(z.Snapshot().Serial(), ahead)
		var conflicts []view.Conflict
		moved := false
		var ignored error
		r := z.apply(ctx, sections, func(p *zone.Proposal, d *zone.Decision) {
			conflicts = e.conflicts()
			if moved = e.soa != nil && len(conflicts) == 0 && !after(e.serial, z.Snapshot().Serial()); moved {
				*d = zone.Decision{Rule: d.Rule, Reason: "the serial has changed"}
				return
			}
			if len(conflicts) == 0 {
				ignored = e.ignored(p)
			}
			if ignored != nil {
				*d = zone.Decision{Rule: d.Rule, Reason: ignored.Error()}
				return
			}
			e.decide(d, len(conflicts))
		})
		switch {
		case moved:
			continue
		case len(conflicts) > 0:
			return view.Edited{Applied: applied(z, r), Conflicts: conflicts}, r, nil
		case ignored != nil:
			return view.Edited{Applied: applied(z, r)}, r, ignored
		}
		a := applied(z, r)
		if r.Rcode == dns.RcodeSuccess {
			a.Owners, a.Changed = e.changed, a.Changed || len(e.changed) > 0
			a.Notes = slices.DeleteFunc(slices.Clone(a.Notes), func(note string) bool {
				return slices.ContainsFunc(e.changed, func(o view.Ownership) bool { return o.String() == note })
			})
		}
		return view.Edited{Applied: a}, r, failure(z, r)
	}
}

// editing is an edit that is being applied.
type editing struct {
	zone    Zone
	sets    []setChange
	owners  []ownerChange
	soa     []byte // rdata of the SOA record, if that is to change
	soaTTL  uint32
	soaName string
	serial  uint32 // that it gets
	changed []view.Ownership
}

type setChange struct {
	*view.SetChange
	wire          []byte // name
	name          string
	rrtype        uint16
	before, after [][]byte // in canonical order
}

type ownerChange struct {
	view.OwnerChange
	wire []byte
}

func (e *editing) addSet(c *view.SetChange) error {
	spelled, err := dnswire.ParseName(dns.Fqdn(c.Name), nil)
	if err != nil {
		return fmt.Errorf("name %q: %w", c.Name, err)
	}
	if _, err := e.zone.name(c.Name); err != nil {
		return err
	}
	s := setChange{SetChange: c, wire: spelled, name: strings.ToLower(text(spelled))}
	var ok bool
	if s.rrtype, ok = dnswire.ParseType(c.Type); !ok || dnswire.IsMeta(s.rrtype) {
		return fmt.Errorf("%s: %q is not the type of a record", c.Name, c.Type)
	}
	if s.before, err = dataOf(c.Type, c.Before); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	if s.after, err = dataOf(c.Type, c.After); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	if s.rrtype == dns.TypeSOA {
		if s.name != e.zone.Origin() || len(s.after) != 1 {
			return fmt.Errorf("%s: the zone has one SOA record, at its name", c.Name)
		}
		e.soa, e.soaTTL, e.soaName = s.after[0], c.After.TTL, string(spelled)
	}
	e.sets = append(e.sets, s)
	return nil
}

// dataOf reads the rdata of an RRset.
func dataOf(rrtype string, set *view.Set) (list [][]byte, err error) {
	if set == nil {
		return nil, nil
	}
	if err := checkTTL(set.TTL); err != nil {
		return nil, err
	}
	for _, line := range set.Data {
		number, data, err := ParseData(rrtype, line)
		if err != nil {
			return nil, err
		}
		if at, found := slices.BinarySearchFunc(list, data, func(a, b []byte) int { return dnswire.Compare(number, a, b) }); !found {
			list = slices.Insert(list, at, data)
		}
	}
	return list, nil
}

// sections are the update section of the edit. NS records of the apex come before others go, since the last one stays. All
// others come after: a CNAME record stands beside none. An edited SOA record gets a serial that is so far ahead of the zone's, or
// its own if that is greater.
func (e *editing) sections(serial, ahead uint32) *zone.Sections {
	var first, deletions, additions []store.Record
	for i := range e.sets {
		s := &e.sets[i]
		if s.rrtype == dns.TypeSOA {
			continue
		}
		has := func(list [][]byte, data []byte) bool {
			return slices.ContainsFunc(list, func(other []byte) bool { return dnswire.Equal(s.rrtype, other, data) })
		}
		for _, data := range s.before {
			if !has(s.after, data) {
				deletions = append(deletions, store.Record{Name: string(s.wire), Type: s.rrtype, Class: dns.ClassNONE, Data: data})
			}
		}
		for _, data := range s.after {
			if has(s.before, data) && s.Before.TTL == s.After.TTL {
				continue
			}
			r := store.Record{Name: string(s.wire), Type: s.rrtype, Class: dns.ClassINET, TTL: s.After.TTL, Data: data}
			if s.rrtype == dns.TypeNS && s.name == e.zone.Origin() {
				first = append(first, r)
			} else {
				additions = append(additions, r)
			}
		}
	}
	if e.soa != nil {
		if e.serial = Serial(e.soa); !after(e.serial, serial+ahead-1) {
			e.serial = serial + ahead
		}
		soa := slices.Clone(e.soa)
		binary.BigEndian.PutUint32(soa[len(soa)-fixedSOA:], e.serial)
		first = append(first, store.Record{Name: e.soaName, Type: dns.TypeSOA, Class: dns.ClassINET, TTL: e.soaTTL, Data: soa})
	}
	return &zone.Sections{Updates: slices.Concat(first, deletions, additions)}
}

// fixedSOA is the length of the numbers at the end of the rdata of an SOA record, of which the serial is the first.
const fixedSOA = 20

// Serial returns the serial in the rdata of an SOA record.
func Serial(soa []byte) uint32 { return binary.BigEndian.Uint32(soa[len(soa)-fixedSOA:]) }

// after compares serials (RFC 1982).
func after(a, b uint32) bool { return int32(a-b) > 0 }

// SameData compares RRsets. The serial of an SOA record does not count: every update changes it.
func SameData(rrtype uint16, a, b []byte) bool {
	if rrtype == dns.TypeSOA && len(a) > fixedSOA && len(a) == len(b) {
		a, b = slices.Clone(a), slices.Clone(b)
		clear(a[len(a)-fixedSOA:][:4])
		clear(b[len(b)-fixedSOA:][:4])
	}
	return dnswire.Equal(rrtype, a, b)
}

// conflicts compares the edit with the present state.
func (e *editing) conflicts() []view.Conflict {
	state := e.zone.Snapshot()
	var list []view.Conflict
	for i := range e.sets {
		s := &e.sets[i]
		found, data := foundSet(state, s.name, s.rrtype)
		if !slices.EqualFunc(data, s.before, func(a, b []byte) bool { return SameData(s.rrtype, a, b) }) ||
			found != nil && found.TTL != s.Before.TTL {
			list = append(list, view.Conflict{Name: s.name, Type: s.Type, Read: s.Before, Found: found, Edited: s.After})
			continue
		}
		if other := e.besideCNAME(state, s); other != 0 {
			found, _ := foundSet(state, s.name, other)
			list = append(list, view.Conflict{Name: s.name, Type: dnswire.TypeText(other), Found: found})
		}
	}
	for _, c := range e.owners {
		own, _ := state.Owner(c.Name)
		if own.Principal != c.Before {
			list = append(list, view.Conflict{Name: c.Name, Owner: own.Principal, Wanted: c.After})
		}
	}
	return list
}

// foundSet returns an RRset as it is, nil if there is none.
func foundSet(state *zone.Snapshot, name string, rrtype uint16) (*view.Set, [][]byte) {
	var set *view.Set
	var list [][]byte
	for r := range state.WireRecordsAt(name) {
		if r.Type != rrtype {
			continue
		}
		if set == nil {
			set = &view.Set{TTL: r.TTL}
		}
		set.Data = append(set.Data, dnswire.TextOrGeneric(r.Type, r.Data))
		list = append(list, r.Data)
	}
	return set, list
}

// besideCNAME returns the type of an RRset of the name that stays and that the new RRset cannot stand beside, because one of both
// is a CNAME: 0 if there is none.
func (e *editing) besideCNAME(state *zone.Snapshot, s *setChange) uint16 {
	if len(s.after) == 0 {
		return 0
	}
	for _, rrtype := range state.Types(s.name) {
		if rrtype == s.rrtype || rrtype == dns.TypeRRSIG || rrtype == dns.TypeNSEC || s.rrtype == dns.TypeRRSIG || s.rrtype == dns.TypeNSEC {
			continue
		}
		if rrtype != dns.TypeCNAME && s.rrtype != dns.TypeCNAME {
			continue
		}
		goes := slices.ContainsFunc(e.sets, func(other setChange) bool {
			return other.rrtype == rrtype && other.name == s.name && len(other.after) == 0
		})
		if !goes {
			return rrtype
		}
	}
	return 0
}

// ignored returns the error of an edit that a zone cannot follow in full, nil if there is none.
func (e *editing) ignored(p *zone.Proposal) error {
	for i, in := range p.Instructions() {
		if reason := p.Ignored(i); reason != "" {
			return fmt.Errorf("%s %s: %s", p.Name(in.Name).Text(), dnswire.TypeText(in.Type), reason)
		}
	}
	return nil
}

// decide refuses an edit with conflicts, and sets owners otherwise.
func (e *editing) decide(d *zone.Decision, conflicts int) {
	if conflicts > 0 {
		*d = zone.Decision{Rule: d.Rule, Reason: fmt.Sprintf("RRsets or owners that have changed since the zone was read: %d", conflicts)}
		return
	}
	e.changed = nil
	for _, c := range e.owners {
		if denial := e.zone.Policy.DeniesAdministrator(c.wire); denial != nil {
			*d = *denial
			return
		}
		d.Released = slices.DeleteFunc(d.Released, func(name string) bool { return name == string(c.wire) })
		if c.After == "" {
			d.Released = append(d.Released, string(c.wire))
		} else {
			d.Own = append(d.Own, zone.Claim{Name: string(c.wire), Principal: c.After})
		}
		if c.Before != c.After {
			own, owned := e.zone.Snapshot().Owner(c.Name)
			o := view.Ownership{Zone: e.zone.Origin(), Name: c.Name, Before: c.Before, Owner: c.After, Tombstone: owned && !own.Deleted.IsZero()}
			e.changed = append(e.changed, o)
			d.Notes = append(d.Notes, o.String())
		}
	}
}
