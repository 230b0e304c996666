//go:build e2e

package cluster

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/suite"
)

const (
	realmName = "EXAMPLE.TEST"
	service   = "DNS/ns1.example.test"
	zoneName  = "example.test."
)

// principals are the clients.
var principals = []string{"alice", "bob", "carol"}

// shared is what every test uses: started once, gone with the last test.
var shared struct {
	ctx         context.Context
	binary      string
	realm       *realm.Realm
	keytab      string
	credentials map[string]*client.Credentials
}

func TestMain(m *testing.M) {
	os.Exit(suite.Run(m, "cluster", prepare, func() error {
		if shared.realm != nil {
			shared.realm.Stop()
		}
		return nil
	}))
}

func prepare(ctx context.Context, dir string) error {
	if err := process.Require("nsupdate", "named"); err != nil {
		return err
	}
	shared.ctx = ctx
	var err error
	if shared.binary, err = server.Build(ctx, dir); err != nil {
		return err
	}
	if _, err := etcd.Build(ctx); err != nil {
		return err
	}
	if shared.realm, err = realm.Start(ctx, realm.Config{Name: realmName}); err != nil {
		return err
	}
	if err := shared.realm.AddPrincipal(service); err != nil {
		return err
	}
	if shared.keytab, err = shared.realm.Keytab(filepath.Join(dir, "dns.keytab"), service); err != nil {
		return err
	}
	config, err := shared.realm.Config()
	if err != nil {
		return err
	}
	shared.credentials = make(map[string]*client.Credentials)
	for _, name := range principals {
		if err := shared.realm.AddPrincipal(name); err != nil {
			return err
		}
		keytab, err := shared.realm.Keytab(filepath.Join(dir, name+".keytab"), name)
		if err != nil {
			return err
		}
		if shared.credentials[name+"@"+realmName], err = client.FromKeytab(config, keytab, name); err != nil {
			return err
		}
	}
	return nil
}
