package listener

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func probing(port, label string) string {
	return fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe %s\n}\n", port, label)
}

// answersAll fails the test unless every query from many ports is answered: a forgotten socket on the port would
// swallow some of them.
func answersAll(t *testing.T, port, text string) {
	t.Helper()
	for range 50 {
		expect(t, ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT)), dns.RcodeSuccess, text, false)
	}
	for range 10 {
		expect(t, ask(t, "tcp", local(port), query("x.example.org.", dns.TypeTXT)), dns.RcodeSuccess, text, false)
	}
}

// answersAgain is answersAll after CoreDNS's own server and this one have relieved each other. That loses what lies in
// the old socket, so the first queries are repeated until one is answered.
func answersAgain(t *testing.T, port, text string) {
	t.Helper()
	c := dns.Client{Timeout: time.Second}
	eventually(t, "a query is answered", func() bool {
		_, _, err := c.Exchange(query("x.example.org.", dns.TypeTXT), local(port))
		return err == nil
	})
	answersAll(t, port, text)
}

// openSockets counts what the table of sockets holds.
func openSockets() (endpoints, claims int) {
	sockets := testProcess.sockets
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	return len(sockets.endpoints), len(sockets.claims)
}

func TestReloadLosesNoQuery(t *testing.T) {
	port := freePort(t)
	r := start(t, probing(port, "0"))

	var sent, answered atomic.Int64
	quit := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			c, err := net.Dial("udp", local(port))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			wire, err := query("x.example.org.", dns.TypeTXT).Pack()
			if err != nil {
				t.Error(err)
				return
			}
			buffer := make([]byte, 512)
			for id := uint16(0); ; {
				select {
				case <-quit:
					return
				default:
				}
				const window = 16
				for range window {
					binary.BigEndian.PutUint16(wire, id)
					id++
					if _, err := c.Write(wire); err != nil {
						t.Error(err)
						return
					}
					sent.Add(1)
				}
				for range window {
					c.SetReadDeadline(time.Now().Add(5 * time.Second))
					if _, err := c.Read(buffer); err != nil {
						t.Errorf("after %d answers to %d queries: %v", answered.Load(), sent.Load(), err)
						return
					}
					answered.Add(1)
				}
			}
		})
	}
	for i := range 8 {
		before := answered.Load()
		eventually(t, "queries are answered", func() bool { return answered.Load() > before+200 })
		if err := r.reload(probing(port, fmt.Sprint(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	close(quit)
	clients.Wait()
	if sent.Load() != answered.Load() {
		t.Errorf("%d of %d queries were lost", sent.Load()-answered.Load(), sent.Load())
	}
	t.Logf("%d queries over 8 reloads", sent.Load())
	answersAll(t, port, "8 unsigned")
}

func TestConnectionSurvivesReload(t *testing.T) {
	port := freePort(t)
	r := start(t, probing(port, "a"))
	c, err := dns.Dial("tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, label := range []string{"a", "b", "c"} {
		if label != "a" {
			if err := r.reload(probing(port, label)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.WriteMsg(query("x.example.org.", dns.TypeTXT)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		answer, err := c.ReadMsg()
		if err != nil {
			t.Fatalf("%s: %v", label, err)
		}
		if !strings.HasPrefix(texts(answer), label) {
			t.Errorf("%s: answered %q", label, texts(answer))
		}
	}
	r.stop()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.ReadMsg(); err != io.EOF {
		t.Errorf("after the stop: %v", err)
	}
}

// What is being worked on when a reload comes is finished by the configuration that began it; what comes then, by the
// new one.
func TestReloadWaitsForRequests(t *testing.T) {
	port := freePort(t)
	r := start(t, probing(port, "a"))
	var clients sync.WaitGroup
	for _, network := range networks {
		clients.Go(func() {
			expect(t, ask(t, network, local(port), query("hold.example.org.", dns.TypeTXT)), dns.RcodeSuccess, "a unsigned", false)
		})
		<-entered
	}
	reloaded := make(chan error)
	go func() { reloaded <- r.reload(probing(port, "b")) }()
	eventually(t, "the new configuration answers", func() bool {
		return texts(ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT))) == "b unsigned"
	})
	select {
	case err := <-reloaded:
		t.Errorf("the reload did not wait: %v", err)
	default:
	}
	held <- struct{}{}
	held <- struct{}{}
	if err := <-reloaded; err != nil {
		t.Error(err)
	}
	clients.Wait()
	answersAll(t, port, "b unsigned")
}

// occupy takes a port without SO_REUSEPORT, so that it cannot be shared.
func occupy(t *testing.T, port string) {
	t.Helper()
	l, err := net.Listen("tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// TestListenError: what a port cannot be had for is said with the fix.
func TestListenError(t *testing.T) {
	port := freePort(t)
	occupy(t, port)
	if _, err := tryStart(probing(port, "a")); err == nil || !strings.Contains(err.Error(), "Fix: stop the program that has the port") {
		t.Error(err)
	}
	for errno, fix := range map[syscall.Errno]string{
		syscall.EACCES: " Fix: ports below 1024 need root", syscall.EADDRNOTAVAIL: " Fix: name addresses of this machine", syscall.ENOMEM: "",
	} {
		err := listenError("dns://:53", os.NewSyscallError("bind", errno))
		if !strings.HasPrefix(err.Error(), "listen on dns://:53: bind: ") || !strings.Contains(err.Error(), fix) || strings.Contains(err.Error(), "Fix") != (fix != "") {
			t.Error(err)
		}
	}
}

func TestFailedStart(t *testing.T) {
	mine, other := freePort(t), freePort(t)
	occupy(t, other)
	stock := fmt.Sprintf("other.test:%s {\nbind 127.0.0.1\nwhoami\n}\n", other)
	for name, corefile := range map[string]string{
		"CoreDNS's own server":  probing(mine, "a") + stock,
		"several sockets":       strings.Replace(probing(mine, "a"), "probe", "multisocket 3\nprobe", 1) + stock,
		"a server of this kind": probing(mine, "a") + probing(other, "a"),
		"the PROXY protocol":    strings.Replace(probing(mine, "a"), "probe", "proxyproto\nprobe", 1) + stock,
		"a late start function": probing(mine, "a") + fmt.Sprintf("third.test:%s {\nbind 127.0.0.1\nhealth 192.0.2.1:1\n}\n", other),
		"the same zone twice":   probing(mine, "a") + probing(mine, "a"),
		"the wildcard, too":     probing(mine, "a") + fmt.Sprintf("example.org:%s {\nwhoami\n}\n", mine),
		"a directive":           probing(mine, "a") + fmt.Sprintf("third.test:%s {\nbind nonsense\n}\n", mine),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tryStart(corefile); err == nil {
				t.Fatal("it started")
			}
			mustBeFree(t, mine)
			if endpoints, claims := openSockets(); endpoints != 0 || claims != 0 {
				t.Errorf("%d endpoints, %d claims", endpoints, claims)
			}
			// The next try does not wait for anything and shares the port with no other.
			if _, err := tryStart(corefile); err == nil {
				t.Fatal("it started")
			}
			r := start(t, probing(mine, "b"))
			answersAll(t, mine, "b unsigned")
			r.stop()
			mustBeFree(t, mine)
		})
	}
}

func TestFailedReload(t *testing.T) {
	mine, fresh, other := freePort(t), freePort(t), freePort(t)
	occupy(t, other)
	r := start(t, probing(mine, "a"))
	c, err := dns.Dial("tcp", local(mine))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	failing := probing(mine, "b") + probing(fresh, "b") + fmt.Sprintf("other.test:%s {\nbind 127.0.0.1\nwhoami\n}\n", other)
	for range 3 {
		if err := r.reload(failing); err == nil {
			t.Fatal("the reload did not fail")
		}
		if endpoints, claims := openSockets(); endpoints != 1 || claims != 0 {
			t.Errorf("%d endpoints, %d claims", endpoints, claims)
		}
		mustBeFree(t, fresh)
		answersAll(t, mine, "a unsigned")
	}
	if err := r.reload(probing(mine, "c") + probing(fresh, "c")); err != nil {
		t.Fatal(err)
	}
	answersAll(t, mine, "c unsigned")
	answersAll(t, fresh, "c unsigned")
	if err := c.WriteMsg(query("x.example.org.", dns.TypeTXT)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if answer, err := c.ReadMsg(); err != nil || texts(answer) != "c unsigned" {
		t.Errorf("on the old connection: %v %v", answer, err)
	}
	// An address that is given up is closed.
	if err := r.reload(probing(fresh, "d")); err != nil {
		t.Fatal(err)
	}
	mustBeFree(t, mine)
	answersAll(t, fresh, "d unsigned")
}

// The address changes hands between CoreDNS's server and this one.
func TestReloadToAndFromStock(t *testing.T) {
	port := freePort(t)
	stock := fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nwhoami\n}\n", port)
	r := start(t, stock)
	answersAll(t, port, "") // CoreDNS forgets to stop a server whose goroutines have not run yet
	for range 2 {
		if err := r.reload(probing(port, "a")); err != nil {
			t.Fatal(err)
		}
		answersAgain(t, port, "a unsigned")
		if err := r.reload(stock); err != nil {
			t.Fatal(err)
		}
		answersAgain(t, port, "")
	}
	r.stop()
	mustBeFree(t, port)
}

func TestMultisocket(t *testing.T) {
	port := freePort(t)
	corefile := func(n int, label string) string {
		return strings.Replace(probing(port, label), "probe", fmt.Sprintf("multisocket %d\nprobe", n), 1)
	}
	r := start(t, corefile(3, "a"))
	for i, n := range []int{3, 3, 1, 4} {
		label := fmt.Sprint(i)
		if err := r.reload(corefile(n, label)); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("%d pairs of sockets are in use", n), func() bool {
			endpoints, claims := openSockets()
			return endpoints == n && claims == 0
		})
		answersAll(t, port, label+" unsigned")
	}
	r.stop()
	mustBeFree(t, port)
}

func TestNothingStaysBehind(t *testing.T) {
	port := freePort(t)
	round := func() {
		r := start(t, probing(port, "a"))
		var open []net.Conn
		for range 20 {
			c, err := dns.Dial("tcp", local(port))
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
			if err := c.WriteMsg(query("x.example.org.", dns.TypeTXT)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadMsg(); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.reload(probing(port, "b")); err != nil {
			t.Fatal(err)
		}
		answersAll(t, port, "b unsigned")
		r.stop()
		for _, c := range open {
			c.Close()
		}
	}
	round() // what CoreDNS starts once
	before := runtime.NumGoroutine()
	round()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	if endpoints, claims := openSockets(); endpoints != 0 || claims != 0 {
		t.Errorf("%d endpoints, %d claims", endpoints, claims)
	}
	eventually(t, "no connection is in the table", func() bool {
		table := testProcess.connections
		table.mu.Lock()
		defer table.mu.Unlock()
		return len(table.open) == 0 && table.idle == 0
	})
}
