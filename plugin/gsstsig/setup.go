package gsstsig

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

func init() { plugin.Register(pluginName, setup) }

// block is one gsstsig block of a running configuration.
type block struct {
	instance caddy.Context // the configuration that the block is part of

	service       atomic.Pointer[Service] // nil until its keytabs are open
	keytabFailure failure                 // of the last attempt to read them again
	warned        []string                // what was said about the files last

	// effects are what the block's properties do to what outlives a reload. They wait until the configuration is the one
	// in force: one that is rejected must leave no trace.
	effects []func()
}

// setup reads a gsstsig block, opens what it names, and joins the server block's plugins and listeners.
func setup(c *caddy.Controller) error {
	conf, err := corefile.Parse(c, dnsserver.GetConfig(c).Root)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	b := &block{instance: c.Context()}
	handler, err := b.open(c, conf)
	if err != nil {
		return plugin.Error(pluginName, fmt.Errorf("%s: %w", conf.Position, errors.Join(err, b.release())))
	}

	site := dnsserver.GetConfig(c)
	site.AllowOpcode(dns.OpcodeUpdate)
	site.AddPlugin(func(next plugin.Handler) plugin.Handler {
		handler.Next = next
		return handler
	})
	if err := listener.Register(c, listener.Block{
		Server:   handler.server,
		Observer: observer{},
		Limits:   conf.Strangers,
		Plugin:   pluginName,
		Answerer: handler.answerer,
	}); err != nil {
		return plugin.Error(pluginName, errors.Join(err, b.release()))
	}
	c.OnStartup(registerGauges)
	c.OnStartup(b.takeEffect)
	c.OnStartup(func() error {
		if t, ok := dnsserver.GetConfig(c).Handler("transfer").(*transfer.Transfer); ok {
			handler.followedBy(t)
		}
		return nil
	})
	c.OnShutdown(b.release)
	c.OnRestartFailed(func() error {
		// The configuration that failed may have come as far as to take effect.
		return errors.Join(releaseStrangers(b.instance), b.takeEffect())
	})
	return nil
}

// takeEffect is for the time when the block's configuration is in force.
func (b *block) takeEffect() error {
	for _, effect := range b.effects {
		effect()
	}
	return nil
}

// open reads the block's keytabs and zones and says at start-up what the administrator should know.
func (b *block) open(c *caddy.Controller, conf *corefile.Block) (*Handler, error) {
	service, err := OpenService(conf)
	if err != nil {
		return nil, err
	}
	for _, line := range describeKeys(service.Keytabs.Keys()) {
		log.Info(line)
	}
	b.warn(service.Keytabs)
	if problem, mend := service.UnusableKeys(); problem != "" {
		log.Warningf("%s. Mend: %s", problem, mend)
	}
	for _, problem := range service.MistypedRealms() {
		log.Warning(problem)
	}
	session := b.holdSessions(numbered(c, conf.Keytabs...), service.Keytabs)
	b.service.Store(service)
	b.effects = append(b.effects, func() { session.contexts.Limit(conf.Contexts) })
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{
		Keytabs:   service.Keytabs,
		Replays:   replays,
		Services:  service.Principals,
		Realms:    service.Realms,
		Transit:   service.Transit,
		Enctypes:  conf.Encryption,
		AllowRC4:  conf.AllowRC4,
		ClockSkew: conf.ClockSkew,
		Now:       machine.now,
		Random:    machine.random,
	})
	if err != nil {
		return nil, err
	}
	server, err := gsstsig.NewServer(gsstsig.Config{
		Acceptor:   acceptor,
		Contexts:   session.contexts,
		Lifetime:   conf.Lifetime,
		ServerName: service.Hosts[0],
		Now:        machine.now,
		Observe:    auditHandshake,
	})
	if err != nil {
		return nil, err
	}

	handler := &Handler{zones: make(map[string]*zone.Zone), policies: make(map[string]*policy.Policy), server: server, service: service}
	var primaries []string
	addresses := ListenAddresses(dnsserver.GetConfig(c).ListenHosts)
	for _, origin := range conf.Origins {
		z, err := b.openZone(service, origin, numbered(c, "zone", origin), addresses)
		if err != nil {
			return nil, err
		}
		handler.zones[origin] = z
		handler.names = append(handler.names, origin)
		primaries = append(primaries, z.Snapshot().SOA().Ns)
		for _, m := range service.Mismatches(z.Snapshot()) {
			log.Warning(m.warning())
		}
	}
	for _, origin := range conf.Origins {
		if handler.policies[origin], err = service.Policy(origin, primaries); err != nil {
			return nil, err
		}
	}
	return handler, nil
}

// warn says what is wrong with the files of keytabs, unless that was said before.
func (b *block) warn(keytabs *krb5.Keytabs) {
	warnings := keytabs.Warnings()
	for _, line := range warnings {
		if !slices.Contains(b.warned, line) {
			log.Warning(line)
		}
	}
	b.warned = warnings
}

// reloadKeytabs reads the block's keytabs again if they have changed, and says what it found. It is for
// lookAtKeytabs.
func (b *block) reloadKeytabs() {
	service := b.service.Load()
	if service == nil {
		return
	}
	keytabs := service.Keytabs
	b.warn(keytabs)
	changed, err := keytabs.Reload()
	if err != nil {
		b.keytabFailure.report(err)
		return
	}
	b.keytabFailure.clear()
	if changed {
		for _, line := range describeKeys(keytabs.Keys()) {
			log.Info("changed " + line)
		}
		if problem, mend := service.UnusableKeys(); problem != "" {
			log.Warningf("%s; the keys read before serve for %s. Mend: %s", problem, krb5.DefaultRetention, mend)
		}
	}
}

// ListenAddresses are the addresses that the block answers on: those of the bind directive or, on the wildcard
// address, those of the machine's interfaces that others can reach.
func ListenAddresses(hosts []string) []net.IP {
	var addresses []net.IP
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			addresses = append(addresses, ip)
		}
	}
	if len(addresses) > 0 {
		return addresses
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		log.Warningf("cannot list the machine's addresses, generated zones get none for their name server: %v", err)
		return nil
	}
	for _, a := range all {
		if network, ok := a.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			addresses = append(addresses, network.IP)
		}
	}
	return addresses
}
