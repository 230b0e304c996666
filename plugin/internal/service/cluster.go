package service

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone/store/etcd"
)

// uncompacted is how far etcd's history may reach back before a warning says that nothing compacts it.
const uncompacted = 26 * time.Hour

// Announcements returns what servers tell of themselves, by their names. What is not in that form is left out.
func Announcements(status etcd.Status) map[string]Announcement {
	all := make(map[string]Announcement)
	for _, s := range status.Servers {
		var a Announcement
		if json.Unmarshal(s.Value, &a) == nil {
			all[s.Server] = a
		}
	}
	return all
}

// ClusterView describes a cluster, where err is the error of the question for its status.
func ClusterView(e *corefile.Etcd, server string, status etcd.Status, err error) view.Cluster {
	v := view.Cluster{Etcd: e.String(), Server: server, Members: []view.Member{}, Servers: []view.ClusterServer{}}
	if err != nil {
		v.Error = err.Error()
	}
	for _, m := range status.Members {
		member := view.Member{Name: m.Name, Endpoint: m.Endpoint, Version: m.Version, Leader: m.Leader, Octets: m.Size, Quota: m.Quota, Problems: []string{}}
		if m.Err != nil {
			member.Error = m.Err.Error()
		}
		member.Problems = append(member.Problems, m.Problems...)
		v.Members = append(v.Members, member)
	}
	for name, a := range Announcements(status) {
		s := view.ClusterServer{Server: name, Version: a.Version, Seen: a.Time, Zones: []view.ServerZone{}}
		for origin, z := range a.Zones {
			s.Zones = append(s.Zones, view.ServerZone{Zone: origin, Serial: z.Serial})
		}
		slices.SortFunc(s.Zones, func(a, b view.ServerZone) int { return cmp.Compare(a.Zone, b.Zone) })
		v.Servers = append(v.Servers, s)
	}
	slices.SortFunc(v.Servers, func(a, b view.ClusterServer) int { return cmp.Compare(a.Server, b.Server) })
	return v
}

// ClusterFindings returns what is wrong with a cluster: members that do not answer, are too old, or tell of a problem, and a history
// that is not compacted.
func ClusterFindings(e *corefile.Etcd, status etcd.Status) []diagnose.Finding {
	var findings []diagnose.Finding
	for _, m := range status.Members {
		f := diagnose.Finding{Severity: diagnose.Warning, Subject: "etcd " + m.Endpoint}
		switch {
		case m.Err != nil:
			f = diagnose.FromError(f.Subject, m.Err)
			f.Severity = diagnose.Warning
			f.Problem = "the member does not answer: " + f.Problem
			f.Fix = cmp.Or(f.Fix, "start it, or correct its URL in the property etcd")
			findings = append(findings, f)
		case m.VersionErr != nil:
			f = diagnose.FromError(f.Subject, m.VersionErr)
			findings = append(findings, f)
		}
		for _, problem := range m.Problems {
			f := diagnose.Finding{Severity: diagnose.Error, Subject: "etcd " + m.Endpoint, Problem: problem}
			if strings.Contains(problem, "NOSPACE") {
				f.Fix = "compact and defragment etcd, then etcdctl alarm disarm: docs/cluster.md has the steps"
			}
			findings = append(findings, f)
		}
	}
	if since := status.HistorySince; !since.IsZero() && time.Since(since) > uncompacted {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "etcd " + strings.Join(e.Endpoints, " "),
			Problem: fmt.Sprintf("its history reaches back to %s and is not compacted, so that its database grows until the quota is reached and no update is taken", since.UTC().Format(time.RFC3339)),
			Fix:     "start each member with --auto-compaction-mode periodic --auto-compaction-retention 1h"})
	}
	return findings
}
