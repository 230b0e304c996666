package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// A Context is one key that client and server share: a GSS context with a name.
// It belongs to no connection. It is safe for concurrent use: any number of
// exchanges may be under way, and replies may come in any order.
type Context struct {
	client             *Client
	kerberos           *krb5.InitiatorContext
	name, algorithm    string // canonical
	inception, expires time.Time
	close              sync.Once
}

// KeyName returns the key's name in canonical form.
func (c *Context) KeyName() string { return c.name }

// Algorithm returns the algorithm's name in canonical form.
func (c *Context) Algorithm() string { return c.algorithm }

// Lifetime returns the times between which the key is valid, as the server told
// them. The client does not check them: a request after the end is sent, and the
// server answers BADKEY.
func (c *Context) Lifetime() (inception, expiration time.Time) { return c.inception, c.expires }

// Enctype returns the encryption type that signatures are made with: that of
// the server's subkey if it sent one.
func (c *Context) Enctype() krb5.Enctype { return c.kerberos.SessionEnctype() }

// Exchange signs m, sends it, and returns the reply once its signature is
// verified, whatever its RCODE is. m itself is not changed; it must not have a
// TSIG record yet. The reply keeps its TSIG record.
//
// A refused signature is a *TSIGError. A reply that does not verify is one of
// the errors of this package, wrapped; by UDP such replies are passed over
// until the time is up, since the true one may still come.
func (c *Context) Exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	wire, transaction, err := c.Sign(m)
	if err != nil {
		return nil, err
	}
	if !c.client.byTCP(wire) {
		reply, err := exchange(ctx, c.client.transport.udp, wire, transaction)
		if err != nil || !reply.Truncated {
			return reply, err
		}
		// The server has seen this MAC; it would refuse it by TCP.
		if wire, transaction, err = c.Sign(m); err != nil {
			return nil, err
		}
	}
	return exchange(ctx, c.client.transport.tcp, wire, transaction)
}

func exchange(ctx context.Context, carry func(context.Context, []byte, func([]byte) (bool, error)) error, wire []byte, transaction *Transaction) (*dns.Msg, error) {
	var reply *dns.Msg
	err := carry(ctx, wire, func(received []byte) (over bool, err error) {
		reply, err = transaction.Verify(received)
		var refused *TSIGError
		return err == nil || errors.As(err, &refused), err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// Update is Exchange, except that a reply with an RCODE other than NOERROR is an
// *RcodeError.
func (c *Context) Update(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	reply, err := c.Exchange(ctx, m)
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess {
		return reply, &RcodeError{Rcode: reply.Rcode, Reply: reply}
	}
	return reply, nil
}

// Delete asks the server to delete the key (TKEY mode 5, RFC 2930 section 4.2)
// and closes the context when it has.
func (c *Context) Delete(ctx context.Context) error {
	if err := c.DeleteKey(ctx, c.name); err != nil {
		return err
	}
	c.Close()
	return nil
}

// DeleteKey asks the server to delete a key by name, in a query signed with
// this one. Servers allow that for keys of the same principal.
func (c *Context) DeleteKey(ctx context.Context, name string) error {
	reply, err := c.Exchange(ctx, c.client.tkeyQuery(dns.Fqdn(name), modeDelete, nil))
	if err != nil {
		return fmt.Errorf("deleting the key %s: %w", name, err)
	}
	if _, err := tkeyAnswer(reply); err != nil {
		return fmt.Errorf("deleting the key %s: %w", name, err)
	}
	return nil
}

// Close deletes the key in the client only; later use is an error.
func (c *Context) Close() { c.close.Do(c.kerberos.Wipe) }
