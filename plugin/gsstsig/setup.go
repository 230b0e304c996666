package gsstsig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
)

// current is the state of the running process. CoreDNS calls a plugin's setup without any argument of the plugin's own, so
// that the state has to be found here; nothing else refers to it. Tests replace it.
var current = newProcess()

func init() {
	plugin.Register(pluginName, func(c *caddy.Controller) error { return current.setup(c) })
}

// setup reads a gsstsig block, opens what it names, and adds it to the server block's plugins and listeners.
func (p *process) setup(c *caddy.Controller) error {
	if isUpgrade() {
		return plugin.Error(pluginName, errUpgrade)
	}
	conf, err := corefile.Parse(c, dnsserver.GetConfig(c).Root)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	b := p.newBlock(c.Context())
	handler, err := b.open(c, conf)
	if err != nil {
		return plugin.Error(pluginName, fmt.Errorf("%s: %w", conf.Position, errors.Join(conf.Explain(err), b.release())))
	}

	site := dnsserver.GetConfig(c)
	site.AllowOpcode(dns.OpcodeUpdate)
	site.AddPlugin(func(next plugin.Handler) plugin.Handler {
		handler.Next = next
		return handler
	})
	if err := listener.Register(c, listener.Block{
		Server:   handler.server,
		Observer: observer{p.audit},
		Limits:   conf.ListenerLimits,
		Plugin:   pluginName,
		Answerer: handler.answerer,
		Started:  b.restoreContexts,
		Replaced: b.replaced,
		Stopped:  b.stop,
	}); err != nil {
		return plugin.Error(pluginName, errors.Join(err, b.release()))
	}
	c.OnStartup(func() error {
		refuseUpgrades()
		return nil
	})
	c.OnStartup(p.registerGauges)
	c.OnStartup(b.takeEffect)
	if conf.StatusPage != "" {
		c.OnStartup(func() error { return p.acquirePage(b, conf.StatusPage) })
	}
	c.OnStartup(func() error {
		p.aging.Do(func() { go p.scavengeAll(time.NewTicker(scavengeInterval).C) })
		p.returning.Do(func() { go returnIdleMemory(time.NewTicker(memoryInterval).C) })
		return nil
	})
	c.OnStartup(func() error { return p.serveControl(b.instance) })
	c.OnStartup(func() error {
		handler.screened = listener.Screened(c, pluginName)
		handler.otherZones = make(map[string]bool)
		for _, z := range listener.Zones(c) {
			if handler.zones[z] == nil {
				handler.otherZones[z] = true
			}
		}
		if t, ok := dnsserver.GetConfig(c).Handler("transfer").(*transfer.Transfer); ok {
			handler.useTransfer(t)
			b.notifier.Store(handler.notifier)
		}
		logFindings(b.service.Load().RuleFindings(listener.Keys(c)))
		handler.tsig, _ = dnsserver.GetConfig(c).Handler("tsig").(*tsig.TSIGServer)
		return nil
	})
	c.OnRestartFailed(func() error {
		// The configuration that failed may have taken effect before.
		return errors.Join(p.releaseOthers(b.instance), b.takeEffect(), p.serveControl(b.instance))
	})
	return nil
}

// ordinalsKey finds the counts of a configuration in its storage.
type ordinalsKey struct{}

// numbered makes a key that is the same after a reload: words and, where several blocks have the same ones, the number of
// the block among these. The line in the Corefile would change with every block that is put before it.
func numbered(c *caddy.Controller, words ...string) string {
	return strings.Join(words, " ") + "#" + strconv.Itoa(ordinal(c, words...))
}

// ordinal counts the calls with the same words while a Corefile is read.
func ordinal(c *caddy.Controller, words ...string) int {
	counts, ok := c.Get(ordinalsKey{}).(map[string]int)
	if !ok {
		counts = make(map[string]int)
		c.Set(ordinalsKey{}, counts)
	}
	key := strings.Join(words, " ")
	counts[key]++
	return counts[key]
}
