package listener

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/coredns/coredns/request"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// instance is what this package knows of one caddy instance, that is one reading of the Corefile. It lives in the
// instance's storage. Caddy starts instances one after the other, in one goroutine each, so it needs no lock.
type instance struct {
	process    *process
	caddy      *caddy.Instance
	first      bool // replaces no other instance
	lineage    *lineage
	context    caddy.Context
	controller caddy.Controller // any of the instance's, to ask dnsserver for configs
	blocks     []registeredBlock
	sites      []site
	servers    []*server
	limiter    *limiter      // of all servers
	started    sync.Once     // guards the calls of Block.Started
	restarting atomic.Bool   // by caddy; its shutdown is not that of the program
	restarted  chan struct{} // closed at the end of the restart
}

// registeredBlock is a Block and where it stands in the Corefile.
type registeredBlock struct {
	Block
	index int // of the server block
	keys  int // of the server block, after the expansion of address ranges
}

// add notes a block that uses gsstsig.
func (in *instance) add(c *caddy.Controller, b Block) error {
	for _, known := range in.blocks {
		if known.index == c.ServerBlockIndex {
			return errors.New("only one gsstsig in a server block")
		}
	}
	in.blocks = append(in.blocks, registeredBlock{Block: b, index: c.ServerBlockIndex, keys: len(c.ServerBlockKeys)})
	return nil
}

// takeOver decides which sites move to this package's servers and hides them from CoreDNS's MakeServers. It runs when
// all directives are set up and before MakeServers.
//
// A site is hidden by giving it the transport "unix", which CoreDNS knows and makes no DNS server for. (Taking away the
// ListenHosts would hide it too, but MakeServers copies those of a block's first key to its other keys, so a block's
// DNS-over-HTTPS key would lose its server.) A filter keeps the hidden sites of several views from being reported as
// duplicates; rejectOverlaps checks later what CoreDNS could not.
func (in *instance) takeOver() error {
	if err := in.findSites(); err != nil {
		return err
	}
	addresses := make(map[string]bool)
	for _, s := range in.sites {
		if in.registered(s.block) != nil {
			for _, a := range s.addresses {
				addresses[a] = true
			}
		}
	}
	// A site that listens on several addresses takes all of them along, and with them the sites there.
	for changed := true; changed; {
		changed = false
		for i := range in.sites {
			s := &in.sites[i]
			if s.moved || !slices.ContainsFunc(s.addresses, func(a string) bool { return addresses[a] }) {
				continue
			}
			s.moved, changed = true, true
			for _, a := range s.addresses {
				addresses[a] = true
			}
		}
	}
	for i := range in.sites {
		if s := &in.sites[i]; s.moved {
			s.filters = s.config.FilterFuncs
			s.config.Transport = transport.UNIX
			s.config.FilterFuncs = []dnsserver.FilterFunc{func(context.Context, *request.Request) bool { return true }}
		}
	}
	in.caddy.OnFirstStartup = append(in.caddy.OnFirstStartup, func() error {
		in.first = true
		return nil
	})
	in.caddy.OnStartup = slices.Concat([]func() error{in.makeServers}, in.caddy.OnStartup, []func() error{in.openSockets})
	in.caddy.OnRestart = append(in.caddy.OnRestart, func() error {
		in.restarting.Store(true)
		in.process.beginRestart(in)
		return nil
	})
	in.caddy.OnRestartFailed = append(in.caddy.OnRestartFailed, func() error {
		// This instance runs on. The one that claimed its sockets did not start.
		in.restarting.Store(false)
		in.process.endRestart(in)
		in.process.sockets.abandonDead()
		return nil
	})
	in.caddy.OnShutdown = append(in.caddy.OnShutdown, func() error {
		in.process.endRestart(in)
		if !in.restarting.Load() {
			in.process.stops.Add(1)
			return nil // stop follows
		}
		return in.end(func(b *registeredBlock) func() error { return b.Replaced })
	})
	// The last function of all plugins: those before may wait while requests are still served (lameduck of the health plugin).
	in.caddy.OnFinalShutdown = append(in.caddy.OnFinalShutdown, in.stop)
	return nil
}

// start is called for each server that is about to serve.
func (in *instance) start() {
	in.started.Do(func() {
		for i := range in.blocks {
			if f := in.blocks[i].Started; f != nil {
				f()
			}
		}
	})
}

// stop ends the work of all servers, and then the blocks. The servers do not return from Serve yet: caddy's Wait would
// return, and the program would end under this function.
func (in *instance) stop() error {
	var halting sync.WaitGroup
	for _, s := range in.servers {
		halting.Go(s.halt)
	}
	halting.Wait()
	return in.end(func(b *registeredBlock) func() error { return b.Stopped })
}

// end calls a function of every block.
func (in *instance) end(function func(*registeredBlock) func() error) error {
	var errs []error
	for i := range in.blocks {
		if f := function(&in.blocks[i]); f != nil {
			errs = append(errs, f())
		}
	}
	return errors.Join(errs...)
}

