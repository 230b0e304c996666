package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// A ServiceTicket is what a context with one service starts from: the ticket
// itself and the session key that the KDC gave the client with it (RFC 4120
// section 3.3).
type ServiceTicket struct {
	Ticket     messages.Ticket
	SessionKey types.EncryptionKey // a secret
	Client     krb5.Principal      // that the ticket was issued to
	// Expires is the ticket's end time.
	Expires time.Time
}

// Credentials obtain service tickets for one client principal and keep them
// until they end, so that any number of contexts costs one request to the KDC.
// They are safe for concurrent use; one goroutine at a time talks to the KDC
// while the others wait for what it brings.
type Credentials struct {
	client krb5.Principal
	source ticketSource
	now    func() time.Time

	fetching chan struct{} // holds one element while a goroutine talks to the KDC

	mu      sync.RWMutex
	tickets map[string]ServiceTicket // by service principal as the caller wrote it; guarded by mu
}

// ticketSource gets a ticket for a service. Credentials call it from one
// goroutine at a time.
type ticketSource interface {
	ticket(service krb5.Principal) (ServiceTicket, error)
	// withEnctypes returns a source that asks for session keys of
	// these types, without the tickets it already has.
	withEnctypes(enctypes []krb5.Enctype) ticketSource
}

func newCredentials(client krb5.Principal, source ticketSource) *Credentials {
	return &Credentials{
		client:   client,
		source:   source,
		now:      time.Now,
		fetching: make(chan struct{}, 1),
		tickets:  make(map[string]ServiceTicket),
	}
}

// FromTicket makes credentials out of a service ticket that the caller already
// has. They serve every service name with it: tests use this to do without a KDC.
func FromTicket(ticket ServiceTicket) *Credentials {
	return newCredentials(ticket.Client, heldTicket(ticket))
}

type heldTicket ServiceTicket

func (h heldTicket) ticket(krb5.Principal) (ServiceTicket, error) { return ServiceTicket(h), nil }

func (h heldTicket) withEnctypes([]krb5.Enctype) ticketSource { return h }

// Client returns the principal that the credentials belong to.
func (c *Credentials) Client() krb5.Principal { return c.client }

// WithEnctypes returns credentials of the same principal that ask for
// tickets whose session key has one of the types given, best first. The new
// credentials begin without tickets.
func (c *Credentials) WithEnctypes(enctypes ...krb5.Enctype) *Credentials {
	narrowed := newCredentials(c.client, c.source.withEnctypes(slices.Clone(enctypes)))
	narrowed.now = c.now
	return narrowed
}

// Ticket returns a ticket for the service principal, such as
// DNS/ns1.example.test, from memory if it has not ended, else from the KDC. A
// service named without a realm belongs to the one that [domain_realm] of
// krb5.conf gives for its host, or else to the client's.
//
// A KDC is asked with gokrb5's own time limits (5 s for each address tried);
// when ctx ends sooner, Ticket returns and leaves that exchange to finish.
func (c *Credentials) Ticket(ctx context.Context, service string) (ServiceTicket, error) {
	if ticket, ok := c.held(service); ok {
		return ticket, nil
	}
	select {
	case c.fetching <- struct{}{}:
	case <-ctx.Done():
		return ServiceTicket{}, fmt.Errorf("ticket for %s: %w", service, ctx.Err())
	}
	// Someone else may have brought it while this goroutine waited.
	if ticket, ok := c.held(service); ok {
		<-c.fetching
		return ticket, nil
	}
	type outcome struct {
		ticket ServiceTicket
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-c.fetching }()
		ticket, err := c.fetch(service)
		done <- outcome{ticket, err}
	}()
	select {
	case o := <-done:
		return o.ticket, o.err
	case <-ctx.Done():
		return ServiceTicket{}, fmt.Errorf("ticket for %s: %w", service, ctx.Err())
	}
}

func (c *Credentials) held(service string) (ServiceTicket, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ticket, ok := c.tickets[service]
	return ticket, ok && c.now().Before(ticket.Expires)
}

// fetch asks the source. gokrb5 indexes into what a KDC sends without looking
// at its length, so a broken reply can panic; that must not end the program.
func (c *Credentials) fetch(service string) (ticket ServiceTicket, err error) {
	defer func() {
		if r := recover(); r != nil {
			ticket, err = ServiceTicket{}, fmt.Errorf("ticket for %s: malformed reply from the KDC", service)
		}
	}()
	principal, err := krb5.ParsePrincipal(service)
	if err != nil {
		return ServiceTicket{}, fmt.Errorf("service principal %q: %w", service, err)
	}
	ticket, err = c.source.ticket(principal)
	if err != nil {
		return ServiceTicket{}, fmt.Errorf("ticket for %s: %w", service, err)
	}
	if !c.now().Before(ticket.Expires) {
		return ServiceTicket{}, fmt.Errorf("ticket for %s: %w", service, ErrTicketExpired)
	}
	c.mu.Lock()
	c.tickets[service] = ticket
	c.mu.Unlock()
	return ticket, nil
}
