package gsstsig

import (
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// applied keeps what another server has changed in a zone, for the status page. The server that made the change has logged it.
func (a *auditor) applied(origin string, from zone.Applied) {
	if from.Loaded {
		log.Debugf("zone %s: loaded again from etcd, serial %d -> %d", origin, from.Before, from.After)
		return
	}
	log.Debugf("zone %s: %d changes of %s, serial %d -> %d", origin, len(from.Changes), from.Server, from.Before, from.After)
	if !a.keeps() {
		return
	}
	for i := range from.Changes {
		if c := &from.Changes[i]; c.From != c.To {
			a.recent.AddChange(changeEvent(origin, from.Time, c))
		}
	}
}

// changeEvent describes a change of the log.
func changeEvent(origin string, at time.Time, c *store.Change) *event.Update {
	removed, added := changed(c.Removed, c.Added)
	return &event.Update{Time: at, Zone: origin, Identity: cut(c.Author, auditName), Signed: true, Rcode: rcodeName(dns.RcodeSuccess), Before: c.From, After: c.To,
		Rule: cut(c.Rule, auditText), Removed: removed, Added: added}
}
