package gsstsig

import (
	"context"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// update takes an UPDATE message through its three steps and answers it (RFC 2136 section 3).
func (h *Handler) update(ctx context.Context, z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	// Authenticate: who signed these octets? The listener knows; a message that came by another listener of CoreDNS
	// (DoT, DoH, DoQ, gRPC) was never looked at, so its sender is nobody.
	transaction, seen := listener.TransactionFrom(ctx)
	if !seen {
		return h.refuse(z, w, r, identity(nil, w.RemoteAddr()), "updates are taken on the plain DNS listeners alone")
	}
	id := identity(transaction, w.RemoteAddr())
	if transaction != nil && !h.ours(transaction) {
		return h.refuse(z, w, r, id, "the context was made with another server block, and this one would not have made it: it has another keytab, "+
			"or its realm, principal, enctypes, allow_rc4, krb5conf or transit say otherwise")
	}

	// Authorize and change: the zone asks the policy about the very state that it is going to change, then changes it.
	result := z.Apply(ctx, h.policies[z.Origin()].Update(id, r))

	if result.Changed && h.notifier != nil {
		h.notifier.changed(z.Origin())
	}
	h.audit(z, id, source(w.RemoteAddr()), r, result)
	return h.answer(w, r, result.Rcode)
}

// refuse answers an update that does not get as far as the policy.
func (h *Handler) refuse(z *zone.Zone, w dns.ResponseWriter, r *dns.Msg, id policy.Identity, reason string) (int, error) {
	serial := z.Snapshot().Serial()
	h.audit(z, id, source(w.RemoteAddr()), r, zone.Result{
		Rcode:    dns.RcodeRefused,
		Before:   serial,
		After:    serial,
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
