package listener

import (
	"bytes"
	"fmt"
	stdlog "log"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// portsOf returns the UDP ports of all endpoints of an address, by the label of the probe that answers there.
func portsOf(t *testing.T, address string) map[string]string {
	t.Helper()
	testProcess.sockets.mu.Lock()
	var ports []string
	for key, e := range testProcess.sockets.endpoints {
		if key.address == address {
			_, port, _ := net.SplitHostPort(e.packets.LocalAddr().String())
			ports = append(ports, port)
		}
	}
	testProcess.sockets.mu.Unlock()
	labels := make(map[string]string)
	for _, port := range ports {
		labels[strings.TrimSuffix(texts(ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT))), " unsigned")] = port
	}
	return labels
}

// Instances of one process have sockets of their own, also where their addresses are the same. Only the one that replaces
// another takes over what that has.
func TestInstancesOfOneProcess(t *testing.T) {
	corefile := func(label string) string { return fmt.Sprintf("example.org:0 {\nbind 127.0.0.1\nprobe %s\n}", label) }
	const address = "dns://127.0.0.1:0"
	one := start(t, corefile("one"))
	two := start(t, corefile("two"))
	before := portsOf(t, address)
	if len(before) != 2 || before["one"] == "" || before["two"] == "" {
		t.Fatalf("after two starts: %v", before)
	}
	if err := two.reload(corefile("two again")); err == nil {
		t.Fatal("the probe takes two words")
	}
	if err := two.reload(corefile("again")); err != nil {
		t.Fatal(err)
	}
	after := portsOf(t, address)
	if len(after) != 2 || after["one"] != before["one"] || after["again"] != before["two"] {
		t.Errorf("before the reload: %v, after it: %v", before, after)
	}
	three := start(t, corefile("three"))
	if ports := portsOf(t, address); len(ports) != 3 {
		t.Errorf("after a third start: %v", ports)
	}
	one.stop()
	if ports := portsOf(t, address); len(ports) != 2 || ports["again"] != before["two"] || ports["three"] == "" {
		t.Errorf("after one has stopped: %v", ports)
	}
	two.stop()
	three.stop()
	testProcess.mu.Lock()
	defer testProcess.mu.Unlock()
	if n := len(testProcess.restarting); n != 0 {
		t.Errorf("%d instances are noted as being restarted", n)
	}
}

// An instance that starts while another is being restarted does not take it for its predecessor, nor does one that is
// restarted at the same time.
func TestLineage(t *testing.T) {
	p := newProcess()
	old := func(address string) *instance {
		in := &instance{process: p, lineage: new(lineage)}
		in.servers = []*server{newTestServer(address)}
		return in
	}
	a, b := old("dns://:1"), old("dns://:2")
	p.beginRestart(a)
	if l := p.lineageOf(&instance{first: true}, []string{"dns://:1"}); l == a.lineage {
		t.Error("a first start inherits")
	}
	if l := p.lineageOf(&instance{}, []string{"dns://:3"}); l != a.lineage {
		t.Error("a restart with another address does not inherit")
	}
	p.beginRestart(b)
	if p.lineageOf(&instance{}, []string{"dns://:1"}) != a.lineage || p.lineageOf(&instance{}, []string{"dns://:2"}) != b.lineage {
		t.Error("of two restarts at once, one inherits from the other")
	}
	p.endRestart(a)
	p.endRestart(b)
	if l := p.lineageOf(&instance{}, []string{"dns://:1"}); l == a.lineage {
		t.Error("inherited from an instance that is not being restarted")
	}
}

// lockedBuffer is a log's output.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// The Corefile is read again to count its blocks, and what caddy warns of while it reads is said once.
func TestImportWarningOnce(t *testing.T) {
	var logged lockedBuffer
	out := stdlog.Writer()
	stdlog.SetOutput(&logged)
	defer stdlog.SetOutput(out)
	port := freePort(t)
	start(t, fmt.Sprintf("import %s\nexample.org:%s {\nbind 127.0.0.1\nprobe a\n}", filepath.Join(t.TempDir(), "*.conf"), port))
	answersAll(t, port, "a unsigned")
	if text := logged.String(); strings.Count(text, "No files matching import glob pattern") != 1 {
		t.Errorf("logged:\n%s", text)
	}
	stdlog.Print("afterwards")
	if !strings.Contains(logged.String(), "afterwards") {
		t.Error("the log's output was not put back")
	}
}

func newTestServer(address string) *server {
	return &server{Server: &dnsserver.Server{Addr: address}}
}
