package gsstsig

import (
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// query answers a QUERY from the zone's current snapshot. It takes no lock and never waits for a writer.
func (h *Handler) query(z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	question := r.Question[0]
	switch question.Qtype {
	case dns.TypeAXFR, dns.TypeIXFR:
		// The transfer plugin takes what it is configured for before it comes here.
		return dns.RcodeRefused, nil
	}
	found := z.Snapshot().Lookup(question.Name, question.Qtype)
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
