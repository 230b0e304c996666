package listener

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// defaultQueries is the number of messages on a connection if the configuration says zero, as in miekg/dns.
const defaultQueries = 128

// acceptConnections accepts TCP connections until the endpoint is closed.
func (e *endpoint) acceptConnections() {
	var wait time.Duration
	for {
		accepted, err := e.streams.Accept()
		if err != nil {
			if e.isClosing() || errors.Is(err, net.ErrClosed) {
				return
			}
			wait = pause(wait)
			continue
		}
		wait = 0
		s := e.current.Load()
		if s == nil {
			accepted.Close()
			continue
		}
		c := &connection{Conn: accepted, accepted: accepted}
		if s.tls != nil {
			c.beginTLS(s)
		}
		if !e.track(c, s) {
			c.abort()
			continue
		}
		go e.serveConnection(c)
	}
}

// track enters the connection into the tables. If there are too many, it closes the one that has been idle for longest.
func (e *endpoint) track(c *connection, s *server) bool {
	if !s.proxied {
		c.source = ratelimit.Of(addressOf(c.RemoteAddr()).Addr())
	} // else the address comes with the first octets, which must not be waited for here
	evicted, ok := e.table.add(c, s.limiter.limits.Connections, s.limiter.limits.SourceConnections)
	if evicted != nil {
		s.observer.Dropped(Connections)
		evicted.abort()
	}
	if !ok {
		s.observer.Dropped(Connections)
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		e.table.remove(c)
		return false
	}
	e.connections[c] = true
	return true
}

// serveConnection answers the messages of a connection one after the other (RFC 7766 section 6.2.1.1 lets a server
// answer out of order, no more).
func (e *endpoint) serveConnection(c *connection) {
	hijacked := false
	var delay time.Duration
	defer func() {
		end := func() {
			c.Close() // by TLS this may take a while, in which the connection counts
			e.forget(c)
		}
		switch {
		case hijacked:
			e.forget(c)
		case delay == 0 || !e.table.closeLater(c, delay, end):
			end()
		}
	}()
	if c.secure != nil {
		var ok bool
		if delay, ok = e.handshake(c); !ok {
			return
		}
	}
	r := bufio.NewReaderSize(c, 2048)
	for count := 0; ; count++ {
		wire, err := e.readMessage(c, r, count)
		if err != nil {
			if count == 0 && c.secure != nil {
				e.chargeUnused(c)
			}
			return
		}
		if !e.table.setBusy(c) {
			return // closed to make room
		}
		s := e.acquireServer()
		if s == nil {
			return
		}
		if count == 0 && c.secure != nil {
			s.limiter.recordTLSMessage(s.sourceOf(c))
		}
		if c.secure != nil && !c.secure.admittedBy(s) {
			s.requests.done()
			return
		}
		source := s.sourceOf(c)
		path := &streamPath{connection: c, table: e.table, timeout: s.WriteTimeout}
		w := &responseWriter{path: path, server: s, stream: true, source: source}
		func() {
			defer s.requests.done()
			s.serve(w, wire, s.classify(w, wire))
		}()
		closed, taken := w.state()
		hijacked = taken
		if closed || taken || path.failed {
			return
		}
		if w.discarded {
			delay = s.limiter.limits.closeDelay
			return
		}
		e.table.setIdle(c)
	}
}

// forget takes the connection out of the tables.
func (e *endpoint) forget(c *connection) {
	e.mu.Lock()
	delete(e.connections, c)
	e.mu.Unlock()
	e.table.remove(c)
}

var errEnough = errors.New("no more messages on this connection")

// readMessage reads one message with its length (RFC 1035 section 4.2.2). The first one has to be there within the
// server's ReadTimeout. Later ones may take the IdleTimeout to begin and the ReadTimeout to arrive.
func (e *endpoint) readMessage(c *connection, r *bufio.Reader, count int) ([]byte, error) {
	s := e.current.Load()
	if s == nil {
		return nil, net.ErrClosed
	}
	limit := s.MaxTCPQueries
	if limit == 0 {
		limit = defaultQueries
	}
	if limit > 0 && count >= limit {
		return nil, errEnough
	}

	timeout := s.ReadTimeout
	if count > 0 {
		timeout = s.IdleTimeout
	}
	if err := e.setReadTimeout(c, timeout); err != nil {
		return nil, err
	}
	var prefix [2]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(prefix[:]))
	if count > 0 && r.Buffered() < length {
		if err := e.setReadTimeout(c, s.ReadTimeout); err != nil {
			return nil, err
		}
	}
	// The client chose the length, so that memory is allocated as octets arrive.
	wire := make([]byte, 0, min(length, 2048))
	for len(wire) < length {
		if len(wire) == cap(wire) {
			grown := make([]byte, len(wire), min(2*cap(wire), length))
			copy(grown, wire)
			wire = grown
		}
		n, err := r.Read(wire[len(wire):cap(wire)])
		wire = wire[:len(wire)+n]
		if err != nil && len(wire) < length {
			return nil, err
		}
	}
	return wire, nil
}

// sourceOf returns the source of a connection. With the PROXY protocol, it waits for what tells it.
func (s *server) sourceOf(c *connection) ratelimit.Key {
	if s.proxied {
		return ratelimit.Of(addressOf(c.RemoteAddr()).Addr())
	}
	return c.source
}

// setReadTimeout sets the connection's deadline, unless stopReading has put it into the past. TLS may write while it reads.
func (e *endpoint) setReadTimeout(c *connection, timeout time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return net.ErrClosed
	}
	deadline := time.Now().Add(timeout)
	if c.secure != nil {
		return c.SetDeadline(deadline)
	}
	return c.SetReadDeadline(deadline)
}

// streamPath is the way back of a request that came by TCP.
type streamPath struct {
	connection *connection
	table      *connectionTable
	timeout    time.Duration
	failed     bool // a message was sent in part, so that nothing after it would be understood
}

func (p *streamPath) localAddr() net.Addr  { return p.connection.LocalAddr() }
func (p *streamPath) remoteAddr() net.Addr { return p.connection.RemoteAddr() }
func (p *streamPath) close() error         { return p.connection.Close() }

func (p *streamPath) send(wire []byte) error {
	// A client that does not read must not keep others out: its connection may be closed to make room.
	p.table.setIdle(p.connection)
	frame := make([]byte, 2+len(wire))
	binary.BigEndian.PutUint16(frame, uint16(len(wire)))
	copy(frame[2:], wire)
	if err := p.connection.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return err
	}
	_, err := p.connection.Write(frame)
	if err != nil {
		p.failed = true
	}
	return err
}
