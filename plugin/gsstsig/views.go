package gsstsig

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/coredns/caddy"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/version"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// started is when the process started, about.
var started = time.Now().UTC()

// servedBy is a zone with the block that serves it.
type servedBy struct {
	*zone.Zone
	handler *Handler
}

// handlers lists the handlers of the configuration in force, in the order of its Corefile.
func (p *process) handlers() []*Handler {
	var handlers []*Handler
	for _, b := range p.inForce() {
		handlers = append(handlers, b.handler.Load())
	}
	return handlers
}

// served lists the zones by name. Of several views' zones of one name it has the one with the newest serial.
func (p *process) served() []servedBy {
	byName := make(map[string]servedBy)
	for _, h := range p.handlers() {
		for origin, s := range h.zones {
			z := s.loaded()
			if z == nil {
				continue
			}
			if other, ok := byName[origin]; !ok || other.Snapshot().Serial() < z.Snapshot().Serial() {
				byName[origin] = servedBy{z, h}
			}
		}
	}
	zones := make([]servedBy, 0, len(byName))
	for _, z := range byName {
		zones = append(zones, z)
	}
	slices.SortFunc(zones, func(a, b servedBy) int { return cmp.Compare(a.Origin(), b.Origin()) })
	return zones
}

// status describes the server as a whole.
func (p *process) status() view.Status {
	s := view.Status{Version: version.Module(), CoreDNS: caddy.AppVersion, PID: os.Getpid(), Started: started, Ready: true,
		Findings: []diagnose.Finding{}, Zones: []view.Zone{}, Keys: []view.Key{}, Clusters: []view.Cluster{}}
	add := func(findings []diagnose.Finding) {
		for _, f := range findings {
			if f.Severity != diagnose.OK && !slices.Contains(s.Findings, f) {
				s.Findings = append(s.Findings, f)
			}
		}
	}
	for _, h := range p.handlers() {
		notReady := h.notReady()
		s.Ready = s.Ready && len(notReady) == 0
		add(notReady)
		add(h.service.FileFindings())
		add(h.service.RealmFindings())
		add(h.service.StorageFindings())
		for _, k := range h.service.Keytabs.Keys() {
			key := view.Key{Keytab: k.File, Principal: k.Principal.String(), KVNO: k.KVNO, Enctype: k.Enctype.String()}
			if !slices.ContainsFunc(s.Keys, func(other view.Key) bool {
				return other.Keytab == key.Keytab && other.Principal == key.Principal && other.KVNO == key.KVNO && other.Enctype == key.Enctype
			}) {
				key.Time = timeOf(k.Added)
				s.Keys = append(s.Keys, key)
			}
		}
	}
	for _, z := range p.served() {
		add(z.handler.service.ApexFindings(z.Snapshot()))
		if since, frozen := z.Frozen(); frozen {
			refused, fix := "updates of clients are refused", "coredns gsstsig thaw "+z.Origin()
			if z.Sealed() {
				refused = "all updates are refused, those of the administrator too"
				fix = "wait until the zone has moved by \"coredns gsstsig migrate\"; if it does not move: coredns gsstsig thaw -all " + z.Origin()
			}
			add([]diagnose.Finding{{Severity: diagnose.Warning, Subject: "zone " + z.Origin(),
				Problem: "it is frozen since " + since.UTC().Format(time.RFC3339) + ": " + refused, Fix: fix}})
		}
		s.Zones = append(s.Zones, p.zoneView(z))
	}
	for _, h := range p.handlers() {
		for _, origin := range h.unavailable() {
			if !slices.ContainsFunc(s.Zones, func(z view.Zone) bool { return z.Zone == origin }) {
				s.Zones = append(s.Zones, h.unavailableView(origin))
			}
		}
	}
	slices.SortFunc(s.Zones, func(a, b view.Zone) int { return cmp.Compare(a.Zone, b.Zone) })
	s.Contexts = p.contextNumbers()
	for _, c := range p.clustersInForce() {
		v, findings := c.status()
		s.Clusters = append(s.Clusters, v)
		add(findings)
	}
	return s
}

// zoneView describes a zone.
func (p *process) zoneView(z servedBy) view.Zone {
	snapshot, limits := z.Snapshot(), z.Limits()
	size, mode := snapshot.Size(), z.handler.service.Mode(z.Origin()).String()
	v := view.Zone{
		Zone: z.Origin(), Serial: snapshot.Serial(), Primary: snapshot.SOA().Ns, Updates: mode, Mode: mode,
		Records: view.Usage{Used: size.Records, Limit: limits.ZoneRecords}, Octets: view.Usage{Used: size.Octets, Limit: limits.ZoneOctets},
		Owners: size.Owners, Names: size.Names, Tombstones: view.Usage{Used: size.Tombstones, Limit: limits.Tombstones},
		Rules: z.handler.policy(z.Origin()).Rules(),
	}
	if z.handler.service.Database != "" {
		v.Database = absolute(z.handler.service.DatabaseOf(z.Origin()))
	}
	if z.handler.service.OnEtcd() {
		v.Etcd, v.Confirmed = z.handler.service.Etcd.String(), timeOf(z.Confirmed())
		n := &z.handler.zones[z.Origin()].commits
		v.Commits = &view.Commits{Conflicts: n.conflicts.Load(), Unknown: n.unknown.Load()}
		if z.handler.zone(z.Origin()) == nil {
			f := z.handler.unavailableFinding(z.Origin())
			v.Unavailable = &f
		}
	}
	if since, frozen := z.Frozen(); frozen {
		v.Frozen, v.Sealed, v.Updates = timeOf(since), z.Sealed(), view.UpdatesFrozen
	}
	v.Changed = timeOf(z.LastChange())
	return v
}

// absolute makes a path one that means the same in every directory.
func absolute(path string) string {
	if p, err := filepath.Abs(path); err == nil {
		return p
	}
	return path
}

// timeOf returns a time for a view, nil for the zero time.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
