package gsstsig

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// DefaultLifetime is how long a context lives unless Config says otherwise or
// the ticket ends sooner.
const DefaultLifetime = time.Hour

// MaxLifetime is the longest life of a context, some 68 years. TKEY's times are
// counted modulo 2^32 seconds, and a key that lived for longer could have its
// messages accepted again (RFC 2930 section 3).
const MaxLifetime = (1<<31 - 1) * time.Second

// Config describes a Server. Acceptor and Contexts are required.
type Config struct {
	Acceptor *krb5.Acceptor
	// Contexts is where contexts are kept. It may be the table of an earlier
	// Server: the new one then has its contexts.
	Contexts *Table
	// Lifetime bounds a context's life, which ends with the ticket at the
	// latest; 0 is DefaultLifetime, and MaxLifetime is the most. What a client
	// asks for does not matter.
	Lifetime time.Duration
	// ServerName is the suffix of the key names that the server chooses for
	// clients that leave it the choice; empty is the root.
	ServerName string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Observe is told how each TKEY query ended, from the goroutine that
	// handles it and before the answer is sent. It may be nil and must be safe
	// for concurrent use.
	Observe func(Event)
}

// Server answers TKEY queries. It is safe for concurrent use.
type Server struct {
	acceptor *krb5.Acceptor
	contexts *Table
	lifetime time.Duration
	suffix   string
	now      func() time.Time
	observe  func(Event)
	opened   openedRecords
	remote   remoteContexts
}

// maxSuffix leaves room for the 33 octets of a chosen name's first label.
const maxSuffix = tsig.MaxName - 33

// NewServer checks the configuration.
func NewServer(config Config) (*Server, error) {
	if config.Acceptor == nil {
		return nil, errors.New("gsstsig: a server needs an acceptor")
	}
	if config.Contexts == nil {
		return nil, errors.New("gsstsig: a server needs a table of contexts")
	}
	if config.Lifetime < 0 {
		return nil, fmt.Errorf("gsstsig: negative lifetime %s", config.Lifetime)
	}
	if config.Lifetime > MaxLifetime {
		return nil, fmt.Errorf("gsstsig: lifetime %s is more than %s", config.Lifetime, MaxLifetime)
	}
	if config.Lifetime == 0 {
		config.Lifetime = DefaultLifetime
	}
	wire, ok := tsig.NameFromText(config.ServerName)
	if !ok || len(wire) > maxSuffix {
		return nil, fmt.Errorf("gsstsig: server name %q is no domain name, or too long to put a label in front", config.ServerName)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Observe == nil {
		config.Observe = func(Event) {}
	}
	return &Server{
		acceptor: config.Acceptor,
		contexts: config.Contexts,
		lifetime: config.Lifetime,
		suffix:   strings.TrimPrefix(dnswire.NameText([]byte(wire)), "."),
		now:      config.Now,
		observe:  config.Observe,
	}, nil
}

// WouldAccept reports whether the signer of a request, who may have negotiated
// with another server on the same address, would have got a context from this
// one; see [krb5.Acceptor.WouldAccept]. It is false for a static key.
func (s *Server) WouldAccept(t *Transaction) bool {
	c, ok := t.key.(*securityContext)
	return ok && s.acceptor.WouldAccept(c.mechanism)
}

// Shares reports whether contexts are shared with other servers, so that each of them
// accepts what is signed in one.
func (s *Server) Shares() bool { return s.contexts.shared.Load() != nil }

// find returns the context of that name. One that is in the shared table alone is made
// from its record, and is not in the server's. The context is nil if there is none, and
// the error says why a record there was not good.
func (s *Server) find(name []byte) (*securityContext, error) {
	if c := s.contexts.lookup(name); c != nil {
		return c, nil
	}
	shared := s.contexts.shared.Load()
	if shared == nil {
		return nil, nil
	}
	id := contextID(name)
	record := shared.find(id)
	if record == nil {
		return nil, nil
	}
	now := s.now()
	if c := s.opened.of(id); c != nil && bytes.Equal(c.record, record) && !c.over(now, now.Sub(started)) {
		return c, nil
	}
	c, err := s.adopt(shared, id, record)
	if err == nil {
		s.opened.add(c)
	}
	return c, err
}

// faultText describes a recovered panic. The runtime's own errors hold numbers
// only; of other values nothing is known, so they are not shown.
func faultText(r any) string {
	if err, ok := r.(runtime.Error); ok {
		return err.Error()
	}
	return "panic"
}
