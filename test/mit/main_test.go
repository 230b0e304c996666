//go:build e2e && linux

package mit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
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
	ctx      context.Context
	dir      string
	programs string // directory with coredns
}

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whatever ends the tests, nothing of them stays behind.
	cleanUp := sync.OnceFunc(func() {
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
	err := prepare(ctx)
	if err == nil {
		status = m.Run()
		err = tested.Print("mit")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mit:", err)
		status = 1
	}
	close(finished)
	cleanUp()
	stop()
	os.Exit(status)
}

func prepare(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "mit-")
	if err != nil {
		return err
	}
	shared.ctx, shared.dir, shared.programs = ctx, dir, filepath.Join(dir, "bin")
	if err := process.Require("krb5kdc", "kadmind", "kadmin", "kdb5_util", "slapd", "slapadd", "sssd", "nsupdate", "dig", "kinit", "ip"); err != nil {
		return err
	}
	// Everything that a test, a node or a server puts into a temporary directory goes with this one.
	if err := os.Setenv("TMPDIR", dir); err != nil {
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
