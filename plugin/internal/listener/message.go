package listener

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime/debug"

	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

const headerSize = 12

// serve answers one message of that class, and reports whether the client may go on. It calls done when it no longer
// needs the octets, before the request goes to the plugins.
func (s *server) serve(w *responseWriter, wire []byte, as class, done func()) (ok bool) {
	defer s.recovered(func() { s.fail(w) })
	if as == discarded {
		done()
		return false
	}
	request := s.inspect(w, wire)
	done()
	if request == nil {
		return true
	}
	switch as {
	case overdrawn:
		s.postpone(w)
		return true
	case suspect:
		if !w.enter(&s.guard.suspects) {
			s.observer.Dropped(Suspects)
			return false
		}
		defer w.leave()
	}
	if request.Opcode == dns.OpcodeQuery && request.Question[0].Qtype == dns.TypeTKEY && s.negotiator != nil {
		s.negotiate(w, request)
		return true
	}
	s.ServeDNS(&requestContext{Context: context.Background(), server: s.Server, transaction: w.transaction}, w, request)
	return true
}

// recovered is for defer: it keeps a panic from ending the process, unless the debug plugin wants that, and calls then.
func (s *server) recovered(then func()) {
	if s.debug {
		return
	}
	if failure := recover(); failure != nil {
		log.Errorf("Recovered from panic in listener: %q %v\n%s", s.Addr, failure, debug.Stack())
		vars.Panic.Inc()
		then()
	}
}

// fail answers after a panic. What panicked may have been the packing or signing of an answer, and do it again.
func (s *server) fail(w *responseWriter) {
	defer func() {
		if failure := recover(); failure != nil {
			log.Errorf("Recovered from panic in listener: %q %v, no answer sent", s.Addr, failure)
		}
	}()
	w.reject(dns.RcodeServerFailure)
}

// inspect turns octets into a verified request. If there is none it has answered, or decided not to, and returns nil.
func (s *server) inspect(w *responseWriter, wire []byte) *dns.Msg {
	known := w.opcode == dns.OpcodeQuery || w.opcode == dns.OpcodeNotify || w.opcode == dns.OpcodeUpdate

	// Who signed it comes first: it is cheaper to find out than what is in it, and whatever is answered below is signed
	// for them.
	transaction, err := s.verifier.Verify(wire, nil)
	if err != nil {
		s.refuse(w, wire, known, err)
		return nil
	}
	w.transaction = transaction

	request := new(dns.Msg)
	if err := request.Unpack(wire); err != nil || !complete(request, wire) || transaction == nil && hasTSIG(request) {
		if known {
			w.reject(dns.RcodeFormatError)
		} else {
			w.reject(dns.RcodeNotImplemented)
		}
		return nil
	}
	w.request = request
	w.limit = replyLimit(request, w.stream)

	switch {
	case !known:
		w.reject(dns.RcodeNotImplemented)
	case !acceptable(request):
		w.reject(dns.RcodeFormatError)
	default:
		return request
	}
	return nil
}

// hasTSIG reports whether there is a TSIG record in a message. Where the verifier has seen none there is none: two
// parsers that disagree are an attacker's opening.
func hasTSIG(m *dns.Msg) bool {
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				return true
			}
		}
	}
	return false
}

// complete reports whether the message holds all the records that its header counts. Unpack does not mind if the octets
// end before.
func complete(m *dns.Msg, wire []byte) bool {
	for i, n := range []int{len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra)} {
		if n != int(binary.BigEndian.Uint16(wire[4+2*i:])) {
			return false
		}
	}
	return true
}

// acceptable reports whether the sections are as full as the opcode allows. An UPDATE is as large as it likes, and of
// class IN, since there is no zone of another: what is in it is looked at where its zone is known.
func acceptable(m *dns.Msg) bool {
	if len(m.Question) != 1 {
		return false
	}
	if m.Opcode == dns.OpcodeUpdate {
		return m.Question[0].Qclass == dns.ClassINET && options(m) <= 1
	}
	// An answer comes with NOTIFY (RFC 1996 section 3.7) and with some clients' TKEY, an authority record with IXFR
	// (RFC 1995 section 3), additional ones are OPT, TSIG and the TKEY of others.
	additional := 2
	if m.Question[0].Qtype == dns.TypeTKEY {
		additional++
	}
	return len(m.Answer) <= 1 && len(m.Ns) <= 1 && len(m.Extra) <= additional && options(m) <= 1
}

