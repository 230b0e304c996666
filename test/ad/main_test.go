//go:build e2e && linux

package ad

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/test/process"
	"github.com/gsstsig/coredns-gsstsig/test/server"
	"github.com/gsstsig/coredns-gsstsig/test/tested"
)

// shared is what every test uses: made once, gone with the last test.
var shared struct {
	ctx    context.Context
	dir    string
	binary string // CoreDNS
	domain *domain
}

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whatever ends the tests, nothing of them stays behind.
	cleanUp := sync.OnceFunc(func() {
		if shared.domain != nil {
			_ = shared.domain.close() // who wants to know has asked before
		}
		// Programs that are just being killed may still write there.
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for attempts := 100; os.RemoveAll(shared.dir) != nil && attempts > 0; attempts-- {
			<-again.C
		}
	})
	finished := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			cleanUp()
			os.Exit(130)
		case <-finished:
		}
	}()
	status := 1
	if err := prepare(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ad:", err)
	} else {
		status = m.Run()
		if err := errors.Join(shared.domain.close(), tested.Print("ad")); err != nil {
			fmt.Fprintln(os.Stderr, "ad:", err)
			status = 1
		}
	}
	close(finished)
	cleanUp()
	stop()
	os.Exit(status)
}

func prepare(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "ad-")
	if err != nil {
		return err
	}
	shared.ctx, shared.dir = ctx, dir
	if err := process.Require("samba", "samba-tool", "samba_dnsupdate", "ldbmodify", "ldbsearch", "net", "adcli", "sssd", "nsupdate",
		"kinit", "python3", "ip"); err != nil {
		return err
	}
	// Everything that a test, a node or a server puts into a temporary directory goes with this one.
	if err := os.Setenv("TMPDIR", dir); err != nil {
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
