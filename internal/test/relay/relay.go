// Package relay stands between DNS clients and a server: it forwards messages by UDP and TCP, passes copies to an observer,
// and changes replies where a test says so.
package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
)

const (
	maxMessage = 0xFFFF
	// replyTimeout bounds the wait for a server that does not answer a datagram, as servers may.
	replyTimeout = 10 * time.Second
	// listenAttempts: another process may take the port first.
	listenAttempts = 5
)

// Exchange is one request and the reply to it, octet by octet as they came.
type Exchange struct {
	Network    string // udp or tcp
	Connection int    // of TCP, counted from 1: what has the same number came over one connection. 0 for UDP
	Request    []byte
	Reply      []byte         // the server's, before it was changed
	Server     netip.AddrPort // that replied
}

// Config describes a relay. Server or Pick is required.
type Config struct {
	Server netip.AddrPort
	// Pick chooses the server of each TCP connection and each datagram, as an address in front of several servers does; an
	// address that is not valid drops it. It must be safe for concurrent use. nil always chooses Server.
	Pick func() netip.AddrPort
	// Dial connects to the server; nil is net.Dial.
	Dial func(network, address string) (net.Conn, error)
	// Listen and ListenPacket make the sockets that clients are served on; nil are those of package net.
	Listen       func(network, address string) (net.Listener, error)
	ListenPacket func(network, address string) (net.PacketConn, error)
	// Address is where clients are served, by UDP and TCP; zero is a free port of 127.0.0.1.
	Address netip.AddrPort
	// Observe is told of each exchange before the client has its reply, of one at a time. It may be nil.
	Observe func(Exchange)
	// Change returns what the client gets in place of the reply, which it may overwrite; nil that it gets none. It must be
	// safe for concurrent use. Without it nothing is changed.
	Change func(Exchange) []byte
}

// Relay hands messages on until it is closed.
type Relay struct {
	Address netip.AddrPort // that clients are served on

	config   Config
	listener net.Listener
	packets  net.PacketConn
	observed sync.Mutex // held while Observe runs
	running  sync.WaitGroup

	mu          sync.Mutex
	connections int               // of TCP so far; guarded by mu
	open        map[net.Conn]bool // guarded by mu; nil once the relay is closed
}

// Start begins to serve.
func Start(config Config) (*Relay, error) {
	if config.Dial == nil {
		config.Dial = net.Dial
	}
	if config.Listen == nil {
		config.Listen, config.ListenPacket = net.Listen, net.ListenPacket
	}
	if config.Pick == nil {
		config.Pick = func() netip.AddrPort { return config.Server }
	}
	if config.Observe == nil {
		config.Observe = func(Exchange) {}
	}
	if config.Change == nil {
		config.Change = func(e Exchange) []byte { return e.Reply }
	}
	listener, packets, err := listen(config)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{config: config, listener: listener, packets: packets, open: make(map[net.Conn]bool)}
	r.Address = netip.MustParseAddrPort(listener.Addr().String())
	r.running.Go(r.serveTCP)
	r.running.Go(r.serveUDP)
	return r, nil
}

// listen opens the sockets of both protocols on the same port.
func listen(config Config) (listener net.Listener, packets net.PacketConn, err error) {
	for range listenAttempts {
		address := config.Address
		if !address.IsValid() {
			port, err := loopback.Port()
			if err != nil {
				return nil, nil, err
			}
			address = loopback.Address(port)
		}
		if listener, err = config.Listen("tcp", address.String()); err != nil {
			continue
		}
		if packets, err = config.ListenPacket("udp", address.String()); err == nil {
			return listener, packets, nil
		}
		err = errors.Join(err, listener.Close())
	}
	return nil, nil, err
}

// Close ends the relay and what is under way in it. It may be called more than once.
func (r *Relay) Close() {
	r.mu.Lock()
	open := r.open
	r.open = nil
	r.mu.Unlock()
	// Errors of closing do not matter: the sockets are no longer used.
	_ = r.listener.Close()
	_ = r.packets.Close()
	for conn := range open {
		_ = conn.Close()
	}
	r.running.Wait()
}

// keep has Close close a connection. It reports false, and closes it, when the relay is closed already.
func (r *Relay) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		_ = conn.Close()
		return false
	}
	r.open[conn] = true
	return true
}

func (r *Relay) letGo(conn net.Conn) {
	_ = conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, conn)
}

// dial connects to a server.
func (r *Relay) dial(network string) (net.Conn, netip.AddrPort, error) {
	to := r.config.Pick()
	if !to.IsValid() {
		return nil, to, errNoServer
	}
	conn, err := r.config.Dial(network, to.String())
	if err != nil {
		return nil, to, err
	}
	if !r.keep(conn) {
		return nil, to, net.ErrClosed
	}
	return conn, to, nil
}

var errNoServer = errors.New("relay: no server")

// reply tells of an exchange and returns what the client gets, nil for nothing.
func (r *Relay) reply(e Exchange) []byte {
	r.observed.Lock()
	r.config.Observe(e)
	r.observed.Unlock()
	e.Reply = bytes.Clone(e.Reply)
	return r.config.Change(e)
}

func (r *Relay) serveTCP() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		if !r.keep(conn) {
			return
		}
		r.mu.Lock()
		r.connections++
		number := r.connections
		r.mu.Unlock()
		r.running.Go(func() {
			defer r.letGo(conn)
			r.serveConnection(conn, number)
		})
	}
}

// serveConnection hands on one connection, message by message: each has one reply. What goes wrong on either side ends it.
func (r *Relay) serveConnection(client net.Conn, number int) {
	server, picked, err := r.dial("tcp")
	if err != nil {
		return
	}
	defer r.letGo(server)
	for {
		request, err := readFramed(client)
		if err != nil {
			return
		}
		if err := writeFramed(server, request); err != nil {
			return
		}
		reply, err := readFramed(server)
		if err != nil {
			return
		}
		reply = r.reply(Exchange{Network: "tcp", Connection: number, Request: request, Reply: reply, Server: picked})
		if reply == nil || writeFramed(client, reply) != nil {
			return
		}
	}
}

func (r *Relay) serveUDP() {
	buffer := make([]byte, maxMessage)
	for {
		n, client, err := r.packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		request := append([]byte(nil), buffer[:n]...)
		r.running.Go(func() { r.servePacket(request, client) })
	}
}

// servePacket hands on one datagram, and the reply to it if one comes in time.
func (r *Relay) servePacket(request []byte, client net.Addr) {
	server, picked, err := r.dial("udp")
	if err != nil {
		return
	}
	defer r.letGo(server)
	if server.SetDeadline(time.Now().Add(replyTimeout)) != nil {
		return
	}
	if _, err := server.Write(request); err != nil {
		return
	}
	buffer := make([]byte, maxMessage)
	n, err := server.Read(buffer)
	if err != nil {
		return
	}
	if reply := r.reply(Exchange{Network: "udp", Request: request, Reply: buffer[:n:n], Server: picked}); reply != nil {
		_, _ = r.packets.WriteTo(reply, client) // datagrams may get lost
	}
}

// readFramed reads one message of a stream, RFC 1035 section 4.2.2.
func readFramed(from io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(from, message)
	return message, err
}

func writeFramed(to io.Writer, message []byte) error {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(message)), uint16(len(message)))
	_, err := to.Write(append(framed, message...))
	return err
}
