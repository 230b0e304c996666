package gsstsig

import (
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
)

// choose returns the server that a TKEY query is for. There is at least one; see
// Negotiate for the rules.
func (a *Authenticator) choose(request *dns.Msg, signer *Transaction) (chosen *Server) {
	if len(a.servers) == 1 {
		return a.servers[0]
	}
	// As in answer: tokens of unauthenticated clients are parsed here.
	defer func() {
		if recover() != nil {
			chosen = a.servers[0]
		}
	}()
	query, err := readTKEY(request)
	if err != nil {
		return a.servers[0]
	}
	servers := a.servers
	if signer != nil && slices.Contains(servers, signer.server) {
		servers = append([]*Server{signer.server}, servers...)
	}
	taken := func(s *Server) bool { return s.contexts.taken(query.name) }
	known := func(s *Server) bool {
		if s.contexts.hasLive([]byte(query.name)) {
			return true
		}
		c, _ := s.find([]byte(query.name)) // of another server, which this one may not be able to use
		return c != nil
	}
	halfOpen := func(s *Server) bool { return s.contexts.hasHalfOpen(query.name) }
	begun := func(s *Server) bool { return s.contexts.begun(query.name) }
	token, _ := query.token()
	inner := spnego.PeekMechToken(token)
	hasKey := func(s *Server) bool { return inner != nil && s.acceptor.HasKeyFor(inner) }

	var clues []func(*Server) bool // the first that fits a server decides
	switch {
	case query.record.Mode == modeDelete:
		// Another server may have a context of the same name. The context that
		// signed belongs to signer's server, even if it is deleted by now.
		if signer == nil || signer.name != query.name {
			clues = append(clues, known)
		}
	case spnego.IsContinuation(token):
		// A Kerberos handshake that began with a server's key goes on there.
		inner = spnego.PeekResponseToken(token)
		clues = append(clues, begun, hasKey, halfOpen, taken)
	default:
		clues = append(clues, hasKey, taken)
	}
	for _, fits := range clues {
		if i := slices.IndexFunc(servers, fits); i >= 0 {
			return servers[i]
		}
	}
	return servers[0]
}
