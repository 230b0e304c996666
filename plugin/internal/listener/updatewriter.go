package listener

import (
	"strings"

	"github.com/miekg/dns"
)

// updateWriter is the response writer of an UPDATE. If no server block has the update's zone, no plugin sees the message:
// CoreDNS answers REFUSED, or NOTIMP where the name is in a block that takes no updates, such as one for the root. For a
// server without the zone the answer is NOTAUTH (RFC 2136 section 3.1.2), signed if the update was.
type updateWriter struct{ *responseWriter }

// WriteMsg implements dns.ResponseWriter.
func (w updateWriter) WriteMsg(m *dns.Msg) error {
	if w.routed || m.Rcode != dns.RcodeRefused && m.Rcode != dns.RcodeNotImplemented ||
		w.server.zones[strings.ToLower(w.request.Question[0].Name)] {
		return w.responseWriter.WriteMsg(m)
	}
	if w.server.refused(w.responseWriter) {
		return nil // its signature is wrong
	}
	w.server.observer.NotAuthoritative(w.server.Addr, w.RemoteAddr(), w.transaction, w.request)
	reply := *m
	reply.Rcode = dns.RcodeNotAuth
	return w.responseWriter.WriteMsg(&reply)
}
