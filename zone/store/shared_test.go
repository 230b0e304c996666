package store_test

import (
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

func TestExclusiveMemoryKeepsTheSharedContract(t *testing.T) {
	storetest.RunShared(t, 1, func(t *testing.T) storetest.SharedOpener {
		var m *store.Memory
		return func(string) (store.Shared, error) {
			if m == nil {
				m = store.NewMemory(store.MemoryOptions{})
				return store.Exclusive(m), nil
			}
			next, err := m.Reopen()
			m = next
			return store.Exclusive(next), err
		}
	})
}

func TestClusterKeepsTheSharedContract(t *testing.T) {
	storetest.RunShared(t, 3, func(t *testing.T) storetest.SharedOpener {
		c := storetest.NewCluster(storetest.ClusterOptions{Batches: 150, Changes: 150})
		return func(server string) (store.Shared, error) { return c.Server(server), nil }
	})
}
