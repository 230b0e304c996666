package listener

import (
	"fmt"

	"github.com/coredns/coredns/core/dnsserver"
)

// binding is a zone on a port of one address. An empty host is the wildcard address.
type binding struct {
	transport, zone, port, host string
}

func (b binding) String() string {
	s := b.transport + "://" + b.zone + ":" + b.port
	if b.host != "" {
		s += " on " + b.host
	}
	return s
}

// rejectOverlaps returns an error if two sites serve the same zone on the same address, or one of them on the wildcard
// address of the same port. CoreDNS checks this in MakeServers, from which the moved sites were hidden. Sites of a view
// may share a zone with others: their filters decide.
func rejectOverlaps(sites []site) error {
	served := make(map[binding]bool)
	bound := make(map[binding]binding) // by the same binding on the wildcard address
	for _, s := range sites {
		for _, b := range bindings(s.config, s.first) {
			wildcard := b
			wildcard.host = ""
			if served[b] {
				if len(s.config.FilterFuncs) > 0 {
					continue
				}
				return fmt.Errorf("cannot serve %s twice", b)
			}
			if other, ok := bound[wildcard]; ok && (b.host == "" || served[wildcard]) {
				return fmt.Errorf("cannot serve %s: it overlaps with %s", b, other)
			}
			if len(s.config.FilterFuncs) == 0 {
				served[b] = true
				bound[wildcard] = b
			}
		}
	}
	return nil
}

// bindings lists what a site serves.
func bindings(config, first *dnsserver.Config) []binding {
	if !ownTransport(config.Transport) {
		return nil // checked by CoreDNS
	}
	var all []binding
	for _, host := range first.ListenHosts {
		all = append(all, binding{transport: config.Transport, zone: config.Zone, port: config.Port, host: host})
	}
	return all
}
