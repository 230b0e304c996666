package listener

import (
	"context"
	"slices"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

// judge puts a handler in front of a site's plugins that tells them what a signature is worth in their server block. The
// tsig plugin asks nothing but TsigStatus, and hands on the name of the key, which for a context the client has chosen. So
// a context is a key in the blocks whose server made it or would have, and in all others none: there its holder has proven
// nothing. The handler stands in the chain because that is where it is known which of the sites of an address, views
// included, CoreDNS has chosen.
func (in *instance) judge(s site) {
	if len(s.config.Plugin) == 0 {
		return // CoreDNS refuses what comes for it
	}
	var own *gsstsig.Server
	if b := in.registered(s.block); b != nil {
		own = b.Server
	}
	// A new slice: the sites of a block share one.
	s.config.Plugin = slices.Concat([]plugin.Plugin{func(next plugin.Handler) plugin.Handler {
		return &judge{next: next, own: own}
	}}, s.config.Plugin)
}

// judge is the handler that (*instance).judge puts in.
type judge struct {
	next plugin.Handler
	own  *gsstsig.Server // of the block, nil if it has none
}

// Name implements plugin.Handler. It is no directive's, so that nobody who looks through a site's handlers finds it.
func (j *judge) Name() string { return "gsstsig listener" }

// ServeDNS implements plugin.Handler.
func (j *judge) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if t, _ := TransactionFrom(ctx); t != nil && t.Server() != nil {
		// Both ways, since a plugin of another block may have sent a question of its own here.
		judged := &judgedWriter{ResponseWriter: w}
		if j.own == nil || !j.own.WouldAccept(t) {
			judged.status = dns.ErrSecret
		}
		w = judged
	}
	return j.next.ServeDNS(ctx, w, r)
}

// judgedWriter is the response writer of a request that a context signed.
type judgedWriter struct {
	dns.ResponseWriter
	status error
}

// TsigStatus implements dns.ResponseWriter.
func (w *judgedWriter) TsigStatus() error { return w.status }

var _ plugin.Handler = (*judge)(nil)
