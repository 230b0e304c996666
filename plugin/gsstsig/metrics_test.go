package gsstsig

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// TestGauges: what the server holds is read when metrics are collected, and a keytab that breaks is seen at once.
func TestGauges(t *testing.T) {
	s := start(t, smallCorefile)
	kvno := func() float64 {
		return metric(t, "coredns_gsstsig_keytab_kvno", "keytab", s.keytab, "principal", "DNS/ns1.example.test@EXAMPLE.TEST")
	}
	ofZone := func(name string) float64 { return metric(t, "coredns_gsstsig_"+name, "zone", "example.test.") }
	records, tombstones := ofZone("zone_records"), ofZone("zone_tombstones")
	host := s.context("host/client1.example.test")
	want(t, "update", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	want(t, "records", ofZone("zone_records"), records+1)
	want(t, "names", ofZone("zone_owned_names"), 1)
	want(t, "owners", ofZone("zone_owners"), 1)
	want(t, "limit", ofZone("zone_tombstones_limit"), 1_000_000)
	want(t, "deletion", s.signed(host, message(t, "example.test.", "-client1.example.test. A")), dns.RcodeSuccess)
	want(t, "names", ofZone("zone_owned_names"), 0)
	want(t, "tombstones", ofZone("zone_tombstones"), tombstones+1)

	readable := func() float64 { return metric(t, "coredns_gsstsig_keytab_readable", "keytab", s.keytab) }
	want(t, "readable", readable(), 1)
	version := kvno()
	if version < 1 {
		t.Errorf("key version %v", version)
	}
	if err := os.WriteFile(s.keytab, []byte("no keytab"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, "readable when broken", readable(), 0)
	want(t, "key version when broken", kvno(), version)
}

// TestCommitMetrics: commits are counted with their time, their size and their errors.
func TestCommitMetrics(t *testing.T) {
	wanted := map[string]float64{"commit_duration_seconds": 2, "commit_updates": 2, "commit_errors_total": 1}
	for name := range wanted {
		wanted[name] += metric(t, "coredns_gsstsig_"+name, "zone", "commits.test.") // of an earlier run in this process
	}
	observe := observeCommits("commits.test.")
	observe(zone.Commit{Updates: 3, Duration: time.Millisecond})
	observe(zone.Commit{Updates: 1, Duration: time.Second, Err: errors.New("disk full")})
	for name, value := range wanted {
		want(t, name, metric(t, "coredns_gsstsig_"+name, "zone", "commits.test."), value)
	}
}

// metric returns the value of a series, with all its labels as names and values. A series that does not exist is 0.
func metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	series:
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				matches := false
				for i := 0; i < len(labels); i += 2 {
					matches = matches || labels[i] == label.GetName() && labels[i+1] == label.GetValue()
				}
				if !matches {
					continue series
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
}
