package administration

import (
	"fmt"
	"iter"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Changes yields the changes of a log, newest first, back to the one that began at the serial from, or all if that is 0.
func Changes(origin string, log iter.Seq2[store.Change, error], from uint32) iter.Seq2[view.Change, error] {
	return func(yield func(view.Change, error) bool) {
		found, first := false, true
		for c, err := range log {
			if err != nil {
				yield(view.Change{}, err)
				return
			}
			if first && from != 0 && after(from, c.To) {
				yield(view.Change{}, diagnose.WithFix(fmt.Errorf("zone %s: serial %d is in the future: the last change led to serial %d", origin, from, c.To), "name a former serial"))
				return
			}
			first = false
			// Changes of owners alone may follow at the serial itself.
			if from != 0 && c.To == from && c.From != from {
				found = true
				break
			}
			if !yield(changeView(origin, &c), nil) {
				return
			}
			found = found || c.From == from
		}
		if from != 0 && !found {
			yield(view.Change{}, diagnose.WithFix(fmt.Errorf("zone %s: the log does not reach back to serial %d", origin, from), "leave the serial out to see the whole log"))
		}
	}
}

func changeView(origin string, c *store.Change) view.Change {
	removed, added := WithoutSerial(c.Removed, c.Added)
	v := view.Change{Time: c.Committed, Zone: origin, From: c.From, To: c.To, Author: c.Author, Rule: c.Rule,
		Removed: loggedRecords(removed), Added: loggedRecords(added)}
	for _, o := range c.Owners {
		v.Owners = append(v.Owners, ownedName(origin, &o))
	}
	for _, name := range c.Disowned {
		v.Owners = append(v.Owners, ownedName(origin, &store.Owner{Name: name}))
	}
	return v
}

// loggedRecords describes records of the log, whose times mean nothing.
func loggedRecords(records []store.Record) []view.NamedRecord {
	list := namedRecords(records)
	for i := range list {
		list[i].Static, list[i].Refreshed = false, nil
	}
	return list
}
