package zone

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// requiring is an UPDATE of as many value-dependent prerequisites, each of an RRset of its own.
func requiring(t testing.TB, sets int) *dns.Msg {
	var script strings.Builder
	for i := range sets {
		fmt.Fprintf(&script, "P h%d.example.test. 0 IN A 192.0.2.1\n", i)
	}
	return message(t, script.String())
}

// The records of an RRset belong together wherever they are in the message and however many other
// RRsets there are.
func TestPrerequisitesOfOneRRsetAreGathered(t *testing.T) {
	for _, sets := range []int{1, maxLinear, maxLinear + 1, 3 * maxLinear} {
		var text, all, some strings.Builder
		text.WriteString(testApex)
		for record := range 3 {
			for i := range sets {
				line := fmt.Sprintf("h%d.example.test. 0 IN A 192.0.2.%d\n", i, record)
				text.WriteString(line)
				all.WriteString("P " + line)
				if record < 2 || i < sets-1 {
					some.WriteString("P " + line)
				}
			}
		}
		z := openText(t, text.String(), nil)
		if r := apply(t, z, all.String()); r.Rcode != dns.RcodeSuccess {
			t.Errorf("%d RRsets: %+v", sets, r)
		}
		if r := apply(t, z, some.String()); r.Rcode != dns.RcodeNXRrset {
			t.Errorf("%d RRsets, the last without one of its records: %+v", sets, r)
		}
	}
}

// Nothing is looked at beyond what the limits let through: a record that would be FORMERR is not
// found there, but is before it.
func TestParsingEndsAtTheLimits(t *testing.T) {
	limits := Limits{UpdateOctets: 1_000}.withDefaults()
	o, err := newOrigin("example.test.")
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range []string{"prerequisites", "updates"} {
		records := requiring(t, 100).Answer
		exceeds := 0
		for octets := 0; octets <= limits.UpdateOctets; exceeds++ {
			octets += dns.Len(records[exceeds])
		}
		parse := func(bad int) error {
			m := new(dns.Msg)
			m.SetUpdate("example.test.")
			records := slices.Clone(records)
			broken := dns.Copy(records[bad])
			broken.Header().Class = dns.ClassCHAOS
			records[bad] = broken
			if section == "updates" {
				m.Ns = records
			} else {
				m.Answer = records
			}
			_, err := parse(o, pack(t, m), &limits)
			return err
		}
		var form *formError
		var limit *LimitError
		if err := parse(exceeds - 1); !errors.As(err, &form) || form.rcode != dns.RcodeFormatError {
			t.Errorf("%s: a bad record within the limit: %v", section, err)
		}
		if err := parse(exceeds); !errors.As(err, &limit) || limit.Limit != "UpdateOctets" {
			t.Errorf("%s: a bad record beyond the limit: %v", section, err)
		}
	}
	limits.UpdateRecords = 5
	m := requiring(t, 6)
	m.Answer[0].Header().Class = dns.ClassCHAOS
	var limit *LimitError
	if _, err := parse(o, pack(t, m), &limits); !errors.As(err, &limit) || limit.Limit != "UpdateRecords" {
		t.Errorf("too many records: %v", err)
	}
	m.Question[0].Name = "example.net."
	var form *formError
	if _, err := parse(o, pack(t, m), &limits); !errors.As(err, &form) || form.rcode != dns.RcodeNotAuth {
		t.Errorf("too many records for another zone: %v", err)
	}
}

// BenchmarkParse is an update of some names, each of which gets an address in the place of others.
// Up to maxLinear names are compared with each other, more are looked up.
func BenchmarkParse(b *testing.B) {
	o, err := newOrigin("example.test.")
	if err != nil {
		b.Fatal(err)
	}
	limits := Limits{}.withDefaults()
	for _, names := range []int{1, 4, maxLinear, maxLinear + 1, 64} {
		var script strings.Builder
		for i := range names {
			fmt.Fprintf(&script, "U host%d.example.test. 0 ANY A\nU host%[1]d.example.test. 300 IN A 192.0.2.1\n", i)
		}
		octets := pack(b, message(b, script.String()))
		b.Run(fmt.Sprint(names), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parse(o, octets, &limits); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(names), "ns/name")
		})
	}
}

// BenchmarkParsePrerequisites is to take as long for a record, however many there are.
func BenchmarkParsePrerequisites(b *testing.B) {
	o, err := newOrigin("example.test.")
	if err != nil {
		b.Fatal(err)
	}
	limits := Limits{UpdateOctets: 1 << 20}.withDefaults()
	for _, sets := range []int{20, 200, 2_000} {
		octets := pack(b, requiring(b, sets))
		b.Run(fmt.Sprint(sets), func(b *testing.B) {
			for b.Loop() {
				if _, err := parse(o, octets, &limits); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(sets), "ns/record")
		})
	}
}
