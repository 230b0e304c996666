package zone

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// refreshForms are the forms of updates in timesTable. Each does to 192.0.2.1 at the host what its
// name says.
var refreshForms = map[string]string{
	"add":         "U host.example.test. 300 IN A 192.0.2.1",
	"add twice":   "U host.example.test. 300 IN A 192.0.2.1\nU host.example.test. 300 IN A 192.0.2.1",
	"ttl":         "U host.example.test. 60 IN A 192.0.2.1",
	"upper case":  "U HOST.Example.Test. 300 IN A 192.0.2.1",
	"replace":     "U host.example.test. 0 NONE A 192.0.2.1\nU host.example.test. 300 IN A 192.0.2.1",
	"replace set": "U host.example.test. 0 ANY A\nU host.example.test. 300 IN A 192.0.2.1\nU host.example.test. 300 IN A 192.0.2.9",
	"replace name": "U host.example.test. 0 ANY ANY\nU host.example.test. 300 IN A 192.0.2.1\nU host.example.test. 300 IN A 192.0.2.9\n" +
		"U host.example.test. 300 IN TXT \"text\"",
	"replace ttl":  "U host.example.test. 0 NONE A 192.0.2.1\nU host.example.test. 60 IN A 192.0.2.1",
	"beside":       "U host.example.test. 300 IN A 192.0.2.5",
	"elsewhere":    "U other.example.test. 300 IN A 192.0.2.1",
	"prerequisite": "P host.example.test. 0 IN A 192.0.2.1\nP host.example.test. 0 IN A 192.0.2.9",
	"prerequisite, add": "P host.example.test. 0 IN A 192.0.2.1\nP host.example.test. 0 IN A 192.0.2.9\n" +
		"U host.example.test. 300 IN A 192.0.2.1",
	"failed prerequisite": "P host.example.test. 0 NONE A\nU host.example.test. 300 IN A 192.0.2.1",
	"add, delete":         "U host.example.test. 300 IN A 192.0.2.1\nU host.example.test. 0 NONE A 192.0.2.1",
	"delete":              "U host.example.test. 0 NONE A 192.0.2.1",
	"delete set":          "U host.example.test. 0 ANY A",
	"delete beside":       "U host.example.test. 0 NONE A 192.0.2.9",
}

