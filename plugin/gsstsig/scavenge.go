package gsstsig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// scavengeInterval is how often stale records are looked for. The times of records are in hours.
const scavengeInterval = time.Hour

// scavengeAll removes the stale records of all zones at each tick.
func (p *process) scavengeAll(ticks <-chan time.Time) {
	for range ticks {
		for _, z := range p.agingZones() {
			if _, frozen := z.Frozen(); frozen {
				continue
			}
			// A zone that was closed meanwhile is no failure: a reload has removed it.
			if _, err := p.scavenge(context.Background(), z); err != nil && !errors.Is(err, zone.ErrClosed) {
				log.Warningf("zone %s: not all stale records were removed: %v. The next attempt is in %v", z.Origin(), err, scavengeInterval)
			}
		}
	}
}

// agingZones lists the zones whose records age.
func (p *process) agingZones() []*zone.Zone {
	p.mu.Lock()
	defer p.mu.Unlock()
	var zones []*zone.Zone
	for _, s := range p.zones {
		if z := s.value.loaded(); z != nil && z.Aging().Enabled() {
			zones = append(zones, z)
		}
	}
	return zones
}

// scavenge removes a zone's stale records, logs and counts each, and tells secondaries. It waits for one that is under way.
func (p *process) scavenge(ctx context.Context, z *zone.Zone) (zone.Scavenging, error) {
	select {
	case p.scavenging <- struct{}{}:
	case <-ctx.Done():
		return zone.Scavenging{}, ctx.Err()
	}
	defer func() { <-p.scavenging }()
	removed := scavenged.WithLabelValues(z.Origin())
	s, err := z.Scavenge(ctx, func(r zone.Result) {
		for i := range r.Removed {
			if r.Removed[i].Type != dns.TypeSOA {
				removed.Inc()
				scavengedLine(z, &r.Removed[i]).write(corefile.LogInfo)
			}
		}
		if r.Changed && p.audit.keeps() {
			lost, got := changed(r.Removed, r.Added)
			p.audit.recent.AddChange(&event.Update{Time: time.Now(), Zone: z.Origin(), Identity: zone.ScavengeAuthor, Signed: true,
				Rcode: rcodeName(r.Rcode), Before: r.Before, After: r.After, Removed: lost, Added: got})
		}
		p.notify(z)
	})
	if s.ClockJump > 0 {
		log.Warningf("zone %s: in the last hours the clock went ahead by %v more than time has passed: it was set, or the machine was suspended. "+
			"No record is removed before %s, so that clients can refresh theirs", z.Origin(), s.ClockJump.Round(time.Second), z.AgingFrom().Format(time.RFC3339))
	}
	if s.Other != "" {
		log.Warning(clocksDiffer(z, &s))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, served := range p.zones {
		if served.value.loaded() == z {
			served.value.stale = s.Waiting
		}
	}
	return s, err
}

// clocksDiffer says that another server has another time.
func clocksDiffer(z *zone.Zone, s *zone.Scavenging) string {
	how := "ahead of"
	if s.ClockDifference < 0 {
		how = "behind"
	}
	return fmt.Sprintf("zone %s: the clock of server %q is %v %s the clock here: one of them is wrong, and with it the times of records. "+
		"No record is removed before %s, so that clients can refresh theirs. Fix: set the clocks of all servers, by NTP",
		z.Origin(), cut(s.Other, auditName), s.ClockDifference.Abs().Round(time.Second), how, z.AgingFrom().Format(time.RFC3339))
}

// scavengedLine is the line about a record that was removed.
func scavengedLine(z *zone.Zone, r *store.Record) *logLine {
	name := dnswire.NameText([]byte(r.Name))
	l := newLogLine("scavenged")
	l.zone(z.Origin())
	l.quoted("name", cut(name, auditName))
	l.word("type", dnswire.TypeText(r.Type))
	l.quoted("data", cut(dataText(r.Type, r.Data), auditText))
	l.word("refreshed", time.Unix(3600*int64(r.Hours), 0).UTC().Format(time.RFC3339))
	if owner, owned := z.Snapshot().Owner(name); owned {
		l.quoted("owner", cut(owner.Principal, auditName))
	}
	return l
}

// notify has the secondaries of a zone told that it has changed.
func (p *process) notify(z *zone.Zone) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.zones {
		if s.value.loaded() != z {
			continue
		}
		for b := range s.users {
			if n := b.notifier.Load(); n != nil {
				n.changed(z.Origin())
			}
		}
	}
}
