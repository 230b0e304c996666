package gsstsig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// defaultFudge is the fudge, in seconds, of what this package signs: RFC 8945
// section 10's recommendation.
const defaultFudge = 300

// VerifyErrorKind says which check a request failed.
type VerifyErrorKind int

const (
	// Malformed: FORMERR, without TSIG. The message is broken, has two TSIG
	// records, or one out of place or with a wrong class, TTL or length.
	Malformed VerifyErrorKind = iota + 1
	// BadKey: NOTAUTH, TSIG error BADKEY, unsigned. The key is unknown,
	// expired, deleted, or one of another algorithm.
	BadKey
	// BadSig: NOTAUTH, TSIG error BADSIG, unsigned. The MAC is wrong, or it is
	// a GSS token that was seen before.
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

// VerifyError is why a request is not to be acted on, and knows the answer to
// it. Err may be nil.
type VerifyError struct {
	Kind      VerifyErrorKind
	KeyName   string // presentation form; empty when Malformed
	Algorithm string // as the message names it
	Err       error

	header          [headerSize]byte
	question        []byte // the only one of the message, on the wire; nil if there is none or several
	opt             bool   // the message has an OPT record
	name, algorithm string // on the wire
	timeSigned      uint64
	now             time.Time
	transaction     *Transaction // for the replies that are signed
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

// Fix says what to do about it, to whoever runs the client or the server.
// It is empty where the error itself has said all.
func (e *VerifyError) Fix() string {
	gss := e.algorithm == wireGSS || e.algorithm == wireGSSMicrosoft
	switch {
	case e.Kind == BadTime:
		return "set the clocks of client and server, by NTP"
	case e.Kind == BadKey && gss:
		return "the client has to negotiate a new context, as most do by themselves; contexts end with the server"
	case e.Kind == BadKey:
		return "give the server the HMAC key of that name, or have the client sign with its Kerberos ticket"
	case errors.Is(e.Err, krb5.ErrReplay):
		return "the message came twice, or the client signs several messages under one number and needs a context for each"
	case e.Kind == BadSig && gss:
		return "the message is not as it was signed: have the client ask this server itself, not through something that changes messages"
	case e.Kind == BadSig:
		return "give client and server the same secret for that key"
	}
	return ""
}

// TSIG reports whether it is the TSIG record that is wrong, and not only the
// message as a whole.
func (e *VerifyError) TSIG() bool {
	return e.Kind != Malformed || !errors.Is(e.Err, errShort) && !errors.Is(e.Err, errRecords) && !errors.Is(e.Err, errTrailing)
}

// WireKeyName returns the name of the key on the wire, in lower case; empty
// when Malformed.
func (e *VerifyError) WireKeyName() []byte { return []byte(e.name) }

// NeedsRequest reports whether Reply wants the request parsed, as it does where
// the answer is signed.
func (e *VerifyError) NeedsRequest() bool { return e.transaction != nil }

// Reply makes the answer that RFC 8945 section 5.2 wants for this error, ready
// for the wire. Where the answer is signed, the request, parsed, supplies ID,
// opcode and question. Otherwise, and when it is nil, they are taken from the
// octets that were verified, as far as there was a way through them.
func (e *VerifyError) Reply(request *dns.Msg) (wire []byte, err error) {
	switch {
	case e.Kind == Malformed:
		return e.appendReply(nil, dns.RcodeFormatError), nil
	case e.transaction == nil:
		tsigError := uint16(dns.RcodeBadKey)
		if e.Kind == BadSig {
			tsigError = dns.RcodeBadSig
		}
		wire = make([]byte, 0, headerSize+len(e.question)+bareOPTSize+tsigSize(e.name, e.algorithm, 0, 0))
		wire = e.appendReply(wire, dns.RcodeNotAuth)
		wire = appendTSIG(wire, []byte(e.name), []byte(e.algorithm), unixTime(e.now), defaultFudge, nil,
			binary.BigEndian.Uint16(wire), tsigError, nil)
		binary.BigEndian.PutUint16(wire[10:], binary.BigEndian.Uint16(wire[10:])+1)
		return wire, nil
	}
	reply := new(dns.Msg)
	if request != nil {
		reply.SetReply(request)
	} else {
		reply.Id = binary.BigEndian.Uint16(e.header[:])
		reply.Response = true
		reply.Opcode = int(e.header[2]>>3) & 0xF
	}
	if e.opt {
		reply.SetEdns0(dns.DefaultMsgSize, false)
	}
	reply.Rcode = dns.RcodeNotAuth
	if e.Kind == BadTrunc {
		return e.transaction.anew().signError(reply, dns.RcodeBadTrunc, unixTime(e.now), nil)
	}
	// RFC 8945 section 5.2.3: the client's time where the time signed goes, so
	// that the client accepts the answer, and ours in Other Data.
	return e.transaction.anew().signError(reply, dns.RcodeBadTime, e.timeSigned, appendUint48(nil, unixTime(e.now)))
}

// bareOPTSize is that of an OPT record without options, RFC 6891 section 6.1.2.
const bareOPTSize = 11

// appendReply appends header, question and OPT record of an answer, made from
// those of the request. Anybody can cause these answers, so that they have to
// be cheap.
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

// Verifier checks the signatures of requests. It is safe for concurrent use.
type Verifier struct {
	static   map[string]*staticKey
	reserved nameSet // of static keys
	servers  []*Server
	now      func() time.Time
}

// NewVerifier returns a verifier for static keys and the contexts of servers,
// which are asked in this order. Both may be empty. A context that has the name
// of a static key is no key, as one of before a reload may: whoever goes by the
// name alone would take its holder for that of the static key.
func NewVerifier(static StaticKeys, servers ...*Server) *Verifier {
	v := &Verifier{static: newStaticKeys(static), reserved: newNameSet(static), servers: servers, now: time.Now}
	if len(servers) > 0 {
		v.now = servers[0].now
	}
	return v
}

// Verify checks the TSIG record of a request, RFC 8945 section 5.2. wire is
// the message exactly as received; request, the same parsed, serves to tell
// earlier that there is no signature to look for and may be nil. Verify
// returns nil and nil for a message that is not signed, and otherwise either
// the transaction or an error that is a *VerifyError. It keeps no reference to
// wire and does not panic.
func (v *Verifier) Verify(wire []byte, request *dns.Msg) (t *Transaction, err error) {
	// This runs before any recover of the server program around it, on octets
	// that anybody may send: a fault here must cost one message, not the
	// process.
	defer func() {
		if r := recover(); r != nil {
			t, err = nil, malformed(wire, fmt.Errorf("internal error: %v", faultText(r)))
		}
	}()

	var sig tsigRecord
	signed, cause := sig.findTSIG(wire)
	if cause != nil {
		return nil, malformed(wire, cause)
	}
	if !signed {
		if request != nil && hasTSIG(request) {
			// Two parsers that disagree are an attacker's opening.
			return nil, malformed(wire, errTSIGPlace)
		}
		return nil, nil
	}
	t, failure := v.verify(wire, &sig)
	if failure != nil {
		return nil, failure
	}
	return t, nil
}

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

// verify goes through the checks in RFC 8945's order: key, MAC, time,
// truncation. The order matters: nothing about time is told to somebody whose
// MAC was not right (CVE-2017-3142).
func (v *Verifier) verify(wire []byte, sig *tsigRecord) (*Transaction, *VerifyError) {
	now := v.now()
	buf := lend()
	defer giveBack(buf)

	t, cause := v.authenticate(wire, sig, buf)
	if cause != nil {
		cause.now = now
		return nil, cause
	}
	t.now = v.now

	at := unixTime(now)
	if at > sig.timeSigned+uint64(sig.fudge) || sig.timeSigned > at+uint64(sig.fudge) {
		off := time.Duration(int64(sig.timeSigned)-int64(at)) * time.Second
		return nil, v.refuse(BadTime, wire, sig, t, now, fmt.Errorf("time signed is %s off, %d s are allowed", off, sig.fudge))
	}
	// RFC 8945 section 5.2.4 leaves to local policy how short a MAC may be.
	// Ours is that nobody has a reason to shorten it.
	if _, static := t.key.(*hmacKey); static && len(sig.mac) < t.key.size() {
		return nil, v.refuse(BadTrunc, wire, sig, t, now, fmt.Errorf("MAC has %d of %d octets", len(sig.mac), t.key.size()))
	}
	return t, nil
}

// authenticate finds the key and checks the MAC. A key is looked for among
// those of the algorithm that the message names, so that a context cannot take
// the place of a static key or the other way round.
func (v *Verifier) authenticate(wire []byte, sig *tsigRecord, buf *[]byte) (*Transaction, *VerifyError) {
	algorithm := sig.algorithm.bytes()
	if string(algorithm) == wireGSS || string(algorithm) == wireGSSMicrosoft {
		return v.authenticateGSS(wire, sig, buf)
	}
	for i := range hmacs {
		if string(algorithm) != hmacs[i].name {
			continue
		}
		key := v.static[string(sig.name.bytes())]
		if key == nil {
			break
		}
		mac := &key.macs[i]
		// RFC 8945 section 5.2.2.1.
		if len(sig.mac) > mac.length || len(sig.mac) < max(10, mac.length/2) {
			return nil, malformed(wire, fmt.Errorf("MAC of %d octets, %d are due", len(sig.mac), mac.length))
		}
		*buf = sig.appendRequest((*buf)[:0], wire)
		if err := mac.verify(*buf, sig.mac); err != nil {
			return nil, v.refuse(BadSig, wire, sig, nil, time.Time{}, err)
		}
		return newTransaction(nil, mac, &key.identity, key.name, hmacs[i].name, sig.mac), nil
	}
	return nil, v.refuse(BadKey, wire, sig, nil, time.Time{}, errNoKey)
}

// authenticateGSS asks each server for a context of the name. Names are chosen
// by clients, so that two servers may know the same one; the MAC decides.
func (v *Verifier) authenticateGSS(wire []byte, sig *tsigRecord, buf *[]byte) (*Transaction, *VerifyError) {
	cause := error(errNoKey)
	kind := BadKey
	if v.reserved.has(sig.name.bytes()) {
		return nil, v.refuse(kind, wire, sig, nil, time.Time{}, errReserved)
	}
	for _, server := range v.servers {
		c := server.contexts.lookup(sig.name.bytes())
		// The table may have contexts from before the configuration changed.
		if c == nil || !server.acceptor.WouldAccept(c.mechanism) {
			continue
		}
		if c.algorithm != string(sig.algorithm.bytes()) {
			if kind == BadKey {
				cause = errAlgorithm
			}
			continue
		}
		if kind == BadKey {
			*buf = sig.appendRequest((*buf)[:0], wire)
		}
		if cause = c.verify(*buf, sig.mac); cause == nil {
			return newTransaction(server, c, &c.identity, c.name, c.algorithm, sig.mac), nil
		}
		kind = BadSig
	}
	return nil, v.refuse(kind, wire, sig, nil, time.Time{}, cause)
}

// Causes of BADKEY.
var (
	errNoKey     = fmt.Errorf("no such key; it may have expired or been deleted")
	errAlgorithm = fmt.Errorf("the key was negotiated for another algorithm")
	errReserved  = fmt.Errorf("a static key has this name, which is no name for a negotiated one")
)

func (v *Verifier) refuse(kind VerifyErrorKind, wire []byte, sig *tsigRecord, t *Transaction, now time.Time, cause error) *VerifyError {
	e := &VerifyError{
		Kind:        kind,
		KeyName:     sig.name.text(),
		Algorithm:   sig.algorithm.text(),
		Err:         cause,
		name:        string(sig.name.bytes()),
		algorithm:   string(sig.algorithm.bytes()),
		timeSigned:  sig.timeSigned,
		now:         now,
		transaction: t,
	}
	e.outline(wire)
	return e
}

func malformed(wire []byte, cause error) *VerifyError {
	e := &VerifyError{Kind: Malformed, Err: cause}
	e.outline(wire)
	return e
}

// outline keeps what the answer repeats of the message.
func (e *VerifyError) outline(wire []byte) {
	copy(e.header[:], wire)
	if len(wire) < headerSize {
		return
	}
	if binary.BigEndian.Uint16(wire[4:]) == 1 {
		e.question = bytes.Clone(firstQuestion(wire))
	}
	e.opt = hasOPT(wire)
}

// unixTime is t as TSIG counts it; before 1970 there is no time.
func unixTime(t time.Time) uint64 { return uint64(max(0, t.Unix())) }