// timesTable has, in each row, who updates, whether the zone ages (both intervals are 168 hours), how
// long ago 192.0.2.1 at the host was refreshed before the update, the form of the update, the same
// afterwards, and what is committed: nothing, a refresh without a serial, or a change.
const timesTable = `
client | on  | none   | add                 | 0h     | change
client | off | none   | add                 | 0h     | change
client | on  | none   | add twice           | 0h     | change
client | on  | none   | replace             | 0h     | change
client | on  | none   | replace set         | 0h     | change
client | off | none   | replace name        | 0h     | change
client | on  | none   | add, delete         | none   | nothing
client | on  | none   | delete              | none   | nothing
client | on  | none   | beside              | none   | change
client | off | none   | elsewhere           | none   | change
client | on  | static | add                 | static | nothing
client | off | static | add                 | static | nothing
client | on  | static | add twice           | static | nothing
client | on  | static | ttl                 | static | change
client | on  | static | replace             | static | nothing
client | off | static | replace             | static | nothing
client | on  | static | replace set         | static | nothing
client | on  | static | replace name        | static | nothing
client | on  | static | replace ttl         | static | change
client | on  | static | beside              | static | change
client | on  | static | prerequisite, add   | static | nothing
client | on  | static | delete              | none   | change
client | on  | 0h     | add                 | 0h     | nothing
client | on  | 1h     | add                 | 1h     | nothing
client | on  | 167h   | add                 | 167h   | nothing
client | on  | 168h   | add                 | 0h     | refresh
client | on  | 169h   | add                 | 0h     | refresh
client | on  | 335h   | add                 | 0h     | refresh
client | on  | 5000h  | add                 | 0h     | refresh
client | on  | -1h    | add                 | 0h     | refresh
client | on  | -5000h | add                 | 0h     | refresh
client | off | 0h     | add                 | 0h     | nothing
client | off | 168h   | add                 | 168h   | nothing
client | off | 5000h  | add                 | 5000h  | nothing
client | off | -5h    | add                 | -5h    | nothing
client | on  | 167h   | add twice           | 167h   | nothing
client | on  | 168h   | add twice           | 0h     | refresh
client | on  | 167h   | upper case          | 167h   | nothing
client | on  | 168h   | upper case          | 0h     | refresh
client | on  | 167h   | ttl                 | 167h   | change
client | on  | 168h   | ttl                 | 0h     | change
client | off | 168h   | ttl                 | 168h   | change
client | on  | 167h   | replace             | 167h   | nothing
client | on  | 168h   | replace             | 0h     | refresh
client | off | 168h   | replace             | 168h   | nothing
client | on  | 167h   | replace set         | 167h   | nothing
client | on  | 168h   | replace set         | 0h     | refresh
client | off | 168h   | replace set         | 168h   | nothing
client | on  | 167h   | replace name        | 167h   | nothing
client | on  | 168h   | replace name        | 0h     | refresh
client | off | 168h   | replace name        | 168h   | nothing
client | on  | 167h   | replace ttl         | 167h   | change
client | on  | 168h   | replace ttl         | 0h     | change
client | off | 168h   | replace ttl         | 168h   | change
client | on  | 168h   | beside              | 168h   | change
client | off | 168h   | beside              | 168h   | change
client | on  | 168h   | elsewhere           | 168h   | change
client | on  | 168h   | prerequisite        | 168h   | nothing
client | on  | 168h   | prerequisite, add   | 0h     | refresh
client | on  | 167h   | prerequisite, add   | 167h   | nothing
client | on  | 168h   | failed prerequisite | 168h   | nothing
client | on  | 168h   | add, delete         | none   | change
client | on  | 168h   | delete              | none   | change
client | off | 168h   | delete              | none   | change
client | on  | 168h   | delete set          | none   | change
client | on  | 168h   | delete beside       | 168h   | change
client | off | 168h   | delete beside       | 168h   | change
admin  | on  | none   | add                 | static | change
admin  | off | none   | add                 | static | change
admin  | on  | static | add                 | static | nothing
admin  | on  | 1h     | add                 | static | refresh
admin  | off | 1h     | add                 | static | refresh
admin  | on  | 168h   | add                 | static | refresh
admin  | on  | 168h   | replace             | static | refresh
admin  | on  | 168h   | ttl                 | static | change
admin  | on  | 168h   | beside              | 168h   | change
admin  | on  | 168h   | delete beside       | 168h   | change
admin  | on  | none   | add, delete         | none   | nothing
`

// timesNow is when the updates of timesTable come, not at the beginning of an hour.
var timesNow = time.Unix(500_000*3600+1799, 0)

// hoursAgo is the inverse of agoText.
func hoursAgo(t *testing.T, text string) uint32 {
	t.Helper()
	if text == "static" {
		return 0
	}
	ago, err := strconv.Atoi(strings.TrimSuffix(text, "h"))
	if err != nil {
		t.Fatal(err)
	}
	return uint32(500_000 - ago)
}

// agoText is how long before timesNow a record was refreshed.
func agoText(hours uint32) string {
	if hours == 0 {
		return "static"
	}
	return fmt.Sprintf("%dh", 500_000-int(hours))
}

// timesOf are the times of all records but those of the zone's own name, by name, type, TTL and value.
func timesOf(s *Snapshot) map[string]string {
	times := make(map[string]string)
	for r := range s.WireRecords() {
		if name := dnswire.NameText([]byte(r.Name)); name != s.Origin() {
			times[fmt.Sprint(strings.ToLower(name), " ", dnswire.TypeText(r.Type), " ", rrOf(r).String()[len(rrOf(r).Header().String()):])] = agoText(r.Hours)
		}
	}
	return times
}

// timesSeed is a zone with a host that has one record of each of the given times.
func timesSeed(t *testing.T, first string) []store.Record {
	records := recordsOf(t, parseRR(t, "example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 10 900 600 86400 300"),
		parseRR(t, "example.test. 3600 IN NS ns1.example.test."))
	add := func(text, ago string) {
		r := recordsOf(t, parseRR(t, text))[0]
		r.Hours = hoursAgo(t, ago)
		records = append(records, r)
	}
	if first != "none" {
		add("host.example.test. 300 IN A 192.0.2.1", first)
	}
	add("host.example.test. 300 IN A 192.0.2.9", "50h")
	add(`host.example.test. 300 IN TXT "text"`, "60h")
	add("ns1.example.test. 300 IN A 192.0.2.53", "static")
	return records
}

