package zone

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// testApex is the least zone that tests start from.
const testApex = `
example.test.	3600	IN	SOA	ns1.example.test. hostmaster.example.test. 10 900 600 86400 300
example.test.	3600	IN	NS	ns1.example.test.
ns1.example.test.	3600	IN	A	192.0.2.1
`

func parseRR(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil || rr == nil {
		t.Fatalf("record %q: %v", text, err)
	}
	return rr
}

func openText(t testing.TB, text string, edit func(*Config)) *Zone {
	t.Helper()
	c := Config{
		Origin: "example.test.",
		Store:  store.NewMemory(store.MemoryOptions{}),
		Seed: func() ([]store.Record, error) {
			return ParseSeed(strings.NewReader(text), SeedConfig{Origin: "example.test.", File: "seed", Signed: true})
		},
	}
	if edit != nil {
		edit(&c)
	}
	z, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	return z
}

// message makes an UPDATE from lines of the form
//
//	P|U NAME TTL CLASS TYPE [RDATA]
//
// for records of the prerequisite and update sections; Z ZONE CLASS TYPE replaces the zone section.
func message(t testing.TB, script string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate("example.test.")
	zones := 0
	for line := range strings.Lines(script) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if f[0] == "Z" {
			if zones++; zones == 1 {
				m.Question = nil
			}
			if len(f) > 1 {
				m.Question = append(m.Question, dns.Question{Name: f[1], Qclass: class(t, f[2]), Qtype: rrtype(t, f[3])})
			}
			continue
		}
		ttl, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		var rr dns.RR
		if len(f) == 5 {
			rr = &dns.ANY{Hdr: dns.RR_Header{Name: f[1], Rrtype: rrtype(t, f[4])}}
		} else {
			_, rdata, _ := strings.Cut(line, f[4]+" ")
			rr = parseRR(t, fmt.Sprintf("%s 0 IN %s %s", f[1], f[4], rdata))
		}
		rr.Header().Ttl, rr.Header().Class = uint32(ttl), class(t, f[3])
		switch f[0] {
		case "P":
			m.Answer = append(m.Answer, rr)
		case "U":
			m.Ns = append(m.Ns, rr)
		default:
			t.Fatalf("%q: neither P nor U nor Z", line)
		}
	}
	return m
}

