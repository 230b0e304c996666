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
