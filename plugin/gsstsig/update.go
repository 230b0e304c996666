package gsstsig

import (
	"context"
	"errors"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// update takes an UPDATE message through its three steps and answers it (RFC 2136 section 3).
func (h *Handler) update(ctx context.Context, z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	// Authenticate: the listener has verified who signed these octets. A message from another listener of CoreDNS (DoH, DoQ,
	// gRPC) was not verified, so that it has no identity.
	transaction, verified := listener.TransactionFrom(ctx)
	if !verified {
		return h.refuse(ctx, z, w, r, h.identity(nil, w.RemoteAddr()), causeListener,
			"updates are accepted by plain DNS and by DNS over TLS only")
	}
	id := h.identity(transaction, w.RemoteAddr())
	if transaction != nil && !h.accepts(transaction) {
		return h.refuse(ctx, z, w, r, id, causeContext, "the context was negotiated with another server block, and this one would not have accepted the client: the keytab "+
			"or one of realm, principal, enctypes, allow_rc4, krb5conf and transit differs")
	}

	// Authorize and change: the zone calls the policy with the state that the update applies to, then applies it.
	u := h.policy(z.Origin()).Update(id, listener.UpdateFrom(ctx))
	u.Source = sourceOf(id)
	if transaction != nil && h.server.Shares() {
		u.Mark = store.Mark(transaction.Mark())
	}
	var result zone.Result
	listener.Wait(ctx, func() { result = z.Apply(ctx, u) })
	if errors.Is(result.Err, zone.ErrReplayed) {
		// This server has not seen the message before, and would have refused it itself otherwise.
		listener.RefuseReplayed(ctx)
		return dns.RcodeNotAuth, nil
	}

	if result.Changed && h.notifier != nil {
		h.notifier.changed(z.Origin())
	}
	h.audit.update(z.Origin(), id, senderOf(ctx, w), r, result, h.service.RefusedLevel)
	return h.answer(w, r, result.Rcode)
}

// refuse answers an update that is refused before the policy is asked.
func (h *Handler) refuse(ctx context.Context, z *zone.Zone, w dns.ResponseWriter, r *dns.Msg, id policy.Identity, cause, reason string) (int, error) {
	serial := z.Snapshot().Serial()
	h.audit.update(z.Origin(), id, senderOf(ctx, w), r, zone.Result{
		Rcode:    dns.RcodeRefused,
		Before:   serial,
		After:    serial,
		Decision: zone.Decision{Reason: reason, Cause: cause},
	}, h.service.RefusedLevel)
	return h.answer(w, r, dns.RcodeRefused)
}

// answer sends a response of the header and the question alone, which is the zone section of an UPDATE (RFC 2136 section
// 3.8). The listener signs it.
func (h *Handler) answer(w dns.ResponseWriter, r *dns.Msg, rcode int) (int, error) {
	m := new(dns.Msg)
	m.SetRcode(r, rcode)
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, err
	}
	return dns.RcodeSuccess, nil
}
