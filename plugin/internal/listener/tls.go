package listener

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"
)

// dotProtocol is DNS over TLS in the terms of ALPN (RFC 7858 erratum 5375).
const dotProtocol = "dot"

// maxHandshakeOctets is how much a client may send before the TLS handshake is finished. Chains of certificates have some
// ten thousand octets; crypto/tls alone would take a megabyte.
const maxHandshakeOctets = 65536

var (
	errHandshakeOctets = fmt.Errorf("more than %d octets before the end of the handshake", maxHandshakeOctets)
	errHandshakeQueue  = errors.New("too many handshakes wait for a processor")
	errTLSLimited      = errors.New("too many handshakes of the source have failed")

	// ErrHandshakeClosed is told to the Observer when a client has closed its connection during the handshake.
	ErrHandshakeClosed = errors.New("the client has closed the connection during the handshake")
)

// tlsConfig returns the TLS configuration of an address. CoreDNS takes that of the first site, too, and refuses to start if
// those of the others differ (dnsserver.NewServerTLS). It agrees to the protocol "dot" if the client asks for protocols,
// which a transfer needs (RFC 9103 section 7.1); the tls plugin sets none.
func tlsConfig(group []site) (*tls.Config, error) {
	first := group[0].config
	if first.TLSConfig == nil {
		return nil, fmt.Errorf("the server block has no certificate, so that CoreDNS would answer in plain text. " +
			"Fix: add \"tls CERTIFICATE KEY\" to the server block, or take \"tls://\" away")
	}
	config := first.TLSConfig.Clone()
	if !slices.Contains(config.NextProtos, dotProtocol) {
		config.NextProtos = append(slices.Clone(config.NextProtos), dotProtocol)
	}
	return config, nil
}

// ErrTransfer is told to the Observer when a zone transfer is refused because of how TLS was agreed on (RFC 9103 sections 7.1 and
// 7.2).
var ErrTransfer = errors.New("a zone transfer needs TLS 1.3 and the protocol dot (ALPN)")

// permitsTransfer reports whether a zone may be transferred on the connection of a request. Other requests need less of TLS.
func (w *responseWriter) permitsTransfer() bool {
	path, ok := w.path.(*streamPath)
	if !ok || path.connection.secure == nil {
		return true
	}
	state := path.connection.secure.conn.ConnectionState()
	return state.Version >= tls.VersionTLS13 && state.NegotiatedProtocol == dotProtocol
}

// tlsState is what a connection has of TLS. Only the goroutine that serves the connection uses it.
type tlsState struct {
	conn   *tls.Conn
	config *tls.Config // that the handshake was made with
	below  *handshakeConn
}

// beginTLS puts TLS on the accepted connection. The handshake follows.
func (c *connection) beginTLS(s *server) {
	below := &handshakeConn{Conn: c.accepted, left: maxHandshakeOctets}
	c.secure = &tlsState{conn: tls.Server(below, s.tls), config: s.tls, below: below}
	c.Conn = c.secure.conn
}

// handshake makes the TLS handshake of a connection within the server's ReadTimeout. If it fails, the connection is to be closed
// after the delay.
func (e *endpoint) handshake(c *connection) (delay time.Duration, ok bool) {
	s := e.current.Load()
	if s == nil || e.setReadTimeout(c, s.ReadTimeout) != nil {
		return 0, false
	}
	source := s.sourceOf(c)
	if s.limiter.tlsLimited(source) {
		s.observer.Dropped(TLSFailures)
		return s.limiter.limits.closeDelay, false
	}
	below := c.secure.below
	below.slots, below.evicted = s.limiter.tlsSlots(source), func() bool { return e.table.isEvicted(c) }
	below.limited = func() bool { return s.limiter.tlsLimited(source) }
	err := c.secure.conn.Handshake()
	below.finish()
	switch {
	case err == nil:
		return 0, e.table.setFinished(c)
	case below.left == maxHandshakeOctets:
		// Not an octet came: something that looks whether the port is open.
	case errors.Is(err, errTLSLimited):
		s.observer.Dropped(TLSFailures)
		return s.limiter.limits.closeDelay, false
	case errors.Is(err, net.ErrClosed):
		// To make room, which was counted, or because the server stops. What the server has worked for it is charged, or a
		// source that opens more connections than it may have would get that for nothing.
		s.limiter.recordTLSFailure(source)
	default:
		s.limiter.recordTLSFailure(source)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
			err = ErrHandshakeClosed
		}
		s.observer.TLSFailed(addressOf(c.RemoteAddr()), err)
	}
	return 0, false
}

// chargeUnused charges the source of a connection that has ended after the handshake without a message.
func (e *endpoint) chargeUnused(c *connection) {
	if s := e.current.Load(); s != nil {
		s.limiter.recordTLSFailure(s.sourceOf(c))
	}
}

// admittedBy reports whether the handshake of a connection proved of the client what the server asks for. It may have been made
// before a reload.
func (t *tlsState) admittedBy(s *server) bool {
	return t.config == s.tls ||
		t.config.ClientAuth == s.tls.ClientAuth && t.config.ClientCAs.Equal(s.tls.ClientCAs)
}

// handshakeConn is what a TLS connection reads from and writes to. Until the handshake is finished it bounds what the client may
// send, and how many handshakes are computed at a time: the computing between a Read and what follows it holds a slot, the
// waiting for the client does not.
type handshakeConn struct {
	net.Conn
	slots    *semaphore
	evicted  func() bool // reports whether the connection was closed to make room
	limited  func() bool // reports whether too many handshakes of the source have failed
	left     int         // octets that the client may send
	holds    bool
	worked   bool // something was computed
	finished bool
}

// Read implements io.Reader.
func (c *handshakeConn) Read(p []byte) (int, error) {
	if c.finished {
		return c.Conn.Read(p)
	}
	c.release()
	if c.left == 0 {
		return 0, errHandshakeOctets
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err != nil {
		return n, err
	}
	if !c.slots.acquire() {
		return 0, errHandshakeQueue
	}
	c.holds = true
	switch {
	case c.evicted(): // while it waited
		return 0, net.ErrClosed
	case !c.worked && c.limited(): // others have failed meanwhile
		return 0, errTLSLimited
	}
	c.worked = true
	return n, nil
}

// Write implements io.Writer.
func (c *handshakeConn) Write(p []byte) (int, error) {
	if !c.finished {
		c.release()
	}
	return c.Conn.Write(p)
}

func (c *handshakeConn) release() {
	if c.holds {
		c.holds = false
		c.slots.release()
	}
}

// finish ends the bounds.
func (c *handshakeConn) finish() {
	c.release()
	c.finished = true
}

var _ io.ReadWriter = (*handshakeConn)(nil)
