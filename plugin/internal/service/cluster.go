package service

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
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

// Announcements returns what servers tell of themselves, by their names. What is not in that form is left out, and what cannot be shown
// as it is, in logs and terminals.
func Announcements(status etcd.Status) map[string]Announcement {
	all := make(map[string]Announcement)
	for _, s := range status.Servers {
		var a Announcement
		if json.Unmarshal(s.Value, &a) == nil && isPlain(s.Server) && isPlain(a.Version) && !slices.ContainsFunc(slices.Collect(maps.Keys(a.Zones)), isNotPlain) {
			all[s.Server] = a
		}
	}
	return all
}

// isPlain reports whether a word is printable ASCII.
func isPlain(word string) bool {
	return !strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' })
}

func isNotPlain(word string) bool { return !isPlain(word) }

// ClusterView describes a cluster, where err is the error of the question for its status.
func ClusterView(e *corefile.Etcd, server string, status etcd.Status, err error) view.Cluster {
	v := view.Cluster{Etcd: e.String(), Server: server, Zones: []view.ClusterZone{}, Members: []view.Member{}, Servers: []view.ClusterServer{}}
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
	heads := make(map[string]uint32)
	for _, z := range status.Zones {
		zone := view.ClusterZone{Zone: z.Origin, Serial: z.Serial, Epoch: z.Epoch, Server: z.Server}
		if z.Err != nil {
			zone.Error = z.Err.Error()
		}
		if !z.Frozen.Since.IsZero() {
			zone.Frozen, zone.Sealed = &z.Frozen.Since, z.Frozen.Sealed
		}
		v.Zones = append(v.Zones, zone)
		if z.Err == nil {
			heads[z.Origin] = z.Serial
		}
	}
	for name, a := range Announcements(status) {
		s := view.ClusterServer{Server: name, State: view.ServerRunning, Version: a.Version, Seen: a.Time, Zones: []view.ServerZone{}}
		for origin, z := range a.Zones {
			s.Zones = append(s.Zones, serverZone(origin, z, heads))
		}
		slices.SortFunc(s.Zones, func(a, b view.ServerZone) int { return cmp.Compare(a.Zone, b.Zone) })
		v.Servers = append(v.Servers, s)
	}
	for _, p := range pastServers(status) {
		state := view.ServerGone
		if p.Stopped {
			state = view.ServerStopped
		}
		v.Servers = append(v.Servers, view.ClusterServer{Server: p.Server, State: state, Seen: p.Seen, Zones: []view.ServerZone{}})
	}
	slices.SortFunc(v.Servers, func(a, b view.ClusterServer) int { return cmp.Compare(a.Server, b.Server) })
	return v
}

// pastServers returns those that are not there any more, but what cannot be shown as it is.
func pastServers(status etcd.Status) []etcd.PastServer {
	return slices.DeleteFunc(slices.Clone(status.Past), func(p etcd.PastServer) bool { return isNotPlain(p.Server) })
}

// serverZone describes a zone at a server, where heads are the serials on etcd.
func serverZone(origin string, announced AnnouncedZone, heads map[string]uint32) view.ServerZone {
	z := view.ServerZone{Zone: origin, Serial: announced.Serial}
	if announced.Confirmed.IsZero() {
		return z
	}
	z.Confirmed = &announced.Confirmed
	head, known := heads[origin]
	if behind := head - announced.Serial; known && int32(behind) >= 0 { // RFC 1982
		z.Behind = &behind
	}
	return z
}

// CompactionText says how far a cluster has compacted its history.
func CompactionText(status etcd.Status) string {
	text := "its history was not compacted yet: auto-compaction does so once its retention is over"
	if status.Compacted > 0 {
		text = fmt.Sprintf("its history is compacted up to revision %d of %d", status.Compacted, status.Revision)
	}
	if !status.HistorySince.IsZero() {
		text += fmt.Sprintf("; changes of zones since %s are in it", status.HistorySince.UTC().Format(time.RFC3339))
	}
	return text
}

// nearlyFull is the part of the quota, in percent, from which on a warning is given.
const nearlyFull = 80

// ClusterFindings returns what is wrong with a cluster: members that do not answer, are too old, nearly full, or tell of a problem, servers
// that are gone, zones that cannot be read, and a history that is not compacted.
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
		if m.Quota > 0 && m.Size >= m.Quota/100*nearlyFull {
			findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "etcd " + m.Endpoint,
				Problem: fmt.Sprintf("its database is nearly as large as it may be, and no update is taken once it is: %d of %d MiB, of which %d are in use", m.Size>>20, m.Quota>>20, m.InUse>>20),
				Fix:     "compact and defragment etcd, or start each member with a larger --quota-backend-bytes: docs/cluster.md has the steps"})
		}
		for _, problem := range m.Problems {
			f := diagnose.Finding{Severity: diagnose.Error, Subject: "etcd " + m.Endpoint, Problem: problem}
			if strings.Contains(problem, "NOSPACE") {
				f.Fix = "compact and defragment etcd, then etcdctl alarm disarm: docs/cluster.md has the steps"
			}
			findings = append(findings, f)
		}
	}
	for _, p := range pastServers(status) {
		if !p.Stopped {
			findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "server " + p.Server,
				Problem: fmt.Sprintf("it is gone since %s and has not stopped in order: it was killed, its machine is down, or it does not reach etcd", p.Seen.UTC().Format(time.RFC3339)),
				Fix:     "start it, or let it reach etcd. If it is not to come back, nothing: it is forgotten after a day"})
		}
	}
	for _, z := range status.Zones {
		if z.Err != nil {
			f := diagnose.FromError("zone "+z.Origin, z.Err)
			f.Problem = "it cannot be read on etcd: " + f.Problem
			f.ClientError = "SERVFAIL for names in " + withoutDot(z.Origin)
			f.Fix = cmp.Or(f.Fix, "run the version that has written it, or restore it from a backup: docs/cluster.md has the steps")
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
