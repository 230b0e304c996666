package gsstsig

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// recentChanges is how many changes are listed at most.
const recentChanges = 200

// recent describes what happened lately, in one zone, or in all of them and elsewhere if zone is "".
func (p *process) recent(zone string) view.Recent {
	v := view.Recent{Handshakes: []view.FailedClient{}, Signatures: []view.FailedClient{}, Changes: []view.Change{}}
	kept := p.audit.recent
	var changes, refused, unsigned []event.Group[event.Update]
	for _, z := range p.served() {
		if zone == "" || zone == z.Origin() {
			changes = append(changes, kept.Changes(z.Origin())...)
			refused = append(refused, kept.Refusals(z.Origin())...)
			unsigned = append(unsigned, kept.Unsigned(z.Origin())...)
		}
	}
	if zone == "" {
		refused = append(refused, kept.Elsewhere()...)
		v.Handshakes = failedClients(kept.Failures(event.Handshake))
		v.Signatures = failedClients(kept.Failures(event.Signature))
	}
	for _, u := range event.Newest(changes, recentChanges) {
		v.Changes = append(v.Changes, view.Change{Time: rounded(u.Time), Zone: u.Zone, From: u.Before, To: u.After, Author: u.Identity, Client: clientText(u.Client),
			Rule: u.Rule, Removed: namedRecords(u.Removed, 0), Added: namedRecords(u.Added, 0), More: u.Removed.More + u.Added.More})
	}
	v.Refused, v.Unsigned = refusedClients(refused), refusedClients(unsigned)
	return v
}

// refusedClients brings the refusals of a client in several zones together.
func refusedClients(groups []event.Group[event.Update]) []view.RefusedClient {
	clients := []view.RefusedClient{}
	place := make(map[string]int)
	for _, g := range groups {
		at, ok := place[g.Client]
		if !ok {
			at = len(clients)
			place[g.Client] = at
			clients = append(clients, view.RefusedClient{Client: g.Client, First: rounded(g.First)})
		}
		c := &clients[at]
		c.Count += g.Count
		if first := rounded(g.First); first.Before(c.First) {
			c.First = first
		}
		if last := rounded(g.Last); last.After(c.Last) {
			c.Last = last
		}
		for _, u := range g.Events {
			r := view.Refusal{Time: rounded(u.Time), Zone: u.Zone, Client: clientText(u.Client), Identity: u.Identity, Rcode: u.Rcode, Rule: u.Rule,
				Reason: cmp.Or(u.Reason, u.Error), Cause: u.Cause, Fix: u.Fix, Removed: namedRecords(u.Asked, '-'), Added: namedRecords(u.Asked, '+')}
			c.Refusals = append(c.Refusals, r)
		}
	}
	for i := range clients {
		slices.SortStableFunc(clients[i].Refusals, func(a, b view.Refusal) int { return b.Time.Compare(a.Time) })
	}
	slices.SortStableFunc(clients, func(a, b view.RefusedClient) int { return b.Last.Compare(a.Last) })
	return clients
}

func failedClients(groups []event.Group[event.Failure]) []view.FailedClient {
	clients := []view.FailedClient{}
	for _, g := range groups {
		c := view.FailedClient{Client: g.Client, Count: g.Count, First: rounded(g.First), Last: rounded(g.Last)}
		for _, f := range g.Events {
			c.Failures = append(c.Failures, view.HandshakeFailure{Time: rounded(f.Time), Key: f.Key, Client: f.Client.String(), Result: f.Result, Peer: f.Peer,
				Service: f.Service, Enctype: f.Enctype, TicketKVNO: f.TicketKVNO, KeytabKVNO: f.KeytabKVNOs, Reason: f.Reason, Fix: f.Fix})
		}
		clients = append(clients, c)
	}
	return clients
}

// clientText is the address and port of a client, "" for an update that did not come from the network.
func clientText(client netip.AddrPort) string {
	if !client.IsValid() {
		return ""
	}
	return client.String()
}

// namedRecords returns the records with that sign, all of them for 0.
func namedRecords(records event.Records, sign byte) []view.NamedRecord {
	list := []view.NamedRecord{}
	for _, r := range records.List {
		if sign == 0 || r.Sign == sign {
			list = append(list, view.NamedRecord{Name: r.Name, Record: view.Record{TTL: r.TTL, Type: r.Type, Data: r.Data}})
		}
	}
	return list
}

// history returns the counts of a zone's last 24 hours, the oldest first.
func (p *process) history(zone string) []view.Point {
	var points []view.Point
	for _, point := range p.audit.recent.History(zone) {
		points = append(points, view.Point{Start: point.Start.UTC(), Applied: point.Applied, Refused: point.Refused})
	}
	return points
}

// rounded is a time for a view.
func rounded(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
