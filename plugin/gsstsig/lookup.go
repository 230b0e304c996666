package gsstsig

import (
	"context"
	"slices"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/upstream"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// chainKey finds in a context the names that a chain of CNAME and DNAME records has passed before the query came here again, a
// []string that is not changed.
type chainKey struct{}

// query answers a QUERY from the zone's current snapshot, and follows a chain into other zones. It takes no lock and never
// waits for a writer.
func (h *Handler) query(ctx context.Context, z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	chain, _ := ctx.Value(chainKey{}).([]string)
	qtype := r.Question[0].Qtype
	m, target := new(dns.Msg), ""
	listener.Compute(ctx, func() {
		found := z.Snapshot().Follow(r.Question[0].Name, qtype, chain, func(name string) *zone.Snapshot {
			// The acl plugin, for one, may have another rule for that zone.
			if next := h.authority(h.nearest(name), name, qtype); next == z || !h.screened && next != nil {
				return next.Snapshot()
			}
			return nil
		})
		m.SetReply(r)
		m.Rcode = found.Rcode
		m.Authoritative = found.Authoritative
		m.Answer = found.Answer
		m.Ns = found.Authority
		m.Extra = found.Additional
		if target = found.Target; target == "" {
			fit(w, r, m)
		}
	})
	if target != "" {
		followElsewhere(ctx, w, r, m, target, chain) // waits for other plugins
		listener.Compute(ctx, func() { fit(w, r, m) })
	}
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, err
	}
	return dns.RcodeSuccess, nil
}

// fit takes additional records out of a response until it is short enough. CoreDNS truncates one that is still too long, and sets
// TC. It adds OPT before.
func fit(w dns.ResponseWriter, r, m *dns.Msg) {
	state := request.Request{W: w, Req: r}
	room := state.Size()
	if opt := r.IsEdns0(); opt != nil {
		room -= dns.Len(opt)
	}
	m.Compress = true
	listener.DropAdditional(m, room)
}

// nearest returns the zone that has a name, if it is one of the block's, and nil if it is of another block or of none.
func (h *Handler) nearest(name string) *zone.Zone {
	name = dns.CanonicalName(name)
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		if z, ok := h.zones[name[off:]]; ok {
			return z.serving()
		}
		if h.otherZones[name[off:]] {
			return nil
		}
	}
	return h.zone(".")
}

// authority returns the zone that answers a query for a name of the zone z, which may be nil. It is z, but for DS at z's apex:
// the parent zone has that set (RFC 4035 section 3.1.4.1). If the block has no parent zone, or the parent does not have the
// name, z says that there is no DS: the parent's NXDOMAIN would deny all names of z.
func (h *Handler) authority(z *zone.Zone, name string, qtype uint16) *zone.Zone {
	if qtype != dns.TypeDS || z == nil || dns.CanonicalName(name) != z.Origin() {
		return z
	}
	off, end := dns.NextLabel(name, 0)
	if end {
		return z // of a child of the root, or the root itself
	}
	if parent := h.nearest(name[off:]); parent != nil && parent.Snapshot().Lookup(name, qtype).Rcode == dns.RcodeSuccess {
		return parent
	}
	return z
}

// followElsewhere completes a response whose chain goes on outside the zones that were searched. It asks the server itself for the
// target, as CoreDNS's file plugin does: another block may have it, or a plugin forward it. The rcode is that of the last name
// (RFC 6604 section 3). If the server has nothing to say about the target, the response ends with the CNAME, and the client
// has to look the target up.
//
// The names passed so far travel with the question, so that a chain which comes back here is bounded over all zones and
// blocks, and a loop ends. dnsserver.LoopKey does the same for the plugins that use it.
func followElsewhere(ctx context.Context, w dns.ResponseWriter, r, m *dns.Msg, target string, chain []string) {
	chain = slices.Clip(chain)
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == dns.TypeCNAME {
			chain = append(chain, rr.Header().Name)
		}
	}
	asked, _ := ctx.Value(dnsserver.LoopKey{}).(int)
	ctx = context.WithValue(ctx, dnsserver.LoopKey{}, asked+1)
	ctx = context.WithValue(ctx, chainKey{}, chain)
	reply, err := upstream.New().Lookup(ctx, request.Request{W: w, Req: r}, target, r.Question[0].Qtype)
	if err != nil || reply == nil {
		return
	}
	switch reply.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeYXDomain, dns.RcodeServerFailure:
	default:
		return // REFUSED, most often: no block has the target
	}
	m.Rcode = reply.Rcode
	m.Truncated = m.Truncated || reply.Truncated
	m.Answer = append(m.Answer, reply.Answer...)
	m.Ns = append(m.Ns, reply.Ns...)
	for _, rr := range reply.Extra {
		// These belong to the one reply, which gets its own.
		if t := rr.Header().Rrtype; t != dns.TypeOPT && t != dns.TypeTSIG {
			m.Extra = append(m.Extra, rr)
		}
	}
}

// answerer returns the function that answers simple queries of a zone without parsing them into a dns.Msg, nil for a zone
// of another block. A zone that cannot be served is left to ServeDNS.
func (h *Handler) answerer(origin string) listener.AnswerFunc {
	s, ok := h.zones[origin]
	if !ok {
		return nil
	}
	return func(response []byte, limit int) ([]byte, bool) {
		z := s.serving()
		if z == nil {
			return response, false
		}
		return z.Snapshot().Respond(response, limit)
	}
}
