package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// A Transaction is one signed request and the replies to it, on the client's
// side. It is not safe for concurrent use. Exchange and Transfer make their own;
// who carries messages alone gets one from Context.Sign or HMACKey.Sign.
type Transaction struct {
	signer signer
	id     uint16
	octets tsig.ClientTransaction
}

// A signer is the key of a transaction.
type signer struct {
	name, algorithm string // canonical
	mac             macs
	now             func() time.Time
	fudge           uint16 // seconds
}

// macs makes and verifies the MACs of messages: a GSS context, or an HMAC key.
type macs interface {
	GetMIC(message []byte) ([]byte, error)
	VerifyMIC(message, mic []byte) error
}

func (c *Context) signer() signer {
	return signer{c.name, c.algorithm, c.kerberos, c.client.config.Now, c.client.config.Fudge}
}

// Sign packs m and signs it. It returns the message to send and the transaction
// that verifies the replies. m is not changed.
func (c *Context) Sign(m *dns.Msg) ([]byte, *Transaction, error) {
	wire, t, err := c.signer().sign(m)
	if errors.Is(err, krb5.ErrNotEstablished) {
		return nil, nil, fmt.Errorf("the key %s: %w", c.name, ErrClosed)
	}
	return wire, t, err
}

func (s signer) sign(m *dns.Msg) ([]byte, *Transaction, error) {
	if m.IsTsig() != nil {
		return nil, nil, errors.New("client: the request already has a TSIG record")
	}
	message, err := m.Pack()
	if err != nil {
		return nil, nil, fmt.Errorf("client: packing the request: %w", err)
	}
	t := &Transaction{signer: s, id: m.Id}
	fields := tsig.Fields{TimeSigned: uint64(s.now().Unix()), Fudge: s.fudge}
	for _, name := range []struct {
		text string
		wire *string
	}{{s.name, &fields.Name}, {s.algorithm, &fields.Algorithm}} {
		var ok bool
		if *name.wire, ok = tsig.NameFromText(name.text); !ok {
			return nil, nil, fmt.Errorf("client: signing the request: %q is not a domain name", name.text)
		}
	}
	wire, err := t.octets.SignRequest(message, fields, s.mac.GetMIC)
	if err != nil {
		return nil, nil, fmt.Errorf("client: signing the request: %w", err)
	}
	return wire, t, nil
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

// next is Next, and unpacks the reply.
func (t *Transaction) next(wire []byte, sequence bool) (reply *dns.Msg, signed bool, err error) {
	reply = new(dns.Msg)
	if err := reply.Unpack(wire); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if signed, err = t.take(wire, sequence); err != nil {
		return nil, false, err
	}
	return reply, signed, nil
}

// Next takes the octets of the next message of a reply that has several, as that
// to AXFR (RFC 8945 section 5.3.1), and tells whether it is signed. All that is
// not signed can be believed only after a later message is. The first message
// must be signed, and at most 99 may follow one that is without a signature.
// For the errors see Context.Exchange.
func (t *Transaction) Next(wire []byte) (signed bool, err error) {
	signed, err = t.take(wire, true)
	if err == nil && !signed && t.octets.Verified() == 0 {
		return false, fmt.Errorf("%w: %s", ErrUnsigned, codeName(uint16(wire[3]&0xf)))
	}
	return signed, err
}

func (t *Transaction) take(wire []byte, sequence bool) (signed bool, err error) {
	var record tsig.Record
	m, err := tsig.Parse(wire, &record)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if binary.BigEndian.Uint16(wire) != t.id || wire[2]&0x80 == 0 {
		return false, fmt.Errorf("%w: not a reply to this request", ErrMalformed)
	}
	if !m.Signed() {
		if sequence && t.octets.Verified() > 0 {
			if err := t.octets.Skip(wire); err != nil {
				return false, fmt.Errorf("%w: %w", ErrUnsigned, err)
			}
		}
		return false, nil
	}
	if err := t.check(wire, &m, &record); err != nil {
		return false, err
	}
	t.octets.Accept(&record)
	return true, nil
}

// check is RFC 8945 section 5.4 with section 5.2's order: key, MAC, time.
func (t *Transaction) check(wire []byte, m *tsig.Message, record *tsig.Record) error {
	if name, algorithm := record.Name.String(), record.Algorithm.String(); name != t.signer.name || algorithm != t.signer.algorithm {
		return fmt.Errorf("%w: %s, %s", ErrOtherKey, name, algorithm)
	}
	rcode := uint16(wire[3] & 0xf)
	refused := rcode == dns.RcodeNotAuth && record.Error != dns.RcodeSuccess
	refusal := func(verified bool) (*TSIGError, error) {
		reply := new(dns.Msg)
		if err := reply.Unpack(wire); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return &TSIGError{Code: record.Error, Reply: reply, Verified: verified}, nil
	}
	if len(record.MAC) == 0 {
		if refused && (record.Error == dns.RcodeBadKey || record.Error == dns.RcodeBadSig) {
			e, err := refusal(false)
			if err != nil {
				return err
			}
			return e
		}
		return fmt.Errorf("%w: empty MAC, %s, %s", ErrUnsigned, codeName(rcode), codeName(record.Error))
	}
	if err := t.signer.mac.VerifyMIC(t.octets.AppendDigest(nil, m, record), record.MAC); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if refused {
		e, err := refusal(true)
		if err != nil {
			return err
		}
		if record.Error == dns.RcodeBadTime {
			// Time Signed repeats the client's time; the server's is in Other Data.
			seconds, ok := tsig.ReadTime(record.Other)
			if !ok {
				return fmt.Errorf("%w: BADTIME without the server's time", ErrMalformed)
			}
			e.ServerTime = time.Unix(int64(seconds), 0)
		}
		return e
	}
	now := t.signer.now().Unix()
	if difference := int64(record.TimeSigned) - now; max(difference, -difference) > int64(record.Fudge) {
		return fmt.Errorf("%w: %d s from now", ErrTime, difference)
	}
	return nil
}
