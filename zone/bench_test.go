package zone

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

var benchmarkSizes = []int{1e2, 1e4, 1e6}

// null is a store that costs nothing, so that what is measured is the zone.
type null struct{}

func (null) Load(context.Context, store.Visitor) (uint32, bool, error) { return 0, false, nil }
func (null) Init(context.Context, store.Contents) error                { return nil }
func (null) Commit(context.Context, []store.Change) error              { return nil }
func (null) Changes(context.Context, uint32, uint32) iter.Seq2[store.Change, error] {
	return func(func(store.Change, error) bool) {}
}
func (null) Log(context.Context) iter.Seq2[store.Change, error] {
	return func(func(store.Change, error) bool) {}
}
func (null) Close() error { return nil }

func hostName(i int) string { return fmt.Sprintf("host%07d.example.test.", i) }

// sized is a zone with about that many records, one a name.
func sized(b testing.TB, size int) *Zone {
	b.Helper()
	o, err := newOrigin("example.test.")
	if err != nil {
		b.Fatal(err)
	}
	z, err := Open(Config{Origin: o.name, Store: null{}, Seed: func() ([]store.Record, error) { return GeneratedApex(o.name, "ns1.example.test.") }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { z.Close() })
	// Not by way of the seed, whose own records would be in the memory measured.
	build := newBuilder(o)
	for r := range z.Snapshot().WireRecords() {
		r.Data = slices.Clone(r.Data)
		if err := build.add(&r); err != nil {
			b.Fatal(err)
		}
	}
	for i := 0; i < size && err == nil; i++ {
		err = build.add(&store.Record{Name: wire(b, hostName(i)), Type: dns.TypeA, Class: dns.ClassINET, TTL: 300, Data: []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}})
	}
	if err != nil {
		b.Fatal(err)
	}
	s, err := build.finish()
	if err != nil {
		b.Fatal(err)
	}
	s.position = z.Snapshot().position
	z.current.Store(s)
	return z
}

func BenchmarkLookup(b *testing.B) {
	for _, size := range benchmarkSizes {
		s := sized(b, size).Snapshot()
		names := make([]string, 1024)
		for i := range names {
			names[i] = hostName(i * 7919 % size)
		}
		b.Run(fmt.Sprintf("A/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if a := s.Lookup(names[i%len(names)], dns.TypeA); len(a.Answer) != 1 {
					b.Fatal(a)
				}
			}
		})
		b.Run(fmt.Sprintf("NXDOMAIN/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if a := s.Lookup("x."+names[i%len(names)], dns.TypeA); a.Rcode != dns.RcodeNameError {
					b.Fatal(a)
				}
			}
		})
	}
}

// BenchmarkRespond is a query as octets.
func BenchmarkRespond(b *testing.B) {
	for _, size := range benchmarkSizes {
		z := sized(b, size)
		for _, asked := range []struct{ what, name string }{{"found", hostName(size / 3)}, {"missing", "missing.example.test."}} {
			b.Run(fmt.Sprintf("%s/1e%d", asked.what, len(fmt.Sprint(size))-1), func(b *testing.B) {
				question := beginning(b, asked.name, dns.TypeA)
				buffer := make([]byte, 0, 512)
				b.ReportAllocs()
				for b.Loop() {
					if _, ok := z.Snapshot().Respond(append(buffer, question...), 512); !ok {
						b.Fatal("no answer")
					}
				}
			})
		}
	}
}

// BenchmarkApply replaces the address of one host with each update.
func BenchmarkApply(b *testing.B) {
	for _, size := range benchmarkSizes {
		z := sized(b, size)
		updates := make([]*Update, 1024)
		for i := range updates {
			m := new(dns.Msg).SetUpdate("example.test.")
			name := hostName(i * 7919 % size)
			m.RemoveRRset([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA}}})
			m.Ns = append(m.Ns, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: []byte{192, 0, 2, 0}})
			updates[i] = &Update{Message: pack(b, m)} // the address comes last
		}
		b.Run(fmt.Sprintf("one/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				u := updates[i%len(updates)]
				copy(u.Message[len(u.Message)-4:], []byte{172, byte(i >> 16), byte(i >> 8), byte(i)})
				if r := z.Apply(context.Background(), u); r.Rcode != dns.RcodeSuccess {
					b.Fatal(r)
				}
			}
		})
		b.Run(fmt.Sprintf("parallel64/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			var next atomic.Uint32
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := next.Add(1)
					m := slices.Clone(updates[int(i)%len(updates)].Message)
					copy(m[len(m)-4:], []byte{172, byte(i >> 16), byte(i >> 8), byte(i)})
					if r := z.Apply(context.Background(), &Update{Message: m}); r.Rcode != dns.RcodeSuccess {
						b.Error(r)
						return
					}
				}
			})
		})
	}
}

// BenchmarkMemory reports what a record costs in a zone of a million, one a name, which is the
// dearest kind.
func BenchmarkMemory(b *testing.B) {
	const size = 1e6
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		z := sized(b, size)
		b.ReportMetric(float64(heap()-before)/size, "B/record")
		runtime.KeepAlive(z)
		z.current.Store(newSnapshot(z.origin))
	}
}
