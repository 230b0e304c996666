package gsstsigtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const (
	listenAttempts = 5                // another process may take the port first
	idleTimeout    = 30 * time.Second // of a TCP connection
	atOnce         = 256              // UDP messages that are worked on
)

// server is the DNS server, of this module's libraries.
type server struct {
	address  netip.AddrPort
	zone     *zone.Zone
	policy   *policy.Policy
	contexts *gsstsig.Table
	onTime   *gsstsig.Authenticator
	ahead    *gsstsig.Authenticator // with the clock of BadTime
	faults   faults

	packets net.PacketConn
	streams net.Listener
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	once    sync.Once // guards stop

	mu   sync.Mutex
	open map[net.Conn]bool // guarded by mu; nil once the server is stopped
}

func startServer(config Config, keytab string) (*server, error) {
	s := &server{open: make(map[net.Conn]bool)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.prepare(config, keytab); err != nil {
		s.cancel()
		return nil, err
	}
	if err := s.listen(); err != nil {
		s.cancel()
		return nil, errors.Join(err, s.zone.Close())
	}
	s.running.Go(s.servePackets)
	s.running.Go(s.serveStreams)
	return s, nil
}

// prepare makes keys and zone.
func (s *server) prepare(config Config, keytab string) error {
	keys, err := krb5.OpenKeytabs(keytab)
	if err != nil {
		return err
	}
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{Keytabs: keys, Replays: krb5.NewReplayCache(0)})
	if err != nil {
		return err
	}
	s.contexts = gsstsig.NewTable(gsstsig.TableConfig{})
	server, err := gsstsig.NewServer(gsstsig.Config{Acceptor: acceptor, Contexts: s.contexts, ServerName: config.Host})
	if err != nil {
		return err
	}
	fast, err := gsstsig.NewServer(gsstsig.Config{Acceptor: acceptor, Contexts: s.contexts, Now: func() time.Time { return time.Now().Add(ahead) }})
	if err != nil {
		return err
	}
	s.onTime, s.ahead = gsstsig.NewAuthenticator(nil, server), gsstsig.NewAuthenticator(nil, fast)
	if s.policy, err = policy.New(policy.Config{Mode: config.Mode, Protected: []string{config.Host}}); err != nil {
		return err
	}
	s.zone, err = zone.Open(zone.Config{
		Origin: config.Zone,
		Store:  store.NewMemory(store.MemoryOptions{}),
		Seed: func() ([]store.Record, error) {
			records, err := zone.GeneratedApex(config.Zone, config.Host)
			if err != nil {
				return nil, err
			}
			rr, err := dns.NewRR(config.Host + " 300 A 127.0.0.1")
			if err != nil {
				return nil, err
			}
			address, err := zone.RecordOf(rr)
			return append(records, address), err
		},
	})
	return err
}

// listen opens both sockets on one port.
func (s *server) listen() error {
	var failed error
	for range listenAttempts {
		port, err := loopback.Port()
		if err != nil {
			return err
		}
		s.address = loopback.Address(port)
		if s.streams, err = net.Listen("tcp", s.address.String()); err != nil {
			failed = err
			continue
		}
		if s.packets, err = net.ListenPacket("udp", s.address.String()); err == nil {
			return nil
		}
		failed = errors.Join(err, s.streams.Close())
	}
	return fmt.Errorf("no port: %w", failed)
}

func (s *server) stop() {
	s.once.Do(func() {
		s.cancel()
		s.packets.Close()
		s.streams.Close()
		s.mu.Lock()
		for c := range s.open {
			c.Close()
		}
		s.open = nil
		s.mu.Unlock()
		s.running.Wait()
		// The store is in memory: nothing is lost.
		_ = s.zone.Close()
	})
}

func (s *server) servePackets() {
	semaphore := make(chan struct{}, atOnce)
	for {
		buffer := make([]byte, dns.MaxMsgSize)
		n, from, err := s.packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		semaphore <- struct{}{}
		s.running.Go(func() {
			defer func() { <-semaphore }()
			if answer := s.answer(s.ctx, buffer[:n], from.(*net.UDPAddr).AddrPort(), false); answer != nil {
				// The client is gone, or it asks again.
				_, _ = s.packets.WriteTo(answer, from)
			}
		})
	}
}

func (s *server) serveStreams() {
	for {
		c, err := s.streams.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.open == nil {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.open[c] = true
		s.mu.Unlock()
		s.running.Go(func() {
			s.serveStream(c)
			c.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		})
	}
}

// serveStream answers one message after the other.
func (s *server) serveStream(c net.Conn) {
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	r := bufio.NewReader(c)
	for {
		if c.SetReadDeadline(time.Now().Add(idleTimeout)) != nil {
			return
		}
		var prefix [2]byte
		if _, err := io.ReadFull(r, prefix[:]); err != nil {
			return
		}
		wire := make([]byte, binary.BigEndian.Uint16(prefix[:]))
		if _, err := io.ReadFull(r, wire); err != nil {
			return
		}
		answer := s.answer(s.ctx, wire, from, true)
		if answer == nil {
			return
		}
		if _, err := c.Write(frame(answer)); err != nil {
			return
		}
	}
}
