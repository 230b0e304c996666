package administration

import (
	"fmt"
	"iter"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Changes yields the changes of a log, newest first, back to the one that began at the serial from, or all if that is 0.
func Changes(origin string, log iter.Seq2[store.Change, error], from uint32) iter.Seq2[view.Change, error] {
	return func(yield func(view.Change, error) bool) {
		found := false
		for c, err := range log {
			if err != nil {
				yield(view.Change{}, err)
				return
			}
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
	v := view.Change{Time: c.Committed, Zone: origin, From: c.From, To: c.To, Author: c.Author, Rule: c.Rule,
		Removed: loggedRecords(c.Removed), Added: loggedRecords(c.Added)}
	for _, o := range c.Owners {
		n := view.Name{Zone: origin, Name: text([]byte(o.Name)), Owner: o.Principal, Records: []view.Record{}}
		if !o.Deleted.IsZero() {
			deleted := o.Deleted
			n.Deleted = &deleted
		}
		v.Owners = append(v.Owners, n)
	}
	for _, name := range c.Disowned {
		v.Owners = append(v.Owners, view.Name{Zone: origin, Name: text([]byte(name)), Records: []view.Record{}})
	}
	return v
}

// loggedRecords describes records of the log, whose times mean nothing. The SOA record is left out: the change has
// its serials.
func loggedRecords(records []store.Record) []view.NamedRecord {
	list := []view.NamedRecord{}
	for i := range records {
		if i == 0 && records[0].Type == dns.TypeSOA {
			continue
		}
		r := namedRecord(&records[i])
		r.Static, r.Refreshed = false, nil
		list = append(list, r)
	}
	return list
}
