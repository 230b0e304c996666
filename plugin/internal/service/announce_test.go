package service

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

// TestAnnouncementOfManyZones: zones with the same settings share them, so that a server with thousands of zones can be seen.
func TestAnnouncementOfManyZones(t *testing.T) {
	settings := map[string]string{"rules (grant, deny)": shortDigest("a"), "updates": shortDigest("b"), "limit": shortDigest("c")}
	var a Announcement
	const zones = 4000
	for i := range zones {
		a.Add(fmt.Sprintf("%d.in-addr.arpa.", i), 1, time.Now(), settings)
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > etcd.MaxPublished {
		t.Errorf("%d octets", len(text))
	}
	other := maps.Clone(settings)
	other["updates"] = shortDigest("other")
	a.Add("7.in-addr.arpa.", 1, time.Now(), other)
	if text, err = json.Marshal(a); err != nil {
		t.Fatal(err)
	}
	seen := Announcements(etcd.Status{Servers: []etcd.ServerStatus{{Server: "ns2", Value: text}}})
	for origin, want := range map[string]int{"7.in-addr.arpa.": 1, "8.in-addr.arpa.": 0, "none.test.": 0} {
		findings := DifferenceFindings(origin, settings, seen)
		if len(findings) != want {
			t.Errorf("%s: %+v", origin, findings)
		}
	}
}

// TestAnnouncementsAreNotTrusted: what cannot be shown as it is, is left out.
func TestAnnouncementsAreNotTrusted(t *testing.T) {
	good := []byte(`{"version":"v1","zones":{"example.test.":{"serial":1,"settings":"none"}}}`)
	seen := Announcements(etcd.Status{Servers: []etcd.ServerStatus{
		{Server: "ns1", Value: good},
		{Server: "ns2\n[ERROR] of another line", Value: good},
		{Server: "ns3\x1b[2J", Value: good},
		{Server: "ns4", Value: []byte(`{"version":"v1\n[ERROR]"}`)},
		{Server: "ns5", Value: []byte(`{"zones":{"\u001b[2J":{}}}`)},
		{Server: "ns6", Value: []byte(`{"zones":[]}`)},
		{Server: "ns7", Value: nil},
	}})
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, []string{"ns1"}) {
		t.Errorf("%q", got)
	}
	// Settings that are not there differ from none.
	if findings := DifferenceFindings("example.test.", map[string]string{"updates": shortDigest("a")}, seen); len(findings) != 0 {
		t.Errorf("%+v", findings)
	}
}
