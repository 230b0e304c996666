package gsstsig

import (
	"fmt"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
)

// A reload moves a zone between a database and etcd, or between directories, if an administrator has copied it there: by the
// command migrate, which freezes it. While it is frozen no client's update can come in between.

// mayMove reports whether the zone may be served from another place after a reload.
func (s *servedZone) mayMove(place string) bool {
	z := s.loaded()
	if z == nil || s.place == inMemory || place == inMemory {
		return false
	}
	_, frozen := z.Frozen()
	return frozen
}

// movedTo returns an error unless another zone may take the place of this one.
func (s *servedZone) movedTo(other *servedZone) error {
	if administration.Same(s.loaded().Snapshot(), other.loaded().Snapshot()) {
		log.Infof("zone %s: moves from %s to %s, serial %d", s.origin, s.place, other.place, other.loaded().Snapshot().Serial())
		return nil
	}
	return diagnose.WithFix(
		fmt.Errorf("zone %s: it is served from %s and cannot move to %s by a reload, because that is no copy of it, or the zone has changed since it was copied", s.origin, s.place, other.place),
		"remove the zone from %s and copy it again: coredns gsstsig migrate", other.place)
}

// notCopied is the error that a zone which moves is not at the new place.
func notCopied(origin, place string) error {
	return diagnose.WithFix(fmt.Errorf("zone %s: it cannot move to %s by a reload, because it is not there", origin, place), "copy it before: coredns gsstsig migrate")
}
