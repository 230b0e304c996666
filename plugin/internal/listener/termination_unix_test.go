//go:build unix

package listener

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestTerminationDuringReload: a SIGTERM that comes during a reload is sent again until the instance stops, and not after that.
func TestTerminationDuringReload(t *testing.T) {
	came := make(chan os.Signal, 100)
	signal.Notify(came, syscall.SIGTERM) // for good, or a late one would end the tests
	port := freePort(t)
	r := start(t, probing(port, "a"))
	answered := make(chan *dns.Msg)
	go func() { answered <- ask(t, "udp", local(port), query("hold.example.org.", dns.TypeTXT)) }()
	<-entered
	reloaded := make(chan error)
	go func() { reloaded <- r.reload(probing(port, "b")) }()
	eventually(t, "the new configuration answers", func() bool {
		return texts(ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT))) == "b unsigned"
	})
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-came // by one who does not listen again before the reload is done
	held <- struct{}{}
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	<-answered
	<-came
	<-came // as long as nobody stops
	r.stop()
	before := len(came)
	testProcess.watching.Wait()
	if more := len(came) - before; more > 3 { // which may have been on their way
		t.Errorf("it was sent %d times after the instance had stopped", more)
	}
}

// TestTerminationAfterReload: a while after a reload, a program that does not ask for SIGTERM ends by it as before.
func TestTerminationAfterReload(t *testing.T) {
	const alone = "GSSTSIG_TEST_TERMINATION"
	if os.Getenv(alone) != "" {
		p, in := newProcess(), new(instance)
		p.beginRestart(in)
		p.endRestart(in)
		p.watching.Wait()
		for syscall.Kill(os.Getpid(), syscall.SIGTERM) == nil {
			time.Sleep(time.Millisecond)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.run=^TestTerminationAfterReload$")
	cmd.Env = append(os.Environ(), alone+"=1")
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", err)
	}
}

// TestReloadsAtOnce: where an instance is being replaced twice, nothing waits for the end of the first time.
func TestReloadsAtOnce(t *testing.T) {
	p, in := newProcess(), new(instance)
	for range 2 {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { p.beginRestart(in) })
		}
		both.Wait()
		for range 2 {
			both.Go(func() { p.endRestart(in) })
		}
		both.Wait()
	}
	p.watching.Wait()
	if len(p.restarting) != 0 {
		t.Errorf("%d instances are being replaced", len(p.restarting))
	}
}
