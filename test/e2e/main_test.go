//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/suite"
)

// Principals of the realm that all tests share. A test that changes keys makes principals of its own.
const (
	realmName = "EXAMPLE.TEST"
	service   = "DNS/ns1.example.test" // has keys of every encryption type
	host1     = "host/client1.example.test"
	host2     = "host/client2.example.test"
)

// singleHost is the host of a service that has a key of one encryption type only.
func singleHost(key realm.Enctype) string { return fmt.Sprintf("ns%d.example.test", int32(key)) }

// shared is what every test uses: started once, gone with the last test.
var shared struct {
	ctx     context.Context
	dir     string
	realm   *realm.Realm
	keytab  string // of the service
	keytabs string // of that and of the services with a key of one encryption type
	client  string // the C client
	coredns func() (string, error)
}

func TestMain(m *testing.M) {
	os.Exit(suite.Run(m, "e2e", prepare, func() error {
		if shared.realm != nil {
			shared.realm.Stop()
		}
		return nil
	}))
}

func prepare(ctx context.Context, dir string) error {
	if err := process.Require("nsupdate", "dig", "delv", "kdig", "named", "gcc", "make", "file", "buildah", "promtool"); err != nil {
		return err
	}
	shared.ctx, shared.dir = ctx, dir
	var err error
	shared.coredns = sync.OnceValues(func() (string, error) { return server.Build(ctx, dir) })
	if shared.client, err = gssclient.Build(ctx, dir); err != nil {
		return err
	}
	if shared.realm, err = realm.Start(ctx, realm.Config{Name: realmName}); err != nil {
		return err
	}
	var services []string
	for _, key := range realm.AES {
		name := "DNS/" + singleHost(key)
		if err := shared.realm.AddPrincipal(name, key); err != nil {
			return err
		}
		services = append(services, name)
	}
	for _, name := range append([]string{service, host1, host2, "stranger"}, machineAccounts...) {
		if err := shared.realm.AddPrincipal(name); err != nil {
			return err
		}
	}
	if shared.keytab, err = shared.realm.Keytab(filepath.Join(dir, "dns.keytab"), service); err != nil {
		return err
	}
	shared.keytabs, err = shared.realm.Keytab(filepath.Join(dir, "all.keytab"), append(services, service)...)
	return err
}

// testContext ends with the test, and early enough for it to say why.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(shared.ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// login is a client's identity: its credential cache and the environment that names it.
type login struct {
	principal string
	cache     string
	env       []string
}

// logIn gets a ticket for the principal. Session names the encryption types that the client permits.
func logIn(t *testing.T, principal string, session ...realm.Enctype) login {
	t.Helper()
	cache, err := shared.realm.CCache(principal, session...)
	if err != nil {
		t.Fatal(err)
	}
	env, err := shared.realm.Env(cache, session...)
	if err != nil {
		t.Fatal(err)
	}
	return login{principal: principal, cache: cache, env: env}
}

// seed is a zone's master file whose SOA names the given primary server, which clients derive the service from.
func seed(mname string) string {
	return fmt.Sprintf("$TTL 300\n@ IN SOA %[1]s. hostmaster.example.test. 1 3600 600 86400 60\n@ IN NS %[1]s.\n", mname)
}

// startCoreDNS starts the server under test. At the end of the test it must have ended cleanly.
func startCoreDNS(t *testing.T, config server.Config) *server.Server {
	t.Helper()
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	if config.Binary == "" {
		config.Binary = binary
	}
	s, err := server.Start(shared.ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the server said last:\n%s", last(s.Log().String(), 30))
		}
	})
	return s
}

// last is the end of a text.
func last(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// startClient starts the C client as the given principal.
func startClient(t *testing.T, who login, config gssclient.Config) *gssclient.Client {
	t.Helper()
	config.Program, config.Env = shared.client, who.env
	if config.Service == "" {
		config.Service = service + "@" + realmName
	}
	c, err := gssclient.Start(shared.ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// negotiated is a C client with a context.
func negotiated(t *testing.T, who login, config gssclient.Config, network string) *gssclient.Client {
	t.Helper()
	c := startClient(t, who, config)
	handshake, err := c.Negotiate(network)
	if err != nil {
		t.Fatal(err)
	}
	if !handshake.Established || handshake.MIC != gssclient.MICOK {
		t.Fatalf("no context: %+v", handshake)
	}
	return c
}
