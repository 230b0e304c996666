// Package link is a TCP connection's way through a network that fails: a [Link] hands on what clients and a server send, and
// holds it back, delays it or breaks connections off when a test says so.
package link

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A Direction is one way of a link, or both.
type Direction int

// The directions.
const (
	ToServer Direction = 1 << iota
	FromServer
	Both = ToServer | FromServer
)

// Link hands on connections until it is closed. Its methods are safe for concurrent use.
type Link struct {
	Address netip.AddrPort // that clients connect to

	server   netip.AddrPort
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	cut     Direction         // guarded by mu
	delay   time.Duration     // guarded by mu
	changed chan struct{}     // guarded by mu; closed and replaced when cut or delay is set
	open    map[net.Conn]bool // guarded by mu; nil once the link is closed
	closed  chan struct{}
}

// Start begins to hand on connections to the server.
func Start(server netip.AddrPort) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l := &Link{
		Address: netip.MustParseAddrPort(listener.Addr().String()), server: server, listener: listener,
		changed: make(chan struct{}), open: make(map[net.Conn]bool), closed: make(chan struct{}),
	}
	l.running.Go(l.serve)
	return l, nil
}

// Cut holds back what is sent in a direction, and lets the other pass; 0 lets both pass. As in a network, nothing is lost but
// time: what was sent meanwhile arrives when the link is whole again.
func (l *Link) Cut(direction Direction) { l.set(func() { l.cut = direction }) }

// Delay has all that is sent arrive later, in each direction.
func (l *Link) Delay(d time.Duration) { l.set(func() { l.delay = d }) }

func (l *Link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

// Break closes all connections. What was under way is lost.
func (l *Link) Break() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.open {
		abort(conn)
	}
}

// abort closes a connection as a machine does that knows nothing of it.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // or it is closed in another way
	}
	_ = conn.Close() // its reader sees that
}

// Close ends the link and its connections. It may be called more than once.
func (l *Link) Close() {
	l.mu.Lock()
	open := l.open
	if open != nil {
		close(l.closed)
	}
	l.open = nil
	l.mu.Unlock()
	_ = l.listener.Close() // nobody connects any more
	for conn := range open {
		abort(conn)
	}
	l.running.Wait()
}

func (l *Link) serve() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		if !l.keep(client) {
			return
		}
		l.running.Go(func() { l.connect(client) })
	}
}

// keep has Break and Close close a connection. It reports false, and closes it, when the link is closed already.
func (l *Link) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		abort(conn)
		return false
	}
	l.open[conn] = true
	return true
}

func (l *Link) letGo(conn net.Conn) {
	abort(conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, conn)
}

// connect hands on one connection.
func (l *Link) connect(client net.Conn) {
	defer l.letGo(client)
	// What a link that is cut holds back is the beginning of a connection too.
	if !l.pass(Both) {
		return
	}
	server, err := net.Dial("tcp", l.server.String())
	if err != nil || !l.keep(server) {
		return
	}
	defer l.letGo(server)
	var back sync.WaitGroup
	back.Go(func() {
		defer abort(client)
		l.copy(client, server, FromServer)
	})
	l.copy(server, client, ToServer)
	abort(server)
	back.Wait()
}

func (l *Link) copy(to, from net.Conn, direction Direction) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !l.pass(direction) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// pass waits until what is sent in that direction arrives. It reports false when the link is closed.
func (l *Link) pass(direction Direction) bool {
	sent := time.Now()
	for {
		l.mu.Lock()
		cut, delay, changed := l.cut&direction, l.delay, l.changed
		l.mu.Unlock()
		var arrival <-chan time.Time
		if cut == 0 {
			left := delay - time.Since(sent)
			if left <= 0 {
				return true
			}
			timer := time.NewTimer(left)
			defer timer.Stop()
			arrival = timer.C
		}
		select {
		case <-arrival:
		case <-changed:
		case <-l.closed:
			return false
		}
	}
}
