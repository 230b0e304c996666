package gsstsig

import (
	"context"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// update takes an UPDATE message through its three steps and answers it (RFC 2136 section 3).
func (h *Handler) update(ctx context.Context, z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	// Authenticate: who signed these octets? The listener knows; a message that came by another listener of CoreDNS
	// (DoT, DoH, DoQ, gRPC) was never looked at, so its sender is nobody.
	transaction, seen := listener.TransactionFrom(ctx)
	if !seen {
		return h.refuse(z, w, r, "updates are taken on the plain DNS listeners alone")
	}
	if transaction != nil && !h.ours(transaction) {
		return h.refuse(z, w, r, "the context was made with the keytab of another server block")
	}
	id := identity(transaction, w.RemoteAddr())

	// Authorize and change: the zone asks the policy about the very state that it is going to change, then changes it.
	result := z.Apply(ctx, &zone.Update{Message: r, Authorize: h.policies[z.Origin()].Authorizer(id)})

	if result.Changed && h.notifier != nil {
		h.notifier.changed(z.Origin())
	}
	h.audit(z, id, source(w.RemoteAddr()), r, result)
	return h.answer(w, r, result.Rcode)
}

// refuse answers an update that does not get as far as the policy.
func (h *Handler) refuse(z *zone.Zone, w dns.ResponseWriter, r *dns.Msg, reason string) (int, error) {
	h.audit(z, identity(nil, w.RemoteAddr()), source(w.RemoteAddr()), r, zone.Result{
		Rcode:    dns.RcodeRefused,
		Decision: zone.Decision{Reason: reason},
	})
	return h.answer(w, r, dns.RcodeRefused)
}

// answer sends the response to an UPDATE: the header and the zone section (RFC 2136 section 3.8). The listener signs it.
func (h *Handler) answer(w dns.ResponseWriter, r *dns.Msg, rcode int) (int, error) {
	m := new(dns.Msg)
	m.SetRcode(r, rcode)
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, err
	}
	return dns.RcodeSuccess, nil
}
