package gsstsig

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/plugin/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func init() { plugin.Register(pluginName, setup) }

// block is one gsstsig block of a running configuration.
type block struct {
	id       string        // names the server block over reloads
	instance caddy.Context // the configuration that the block is part of
	state    *state

	keytabs       atomic.Pointer[krb5.Keytabs] // nil until they are open
	keytabFailure failure                      // of the last attempt to read them again
}

// setup reads a gsstsig block, opens what it names, and joins the server block's plugins and listeners.
func setup(c *caddy.Controller) error {
	conf, err := corefile.Parse(c, dnsserver.GetConfig(c).Root)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	b := &block{id: identify(c), instance: c.Context()}
	b.state = acquire(b.id, b)
	handler, err := b.open(conf, listenAddresses(dnsserver.GetConfig(c).ListenHosts))
	if err != nil {
		return plugin.Error(pluginName, fmt.Errorf("%s: %w", conf.Position, errors.Join(err, release(b.id, b))))
	}

	site := dnsserver.GetConfig(c)
	site.AllowOpcode(dns.OpcodeUpdate)
	site.AddPlugin(func(next plugin.Handler) plugin.Handler {
		handler.Next = next
		return handler
	})
	if err := listener.Register(c, listener.Block{Server: handler.server, Observer: observer{}}); err != nil {
		return plugin.Error(pluginName, errors.Join(err, release(b.id, b)))
	}
	c.OnStartup(registerGauges)
	c.OnStartup(func() error {
		if t, ok := dnsserver.GetConfig(c).Handler("transfer").(*transfer.Transfer); ok {
			handler.followedBy(t)
		}
		return nil
	})
	c.OnShutdown(func() error { return release(b.id, b) })
	c.OnRestartFailed(func() error { return releaseStrangers(b.instance) })
	return nil
}

// open reads the block's keytabs and zones and says at start-up what the administrator should know.
func (b *block) open(conf *corefile.Block, addresses []net.IP) (*Handler, error) {
	keytabs, err := krb5.OpenKeytabs(conf.Keytabs...)
	if err != nil {
		return nil, err
	}
	b.keytabs.Store(keytabs)
	keys := keytabs.Keys()
	services, err := resolveServices(conf.Principals, keys)
	if err != nil {
		return nil, err
	}
	hosts := serviceHosts(keys, services)
	if len(hosts) == 0 {
		return nil, fmt.Errorf("no DNS/<host> principal in %v, which holds %v: "+
			"clients ask their KDC for DNS/<the server's host name>, so the keytab needs that key", conf.Keytabs, principalNames(keys))
	}
	realms := conf.Realms
	if len(realms) == 0 {
		realms = keytabs.Realms()
	}
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{
		Keytabs:  keytabs,
		Replays:  b.state.replays,
		Services: services,
		Realms:   realms,
	})
	if err != nil {
		return nil, err
	}
	server, err := gsstsig.NewServer(gsstsig.Config{
		Acceptor:   acceptor,
		Contexts:   b.state.contexts,
		ServerName: hosts[0],
		Observe:    auditHandshake,
	})
	if err != nil {
		return nil, err
	}
	// A context that the new configuration would not have let in ends with the reload.
	b.state.contexts.Retain(func(id gsstsig.Identity) bool { return slices.Contains(realms, id.Principal.Realm) })

	for _, line := range describeKeys(keys) {
		log.Info(line)
	}
	handler := &Handler{zones: make(map[string]*zone.Zone), policies: make(map[string]*policy.Policy), server: server}
	protected := slices.Clone(hosts)
	for _, origin := range conf.Origins {
		z, err := b.openZone(conf, origin, primaryFor(origin, hosts), addresses)
		if err != nil {
			return nil, err
		}
		handler.zones[origin] = z
		handler.names = append(handler.names, origin)
		protected = append(protected, z.Snapshot().SOA().Ns)
		for _, line := range warnAboutNames(z, hosts, realms) {
			log.Warning(line)
		}
	}
	for _, origin := range conf.Origins {
		handler.policies[origin], err = policy.New(policy.Config{
			Mode: conf.Mode(origin), Rules: conf.Rules, Realms: realms, Protected: protected,
			TombstoneLifetime: conf.Tombstones,
		})
		if err != nil {
			return nil, err
		}
	}
	handler.ready.Store(true)
	return handler, nil
}

