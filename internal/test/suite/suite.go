// Package suite runs the end-to-end tests of a package, which share what takes long to make: realms, domains, programs.
package suite

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

	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// Run is for TestMain: it returns the status to exit with. prepare makes what all tests share; its context ends with the
// tests, and everything that it or a test puts into a temporary directory is below dir. end undoes what prepare has done, as
// far as that came. Whatever ends the tests, nothing of them stays behind. The account of package tested is printed under
// that name.
func Run(m *testing.M, name string, prepare func(ctx context.Context, dir string) error, end func() error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", name+"-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	cleanUp := sync.OnceValue(func() error {
		return errors.Join(end(), removeAll(dir))
	})
	finished := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			_ = cleanUp() // there is no test left to report an error to
			os.Exit(130)
		case <-finished:
		}
	}()
	status := 1
	if err = prepare(ctx, dir); err == nil {
		status = m.Run()
		err = tested.Print(name)
	}
	close(finished)
	if err = errors.Join(err, cleanUp()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		status = 1
	}
	return status
}

// removeAll removes a directory, where programs that are just being killed may still write.
func removeAll(dir string) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	var err error
	for range 100 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		<-again.C
	}
	return err
}
