package client

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxIdleSockets bounds the UDP sockets that a Client keeps for later.
const maxIdleSockets = 256

// transport carries packed messages to one server. It knows nothing of what is
// in them: the caller says which reply to take. Safe for concurrent use.
type transport struct {
	address string
	source  netip.Addr    // that requests come from; invalid is the system's choice
	timeout time.Duration // for one exchange
	tls     *tls.Config   // nil for plain DNS

	mu     sync.Mutex
	idle   []*udpSocket // guarded by mu
	closed bool         // guarded by mu
}

// A udpSocket is used by one exchange at a time.
type udpSocket struct {
	net.Conn
	buffer []byte
}

// udp sends one datagram and hands every datagram that comes back to take until
// it says that the exchange is over. A datagram that take refuses is dropped,
// for any host can send one (RFC 8945 section 5.4); if nothing better comes in
// time, the error tells what was wrong with the last.
func (t *transport) udp(ctx context.Context, wire []byte, take func(reply []byte) (over bool, err error)) error {
	socket, err := t.socket(ctx)
	if err != nil {
		return err
	}
	stop, err := t.limit(ctx, socket)
	if err != nil {
		socket.Close()
		return err
	}
	reusable := false
	defer func() {
		if stop() && reusable {
			t.keep(socket)
		} else {
			socket.Close()
		}
	}()
	if _, err := socket.Write(wire); err != nil {
		return interrupted(ctx, err)
	}
	var refused error
	for {
		n, err := socket.Read(socket.buffer)
		if err != nil {
			return errors.Join(refused, interrupted(ctx, err))
		}
		over, err := take(socket.buffer[:n])
		if over {
			reusable = true
			return err
		}
		if err != nil {
			refused = err
		}
	}
}

// tcp sends one message over a connection of its own and hands the replies on
// that connection to take until it says that the exchange is over or refuses
// one: in a stream there is no better one to wait for.
func (t *transport) tcp(ctx context.Context, wire []byte, take func(reply []byte) (over bool, err error)) error {
	if len(wire) > 0xffff {
		return fmt.Errorf("a message of %d octets is too long for DNS", len(wire))
	}
	conn, err := t.dial(ctx, "tcp")
	if err != nil {
		return err
	}
	defer conn.Close()
	stop, err := t.limit(ctx, conn)
	if err != nil {
		return err
	}
	defer stop()

	framed := make([]byte, 2, 2+len(wire))
	binary.BigEndian.PutUint16(framed, uint16(len(wire)))
	if _, err := conn.Write(append(framed, wire...)); err != nil {
		return interrupted(ctx, err)
	}
	var length [2]byte
	for {
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return interrupted(ctx, err)
		}
		reply := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, reply); err != nil {
			return interrupted(ctx, err)
		}
		if over, err := take(reply); over || err != nil {
			return err
		}
		// A long transfer is not hung as long as messages keep coming.
		if err := conn.SetDeadline(t.deadline(ctx)); err != nil {
			return interrupted(ctx, err)
		}
	}
}

func (t *transport) dial(ctx context.Context, network string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: t.timeout}
	if t.source.IsValid() {
		from := netip.AddrPortFrom(t.source, 0)
		if network == "tcp" {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
		} else {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
	}
	if t.tls != nil {
		secure := tls.Dialer{NetDialer: &dialer, Config: t.tls}
		return secure.DialContext(ctx, network, t.address)
	}
	return dialer.DialContext(ctx, network, t.address)
}

func (t *transport) deadline(ctx context.Context) time.Time {
	deadline := time.Now().Add(t.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		return d
	}
	return deadline
}

// limit makes a connection fail at the deadline and when ctx is cancelled. stop
// ends the latter; it returns false if ctx was cancelled already.
func (t *transport) limit(ctx context.Context, conn net.Conn) (stop func() bool, err error) {
	if err := conn.SetDeadline(t.deadline(ctx)); err != nil {
		return nil, err
	}
	if ctx.Done() == nil {
		return func() bool { return true }, nil
	}
	return context.AfterFunc(ctx, func() { conn.Close() }), nil
}

// interrupted prefers the context's word over that of a connection closed on
// its behalf.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the server closed the connection: %w", err)
	}
	return err
}

func (t *transport) socket(ctx context.Context) (*udpSocket, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, ErrClosed
	}
	if n := len(t.idle); n > 0 {
		socket := t.idle[n-1]
		t.idle = t.idle[:n-1]
		t.mu.Unlock()
		return socket, nil
	}
	t.mu.Unlock()
	conn, err := t.dial(ctx, "udp")
	if err != nil {
		return nil, err
	}
	return &udpSocket{conn, make([]byte, 0xffff)}, nil
}

func (t *transport) keep(socket *udpSocket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.idle) >= maxIdleSockets {
		socket.Close()
		return
	}
	t.idle = append(t.idle, socket)
}

func (t *transport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, socket := range t.idle {
		socket.Close()
	}
	t.idle = nil
}
