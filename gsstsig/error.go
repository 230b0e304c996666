package gsstsig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// ErrUnsigned is the error of Authenticate for a message without a TSIG record.
// It is no fault: whether such a message is answered is the caller's decision.
var ErrUnsigned = errors.New("gsstsig: the message is not signed")

// VerifyErrorKind says which check a request failed.
type VerifyErrorKind int

const (
	// Malformed: FORMERR, without TSIG. The message is broken, has two TSIG
	// records, or one out of place or with a wrong class, TTL or length.
	Malformed VerifyErrorKind = iota + 1
	// BadKey: NOTAUTH, TSIG error BADKEY, unsigned. The key is unknown,
	// expired, deleted, or one of another algorithm.
	BadKey
	// BadSig: NOTAUTH, TSIG error BADSIG, unsigned. The MAC is wrong, or the
	// message was seen before: any in a context, an update with a static key.
	BadSig
	// BadTime: NOTAUTH, TSIG error BADTIME, signed, with the server's time.
	BadTime
	// BadTrunc: NOTAUTH, TSIG error BADTRUNC, signed. The MAC is right as far
	// as it goes, but it was cut short.
	BadTrunc
)

// String returns a word for logs and metrics.
func (k VerifyErrorKind) String() string {
	switch k {
	case Malformed:
		return "malformed"
	case BadKey:
		return "badkey"
	case BadSig:
		return "badsig"
	case BadTime:
		return "badtime"
	case BadTrunc:
		return "badtrunc"
	}
	return "unknown"
}

// VerifyError is why a message did not verify. It makes the answer that the
// message is due.
type VerifyError struct {
	Kind      VerifyErrorKind // the check that failed, and with it the answer
	KeyName   string          // presentation form; empty when Malformed
	Algorithm string          // as the message names it
	Err       error           // the cause; may be nil

	header          [tsig.HeaderSize]byte
	question        []byte // of the message, on the wire; nil if it has none or several
	opt             bool   // the message has an OPT record
	name, algorithm string // on the wire
	timeSigned      uint64
	fudge           uint16
	now             time.Time
	transaction     *Transaction // for the answers that are signed
}

