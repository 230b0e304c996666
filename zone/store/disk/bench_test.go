package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// hosts yields an apex and that many addresses, in the order of names.
func hosts(n int) iter.Seq[store.Record] {
	return func(yield func(store.Record) bool) {
		name := []byte("\x03ns1\x07example\x04test\x00")
		r := soa(1)
		r.Data = append(append(append([]byte{}, name...), name...), r.Data[2:]...)
		if !yield(r) || !yield(store.Record{Name: wire(origin), Type: dns.TypeNS, Class: 1, TTL: 3600, Data: name}) {
			return
		}
		for i := range n {
			r := store.Record{Name: wire(fmt.Sprintf("host-%07d.%s", i, origin)), Type: 1, Class: 1, TTL: 300, Data: []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}}
			if !yield(r) {
				return
			}
		}
	}
}

// makeDatabase makes the database of a zone with that many addresses.
func makeDatabase(tb testing.TB, n int) string {
	dir := filepath.Join(tb.TempDir(), "example.test")
	s, err := Open(dir, Options{Origin: origin})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Init(context.Background(), store.Contents{Serial: 1, Records: hosts(n)}); err != nil {
		tb.Fatal(err)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func openDatabase(tb testing.TB, dir string) (*Disk, *faults) {
	count := newFaults(vfs.Default)
	s, err := Open(dir, Options{Origin: origin, fs: count})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s, count
}

// bump is a change such as that of one dynamic update: another address.
func bump(serial, n uint32) store.Change {
	old, next := soa(serial), soa(serial+1)
	name := fmt.Sprintf("host-%07d.%s", n, origin)
	return store.Change{
		From: serial, To: serial + 1,
		Removed: []store.Record{old, {Name: wire(name), Type: 1, Class: 1, TTL: 300, Data: []byte{10, byte(n >> 16), byte(n >> 8), byte(n)}}},
		Added:   []store.Record{next, {Name: wire(name), Type: 1, Class: 1, TTL: 300, Data: []byte{11, byte(n >> 16), byte(n >> 8), byte(n)}}},
	}
}

// BenchmarkCommit measures Commit with so many changes at once, in zones of several sizes.
func BenchmarkCommit(b *testing.B) {
	for _, records := range []int{100, 10_000, 1_000_000} {
		var dir string
		for _, batch := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("records=%d/batch=%d", records, batch), func(b *testing.B) {
				if dir == "" {
					dir = makeDatabase(b, records)
					// The directory ends with this sub-benchmark.
					defer func() { dir = "" }()
				}
				s, count := openDatabase(b, dir)
				syncs := count.syncs
				serial, at := s.state.serial, 0
				changes := make([]store.Change, batch)
				b.ReportAllocs()
				b.ResetTimer()
				used := processCPU()
				for range b.N {
					for i := range changes {
						changes[i] = bump(serial, uint32(at*7919%records))
						serial++
						at++
					}
					if err := s.Commit(context.Background(), changes); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(processCPU()-used)/float64(b.N*batch), "cpu-ns/update")
				count.mu.Lock()
				defer count.mu.Unlock()
				b.ReportMetric(float64(count.syncs-syncs)/float64(b.N), "syncs/commit")
				b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "updates/s")
			})
		}
	}
}

