package zone

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// FuzzTimes sends any message to a zone that ages. Each record that was there keeps its time or is
// refreshed as the intervals say, what is static stays so, and the store has the same times.
func FuzzTimes(f *testing.F) {
	for _, sc := range updateScenarios {
		octets, err := message(f, sc.script).Pack()
		if err != nil {
			f.Fatal(err)
		}
		for _, age := range []uint32{0, 167, 168, 400} {
			f.Add(octets, age, age == 400)
		}
	}
	f.Fuzz(func(t *testing.T, octets []byte, age uint32, static bool) {
		const now = 500_000
		if age >= now {
			return
		}
		memory := store.NewMemory(store.MemoryOptions{})
		z := openText(t, updateZone, func(c *Config) {
			c.Store, c.Now = memory, func() time.Time { return time.Unix(now*3600, 0) }
			c.Aging = Aging{NoRefresh: week, Refresh: week}
			seed := c.Seed
			c.Seed = func() ([]store.Record, error) {
				records, err := seed()
				for i := range records {
					if i%3 > 0 {
						records[i].Hours = now - age
					}
				}
				return records, err
			}
		})
		before := hoursOfRecords(z.Snapshot())
		r := z.Apply(context.Background(), &Update{Message: octets, Static: static})
		verify(t, z.Snapshot())
		after := hoursOfRecords(z.Snapshot())
		refreshed := 0
		for record, hours := range after {
			old, found := before[record]
			if found && hours != old {
				refreshed++
			}
			switch {
			case strings.HasPrefix(record, `"\aexample\x04test\x00"`):
				if hours != 0 {
					t.Errorf("%s of the zone's own name has time %d", record, hours)
				}
			case static && hours != 0 && hours != old, !static && !found && hours != now:
				t.Errorf("%s was added with time %d", record, hours)
			case found && old == 0 && hours != 0:
				t.Errorf("%s was static, and has time %d", record, hours)
			case found && hours != old && !static && (hours != now || age < 168):
				t.Errorf("%s had time %d, and has %d", record, old, hours)
			}
		}
		if !r.Changed && r.Refreshed != refreshed {
			t.Errorf("%d refreshed, result %+v", refreshed, r)
		}
		if r.Rcode != dns.RcodeSuccess && refreshed > 0 {
			t.Errorf("%+v refreshes %d records", r, refreshed)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := memory.Reopen()
		if err != nil {
			t.Fatal(err)
		}
		stored, err := Read("example.test.", again)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(slices.Collect(stored.WireRecords()), slices.Collect(z.Snapshot().WireRecords()), equalRecordsAndTimes) {
			t.Error("the store has another zone")
		}
	})
}

func equalRecordsAndTimes(a, b store.Record) bool { return equalRecords(a, b) && a.Hours == b.Hours }

// hoursOfRecords has the times of a zone's records by name, type and rdata without regard to case.
func hoursOfRecords(s *Snapshot) map[string]uint32 {
	hours := make(map[string]uint32)
	for r := range s.WireRecords() {
		canonical, name := r.Data, dnswire.AppendLower(nil, []byte(r.Name))
		if lower, ok := lowered(r.Type, r.Data); ok {
			canonical = lower
		}
		hours[fmt.Sprintf("%q %d %x", name, r.Type, canonical)] = r.Hours
	}
	return hours
}

// lowered returns rdata with the names in it in lower case, where a comparison ignores their case.
func lowered(rrtype uint16, data []byte) ([]byte, bool) {
	lower := slices.Clone(data)
	for name := range dnswire.Names(rrtype, data) {
		copy(lower[name.Start:], dnswire.AppendLower(nil, data[name.Start:name.End]))
	}
	return lower, dnswire.Equal(rrtype, lower, data)
}
