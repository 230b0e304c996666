package admin

import (
	"encoding/json"
	"io"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// The JSON forms of commands' output. Names of fields stay.

type recordJSON struct {
	Name string `json:"name"`
	TTL  uint32 `json:"ttl"`
	Type string `json:"type"`
	Data string `json:"data"` // in the form of a master file
	// Refreshed is the hour in which the record was last refreshed; a static record has none.
	Refreshed *time.Time `json:"refreshed,omitempty"`
}

type ownerJSON struct {
	Name      string     `json:"name"`
	Principal string     `json:"principal"`
	Deleted   *time.Time `json:"deleted,omitempty"` // when the last record of the name went
}

type dumpJSON struct {
	Zone    string       `json:"zone"`
	Serial  uint32       `json:"serial"`
	Records []recordJSON `json:"records"`
	Owners  []ownerJSON  `json:"owners"`
}

type loadedJSON struct {
	Zone     string `json:"zone"`
	Serial   uint32 `json:"serial"`
	Records  int    `json:"records"`
	Database string `json:"database,omitempty"`
	Etcd     string `json:"etcd,omitempty"`
	// Settings are those of a zone from Active Directory.
	Settings *settingsJSON `json:"settings,omitempty"`
}

type convertedJSON struct {
	Lines []string `json:"lines"` // of a gsstsig block
}

// zoneJSON is a zone for dump.
func zoneJSON(s *zone.Snapshot) dumpJSON {
	dump := dumpJSON{Zone: s.Origin(), Serial: s.Serial(), Records: []recordJSON{}, Owners: []ownerJSON{}}
	for r := range s.WireRecords() {
		record := recordJSON{
			Name: dnswire.NameText([]byte(r.Name)), TTL: r.TTL, Type: dnswire.TypeText(r.Type), Data: dnswire.TextOrGeneric(r.Type, r.Data),
		}
		if r.Hours != 0 {
			at := timeOf(min(r.Hours, maxHours))
			record.Refreshed = &at
		}
		dump.Records = append(dump.Records, record)
	}
	for owner := range s.Owners() {
		o := ownerJSON{Name: dnswire.NameText([]byte(owner.Name)), Principal: owner.Principal}
		if !owner.Deleted.IsZero() {
			deleted := owner.Deleted.UTC()
			o.Deleted = &deleted
		}
		dump.Owners = append(dump.Owners, o)
	}
	return dump
}
