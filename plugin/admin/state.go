package admin

import (
	"context"
	"errors"
	"net"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// copyOf opens a copy of a zone in memory: of its database, or that on etcd or, if there is none yet, of its master file or generated apex.
// Changes of the copy do not affect the server. The addresses are those that the server answers on. What is doubtful in the
// master file goes to warn.
func copyOf(s *service.Service, origin string, addresses []net.IP, warn func(diagnose.Finding)) (*zone.Zone, error) {
	config := zone.Config{
		Origin: origin, Store: store.NewMemory(store.MemoryOptions{}),
		Limits: s.Limits, TombstoneLifetime: s.Tombstones,
	}
	_, config.Seed = s.Seed(origin, addresses, warn)
	if !s.HasDatabase(origin) && !s.OnEtcd() {
		return zone.Open(config)
	}
	h, err := homeOf(s.Block, origin)
	if err != nil {
		return nil, err
	}
	snapshot, err := h.read()
	if errors.Is(err, errNotThere) || errors.Is(err, store.ErrEmpty) { // of a start that was ended before its first commit
		return zone.Open(config)
	}
	if err != nil {
		return nil, err
	}
	contents := store.Contents{Serial: snapshot.Serial(), Records: snapshot.WireRecords(), Owners: snapshot.Owners()}
	if err := config.Store.Init(context.Background(), contents); err != nil {
		return nil, err
	}
	return zone.Open(config)
}