// options counts OPT records, of which a message has one at most (RFC 6891 section 6.1.1).
func options(m *dns.Msg) int {
	n := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n
}

// refuse answers a message that did not verify (RFC 8945 section 5.2), unless its source has been told too much.
func (s *server) refuse(w *responseWriter, wire []byte, known bool, err error) {
	var failure *gsstsig.VerifyError
	if !errors.As(err, &failure) {
		w.reject(dns.RcodeServerFailure)
		return
	}
	if failure.Kind == gsstsig.Malformed && !failure.TSIG() {
		// Not a matter of signatures.
		if !known {
			w.reject(dns.RcodeNotImplemented)
			return
		}
	} else {
		s.observer.VerificationFailed(w.client(), failure)
	}
	if failure.Kind == gsstsig.BadSig {
		s.guard.forged(w.source, failure.WireKeyName(), w.stream)
		if !s.guard.mayTell(w.source, w.stream) {
			s.observer.Dropped(Errors)
			return
		}
	}
	var request *dns.Msg
	if failure.NeedsRequest() {
		request = new(dns.Msg)
		if request.Unpack(wire) != nil {
			request = nil
		}
	}
	reply, err := failure.Reply(request)
	if err != nil {
		log.Errorf("%s: answer to a message with a bad TSIG record: %v", s.Addr, err)
		return
	}
	if !w.stream && len(reply) > len(wire) && !failure.NeedsRequest() {
		// Names that were compressed are not any more. Nobody shall have more sent to a stranger than they send.
		reply = headerAlone(reply)
	}
	w.sendWire(reply)
}

// headerAlone cuts an answer down to its header and says so.
func headerAlone(reply []byte) []byte {
	const truncated = 0x02
	reply = reply[:headerSize]
	reply[2] |= truncated
	clear(reply[4:])
	return reply
}

// negotiate answers a TKEY query. The key name in its question is in no zone, so CoreDNS could not route it.
func (s *server) negotiate(w *responseWriter, request *dns.Msg) {
	if !w.enter(&s.guard.handshakes) {
		s.observer.Dropped(Handshakes)
		if w.stream {
			w.reject(dns.RcodeServerFailure)
		}
		// By UDP the client asks again, when there may be fewer.
		return
	}
	defer w.leave()
	// Those that it waited with may have failed by now.
	unsigned := w.transaction == nil
	if unsigned && s.guard.overdrawn(w.source, w.stream) {
		s.postpone(w)
		return
	}

	response, signer := s.negotiator.Negotiate(request, w.client(), w.transaction)
	if signer != nil {
		w.transaction = signer
	}
	if unsigned {
		s.guard.judge(w.source, w.stream, signer != nil)
	}
	if !w.stream && (response.Len() > w.size || response.Len() > w.room()) {
		response = gsstsig.WithoutEcho(request, response)
	}
	// The address of a UDP message may be somebody else's, who must not be sent more than was sent here. What a client
	// gets is less than it sends: a ticket is longer than the answer to it. With a context made, whoever asked is known,
	// and gets its signature on top.
	if !w.stream && response.Len() > w.size {
		response = truncated(response)
	}
	if err := w.WriteMsg(response); err != nil {
		log.Debugf("%s: answer to a TKEY query: %v", s.Addr, err)
	}
}

// postpone answers a TKEY query that is not tried because too many from its source have failed. By UDP the source may be
// the victim of somebody who writes its address: it is told to come by TCP, where that is found out.
func (s *server) postpone(w *responseWriter) {
	s.observer.Dropped(Failures)
	if w.stream {
		w.reject(dns.RcodeRefused)
		return
	}
	m := new(dns.Msg)
	m.SetReply(w.request)
	m.Truncated = true
	// The client is gone, or it asks again.
	_ = w.WriteMsg(m)
}
