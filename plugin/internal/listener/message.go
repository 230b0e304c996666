package listener

import (
	"bytes"
	"context"
	"errors"
	"runtime/debug"

	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

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
	if as == elsewhere {
		as = s.findKey(w)
	}
	switch as {
	case discarded:
		w.discarded = true
		return false
	case ignored:
		return false
	}
	w.began = s.limiter.work.clock()
	ok = s.inspect(w, wire[:w.size])
	if ok && w.opcode == dns.OpcodeUpdate {
		w.update = bytes.Clone(wire[:w.size])
	}
	return ok
}

// handle answers the request that accept has made.
func (s *server) handle(w *responseWriter, as class) {
	defer s.recovered(func() { s.replyFailure(w) })
	if !s.beginWork(w) {
		return
	}
	defer s.endWork(w)
	if isTKEY(w.request) && s.authenticator.Negotiates() && (!s.otherBlocks || offersContext(w.request)) {
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
	var writer dns.ResponseWriter = w
	if w.opcode == dns.OpcodeUpdate {
		writer = updateWriter{w}
	}
	s.ServeDNS(&requestContext{Context: context.Background(), server: s.Server, writer: w}, writer, w.request)
}

// recovered is deferred. It keeps a panic from ending the process, unless the debug plugin is in use, and calls then after
// one.
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

// replyFailure answers SERVFAIL after a panic. If packing or signing an answer panicked, it may panic again.
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
// Blocks that use gsstsig refuse some requests that other blocks answer. Where the address has both, CoreDNS first finds
// the block of such a request, and its siteHandler then decides.
func (s *server) inspect(w *responseWriter, wire []byte) bool {
	// Verify first: it costs less than Unpack, and the error replies below are signed for a verified client.
	w.edns = w.message.HasOPT()
	transaction, err := w.message.Authenticate()
	w.message = gsstsig.Message{} // the octets are used again
	if err != nil && !errors.Is(err, gsstsig.ErrUnsigned) && !errors.As(err, &w.failure) {
		w.reject(dns.RcodeServerFailure)
		return false
	}
	w.transaction = transaction
	if w.failure != nil && !s.otherBlocks {
		s.refuse(w)
		return false
	}

	request := new(dns.Msg)
	if err := request.Unpack(wire); err != nil {
		if w.opcode == dns.OpcodeUpdate {
			request, err = unpackUpdate(wire)
			w.notUnpacked = true
		}
		if err != nil {
			s.rejectForm(w)
			return false
		}
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
		switch {
		case s.refused(w):
		case request.Question[0].Qclass == dns.ClassANY || request.Question[0].Qclass == 0:
			s.rejectForm(w) // no zone is of these, as for BIND
		default:
			w.reject(dns.RcodeNotAuth) // there is no zone of another class (RFC 2136 section 3.1.2)
		}
	default:
		return true
	}
	return false
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

// allowErrorReply reports whether an error may be sent as the reply, and charges the source for it, once for a message. The
// sender of a message whose signature verified is not charged.
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

// allowFailureReply records that a message did not verify, and reports whether that may be replied. A reply that is signed
// goes to a client that holds the key, and is not limited.
func (s *server) allowFailureReply(w *responseWriter) bool {
	failure := w.failure
	if failure.TSIG() {
		s.observer.VerificationFailed(w.client(), failure)
	}
	if failure.Kind == gsstsig.BadSig {
		s.limiter.recordForgery(w.source, failure.WireKeyName(), w.stream)
	}
	return failure.SignsReply() || s.allowErrorReply(w)
}

// refuse answers a message that did not verify (RFC 8945 section 5.2), unless its source has been sent too many errors.
func (s *server) refuse(w *responseWriter) {
	failure := w.failure
	if !s.allowFailureReply(w) {
		return
	}
	if failure.Kind == gsstsig.Malformed {
		s.rejectForm(w)
		return
	}
	reply, err := failure.Reply()
	if err != nil {
		log.Errorf("%s: answer to a message with a bad TSIG record: %v", s.Addr, err)
		return
	}
	if !w.stream && len(reply) > w.size && !failure.SignsReply() {
		// The reply repeats names without compression. A forged source address must not get more than was sent.
		reply = headerAlone(reply)
	}
	// The client is gone, or it asks again.
	_ = w.sendWire(reply)
}

// RefuseReplayed answers the update of ctx, which another server has done before, as one that came to this server twice. The
// handler answers no more.
func RefuseReplayed(ctx context.Context) {
	w, ok := ctx.Value(writerKey{}).(*responseWriter)
	if !ok || w.transaction == nil {
		return
	}
	w.failure, w.transaction = w.transaction.Replayed(w.update), nil
	w.server.refuse(w)
}

// headerAlone truncates an answer to its header, and sets TC.
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
	w.padded = w.pads()
	if !w.acquire(s.limiter.handshakes) {
		s.observer.Dropped(Handshakes)
		if w.stream {
			w.reject(dns.RcodeServerFailure)
		}
		// By UDP the client tries again later.
		return
	}
	defer w.release()
	// Other handshakes of the source may have failed while this one waited.
	unsigned := w.transaction == nil
	if unsigned && s.limiter.handshakesLimited(w.source, w.stream) {
		s.replyTruncated(w)
		return
	}

	// Slots are for work. While other servers are waited for, another handshake has this one.
	response, signer := s.authenticator.NegotiateWaiting(request, w.client(), w.transaction, w.release)
	if signer != nil {
		w.transaction = signer
	}
	if unsigned {
		s.limiter.recordHandshake(w.source, w.stream, signer != nil)
	}
	if !w.stream && (response.Len() > w.size || response.Len() > w.room()) {
		response = gsstsig.WithoutEcho(request, response)
	}
	// The source address of a UDP message may be forged, so that the reply must not be larger than the query. A client that
	// sends a ticket gets less, because a ticket is longer than the answer to it. The signature comes on top where a
	// context was made, because then the client is known.
	if !w.stream && response.Len() > w.size {
		response = truncated(response)
	}
	if err := w.WriteMsg(response); err != nil {
		log.Debugf("%s: answer to a TKEY query: %v", s.Addr, err)
	}
}

// replyTruncated answers a TKEY query that is not tried because too many from its source have failed. By UDP the source
// address may be forged, so the reply has TC: the real client comes back by TCP. By TCP the reply is REFUSED.
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