// registered returns the gsstsig block with that index, or nil.
func (in *instance) registered(block int) *registeredBlock {
	for i := range in.blocks {
		if in.blocks[i].index == block {
			return &in.blocks[i]
		}
	}
	return nil
}

// makeServers is the instance's first start function. It does for the moved sites what MakeServers did for the others.
func (in *instance) makeServers() error {
	var limits Limits
	for _, b := range in.blocks {
		limits.widen(b.Limits)
	}
	in.limiter = newLimiter(limits)
	groups := make(map[string][]site)
	var order []string
	for _, s := range in.sites {
		if !s.moved {
			continue
		}
		s.config.Transport = s.transport
		s.config.FilterFuncs = s.filters
		in.addSiteHandler(s)
		for _, a := range s.addresses {
			if groups[a] == nil {
				order = append(order, a)
			}
			groups[a] = append(groups[a], s)
		}
	}
	in.lineage = in.process.lineageOf(in, order)
	for _, address := range order {
		group := groups[address]
		// multisocket: CoreDNS takes the number from the first site of the address, too.
		for ordinal := range max(1, group[0].config.NumSockets) {
			s, err := in.newServer(address, ordinal, group)
			if err != nil {
				return fmt.Errorf("server for %s: %w", address, err)
			}
			in.servers = append(in.servers, s)
		}
	}
	for _, s := range in.sites {
		if s.moved {
			if err := setView(s.config); err != nil {
				return err
			}
		}
	}
	for _, s := range in.servers {
		s.openShortcuts(in, groups[s.Addr])
	}
	return rejectOverlaps(in.sites)
}

// newServer makes the server of one address.
func (in *instance) newServer(address string, ordinal int, group []site) (*server, error) {
	configs := make([]*dnsserver.Config, len(group))
	for i, s := range group {
		configs[i] = s.config
	}
	s := &server{
		instance: in,
		ordinal:  ordinal,
		observer: noObserver{},
		limiter:  in.limiter,
		zones:    make(map[string]bool),
		requests: newDrainGroup(),
		done:     make(chan struct{}),
	}
	var err error
	if group[0].transport == transport.TLS {
		if s.tls, err = tlsConfig(group); err != nil {
			return nil, err
		}
		if s.stockTLS, err = dnsserver.NewServerTLS(address, configs); err == nil {
			s.Server = s.stockTLS.Server
		}
	} else {
		s.Server, err = dnsserver.NewServer(address, configs)
	}
	if err != nil {
		return nil, err
	}
	var servers []*gsstsig.Server
	for _, member := range group {
		s.zones[member.config.Zone] = true
		s.debug = s.debug || member.config.Debug
		s.proxied = s.proxied || member.config.ProxyProtoConnPolicy != nil
		if decorate := member.config.UDPDecorateWriterFunc; decorate != nil {
			s.makeDecorate = decorate // CoreDNS takes the last one, too
		}
		b := in.registered(member.block)
		if b == nil {
			s.otherBlocks = true
			continue
		}
		if b.Server != nil && !slices.Contains(servers, b.Server) {
			servers = append(servers, b.Server)
		}
		if s.observer == (noObserver{}) && b.Observer != nil {
			s.observer = b.Observer
		}
	}
	static := gsstsig.StaticKeys(s.TsigSecret)
	s.authenticator = gsstsig.NewAuthenticator(static, servers...)
	s.authenticator.ShareReplays(in.process.replays)
	return s, nil
}

// setView gives a site the filter of the view plugin. The handlers of a site exist once its server is made.
func setView(config *dnsserver.Config) error {
	for _, h := range config.Handlers() {
		viewer, ok := h.(dnsserver.Viewer)
		if !ok {
			continue
		}
		if config.ViewName != "" {
			return fmt.Errorf("zone %s has more than one view in its server block", config.Zone)
		}
		config.ViewName = viewer.ViewName()
		config.FilterFuncs = append(config.FilterFuncs, viewer.Filter)
	}
	return nil
}

// listenError is the error of an address that a server cannot listen on, with what to do about it.
func listenError(address string, err error) error {
	err = fmt.Errorf("listen on %s: %w", address, err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return diagnose.WithFix(err, "stop the program that has the port, often another DNS server or systemd-resolved (ss -lnptu shows it), or name other addresses by bind")
	case errors.Is(err, syscall.EACCES):
		return diagnose.WithFix(err, "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE, which the unit coredns.service gives")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return diagnose.WithFix(err, "name addresses of this machine by bind")
	}
	return err
}

// openSockets is the instance's last start function. After it only a server of CoreDNS's own can fail to start.
func (in *instance) openSockets() error {
	sockets := in.process.sockets
	sockets.abandonDead()
	for i, s := range in.servers {
		if err := sockets.claim(s); err != nil {
			for _, claimed := range in.servers[:i] {
				sockets.abandon(claimed)
			}
			return listenError(s.Addr, err)
		}
	}
	for _, s := range in.servers {
		in.caddy.SaveServer(s, sockets.listener(s))
	}
	return nil
}
