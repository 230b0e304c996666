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
// tests that carry messages by themselves get one from Context.Sign.
type Transaction struct {
	context *Context
	id      uint16
	octets  tsig.ClientTransaction
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
	t := &Transaction{context: c, id: m.Id}
	fields := tsig.Fields{TimeSigned: uint64(c.client.config.Now().Unix()), Fudge: c.client.config.Fudge}
	for _, name := range []struct {
		text string
		wire *string
	}{{c.name, &fields.Name}, {c.algorithm, &fields.Algorithm}} {
		var ok bool
		if *name.wire, ok = tsig.NameFromText(name.text); !ok {
			return nil, nil, fmt.Errorf("client: signing the request: %q is not a domain name", name.text)
		}
	}
	wire, err := t.octets.SignRequest(message, fields, c.kerberos.GetMIC)
	if errors.Is(err, krb5.ErrNotEstablished) {
		return nil, nil, fmt.Errorf("the key %s: %w", c.name, ErrClosed)
	}
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

// next takes the next reply of a sequence (RFC 8945 section 5.3.1). Messages
// after the first may lack a signature; such a one is returned with signed
// false, and can be believed only after a later one has verified.
func (t *Transaction) next(wire []byte, sequence bool) (reply *dns.Msg, signed bool, err error) {
	var record tsig.Record
	m, err := tsig.Parse(wire, &record)
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
	if !m.Signed() {
		if sequence && t.octets.Verified() > 0 {
			if err := t.octets.Skip(wire); err != nil {
				return nil, false, fmt.Errorf("%w: %w", ErrUnsigned, err)
			}
		}
		return reply, false, nil
	}
	if err := t.check(&m, &record, reply); err != nil {
		return nil, false, err
	}
	t.octets.Accept(&record)
	return reply, true, nil
}

// check is RFC 8945 section 5.4 with section 5.2's order: key, MAC, time.
func (t *Transaction) check(m *tsig.Message, record *tsig.Record, reply *dns.Msg) error {
	if name, algorithm := record.Name.String(), record.Algorithm.String(); name != t.context.name || algorithm != t.context.algorithm {
		return fmt.Errorf("%w: %s, %s", ErrOtherKey, name, algorithm)
	}
	refused := reply.Rcode == dns.RcodeNotAuth && record.Error != dns.RcodeSuccess
	if len(record.MAC) == 0 {
		if refused && (record.Error == dns.RcodeBadKey || record.Error == dns.RcodeBadSig) {
			return &TSIGError{Code: record.Error, Reply: reply}
		}
		return fmt.Errorf("%w: empty MAC, %s, %s", ErrUnsigned, codeName(uint16(reply.Rcode)), codeName(record.Error))
	}
	if err := t.context.kerberos.VerifyMIC(t.octets.AppendDigest(nil, m, record), record.MAC); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if refused {
		refusal := &TSIGError{Code: record.Error, Reply: reply, Verified: true}
		if record.Error == dns.RcodeBadTime {
			// Time Signed repeats the client's time; the server's is in Other Data.
			seconds, ok := tsig.ReadTime(record.Other)
			if !ok {
				return fmt.Errorf("%w: BADTIME without the server's time", ErrMalformed)
			}
			refusal.ServerTime = time.Unix(int64(seconds), 0)
		}
		return refusal
	}
	now := t.context.client.config.Now().Unix()
	if difference := int64(record.TimeSigned) - now; max(difference, -difference) > int64(record.Fudge) {
		return fmt.Errorf("%w: %d s from now", ErrTime, difference)
	}
	return nil
}
