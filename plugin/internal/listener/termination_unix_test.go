//go:build unix

package listener

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"

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
	testProcess.watching.Wait() // and it is not sent any more
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
