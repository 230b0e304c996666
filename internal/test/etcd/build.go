package etcd

import (
	"context"
	"os"
	"path/filepath"

	"github.com/gsstsig/coredns-gsstsig/internal/test/nested"
)

// Environment variable that names the server to use in place of the one that is built.
const binaryVariable = "ETCD_BINARY"

// Build builds the server of test/etcdserver, unless that was done before, and returns the binary's path. It must be called
// from within the module. Several processes may call it at once.
func Build(ctx context.Context) (string, error) {
	if binary := os.Getenv(binaryVariable); binary != "" {
		return filepath.Abs(binary)
	}
	return nested.Build(ctx, "etcdserver", ".")
}
