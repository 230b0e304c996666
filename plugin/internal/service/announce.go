package service

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// An Announcement is what a server tells the others of its cluster.
type Announcement struct {
	Version string                   `json:"version"` // of the module
	Time    time.Time                `json:"time"`    // by its clock
	Zones   map[string]AnnouncedZone `json:"zones"`   // by origin
	// Settings has, of each part of the configuration that decides on updates, a digest: it has to be the same at all servers. Zones
	// with the same ones share them, since a server may have thousands.
	Settings map[string]map[string]string `json:"settings"`
}

// An AnnouncedZone is a zone of one server.
type AnnouncedZone struct {
	Serial uint32 `json:"serial"` // that the server has applied
	// Confirmed is when etcd last told that this serial is the newest; zero if the zone is not loaded.
	Confirmed time.Time `json:"confirmed,omitzero"`
	Settings  string    `json:"settings"` // key of those of the announcement
}

// Add adds a zone.
func (a *Announcement) Add(origin string, serial uint32, confirmed time.Time, settings map[string]string) {
	if a.Zones == nil {
		a.Zones, a.Settings = make(map[string]AnnouncedZone), make(map[string]map[string]string)
	}
	key := shortDigest(settings)
	a.Settings[key] = settings
	a.Zones[origin] = AnnouncedZone{Serial: serial, Confirmed: confirmed, Settings: key}
}

// settings returns those of a zone; nil if the server does not have it.
func (a *Announcement) settings(origin string) map[string]string {
	return a.Settings[a.Zones[origin].Settings]
}

// shortDigest is the same for equal values.
func shortDigest(value any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%#v", value)) // of a map by its keys in order
	return hex.EncodeToString(sum[:8])
}

// Settings returns digests of what decides on updates of a zone, by the names of properties.
func (s *Service) Settings(origin string) map[string]string {
	var rules strings.Builder
	for _, r := range s.Rules {
		rules.WriteString(r.Text() + "\n")
	}
	settings := make(map[string]string)
	for name, value := range map[string]any{
		"rules (grant, deny)": rules.String(),
		"updates":             s.Mode(origin).String(),
		"realm":               sortedWords(s.Realms),
		"proxies":             sortedWords(s.Proxies),
		"reclaim":             s.Reclaim,
		"keytab, principal":   sortedWords(s.Hosts),
		"enctypes, allow_rc4": fmt.Sprint(slices.Sorted(slices.Values(s.Enctypes)), s.AllowRC4),
		"clockskew":           s.ClockSkew,
		"require_pac":         sortedWords(s.RequirePAC),
		"transfers":           sortedWords(s.TransferWords),
		"aging":               s.Aging(origin),
		"tombstones":          s.Tombstones,
		"limit":               s.Limits,
	} {
		settings[name] = shortDigest(value)
	}
	return settings
}

func sortedWords(words []string) []string { return slices.Sorted(slices.Values(words)) }

// DifferenceFindings returns a warning for each part of a zone's configuration that another server has otherwise. The key of others is a server.
func DifferenceFindings(origin string, own map[string]string, others map[string]Announcement) []diagnose.Finding {
	differs := make(map[string][]string)
	for _, server := range slices.Sorted(maps.Keys(others)) {
		announced := others[server]
		settings := announced.settings(origin)
		for name, digest := range own {
			// An earlier version may not announce all of it.
			if other, ok := settings[name]; ok && other != digest {
				differs[name] = append(differs[name], server)
			}
		}
	}
	var findings []diagnose.Finding
	for _, name := range slices.Sorted(maps.Keys(differs)) {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
			Problem: fmt.Sprintf("%s differs from that of %s: an update is permitted or refused depending on the server that it meets", name, strings.Join(differs[name], ", ")),
			Fix:     "make the gsstsig block the same on all servers, and reload those that were changed"})
	}
	return findings
}
