package gsstsig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/version"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

// Each server tells the others of its cluster what it has applied of each zone, and digests of what decides on updates there. It asks
// etcd for what the others tell at the same time. The page shows what was known last, and waits for nobody; the command asks again.

const (
	announceInterval = 2 * time.Second
	firstInterval    = 200 * time.Millisecond
	announceTimeout  = 3 * time.Second
)

// clusterState is what is known of a cluster.
type clusterState struct {
	done chan struct{} // closed when the cluster is

	mu       sync.Mutex
	view     view.Cluster
	findings []diagnose.Finding // that were logged
}

// announce tells and asks until the cluster is closed.
func (p *process) announce(c *cluster) {
	for {
		own := p.exchange(context.Background(), c)
		// etcd keeps each value until its history is compacted: what many zones take is told less often.
		const manyZones = 500
		pause := announceInterval * time.Duration(1+len(own.Zones)/manyZones)
		if len(own.Zones) == 0 {
			pause = firstInterval // the configuration is not in force yet
		}
		select {
		case <-c.state.done:
			return
		case <-time.After(pause):
		}
	}
}

// exchange tells the others of this server, and asks etcd for what they tell.
func (p *process) exchange(ctx context.Context, c *cluster) service.Announcement {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	own := p.announcement(c)
	var findings []diagnose.Finding
	if text, err := json.Marshal(own); err == nil && len(own.Zones) > 0 {
		// After other errors another attempt follows, and the question below tells what is wrong.
		if err := c.Publish(ctx, text); errors.Is(err, etcd.ErrNameTaken) {
			findings = append(findings, sameNameFinding(c.conf.String(), c.Server()))
		}
		findings = append(findings, sizeFindings(c.conf.String(), len(own.Zones), len(text))...)
	}
	status, err := c.Status(ctx)
	c.noteStatus(own, findings, status, err)
	return own
}

// sameNameFinding is about two servers with one name.
func sameNameFinding(etcdName, server string) diagnose.Finding {
	return diagnose.Finding{Severity: diagnose.Warning, Subject: etcdName,
		Problem: "another server has the name " + server + ", as this one: status shows one of the two, and differences between their configurations are not told",
		Fix:     "add \"etcd_server NAME\" to the gsstsig blocks of one of them, or give its host another name"}
}

// sizeFindings returns a warning if a server has more to tell than it may.
func sizeFindings(etcdName string, zones, octets int) []diagnose.Finding {
	if octets <= etcd.MaxPublished {
		return nil
	}
	return []diagnose.Finding{{Severity: diagnose.Warning, Subject: etcdName,
		Problem: fmt.Sprintf("the other servers do not see this one: what it tells of its %d zones has %d octets, and %d are allowed", zones, octets, etcd.MaxPublished),
		Fix:     "give some of the server blocks another etcd_prefix"}}
}

// announcement is what this server tells of the zones of the configuration in force.
func (p *process) announcement(c *cluster) service.Announcement {
	a := service.Announcement{Version: version.Module(), Time: time.Now().UTC()}
	for _, b := range p.inForce() {
		if b.cluster != c {
			continue
		}
		for origin, z := range b.handler.Load().zones {
			serial, confirmed := uint32(0), time.Time{}
			if loaded := z.loaded(); loaded != nil {
				serial, confirmed = loaded.Snapshot().Serial(), loaded.Confirmed().UTC().Truncate(time.Millisecond)
			}
			a.Add(origin, serial, confirmed, b.service.Load().Settings(origin))
		}
	}
	return a
}

// noteStatus keeps what etcd tells, and logs what is wrong with it when that changes.
func (c *cluster) noteStatus(own service.Announcement, findings []diagnose.Finding, status etcd.Status, err error) {
	v := service.ClusterView(&c.conf, c.Server(), status, err)
	findings = append(findings, service.ClusterFindings(&c.conf, status)...)
	if err == nil {
		others := service.Announcements(status)
		delete(others, c.Server())
		for _, origin := range slices.Sorted(maps.Keys(own.Zones)) {
			findings = append(findings, service.DifferenceFindings(origin, own.Settings[own.Zones[origin].Settings], others)...)
		}
	}
	s := &c.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = v
	for _, f := range findings {
		if !slices.ContainsFunc(s.findings, func(before diagnose.Finding) bool { return sameTrouble(before, f) }) {
			logFinding(f)
		}
	}
	s.findings = findings
}

// sameTrouble reports whether two findings are about the same: the words of what comes from the network change all the time.
func sameTrouble(a, b diagnose.Finding) bool {
	first, _, _ := strings.Cut(a.Problem, ": ")
	second, _, _ := strings.Cut(b.Problem, ": ")
	return a.Subject == b.Subject && first == second
}

var errNotAsked = errors.New("it was not asked yet")

// status describes the cluster as it was known last.
func (c *cluster) status() (view.Cluster, []diagnose.Finding) {
	s := &c.state
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view
	if v.Etcd == "" {
		v = service.ClusterView(&c.conf, c.Server(), etcd.Status{}, errNotAsked)
	}
	return v, s.findings
}

// clustersInForce lists the clusters of the configuration in force.
func (p *process) clustersInForce() []*cluster {
	var list []*cluster
	for _, b := range p.inForce() {
		if b.cluster != nil && !slices.Contains(list, b.cluster) {
			list = append(list, b.cluster)
		}
	}
	return list
}
