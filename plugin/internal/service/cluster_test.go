package service

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// announced is a server that tells of itself.
func announced(t *testing.T, name string, zones map[string]AnnouncedZone) etcd.ServerStatus {
	t.Helper()
	value, err := json.Marshal(Announcement{Version: "v1", Time: noon, Zones: zones})
	if err != nil {
		t.Fatal(err)
	}
	return etcd.ServerStatus{Server: name, Value: value}
}

// TestClusterView compares what the servers of a cluster have applied with what etcd has.
func TestClusterView(t *testing.T) {
	status := etcd.Status{
		Members: []etcd.MemberStatus{{Endpoint: "http://m:1", Name: "m0", Version: "3.5.21", Leader: true, Size: 20 << 20, Quota: 1 << 30, Problems: []string{"no leader"}}, {Endpoint: "http://m:2", Err: errors.New("refused")}},
		Servers: []etcd.ServerStatus{
			announced(t, "ns1", map[string]AnnouncedZone{"b.test.": {Serial: 7, Confirmed: noon}, "a.test.": {Serial: 3, Confirmed: noon}}),
			announced(t, "ns0", map[string]AnnouncedZone{"a.test.": {}, "b.test.": {Serial: 2, Confirmed: noon}, "c.test.": {Serial: 1, Confirmed: noon}}),
			{Server: "other", Value: []byte("not of ours")},
		},
		Past:  []etcd.PastServer{{Server: "dead", Seen: noon}, {Server: "\x1b[2J", Seen: noon}, {Server: "ns3", Seen: noon, Stopped: true}},
		Zones: []etcd.ZoneStatus{{Origin: "a.test.", Serial: 2, Epoch: 2, Server: "ns1", Frozen: store.Freeze{Since: noon, Sealed: true}}, {Origin: "b.test.", Serial: 7, Epoch: 1, Server: "ns0"}, {Origin: "d.test.", Err: errors.New("format 9")}},
	}
	v := ClusterView(&corefile.Etcd{Endpoints: []string{"http://m:1"}, Prefix: "/p/"}, "ns1", status, nil)
	if v.Etcd != "etcd http://m:1 prefix /p/" || v.Server != "ns1" || v.Error != "" {
		t.Errorf("%+v", v)
	}
	var states []string
	for _, s := range v.Servers {
		states = append(states, s.Server+" "+s.State)
		if !s.Seen.Equal(noon) || s.Zones == nil {
			t.Errorf("%+v", s)
		}
	}
	if want := []string{"dead gone", "ns0 running", "ns1 running", "ns3 stopped"}; !slices.Equal(states, want) {
		t.Errorf("%q, want %q", states, want)
	}
	var got [][]string
	for _, r := range v.Rows() {
		row := []string{r.Zone}
		for _, at := range r.At {
			state := "-"
			if at != nil {
				state = at.State()
			}
			row = append(row, state)
		}
		got = append(got, row)
	}
	want := [][]string{
		{"a.test.", "not loaded", "serial 3"}, // it is ahead of etcd
		{"b.test.", "5 behind", "current"},
		{"c.test.", "serial 1", "-"}, // etcd does not have it
		{"d.test.", "-", "-"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(v.Zones) != 3 || !reflect.DeepEqual(v.Zones[0], view.ClusterZone{Zone: "a.test.", Serial: 2, Epoch: 2, Server: "ns1", Frozen: &noon, Sealed: true}) || v.Zones[2].Error != "format 9" {
		t.Errorf("zones %+v", v.Zones)
	}
	if len(v.Members) != 2 || v.Members[0].Size() != "20 MiB of 1024 MiB" || v.Members[1].Error != "refused" || v.Members[1].Problems == nil {
		t.Errorf("members %+v", v.Members)
	}
	// Programs read lists where there is nothing, too.
	empty, err := json.Marshal(ClusterView(&corefile.Etcd{}, "ns1", etcd.Status{}, errors.New("out of reach")))
	if err != nil || !strings.Contains(string(empty), `"error":"out of reach","zones":[],"members":[],"servers":[]`) {
		t.Errorf("%s, %v", empty, err)
	}
}

// TestClusterFindings has each thing that can be wrong with a cluster, and what is as it should be.
func TestClusterFindings(t *testing.T) {
	good := etcd.MemberStatus{Endpoint: "http://m:1", Version: "3.5.21", Size: 79 << 20, InUse: 5 << 20, Quota: 100 << 20}
	with := func(change func(*etcd.MemberStatus)) etcd.Status {
		m := good
		change(&m)
		return etcd.Status{Members: []etcd.MemberStatus{m}}
	}
	for name, test := range map[string]struct {
		status   etcd.Status
		severity diagnose.Severity
		want     []string
	}{
		"nothing":         {status: with(func(*etcd.MemberStatus) {})},
		"no quota":        {status: with(func(m *etcd.MemberStatus) { m.Quota = 0 })},
		"compacted":       {status: etcd.Status{HistorySince: time.Now().Add(-25 * time.Hour)}},
		"no answer":       {with(func(m *etcd.MemberStatus) { m.Err = errors.New("refused") }), diagnose.Warning, []string{"the member does not answer: refused", "start it"}},
		"too old":         {with(func(m *etcd.MemberStatus) { m.VersionErr = diagnose.WithFix(etcd.ErrVersion, "upgrade") }), diagnose.Error, []string{"too old", "upgrade"}},
		"nearly full":     {with(func(m *etcd.MemberStatus) { m.Size = 80 << 20 }), diagnose.Warning, []string{"80 of 100 MiB, of which 5 are in use", "--quota-backend-bytes"}},
		"full":            {with(func(m *etcd.MemberStatus) { m.Problems = []string{"memberID:1 alarm:NOSPACE "} }), diagnose.Error, []string{"NOSPACE", "etcdctl alarm disarm"}},
		"corrupt":         {with(func(m *etcd.MemberStatus) { m.Problems = []string{"memberID:1 alarm:CORRUPT "} }), diagnose.Error, []string{"CORRUPT"}},
		"a zone":          {etcd.Status{Zones: []etcd.ZoneStatus{{Origin: "a.test.", Err: errors.New("format 9")}}}, diagnose.Error, []string{"zone a.test.: it cannot be read on etcd: format 9. Clients show: SERVFAIL for names in a.test", "run the version that has written it"}},
		"never compacted": {etcd.Status{HistorySince: time.Now().Add(-27 * time.Hour)}, diagnose.Warning, []string{"is not compacted", "--auto-compaction-mode periodic"}},
	} {
		t.Run(name, func(t *testing.T) {
			findings := ClusterFindings(&corefile.Etcd{Endpoints: []string{"http://m:1"}}, test.status)
			if len(test.want) == 0 {
				if len(findings) > 0 {
					t.Errorf("%v", findings)
				}
				return
			}
			if len(findings) != 1 || findings[0].Severity != test.severity {
				t.Fatalf("%v, want one of severity %s", findings, test.severity)
			}
			for _, words := range test.want {
				if !strings.Contains(findings[0].String(), words) {
					t.Errorf("%v does not say %q", findings[0], words)
				}
			}
		})
	}
}

// TestCompactionText: the history is said to be compacted only if it is.
func TestCompactionText(t *testing.T) {
	for want, status := range map[string]etcd.Status{
		"its history was not compacted yet: auto-compaction does so once its retention is over":                 {Revision: 9},
		"its history is compacted up to revision 5 of 9; changes of zones since 2026-05-04T12:00:00Z are in it": {Revision: 9, Compacted: 5, HistorySince: noon},
	} {
		if got := CompactionText(status); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestDifferenceFindings: each part of the configuration that another server has otherwise is named, with that server.
func TestDifferenceFindings(t *testing.T) {
	own := map[string]string{"updates": "1", "realm": "1", "aging": "1"}
	others := make(map[string]Announcement)
	for _, other := range []struct {
		server, origin string
		settings       map[string]string
	}{
		{"ns1", "a.test.", map[string]string{"updates": "2", "realm": "1"}}, // it tells nothing of aging
		{"ns2", "a.test.", map[string]string{"updates": "3", "realm": "2", "aging": "1"}},
		{"ns3", "b.test.", map[string]string{"updates": "2"}},
	} {
		var a Announcement
		a.Add(other.origin, 1, time.Time{}, other.settings)
		others[other.server] = a
	}
	findings := DifferenceFindings("a.test.", own, others)
	if len(findings) != 2 || !strings.HasPrefix(findings[0].Problem, "realm differs from that of ns2: ") || !strings.HasPrefix(findings[1].Problem, "updates differs from that of ns1, ns2: ") {
		t.Errorf("%v", findings)
	}
}
