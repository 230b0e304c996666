//go:build e2e

package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	etcdtest "github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// TestServers has three servers, each at a member of its own first, change a zone at once.
func TestServers(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{Members: 3})
	const servers, each = 3, 40
	var running sync.WaitGroup
	all := make([]*replica, servers)
	follows := make([]*following, servers)
	for i := range servers {
		endpoints := append(c.Endpoints()[i:], c.Endpoints()[:i]...)
		z := openZone(t, connect(t, fmt.Sprint("server", i), endpoints...), ZoneOptions{})
		all[i] = load(ctx, t, z)
		follows[i] = follow(ctx, z, load(ctx, t, z))
	}
	for i, r := range all {
		running.Go(func() {
			for j := range each {
				err := r.commit(ctx, func() store.Batch {
					return r.batch(nil, []store.Record{address(fmt.Sprintf("a%d-%d.example.test.", i, j), byte(j))})
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	for _, f := range follows {
		f.until(ctx, t, "all batches", func() bool { return f.replica.at.Sequence == 1+servers*each })
	}
	fresh := load(ctx, t, openZone(t, connect(t, "fresh", c.Endpoints()...), ZoneOptions{}))
	for i, f := range follows {
		if f.replica.text() != fresh.text() {
			t.Errorf("server %d has\n%s\nand who loads has\n%s", i, f.replica.text(), fresh.text())
		}
	}
	// Every server has the same changes.
	var want []store.Change
	for i, r := range all {
		var got []store.Change
		for c, err := range r.z.Changes(ctx, 1, 1+servers*each) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c)
		}
		if len(got) != servers*each {
			t.Fatalf("server %d: %d changes", i, len(got))
		}
		if want == nil {
			want = got
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("server %d has other changes", i)
		}
	}
}

// TestInitAtOnce fills a zone from three servers with other contents each. One wins, whole.
func TestInitAtOnce(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	var running sync.WaitGroup
	var mu sync.Mutex
	won := -1
	for i := range 3 {
		z := openZone(t, connect(t, fmt.Sprint("server", i), c.Endpoints()...), ZoneOptions{})
		running.Go(func() {
			records := []store.Record{soa(1)}
			for j := range 3000 {
				records = append(records, address(fmt.Sprintf("a%d-%d.example.test.", i, j), byte(i)))
			}
			_, err := z.Init(ctx, store.Contents{Serial: 1, Records: slices.Values(records)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && won < 0:
				won = i
			case !errors.Is(err, store.ErrNotEmpty):
				t.Errorf("server %d: %v, and %d has won", i, err, won)
			}
		})
	}
	running.Wait()
	r := load(ctx, t, openZone(t, connect(t, "fresh", c.Endpoints()...), ZoneOptions{}))
	if len(r.records) != 3001 {
		t.Errorf("%d records", len(r.records))
	}
	for _, x := range r.records {
		if x.Type == 1 && x.Data[3] != byte(won) {
			t.Fatalf("server %d has won, and %q is of another", won, x.Name)
		}
	}
}

func TestConfirm(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	a := load(ctx, t, openZone(t, connect(t, "a", c.Endpoints()...), ZoneOptions{}))
	b := load(ctx, t, openZone(t, connect(t, "b", c.Endpoints()...), ZoneOptions{}))
	if missed, err := b.z.Confirm(ctx, b.at); err != nil || missed != nil {
		t.Fatal(missed, err)
	}
	if err := a.commit(ctx, func() store.Batch { return a.batch(nil, []store.Record{address("a.example.test.", 1)}) }); err != nil {
		t.Fatal(err)
	}
	missed, err := b.z.Confirm(ctx, b.at)
	if !errors.Is(err, store.ErrConflict) || len(missed) != 1 {
		t.Fatal(missed, err)
	}
	b.apply(t, missed)
	if a.text() != b.text() {
		t.Errorf("%s\n%s", a.text(), b.text())
	}
	if missed, err := b.z.Confirm(ctx, b.at); err != nil || missed != nil {
		t.Fatal(missed, err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.z.Confirm(cancelled, b.at); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, _, err := b.z.Propose(cancelled, b.at, store.Batch{}); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknown) {
		t.Error(err)
	}
}
