package zone

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// BenchmarkLargeUpdate compares what updates cost an octet: one of a short name, and updates of as many
// names, of names as long, and of names with as many labels as the limits permit. Each name is added
// and deleted again.
func BenchmarkLargeUpdate(b *testing.B) {
	for _, tc := range []struct {
		name  string
		names int
		of    func(i int) string
	}{
		{"plain", 1, func(i int) string { return fmt.Sprintf("host%d.", i) }},
		{"many", 1000, func(i int) string { return fmt.Sprintf("host%d.", i) }},
		{"long", 250, func(i int) string {
			return fmt.Sprintf("%s%03d.%s.%s.", strings.Repeat("x", 60), i, strings.Repeat("y", 63), strings.Repeat("z", 63))
		}},
		{"deep", 9, func(i int) string { return strings.Repeat("a.", 100) + fmt.Sprintf("x%d.a.a.a.a.a.a.a.a.a.", i) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			z := sized(b, 1e4)
			add, remove := new(dns.Msg).SetUpdate("example.test."), new(dns.Msg).SetUpdate("example.test.")
			for i := range tc.names {
				header := dns.RR_Header{Name: tc.of(i) + "new.example.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}
				add.Insert([]dns.RR{&dns.A{Hdr: header, A: []byte{192, 0, 2, 1}}})
				remove.RemoveName([]dns.RR{&dns.A{Hdr: header}})
			}
			updates := []*Update{{Message: pack(b, add)}, {Message: pack(b, remove)}}
			octets := 0
			for _, u := range updates {
				p, err := z.Propose(u.Message)
				if err != nil {
					b.Fatal(err)
				}
				for i := range p.Names() {
					octets += len(p.Name(i).Wire())
				}
			}
			b.ReportAllocs()
			b.SetBytes(int64(octets))
			for b.Loop() {
				for _, u := range updates {
					if r := z.Apply(context.Background(), u); r.Rcode != dns.RcodeSuccess || !r.Changed {
						b.Fatal(r)
					}
				}
			}
		})
	}
}

// BenchmarkOwners is what a zone of many owned names takes, and how long it takes to load: one owner
// for each name, and one for all.
func BenchmarkOwners(b *testing.B) {
	const size = 100_000
	for _, owners := range []int{size, 1} {
		b.Run(fmt.Sprint(owners), func(b *testing.B) {
			apex := sized(b, 0).Snapshot()
			for b.Loop() {
				b.StopTimer()
				before := heap()
				b.StartTimer()
				s := ownedNames(b, apex, size, owners)
				b.StopTimer()
				b.ReportMetric(float64(heap()-before)/size, "B/name")
				runtime.KeepAlive(s)
				b.StartTimer()
			}
		})
	}
}

// TestMemoryOfOwners: what an owned name takes, with its address, its owner and what is counted of that.
func TestMemoryOfOwners(t *testing.T) {
	const size = 20_000
	apex := sized(t, 0).Snapshot()
	for _, tc := range []struct{ owners, most int }{{size, 205}, {1, 150}} {
		before := heap()
		s := ownedNames(t, apex, size, tc.owners)
		if got := int(heap()-before) / size; got > tc.most {
			t.Errorf("%d owners: %d octets a name", tc.owners, got)
		}
		verify(t, s)
	}
}

// heap returns the octets of live memory.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// ownedNames loads names with an address, which belong to a number of owners in turn.
func ownedNames(tb testing.TB, apex *Snapshot, size, owners int) *Snapshot {
	tb.Helper()
	load := func(v store.Visitor) error {
		for r := range apex.WireRecords() {
			if err := v.Record(r); err != nil {
				return err
			}
		}
		for i := range size {
			r := store.Record{Name: wire(tb, hostName(i)), Type: dns.TypeA, Class: dns.ClassINET, TTL: 300, Data: []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}}
			if err := v.Record(r); err != nil {
				return err
			}
		}
		for i := range size {
			principal := fmt.Sprintf("host/host%07d.example.test@EXAMPLE.TEST", i%owners)
			if err := v.Owner(store.Owner{Name: wire(tb, hostName(i)), Principal: principal}); err != nil {
				return err
			}
		}
		return nil
	}
	s, err := Read("example.test.", source{apex.Serial(), load})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// source is a Source made by a function.
type source struct {
	serial uint32
	load   func(store.Visitor) error
}

func (s source) Load(_ context.Context, v store.Visitor) (uint32, bool, error) {
	return s.serial, true, s.load(v)
}

// TestLoadingLeavesLittle: loading a name makes little that is not kept. What is left lies between what is kept, so that its memory
// cannot be given back.
func TestLoadingLeavesLittle(t *testing.T) {
	const size, kept = 1000, 3 // the key, the node and its octets
	o, err := newOrigin("example.test.")
	if err != nil {
		t.Fatal(err)
	}
	records := make([]store.Record, size)
	for i := range records {
		records[i] = store.Record{Name: wire(t, hostName(i)), Type: dns.TypeA, Class: dns.ClassINET, TTL: 300, Hours: 1, Data: []byte{10, 0, byte(i >> 8), byte(i)}}
	}
	allocations := testing.AllocsPerRun(10, func() {
		v := visitor{newBuilder(o)}
		for _, r := range records {
			if err := v.Record(r); err != nil {
				t.Fatal(err)
			}
		}
		v.b.flush()
	})
	if allocations > (kept+0.5)*size {
		t.Errorf("%.1f allocations a name, of which %d are kept", allocations/size, kept)
	}
}
