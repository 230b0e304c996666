package admin

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// TestStatusOfCluster has the tables of zones on etcd: what the zone has there, and how far each server is.
func TestStatusOfCluster(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	behind, current := uint32(3), uint32(0)
	const home = "etcd https://m:2379 prefix /gsstsig/"
	s := view.Status{Version: "v1", CoreDNS: "1.15", PID: 7, Started: noon, Ready: true,
		Zones: []view.Zone{
			{Zone: "a.test.", Serial: 12, Updates: "secure", Etcd: home, Confirmed: &noon, Commits: &view.Commits{Conflicts: 42, Unknown: 5}},
			{Zone: "b.test.", Updates: "secure", Etcd: home, Unavailable: &diagnose.Finding{Problem: "no answer"}},
			{Zone: "c.test.", Serial: 4, Updates: "secure", Etcd: home, Unavailable: &diagnose.Finding{Problem: "no answer"}, Commits: &view.Commits{}},
			{Zone: "d.test.", Serial: 1, Updates: "secure", Database: "/db"},
		},
		Clusters: []view.Cluster{{Etcd: home, Server: "ns1",
			Zones: []view.ClusterZone{{Zone: "a.test.", Serial: 15, Epoch: 2, Server: "ns2", Frozen: &noon, Sealed: true}, {Zone: "b.test.", Error: "format 9"}},
			Members: []view.Member{{Name: "m1", Version: "3.5.21", Leader: true, Octets: 30 << 20, Quota: 4 << 30, Endpoint: "https://m:2379"}, {Endpoint: "https://n:2379", Error: "refused"},
				{Name: "m3", Version: "3.5.21", Octets: 4 << 10, Problems: []string{"alarm:NOSPACE"}, Endpoint: "https://o:2379"}},
			Servers: []view.ClusterServer{
				{Server: "ns0", State: view.ServerGone, Seen: noon},
				{Server: "ns1", State: view.ServerRunning, Version: "v1", Seen: noon, Zones: []view.ServerZone{{Zone: "a.test.", Serial: 12, Behind: &behind, Confirmed: &noon}, {Zone: "c.test."}}},
				{Server: "ns2", State: view.ServerRunning, Version: "v1", Seen: noon, Zones: []view.ServerZone{{Zone: "a.test.", Serial: 15, Behind: &current, Confirmed: &noon}}},
				{Server: "ns3", State: view.ServerStopped, Seen: noon},
			}}},
	}
	var out bytes.Buffer
	if err := printStatus(&out, s); err != nil {
		t.Fatal(err)
	}
	const want = `
ZONE     SERIAL  UPDATES     RECORDS  OWNED NAMES  TOMBSTONES  LAST CHANGE  CONFLICTS  UNKNOWN  DATABASE
a.test.  12      secure      0        0            0           -            42         5        on etcd
b.test.  -       not loaded  -        -            -           -            -          -        on etcd
c.test.  4       expired     0        0            0           -            0          0        on etcd
d.test.  1       secure      0        0            0           -            -          -        /db
`
	const cluster = `
etcd https://m:2379 prefix /gsstsig/, where this server is ns1
SERVER  STATE    VERSION  LAST SEEN
ns0     gone     -        2026-05-04 12:00:00
ns1     running  v1       2026-05-04 12:00:00
ns2     running  v1       2026-05-04 12:00:00
ns3     stopped  -        2026-05-04 12:00:00

ZONE ON ETCD  SERIAL          COMMITTED BY  EPOCH  FROZEN                       AT ns1      AT ns2
a.test.       15              ns2           2      2026-05-04 12:00:00 for all  3 behind    current
b.test.       cannot be read  -             -      -                            -           -
c.test.       not there       -             -      -                            not loaded  -

MEMBER  VERSION  SIZE                STATE            ENDPOINT
m1      3.5.21   30 MiB of 4096 MiB  leads            https://m:2379
-       -        -                   does not answer  https://n:2379
m3      3.5.21   4 KiB               alarm:NOSPACE    https://o:2379
`
	for _, words := range []string{want, cluster} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("no\n%s\nin\n%s", words, &out)
		}
	}
	out.Reset()
	if err := printZones(&out, s.Zones[:1]); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"etcd               " + home, "confirmed by etcd  2026-05-04 12:00:00", "conflicts          42", "unknown outcomes   5"} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("no %q in\n%s", words, &out)
		}
	}
	// Without etcd there are no such columns.
	out.Reset()
	if err := printStatus(&out, view.Status{Zones: s.Zones[3:]}); err != nil || strings.Contains(out.String(), "CONFLICTS") || strings.Contains(out.String(), "etcd") {
		t.Errorf("%v\n%s", err, &out)
	}
}
