package policy

import (
	"bytes"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// An effect is what an update section does to one name in the end, all its records taken in their
// order (RFC 2136 section 3.4.2). A change of TTL alone is a change. What cannot be told for sure
// counts as a change, since the absence of one is what opens doors.
type effect struct {
	changed []uint16 // types that are not in the end what they were
	all     bool     // too much to work out: every type counts as changed
	grown   []growth
}

// growth notes that the record of the update section at index made an RRset grow to count records.
type growth struct {
	index, count int
}

func (e *effect) any() bool { return e.all || len(e.changed) > 0 }

func (e *effect) changes(rrtype uint16) bool {
	if e.all {
		return true
	}
	for _, c := range e.changed {
		if c == rrtype {
			return true
		}
	}
	return false
}

// exceeds reports whether the record at index made its RRset grow beyond max.
func (e *effect) exceeds(index, max int) bool {
	for _, g := range e.grown {
		if g.index == index {
			return g.count > max
		}
	}
	return e.all
}

// maxComparisons bounds the comparisons of records in one evaluation, and so what an update of
// thousands of records can cost. A sensible update makes a few dozen.
const maxComparisons = 10_000

// A set is an RRset as the update leaves it so far.
type set struct {
	rrtype      uint16
	before, now []dns.RR
	ttl         uint32
	unsure      bool
}

// A worker works an effect out.
type worker struct {
	zone        *zone.Snapshot
	name        string
	apex        bool
	comparisons *int // comparisons made in the evaluation
	sets        []set
	few         [3]set // what sets begins in
	grown       []growth
}

// do carries out the record at index of the update section.
func (w *worker) do(index int, rr dns.RR) {
	if *w.comparisons > maxComparisons {
		return
	}
	switch h := rr.Header(); {
	case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY:
		w.deleteAll()
	case h.Class == dns.ClassANY:
		w.deleteSet(h.Rrtype)
	case h.Class == dns.ClassNONE:
		w.deleteOne(rr)
	default:
		w.add(index, rr)
	}
}

// get returns the set of a type, from the snapshot if it was not yet touched.
func (w *worker) get(rrtype uint16) *set {
	for i := range w.sets {
		if w.sets[i].rrtype == rrtype {
			return &w.sets[i]
		}
	}
	if w.sets == nil {
		w.sets = w.few[:0]
	}
	s := set{rrtype: rrtype, before: w.zone.RRset(w.name, rrtype)}
	if len(s.before) > 0 {
		s.ttl = s.before[0].Header().Ttl
		// Appending to now must not write into before.
		s.now = s.before[:len(s.before):len(s.before)]
	}
	w.sets = append(w.sets, s)
	return &w.sets[len(w.sets)-1]
}

// getAll brings every type that the name has in.
func (w *worker) getAll() {
	for _, rrtype := range w.zone.Types(w.name) {
		w.get(rrtype)
	}
}

// find returns the index of the record in the set, or -1. Where records may be the same but need
// not, the set is unsure from then on.
func (w *worker) find(s *set, rr dns.RR) int {
	for i, held := range s.now {
		*w.comparisons++
		switch same, certain := sameRecord(held, rr, false); {
		case !certain:
			s.unsure = true
		case same:
			return i
		}
	}
	return -1
}

func (w *worker) add(index int, rr dns.RR) {
	rrtype := rr.Header().Rrtype
	if rrtype == dns.TypeSOA {
		// Only the apex has one. Whether the serial is greater is the zone's to say.
		if s := w.get(rrtype); len(s.now) > 0 {
			s.unsure = true
		}
		return
	}
	if misplaced(rrtype, w.name, w.apex) {
		return
	}
	if !besideCNAME(rrtype) {
		w.getAll()
		for i := range w.sets {
			s := &w.sets[i]
			if len(s.now) == 0 || besideCNAME(s.rrtype) {
				continue
			}
			// A CNAME is not added where other data is, nor other data where a CNAME is: the record
			// is ignored.
			if (rrtype == dns.TypeCNAME) != (s.rrtype == dns.TypeCNAME) {
				return
			}
		}
	}
	s := w.get(rrtype)
	at := w.find(s, rr)
	if s.ttl = rr.Header().Ttl; s.ttl >= 1<<31 {
		s.ttl = 0 // RFC 2181 section 8
	}
	switch {
	case at >= 0:
	case rrtype == dns.TypeCNAME, rrtype == dns.TypeDNAME:
		grew := len(s.now) == 0
		s.now = []dns.RR{rr}
		if grew {
			w.grown = append(w.grown, growth{index, 1})
		}
	default:
		if rrtype == typeWKS && len(s.now) > 0 {
			s.unsure = true // it may take the place of another
		}
		s.now = append(s.now, rr)
		w.grown = append(w.grown, growth{index, len(s.now)})
	}
}

func (w *worker) deleteSet(rrtype uint16) {
	if w.apex && (rrtype == dns.TypeSOA || rrtype == dns.TypeNS) {
		return
	}
	w.get(rrtype).now = nil
}

func (w *worker) deleteAll() {
	w.getAll()
	for i := range w.sets {
		w.deleteSet(w.sets[i].rrtype)
	}
}

func (w *worker) deleteOne(rr dns.RR) {
	rrtype := rr.Header().Rrtype
	if rrtype == dns.TypeSOA {
		return
	}
	s := w.get(rrtype)
	if w.apex && rrtype == dns.TypeNS && len(s.now) == 1 {
		return
	}
	if at := w.find(s, rr); at >= 0 {
		now := make([]dns.RR, 0, len(s.now)-1)
		s.now = append(append(now, s.now[:at]...), s.now[at+1:]...)
	}
}

// finish compares the sets with what they were.
func (w *worker) finish() effect {
	e := effect{grown: w.grown}
	for i := range w.sets {
		if s := &w.sets[i]; w.differs(s) {
			e.changed = append(e.changed, s.rrtype)
		}
	}
	if *w.comparisons > maxComparisons {
		return effect{all: true}
	}
	return e
}

func (w *worker) differs(s *set) bool {
	if s.unsure || len(s.before) != len(s.now) {
		return true
	}
	if len(s.before) == 0 {
		return false
	}
	if s.before[0].Header().Ttl != s.ttl {
		return true
	}
	for _, rr := range s.before {
		if *w.comparisons > maxComparisons {
			return true
		}
		at := w.find(s, rr)
		if at < 0 {
			return true
		}
		if same, certain := sameRecord(s.now[at], rr, true); !same || !certain {
			return true
		}
	}
	return s.unsure
}

// typeWKS is RFC 1035 section 3.4.2; the library has no name for it.
const typeWKS = 11

// besideCNAME reports whether a type may stand beside a CNAME (RFC 2136 section 3.4.2.2, RFC 4034
// sections 2.5, 3 and 4).
func besideCNAME(rrtype uint16) bool {
	switch rrtype {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeKEY:
		return true
	}
	return false
}

// misplaced reports whether the zone passes over the addition of such a record (RFC 4592 sections
// 4.2 and 4.4, RFC 4035 section 2.4).
func misplaced(rrtype uint16, name string, apex bool) bool {
	switch rrtype {
	case dns.TypeNS, dns.TypeDNAME:
		return strings.HasPrefix(name, "*.")
	case dns.TypeDS:
		return apex
	}
	return false
}

// sameRecord reports whether two records of one name and type have the same data, and whether that
// is certain. It leaves TTL and class aside. Names in the data of the types that clients register
// compare without case, as they do in the zone, unless exact is set; for types of which one cannot
// be sure how the zone compares them, only equal octets are certainly the same.
func sameRecord(a, b dns.RR, exact bool) (same, certain bool) {
	switch a := a.(type) {
	case *dns.A:
		b, ok := b.(*dns.A)
		return ok && a.A.Equal(b.A), true
	case *dns.AAAA:
		b, ok := b.(*dns.AAAA)
		return ok && a.AAAA.Equal(b.AAAA), true
	case *dns.PTR:
		b, ok := b.(*dns.PTR)
		return ok && sameName(a.Ptr, b.Ptr, exact), true
	case *dns.CNAME:
		b, ok := b.(*dns.CNAME)
		return ok && sameName(a.Target, b.Target, exact), true
	case *dns.SRV:
		b, ok := b.(*dns.SRV)
		return ok && a.Priority == b.Priority && a.Weight == b.Weight && a.Port == b.Port &&
			sameName(a.Target, b.Target, exact), true
	case *dns.MX:
		b, ok := b.(*dns.MX)
		return ok && a.Preference == b.Preference && sameName(a.Mx, b.Mx, exact), true
	}
	x, err := rdata(a)
	if err != nil {
		return false, false
	}
	y, err := rdata(b)
	if err != nil {
		return false, false
	}
	switch {
	case bytes.Equal(x, y):
		return true, true
	case bytes.EqualFold(x, y):
		// Names in the data may make them the same, text does not.
		_, text := a.(*dns.TXT)
		return false, text
	}
	return false, true
}

func sameName(a, b string, exact bool) bool {
	if a == b {
		return true
	}
	return !exact && canonical(a) == canonical(b)
}

// rdata returns the record's data in uncompressed wire form.
func rdata(rr dns.RR) ([]byte, error) {
	// Packing notes a length in the header, which is not ours to change.
	rr = dns.Copy(rr)
	buf := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	_, start, err := dns.UnpackDomainName(buf[:end], 0)
	if err != nil || start+10 > end {
		return nil, dns.ErrRdata
	}
	return buf[start+10 : end], nil
}
