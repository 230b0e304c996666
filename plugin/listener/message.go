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

// serve answers one message. It calls done when it no longer needs the octets, before the request goes to the plugins.
func (s *server) serve(w *responseWriter, wire []byte, done func()) {
	defer func() {
		if s.debug {
			return
		}
		if failure := recover(); failure != nil {
			log.Errorf("Recovered from panic in listener: %q %v\n%s", s.Addr, failure, debug.Stack())
			vars.Panic.Inc()
			s.fail(w)
		}
	}()
	request := s.inspect(w, wire)
	done()
	if request == nil {
		return
	}
	if request.Opcode == dns.OpcodeQuery && request.Question[0].Qtype == dns.TypeTKEY && len(s.negotiators) > 0 {
		s.negotiate(w, request)
		return
	}
	s.ServeDNS(&requestContext{Context: context.Background(), server: s.Server, transaction: w.transaction}, w, request)
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
	if len(wire) < headerSize {
		s.observer.Dropped("short")
		return nil
	}
	w.id = binary.BigEndian.Uint16(wire)
	flags := binary.BigEndian.Uint16(wire[2:])
	if flags&(1<<15) != 0 {
		s.observer.Dropped("response") // an answer to an answer might go on for ever
		return nil
	}
	w.opcode = int(flags>>11) & 0xf
	known := w.opcode == dns.OpcodeQuery || w.opcode == dns.OpcodeNotify || w.opcode == dns.OpcodeUpdate

	request := new(dns.Msg)
	if err := request.Unpack(wire); err != nil || !complete(request, wire) {
		if known {
			w.reject(dns.RcodeFormatError)
		} else {
			w.reject(dns.RcodeNotImplemented)
		}
		return nil
	}
	w.request = request
	w.limit = replyLimit(request, w.stream)

	// Who signed it comes first, so that whatever is answered below is signed for them.
	transaction, err := s.verifier.Verify(wire, request)
	if err != nil {
		s.refuse(w, err)
		return nil
	}
	w.transaction = transaction

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

// acceptable reports whether the sections are as full as the opcode allows. An UPDATE is as large as it likes: what is
// in it is looked at where its zone is known.
func acceptable(m *dns.Msg) bool {
	if len(m.Question) != 1 {
		return false
	}
	if m.Opcode == dns.OpcodeUpdate {
		return options(m) <= 1
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

// refuse answers a message whose TSIG record did not verify (RFC 8945 section 5.2).
func (s *server) refuse(w *responseWriter, err error) {
	var failure *gsstsig.VerifyError
	if !errors.As(err, &failure) {
		w.reject(dns.RcodeServerFailure)
		return
	}
	s.observer.VerificationFailed(failure.Kind.String())
	log.Debugf("%s: message from %s: %v", s.Addr, w.RemoteAddr(), failure)
	wire, err := failure.Reply(w.request)
	if err != nil {
		log.Errorf("%s: answer to a message with a bad TSIG record: %v", s.Addr, err)
		return
	}
	w.sendWire(wire)
}

// negotiate answers a TKEY query. The key name in its question is in no zone, so CoreDNS could not route it.
func (s *server) negotiate(w *responseWriter, request *dns.Msg) {
	negotiator := s.negotiators[0]
	for _, n := range s.negotiators {
		if n.Claims(request) {
			negotiator = n
			break
		}
	}
	response, signer := negotiator.Negotiate(request, w.client(), w.transaction)
	if signer != nil {
		w.transaction = signer
	}
	if err := w.WriteMsg(response); err != nil {
		log.Debugf("%s: answer to a TKEY query: %v", s.Addr, err)
	}
}