// BenchmarkRecovery measures opening a database whose process was killed, with as much in the log
// as can be.
func BenchmarkRecovery(b *testing.B) {
	dir := makeDatabase(b, 10_000)
	for range b.N {
		b.StopTimer()
		s, err := Open(dir, Options{Origin: origin})
		if err != nil {
			b.Fatal(err)
		}
		for logged := int64(0); logged < minMemTable/2; {
			var changes []store.Change
			for i := range uint32(256) {
				changes = append(changes, bump(s.state.serial+i, i))
			}
			if err := s.Commit(context.Background(), changes); err != nil {
				b.Fatal(err)
			}
			logged += 256 * 400
		}
		abandon(s)
		b.StartTimer()
		if s, err = Open(dir, Options{Origin: origin}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

// BenchmarkBareLog measures what no store can beat on this disk: appending the octets of a change,
// or several, to a file and syncing it.
func BenchmarkBareLog(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			f, err := vfs.Default.Create(filepath.Join(b.TempDir(), "log"), vfs.WriteCategoryUnspecified)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			octets := make([]byte, 400*batch)
			b.ResetTimer()
			for range b.N {
				if _, err := f.Write(octets); err != nil {
					b.Fatal(err)
				}
				if err := f.SyncData(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "updates/s")
		})
	}
}

// BenchmarkApply measures dynamic updates through a zone, by so many clients that wait for each
// answer.
func BenchmarkApply(b *testing.B) {
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s, count := openDatabase(b, makeDatabase(b, 10_000))
			z, err := zone.Open(zone.Config{Origin: origin, Store: s})
			if err != nil {
				b.Fatal(err)
			}
			defer z.Close()
			syncs := count.syncs
			var next atomic.Uint32
			b.SetParallelism((clients + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					n := next.Add(1)
					m := new(dns.Msg).SetUpdate(origin)
					rr := &dns.A{
						Hdr: dns.RR_Header{Name: fmt.Sprintf("host-%07d.%s", n%10_000, origin), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
						A:   []byte{12, byte(n >> 16), byte(n >> 8), byte(n)},
					}
					m.RemoveRRset([]dns.RR{rr})
					m.Insert([]dns.RR{rr})
					message, err := m.Pack()
					if err != nil {
						b.Error(err)
						return
					}
					if r := z.Apply(context.Background(), &zone.Update{Message: message}); r.Rcode != dns.RcodeSuccess {
						b.Errorf("%s: %v", dns.RcodeToString[r.Rcode], r.Err)
						return
					}
				}
			})
			b.StopTimer()
			count.mu.Lock()
			defer count.mu.Unlock()
			b.ReportMetric(float64(count.syncs-syncs)/float64(b.N), "syncs/update")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
		})
	}
}

// BenchmarkStart measures opening a zone of a million records: the engine, the checks, reading, and
// building what is served.
func BenchmarkStart(b *testing.B) {
	const records = 1_000_000
	dir := makeDatabase(b, records)
	b.ResetTimer()
	for range b.N {
		s, err := Open(dir, Options{Origin: origin})
		if err != nil {
			b.Fatal(err)
		}
		z, err := zone.Open(zone.Config{Origin: origin, Store: s})
		if err != nil {
			b.Fatal(err)
		}
		if n := z.Snapshot().Len(); n != records+2 {
			b.Fatalf("%d records", n)
		}
		b.StopTimer()
		b.ReportMetric(resident(), "resident-MB")
		runtime.GC()
		debug.FreeOSMemory()
		b.ReportMetric(resident(), "resident-MB-after-GC")
		b.ReportMetric(float64(size(b, dir))/1e6, "disk-MB")
		z.Close()
		b.StartTimer()
	}
}

// BenchmarkLoad measures reading a million records.
func BenchmarkLoad(b *testing.B) {
	s, _ := openDatabase(b, makeDatabase(b, 1_000_000))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, _, err := s.Load(context.Background(), nothing{}); err != nil {
			b.Fatal(err)
		}
	}
}

type nothing struct{}

func (nothing) Record(store.Record) error { return nil }
func (nothing) Owner(store.Owner) error   { return nil }

// BenchmarkInit measures making a database of a million records.
func BenchmarkInit(b *testing.B) {
	for range b.N {
		makeDatabase(b, 1_000_000)
	}
}

// BenchmarkChanges measures reading 10,000 changes for an incremental transfer.
func BenchmarkChanges(b *testing.B) {
	const changes = 10_000
	s, _ := openDatabase(b, makeDatabase(b, changes))
	var list []store.Change
	for i := range uint32(changes) {
		list = append(list, bump(i+1, i))
	}
	if err := s.Commit(context.Background(), list); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		n := 0
		for _, err := range s.Changes(context.Background(), 1, changes+1) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != changes {
			b.Fatal(n)
		}
	}
}

// processCPU returns how much CPU time the process has used; 0 where that cannot be known.
func processCPU() (used time.Duration) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	for _, field := range strings.Fields(rest)[11:13] { // user and system, in 1/100 s
		n, _ := strconv.Atoi(field)
		used += time.Duration(n) * 10 * time.Millisecond
	}
	return used
}

// resident returns how much memory the process has, in MB; 0 where that cannot be known.
func resident() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseFloat(fields[0], 64)
	return n / 1000
}

// size returns how many octets the files below dir have.
func size(tb testing.TB, dir string) (total int64) {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			total += i.Size()
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return total
}
