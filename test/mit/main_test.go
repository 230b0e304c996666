//go:build e2e && linux

package mit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/suite"
)

// shared is what every test uses: made once, gone with the last test.
var shared struct {
	ctx      context.Context
	dir      string
	programs string // directory with coredns
}

func TestMain(m *testing.M) {
	os.Exit(suite.Run(m, "mit", prepare, func() error { return nil }))
}

func prepare(ctx context.Context, dir string) error {
	shared.ctx, shared.dir, shared.programs = ctx, dir, filepath.Join(dir, "bin")
	if err := process.Require("krb5kdc", "kadmind", "kadmin", "kdb5_util", "slapd", "slapadd", "sssd", "nsupdate", "dig", "kinit", "ip",
		"certbot", "ansible-playbook", "openssl", "dhcpd", "dhclient", "dhcpcd", "kea-dhcp-ddns"); err != nil {
		return err
	}
	binary, err := server.Build(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(os.Mkdir(shared.programs, 0o755), os.Symlink(binary, filepath.Join(shared.programs, "coredns")))
}

// testContext ends with the test, and early enough for it to say why.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(shared.ctx, 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
