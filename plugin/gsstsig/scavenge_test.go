package gsstsig

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gsstsig/coredns-gsstsig/plugin/admin"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
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
		if s.value.origin == origin {
			return s.value.loaded()
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
	if frozen, err := z.Freeze(t.Context()); !frozen || err != nil {
		t.Fatal("not frozen")
	}
	pass()
	want(t, "lines while it is frozen", len(logged.lines(line...)), 0)
	if _, err := z.Thaw(t.Context()); err != nil {
		t.Error(err)
	}
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

// TestScavengeByCommand: the administrator's command removes what is stale, and says what waits and why.
func TestScavengeByCommand(t *testing.T) {
	path := socketPath(t)
	s, _, ahead := startAging(t, strings.Replace(agingCorefile, "aging 7d 7d", "control "+path+"\n\t\tupdates nonsecure-and-secure\n\t\taging 7d 7d", 1))
	command := func(status int, input string, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		got := admin.Run("coredns gsstsig", append(args, "-control", path), admin.Streams{In: strings.NewReader(input), Out: &out, Err: &out})
		if got != status {
			t.Fatalf("%q: exit status %d, want %d:\n%s", args, got, status, out.String())
		}
		return out.String()
	}
	update := func(name string) {
		t.Helper()
		want(t, "update", s.exchange(message(t, "example.test.", "+"+name+".example.test. 300 A 192.0.2.1")).Rcode, dns.RcodeSuccess)
	}
	is := func(name string, there bool) {
		t.Helper()
		want(t, name, len(s.exchange(new(dns.Msg).SetQuestion(name+".example.test.", dns.TypeA)).Answer), map[bool]int{true: 1}[there])
	}
	says := func(output string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(output, w) {
				t.Errorf("%q is not in:\n%s", w, output)
			}
		}
	}
	const day = 24 * time.Hour
	at := func(d time.Duration) { ahead.Store(int64(d)) }

	update("gone")
	update("kept")
	command(admin.ExitOK, "add static.example.test 300 A 192.0.2.1\n", "update", "example.test")
	at(8 * day)
	update("kept") // a refresh
	says(command(admin.ExitOK, "", "scavenge", "example.test"), "zone example.test.: 0 records removed\n")
	at(14*day + time.Hour)
	if stale := command(admin.ExitOK, "", "stale", "example.test"); !strings.Contains(stale, "gone.example.test.") || strings.Contains(stale, "kept") || strings.Contains(stale, "static.") {
		t.Errorf("stale:\n%s", stale)
	}
	current.audit.watchers.Add(1) // as a status page does
	defer current.audit.watchers.Add(-1)
	lines := len(logged.lines("scavenged", `name="gone.example.test."`))
	says(command(admin.ExitOK, "", "scavenge", "example.test"), "zone example.test.: 1 record removed\n")
	is("gone", false)
	is("kept", true)
	is("static", true)
	want(t, "lines", len(logged.lines("scavenged", `name="gone.example.test."`)), lines+1)
	says(command(admin.ExitOK, "", "changes", "example.test"), "by aging", "- gone.example.test. 300 A 192.0.2.1")

	seen := current.recent("example.test.").Changes
	if len(seen) == 0 || seen[0].Author != zone.ScavengeAuthor || len(seen[0].Removed) != 1 || seen[0].Removed[0].Name != "gone.example.test." {
		t.Errorf("recent changes: %+v", seen)
	}

	at(22*day + time.Hour)
	command(admin.ExitOK, "", "freeze", "example.test")
	says(command(admin.ExitNo, "", "scavenge", "example.test"), "frozen")
	command(admin.ExitOK, "", "thaw", "example.test")
	says(command(admin.ExitOK, "", "scavenge", "example.test"), "0 records removed\n1 more is stale and not removed before ")
	is("kept", true)
	at(29*day + 2*time.Hour)
	says(command(admin.ExitOK, "", "scavenge", "example.test", "-o", "json"), `"removed": 1`)
	is("kept", false)
	is("static", true)
	says(command(admin.ExitNo, "", "scavenge", "static.test"), "does not age", "Fix: ")
}

// TestClocksDiffer: the line says whose clock differs and in which direction, and what another server is called does no harm to the log.
func TestClocksDiffer(t *testing.T) {
	_, p, _ := startAging(t, agingCorefile)
	z := zoneOf(t, p, "example.test.")
	for _, test := range []struct {
		s    zone.Scavenging
		want string
	}{
		{zone.Scavenging{Other: "dns2", ClockDifference: 90 * time.Minute}, `the clock of server "dns2" is 1h30m0s ahead of the clock here`},
		{zone.Scavenging{Other: "a\n\x1b[2J", ClockDifference: -time.Hour}, `the clock of server "a\n\x1b[2J" is 1h0m0s behind the clock here`},
	} {
		got := clocksDiffer(z, &test.s)
		if !strings.HasPrefix(got, "zone example.test.: "+test.want) || !strings.Contains(got, z.AgingFrom().Format(time.RFC3339)) || !strings.Contains(got, "Fix: ") {
			t.Errorf("%s", got)
		}
	}
}

// TestClocksDifferIsLogged: a pass of aging tells, once, of a server whose commits have another time.
func TestClocksDifferIsLogged(t *testing.T) {
	c := storetest.NewCluster(storetest.ClusterOptions{Now: func() time.Time { return time.Now().Add(3 * time.Hour) }})
	z, other := onCluster(t, c.Server("ns1"), onClusterSeed), onCluster(t, c.Server("ns2"), "")
	wire, err := message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1").Pack()
	if err != nil {
		t.Fatal(err)
	}
	if r := other.Apply(t.Context(), &zone.Update{Message: wire}); r.Rcode != dns.RcodeSuccess {
		t.Fatal(r)
	}
	t.Cleanup(logged.forget)
	p := newProcess()
	for range 2 {
		for { // the batch is published before its time is looked at
			if _, err := p.scavenge(t.Context(), z); err != nil {
				t.Fatal(err)
			}
			if z.Snapshot().Exists("a.example.test.") && len(logged.lines("[WARNING]", `zone example.test.: the clock of server "ns2" is `, " ahead of the clock here")) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	want(t, "lines", len(logged.lines("the clock of server")), 1)
}
