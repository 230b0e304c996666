package listener

import (
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

// graceTime is how long a stopping server waits for the requests that it is working on, as CoreDNS's own does.
const graceTime = 5 * time.Second

// server is a configuration at work on one endpoint: CoreDNS's server for an address, with everything below ServeDNS
// replaced. Fields above the blank line never change once it is made.
type server struct {
	*dnsserver.Server // routes by question; also tells timeouts and HMAC keys

	stockTLS      *dnsserver.ServerTLS // Server is part of it, nil for plain DNS
	tls           *tls.Config          // nil for plain DNS
	instance      *instance
	ordinal       int  // among the servers of the address (multisocket)
	proxied       bool // the PROXY protocol is spoken on the sockets
	debug         bool // the debug plugin wants panics to end the process
	authenticator *gsstsig.Authenticator
	observer      Observer
	limiter       *limiter
	shortcuts     map[string]*shortcut
	zones         map[string]bool // of all blocks of the address, as CoreDNS writes them

	// otherBlocks says that the address has blocks that do not use gsstsig. They answer some messages that those that
	// use it refuse.
	otherBlocks bool

	// makeDecorate makes decorate when the server begins to serve, as it does in CoreDNS: what it makes lasts until the
	// instance's shutdown, which an instance that fails to start never sees. Both may be nil.
	makeDecorate func(*dnsserver.Server) dns.DecorateWriter
	decorate     dns.DecorateWriter

	requests *drainGroup
	done     chan struct{} // closed by Stop
	halting  sync.Once
	stopping sync.Once

	// Guarded by the socketTable.
	endpoint *endpoint   // claimed or served, nil if neither
	expiry   *time.Timer // of a claim
	stopped  bool
}

var _ caddy.GracefulServer = (*server)(nil)

// stock returns CoreDNS's server, which opens the sockets.
func (s *server) stock() sockets {
	if s.stockTLS != nil {
		return s.stockTLS
	}
	return s.Server
}

// OnStartupComplete implements caddy.AfterStartup: it prints what the server serves.
func (s *server) OnStartupComplete() {
	if s.stockTLS != nil {
		s.stockTLS.OnStartupComplete()
		return
	}
	s.Server.OnStartupComplete()
}

// alive reports whether the server's instance is running or about to. Caddy removes an instance that fails to start from
// its list, and gives no other sign.
func (s *server) alive() bool {
	return s.instance != nil && slices.Contains(caddy.Instances(), s.instance.caddy)
}

// Serve takes the sockets over and returns when the server was stopped. Caddy calls it when all servers of the instance
// have their sockets. The listener is the one that openSockets gave to caddy; the endpoint has it already.
func (s *server) Serve(net.Listener) error {
	if err := s.instance.process.sockets.activate(s); err != nil {
		return err
	}
	<-s.done
	return nil
}

// ServePacket does as Serve: the two calls come in any order, and the first one takes over both sockets.
func (s *server) ServePacket(net.PacketConn) error { return s.Serve(nil) }

// Stop ends the server. Sockets that a newer server has claimed go on with that one, others are closed. It returns when
// the requests being worked on are answered, or after graceTime.
func (s *server) Stop() error {
	s.halt()
	s.stopping.Do(func() { close(s.done) })
	return nil
}

// halt is Stop but for the end of Serve. A second call waits for the first.
func (s *server) halt() {
	s.halting.Do(func() {
		orphan := s.instance.process.sockets.stop(s)
		s.requests.close()
		timeout := time.NewTimer(graceTime)
		defer timeout.Stop()
		select {
		case <-s.requests.idle:
		case <-timeout.C:
			log.Warningf("%s: requests were still being worked on after %v", s.Addr, graceTime)
		}
		if orphan != nil {
			orphan.close()
		}
	})
}
