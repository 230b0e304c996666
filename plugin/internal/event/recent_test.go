package event

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// clock is the time of a test.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 5, 4, 9, 1, 0, 0, time.UTC)} }

func refusal(c *clock, identity string) *Update {
	c.at = c.at.Add(time.Second)
	return &Update{Time: c.at, Zone: "example.test.", Client: netip.MustParseAddrPort("192.0.2.1:53"), Identity: identity, Signed: true, Rcode: "REFUSED"}
}

func clients[T any](groups []Group[T]) string {
	var names []string
	for _, g := range groups {
		names = append(names, fmt.Sprintf("%s %d/%d", g.Client, len(g.Events), g.Count))
	}
	return strings.Join(names, ", ")
}

// TestOneClientDoesNotDisplaceOthers: however many events one client causes, those of the others stay, and the memory is bounded.
func TestOneClientDoesNotDisplaceOthers(t *testing.T) {
	c := newClock()
	r := NewRecent(Config{Octets: 32 << 10, ClientEvents: 3, Now: c.now})
	r.AddUpdate(refusal(c, "alice"))
	r.AddUpdate(refusal(c, "bob"))
	for range 10_000 {
		r.AddUpdate(refusal(c, "mallory"))
	}
	if got := clients(r.Refusals("example.test.")); got != "mallory 1/10000, bob 1/1, alice 1/1" {
		t.Error(got)
	}
	// A longer share keeps the newest events, the newest of them first.
	r = NewRecent(Config{ClientEvents: 3, Now: c.now})
	for range 5 {
		r.AddUpdate(refusal(c, "mallory"))
	}
	g := r.Refusals("example.test.")[0]
	if len(g.Events) != 3 || !g.Events[0].Time.Equal(g.Last) || !g.Events[2].Time.Equal(g.Last.Add(-2*time.Second)) || !g.First.Equal(g.Last.Add(-4*time.Second)) {
		t.Errorf("%+v", g)
	}
}

// TestQuietestClientGoes: if there is no room for all clients, those stay that had the latest events.
func TestQuietestClientGoes(t *testing.T) {
	c := newClock()
	r := NewRecent(Config{Octets: 10_000, Now: c.now})
	for i := range 1000 {
		r.AddUpdate(refusal(c, fmt.Sprint("host", i)))
		r.AddUpdate(refusal(c, "steady"))
	}
	groups := r.Refusals("example.test.")
	if n := len(groups); n < 5 || n > 20 || groups[0].Client != "steady" || groups[1].Client != "host999" {
		t.Errorf("%d clients: %s", len(groups), clients(groups))
	}
	if octets := r.zones["example.test."].refusals.octets; octets > 10_000 {
		t.Errorf("%d octets", octets)
	}
}

// TestWhereEventsAre: changes, refusals and failures have lists of their own, and so has each zone.
func TestWhereEventsAre(t *testing.T) {
	c := newClock()
	r := NewRecent(Config{Now: c.now, Zones: 2})
	changing := refusal(c, "alice")
	changing.Rcode, changing.After = "NOERROR", 1
	nothing := refusal(c, "alice")
	nothing.Rcode = "NOERROR"
	other := refusal(c, "alice")
	other.Zone = "example.org."
	unsigned := refusal(c, "anonymous")
	unsigned.Signed, unsigned.Client = false, netip.MustParseAddrPort("[2001:db8::7]:53")
	first := refusal(c, "anonymous")
	first.Signed, first.Cause = false, policy.CauseUnsigned
	surplus := refusal(c, "alice")
	surplus.Zone = "surplus.test."
	for _, u := range []*Update{changing, nothing, other, unsigned, first, surplus, refusal(c, "bob")} {
		r.AddUpdate(u)
	}
	r.AddElsewhere(refusal(c, "carol"))
	for _, kind := range []Kind{Handshake, Signature, Signature} {
		r.AddFailure(&Failure{Kind: kind, Time: c.at, Client: unsigned.Client})
	}
	for what, test := range map[string]struct{ got, want string }{
		"changes":      {clients(r.Changes("example.test.")), "alice 1/1"},
		"refusals":     {clients(r.Refusals("example.test.")), "bob 1/1, 2001:db8::/64 1/1"},
		"unsigned":     {clients(r.Unsigned("example.test.")), "192.0.2.1 1/1"},
		"another zone": {clients(r.Refusals("example.org.")), "alice 1/1"},
		"no room":      {clients(r.Refusals("surplus.test.")), ""},
		"elsewhere":    {clients(r.Elsewhere()), "carol 1/1"},
		"handshakes":   {clients(r.Failures(Handshake)), "2001:db8::/64 1/1"},
		"signatures":   {clients(r.Failures(Signature)), "2001:db8::/64 2/2"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s, want %s", what, test.got, test.want)
		}
	}
	r.Forget("example.org.")
	if got := r.Refusals("example.org."); len(got) != 0 {
		t.Errorf("of a zone that is gone: %s", clients(got))
	}
}

// TestFailuresOfOneSource: of one source a bounded number of failures is described, whatever others do.
func TestFailuresOfOneSource(t *testing.T) {
	c := newClock()
	r := NewRecent(Config{Now: c.now})
	described := 0
	for range 10_000 {
		if r.WouldAdd(netip.MustParseAddr("192.0.2.66")) {
			described++
		}
	}
	if described != 20 {
		t.Errorf("%d failures", described)
	}
	if !r.WouldAdd(netip.MustParseAddr("192.0.2.1")) {
		t.Error("a neighbour is not described")
	}
}

// TestHistory: updates are counted for 24 hours.
func TestHistory(t *testing.T) {
	c := newClock()
	r := NewRecent(Config{Now: c.now})
	applied := refusal(c, "alice")
	applied.Rcode = "NOERROR"
	r.AddUpdate(refusal(c, "alice"))
	c.at = c.at.Add(HistoryStep)
	r.AddUpdate(applied)
	r.AddUpdate(applied)
	h := r.History("example.test.")
	if n := len(h); n != 96 || h[n-1].Applied != 2 || h[n-1].Refused != 0 || h[n-2].Refused != 1 || h[n-2].Applied != 0 || !h[n-1].Start.Equal(c.at.Truncate(HistoryStep)) {
		t.Errorf("%+v", h)
	}
	c.at = c.at.Add(24*time.Hour - HistoryStep)
	if h = r.History("example.test."); h[0].Applied != 2 {
		t.Errorf("after a day: %+v", h[0])
	}
	c.at = c.at.Add(HistoryStep)
	for _, p := range r.History("example.test.") {
		if p.Applied+p.Refused > 0 {
			t.Errorf("later: %+v", p)
		}
	}
}

func BenchmarkAddUpdate(b *testing.B) {
	c := newClock()
	r := NewRecent(Config{Now: c.now})
	var updates []*Update
	for i := range 1000 {
		updates = append(updates, refusal(c, fmt.Sprint("host", i)))
	}
	i := 0
	for b.Loop() {
		r.AddUpdate(updates[i%len(updates)])
		i++
	}
}
