package administration

import (
	"errors"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// Stale lists the records that aging takes from a state of a zone by a time, under its own intervals or those of the request.
func Stale(s *zone.Snapshot, aging zone.Aging, q *view.StaleRequest, now time.Time) (view.StaleList, error) {
	if (q.NoRefresh == nil) != (q.Refresh == nil) {
		return view.StaleList{}, errors.New("either both intervals are needed or none")
	}
	if q.Refresh != nil {
		aging = zone.Aging{NoRefresh: seconds(*q.NoRefresh), Refresh: seconds(*q.Refresh)}
	}
	list := view.StaleList{Zone: s.Origin(), NoRefresh: uint32(aging.NoRefresh / time.Second), Refresh: uint32(aging.Refresh / time.Second),
		Preview: q.Refresh != nil, Stale: []view.Stale{}}
	if !aging.Enabled() {
		return list, diagnose.WithFix(errors.New("zone "+s.Origin()+" does not age: there is no property aging for it"),
			"see what aging would take by -intervals 7d,7d, then add \"aging 7d 7d\" to the gsstsig block")
	}
	for r := range s.Stale(aging, now.Add(seconds(q.In))) {
		name := strings.ToLower(text([]byte(r.Name)))
		own, _ := s.Owner(name)
		list.Stale = append(list.Stale, view.Stale{Name: name, Owner: own.Principal, Record: Record(&r.Record), Due: r.Due})
	}
	return list, nil
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }
