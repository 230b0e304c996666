package listener

import (
	"context"
	"encoding/binary"

	"github.com/miekg/dns"
)

// class is the result of classify.
type class int

const (
	discarded   class = iota // gets no answer, and by TCP ends the connection
	ignored                  // gets no answer
	invalid                  // gets an error reply
	rateLimited              // a handshake from a source whose handshakes have failed too often
	suspect                  // an unsigned update from a source that was sent too many errors
	ordinary                 // anything else that is unsigned
	elsewhere                // names a key that another server may have made a moment ago
	established              // names a known key
)

// classify decides how a message is handled. It comes before everything else, because under a flood it is all the work that
// most messages cause: it walks over the octets, looks the key up, and asks the accounts of the source. It does not unpack
// the message or check a MAC or a ticket.
func (s *server) classify(w *responseWriter, wire []byte) (as class) {
	defer s.recovered(func() { as = discarded })
	w.charged = false // an exchange whose message was discarded is used again
	if len(wire) < headerSize {
		return s.ignore(w, Short)
	}
	flags := binary.BigEndian.Uint16(wire[2:])
	if flags&(1<<15) != 0 {
		return s.ignore(w, Response) // an answer to a response could start a loop
	}
	w.id = binary.BigEndian.Uint16(wire)
	w.flags = flags
	w.opcode = int(flags>>11) & 0xf
	w.size = len(wire)
	w.limit = dns.MinMsgSize

	w.message = s.authenticator.Inspect(wire)
	if w.message.Malformed() {
		// Octets behind the last record mean nothing to BIND and to CoreDNS.
		if end, ok := messageEnd(wire); ok && end < len(wire) {
			w.size = end
			w.message = s.authenticator.Inspect(wire[:end])
		}
	}
	switch m := &w.message; {
	case m.KeyElsewhere():
		if s.limiter.errorsExhausted(w.source, w.stream) && !s.otherBlocks {
			return s.refuseKey(w)
		}
		return elsewhere
	case m.Malformed(), m.Signed() && !m.KeyHeld():
		return s.refuseKey(w)
	case m.Signed():
		return s.admitSigned(w)
	case w.opcode == dns.OpcodeQuery && m.QuestionType() == dns.TypeTKEY && s.authenticator.Negotiates():
		if !s.limiter.handshakesLimited(w.source, w.stream) {
			return ordinary
		}
		if !s.limiter.allowErrorReply(w.source, w.stream) {
			s.observer.Dropped(Failures)
			return discarded
		}
		return rateLimited
	case w.opcode == dns.OpcodeUpdate && s.limiter.errorsExhausted(w.source, w.stream):
		return suspect
	}
	return ordinary
}

// refuseKey decides about a message that is malformed or names a key that there is not.
func (s *server) refuseKey(w *responseWriter) class {
	switch {
	case s.otherBlocks:
		return ordinary // one of them may answer it
	case !s.allowErrorReply(w):
		return discarded
	}
	return invalid
}

// admitSigned decides about a message with a known key.
func (s *server) admitSigned(w *responseWriter) class {
	var name [maxName]byte
	w.sender = w.source.With(w.message.AppendKeyName(name[:0]))
	if s.limiter.forgeriesLimited(w.sender, w.stream) {
		s.observer.Dropped(Forgeries)
		return discarded
	}
	if !w.stream && !s.limiter.work.hasRoom(w.sender) {
		s.observer.Dropped(Busy)
		return discarded
	}
	return established
}

// findKey waits for what is known elsewhere about the key of a message, and decides about it then. It is not for a goroutine
// that reads for others.
func (s *server) findKey(w *responseWriter) class {
	if w.message.FindKey(context.Background(), w.client().Addr(), w.stream) {
		return s.admitSigned(w)
	}
	return s.refuseKey(w)
}

// ignore leaves a message unanswered. A TCP connection goes on until its source has sent too many of these.
func (s *server) ignore(w *responseWriter, reason Reason) class {
	s.observer.Dropped(reason)
	if w.stream && s.limiter.allowErrorReply(w.source, w.stream) {
		return ignored
	}
	return discarded
}