// reloadKeytabs reads the block's keytabs again if they have changed, and says what it found.
func (b *block) reloadKeytabs() {
	keytabs := b.keytabs.Load()
	if keytabs == nil {
		return
	}
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
	}
}

// openZone gives the zone of that origin: the one that is being served already, or a new one from its seed file or the
// generated apex.
func (b *block) openZone(conf *corefile.Block, origin, mname string, addresses []net.IP) (*zone.Zone, error) {
	source := "the generated apex"
	seed := func() ([]dns.RR, error) { return generatedApex(origin, mname, addresses), nil }
	if file, ok := conf.Seeds[origin]; ok {
		source = file
		seed = func() ([]dns.RR, error) {
			f, err := os.Open(file)
			if err != nil {
				return nil, fmt.Errorf("seed of zone %s: %w", origin, err)
			}
			defer f.Close()
			return zone.ParseSeed(f, origin, file)
		}
	}
	z, kept, err := b.state.zone(origin, func() (*zone.Zone, error) {
		return zone.Open(zone.Config{
			Origin: origin, Store: store.NewMemory(store.MemoryOptions{}), Seed: seed,
			Limits: conf.Limits, TombstoneLifetime: conf.Tombstones,
		})
	})
	if err != nil {
		return nil, err
	}
	soa := z.Snapshot().SOA()
	if kept {
		z.Configure(conf.Limits, conf.Tombstones)
		log.Infof("zone %s: kept over the reload, serial %d", origin, soa.Serial)
	} else {
		log.Infof("zone %s: serial %d, primary server %s, from %s, in memory, updates %s",
			origin, soa.Serial, soa.Ns, source, conf.Mode(origin))
	}
	return z, nil
}

// resolveServices finds the principals that the principal property names in the keytab, filling in the realm where
// the Corefile leaves it out.
func resolveServices(wanted []krb5.Principal, keys []krb5.KeyInfo) ([]krb5.Principal, error) {
	var found []krb5.Principal
	for _, w := range wanted {
		n := len(found)
		for _, k := range keys {
			if slices.Equal(k.Principal.Components, w.Components) && (w.Realm == "" || w.Realm == k.Principal.Realm) &&
				!slices.ContainsFunc(found, k.Principal.Equal) {
				found = append(found, k.Principal)
			}
		}
		if len(found) == n {
			return nil, fmt.Errorf("principal %s is not in the keytab, which holds %v", w, principalNames(keys))
		}
	}
	return found, nil
}

// principalNames lists the principals of a keytab once each, for messages.
func principalNames(keys []krb5.KeyInfo) []string {
	var names []string
	for _, k := range keys {
		if name := k.Principal.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// primaryFor picks the host that a generated SOA names as primary server: one inside the zone if there is one.
func primaryFor(origin string, hosts []string) string {
	for _, host := range hosts {
		if dns.IsSubDomain(origin, host) {
			return host
		}
	}
	return hosts[0]
}

// generatedApex makes the records of a zone that has no seed file. A primary server inside the zone needs an address
// there, or nobody finds it.
func generatedApex(origin, mname string, addresses []net.IP) []dns.RR {
	records := zone.GeneratedApex(origin, mname)
	if !dns.IsSubDomain(origin, mname) {
		return records
	}
	ttl := records[0].Header().Ttl
	for _, ip := range addresses {
		header := dns.RR_Header{Name: mname, Class: dns.ClassINET, Ttl: ttl}
		if v4 := ip.To4(); v4 != nil {
			header.Rrtype = dns.TypeA
			records = append(records, &dns.A{Hdr: header, A: v4})
		} else {
			header.Rrtype = dns.TypeAAAA
			records = append(records, &dns.AAAA{Hdr: header, AAAA: ip})
		}
	}
	return records
}

// listenAddresses are the addresses that the block answers on: those of the bind directive or, on the wildcard
// address, those of the machine's interfaces that others can reach.
func listenAddresses(hosts []string) []net.IP {
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
