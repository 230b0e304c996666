package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
)

// TKEY modes (RFC 2930 section 2.5).
const (
	modeGSSAPI = 3
	modeDelete = 5
)

// maxRounds ends a negotiation with a server that never does. SPNEGO with
// another mechanism first takes three.
const maxRounds = 8

// errTruncated says that a reply came by UDP and was cut short.
var errTruncated = errors.New("reply cut short by UDP")

// Negotiate makes a new context (RFC 3645 section 3.1). The server's refusal is
// a *TKEYError; what else the protocol does not allow is ErrNegotiation or one
// of the errors about signatures. Each call makes an AP-REQ of its own from the
// ticket that the credentials hold, so contexts in any number may be made from
// any number of goroutines.
func (c *Client) Negotiate(ctx context.Context) (*Context, error) {
	context, err := c.negotiate(ctx, c.config.Network == "tcp")
	if errors.Is(err, errTruncated) {
		// The server has seen this token and may have made the key already, so
		// the same query would be a replay: begin again, with a new name.
		context, err = c.negotiate(ctx, true)
	}
	if err != nil {
		return nil, fmt.Errorf("negotiating a key: %w", err)
	}
	return context, nil
}

func (c *Client) negotiate(ctx context.Context, tcp bool) (*Context, error) {
	ticket, err := c.config.Credentials.Ticket(ctx, c.config.ServicePrincipal)
	if err != nil {
		return nil, err
	}
	kerberos, mechanism, err := c.initiator(ticket)
	if err != nil {
		return nil, err
	}
	n := &negotiation{client: c, mechanism: mechanism, name: c.config.KeyName}
	if n.name == "" {
		n.name = randomKeyName(c.host)
	}
	result, err := n.run(ctx, tcp, kerberos)
	if err != nil {
		kerberos.Wipe()
		return nil, err
	}
	return result, nil
}

// initiator makes the mechanism's context and, unless raw Kerberos is asked
// for, SPNEGO's around it.
func (c *Client) initiator(ticket ServiceTicket) (*krb5.InitiatorContext, initiator, error) {
	kerberos, err := krb5.NewInitiator(krb5.InitiatorConfig{
		Ticket:     ticket.Ticket,
		SessionKey: ticket.SessionKey,
		Client:     ticket.Client,
		Expires:    ticket.Expires,
		Mutual:     !c.config.Quirks.OneWay,
		Subkey:     !c.config.Quirks.NoSubkey,
		Now:        c.config.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	if c.config.Framing == RawKerberos {
		return kerberos, kerberos, nil
	}
	config := spnego.InitiatorConfig{Mechanism: kerberos, SendMIC: c.config.Quirks.MechListMIC}
	switch c.config.Framing {
	case SPNEGOMicrosoftFirst:
		config.MechTypes = []asn1.ObjectIdentifier{spnego.OIDMSKerberos, spnego.OIDKerberos}
	case SPNEGOWindows:
		config.MechTypes = []asn1.ObjectIdentifier{spnego.OIDMSKerberos, spnego.OIDKerberos, spnego.OIDNegoEx, spnego.OIDNTLM}
	case SPNEGONoToken:
		config.NoOptimisticToken = true
	case SPNEGOOtherFirst:
		config.MechTypes = []asn1.ObjectIdentifier{spnego.OIDNTLM, spnego.OIDKerberos}
		config.OtherToken = []byte("NTLMSSP\x00\x01\x00\x00\x00\x00\x00\x00\x00")
	}
	negotiated, err := spnego.NewInitiator(config)
	if err != nil {
		return nil, nil, err
	}
	return kerberos, negotiated, nil
}

// initiator is a token-making side: krb5's or spnego's.
type initiator interface {
	Init(token []byte) ([]byte, error)
	Established() bool
}

type negotiation struct {
	client    *Client
	mechanism initiator
	name      string // of the key: proposed, then the server's
	answer    *dns.TKEY
	wire      []byte // of the last reply
}

func (n *negotiation) run(ctx context.Context, tcp bool, kerberos *krb5.InitiatorContext) (*Context, error) {
	out, err := n.mechanism.Init(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNegotiation, err)
	}
	for range maxRounds {
		if err := n.ask(ctx, tcp, out); err != nil {
			return nil, n.explain(err)
		}
		token, err := hex.DecodeString(n.answer.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		switch {
		case !n.mechanism.Established():
			if len(token) == 0 {
				return nil, fmt.Errorf("%w: the server sent no token", ErrNegotiation)
			}
			if out, err = n.mechanism.Init(token); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrNegotiation, err)
			}
		// A server with nothing more to say returns the token it was sent (RFC
		// 3645 section 4.1.3), or none.
		case len(token) > 0 && !bytes.Equal(token, out):
			return nil, fmt.Errorf("%w: the server sent a token to a context that is complete", ErrNegotiation)
		default:
			out = nil
		}
		if out == nil {
			if !n.mechanism.Established() {
				return nil, fmt.Errorf("%w: neither side has more to say", ErrNegotiation)
			}
			return n.finish(kerberos)
		}
	}
	return nil, fmt.Errorf("%w: no end after %d rounds", ErrNegotiation, maxRounds)
}

// explain adds what the server's mechanism says to its refusal of the key.
func (n *negotiation) explain(err error) error {
	var refusal *TKEYError
	if !errors.As(err, &refusal) || n.mechanism.Established() {
		return err
	}
	answer, ok := tkeyIn(refusal.Reply)
	if !ok {
		return err
	}
	token, decodeErr := hex.DecodeString(answer.Key)
	if decodeErr != nil || len(token) == 0 {
		return err
	}
	// Whatever else the token is: the server has refused.
	if _, reason := n.mechanism.Init(token); errors.Is(reason, krb5.ErrRefused) {
		refusal.Reason = reason
	}
	return err
}

