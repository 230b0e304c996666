package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// etcdTimeout is how long etcd has to tell of itself.
const etcdTimeout = 8 * time.Second

// etcd examines the cluster that keeps the zones of a block, and compares the block with those of the servers that run. It returns
// false if the zones cannot be read.
func (c *checker) etcd(s *service.Service) bool {
	subject := "etcd " + strings.Join(s.Etcd.Endpoints, " ")
	cluster, err := service.OpenCluster(&s.Etcd, commandSuffix, nil)
	if err != nil {
		c.doesNotStart(s.Position, err)
		return false
	}
	ctx, cancel := context.WithTimeout(c.ctx, etcdTimeout)
	defer cancel()
	status, err := cluster.Status(ctx)
	if failure := cluster.Close(); err == nil {
		err = failure
	}
	for _, m := range status.Members {
		if m.Err != nil || m.VersionErr != nil {
			continue
		}
		text := fmt.Sprintf("member %s, version %s, %s", m.Name, m.Version, view.Member{Octets: m.Size, Quota: m.Quota}.Size())
		if m.Leader {
			text += ", the leader"
		}
		c.ok("etcd "+m.Endpoint, "%s", text)
	}
	c.add(service.ClusterFindings(&s.Etcd, status)...)
	if err != nil {
		f := diagnose.FromError(subject, err)
		f.Problem = "the server starts, and answers the zones of " + s.Position + " SERVFAIL until etcd answers: " + f.Problem
		if f.Fix == "" {
			f.Fix = "start a majority of the members, and let this machine reach one of them"
		}
		c.add(f)
		return false
	}
	for _, z := range status.Zones {
		if z.Err != nil {
			c.damaged = append(c.damaged, z.Origin)
		}
	}
	c.ok(subject, "%s", service.CompactionText(status))
	c.compareServers(s, service.Announcements(status))
	return true
}

// compareServers compares the settings of a block with those of the servers that run, this one's running configuration included.
func (c *checker) compareServers(s *service.Service, servers map[string]service.Announcement) {
	if len(servers) == 0 {
		c.ok(s.Etcd.String(), "no server runs")
		return
	}
	c.ok(s.Etcd.String(), "servers that run: %s", strings.Join(slices.Sorted(maps.Keys(servers)), ", "))
	for _, origin := range s.Origins {
		findings := service.DifferenceFindings(origin, s.Settings(origin), servers)
		c.add(findings...)
		if len(findings) == 0 {
			c.ok("zone "+origin, "rules, aging and limits are those of all servers that run")
		}
	}
}
