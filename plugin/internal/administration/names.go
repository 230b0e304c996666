package administration

import (
	"iter"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// Names yields the names of a zone with their records in canonical order, and behind them the tombstones. A name or an owner that
// is not empty limits what is yielded. An owner may be given without its SID.
func Names(s *zone.Snapshot, name, owner string) iter.Seq[view.Name] {
	return func(yield func(view.Name) bool) {
		if name != "" {
			if n, ok := nameView(s, name); ok && (owner == "" || isOwner(n.Owner, owner)) {
				yield(n)
			}
			return
		}
		var current view.Name
		flush := func() bool {
			n := current
			current = view.Name{}
			return n.Name == "" || owner != "" && !isOwner(n.Owner, owner) || yield(n)
		}
		for r := range s.WireRecords() {
			lower := text(dnswire.AppendLower(nil, []byte(r.Name)))
			if lower != current.Name {
				if !flush() {
					return
				}
				current = view.Name{Zone: s.Origin(), Name: lower}
				if own, ok := s.Owner(lower); ok {
					current.Owner = own.Principal
				}
			}
			current.Records = append(current.Records, Record(&r))
		}
		if !flush() {
			return
		}
		for o := range s.Owners() {
			if o.Deleted.IsZero() || owner != "" && !isOwner(o.Principal, owner) {
				continue
			}
			deleted := o.Deleted
			n := view.Name{Zone: s.Origin(), Name: text([]byte(o.Name)), Owner: o.Principal, Deleted: &deleted, Records: []view.Record{}}
			if !yield(n) {
				return
			}
		}
	}
}

// nameView returns one name, and whether it has records or an owner.
func nameView(s *zone.Snapshot, name string) (view.Name, bool) {
	n := view.Name{Zone: s.Origin(), Name: name, Records: []view.Record{}}
	for r := range s.WireRecordsAt(name) {
		n.Records = append(n.Records, Record(&r))
	}
	own, owned := s.Owner(name)
	n.Owner = own.Principal
	if !own.Deleted.IsZero() {
		n.Deleted = &own.Deleted
	}
	return n, owned || len(n.Records) > 0
}

// isOwner compares a recorded owner with what an administrator writes.
func isOwner(recorded, word string) bool {
	principal, _ := policy.SplitOwner(recorded)
	return recorded == word || principal == word
}
