package gsstsig

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// block is one gsstsig block of a configuration. It uses the state of the process until it is released.
type block struct {
	process  *process
	instance caddy.Context // the configuration that the block is part of
	number   int           // in the order of the blocks, over all configurations

	service atomic.Pointer[service.Service] // nil until its keytabs are open
	keytabs keytabReports

	handler atomic.Pointer[Handler] // nil until the block is open

	server   *gsstsig.Server
	contexts *gsstsig.Table
	cluster  *cluster // nil: the zones are not on etcd
	zones    []*servedZone
	notifier atomic.Pointer[notifier] // nil until the block serves, and without the plugin transfer

	contextsFiles []string // where contexts may be kept; saveContexts uses the first
}

// open opens the block's keytabs and zones, and logs what the administrator should know about them.
func (b *block) open(c *caddy.Controller, conf *corefile.Block) (*Handler, error) {
	s, err := service.Open(conf)
	if err != nil {
		return nil, err
	}
	logFindings(s.KeyFindings())
	b.keytabs.warn(s)
	logFindings(s.NotReady())
	logFindings(s.RealmFindings())
	logFindings(s.StorageFindings())
	logFindings(corefile.TransportFindings(c.ServerBlockKeys, conf.Position))
	logFindings(corefile.CertificateFindings(dnsserver.GetConfig(c).TLSConfig, c.ServerBlockKeys, conf.Position))
	b.contexts = b.process.acquireContexts(b, numbered(c, conf.Keytabs...), s.Keytabs)
	b.service.Store(s)
	if b.server, err = b.newServer(s); err != nil {
		return nil, err
	}

	if s.OnEtcd() {
		if b.cluster, err = b.process.acquireCluster(b, &s.Etcd); err != nil {
			return nil, err
		}
	}
	handler := &Handler{
		zones: make(map[string]*servedZone), damaged: make(map[string]diagnose.Finding),
		server: b.server, accounts: &b.process.accounts, audit: b.process.audit, service: s,
	}
	addresses, err := service.ListenAddresses(dnsserver.GetConfig(c).ListenHosts)
	if err != nil {
		log.Warningf("%v. The primary server of a generated zone gets no address", err)
	}
	for _, origin := range conf.Origins {
		handler.names = append(handler.names, origin)
		z, err := b.openZone(s, origin, numbered(c, "zone", origin), addresses)
		if errors.Is(err, disk.ErrDamaged) {
			handler.setDamaged(origin, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		b.zones = append(b.zones, z)
		if s.Database != "" {
			b.contextsFiles = append(b.contextsFiles, contextsFile(c, s.DatabaseOf(origin)))
		}
		handler.zones[origin] = z
		if z.loaded() != nil {
			logFindings(s.ApexFindings(z.loaded().Snapshot()))
		}
	}
	if err := handler.setPolicies(); err != nil {
		return nil, err
	}
	b.handler.Store(handler)
	// Once more: a zone on etcd may have been loaded meanwhile.
	return handler, handler.setPolicies()
}

// setPolicies makes the policies of the block's zones, which protect the primary servers of all of them.
func (h *Handler) setPolicies() error {
	var primaries []string
	for _, origin := range h.names {
		if z, ok := h.zones[origin]; ok && z.loaded() != nil {
			primaries = append(primaries, z.loaded().Snapshot().SOA().Ns)
		}
	}
	policies := make(map[string]*policy.Policy)
	for _, origin := range h.names {
		var err error
		if policies[origin], err = h.service.Policy(origin, primaries, h.ownerOf, func(name []byte) bool { return h.isTarget(origin, name) }); err != nil {
			return err
		}
	}
	h.policies.Store(&policies)
	return nil
}

// policy returns the policy of one of the block's zones.
func (h *Handler) policy(origin string) *policy.Policy { return (*h.policies.Load())[origin] }

// zone returns one of the block's zones, nil if it cannot be served now or is of another block.
func (h *Handler) zone(origin string) *zone.Zone {
	if z, ok := h.zones[origin]; ok {
		return z.serving()
	}
	return nil
}

// ownerOf returns the recorded owner of a name with records in one of the block's zones, or "".
func (h *Handler) ownerOf(name []byte) string {
	text := dnswire.NameText(name)
	z := h.zone(h.service.ZoneOf(text))
	if z == nil {
		return ""
	}
	if owner, _ := z.Snapshot().Owner(text); owner.Deleted.IsZero() {
		return owner.Principal
	}
	return ""
}

// isTarget reports whether records of the services of the block's zones other than origin lead to a name.
func (h *Handler) isTarget(origin string, name []byte) bool {
	for other, served := range h.zones {
		if z := served.loaded(); other != origin && z != nil && z.Snapshot().LeadsTo(name) {
			return true
		}
	}
	return false
}

// newServer makes the server side of GSS-TSIG for the block.
func (b *block) newServer(s *service.Service) (*gsstsig.Server, error) {
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{
		Keytabs:  s.Keytabs,
		Replays:  b.process.replays,
		Services: s.Principals,
		Realms:   s.Realms,
		Transit:  s.Transit,

		RequirePAC: s.RequirePAC,

		Enctypes:  s.Enctypes,
		AllowRC4:  s.AllowRC4,
		ClockSkew: s.ClockSkew,
		Now:       b.process.now,
		Random:    b.process.random,
	})
	if err != nil {
		return nil, err
	}
	return gsstsig.NewServer(gsstsig.Config{
		Acceptor:   acceptor,
		Contexts:   b.contexts,
		Lifetime:   s.Lifetime,
		ServerName: s.Hosts[0],
		Now:        b.process.now,
		Observe:    b.process.audit.handshake,
	})
}

// takeEffect sets the block's limits on contexts and zones, which outlive a reload, and with whom it shares contexts. It is
// called when the block's configuration is the one in force: a configuration that is rejected must change nothing.
func (b *block) takeEffect() error {
	s := b.service.Load()
	b.contexts.Limit(s.ContextLimits)
	if err := b.shareContexts(); err != nil {
		return err
	}
	for _, z := range b.zones {
		z.configure(s)
	}
	return nil
}

// release gives up what the block uses.
func (b *block) release() error {
	return errors.Join(b.process.release(b), b.process.closeUnusedControl())
}

// replaced is release after a reload.
func (b *block) replaced() error {
	for _, z := range b.process.lastInMemory(b) {
		snapshot := z.loaded().Snapshot()
		logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + z.origin,
			Problem: fmt.Sprintf("a reload has taken a server block with it out of the Corefile, and it was in memory only: what updates made of it is lost, with serial %d and %d records",
				snapshot.Serial(), snapshot.Len()),
			Fix: "add \"database DIR\" to the gsstsig blocks, so that a zone that is taken out of the Corefile can come back"})
	}
	return b.release()
}

// stop is release at the end of the process.
func (b *block) stop() error {
	b.saveContexts()
	return b.release()
}
