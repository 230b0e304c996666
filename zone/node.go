package zone

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// A node holds the RRsets of one name. It never changes once it is in a tree. Everything is in one
// slice, because a zone has a node for nearly every record: in ascending order of type, each RRset
// is a header (type 2, TTL 4, number of records 2, octets that follow 4) and then its records in
// canonical order, each a length (2) and rdata. An empty non-terminal has none.
//
// If a record of the RRset is not static, the first bit of the TTL, which no TTL has (RFC 2181
// section 8), is set, and the hours of the records' times follow them, 4 octets each.
//
// If the name was entered with upper-case letters, an entry of type 0, which no record has, comes
// first. Its octets are the name in wire form as it was entered. Most names do not need it.
type node struct {
	packed []byte
}

const setHeader = 12

// hasTimes is the bit of the TTL that says that times follow the records.
const hasTimes = 1 << 31

// spelling returns the name as it was entered, nil if that is its lower-case form.
func (n *node) spelling() []byte {
	if n == nil || !spelled(n.packed) {
		return nil
	}
	set, _ := cutSet(n.packed)
	return set.packed
}

// spelled reports whether a node's octets begin with the spelling of its name.
func spelled(packed []byte) bool { return len(packed) >= setHeader && packed[0]|packed[1] == 0 }

// body returns the RRsets in their packed form.
func (n *node) body() []byte {
	if n == nil {
		return nil
	}
	if !spelled(n.packed) {
		return n.packed
	}
	_, rest := cutSet(n.packed)
	return rest
}

// An rrset is a view into a node.
type rrset struct {
	rrtype uint16
	ttl    uint32
	count  int
	packed []byte // the records, each with its length before it
	times  []byte // their hours, nil if all are static
}

func (r rrset) empty() bool { return r.count == 0 }

// hours returns the time of the record with that index, as in store.Record.
func (r rrset) hours(i int) uint32 {
	if r.times == nil {
		return 0
	}
	return binary.BigEndian.Uint32(r.times[4*i:])
}

// dynamic returns how many records are not static.
func (r rrset) dynamic() int {
	count := 0
	for p := r.times; len(p) > 0; p = p[4:] {
		if binary.BigEndian.Uint32(p) != 0 {
			count++
		}
	}
	return count
}

// records yields each record's rdata, which must not be modified.
func (r rrset) records(yield func([]byte) bool) {
	for p := r.packed; len(p) > 0; {
		end := 2 + int(binary.BigEndian.Uint16(p))
		if !yield(p[2:end:end]) {
			return
		}
		p = p[end:]
	}
}

// timed yields each record's rdata, which must not be modified, and its time.
func (r rrset) timed(yield func(data []byte, hours uint32) bool) {
	i := 0
	for data := range r.records {
		if !yield(data, r.hours(i)) {
			return
		}
		i++
	}
}

// first returns the rdata of the first record of a set that is not empty.
func (r rrset) first() []byte {
	end := 2 + int(binary.BigEndian.Uint16(r.packed))
	return r.packed[2:end:end]
}

// appendTo appends the records to rrs with that owner.
func (r rrset) appendTo(rrs []dns.RR, owner string) []dns.RR {
	rrs = slices.Grow(rrs, r.count)
	for data := range r.records {
		rrs = append(rrs, newRR(owner, r.rrtype, r.ttl, data))
	}
	return rrs
}

// sets yields the node's RRsets.
func (n *node) sets(yield func(rrset) bool) {
	for p := n.body(); len(p) > 0; {
		set, rest := cutSet(p)
		if !yield(set) {
			return
		}
		p = rest
	}
}

func cutSet(p []byte) (rrset, []byte) {
	end := setHeader + int(binary.BigEndian.Uint32(p[8:]))
	set := rrset{
		rrtype: binary.BigEndian.Uint16(p),
		ttl:    binary.BigEndian.Uint32(p[2:]),
		count:  int(binary.BigEndian.Uint16(p[6:])),
	}
	times := end
	if set.ttl&hasTimes != 0 {
		set.ttl &^= hasTimes
		times -= 4 * set.count
		set.times = p[times:end:end]
	}
	set.packed = p[setHeader:times:times]
	return set, p[end:]
}

// set returns the RRset of that type, which is empty if there is none. A nil node has none.
func (n *node) set(rrtype uint16) rrset {
	for p := n.body(); len(p) > 0; {
		set, rest := cutSet(p)
		if set.rrtype >= rrtype {
			if set.rrtype == rrtype {
				return set
			}
			break
		}
		p = rest
	}
	return rrset{}
}

// withSerial returns the apex's node with another serial in its SOA.
func (n *node) withSerial(serial uint32) *node {
	changed := &node{packed: bytes.Clone(n.packed)}
	data := changed.set(dns.TypeSOA).first() // a view into it
	binary.BigEndian.PutUint32(data[len(data)-20:], serial)
	return changed
}

