//go:build e2e

package etcd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	etcdtest "github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// benchBatch is a batch of n updates at r's position, each with an address of another name.
func benchBatch(r *replica, n int) store.Batch {
	var b store.Batch
	for i := range uint32(n) {
		from := r.at.Serial + i
		b.Changes = append(b.Changes, store.Change{
			From: from, To: from + 1, Author: "host/a.example.test@EXAMPLE.TEST", Rule: "grant",
			Removed: []store.Record{soa(from)}, Added: []store.Record{soa(from + 1), address(fmt.Sprintf("host%d.example.test.", from%10_000), byte(from))},
		})
		b.Marks = append(b.Marks, store.Mark{Context: [16]byte{1}, Number: uint64(from)})
	}
	last := b.Changes[n-1]
	apex := wire(testOrigin)
	b.At = func(name string) ([]store.Record, *store.Owner) {
		if name == apex {
			return []store.Record{soa(last.To)}, nil
		}
		for i := range b.Changes {
			if x := b.Changes[i].Added[1]; x.Name == name {
				return []store.Record{x}, &store.Owner{Name: name, Principal: "host/a.example.test@EXAMPLE.TEST"}
			}
		}
		return nil, nil
	}
	return b
}

// BenchmarkPut is what etcd does by itself, with one client and with 16.
func BenchmarkPut(b *testing.B) {
	ctx, c := begin(b, etcdtest.Config{Members: 3, Disk: true})
	client, err := c.Client(0)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for _, clients := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			var next atomic.Int64
			var running sync.WaitGroup
			for range clients {
				running.Go(func() {
					for {
						i := next.Add(1)
						if i > int64(b.N) {
							return
						}
						if _, err := client.Put(ctx, fmt.Sprint("host", i%10_000), "an address and its owner, about as long as these are"); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			running.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

// BenchmarkPropose commits batches of 1, 16 and 256 updates by one server.
func BenchmarkPropose(b *testing.B) {
	ctx, c := begin(b, etcdtest.Config{Members: 3, Disk: true})
	r := load(ctx, b, openZone(b, connect(b, "a", c.Endpoints()...), ZoneOptions{}))
	for _, updates := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(updates), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				at, _, err := r.z.Propose(ctx, r.at, benchBatch(r, updates))
				if err != nil {
					b.Fatal(err)
				}
				r.at = at
			}
			b.ReportMetric(float64(b.N*updates)/b.Elapsed().Seconds(), "updates/s")
		})
	}
	b.Run("confirm", func(b *testing.B) {
		for range b.N {
			if _, err := r.z.Confirm(ctx, r.at); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkServers has three servers, each at a member of its own, commit batches at once.
func BenchmarkServers(b *testing.B) {
	for _, updates := range []int{1, 5, 85} {
		b.Run(strconv.Itoa(updates), func(b *testing.B) {
			ctx, c := begin(b, etcdtest.Config{Members: 3, Disk: true})
			const servers = 3
			all := make([]*replica, servers)
			for i := range all {
				z := openZone(b, connect(b, fmt.Sprint("server", i), append(c.Endpoints()[i:], c.Endpoints()[:i]...)...), ZoneOptions{})
				all[i] = load(ctx, b, z)
				go func() {
					for range z.Follow(ctx, all[i].at) {
					}
				}()
			}
			b.ResetTimer()
			var shares [servers]int
			var conflicts, total atomic.Int64
			var running sync.WaitGroup
			for i, r := range all {
				running.Go(func() {
					for total.Load() < int64(b.N) {
						at, missed, err := r.z.Propose(ctx, r.at, benchBatch(r, updates))
						switch {
						case err == nil:
							r.at = at
							shares[i]++
							total.Add(1)
						case errors.Is(err, store.ErrConflict):
							conflicts.Add(1)
							r.at = missed[len(missed)-1].Position
						default:
							b.Error(err)
							return
						}
					}
				})
			}
			running.Wait()
			b.ReportMetric(float64(total.Load()*int64(updates))/b.Elapsed().Seconds(), "updates/s")
			b.ReportMetric(float64(conflicts.Load())/float64(total.Load()), "conflicts/batch")
			b.ReportMetric(100*float64(min(shares[0], shares[1], shares[2]))/float64(total.Load()), "least-%")
		})
	}
}

type counter struct{ records, owners int }

func (c *counter) Record(store.Record) error { c.records++; return nil }
func (c *counter) Owner(store.Owner) error   { c.owners++; return nil }
func (c *counter) Mark(store.Mark) error     { return nil }
func (c *counter) Frozen(store.Freeze) error { return nil }

// BenchmarkLoad fills a zone of LOAD_NAMES names, 10,000 unless set, and loads it.
func BenchmarkLoad(b *testing.B) {
	names := 10_000
	if n, err := strconv.Atoi(os.Getenv("LOAD_NAMES")); err == nil {
		names = n
	}
	ctx, c := begin(b, etcdtest.Config{Members: 3, Disk: true})
	z := openZone(b, connect(b, "a", c.Endpoints()...), ZoneOptions{})
	began := time.Now()
	_, err := z.Init(ctx, store.Contents{Serial: 1, Records: func(yield func(store.Record) bool) {
		for i := range names {
			if !yield(address(fmt.Sprintf("host%d.example.test.", i), byte(i))) {
				return
			}
		}
		yield(soa(1))
	}, Owners: func(yield func(store.Owner) bool) {
		for i := range names {
			if !yield(store.Owner{Name: wire(fmt.Sprintf("host%d.example.test.", i)), Principal: fmt.Sprintf("host/host%d.example.test@EXAMPLE.TEST", i)}) {
				return
			}
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d names filled in %v", names, time.Since(began))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		var got counter
		if _, _, err := z.Load(ctx, &got); err != nil {
			b.Fatal(err)
		}
		if got.records != names+1 || got.owners != names {
			b.Fatal(got)
		}
	}
}
