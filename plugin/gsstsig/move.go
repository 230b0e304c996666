package gsstsig

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
)

// A reload moves a zone between a database and etcd, or between directories, if an administrator has copied it there: by the
// command migrate, which freezes it for everybody. From the comparison of the two on nothing changes the zone, not even where
// it was frozen for clients alone: what came in between would be in neither place.

// mayMove reports whether the zone may be served from another place after a reload.
func (s *servedZone) mayMove(place string) bool {
	z := s.loaded()
	if z == nil || s.place == inMemory || place == inMemory {
		return false
	}
	_, frozen := z.Frozen()
	return frozen
}

// movedTo seals the zone, and returns an error unless another one may take its place. The zone is closed then, or goes on by
// stay. The caller holds process.mu.
func (s *servedZone) movedTo(other *servedZone) error {
	z := s.loaded()
	sealed, err := z.Seal(context.Background())
	if err != nil {
		return fmt.Errorf("zone %s: it cannot move to %s by a reload, because updates cannot be refused meanwhile: %w", s.origin, other.place, err)
	}
	s.sealedToMove, other.former = sealed, s
	if administration.Same(z.Snapshot(), other.loaded().Snapshot()) {
		log.Infof("zone %s: moves from %s to %s, serial %d", s.origin, s.place, other.place, other.loaded().Snapshot().Serial())
		return nil
	}
	return errors.Join(diagnose.WithFix(
		fmt.Errorf("zone %s: it is served from %s and cannot move to %s by a reload, because that is no copy of it, or the zone has changed since it was copied", s.origin, s.place, other.place),
		"remove the zone from %s and copy it again: coredns gsstsig migrate", other.place), other.stay())
}

// stay has the former zone go on, whose place this one was to take. The caller holds process.mu.
func (s *servedZone) stay() (err error) {
	former := s.former
	s.former = nil
	if former != nil && former.sealedToMove {
		former.sealedToMove = false
		_, err = former.loaded().Unseal(context.Background())
	}
	return err
}

// errMoving is the error of what would have a zone take updates again that moves.
var errMoving = errors.New("it moves to another place, by a reload that is under way")

// unlessMoving freezes a zone or thaws it by do, if no reload is about to move it.
func (p *process) unlessMoving(z served, do func() (bool, error)) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.zones {
		if f := s.value.former; f != nil && f.loaded() == z.Zone.Zone {
			return false, control.Failed(http.StatusConflict, diagnose.WithFix(fmt.Errorf("zone %s: %w", z.Origin(), errMoving), "repeat this in a moment"))
		}
	}
	return do()
}

// notCopied is the error that a zone which moves is not at the new place.
func notCopied(origin, place string) error {
	return diagnose.WithFix(fmt.Errorf("zone %s: it cannot move to %s by a reload, because it is not there", origin, place), "copy it before: coredns gsstsig migrate")
}
