package listener

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime/debug"

	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

const headerSize = 12

// serve answers one message of that class.
func (s *server) serve(w *responseWriter, wire []byte, as class) {
	if s.accept(w, wire, as) {
		s.handle(w, as)
	}
}

// accept makes a verified request of the octets of a message, and reports whether there is one. If not, it has answered or
// decided not to. The octets are not needed afterwards.
func (s *server) accept(w *responseWriter, wire []byte, as class) (ok bool) {
	defer s.recovered(func() {
		s.replyFailure(w)
		ok = false
	})
	switch as {
	case discarded:
		w.discarded = true
		return false
	case ignored:
		return false
	}
	return s.inspect(w, wire[:w.size])
}

// handle answers the request that accept has made.
func (s *server) handle(w *responseWriter, as class) {
	defer s.recovered(func() { s.replyFailure(w) })
	if isTKEY(w.request) && s.negotiator != nil && (!s.otherBlocks || offersContext(w.request)) {
		switch {
		case s.refused(w):
		case as == rateLimited:
			s.replyTruncated(w)
		default:
			s.negotiate(w)
		}
		return
	}
	if as == suspect {
		if !w.acquire(s.limiter.suspects) {
			s.observer.Dropped(Suspects)
			w.discarded = true
			return
		}
		defer w.release()
	}
	s.ServeDNS(&requestContext{Context: context.Background(), server: s.Server, writer: w}, w, w.request)
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

// replyFailure answers after a panic. What panicked may have been the packing or signing of an answer, and do it again.
func (s *server) replyFailure(w *responseWriter) {
	defer func() {
		if failure := recover(); failure != nil {
			log.Errorf("Recovered from panic in listener: %q %v, no answer sent", s.Addr, failure)
		}
	}()
	w.reject(dns.RcodeServerFailure)
}

// inspect verifies and unpacks a message, and reports whether there is a request to handle. If not, it has answered or
// decided not to.
//
// What the blocks that use gsstsig refuse and CoreDNS answers is handled where there are other blocks: CoreDNS finds out
// whose the request is, and the siteHandler there whether to refuse it.
func (s *server) inspect(w *responseWriter, wire []byte) bool {
	// Who signed it comes first: it is cheaper to find out than what is in it, and whatever is answered below is signed
	// for them.
	transaction, err := s.verifier.Verify(wire, nil)
	if err != nil && !errors.As(err, &w.failure) {
		w.reject(dns.RcodeServerFailure)
		return false
	}
	w.transaction = transaction
	if w.failure != nil && !s.otherBlocks {
		if w.failure.NeedsRequest() {
			if request := new(dns.Msg); request.Unpack(wire) == nil {
				w.request = request
			}
		}
		s.refuse(w)
		return false
	}

	request := new(dns.Msg)
	if request.Unpack(wire) != nil {
		s.rejectForm(w)
		return false
	}
	w.request = request
	w.limit = replyLimit(request, w.stream)
	if transaction == nil && hasTSIG(request) {
		w.tsigStatus = tsigStatus(w.failure)
	}
	w.badForm = !complete(request, wire) || !validOPT(request) || w.failure == nil && w.tsigStatus != nil
	switch {
	case !knownOpcode(w.opcode) || !acceptable(request):
		s.rejectForm(w)
	case w.badForm && !s.otherBlocks:
		s.rejectForm(w)
	case w.opcode == dns.OpcodeUpdate && request.Question[0].Qclass != dns.ClassINET:
		// There is no zone of another class (RFC 2136 section 3.1.2).
		s.rejectUnless(s.refused(w), w, dns.RcodeNotAuth)
	default:
		return true
	}
	return false
}

// rejectUnless rejects a request unless it is answered.
func (s *server) rejectUnless(answered bool, w *responseWriter, rcode int) {
	if !answered {
		w.reject(rcode)
	}
}

// refused answers a request that a block using gsstsig refuses before any plugin sees it, and reports whether it is one.
func (s *server) refused(w *responseWriter) bool {
	switch {
	case w.failure != nil:
		s.refuse(w)
	case w.badForm:
		s.rejectForm(w)
	default:
		return false
	}
	return true
}

func knownOpcode(opcode int) bool {
	return opcode == dns.OpcodeQuery || opcode == dns.OpcodeNotify || opcode == dns.OpcodeUpdate
}

func isTKEY(m *dns.Msg) bool {
	return m.Opcode == dns.OpcodeQuery && m.Question[0].Qtype == dns.TypeTKEY
}

// Modes of TKEY that gsstsig answers (RFC 2930 section 2.5).
const (
	modeGSS    = 3
	modeDelete = 5
)

// offersContext reports whether a TKEY query is one of GSS-TSIG (RFC 3645): clients put its record into the additional
// section, or into the answer section as Windows does.
func offersContext(m *dns.Msg) bool {
	for _, section := range [...][]dns.RR{m.Extra, m.Answer} {
		for _, rr := range section {
			if tkey, ok := rr.(*dns.TKEY); ok && (tkey.Mode == modeGSS || tkey.Mode == modeDelete) {
				return true
			}
		}
	}
	return false
}

// tsigStatus is what plugins are told of a TSIG record that did not verify, in the terms of miekg/dns.
func tsigStatus(failure *gsstsig.VerifyError) error {
	if failure == nil {
		return dns.ErrSig
	}
	switch failure.Kind {
	case gsstsig.BadKey:
		return dns.ErrSecret
	case gsstsig.BadTime:
		return dns.ErrTime
	}
	return dns.ErrSig
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

// acceptable reports whether the sections are as full as the opcode allows. An UPDATE is as large as it likes: what is in
// it is looked at where its zone is known.
func acceptable(m *dns.Msg) bool {
	if len(m.Question) != 1 {
		return false
	}
	if m.Opcode == dns.OpcodeUpdate {
		return true
	}
	// An answer comes with NOTIFY (RFC 1996 section 3.7) and with some clients' TKEY, an authority record with IXFR
	// (RFC 1995 section 3), additional ones are OPT, TSIG and the TKEY of others.
	additional := 2
	if m.Question[0].Qtype == dns.TypeTKEY {
		additional++
	}
	return len(m.Answer) <= 1 && len(m.Ns) <= 1 && len(m.Extra) <= additional
}

// validOPT reports whether a message has one OPT record at most, in the additional section and owned by the root
// (RFC 6891 sections 6.1.1 and 6.1.2).
func validOPT(m *dns.Msg) bool {
	for _, section := range [...][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeOPT {
				return false
			}
		}
	}
	n := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			if n++; rr.Header().Name != "." {
				return false
			}
		}
	}
	return n <= 1
}

