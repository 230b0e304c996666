package gsstsig

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
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
// Server.Negotiate does: the one that has the key of the token's service or,
// where the query has no token that tells, the one that knows the key name. A
// server that signer belongs to is asked before the others. A query that gives
// no clue, such as SPNEGO without an optimistic token, goes to the first one,
// and the negotiation moves to another once there is a token for that.
func (n *Negotiator) Negotiate(request *dns.Msg, client netip.AddrPort, signer *Transaction) (response *dns.Msg, sign *Transaction) {
	return n.choose(request, signer).answer(request, &negotiation{
		signer: signer, reserved: n.reserved, beside: n.servers, event: Event{Client: client},
	})
}

// choose returns the server that a query is for.
func (n *Negotiator) choose(request *dns.Msg, signer *Transaction) (chosen *Server) {
	if len(n.servers) == 1 {
		return n.servers[0]
	}
	// The same fence as around Negotiate: a stranger's octets are parsed here.
	defer func() {
		if recover() != nil {
			chosen = n.servers[0]
		}
	}()
	query, err := readTKEY(request)
	if err != nil {
		return n.servers[0]
	}
	servers := n.servers
	if signer != nil && slices.Contains(servers, signer.server) {
		servers = append([]*Server{signer.server}, servers...)
	}
	taken := func(s *Server) bool { return s.contexts.taken(query.name) }
	halfOpen := func(s *Server) bool { return s.contexts.hasHalfOpen(query.name) }
	begun := func(s *Server) bool { return s.contexts.begun(query.name) }
	token, _ := query.token()
	inner := spnego.PeekMechToken(token)
	holds := func(s *Server) bool { return inner != nil && s.acceptor.HasKeyFor(inner) }

	var clues []func(*Server) bool // the first one that fits any server decides
	switch {
	case query.record.Mode == modeDelete:
		// Another server may have a context of the same name. The one that
		// signed is its own server's, even if it is gone by now.
		if signer == nil || signer.name != query.name {
			clues = append(clues, taken)
		}
	case spnego.IsContinuation(token):
		// What Kerberos has begun with a server's key goes on there.
		inner = spnego.PeekResponseToken(token)
		clues = append(clues, begun, holds, halfOpen, taken)
	default:
		clues = append(clues, holds, taken)
	}
	for _, fits := range clues {
		if i := slices.IndexFunc(servers, fits); i >= 0 {
			return servers[i]
		}
	}
	return servers[0]
}