func TestTimes(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) func() store.Store{
		"memory": func(t *testing.T) func() store.Store {
			m := store.NewMemory(store.MemoryOptions{})
			first := true
			return func() store.Store {
				if !first {
					again, err := m.Reopen()
					if err != nil {
						t.Fatal(err)
					}
					m = again
				}
				first = false
				return m
			}
		},
		"disk": func(t *testing.T) func() store.Store {
			dir := filepath.Join(t.TempDir(), "db")
			return func() store.Store {
				d, err := disk.Open(dir, disk.Options{Origin: "example.test."})
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
		},
	} {
		rows := 0
		for row := range strings.Lines(timesTable) {
			cells := strings.Split(row, "|")
			if len(cells) < 2 {
				continue
			}
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows++
			t.Run(name+"/"+strings.Join(cells[:4], ","), func(t *testing.T) { testTimes(t, cells, open(t)) })
		}
		if rows < 60 {
			t.Errorf("%d rows", rows)
		}
	}
}

func testTimes(t *testing.T, cells []string, open func() store.Store) {
	who, aging, before, form, after, effect := cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]
	script, known := refreshForms[form]
	if !known {
		t.Fatalf("form %q", form)
	}
	faulty := &storetest.Faulty{Store: open()}
	c := Config{
		Origin: "example.test.", Store: faulty, Now: func() time.Time { return timesNow },
		Seed: func() ([]store.Record, error) { return timesSeed(t, before), nil },
	}
	if aging == "on" {
		c.Aging = Aging{NoRefresh: 168 * time.Hour, Refresh: 168 * time.Hour}
	}
	z, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	want := timesOf(z.Snapshot())
	r := z.Apply(context.Background(), &Update{Message: pack(t, message(t, script)), Static: who == "admin", Principal: who})
	if (r.Rcode != dns.RcodeSuccess) != (form == "failed prerequisite") {
		t.Fatalf("%+v", r)
	}

	const first = "host.example.test. A 192.0.2.1"
	delete(want, first)
	if after != "none" {
		want[first] = after
	}
	fresh := "0h"
	if who == "admin" {
		fresh = "static"
	}
	switch form {
	case "beside":
		want["host.example.test. A 192.0.2.5"] = fresh
	case "elsewhere":
		want["other.example.test. A 192.0.2.1"] = fresh
	case "delete set", "delete beside":
		delete(want, "host.example.test. A 192.0.2.9")
	}
	commits := len(faulty.Commits())
	switch effect {
	case "nothing":
		if commits != 0 || r.Changed || r.Refreshed != 0 || r.After != 10 {
			t.Errorf("%d commits, %+v", commits, r)
		}
	case "refresh":
		if commits != 1 || r.Changed || r.Refreshed != 1 || r.After != 10 || r.Before != 10 {
			t.Errorf("%d commits, %+v", commits, r)
		}
	case "change":
		if commits != 1 || !r.Changed || r.After != 11 {
			t.Errorf("%d commits, %+v", commits, r)
		}
	default:
		t.Fatalf("effect %q", effect)
	}
	check := func(z *Zone) {
		t.Helper()
		verify(t, z.Snapshot())
		if got := timesOf(z.Snapshot()); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("times %v\nwant  %v", got, want)
		}
		// A refresh is no part of an incremental transfer.
		transferred := 0
		for rr, err := range z.Since(t.Context(), z.Snapshot(), 10) {
			if transferred++; err != nil || effect == "refresh" {
				t.Errorf("transferred %v, %v", rr, err)
			}
		}
		if transferred == 0 && effect == "change" {
			t.Error("the change is not in an incremental transfer")
		}
		var log []string
		for c, err := range z.Log(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			log = append(log, c.Author)
		}
		if effect == "change" && !slices.Equal(log, []string{who}) || effect != "change" && len(log) > 0 {
			t.Errorf("the log has changes of %q", log)
		}
	}
	check(z)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	c.Store = open()
	if z, err = Open(c); err != nil {
		t.Fatal(err)
	}
	check(z)
	if err := z.Close(); err != nil {
		t.Error(err)
	}
}
