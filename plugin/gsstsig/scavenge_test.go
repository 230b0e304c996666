package gsstsig

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// agingCorefile is a block whose zones age, but for one.
var agingCorefile = strings.Replace(strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\taging 7d 7d example.test", 1),
	"example.test:{PORT} ", "example.test:{PORT} static.test:{PORT} ", 1)

// startAging starts a server with a clock that can be moved ahead.
func startAging(t *testing.T, corefile string) (s *coredns, p *process, ahead *atomic.Int64) {
	t.Helper()
	ahead = new(atomic.Int64)
	p = newProcess()
	p.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	p.registerer = prometheus.NewRegistry()
	before := current
	current = p
	t.Cleanup(func() { current = before })
	return start(t, corefile), p, ahead
}

// zoneOf returns a zone that the process serves.
func zoneOf(t *testing.T, p *process, origin string) *zone.Zone {
	t.Helper()
	for _, s := range p.zones {
		if s.value.Origin() == origin {
			return s.value.Zone
		}
	}
	t.Fatalf("zone %s is not served", origin)
	return nil
}

// gaugeOf reads a gauge of the zone.
func gaugeOf(t *testing.T, p *process, name string) float64 {
	t.Helper()
	families, err := p.registerer.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "coredns_gsstsig_"+name {
			for _, m := range family.GetMetric() {
				if m.GetLabel()[0].GetValue() == "example.test." {
					return m.GetGauge().GetValue()
				}
			}
		}
	}
	t.Fatalf("no gauge %s", name)
	return 0
}

// TestScavenge: a pass removes the stale records of the zones that age, and each has a line in the log.
func TestScavenge(t *testing.T) {
	s, p, ahead := startAging(t, agingCorefile)
	host := s.context("host/client1.example.test")
	for _, origin := range []string{"example.test.", "static.test."} {
		want(t, "update", s.signed(host, message(t, origin, "+gone."+origin+" 300 A 192.0.2.1")), dns.RcodeSuccess)
	}
	z := zoneOf(t, p, "example.test.")
	want(t, "dynamic records", gaugeOf(t, p, "zone_dynamic_records"), 1)
	want(t, "zones that age", len(p.agingZones()), 1)

	ticks := make(chan time.Time)
	done := make(chan struct{})
	go func() { p.scavengeAll(ticks); close(done) }()
	pass := func() {
		// The second tick is taken when the pass of the first one has ended.
		ticks <- time.Now()
		ticks <- time.Now()
	}
	counted := metric(t, "coredns_gsstsig_scavenged_total", "zone", "example.test.")
	line := []string{"INFO", "scavenged", "zone=example.test.", `name="gone.example.test."`, "type=A", `data="192.0.2.1"`, "refreshed=", `owner="host/client1.example.test@EXAMPLE.TEST`}
	ahead.Store(int64(14*24*time.Hour - 2*time.Hour))
	pass()
	want(t, "lines before", len(logged.lines(line...)), 0)
	ahead.Store(int64(14 * 24 * time.Hour))
	if !z.Freeze() {
		t.Fatal("not frozen")
	}
	pass()
	want(t, "lines while it is frozen", len(logged.lines(line...)), 0)
	z.Thaw()
	pass()
	want(t, "stale records after it was thawed", gaugeOf(t, p, "zone_stale_records"), 1)
	ahead.Store(int64(21 * 24 * time.Hour))
	sent := make(chan string, 1)
	for _, served := range p.zones {
		for b := range served.users {
			b.notifier.Store(&notifier{send: func(origin string) error {
				sent <- origin
				return nil
			}})
		}
	}
	serial := z.Snapshot().Serial()
	pass()
	want(t, "NOTIFY", <-sent, "example.test.")
	want(t, "lines", len(logged.lines(line...)), 1)
	want(t, "serial", z.Snapshot().Serial(), serial+1)
	want(t, "counted", metric(t, "coredns_gsstsig_scavenged_total", "zone", "example.test."), counted+1)
	want(t, "stale records", gaugeOf(t, p, "zone_stale_records"), 0)
	want(t, "dynamic records", gaugeOf(t, p, "zone_dynamic_records"), 0)
	want(t, "there", z.Snapshot().Exists("gone.example.test."), false)
	want(t, "there in the zone that does not age", zoneOf(t, p, "static.test.").Snapshot().Exists("gone.static.test."), true)
	close(ticks)
	<-done
}

// TestRefreshMetric: refreshes are counted, and a reload switches aging on.
func TestRefreshMetric(t *testing.T) {
	corefile := strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n\t\tupdates nonsecure-and-secure", 1)
	s, p, ahead := startAging(t, corefile)
	update := func() {
		t.Helper()
		want(t, "update", s.exchange(message(t, "example.test.", "+here.example.test. 300 A 192.0.2.1")).Rcode, dns.RcodeSuccess)
	}
	update()
	counted := metric(t, "coredns_gsstsig_refreshes_total", "zone", "example.test.")
	want(t, "zones that age", len(p.agingZones()), 0)
	if err := s.reload(strings.Replace(corefile, "updates", "aging 2h 2h\n\t\tupdates", 1)); err != nil {
		t.Fatal(err)
	}
	want(t, "zones that age", len(p.agingZones()), 2)
	update()
	want(t, "refreshes", metric(t, "coredns_gsstsig_refreshes_total", "zone", "example.test."), counted)
	ahead.Store(int64(2 * time.Hour))
	update()
	want(t, "refreshes when it is due", metric(t, "coredns_gsstsig_refreshes_total", "zone", "example.test."), counted+1)
}

// TestScavengeWaits: two passes do not run at once, and one that waits ends with its context.
func TestScavengeWaits(t *testing.T) {
	_, p, _ := startAging(t, agingCorefile)
	p.scavenging <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.scavenge(ctx, zoneOf(t, p, "example.test.")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-p.scavenging
	if _, err := p.scavenge(t.Context(), zoneOf(t, p, "example.test.")); err != nil {
		t.Error(err)
	}
}
