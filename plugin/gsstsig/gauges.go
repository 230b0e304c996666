package gsstsig

import (
	"os"
	"slices"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// gauge describes a metric that gauges makes when it is collected.
func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, name), help, labels, nil)
}

var (
	contextsDesc    = gauge("contexts", "Number of security contexts by state: live or half_open.", "state")
	serialDesc      = gauge("zone_serial", "Serial number of the zone.", "zone")
	recordsDesc     = gauge("zone_records", "Number of records in the zone.", "zone")
	dynamicDesc     = gauge("zone_dynamic_records", "Number of records that are not static.", "zone")
	staleDesc       = gauge("zone_stale_records", "Number of stale records that the last scavenging has left, to give clients time to refresh them.", "zone")
	maxRecordsDesc  = gauge("zone_records_limit", "Limit zone-records.", "zone")
	octetsDesc      = gauge("zone_octets", "Octets of the zone's names, data and owners, without tombstones.", "zone")
	maxOctetsDesc   = gauge("zone_octets_limit", "Limit zone-octets.", "zone")
	ownedDesc       = gauge("zone_owned_names", "Number of names with records and an owner.", "zone")
	ownersDesc      = gauge("zone_owners", "Number of owners of names and tombstones.", "zone")
	tombsDesc       = gauge("zone_tombstones", "Number of names without records that have an owner.", "zone")
	maxTombsDesc    = gauge("zone_tombstones_limit", "Limit tombstones.", "zone")
	unconfirmedDesc = gauge("zone_unconfirmed_seconds", "Time since etcd last told that the zone here is the newest.", "zone")
	loadedDesc      = gauge("zone_loaded", "1 if the zone is loaded from etcd, 0 if it is answered SERVFAIL because it is not.", "zone")
	serversDesc     = gauge("cluster_servers", "Number of servers that have zones on the etcd of this one by state: running, stopped in order within the last day, or gone within it.", "state")
	readableDesc    = gauge("keytab_readable", "1 if the keytab can be read now, 0 if not: the keys read before stay in use.", "keytab")
	modifiedDesc    = gauge("keytab_modified_timestamp_seconds", "Time at which the keytab was last modified.", "keytab")
	kvnoDesc        = gauge("keytab_kvno", "Highest key version of a service principal in the keytab.", "keytab", "principal")
	keyTimeDesc     = gauge("keytab_key_timestamp_seconds", "Time at which the key of the highest version was written, as the keytab says.", "keytab", "principal")
)

// gauges reads contexts, zones and keytabs of a process when they are collected, so that updates need not maintain them.
type gauges struct{ *process }

// Describe implements prometheus.Collector.
func (gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{contextsDesc, serialDesc, recordsDesc, dynamicDesc, staleDesc, maxRecordsDesc, octetsDesc, maxOctetsDesc, ownedDesc,
		ownersDesc, tombsDesc, maxTombsDesc, unconfirmedDesc, loadedDesc, serversDesc, readableDesc, modifiedDesc, kvnoDesc, keyTimeDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	live, halfOpen, zones, notLoaded := g.state()
	send(contextsDesc, float64(live), "live")
	send(contextsDesc, float64(halfOpen), "half_open")
	for origin, z := range zones {
		snapshot, limits := z.Snapshot(), z.Limits()
		size := snapshot.Size()
		send(serialDesc, float64(snapshot.Serial()), origin)
		send(recordsDesc, float64(size.Records), origin)
		send(dynamicDesc, float64(snapshot.Dynamic()), origin)
		send(staleDesc, float64(z.stale), origin)
		send(maxRecordsDesc, float64(limits.ZoneRecords), origin)
		send(octetsDesc, float64(size.Octets), origin)
		send(maxOctetsDesc, float64(limits.ZoneOctets), origin)
		send(ownedDesc, float64(size.Names), origin)
		send(ownersDesc, float64(size.Owners), origin)
		send(tombsDesc, float64(size.Tombstones), origin)
		send(maxTombsDesc, float64(limits.Tombstones), origin)
		if z.onEtcd {
			send(unconfirmedDesc, max(0, time.Since(z.Confirmed()).Seconds()), origin)
			send(loadedDesc, 1, origin)
		}
	}
	for _, origin := range notLoaded {
		if _, ok := zones[origin]; !ok {
			send(loadedDesc, 0, origin)
		}
	}
	g.collectServers(send)
	g.collectKeytabs(send)
}

// collectServers sends what was known last of the servers of all clusters that tell of them.
func (g gauges) collectServers(send func(*prometheus.Desc, float64, ...string)) {
	counts := make(map[string]int)
	known := false
	for _, c := range g.clustersInForce() {
		v, _ := c.status()
		known = known || v.Error == ""
		for _, s := range v.Servers {
			counts[s.State]++
		}
	}
	if !known {
		return
	}
	for _, state := range []string{view.ServerRunning, view.ServerStopped, view.ServerGone} {
		send(serversDesc, float64(counts[state]), state)
	}
}

// state returns the numbers of contexts, the zones by origin, and those that are not loaded from etcd. Several views may have a zone of one name, but a series has
// one label: the one with the newest serial is reported.
func (g gauges) state() (live, halfOpen int, zones map[string]gaugedZone, notLoaded []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.contexts {
		l, half := s.value.table.Len()
		live += l
		halfOpen += half
	}
	zones = make(map[string]gaugedZone)
	for _, s := range g.zones {
		z := s.value.loaded()
		if z == nil {
			if !slices.Contains(notLoaded, s.value.origin) {
				notLoaded = append(notLoaded, s.value.origin)
			}
			continue
		}
		if other, ok := zones[s.value.origin]; !ok || other.Snapshot().Serial() < z.Snapshot().Serial() {
			zones[s.value.origin] = gaugedZone{z, s.value.stale, s.value.onEtcd()}
		}
	}
	return live, halfOpen, zones, notLoaded
}

// gaugedZone is a zone with the number of its records that the last scavenging has left.
type gaugedZone struct {
	*zone.Zone
	stale  int
	onEtcd bool
}

// collectKeytabs sends what is known of the keytabs of all blocks, each file once.
func (g gauges) collectKeytabs(send func(*prometheus.Desc, float64, ...string)) {
	files, newest := make(map[string]bool), make(map[[2]string]krb5.KeyInfo)
	for _, b := range g.blocks() {
		s := b.service.Load()
		if s == nil {
			continue
		}
		for _, file := range s.Block.Keytabs {
			files[file] = true
		}
		noteNewest(newest, s)
	}
	for file := range files {
		// Reading the file, not only looking at it, tells that it is a keytab too.
		_, err := krb5.OpenKeytabs(file)
		readable := 1.0
		if err != nil {
			readable = 0
		}
		send(readableDesc, readable, file)
		if info, err := os.Stat(file); err == nil {
			send(modifiedDesc, float64(info.ModTime().UnixNano())/1e9, file)
		}
	}
	for of, key := range newest {
		send(kvnoDesc, float64(key.KVNO), of[:]...)
		if !key.Added.IsZero() {
			send(keyTimeDesc, float64(key.Added.Unix()), of[:]...)
		}
	}
}

// noteNewest notes the keys of the highest version, by file and principal.
func noteNewest(newest map[[2]string]krb5.KeyInfo, s *service.Service) {
	for _, k := range s.ServiceKeys() {
		of := [2]string{k.File, k.Principal.String()}
		if other, ok := newest[of]; !ok || other.KVNO < k.KVNO {
			newest[of] = k
		}
	}
}
