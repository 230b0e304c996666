package listener

import (
	"context"
	"slices"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// siteHandler stands in front of the plugins of a site, because that is where it is known which of the sites of an address,
// views included, CoreDNS has chosen for a request. It does what depends on the site's block.
//
// A block that uses gsstsig refuses what is wrong with a request by RFC 8945 and RFC 6891. Other blocks answer it as
// CoreDNS does. In those of the tsig plugin, an error reply that has to be signed is made here, because the plugin leaves
// signing to the server.
//
// It also tells the plugins what a signature is worth in their block. The tsig plugin asks nothing but TsigStatus, and hands
// on the name of the key, which for a context the client has chosen. So a context is a known key only in the blocks whose
// server made it or would have accepted its ticket. In other blocks it proves nothing.
type siteHandler struct {
	next plugin.Handler
	own  *registeredBlock // nil if the block does not use gsstsig
	tsig bool             // the tsig plugin is in the block
}

// addSiteHandler puts a siteHandler in front of a site's plugins.
func (in *instance) addSiteHandler(s site) {
	if len(s.config.Plugin) == 0 {
		return // CoreDNS refuses what comes for it
	}
	own := in.registered(s.block)
	// A new slice: the sites of a block share one.
	s.config.Plugin = slices.Concat([]plugin.Plugin{func(next plugin.Handler) plugin.Handler {
		return &siteHandler{next: next, own: own, tsig: s.config.Handler("tsig") != nil}
	}}, s.config.Plugin)
}

// Name implements plugin.Handler. It is not the name of a directive, so that no plugin looks this handler up.
func (h *siteHandler) Name() string { return "gsstsig listener" }

// ServeDNS implements plugin.Handler.
func (h *siteHandler) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	// Later calls are for questions that plugins ask themselves.
	if x, _ := ctx.Value(writerKey{}).(*responseWriter); x != nil && !x.routed {
		x.routed = true
		if h.answer(x) {
			return dns.RcodeSuccess, nil
		}
	}
	if t, _ := TransactionFrom(ctx); t != nil && t.Server() != nil {
		// Both ways, since a plugin of another block may have sent a question of its own here.
		status := &statusWriter{ResponseWriter: w}
		if h.own == nil || h.own.Server == nil || !h.own.Server.WouldAccept(t) {
			status.tsig = dns.ErrSecret
		}
		w = status
	}
	return h.next.ServeDNS(ctx, w, r)
}

// answer answers a request that no plugin is to see, and reports whether it is one.
func (h *siteHandler) answer(x *responseWriter) bool {
	switch {
	case h.own != nil:
		ignoreFlags(x.request)
		x.limitUDP()
		x.padded = x.pads()
		// CoreDNS compresses only a reply that would be too long. A zone transfer is not compressed: for a large zone, the
		// time is worth more than the octets.
		x.compress = x.opcode == dns.OpcodeQuery && !isTransfer(x.request)
		if x.server.refused(x) {
			return true
		}
		if isTransfer(x.request) && !x.permitsTransfer() {
			x.server.observer.TLSFailed(x.client(), ErrTransfer)
			x.reject(dns.RcodeRefused)
			return true
		}
		if isTKEY(x.request) && x.server.authenticator.Negotiates() {
			x.server.negotiate(x) // which replies with the error
			return true
		}
	case x.notUnpacked:
		x.server.rejectForm(x)
		return true
	case h.tsig && x.failure != nil && x.failure.TSIG():
		if x.failure.SignsReply() {
			x.server.refuse(x)
			return true
		}
		return !x.server.allowFailureReply(x) // by the plugin
	}
	return false
}

// ignoreFlags clears the EDNS flags of a request but for DO: CoreDNS would answer with some of the others (RFC 6891 section 6.1.4).
func ignoreFlags(m *dns.Msg) {
	const flags, do = 0xFFFF, 0x8000
	if opt := m.IsEdns0(); opt != nil {
		opt.Hdr.Ttl &^= flags &^ do
	}
}

// statusWriter is the response writer of a request that a context signed.
type statusWriter struct {
	dns.ResponseWriter
	tsig error
}

// TsigStatus implements dns.ResponseWriter.
func (w *statusWriter) TsigStatus() error { return w.tsig }

var _ plugin.Handler = (*siteHandler)(nil)
