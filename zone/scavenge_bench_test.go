package zone

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// BenchmarkScavenge removes stale records, each of an owned name, and reports the longest time that an
// update and a query took meanwhile, and in ten seconds before it. A store on disk was opened again
// after it was filled, as a server that has such a zone does.
func BenchmarkScavenge(b *testing.B) {
	for _, size := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { benchmarkScavenge(b, size) })
	}
}

func benchmarkScavenge(b *testing.B, size int) {
	for name, open := range map[string]func(*testing.B) func() store.Store{
		"memory": inMemory, "disk": onDisk,
	} {
		b.Run(name, func(b *testing.B) {
			var longestBefore, longestUpdate, longestQuery time.Duration
			for b.Loop() {
				b.StopTimer()
				z, now := staleZone(b, open(b), size)
				*now = now.Add(1000 * time.Hour)
				stop := make(chan struct{})
				time.AfterFunc(10*time.Second, func() { close(stop) })
				longestBefore = max(longestBefore, longest(stop, func() { updateBeside(b, z) }))
				stop = make(chan struct{})
				var beside sync.WaitGroup
				beside.Go(func() { longestUpdate = max(longestUpdate, longest(stop, func() { updateBeside(b, z) })) })
				beside.Go(func() { longestQuery = max(longestQuery, longest(stop, func() { queryBeside(b, z) })) })
				b.StartTimer()
				s, err := z.Scavenge(b.Context(), nil)
				b.StopTimer()
				close(stop)
				beside.Wait()
				if err != nil || s.Removed != size {
					b.Fatalf("%+v, %v", s, err)
				}
				if err := z.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(longestBefore.Microseconds())/1000, "ms-longest-update-before")
			b.ReportMetric(float64(longestUpdate.Microseconds())/1000, "ms-longest-update")
			b.ReportMetric(float64(longestQuery.Microseconds())/1000, "ms-longest-query")
		})
	}
}

// inMemory returns an opener of one store in memory, which keeps its contents when it is closed.
func inMemory(*testing.B) func() store.Store {
	m := unclosed{store.NewMemory(store.MemoryOptions{})}
	return func() store.Store { return m }
}

type unclosed struct{ store.Store }

func (unclosed) Close() error { return nil }

func onDisk(b *testing.B) func() store.Store {
	dir := filepath.Join(b.TempDir(), "db")
	return func() store.Store {
		d, err := disk.Open(dir, disk.Options{Origin: "example.test."})
		if err != nil {
			b.Fatal(err)
		}
		return d
	}
}

// staleZone opens a zone whose hosts are all dynamic. Its clock can be moved before it is used.
func staleZone(b *testing.B, open func() store.Store, size int) (*Zone, *time.Time) {
	b.Helper()
	s := open()
	apex := slices.Collect(sized(b, 0).Snapshot().WireRecords())
	now := timesNow
	records := func(yield func(store.Record) bool) {
		for _, r := range apex {
			if !yield(r) {
				return
			}
		}
		for i := range size {
			r := store.Record{Name: wire(b, hostName(i)), Type: dns.TypeA, Class: dns.ClassINET, TTL: 300, Hours: 500_000,
				Data: []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}}
			if !yield(r) {
				return
			}
		}
	}
	owners := func(yield func(store.Owner) bool) {
		for i := range size {
			if !yield(store.Owner{Name: wire(b, hostName(i)), Principal: hostName(i)}) {
				return
			}
		}
	}
	if err := s.Init(b.Context(), store.Contents{Serial: soaSerial(apex[0].Data), Records: records, Owners: owners}); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	s = open()
	z, err := Open(Config{Origin: "example.test.", Store: s, Aging: Aging{NoRefresh: time.Hour, Refresh: time.Hour}, Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	return z, &now
}

// longest calls do until stop is closed, with pauses, and returns the longest time that it took.
func longest(stop <-chan struct{}, do func()) (longest time.Duration) {
	for {
		select {
		case <-stop:
			return longest
		case <-time.After(time.Millisecond):
		}
		begin := time.Now()
		do()
		longest = max(longest, time.Since(begin))
	}
}

func updateBeside(b *testing.B, z *Zone) {
	m := new(dns.Msg).SetUpdate("example.test.")
	m.RemoveName([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "client.example.test."}}})
	m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "client.example.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: uint32(time.Now().UnixNano()) >> 1}, A: []byte{192, 0, 2, 1}}})
	if r := z.Apply(context.Background(), &Update{Message: pack(b, m), Source: "client"}); r.Rcode != dns.RcodeSuccess {
		b.Error(r)
	}
}

func queryBeside(b *testing.B, z *Zone) {
	m := new(dns.Msg).SetQuestion("ns1.example.test.", dns.TypeA)
	if _, ok := z.Snapshot().Respond(pack(b, m), 1232); !ok {
		b.Error("no answer")
	}
}
