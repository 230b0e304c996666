package gsstsig

import (
	"context"
	"sync/atomic"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

const pluginName = "gsstsig"

// Handler serves the zones of one server block. It does not change once CoreDNS has started it, and is safe for concurrent
// use.
type Handler struct {
	Next plugin.Handler

	zones    map[string]*servedZone                    // by origin
	policies atomic.Pointer[map[string]*policy.Policy] // by origin
	names    plugin.Zones                              // the origins, those of damaged zones too, for the longest match
	damaged  map[string]diagnose.Finding               // by origin: of the zones in names that are not in zones
	server   *gsstsig.Server                           // the contexts and keytab of the block
	accounts *accountRealms                            // of the process
	audit    *auditor                                  // of the process

	// Set when CoreDNS starts.
	otherZones map[string]bool // of all blocks, but for those of this one
	screened   bool            // plugins in front must see each query

	// Set when CoreDNS starts, nil where the server block does not use the transfer plugin.
	transfers *transfer.Transfer
	notifier  *notifier
	tsig      *tsig.TSIGServer // likewise of the tsig plugin

	service   *service.Service
	readiness readiness
}

var _ plugin.Handler = (*Handler)(nil)

// Name implements plugin.Handler.
func (h *Handler) Name() string { return pluginName }

// ServeDNS implements plugin.Handler.
func (h *Handler) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	origin := h.names.Matches(r.Question[0].Name)
	if origin == "" {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	if class := r.Question[0].Qclass; class != dns.ClassINET && class != dns.ClassANY {
		// CoreDNS refuses other classes itself, but not in blocks with chaos or forward, whose plugins may answer them.
		if r.Opcode == dns.OpcodeQuery && !isTransfer(r.Question[0].Qtype) {
			return dns.RcodeRefused, nil
		}
		return h.answer(w, r, dns.RcodeNotAuth)
	}
	z := h.zone(origin)
	if z == nil {
		return h.answerUnavailable(ctx, origin, w, r)
	}
	switch r.Opcode {
	case dns.OpcodeQuery:
		if isTransfer(r.Question[0].Qtype) {
			return h.answerTransfer(ctx, z, w, r)
		}
		return h.query(ctx, h.authority(z, r.Question[0].Name, r.Question[0].Qtype), w, r)
	case dns.OpcodeUpdate:
		return h.update(ctx, z, w, r)
	case dns.OpcodeNotify:
		return h.answerNotify(z, w, r)
	}
	return dns.RcodeNotImplemented, nil
}

// CacheBypassZones tells the cache plugin not to cache answers from these zones: a cached answer would hide an update that
// was acknowledged.
func (h *Handler) CacheBypassZones() []string { return h.names }
