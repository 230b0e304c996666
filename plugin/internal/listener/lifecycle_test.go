package listener

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// calls notes what happens to the blocks of one label.
type calls struct {
	mu    sync.Mutex
	noted []string
}

func (c *calls) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noted = append(c.noted, what)
}

func (c *calls) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.noted, " ")
}

// TestBlockLifeCycle: a block is told when its servers serve, when a reload has replaced it, and when the program ends: then
// after the last request was answered, and before any server has returned from Serve, since the program may end then.
func TestBlockLifeCycle(t *testing.T) {
	port := freePort(t)
	c := new(calls)
	var r *running
	probeCallbacks.Store("life", func(b *Block) {
		b.Started = func() { c.note("started") }
		b.Replaced = func() error { c.note("replaced"); return nil }
		b.Stopped = func() error {
			c.note("stopped")
			return nil
		}
	})
	r = start(t, probing(port, "life"))
	expect(t, ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT)), dns.RcodeSuccess, "life unsigned", false)
	if got := c.all(); got != "started" {
		t.Errorf("at the start: %s", got)
	}
	if err := r.reload("unknown-directive {\n"); err == nil {
		t.Fatal("reloaded")
	}
	if err := r.reload(probing(port, "life") + "# changed\n"); err != nil {
		t.Fatal(err)
	}
	expect(t, ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT)), dns.RcodeSuccess, "life unsigned", false)
	noted := strings.Fields(c.all())
	slices.Sort(noted)
	if got := strings.Join(noted, " "); got != "replaced started started" {
		t.Errorf("after the reload: %s", got)
	}

	// One request is under way at the end.
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		ask(t, "udp", local(port), query("hold.example.org.", dns.TypeTXT))
	}()
	<-entered
	stopped := make(chan []error)
	go func() { stopped <- r.inst.ShutdownCallbacks() }()
	ended, inst := make(chan struct{}), r.inst
	go func() {
		inst.Wait()
		close(ended)
	}()
	eventually(t, "the address is not served any more", func() bool { return endpointOf(local(port)) == nil })
	if strings.Contains(c.all(), "stopped") {
		t.Error("stopped while a request is under way")
	}
	held <- struct{}{}
	if errs := <-stopped; len(errs) > 0 {
		t.Fatal(errs)
	}
	<-answered
	select {
	case <-ended:
		t.Error("a server has returned from Serve before caddy stops it")
	default:
	}
	if got := c.all(); !strings.HasSuffix(got, " stopped") {
		t.Errorf("at the end: %s", got)
	}
	r.stop()
	<-ended
}
