package admin

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// copyOf opens a zone in memory, in the state of its database or, as long as there is none, in that of its seed. Whatever
// becomes of the copy, the server's own zone stays as it is. The addresses are those that the server answers on.
func copyOf(service *gsstsig.Service, origin string, addresses []net.IP) (*zone.Zone, error) {
	config := zone.Config{
		Origin: origin, Store: store.NewMemory(store.MemoryOptions{}),
		Limits: service.Limits, TombstoneLifetime: service.Tombstones,
	}
	_, config.Seed = service.Seed(origin, addresses)
	if service.Database == "" {
		return zone.Open(config)
	}
	directory := service.DatabaseOf(origin)
	if _, err := os.Stat(directory); errors.Is(err, fs.ErrNotExist) {
		return zone.Open(config)
	}
	snapshot, err := readDatabase(directory, origin)
	if err != nil {
		return nil, err
	}
	config.Seed = func() ([]dns.RR, error) { return slices.Collect(snapshot.Records()), nil }
	config.Owners = slices.Collect(snapshot.Owners())
	return zone.Open(config)
}
