//go:build e2e

package etcd

import (
	"fmt"
	"strings"
	"testing"

	etcdtest "github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// TestContract runs the contract of store.Shared on one etcd. Each test has a prefix of its own.
func TestContract(t *testing.T) {
	_, c := begin(t, etcdtest.Config{})
	n := 0
	storetest.RunShared(t, 3, func(t *testing.T) storetest.SharedOpener {
		n++
		prefix := fmt.Sprintf("/%d-%s/", n, strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]))
		return func(server string) (store.Shared, error) {
			cluster, err := Open(Options{Endpoints: c.Endpoints(), Server: server, Prefix: prefix})
			if err != nil {
				return nil, err
			}
			z, err := cluster.Zone(testOrigin, ZoneOptions{MaxBatches: 150})
			return owner{z, cluster}, err
		}
	})
}

// An owner closes the cluster with its only zone.
type owner struct {
	*Zone
	cluster *Cluster
}

func (o owner) Close() error {
	if err := o.Zone.Close(); err != nil {
		return err
	}
	return o.cluster.Close()
}
