package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// TestTimesOfDumps: a time belongs to the record behind it alone. What says it in another way is refused.
func TestTimesOfDumps(t *testing.T) {
	head := ";gsstsig: zone example.test. serial 41\n" + master
	read := func(text string) ([]store.Record, error) {
		records, _, err := readMaster(strings.NewReader(text), origin, "dump", func(diagnose.Finding) {})
		return records, err
	}
	records, err := read(head + "a 60 IN A 192.0.2.1\n;gsstsig: refreshed 2026-01-02T03:00:00Z\nb 60 IN A 192.0.2.2\nc 60 IN A 192.0.2.3\n" +
		";gsstsig: refreshed 2026-01-02T04:00:00Z\n\n; a comment\nd 60 IN A 192.0.2.4\n")
	if err != nil {
		t.Fatal(err)
	}
	hours := make(map[string]uint32)
	for _, r := range records {
		hours[r.Name[1:2]] = r.Hours
	}
	at := uint32(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC).Unix() / 3600)
	for name, want := range map[string]uint32{"a": 0, "b": at, "c": 0, "d": at + 1} {
		if hours[name] != want {
			t.Errorf("%s has %d, want %d", name, hours[name], want)
		}
	}
	// A dump of a release without times.
	if records, err := read(head + "a 60 IN A 192.0.2.1\n"); err != nil || records[len(records)-1].Hours != 0 {
		t.Errorf("%v, %v", records, err)
	}
	for _, tc := range []struct{ annotation, words string }{
		{"refreshed", "not of the form refreshed TIME"},
		{"refreshed 2026-01-02T03:00:00Z again", "not of the form refreshed TIME"},
		{"refreshed yesterday", `time "yesterday"`},
		{"refreshed 2026-01-02T03:04:05Z", "not a whole hour"},
		{"refreshed 1970-01-01T00:00:00Z", "not a whole hour"},
		{"refreshed 1969-01-01T00:00:00Z", "not a whole hour"},
		{"refreshed 2026-01-02T03:00:00Z\n;gsstsig: refreshed 2026-01-02T03:00:00Z", "no record between"},
	} {
		if _, err := read(head + ";gsstsig: " + tc.annotation + "\na 60 IN A 192.0.2.1\n"); err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: %v", tc.annotation, err)
		}
	}
}

// TestFortyDays: a zone ages over 40 days, in which it is restarted, and moved by a dump to another database. Clients refresh
// their records once a day, but for one that is gone.
func TestFortyDays(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)
	const day = 24 * time.Hour
	directory := filepath.Join(t.TempDir(), "first")
	open := func() *zone.Zone {
		t.Helper()
		d, err := disk.Open(directory, disk.Options{Origin: origin, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		z, err := zone.Open(zone.Config{
			Origin: origin, Store: d, Aging: zone.Aging{NoRefresh: 7 * day, Refresh: 7 * day}, Now: func() time.Time { return now },
			Seed: func() ([]store.Record, error) { return zone.GeneratedApex(origin, "ns1."+origin) }, TombstoneLifetime: 100 * day,
		})
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	z := open()
	update := func(host string, static bool) zone.Result {
		t.Helper()
		m := new(dns.Msg).SetUpdate(origin)
		name := host + "." + origin
		m.RemoveRRset([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA}}})
		m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: []byte{192, 0, 2, 1}}})
		octets, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		r := z.Apply(context.Background(), &zone.Update{Message: octets, Static: static, Authorize: func(*zone.Proposal) zone.Decision {
			return zone.Decision{Allow: true, Own: []zone.Claim{{Name: below(host), Principal: "host/" + host}}}
		}})
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		return r
	}
	update("admin", true)
	update("gone", false)
	refreshed, serials := 0, 0
	for i := range 40 {
		serial := z.Snapshot().Serial()
		refreshed += update("here", false).Refreshed
		if z.Snapshot().Serial() != serial {
			serials++
		}
		if i == 20 {
			// The dump goes to another database.
			dump := dumped(t, z.Snapshot())
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			directory = filepath.Join(t.TempDir(), "second")
			records, owners, err := readMaster(strings.NewReader(dump), origin, "dump", func(diagnose.Finding) {})
			if err != nil {
				t.Fatal(err)
			}
			d, err := disk.Open(directory, disk.Options{Origin: origin})
			if err != nil {
				t.Fatal(err)
			}
			filled, err := zone.Open(zone.Config{Origin: origin, Store: d, Owners: owners, Seed: func() ([]store.Record, error) { return records, nil }})
			if err != nil {
				t.Fatal(err)
			}
			if err := filled.Close(); err != nil {
				t.Fatal(err)
			}
			z = open()
		}
		if i == 10 || i == 25 {
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			z = open()
		}
		if _, err := z.Scavenge(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		// It is stale from day 14 on. Each start gives it seven days more: those of days 10, 20 and 25.
		if exists, want := z.Snapshot().Exists("gone."+origin), i < 17; exists != want {
			t.Errorf("day %d: there: %t", i, exists)
		}
		now = now.Add(day)
	}
	if serials != 1 || refreshed != 5 { // on days 7, 14, 21, 28, 35
		t.Errorf("%d refreshes, %d serials", refreshed, serials)
	}
	if !z.Snapshot().Exists("here."+origin) || !z.Snapshot().Exists("admin."+origin) {
		t.Error("what was refreshed, or is static, is gone")
	}
	if o, ok := z.Snapshot().Owner("gone." + origin); !ok || o.Principal != "host/gone" || o.Deleted.IsZero() {
		t.Errorf("owner of what is gone: %+v, %t", o, ok)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTimesInJSON: a dump as JSON has the times, and a static record has none.
func TestTimesInJSON(t *testing.T) {
	records := append(apexRecords(t), store.Record{Name: below("a"), Type: 1, Class: 1, TTL: 5, Hours: 490_000, Data: []byte{192, 0, 2, 1}})
	var text bytes.Buffer
	if err := printJSON(&text, zoneJSON(openMemory(t, records, nil))); err != nil {
		t.Fatal(err)
	}
	var got dumpJSON
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, r := range got.Records {
		if (r.Name == "a.example.test.") != (r.Refreshed != nil) || r.Refreshed != nil && r.Refreshed.Unix() != 490_000*3600 {
			t.Errorf("%+v", r)
		}
	}
}
