package gsstsig

import (
	"net/netip"

	"github.com/miekg/dns"
)

// Negotiator answers the TKEY queries of one address, where several servers may
// share it with each other and with static keys. It is safe for concurrent use.
type Negotiator struct {
	reserved nameSet
	servers  []*Server // at least one
}

// NewNegotiator returns a negotiator for servers, which are asked in this
// order, on an address that takes the static keys: no context gets the name of
// one of them, since whoever goes by the name alone would take its holder for
// that of the key. Without a server there is none, and it is nil.
func NewNegotiator(static StaticKeys, servers ...*Server) *Negotiator {
	if len(servers) == 0 {
		return nil
	}
	return &Negotiator{reserved: newNameSet(static), servers: servers}
}

// Negotiate has the server that a TKEY query is for answer it, as
// Server.Negotiate does. A query that no server claims goes to the first one.
func (n *Negotiator) Negotiate(request *dns.Msg, client netip.AddrPort, signer *Transaction) (response *dns.Msg, sign *Transaction) {
	server := n.servers[0]
	for _, s := range n.servers {
		if s.Claims(request) {
			server = s
			break
		}
	}
	return server.answer(request, &negotiation{signer: signer, reserved: n.reserved, event: Event{Client: client}})
}
