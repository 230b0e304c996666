package disk_test

import (
	"path/filepath"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

func TestDiskKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		dir := filepath.Join(t.TempDir(), "example.test")
		return func() (store.Store, error) {
			return disk.Open(dir, disk.Options{Origin: "example.test."})
		}
	})
}

func TestDiskKeepsTheSharedContract(t *testing.T) {
	storetest.RunShared(t, 1, func(t *testing.T) storetest.SharedOpener {
		dir := filepath.Join(t.TempDir(), "example.test")
		return func(string) (store.Shared, error) {
			s, err := disk.Open(dir, disk.Options{Origin: "example.test."})
			if err != nil {
				return nil, err
			}
			return store.Exclusive(s), nil
		}
	})
}
