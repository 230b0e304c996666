package administration

import (
	"iter"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Names yields the names of a zone with their records in canonical order, and behind them the tombstones. A name or an owner that
// is not empty limits what is yielded. An owner may be given without its SID.
func Names(s *zone.Snapshot, name, owner string) iter.Seq[view.Name] {
	return func(yield func(view.Name) bool) {
		if name != "" {
			if n, ok := Name(s, name); ok && (owner == "" || isOwner(n.Owner, owner)) {
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
			if !yield(ownedName(s.Origin(), &o)) {
				return
			}
		}
	}
}

// Name returns the view of one name, and whether it has records or an owner. The name is in lower case.
func Name(s *zone.Snapshot, name string) (view.Name, bool) {
	own, owned := s.Owner(name)
	n := view.Name{Zone: s.Origin(), Name: name, Owner: own.Principal, Deleted: timeOf(own.Deleted), Records: []view.Record{}}
	for r := range s.WireRecordsAt(name) {
		n.Records = append(n.Records, Record(&r))
	}
	return n, owned || len(n.Records) > 0
}

// ownedName makes the view of a name without its records.
func ownedName(origin string, o *store.Owner) view.Name {
	return view.Name{Zone: origin, Name: text([]byte(o.Name)), Owner: o.Principal, Deleted: timeOf(o.Deleted), Records: []view.Record{}}
}

// timeOf returns a time for a view, nil for the zero time.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// isOwner compares a recorded owner with what an administrator writes.
func isOwner(recorded, word string) bool {
	principal, _ := policy.SplitOwner(recorded)
	return recorded == word || principal == word
}