// messageEnd returns the offset of the end of the last record that the header counts. It reports false if the octets end
// before.
func messageEnd(wire []byte) (end int, ok bool) {
	at := headerSize
	name := func() bool {
		for at < len(wire) {
			switch label := wire[at]; {
			case label == 0:
				at++
				return true
			case label&0xC0 == 0xC0:
				at += 2
				return true
			case label&0xC0 != 0:
				return false
			default:
				at += 1 + int(label)
			}
		}
		return false
	}
	for range binary.BigEndian.Uint16(wire[4:]) {
		if !name() {
			return 0, false
		}
		at += 4
	}
	records := 0
	for i := 6; i < headerSize; i += 2 {
		records += int(binary.BigEndian.Uint16(wire[i:]))
	}
	for range records {
		if !name() || at+10 > len(wire) {
			return 0, false
		}
		at += 10 + int(binary.BigEndian.Uint16(wire[at+8:]))
	}
	return at, at <= len(wire)
}

// allowErrorReply reports whether an error may be replied, and charges the source for it, once for a message. Whoever has
// signed the message is known, and not charged.
func (s *server) allowErrorReply(w *responseWriter) bool {
	if w.charged || w.transaction != nil {
		return true
	}
	w.charged = true
	if s.limiter.allowErrorReply(w.source, w.stream) {
		return true
	}
	s.observer.Dropped(Errors)
	w.discarded = true
	return false
}

// rejectForm answers a message whose form is wrong, or whose opcode is unknown, unless its source has been sent too many
// errors.
func (s *server) rejectForm(w *responseWriter) {
	switch {
	case !s.allowErrorReply(w):
	case knownOpcode(w.opcode):
		w.reject(dns.RcodeFormatError)
	default:
		w.reject(dns.RcodeNotImplemented)
	}
}

// refuse answers a message that did not verify (RFC 8945 section 5.2), unless its source has been sent too many errors.
func (s *server) refuse(w *responseWriter) {
	failure := w.failure
	if failure.TSIG() {
		s.observer.VerificationFailed(w.client(), failure)
	}
	if failure.Kind == gsstsig.BadSig {
		s.limiter.recordForgery(w.source, failure.WireKeyName(), w.stream)
	}
	if failure.Kind == gsstsig.Malformed {
		s.rejectForm(w)
		return
	}
	if !failure.NeedsRequest() && !s.allowErrorReply(w) {
		return
	}
	reply, err := failure.Reply(w.request)
	if err != nil {
		log.Errorf("%s: answer to a message with a bad TSIG record: %v", s.Addr, err)
		return
	}
	if !w.stream && len(reply) > w.size && !failure.NeedsRequest() {
		// Names that were compressed are not any more. Nobody shall have more sent to a stranger than they send.
		reply = headerAlone(reply)
	}
	// The client is gone, or it asks again.
	_ = w.sendWire(reply)
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
func (s *server) negotiate(w *responseWriter) {
	request := w.request
	if badVersion, err := edns.Version(request); err != nil {
		// The client is gone, or it asks again.
		_ = w.WriteMsg(badVersion)
		return
	}
	w.limitUDP()
	if !w.acquire(s.limiter.handshakes) {
		s.observer.Dropped(Handshakes)
		if w.stream {
			w.reject(dns.RcodeServerFailure)
		}
		// By UDP the client asks again, when there may be fewer.
		return
	}
	defer w.release()
	// Those that it waited with may have failed by now.
	unsigned := w.transaction == nil
	if unsigned && s.limiter.handshakesLimited(w.source, w.stream) {
		s.replyTruncated(w)
		return
	}

	response, signer := s.negotiator.Negotiate(request, w.client(), w.transaction)
	if signer != nil {
		w.transaction = signer
	}
	if unsigned {
		s.limiter.recordHandshake(w.source, w.stream, signer != nil)
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

// replyTruncated answers a TKEY query that is not tried because too many from its source have failed. By UDP the source may be
// the victim of somebody who writes its address: it is told to come by TCP, where that is found out.
func (s *server) replyTruncated(w *responseWriter) {
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
