package zone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// record makes a record of a section, of class ANY or NONE too.
func record(t testing.TB, name, rrtype string, class uint16, ttl uint32, data string) store.Record {
	t.Helper()
	owner, err := dnswire.ParseName(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := store.Record{Name: string(owner), Type: dns.StringToType[rrtype], Class: class, TTL: ttl}
	if data != "" {
		packed := make([]byte, 512)
		rr := parseRR(t, name+" 0 IN "+rrtype+" "+data)
		start := len(owner) + 10
		end, err := dns.PackRR(rr, packed, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		r.Data = packed[start:end]
	}
	return r
}

// TestSections: sections that are no message have the meaning of those in a message.
func TestSections(t *testing.T) {
	z := openText(t, testApex+"old.example.test. 300 IN A 192.0.2.7\n", nil)
	apply := func(s Sections) Result {
		return z.Apply(t.Context(), &Update{Sections: &s})
	}
	present := record(t, "old.example.test.", "A", dns.ClassINET, 0, "192.0.2.7")
	r := apply(Sections{
		Prerequisites: []store.Record{present, record(t, "New.example.test.", "ANY", dns.ClassNONE, 0, "")},
		Updates: []store.Record{
			record(t, "old.example.test.", "ANY", dns.ClassANY, 0, ""),
			record(t, "New.example.test.", "A", dns.ClassINET, 60, "192.0.2.8"),
			record(t, "new.example.test.", "TXT", dns.ClassINET, 60, `"x"`),
			record(t, "new.example.test.", "TXT", dns.ClassNONE, 0, `"x"`),
		},
	})
	want := "New.example.test. 60 IN A 192.0.2.8"
	if got := texts(z.Snapshot()); r.Rcode != dns.RcodeSuccess || r.After != 11 || len(got) != 3 || got[0] != want {
		t.Errorf("%+v, %q", r, got)
	}
	verify(t, z.Snapshot())
	if r := apply(Sections{Prerequisites: []store.Record{present}}); r.Rcode != dns.RcodeNXRrset {
		t.Errorf("a prerequisite that is not met: %+v", r)
	}
	for name, broken := range map[string]store.Record{
		"no name":         {Type: dns.TypeA, Class: dns.ClassINET, Data: make([]byte, 4)},
		"broken name":     {Name: "\x03ab", Type: dns.TypeA, Class: dns.ClassINET, Data: make([]byte, 4)},
		"broken rdata":    {Name: present.Name, Type: dns.TypeA, Class: dns.ClassINET, Data: make([]byte, 3)},
		"another class":   {Name: present.Name, Type: dns.TypeA, Class: dns.ClassCHAOS, Data: make([]byte, 4)},
		"TTL of deletion": {Name: present.Name, Type: dns.TypeA, Class: dns.ClassANY, TTL: 1},
	} {
		before := z.Snapshot()
		if r := apply(Sections{Updates: []store.Record{broken}}); r.Rcode != dns.RcodeFormatError || z.Snapshot() != before {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := apply(Sections{Updates: []store.Record{record(t, "a.example.org.", "A", dns.ClassINET, 60, "192.0.2.8")}}); r.Rcode != dns.RcodeNotZone {
		t.Errorf("outside the zone: %+v", r)
	}
}

// TestSectionsHaveNoLimitOfMessages: one transaction of more records, octets and empty non-terminals than a message may have,
// although the queue takes none.
func TestSectionsHaveNoLimitOfMessages(t *testing.T) {
	z := openText(t, testApex, func(c *Config) {
		c.Limits = Limits{UpdateRecords: 1, UpdateOctets: 1, NonTerminals: 1, Queue: 1, QueueOctets: 1}
	})
	var s Sections
	const count = 70_000
	for i := range count {
		r := record(t, fmt.Sprintf("a.b.n%d.example.test.", i), "A", dns.ClassINET, 60, "")
		r.Data = []byte{192, 0, 2, 1}
		s.Updates = append(s.Updates, r)
	}
	if r := z.Apply(t.Context(), &Update{Sections: &s}); r.Rcode != dns.RcodeSuccess || z.Snapshot().Len() != 3+count {
		t.Errorf("%+v, %d records", r, z.Snapshot().Len())
	}
	if r := apply(t, z, strings.Repeat("U a.example.test. 60 IN A 192.0.2.1\n", 2)); r.Rcode != dns.RcodeRefused {
		t.Errorf("a message over the limit: %+v", r)
	}
}

// TestSectionsBesideMessages: updates of both kinds at the same time are all done, one after the other.
func TestSectionsBesideMessages(t *testing.T) {
	z := openText(t, testApex, nil)
	const each = 50
	var group sync.WaitGroup
	for i := range each {
		update := message(t, fmt.Sprintf("U m%d.example.test. 60 IN A 192.0.2.1", i))
		octets := pack(t, update)
		sections := Sections{Updates: []store.Record{record(t, fmt.Sprintf("s%d.example.test.", i), "A", dns.ClassINET, 60, "192.0.2.1")}}
		for _, u := range []*Update{{Message: octets}, {Sections: &sections}} {
			group.Go(func() {
				if r := z.Apply(context.Background(), u); r.Rcode != dns.RcodeSuccess {
					t.Errorf("%+v", r)
				}
			})
		}
	}
	group.Wait()
	if s := z.Snapshot(); s.Len() != 3+2*each || s.Serial() != 10+2*each {
		t.Errorf("%d records, serial %d", s.Len(), s.Serial())
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if r := z.Apply(t.Context(), &Update{Sections: new(Sections)}); r.Rcode != dns.RcodeServerFailure || r.Err != ErrClosed {
		t.Errorf("closed: %+v", r)
	}
}

func freeze(t testing.TB, z *Zone) bool {
	t.Helper()
	changed, err := z.Freeze(context.Background())
	if err != nil {
		t.Error(err)
	}
	return changed
}

func thaw(t testing.TB, z *Zone) bool {
	t.Helper()
	changed, err := z.Thaw(context.Background())
	if err != nil {
		t.Error(err)
	}
	return changed
}

// TestFreeze: a frozen zone refuses updates with the reason, but for those of the administrator.
func TestFreeze(t *testing.T) {
	z := openText(t, testApex, nil)
	if !freeze(t, z) || freeze(t, z) {
		t.Error("the first Freeze freezes, the second finds the zone frozen")
	}
	since, ok := z.Frozen()
	if !ok || since.IsZero() {
		t.Errorf("frozen since %v, %v", since, ok)
	}
	r := apply(t, z, "U a.example.test. 60 IN A 192.0.2.1")
	if r.Rcode != dns.RcodeRefused || r.Decision.Rule != "frozen" || !strings.Contains(r.Decision.Reason, "the zone is frozen") || z.Snapshot().Serial() != 10 {
		t.Errorf("%+v", r)
	}
	s := Sections{Updates: []store.Record{record(t, "a.example.test.", "A", dns.ClassINET, 60, "192.0.2.1")}}
	if r := z.Apply(t.Context(), &Update{Sections: &s, Administrative: true}); r.Rcode != dns.RcodeSuccess || !r.Changed {
		t.Errorf("administrative: %+v", r)
	}
	if !thaw(t, z) || thaw(t, z) {
		t.Error("the first Thaw thaws, the second finds the zone thawed")
	}
	if _, ok := z.Frozen(); ok {
		t.Error("frozen after Thaw")
	}
	if r := apply(t, z, "U b.example.test. 60 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", r)
	}
}

// TestSeal: a sealed zone refuses those of the administrator too, and is as it was before when that ends.
func TestSeal(t *testing.T) {
	z := openText(t, testApex, nil)
	s := Sections{Updates: []store.Record{record(t, "a.example.test.", "A", dns.ClassINET, 60, "192.0.2.1")}}
	administer := func(want int) {
		t.Helper()
		r := z.Apply(t.Context(), &Update{Sections: &s, Administrative: true})
		if r.Rcode != want || want == dns.RcodeRefused && (r.Decision.Cause != CauseFrozen || !strings.Contains(r.Decision.Reason, "for the administrator too")) {
			t.Errorf("administrative: %+v", r)
		}
	}
	is := func(frozen, sealed bool) {
		t.Helper()
		if _, f := z.Frozen(); f != frozen || z.Sealed() != sealed {
			t.Errorf("frozen %v, sealed %v", f, z.Sealed())
		}
	}
	do := func(operation func(*Zone, context.Context) (bool, error), want bool) {
		t.Helper()
		if changed, err := operation(z, t.Context()); changed != want || err != nil {
			t.Errorf("%v, %v", changed, err)
		}
	}
	do((*Zone).Unseal, false)
	do((*Zone).Seal, true)
	do((*Zone).Seal, false)
	do((*Zone).Freeze, false)
	is(true, true)
	administer(dns.RcodeRefused)
	if r := apply(t, z, "U a.example.test. 60 IN A 192.0.2.1"); r.Rcode != dns.RcodeRefused || r.Decision.Cause != CauseFrozen {
		t.Errorf("%+v", r)
	}
	do((*Zone).Unseal, true)
	is(true, false)
	administer(dns.RcodeSuccess)
	since, _ := z.Frozen()
	do((*Zone).Seal, true)
	if now, _ := z.Frozen(); !now.Equal(since) {
		t.Errorf("frozen since %v, not %v", now, since)
	}
	if changed, err := z.Thaw(t.Context()); changed || !errors.Is(err, ErrSealed) {
		t.Errorf("%v, %v", changed, err)
	}
	is(true, true)
	administer(dns.RcodeRefused)
	do((*Zone).Unseal, true)
	do((*Zone).Thaw, true)
	is(false, false)
	do((*Zone).Thaw, false)
	administer(dns.RcodeSuccess)
}

// TestIgnored: an update tells which of its instructions RFC 2136 section 3.4.2 ignores, on the state that the instructions before
// them lead to.
func TestIgnored(t *testing.T) {
	for _, test := range []struct {
		name    string
		updates []store.Record
		want    []string // a word of each reason; "": not ignored
	}{
		{"beside a CNAME", []store.Record{record(t, "alias.example.test.", "A", dns.ClassINET, 60, "192.0.2.1")}, []string{"has a CNAME record"}},
		{"a CNAME beside", []store.Record{record(t, "old.example.test.", "CNAME", dns.ClassINET, 60, "x.example.test.")}, []string{"has other records"}},
		{"in the place of a CNAME", []store.Record{
			record(t, "alias.example.test.", "CNAME", dns.ClassANY, 0, ""),
			record(t, "alias.example.test.", "A", dns.ClassINET, 60, "192.0.2.1"),
			record(t, "alias.example.test.", "CNAME", dns.ClassINET, 60, "x.example.test."),
		}, []string{"", "", "has other records"}},
		{"another CNAME", []store.Record{record(t, "alias.example.test.", "CNAME", dns.ClassINET, 60, "x.example.test.")}, []string{""}},
		{"an older serial", []store.Record{record(t, "example.test.", "SOA", dns.ClassINET, 60, "a. b. 10 1 1 1 1")}, []string{"serial is not greater"}},
		{"a greater serial", []store.Record{record(t, "example.test.", "SOA", dns.ClassINET, 60, "a. b. 99 1 1 1 1")}, []string{""}},
		{"an SOA record elsewhere", []store.Record{record(t, "old.example.test.", "SOA", dns.ClassINET, 60, "a. b. 99 1 1 1 1")}, []string{"only the zone's own name"}},
		{"NS of a wildcard", []store.Record{record(t, "*.example.test.", "NS", dns.ClassINET, 60, "a.")}, []string{"wildcards"}},
		{"the SOA record goes", []store.Record{
			record(t, "example.test.", "SOA", dns.ClassANY, 0, ""),
			record(t, "example.test.", "SOA", dns.ClassNONE, 0, "a. b. 10 1 1 1 1"),
		}, []string{"keeps its SOA", "keeps its SOA"}},
		{"all NS records go", []store.Record{record(t, "example.test.", "NS", dns.ClassANY, 0, "")}, []string{"one by one"}},
		{"the last NS record goes", []store.Record{record(t, "example.test.", "NS", dns.ClassNONE, 0, "ns1.example.test.")}, []string{"keeps its last NS"}},
		{"what is not there", []store.Record{
			record(t, "example.test.", "NS", dns.ClassNONE, 0, "nobody.example.test."),
			record(t, "nothing.example.test.", "SOA", dns.ClassANY, 0, ""),
			record(t, "nothing.example.test.", "A", dns.ClassNONE, 0, "192.0.2.1"),
		}, []string{"", "", ""}},
		{"what is there", []store.Record{record(t, "old.example.test.", "A", dns.ClassINET, 300, "192.0.2.7")}, []string{""}},
	} {
		z := openText(t, testApex+"old.example.test. 300 IN A 192.0.2.7\nalias.example.test. 300 IN CNAME old.example.test.\n", nil)
		before := z.Snapshot().Serial()
		all := true
		r := z.Apply(t.Context(), &Update{Sections: &Sections{Updates: test.updates}, Authorize: func(p *Proposal) Decision {
			for i, word := range test.want {
				all = all && word != ""
				if got := p.Ignored(i); (got == "") != (word == "") || !strings.Contains(got, word) {
					t.Errorf("%s: instruction %d: %q, want %q", test.name, i, got, word)
				}
			}
			return Decision{Allow: true}
		}})
		if r.Rcode != dns.RcodeSuccess || all && z.Snapshot().Serial() != before {
			t.Errorf("%s: %+v", test.name, r)
		}
	}
}
