package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		var m *store.Memory
		return func() (store.Store, error) {
			if m == nil {
				m = store.NewMemory(store.MemoryOptions{})
				return m, nil
			}
			next, err := m.Reopen()
			if err != nil {
				return nil, err
			}
			m = next
			return m, nil
		}
	})
}

// wire returns the wire form of a name.
func wire(text string) string {
	name, err := dnswire.ParseName(text, nil)
	if err != nil {
		panic(err)
	}
	return string(name)
}

func soa(serial uint32) store.Record {
	data := make([]byte, 22)
	data[5] = byte(serial)
	return store.Record{Name: wire("example.test."), Type: 6, Class: 1, Data: data}
}

// The log is bounded in changes and in octets, and keeps the newest.
func TestMemoryBoundsItsLog(t *testing.T) {
	standard.Requires(t, "RFC 1995", "5 bounded")
	for name, tc := range map[string]struct {
		options store.MemoryOptions
		size    int
		kept    uint32
	}{
		"changes":            {store.MemoryOptions{MaxChanges: 5}, 1, 5},
		"octets":             {store.MemoryOptions{MaxOctets: 10_600}, 2000, 5},
		"one that is larger": {store.MemoryOptions{MaxOctets: 100}, 2000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := store.NewMemory(tc.options)
			if err := m.Init(context.Background(), store.Contents{Serial: 1, Records: slices.Values([]store.Record{soa(1)})}); err != nil {
				t.Fatal(err)
			}
			const last = 21
			for i := uint32(1); i < last; i++ {
				c := store.Change{From: i, To: i + 1, Removed: []store.Record{soa(i)}, Added: []store.Record{soa(i + 1),
					{Name: wire("a."), Type: 16, Class: 1, Data: make([]byte, tc.size)}}}
				if err := m.Commit(context.Background(), []store.Change{c}); err != nil {
					t.Fatal(err)
				}
			}
			for back := uint32(0); back < last; back++ {
				var err error
				count := uint32(0)
				for _, e := range m.Changes(context.Background(), last-back, last) {
					err = e
					count++
				}
				if back <= tc.kept && (err != nil || count != back) {
					t.Errorf("%d back: %d changes, %v", back, count, err)
				}
				if back > tc.kept && !errors.Is(err, store.ErrHistory) {
					t.Errorf("%d back: %v", back, err)
				}
			}
		})
	}
}
