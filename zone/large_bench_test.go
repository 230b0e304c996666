package zone

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
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
	const size = 1e5
	for _, owners := range []int{size, 1} {
		b.Run(fmt.Sprint(owners), func(b *testing.B) {
			o, err := newOrigin("example.test.")
			if err != nil {
				b.Fatal(err)
			}
			heap := func() uint64 {
				runtime.GC()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			apex := sized(b, 0).Snapshot()
			for b.Loop() {
				before := heap()
				build := newBuilder(o)
				for r := range apex.WireRecords() {
					r.Data = slices.Clone(r.Data)
					err = errors.Join(err, build.add(&r))
				}
				b.StartTimer()
				for i := range int(size) {
					name := wire(b, hostName(i))
					err = errors.Join(err, build.add(&store.Record{Name: name, Type: dns.TypeA, Class: dns.ClassINET, TTL: 300, Data: []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}}))
				}
				build.flush()
				for i := range int(size) {
					principal := fmt.Sprintf("host/host%07d.example.test@EXAMPLE.TEST", i%owners)
					err = errors.Join(err, build.own(store.Owner{Name: wire(b, hostName(i)), Principal: principal}))
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(float64(heap()-before)/size, "B/name")
				runtime.KeepAlive(build)
				b.StartTimer()
			}
		})
	}
}
