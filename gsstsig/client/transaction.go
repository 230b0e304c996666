package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// maxUnsigned is how many messages of a sequence may go by without a signature
// (RFC 8945 section 5.3.1).
const maxUnsigned = 99

// A Transaction is one signed request and the replies to it. It is not safe for
// concurrent use. Exchange and Transfer make their own; tests that carry
// messages by themselves get one from Context.Sign.
type Transaction struct {
	context  *Context
	id       uint16
	prior    []byte // the MAC that the next signature covers: the request's, then the last reply's
	unsigned []byte // messages since then, in a sequence
	waiting  int    // how many
	signed   int    // replies that verified
}

// Sign packs m and signs it. It returns the message to send and the transaction
// that verifies the replies. m is not changed.
func (c *Context) Sign(m *dns.Msg) ([]byte, *Transaction, error) {
	if m.IsTsig() != nil {
		return nil, nil, errors.New("client: the request already has a TSIG record")
	}
	message, err := m.Pack()
	if err != nil {
		return nil, nil, fmt.Errorf("client: packing the request: %w", err)
	}
	now := uint64(c.client.config.Now().Unix())
	wire, mac, err := gsstsig.SignRequest(message, c.name, c.algorithm, now, c.client.config.Fudge, c.kerberos.GetMIC)
	if errors.Is(err, krb5.ErrNotEstablished) {
		return nil, nil, fmt.Errorf("the key %s: %w", c.name, ErrClosed)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("client: signing the request: %w", err)
	}
	return wire, &Transaction{context: c, id: m.Id, prior: mac}, nil
}

// Verify checks the one reply to a request and returns it. A reply that is
// refused leaves the transaction as it was, so that a better one can follow.
// For the errors see Context.Exchange.
func (t *Transaction) Verify(wire []byte) (*dns.Msg, error) {
	reply, signed, err := t.next(wire, false)
	if err != nil {
		return nil, err
	}
	if !signed {
		return nil, fmt.Errorf("%w: %s", ErrUnsigned, codeName(uint16(reply.Rcode)))
	}
	return reply, nil
}

// next takes the next reply of a sequence (RFC 8945 section 5.3.1). Messages
// after the first may lack a signature; such a one is returned with signed
// false, and can be believed only after a later one has verified.
func (t *Transaction) next(wire []byte, sequence bool) (reply *dns.Msg, signed bool, err error) {
	signature, err := gsstsig.FindSignature(wire)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if binary.BigEndian.Uint16(wire) != t.id || wire[2]&0x80 == 0 {
		return nil, false, fmt.Errorf("%w: not a reply to this request", ErrMalformed)
	}
	reply = new(dns.Msg)
	if err := reply.Unpack(wire); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if signature == nil {
		if !sequence || t.signed == 0 {
			return reply, false, nil
		}
		if t.waiting++; t.waiting > maxUnsigned {
			return nil, false, fmt.Errorf("%w: more than %d messages in a row", ErrUnsigned, maxUnsigned)
		}
		t.unsigned = append(t.unsigned, wire...)
		return reply, false, nil
	}
	if err := t.check(wire, signature, reply); err != nil {
		return nil, false, err
	}
	t.prior = append(t.prior[:0], signature.MAC...)
	t.unsigned, t.waiting = nil, 0
	t.signed++
	return reply, true, nil
}

// check is RFC 8945 section 5.4 with section 5.2's order: key, MAC, time.
func (t *Transaction) check(wire []byte, signature *gsstsig.ReplySignature, reply *dns.Msg) error {
	if signature.KeyName != t.context.name || signature.Algorithm != t.context.algorithm {
		return fmt.Errorf("%w: %s, %s", ErrOtherKey, signature.KeyName, signature.Algorithm)
	}
	refused := reply.Rcode == dns.RcodeNotAuth && signature.Error != dns.RcodeSuccess
	if len(signature.MAC) == 0 {
		if refused && (signature.Error == dns.RcodeBadKey || signature.Error == dns.RcodeBadSig) {
			return &TSIGError{Code: signature.Error, Reply: reply}
		}
		return fmt.Errorf("%w: empty MAC, %s, %s", ErrUnsigned, codeName(uint16(reply.Rcode)), codeName(signature.Error))
	}
	covered := signature.AppendCovered(nil, t.prior, t.unsigned, wire, t.signed > 0)
	if err := t.context.kerberos.VerifyMIC(covered, signature.MAC); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if refused {
		refusal := &TSIGError{Code: signature.Error, Reply: reply, Verified: true}
		if signature.Error == dns.RcodeBadTime {
			// The record repeats the client's own time; the server's is here.
			other := signature.Other
			if len(other) != 6 {
				return fmt.Errorf("%w: BADTIME without the server's time", ErrMalformed)
			}
			seconds := uint64(binary.BigEndian.Uint16(other))<<32 | uint64(binary.BigEndian.Uint32(other[2:]))
			refusal.ServerTime = time.Unix(int64(seconds), 0)
		}
		return refusal
	}
	now := t.context.client.config.Now().Unix()
	if difference := int64(signature.TimeSigned) - now; max(difference, -difference) > int64(signature.Fudge) {
		return fmt.Errorf("%w: %d s from now", ErrTime, difference)
	}
	return nil
}