// empty reports whether the name has no records. A node without records has no spelling either.
func (n *node) empty() bool { return n == nil || len(n.packed) == 0 }

// A tally is what a node counts.
type tally struct {
	records int
	dynamic int // records that are not static
	// octets is for Limits.ZoneOctets, without the name. Times are not in it: a record that is replaced by
	// one of the same size must not need more room.
	octets int
}

// tally counts the node. A nil node has nothing.
func (n *node) tally() (t tally) {
	if n == nil {
		return t
	}
	t.octets = len(n.packed)
	for p := n.body(); len(p) > 0; {
		var set rrset
		set, p = cutSet(p)
		t.records += set.count
		if set.times != nil {
			t.octets -= len(set.times)
			t.dynamic += set.dynamic()
		}
	}
	return t
}

// cuts reports whether names below the node are not answered from their own data: it has an NS or a
// DNAME. Whether the node is the apex is not asked.
func (n *node) cuts() bool {
	return !n.set(dns.TypeNS).empty() || !n.set(dns.TypeDNAME).empty()
}

// A draft is a node being edited.
type draft struct {
	// spelling is that of a node, nil for lower case.
	spelling []byte
	sets     []draftSet // ascending by type, none empty
	// room is for the records of the next RRset that is added.
	room []draftRecord
}

type draftSet struct {
	rrtype  uint16
	ttl     uint32
	records []draftRecord // canonical order
}

type draftRecord struct {
	data  []byte
	hours uint32
	// written says that an update has added the record, which may have been there already. Its time
	// is not settled yet.
	written bool
}

func newDraft(n *node) *draft {
	d := &draft{spelling: n.spelling()}
	if n == nil {
		return d
	}
	for set := range n.sets {
		ds := draftSet{rrtype: set.rrtype, ttl: set.ttl, records: make([]draftRecord, 0, set.count+1)}
		for data, hours := range set.timed {
			ds.records = append(ds.records, draftRecord{data: data, hours: hours})
		}
		d.sets = append(d.sets, ds)
	}
	return d
}

// reset makes the draft one of a name without records. Nothing may have its records any more.
func (d *draft) reset() {
	room := d.room
	for i := range d.sets {
		room = d.sets[i].records[:0]
	}
	*d = draft{sets: d.sets[:0], room: room}
}

func (d *draft) find(rrtype uint16) (int, bool) {
	return slices.BinarySearchFunc(d.sets, rrtype, func(s draftSet, t uint16) int { return int(s.rrtype) - int(t) })
}

func (d *draft) set(rrtype uint16) *draftSet {
	if i, ok := d.find(rrtype); ok {
		return &d.sets[i]
	}
	return nil
}

// add puts a record in, displacing what it replaces, and gives the whole RRset its TTL (RFC 2181
// section 5.2). Of a record that differs only in case, the old form stays.
func (d *draft) add(rrtype uint16, ttl uint32, record draftRecord) {
	i, ok := d.find(rrtype)
	if !ok {
		d.sets = slices.Insert(d.sets, i, draftSet{rrtype: rrtype, records: d.room})
		d.room = nil
	}
	s := &d.sets[i]
	s.ttl = ttl
	if at, same := s.find(record.data); same {
		s.records[at].written = record.written
		return
	}
	s.records = slices.DeleteFunc(s.records, func(old draftRecord) bool { return replaces(rrtype, old.data, record.data) })
	at, _ := s.find(record.data)
	s.records = slices.Insert(s.records, at, record)
}

func (s *draftSet) find(data []byte) (int, bool) {
	return slices.BinarySearchFunc(s.records, data, func(r draftRecord, data []byte) int { return dnswire.Compare(s.rrtype, r.data, data) })
}

// remove takes a record out, if it is there and stale, unless that is nil, says so of its time.
func (d *draft) remove(rrtype uint16, data []byte, stale func(hours uint32) bool) {
	s := d.set(rrtype)
	if s == nil {
		return
	}
	if at, ok := s.find(data); ok && (stale == nil || stale(s.records[at].hours)) {
		s.records = slices.Delete(s.records, at, at+1)
		if len(s.records) == 0 {
			d.removeSet(rrtype)
		}
	}
}

func (d *draft) removeSet(rrtype uint16) {
	if i, ok := d.find(rrtype); ok {
		d.sets = slices.Delete(d.sets, i, i+1)
	}
}

// dynamic reports whether a record of the set is not static.
func (s *draftSet) dynamic() bool {
	for i := range s.records {
		if s.records[i].hours != 0 {
			return true
		}
	}
	return false
}

// conflictsWith reports whether a record of that type may not join what is there, because one of
// both is a CNAME.
func (d *draft) conflictsWith(rrtype uint16) bool {
	if besideCNAME(rrtype) {
		return false
	}
	for i := range d.sets {
		other := d.sets[i].rrtype
		if other != rrtype && !besideCNAME(other) && (rrtype == dns.TypeCNAME || other == dns.TypeCNAME) {
			return true
		}
	}
	return false
}

