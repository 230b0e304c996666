package gsstsig

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// operations are what the control socket offers.
func (p *process) operations() *control.Mux {
	m := new(control.Mux)
	control.Handle(m, "status", p.statusOf)
	control.HandleList(m, "names", p.names)
	control.Handle(m, "update", p.administer)
	control.Handle(m, "edit", p.edit)
	control.Handle(m, "own", p.own)
	control.Handle(m, "release", p.releaseName)
	control.Handle(m, "contexts", p.listContexts)
	control.Handle(m, "drop", p.dropContexts)
	control.Handle(m, "freeze", p.freeze)
	control.Handle(m, "seal", p.seal)
	control.Handle(m, "unseal", p.unseal)
	control.Handle(m, "thaw", p.thaw)
	control.HandleList(m, "changes", p.changes)
	control.Handle(m, "stale", p.staleRecords)
	control.Handle(m, "scavenge", p.scavengeNow)
	return m
}

// served is a zone of the configuration in force, with the block that has it first.
type served struct {
	administration.Zone
	block *block
}

// zoneNamed finds a zone.
func (p *process) zoneNamed(name string) (served, error) {
	origin := dns.CanonicalName(name)
	var found served
	for _, b := range p.inForce() {
		var z *zone.Zone
		if s, ok := b.handler.Load().zones[origin]; ok {
			z = s.loaded()
		}
		switch {
		case z == nil || z == found.Zone.Zone:
		case found.block != nil:
			return served{}, control.Failed(http.StatusConflict, diagnose.WithFix(
				fmt.Errorf("zone %s: several server blocks have it in memory, each in a copy of its own", origin), "add the same \"database DIR\" to all of these blocks"))
		default:
			found = served{administration.Zone{Zone: z, Policy: b.handler.Load().policy(origin), Realms: b.service.Load().Realms}, b}
		}
	}
	if found.block != nil {
		return found, nil
	}
	var handlers []*Handler
	for _, b := range p.inForce() {
		handlers = append(handlers, b.handler.Load())
	}
	if err := unavailableError(handlers, origin); err != nil {
		return served{}, err
	}
	return served{}, control.Failed(http.StatusNotFound, diagnose.WithFix(fmt.Errorf("zone %s: %w", origin, errNoZone), fixNoZone))
}

// zoneOf finds the closest zone of a name.
func (p *process) zoneOf(name string) (served, error) {
	name = dns.CanonicalName(name)
	closest := ""
	for _, b := range p.inForce() {
		if origin := b.handler.Load().names.Matches(name); len(origin) > len(closest) {
			closest = origin
		}
	}
	if closest == "" {
		return served{}, control.Failed(http.StatusNotFound, diagnose.WithFix(fmt.Errorf("%s is in no zone of a gsstsig block", name), fixNoZone))
	}
	return p.zoneNamed(closest)
}

// fixNoZone is what to do about a zone or a name that the server does not have.
const fixNoZone = "\"coredns gsstsig status\" lists the zones of the server"

// record logs and counts what the administrator did, and tells secondaries.
func (s served) record(r zone.Result) {
	h := s.block.handler.Load()
	if r.Changed && h.notifier != nil {
		h.notifier.changed(s.Origin())
	}
	h.audit.update(s.Origin(), administration.Identity, byControl, new(dns.Msg), r, h.service.RefusedLevel)
}

// statusOf is the status of all, or of one zone.
func (p *process) statusOf(ctx context.Context, q view.StatusRequest) (view.Status, error) {
	for _, c := range p.clustersInForce() {
		p.exchange(ctx, c)
	}
	s := p.status()
	if q.Zone == "" {
		return s, nil
	}
	s.Zones = slices.DeleteFunc(s.Zones, func(z view.Zone) bool { return z.Zone != dns.CanonicalName(q.Zone) })
	if len(s.Zones) == 0 {
		_, err := p.zoneNamed(q.Zone)
		return s, err
	}
	return s, nil
}

func (p *process) names(_ context.Context, q view.NamesRequest) (iter.Seq2[view.Name, error], error) {
	z, err := p.zoneNamed(q.Zone)
	if err != nil {
		return nil, err
	}
	name := ""
	if q.Name != "" {
		name = dns.CanonicalName(q.Name)
	}
	snapshot := z.Snapshot()
	return func(yield func(view.Name, error) bool) {
		for n := range administration.Names(snapshot, name, q.Owner) {
			if !yield(n, nil) {
				return
			}
		}
	}, nil
}

func (p *process) administer(ctx context.Context, u view.Update) (view.Applied, error) {
	z, err := p.zoneNamed(u.Zone)
	if err != nil {
		return view.Applied{}, err
	}
	a, r, err := z.Update(ctx, &u)
	z.recordIfDecided(r, err)
	return a, err
}

func (p *process) edit(ctx context.Context, e view.Edit) (view.Edited, error) {
	z, err := p.zoneNamed(e.Zone)
	if err != nil {
		return view.Edited{}, err
	}
	a, r, err := z.Edit(ctx, &e)
	z.recordIfDecided(r, err)
	return a, err
}

func (p *process) own(ctx context.Context, q view.OwnRequest) (view.Ownership, error) {
	owner, err := administration.ParseOwner(q.Owner)
	if err != nil {
		return view.Ownership{}, err
	}
	return p.changeOwner(q.Name, func(z served) (view.Ownership, zone.Result, error) { return z.Own(ctx, q.Name, owner) })
}

func (p *process) releaseName(ctx context.Context, q view.NameRequest) (view.Ownership, error) {
	return p.changeOwner(q.Name, func(z served) (view.Ownership, zone.Result, error) { return z.Release(ctx, q.Name) })
}

