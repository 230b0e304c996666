package administration

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Same reports whether two states of a zone are the same: serial, records with their TTLs and times, owners and tombstones.
func Same(a, b *zone.Snapshot) bool {
	return a.Origin() == b.Origin() && a.Serial() == b.Serial() && a.Len() == b.Len() && sameSequence(byName(a), byName(b)) && sameSequence(a.Owners(), b.Owners())
}

// sameSequence reports whether both sequences have the same values.
func sameSequence[T comparable](a, b iter.Seq[T]) bool {
	next, stop := iter.Pull(b)
	defer stop()
	for value := range a {
		if other, ok := next(); !ok || other != value {
			return false
		}
	}
	_, more := next()
	return !more
}

// byName yields the records of one name after the other, those of a name in one text and in one order: a zone does not order the
// records of an RRset.
func byName(s *zone.Snapshot) iter.Seq[string] {
	return func(yield func(string) bool) {
		var name string
		var records []string
		flush := func() bool {
			slices.Sort(records)
			text := strings.Join(records, "")
			records = records[:0]
			return yield(text)
		}
		for r := range s.WireRecords() {
			if r.Name != name && len(records) > 0 && !flush() {
				return
			}
			name = r.Name
			records = append(records, recordOctets(&r))
		}
		flush()
	}
}

// recordOctets is all of a record in a form that no other record has.
func recordOctets(r *store.Record) string {
	b := []byte(r.Name)
	b = binary.BigEndian.AppendUint16(b, r.Type)
	b = binary.BigEndian.AppendUint16(b, r.Class)
	b = binary.BigEndian.AppendUint32(b, r.TTL)
	b = binary.BigEndian.AppendUint32(b, r.Hours)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Data)))
	return string(append(b, r.Data...))
}
