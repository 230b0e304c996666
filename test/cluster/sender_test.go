//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/linearizable"
)

// answerTimeout is longer than a server takes to say that an outcome is not known.
const answerTimeout = 5 * time.Second

// sender sends updates to any of the servers, one at a time. A context that it makes at one of them it uses at all.
type sender struct {
	d     *deployment
	keys  map[string]*client.Context // by principal
	conns [size]*dns.Conn
}

func (d *deployment) newSender() *sender {
	s := &sender{d: d, keys: make(map[string]*client.Context)}
	d.t.Cleanup(s.close)
	return s
}

func (s *sender) close() {
	for _, conn := range s.conns {
		if conn != nil {
			_ = conn.Close() // nothing is under way
		}
	}
}

// errNotSent means that nothing was sent.
var errNotSent = errors.New("not sent")

// key returns the principal's context, and makes it at that server if there is none.
func (s *sender) key(server int, principal string) (*client.Context, error) {
	if key := s.keys[principal]; key != nil {
		return key, nil
	}
	ctx, cancel := context.WithTimeout(s.d.ctx, answerTimeout)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{Server: s.d.address(server).String(), Network: "tcp", Timeout: answerTimeout,
		Credentials: shared.credentials[principal], ServicePrincipal: service})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	key, err := c.Negotiate(ctx)
	if err == nil {
		s.keys[principal] = key
	}
	return key, err
}

// exchange signs a message, sends it to a server, and returns the reply to it. What is not known to be refused before the
// server looked at the update is not errNotSent.
func (s *sender) exchange(server int, principal string, m *dns.Msg) (*dns.Msg, error) {
	key, err := s.key(server, principal)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if s.conns[server] == nil {
		dialer := net.Dialer{Timeout: answerTimeout}
		conn, err := dialer.DialContext(s.d.ctx, "tcp", s.d.address(server).String())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotSent, err)
		}
		s.conns[server] = &dns.Conn{Conn: conn}
	}
	reply, err := s.roundTrip(s.conns[server], key, m)
	if refused := new(client.TSIGError); errors.As(err, &refused) {
		// The server does not know the key, so it did nothing.
		delete(s.keys, principal)
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if err != nil {
		_ = s.conns[server].Close() // it may be closed already
		s.conns[server] = nil
	}
	return reply, err
}

func (s *sender) roundTrip(conn *dns.Conn, key *client.Context, m *dns.Msg) (*dns.Msg, error) {
	wire, transaction, err := key.Sign(m)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	reply := make([]byte, dns.MaxMsgSize)
	n, err := conn.Read(reply)
	if err != nil {
		return nil, err
	}
	return transaction.Verify(reply[:n])
}

// update sends an update of a history.
func (s *sender) update(server int, u *linearizable.Update) (rcode int, err error) {
	m, err := u.Message()
	if err != nil {
		return 0, err
	}
	reply, err := s.exchange(server, u.Principal, m)
	switch {
	case errors.Is(err, errNotSent):
		return linearizable.NotSent, nil
	case err != nil:
		return linearizable.Unknown, nil
	}
	return reply.Rcode, nil
}
