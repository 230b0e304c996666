package gsstsig

import (
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// query answers a QUERY from the zone's current snapshot. It takes no lock and never waits for a writer.
func (h *Handler) query(z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	found := z.Snapshot().Lookup(r.Question[0].Name, r.Question[0].Qtype)
	m := new(dns.Msg)
	m.SetReply(r)
	m.Rcode = found.Rcode
	m.Authoritative = found.Authoritative
	m.Answer = found.Answer
	m.Ns = found.Authority
	m.Extra = found.Additional
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, err
	}
	return dns.RcodeSuccess, nil
}

// answerer returns the function that answers simple queries of a zone without parsing them into a dns.Msg, nil for a zone
// of another block.
func (h *Handler) answerer(origin string) listener.AnswerFunc {
	z, ok := h.zones[origin]
	if !ok {
		return nil
	}
	return func(response []byte, limit int) ([]byte, bool) { return z.Snapshot().Respond(response, limit) }
}
