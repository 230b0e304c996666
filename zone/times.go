package zone

import (
	"bytes"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// Aging says when dynamic records are refreshed and when they are stale ([MS-DNSP] section 1.1,
// aging and scavenging). The zero value switches it off: no record is refreshed, and none is stale.
type Aging struct {
	// NoRefresh is how long after its last refresh an update that repeats a record does not refresh
	// it. It keeps the database from being written for every such update.
	NoRefresh time.Duration
	// Refresh is how long after that a record that nobody refreshes stays.
	Refresh time.Duration
}

// timing is what decides on the times of the records of an update.
type timing struct {
	now    int64 // seconds of Unix time
	aging  Aging
	static bool
	// stale, unless nil, reports whether a record of that time may be deleted. Others stay.
	stale func(hours uint32) bool
}

// hoursOf is the time of a record that is written at a time in seconds of Unix time. It is never
// that of a static record.
func hoursOf(now int64) uint32 { return uint32(max(now/3600, 1)) }

// written returns the time of a record that an update adds. If the zone has it already, old is its
// time.
func (t *timing) written(old uint32, found bool) uint32 {
	switch {
	case t.static:
		return 0
	case !found:
		return hoursOf(t.now)
	case old == 0 || !t.aging.Enabled():
		return old
	}
	// A time after now is of a clock that was ahead.
	if age := t.now - 3600*int64(old); age >= 0 && age < int64(t.aging.NoRefresh/time.Second) {
		return old
	}
	return hoursOf(t.now)
}

// settle sets the times of the records that an update has written, whose name has key and was
// before. The records of the zone's own name are static.
func (d *draft) settle(before *node, key string, t *timing) {
	for i := range d.sets {
		if s := &d.sets[i]; s.anyWritten() {
			s.settle(before.set(s.rrtype), key == "", t)
		}
	}
}

func (s *draftSet) anyWritten() bool {
	for i := range s.records {
		if s.records[i].written {
			return true
		}
	}
	return false
}

func (s *draftSet) settle(before rrset, apex bool, t *timing) {
	for i := range s.records {
		r := &s.records[i]
		var old uint32
		var found bool
		if old, found, before = before.seek(r.data); !r.written {
			continue
		}
		r.written = false
		if r.hours = 0; !apex {
			r.hours = t.written(old, found)
		}
	}
}

// seek returns the time of a record of a set, and the part of the set from there on, in which every
// greater record is.
func (r rrset) seek(data []byte) (hours uint32, found bool, rest rrset) {
	for !r.empty() {
		first, hours, rest := r.cut()
		if order := dnswire.Compare(r.rrtype, first, data); order >= 0 {
			return hours, order == 0, r
		}
		r = rest
	}
	return 0, false, r
}

// keepTimes returns node after with the times that the records of those RRsets have in before.
func keepTimes(before, after *node, sets []ProposedSet) *node {
	d := newDraft(after)
	for _, set := range sets {
		s := d.set(set.Type)
		if s == nil {
			continue
		}
		rest := before.set(set.Type)
		for i := range s.records {
			var old uint32
			var found bool
			if old, found, rest = rest.seek(s.records[i].data); found {
				s.records[i].hours = old
			}
		}
	}
	if kept := d.node(); !bytes.Equal(kept.body(), before.body()) {
		return kept
	}
	return before
}