// node returns the draft as a node, nil if it is empty.
func (d *draft) node() *node {
	size := 0
	for i := range d.sets {
		s := &d.sets[i]
		size += setHeader
		for i := range s.records {
			size += 2 + len(s.records[i].data)
		}
		if s.dynamic() {
			size += 4 * len(s.records)
		}
	}
	if size == 0 {
		return nil
	}
	if d.spelling != nil {
		size += setHeader + len(d.spelling)
	}
	p := make([]byte, 0, size)
	if d.spelling != nil {
		p = append(p, 0, 0, 0, 0, 0, 0, 0, 0)
		p = binary.BigEndian.AppendUint32(p, uint32(len(d.spelling)))
		p = append(p, d.spelling...)
	}
	for i := range d.sets {
		s := &d.sets[i]
		ttl, dynamic := s.ttl, s.dynamic()
		if dynamic {
			ttl |= hasTimes
		}
		p = binary.BigEndian.AppendUint16(p, s.rrtype)
		p = binary.BigEndian.AppendUint32(p, ttl)
		p = binary.BigEndian.AppendUint16(p, uint16(len(s.records)))
		length := len(p)
		p = append(p, 0, 0, 0, 0)
		for i := range s.records {
			data := s.records[i].data
			p = binary.BigEndian.AppendUint16(p, uint16(len(data)))
			p = append(p, data...)
		}
		if dynamic {
			for i := range s.records {
				p = binary.BigEndian.AppendUint32(p, s.records[i].hours)
			}
		}
		binary.BigEndian.PutUint32(p[length:], uint32(len(p)-length-4))
	}
	return &node{packed: p}
}

// A comparison receives what tells one node from another: records that were removed and added, and
// those that both have with another time.
type comparison struct {
	removed, added, refreshed func(set rrset, data []byte, hours uint32)
}

// compare compares node a with node b, which is the later one. When an RRset's TTL changed, all of
// its records were removed and added.
func (c *comparison) compare(a, b *node) {
	report := func(set rrset, to func(rrset, []byte, uint32)) {
		for data, hours := range set.timed {
			to(set, data, hours)
		}
	}
	for sa, sb := range pairs(a, b) {
		switch {
		case sb.empty():
			report(sa, c.removed)
		case sa.empty():
			report(sb, c.added)
		case sa.ttl != sb.ttl:
			report(sa, c.removed)
			report(sb, c.added)
		case !bytes.Equal(sa.packed, sb.packed) || !bytes.Equal(sa.times, sb.times):
			c.records(sa, sb)
		}
	}
}

// pairs yields the RRsets of two nodes by type, in ascending order. Where one has no RRset of a type,
// its half is empty.
func pairs(a, b *node) iter.Seq2[rrset, rrset] {
	return func(yield func(sa, sb rrset) bool) {
		pa, pb := a.body(), b.body()
		for len(pa) > 0 || len(pb) > 0 {
			var sa, sb rrset
			restA, restB := pa, pb
			if len(pa) > 0 {
				sa, restA = cutSet(pa)
			}
			if len(pb) > 0 {
				sb, restB = cutSet(pb)
			}
			switch {
			case sb.empty() || !sa.empty() && sa.rrtype < sb.rrtype:
				sb, restB = rrset{}, pb
			case sa.empty() || sb.rrtype < sa.rrtype:
				sa, restA = rrset{}, pa
			}
			if !yield(sa, sb) {
				return
			}
			pa, pb = restA, restB
		}
	}
}

// records compares two sets of one type and TTL.
func (c *comparison) records(a, b rrset) {
	for !a.empty() && !b.empty() {
		da, ha, restA := a.cut()
		db, hb, restB := b.cut()
		order := dnswire.Compare(a.rrtype, da, db)
		same := order == 0 && bytes.Equal(da, db)
		switch {
		case same && ha != hb:
			c.refreshed(b, db, hb)
		case order <= 0 && !same:
			c.removed(a, da, ha)
		}
		if order >= 0 && !same {
			c.added(b, db, hb)
		}
		if order <= 0 {
			a = restA
		}
		if order >= 0 {
			b = restB
		}
	}
	for data, hours := range a.timed {
		c.removed(a, data, hours)
	}
	for data, hours := range b.timed {
		c.added(b, data, hours)
	}
}

// cut returns the first record of a set that is not empty, and the set of the others.
func (r rrset) cut() (data []byte, hours uint32, rest rrset) {
	data, hours = r.first(), r.hours(0)
	r.packed = r.packed[2+len(data):]
	r.count--
	if r.times != nil {
		r.times = r.times[4:]
	}
	return data, hours, r
}