func (p *process) changeOwner(name string, change func(served) (view.Ownership, zone.Result, error)) (view.Ownership, error) {
	z, err := p.zoneOf(name)
	if err != nil {
		return view.Ownership{}, err
	}
	o, r, err := change(z)
	if err != nil || o.Changed() {
		z.recordIfDecided(r, err)
	}
	return o, err
}

// recordIfDecided records a transaction that came as far as the zone: the result of another is the zero value.
func (s served) recordIfDecided(r zone.Result, err error) {
	if err == nil || r.Err != nil {
		s.record(r)
	}
}

func (p *process) listContexts(context.Context, struct{}) ([]view.Context, error) {
	list := p.contextViews()
	sortContexts(list)
	return list, nil
}

// dropContexts drops the contexts of a principal, or the one of that key.
func (p *process) dropContexts(_ context.Context, q view.DropRequest) ([]view.Context, error) {
	if q.Word == "" {
		return nil, errors.New("a key or a principal is needed")
	}
	match := func(c gsstsig.ContextInfo) bool {
		return c.Principal.String() == q.Word || strings.EqualFold(c.KeyName, dns.Fqdn(q.Word))
	}
	list := []view.Context{}
	var untold []error
	note := func(dropped []gsstsig.ContextInfo, err error) {
		for _, c := range dropped {
			list = append(list, contextView(c))
			log.Infof("context dropped by the administrator: key=%q principal=%q client=%s", c.KeyName, c.Principal, c.Client)
		}
		untold = append(untold, err)
	}
	p.eachContext(func(t *gsstsig.Table) { note(t.Drop(match)) }, func(s *gsstsig.Server) { note(s.DropElsewhere(match)) })
	if err := errors.Join(untold...); err != nil {
		return nil, fmt.Errorf("contexts are dropped here, but other servers could not be told yet: %w", err)
	}
	sortContexts(list)
	return list, nil
}

func (p *process) freeze(ctx context.Context, q view.ZoneRequest) (view.Zone, error) {
	return p.refreeze(ctx, q, (*zone.Zone).Freeze, "frozen by the administrator: updates are refused")
}

// seal is freeze for the administrator too, as migrate needs it.
func (p *process) seal(ctx context.Context, q view.ZoneRequest) (view.Zone, error) {
	return p.refreeze(ctx, q, (*zone.Zone).Seal, "frozen by the administrator: all updates are refused, the administrator's too")
}

func (p *process) unseal(ctx context.Context, q view.ZoneRequest) (view.Zone, error) {
	return p.refreeze(ctx, q, (*zone.Zone).Unseal, "the administrator's updates are taken again")
}

func (p *process) thaw(ctx context.Context, q view.ZoneRequest) (view.Zone, error) {
	return p.refreeze(ctx, q, (*zone.Zone).Thaw, "thawed by the administrator")
}

// refreeze freezes a zone or thaws it, and logs it if that changes something. It waits for a reload that is under way: a zone
// that moves takes no update any more.
func (p *process) refreeze(ctx context.Context, q view.ZoneRequest, do func(*zone.Zone, context.Context) (bool, error), done string) (view.Zone, error) {
	z, err := p.zoneNamed(q.Zone)
	if err != nil {
		return view.Zone{}, err
	}
	changed, err := p.unlessMoving(z, func() (bool, error) { return do(z.Zone.Zone, ctx) })
	if err != nil {
		return view.Zone{}, administration.ExplainThaw(z.Origin(), err)
	}
	if changed {
		log.Infof("zone %s: %s", z.Origin(), done)
	}
	return p.zoneView(servedBy{z.Zone.Zone, z.block.handler.Load()}), nil
}

func (p *process) changes(ctx context.Context, q view.ChangesRequest) (iter.Seq2[view.Change, error], error) {
	z, err := p.zoneNamed(q.Zone)
	if err != nil {
		return nil, err
	}
	return administration.Changes(z.Origin(), z.Log(ctx), q.From), nil
}

func (p *process) staleRecords(_ context.Context, q view.StaleRequest) (view.StaleList, error) {
	z, err := p.zoneNamed(q.Zone)
	if err != nil {
		return view.StaleList{}, err
	}
	list, err := administration.Stale(z.Snapshot(), z.Aging(), &q, p.clock())
	if !list.Preview {
		list.From = from(z.Zone.Zone, p.clock())
		_, list.Frozen = z.Frozen()
	}
	return list, err
}

// from returns the time before which aging takes nothing from a zone, nil if it has come.
func from(z *zone.Zone, now time.Time) *time.Time {
	if t := z.AgingFrom().UTC(); t.After(now) {
		return &t
	}
	return nil
}

// scavengeNow removes the records of a zone that are stale.
func (p *process) scavengeNow(ctx context.Context, q view.ZoneRequest) (view.Scavenged, error) {
	z, err := p.zoneNamed(q.Zone)
	if err != nil {
		return view.Scavenged{}, err
	}
	if _, err := administration.Stale(z.Snapshot(), z.Aging(), &view.StaleRequest{}, p.clock()); err != nil {
		return view.Scavenged{}, err // the zone does not age
	}
	log.Infof("zone %s: scavenging by the administrator", z.Origin())
	s, err := p.scavenge(ctx, z.Zone.Zone)
	if err != nil {
		return view.Scavenged{}, fmt.Errorf("zone %s: records that were removed: %d, then: %w", z.Origin(), s.Removed, err)
	}
	return view.Scavenged{Zone: z.Origin(), Removed: s.Removed, Waiting: s.Waiting, From: from(z.Zone.Zone, p.clock())}, nil
}

// clock is the process's clock.
func (p *process) clock() time.Time {
	if p.now != nil {
		return p.now()
	}
	return time.Now()
}
