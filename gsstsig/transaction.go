package gsstsig

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Transaction is one request that was verified, or one negotiation that was
// completed, and what it takes to sign the answer. It is not safe for
// concurrent use.
type Transaction struct {
	server    *Server
	key       macKey
	identity  *Identity
	name      string // of the key, on the wire
	algorithm string // on the wire
	now       func() time.Time

	// mac is the request's MAC before the first message is signed, and that of
	// the message before afterwards. It is empty at first when the request was
	// not signed, as the TKEY query that makes a context usually is not.
	mac    []byte
	signed int // messages so far
	room   [64]byte
}

func newTransaction(server *Server, key macKey, identity *Identity, name, algorithm string, requestMAC []byte) *Transaction {
	t := &Transaction{server: server, key: key, identity: identity, name: name, algorithm: algorithm}
	t.mac = append(t.room[:0], requestMAC...)
	return t
}

// anew returns a copy of a transaction that has signed nothing yet, so that
// the answer to a failed request can be made more than once.
func (t *Transaction) anew() *Transaction {
	return newTransaction(t.server, t.key, t.identity, t.name, t.algorithm, t.mac)
}

// Identity returns who signed the request.
func (t *Transaction) Identity() Identity { return *t.identity }

// Groups returns the SIDs of the signer's groups, from the PAC of its ticket; see
// krb5.AcceptorContext.Groups. A static key has none.
func (t *Transaction) Groups() []string {
	if c, ok := t.key.(*securityContext); ok {
		return c.mechanism.Groups()
	}
	return nil
}

// Server returns the server whose context signed the request, nil for a static
// key.
func (t *Transaction) Server() *Server { return t.server }

// Overhead returns how many octets the TSIG record adds to a message, at most,
// so that an answer can be cut to size before it is signed.
func (t *Transaction) Overhead() int {
	return tsigSize(t.name, t.algorithm, t.key.size(), 0)
}

// Sign packs response and adds the TSIG record, as the last there is; one that
// is in the additional section already is left out. response itself is not
// changed. The first call covers the request's MAC (RFC 8945 section 5.3);
// each further call signs the next message of the same answer, as in a zone
// transfer, and covers the MAC before it and the timers only (section 5.3.1).
//
// The result is a message for the wire that the caller owns. Signing fails
// when response does not pack or when the key is gone.
func (t *Transaction) Sign(response *dns.Msg) (wire []byte, err error) {
	return t.signError(response, dns.RcodeSuccess, unixTime(t.now()), nil)
}

// signError is Sign with a TSIG error, time and other data of choice.
func (t *Transaction) signError(response *dns.Msg, tsigError uint16, timeSigned uint64, other []byte) ([]byte, error) {
	message := *response
	message.Extra = withoutTSIG(response.Extra)

	// What the MAC covers is built in one buffer: the MAC before in front, the
	// message packed behind it, the variables appended.
	buf := lend()
	defer giveBack(buf)
	prefix := 0
	if len(t.mac) > 0 || t.signed > 0 {
		*buf = appendMAC((*buf)[:0], t.mac)
		prefix = len(*buf)
	}
	packed, err := message.PackBuffer((*buf)[prefix:cap(*buf)])
	if err != nil {
		return nil, fmt.Errorf("gsstsig: pack a message to sign: %w", err)
	}
	size := len(packed)
	// PackBuffer takes a buffer of its own when the lent one is too small.
	*buf = append((*buf)[:prefix], packed...)
	if t.signed > 0 {
		*buf = appendTimers(*buf, timeSigned, defaultFudge)
	} else {
		*buf = appendVariables(*buf, []byte(t.name), []byte(t.algorithm), timeSigned, defaultFudge, tsigError, other)
	}
	mac, err := t.key.sign(*buf)
	if err != nil {
		return nil, fmt.Errorf("gsstsig: sign with key %s: %w", t.identity.KeyName, err)
	}

	wire := make([]byte, 0, size+tsigSize(t.name, t.algorithm, len(mac), len(other)))
	wire = append(wire, (*buf)[prefix:prefix+size]...)
	wire = appendTSIG(wire, []byte(t.name), []byte(t.algorithm), timeSigned, defaultFudge, mac, message.Id, tsigError, other)
	additional := binary.BigEndian.Uint16(wire[10:])
	if additional == 0xFFFF || len(wire) > dns.MaxMsgSize {
		return nil, fmt.Errorf("gsstsig: no room for a TSIG record in a message of %d octets", size)
	}
	binary.BigEndian.PutUint16(wire[10:], additional+1)

	t.mac = append(t.mac[:0], mac...)
	t.signed++
	return wire, nil
}

// withoutTSIG returns extra itself when there is nothing to leave out.
func withoutTSIG(extra []dns.RR) []dns.RR {
	for i, rr := range extra {
		if rr.Header().Rrtype != dns.TypeTSIG {
			continue
		}
		kept := append([]dns.RR(nil), extra[:i]...)
		for _, rr := range extra[i+1:] {
			if rr.Header().Rrtype != dns.TypeTSIG {
				kept = append(kept, rr)
			}
		}
		return kept
	}
	return extra
}
