package command

import (
	"github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// copyOf opens a zone in memory, in the state that a start of the server would find it in. Whatever becomes of the copy,
// the server's own zone stays as it is.
func copyOf(service *gsstsig.Service, origin string) (*zone.Zone, error) {
	_, seed := service.Seed(origin, nil)
	return zone.Open(zone.Config{
		Origin: origin, Store: store.NewMemory(store.MemoryOptions{}), Seed: seed,
		Limits: service.Limits, TombstoneLifetime: service.Tombstones,
	})
}