// Error says what is wrong, without key material.
func (e *VerifyError) Error() string {
	text := "TSIG " + e.Kind.String()
	if e.KeyName != "" {
		text += fmt.Sprintf(" (key %s, algorithm %s)", e.KeyName, e.Algorithm)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *VerifyError) Unwrap() error { return e.Err }

// Fix says what the administrator of the client or the server does about the
// error. It is empty where there is nothing to add to Error.
func (e *VerifyError) Fix() string {
	gss := e.algorithm == wireGSS || e.algorithm == wireGSSMicrosoft
	switch {
	case errors.Is(e.Err, errHMACTime):
		return "give each client an HMAC key of its own, or set their clocks by NTP"
	case e.Kind == BadTime:
		return "set the clocks of client and server, by NTP"
	case e.Kind == BadKey && errors.Is(e.Err, krb5.ErrNoKey):
		return "give this server's keytab that key: servers that share contexts have the same keys"
	case e.Kind == BadKey && gss:
		return "have the client negotiate a new context, as most do by themselves; contexts end by time, when the server is killed, and when one that does not keep them stops"
	case errors.Is(e.Err, errHMAC):
		return "have the client sign by hmac-sha256 with the same secret"
	case e.Kind == BadTrunc:
		return "have the client send the whole MAC: in BIND's configuration, an algorithm without a number of bits at its end"
	case e.Kind == BadKey:
		return "give the server the HMAC key of that name, or have the client sign with its Kerberos ticket"
	case errors.Is(e.Err, errHMACReplay):
		return "look for what sends the message twice; a client that gets no answer must sign its update again"
	case errors.Is(e.Err, krb5.ErrReplay):
		return "look for what sends the message twice; a client that signs several messages with one sequence number needs a context for each"
	case e.Kind == BadSig && gss:
		return "have the client ask this server directly: something between them changes messages"
	case e.Kind == BadSig:
		return "give client and server the same secret for that key"
	}
	return ""
}

// TSIG reports whether the TSIG record is wrong, and not the message as a
// whole.
func (e *VerifyError) TSIG() bool {
	return e.Kind != Malformed || !errors.Is(e.Err, tsig.ErrHeader) && !errors.Is(e.Err, tsig.ErrRecords) && !errors.Is(e.Err, tsig.ErrTrailing)
}

// WireKeyName returns the name of the key on the wire, in lower case; empty
// when Malformed.
func (e *VerifyError) WireKeyName() []byte { return []byte(e.name) }

// SignsReply reports whether Reply is signed, as it is for BadTime and BadTrunc:
// there the sender has proven that it holds the key.
func (e *VerifyError) SignsReply() bool { return e.transaction != nil }

// Reply returns the answer that RFC 8945 section 5.2 requires, ready for the
// wire. ID, opcode and question are those of the message, as far as it could be
// read. Reply may be called again.
func (e *VerifyError) Reply() ([]byte, error) {
	const extra = 10 // octets of other data, with room to spare
	size := tsig.HeaderSize + len(e.question) + bareOPTSize + len(e.name) + len(e.algorithm) + 26 + extra
	if e.Kind == Malformed {
		return e.appendReply(make([]byte, 0, size), dns.RcodeFormatError), nil
	}
	reply := e.appendReply(make([]byte, 0, size), dns.RcodeNotAuth)
	switch e.Kind {
	case BadTrunc:
		return e.transaction.restart().signOctets(reply, tsig.Fields{TimeSigned: unixTime(e.now), Fudge: tsig.DefaultFudge, Error: dns.RcodeBadTrunc})
	case BadTime:
		// RFC 8945 section 5.2.3: time and fudge are the client's, so that the
		// client accepts the answer, and the server's time is in Other Data.
		return e.transaction.restart().signOctets(reply, tsig.Fields{
			TimeSigned: e.timeSigned, Fudge: e.fudge, Error: dns.RcodeBadTime, Other: tsig.AppendTime(nil, unixTime(e.now)),
		})
	}
	fields := tsig.Fields{Name: e.name, Algorithm: e.algorithm, TimeSigned: unixTime(e.now), Fudge: tsig.DefaultFudge, Error: dns.RcodeBadKey}
	if e.Kind == BadSig {
		fields.Error = dns.RcodeBadSig
	}
	reply, ok := fields.AppendTo(reply, 0, binary.BigEndian.Uint16(reply), nil)
	if !ok {
		return nil, errors.New("gsstsig: no room for a TSIG record") // names are bounded: not reached
	}
	return reply, nil
}

// Replayed returns the error for the message of t, as it was received, when it turns out
// that another server has accepted it before; see [Transaction.Mark].
func (t *Transaction) Replayed(wire []byte) *VerifyError {
	cause := krb5.ErrReplay
	if t.identity.Static {
		cause = errHMACReplay
	}
	var r tsig.Record
	m, err := tsig.Parse(wire, &r)
	if err != nil || !m.Signed() {
		return newVerifyError(Malformed, &tsig.Message{Octets: wire}, err) // not of the octets that were verified
	}
	return refuse(BadSig, &m, &r, t.now(), fmt.Errorf("another server has accepted the message: %w", cause))
}

// bareOPTSize is that of an OPT record without options, RFC 6891 section 6.1.2.
const bareOPTSize = 11

// appendReply appends header, question and OPT record of an answer, made from
// those of the message. Any sender can cause these answers, so they have to be
// cheap.
func (e *VerifyError) appendReply(wire []byte, rcode byte) []byte {
	const response, recursionDesired, checkingDisabled, opcodeBits = 0x80, 0x01, 0x10, 0x78
	high, low := response|e.header[2]&opcodeBits, rcode
	if e.header[2]&opcodeBits == 0 { // a query's
		high |= e.header[2] & recursionDesired
		low |= e.header[3] & checkingDisabled
	}
	wire = append(wire, e.header[0], e.header[1], high, low, 0, 0, 0, 0, 0, 0, 0, 0)
	if e.question != nil {
		wire[5] = 1
		wire = append(wire, e.question...)
	}
	if e.opt {
		wire[11] = 1
		wire = append(wire, 0, 0, byte(dns.TypeOPT), dns.DefaultMsgSize>>8, dns.DefaultMsgSize&0xFF, 0, 0, 0, 0, 0, 0)
	}
	return wire
}

func newVerifyError(kind VerifyErrorKind, m *tsig.Message, cause error) *VerifyError {
	return &VerifyError{Kind: kind, Err: cause, header: m.Header(), question: bytes.Clone(m.Question()), opt: m.HasOPT}
}

// refuse makes the error for a message whose TSIG record could be read.
func refuse(kind VerifyErrorKind, m *tsig.Message, r *tsig.Record, now time.Time, cause error) *VerifyError {
	e := newVerifyError(kind, m, cause)
	e.KeyName, e.Algorithm = r.Name.String(), r.Algorithm.String()
	e.name, e.algorithm = string(r.Name.Bytes()), string(r.Algorithm.Bytes())
	e.timeSigned, e.fudge, e.now = r.TimeSigned, r.Fudge, now
	return e
}