// pack returns the octets of a message.
func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// wire returns the wire form of a name.
func wire(t testing.TB, name string) string {
	t.Helper()
	octets, err := dnswire.ParseName(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

// recordsOf returns records of structs, as a seed has them.
func recordsOf(t testing.TB, rrs ...dns.RR) []store.Record {
	t.Helper()
	var records []store.Record
	for _, rr := range rrs {
		r, err := RecordOf(rr)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// rrOf returns the struct of a record.
func rrOf(r store.Record) dns.RR {
	return newRR(dnswire.NameText([]byte(r.Name)), r.Type, r.TTL, r.Data)
}

func class(t testing.TB, s string) uint16 {
	c, ok := dns.StringToClass[s]
	if !ok && s != "CLASS0" {
		t.Fatalf("class %q", s)
	}
	return c
}

func rrtype(t testing.TB, s string) uint16 {
	if n, ok := strings.CutPrefix(s, "TYPE"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		return uint16(v)
	}
	c, ok := dns.StringToType[s]
	if !ok {
		t.Fatalf("type %q", s)
	}
	return c
}

func apply(t testing.TB, z *Zone, script string) Result {
	t.Helper()
	return z.Apply(context.Background(), &Update{Message: pack(t, message(t, script))})
}

// texts are the zone's records without the SOA, sorted, with blanks evened.
func texts(s *Snapshot) []string {
	var list []string
	for rr := range s.Records() {
		if rr.Header().Rrtype != dns.TypeSOA {
			list = append(list, text(rr))
		}
	}
	slices.Sort(list)
	return list
}

func text(rr dns.RR) string { return strings.Join(strings.Fields(rr.String()), " ") }

// verify checks what must hold in every state.
func verify(t testing.TB, s *Snapshot) {
	t.Helper()
	if s.apex().set(dns.TypeSOA).count != 1 || s.apex().set(dns.TypeNS).empty() {
		t.Fatal("the apex lacks SOA or NS")
	}
	records, octets, tombstones := 0, 0, 0
	previous := ""
	s.nodes(func(key string, n *node) bool {
		if key != "" {
			if key <= previous {
				t.Fatalf("%q after %q", key, previous)
			}
			if _, ok := s.node(parentKey(key)); !ok {
				t.Fatalf("%q has no parent", key)
			}
			if n.empty() && !s.hasDescendants(key) {
				t.Fatalf("%q is empty and terminal", key)
			}
			_, cut := s.zonecuts.Get(key)
			if cut != n.cuts() {
				t.Fatalf("%q: zone cut %v, noted %v", key, n.cuts(), cut)
			}
		}
		previous = key
		if spelling := n.spelling(); spelling != nil {
			if again, ok := s.origin.keyOf(string(spelling)); !ok || again != key || !hasUpper(spelling) || n.tally().records == 0 {
				t.Fatalf("%q is spelled %q, %d records", key, spelling, n.tally().records)
			}
		}
		records += n.tally().records
		octets += n.tally().octets + len(key)
		last := -1
		for set := range n.sets {
			if int(set.rrtype) <= last {
				t.Fatalf("%q: types out of order", key)
			}
			last = int(set.rrtype)
			if !n.set(dns.TypeCNAME).empty() && set.rrtype != dns.TypeCNAME && !besideCNAME(set.rrtype) {
				t.Fatalf("%q: CNAME and %s", key, dns.Type(set.rrtype))
			}
			count := 0
			var before []byte
			for data := range set.records {
				if err := dnswire.Validate(set.rrtype, data); err != nil {
					t.Fatalf("%q: %v", key, err)
				}
				if count++; count > 1 && dnswire.Compare(set.rrtype, before, data) >= 0 {
					t.Fatalf("%q: records of %s out of order", key, dns.Type(set.rrtype))
				}
				before = data
			}
			if count != set.count || count == 0 {
				t.Fatalf("%q: %d records of %s, counted %d", key, count, dns.Type(set.rrtype), set.count)
			}
		}
		return true
	})
	owned := make(map[string]usage)
	tombstoneOctets, tombstoneOwners, reserved, reservedOctets := 0, 0, 0, 0
	again := newSnapshot(s.origin)
	s.nodes(func(key string, n *node) bool {
		again.names.Set(key, n)
		again.updateServices(key, nil, n)
		return true
	})
	if !sameTree(again.abroad, s.abroad) || !sameTree(again.aliases, s.aliases) {
		t.Fatalf("services lead to %q in other zones and to the aliases %q, noted %q and %q", again.abroad.Keys(), again.aliases.Keys(), s.abroad.Keys(), s.aliases.Keys())
	}
	if !slices.Equal(again.services.Keys(), s.services.Keys()) || !slices.Equal(again.services.Values(), s.services.Values()) {
		t.Fatalf("services lead to %q, noted %q", again.services.Keys(), s.services.Keys())
	}
	s.owners.Scan(func(key string, own ownership) bool {
		n, _ := s.node(key)
		if !isReserved(own.principal()) {
			u := owned[own.principal()]
			u.add(usageOf(key, n, own.deleted() != 0))
			owned[own.principal()] = u
		}
		if own.deleted() == 0 {
			octets += own.octets(key)
		}
		if n.empty() != (own.deleted() != 0) {
			t.Fatalf("%q: owner %+v, records %v", key, own, !n.empty())
		}
		if own.reserved() {
			reserved++
			if _, ok := s.reserved.Get(tombstoneKey(key, own.deleted())); !ok {
				t.Fatalf("%q: reserved tombstone not noted", key)
			}
			reservedOctets += own.octets(key)
		} else if own.deleted() != 0 {
			tombstones++
			if _, ok := s.tombstones.Get(tombstoneKey(key, own.deleted())); !ok {
				t.Fatalf("%q: tombstone not noted", key)
			}
			if _, ok := s.ownerTombstones.Get(ownerTombstoneKey(own.principal(), key, own.deleted())); !ok {
				t.Fatalf("%q: tombstone not noted for %s", key, own.principal())
			}
			tombstoneOctets += own.octets(key)
		}
		return true
	})
	ranks := 0
	for principal, u := range owned {
		if u.tombstones > 0 {
			tombstoneOwners++
		}
		if u.tombstones > 1 {
			ranks++
			if _, ok := s.tombstoneRanks.Get(rankKey(idOf(principal), u.tombstones)); !ok {
				t.Fatalf("%s has no rank", principal)
			}
		}
		if got := s.usage.get(idOf(principal)); got != u {
			t.Fatalf("%s has %+v, counted %+v", principal, u, got)
		}
	}
	if len(owned) != s.usage.len() || ranks != s.tombstoneRanks.Len() || tombstoneOwners != s.tombstoneOwners || tombstoneOctets != s.tombstoneOctets ||
		tombstones != s.ownerTombstones.Len() {
		t.Fatalf("%d owners, %d with tombstones of %d octets; counted %d, %d, %d; %d tombstones of owners",
			len(owned), tombstoneOwners, tombstoneOctets, s.usage.len(), s.tombstoneOwners, s.tombstoneOctets, s.ownerTombstones.Len())
	}
	if reserved != s.reserved.Len() || reservedOctets != s.reservedOctets {
		t.Fatalf("%d reserved tombstones of %d octets; counted %d, %d", reserved, reservedOctets, s.reserved.Len(), s.reservedOctets)
	}
	dynamic := 0
	for r := range s.WireRecords() {
		if r.Hours != 0 {
			dynamic++
		}
	}
	if dynamic != s.dynamic {
		t.Fatalf("%d dynamic records, counted %d", dynamic, s.dynamic)
	}
	if records != s.records || octets != s.octets || tombstones != s.tombstones.Len() {
		t.Fatalf("%d records, %d octets, %d tombstones; counted %d, %d, %d",
			records, octets, tombstones, s.records, s.octets, s.tombstones.Len())
	}
	if s.SOA().Serial != s.serial {
		t.Fatalf("serial %d, SOA says %d", s.serial, s.SOA().Serial)
	}
}

// clock is a time that tests set.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }
