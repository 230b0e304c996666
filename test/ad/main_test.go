//go:build e2e && linux

package ad

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/suite"
)

// shared is what every test uses: made once, gone with the last test.
var shared struct {
	ctx    context.Context
	dir    string
	binary string // CoreDNS
	domain *domain
}

func TestMain(m *testing.M) {
	os.Exit(suite.Run(m, "ad", prepare, func() error {
		if shared.domain == nil {
			return nil
		}
		return shared.domain.close()
	}))
}

func prepare(ctx context.Context, dir string) error {
	shared.ctx, shared.dir = ctx, dir
	if err := process.Require("samba", "samba-tool", "samba_dnsupdate", "ldbmodify", "ldbsearch", "net", "adcli", "sssd", "nsupdate",
		"kinit", "python3", "ip"); err != nil {
		return err
	}
	// Building CoreDNS and making the domain take their time; neither needs the other.
	built := make(chan error, 1)
	go func() {
		var err error
		shared.binary, err = server.Build(ctx, dir)
		built <- err
	}()
	made, err := newDomain(ctx)
	shared.domain = made
	if err := errors.Join(err, <-built); err != nil {
		return err
	}
	return made.serve(ctx)
}

// testContext ends with the test, and early enough for it to say why.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(shared.ctx, 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