// finish verifies the signature on the last reply, made with the new key (RFC
// 3645 section 4.1.3). The query was unsigned, so no request MAC is covered.
func (n *negotiation) finish(kerberos *krb5.InitiatorContext) (*Context, error) {
	c := &Context{
		client:    n.client,
		kerberos:  kerberos,
		name:      dns.CanonicalName(n.name),
		algorithm: dns.CanonicalName(n.client.config.Algorithm),
		inception: time.Unix(int64(n.answer.Inception), 0),
		expires:   time.Unix(int64(n.answer.Expiration), 0),
	}
	t := Transaction{signer: c.signer(), id: binary.BigEndian.Uint16(n.wire)}
	if _, err := t.Verify(n.wire); err != nil {
		return nil, fmt.Errorf("last TKEY reply: %w", err)
	}
	return c, nil
}

// ask sends one token and reads the TKEY record of the reply.
func (n *negotiation) ask(ctx context.Context, tcp bool, token []byte) error {
	query := n.client.tkeyQuery(n.name, modeGSSAPI, token)
	wire, err := query.Pack()
	if err != nil {
		return fmt.Errorf("packing the TKEY query: %w", err)
	}
	var reply *dns.Msg
	take := func(received []byte) (over bool, err error) {
		r := new(dns.Msg)
		if err := r.Unpack(received); err != nil {
			return false, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if r.Id != query.Id || !r.Response {
			return false, fmt.Errorf("%w: not a reply to this TKEY query", ErrMalformed)
		}
		reply, n.wire = r, append([]byte(nil), received...)
		return true, nil
	}
	if tcp || n.client.byTCP(wire) {
		err = n.client.transport.tcp(ctx, wire, take)
	} else {
		err = n.client.transport.udp(ctx, wire, take)
		if err == nil && reply.Truncated {
			return errTruncated
		}
	}
	if err != nil {
		return err
	}
	return n.read(reply)
}

// read takes the TKEY record out of a reply and checks that it answers the one
// that was sent (RFC 2930 section 4.1).
func (n *negotiation) read(reply *dns.Msg) error {
	answer, err := tkeyAnswer(reply)
	if err != nil {
		return err
	}
	switch {
	case n.name == "." && answer.Hdr.Name != ".":
		n.name = answer.Hdr.Name
	case dns.CanonicalName(answer.Hdr.Name) != dns.CanonicalName(n.name):
		return fmt.Errorf("%w: the reply is about the key %s", ErrNegotiation, answer.Hdr.Name)
	case n.name == ".":
		return fmt.Errorf("%w: the server chose no name", ErrNegotiation)
	}
	if answer.Mode != modeGSSAPI {
		return fmt.Errorf("%w: the reply has mode %d", ErrNegotiation, answer.Mode)
	}
	if dns.CanonicalName(answer.Algorithm) != dns.CanonicalName(n.client.config.Algorithm) {
		return fmt.Errorf("%w: the reply has algorithm %s", ErrNegotiation, answer.Algorithm)
	}
	n.answer = answer
	return nil
}

// tkeyAnswer returns the TKEY record of a reply, or the error that it reports.
func tkeyAnswer(reply *dns.Msg) (*dns.TKEY, error) {
	answer, ok := tkeyIn(reply)
	if reply.Rcode != dns.RcodeSuccess || ok && answer.Error != 0 {
		refusal := &TKEYError{Rcode: reply.Rcode, Reply: reply}
		if ok {
			refusal.Code = answer.Error
		}
		return nil, refusal
	}
	if !ok {
		return nil, fmt.Errorf("%w: the reply has no TKEY record", ErrNegotiation)
	}
	return answer, nil
}

// tkeyIn finds the TKEY record of a reply.
func tkeyIn(reply *dns.Msg) (*dns.TKEY, bool) {
	for _, rr := range reply.Answer {
		if tkey, ok := rr.(*dns.TKEY); ok {
			return tkey, true
		}
	}
	return nil, false
}

// tkeyQuery makes a query as the configuration wants its records placed.
func (c *Client) tkeyQuery(name string, mode uint16, token []byte) *dns.Msg {
	now := c.config.Now()
	tkey := &dns.TKEY{
		Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeTKEY, Class: c.config.Quirks.RecordClass},
		Algorithm:  c.config.Algorithm,
		Inception:  uint32(now.Unix()),
		Expiration: uint32(now.Add(c.config.Lifetime).Unix()),
		Mode:       mode,
		KeySize:    uint16(len(token)),
		Key:        hex.EncodeToString(token),
	}
	query := new(dns.Msg)
	query.Id = dns.Id()
	query.Question = []dns.Question{{Name: name, Qtype: dns.TypeTKEY, Qclass: c.config.Quirks.Class}}
	if c.config.Quirks.TKEYInAnswer {
		query.Answer = []dns.RR{tkey}
	} else {
		query.Extra = []dns.RR{tkey}
	}
	return query
}

// randomKeyName makes names that no two clients choose at the same time; a name
// in use is BADNAME.
func randomKeyName(suffix string) string {
	var random [8]byte
	rand.Read(random[:])
	return strconv.FormatUint(binary.BigEndian.Uint64(random[:]), 10) + "." + suffix
}
