package listener

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

func TestConnectionTable(t *testing.T) {
	table := newConnectionTable()
	var c [5]connection
	add := func(c *connection, evicted *connection, ok bool) {
		t.Helper()
		if e, o := table.add(c, 2, 9); e != evicted || o != ok {
			t.Errorf("add: evicted %p, %v; want %p, %v", e, o, evicted, ok)
		}
	}
	add(&c[0], nil, true)
	add(&c[1], nil, true)
	table.setBusy(&c[0])
	table.setIdle(&c[0])
	add(&c[2], &c[1], true) // c[0] came to rest later
	if table.setBusy(&c[1]) {
		t.Error("an evicted connection may work")
	}
	table.setIdle(&c[1])
	table.remove(&c[1])
	table.setBusy(&c[0])
	table.setBusy(&c[2])
	add(&c[3], nil, false) // no connection is idle
	table.remove(&c[0])
	add(&c[4], nil, true)
	if len(table.open) != 2 || table.idle != 1 {
		t.Errorf("%d open, %d idle", len(table.open), table.idle)
	}
}

func TestDrainGroup(t *testing.T) {
	g := newDrainGroup()
	var inside sync.WaitGroup
	for range 8 {
		inside.Go(func() {
			for g.add() {
				select {
				case <-g.idle:
					t.Error("idle with a request counted")
				default:
				}
				g.done()
			}
		})
	}
	if !g.add() {
		t.Fatal("closed too early")
	}
	g.close()
	if g.add() {
		t.Error("a closed group counts")
	}
	select {
	case <-g.idle:
		t.Error("idle with a request counted")
	default:
	}
	g.done()
	<-g.idle
	inside.Wait()
}

// More UDP requests than maxInFlight are dropped and counted, and the server is well after that.
func TestTooManyRequests(t *testing.T) {
	port := freePort(t)
	start(t, probing(port, "a"))
	e := endpointOf("dns://" + local(port))
	if e == nil {
		t.Fatal("no endpoint")
	}
	e.busy.Add(maxInFlight)
	before := counts.get("busy")
	c, err := net.Dial("udp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wire, err := query("x.example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	c.Write(wire)
	eventually(t, "the drop is counted", func() bool { return counts.get("busy") == before+1 })
	e.busy.Add(-maxInFlight)
	answersAll(t, port, "a unsigned")
}

// An idle goroutine is left the socket, or given what another has read.
func TestWaitForWork(t *testing.T) {
	e := &endpoint{vacant: make(chan struct{}), handed: make(chan packetRequest), quit: make(chan struct{})}
	type outcome struct {
		request packetRequest
		ok      bool
	}
	back := make(chan outcome)
	stay := func() {
		request, ok := e.waitForWork()
		back <- outcome{request, ok}
	}
	go stay()
	e.vacant <- struct{}{}
	if got := <-back; !got.ok || got.request.exchange != nil {
		t.Errorf("%+v; it was to be left the socket", got)
	}
	go stay()
	given := packetRequest{exchange: new(packetExchange), length: 7}
	e.handed <- given
	if got := <-back; !got.ok || got.request != given {
		t.Errorf("%+v, want %+v", got, given)
	}
	go stay()
	eventually(t, "it is idle", func() bool { return e.idle.Load() == 1 })
	e.idle.Add(maxIdle - 1)
	if got, ok := e.waitForWork(); ok {
		t.Errorf("%+v; there were enough", got)
	}
	close(e.quit)
	if got := <-back; got.ok {
		t.Error("it was to end")
	}
}

// Idle goroutines above a few end little by little.
func TestTrim(t *testing.T) {
	e := &endpoint{vacant: make(chan struct{}), handed: make(chan packetRequest), quit: make(chan struct{})}
	defer close(e.quit)
	const many = fewIdle + 100
	var ended atomic.Int64
	for range many {
		go func() {
			if _, ok := e.waitForWork(); !ok {
				ended.Add(1)
			}
		}()
	}
	eventually(t, "all are idle", func() bool { return e.idle.Load() == many })
	eventually(t, "only a few are left", func() bool {
		e.trim()
		return e.idle.Load() == fewIdle
	})
	e.trim()
	if n := ended.Load(); n != many-fewIdle {
		t.Errorf("%d of %d have ended", n, many)
	}
}

// Slow requests delay no others, and the workers are free again afterwards.
func TestSlowRequests(t *testing.T) {
	port := freePort(t)
	start(t, probing(port, "a"))
	e := endpointOf("dns://" + local(port))
	for range 3 {
		const slow = 50
		var waiting sync.WaitGroup
		for range slow {
			waiting.Go(func() { ask(t, "udp", local(port), query("hold.example.org.", dns.TypeTXT)) })
			<-entered
		}
		answersAll(t, port, "a unsigned")
		for range slow {
			held <- struct{}{}
		}
		waiting.Wait()
		eventually(t, "all goroutines wait for the next request", func() bool {
			return e.idle.Load() >= slow-1 && e.busy.Load() == 0
		})
	}
	if n := e.idle.Load(); n > 60 {
		t.Errorf("%d goroutines after at most 51 requests at once", n)
	}
}

// Messages of one connection may come in any pieces, and several at once.
func TestStream(t *testing.T) {
	standard.Requires(t, "RFC 1035", "4.2.2 length", "4.2.2 not blocked", "4.2.2 several queries")
	port := freePort(t)
	start(t, probing(port, "a"))
	silent, err := net.Dial("tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var stream bytes.Buffer
	const n = 5
	for i := range n {
		m := query("x.example.org.", dns.TypeTXT)
		m.Id = uint16(i)
		if i == 3 {
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 9000)})
		}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		binary.Write(&stream, binary.BigEndian, uint16(len(wire)))
		stream.Write(wire)
	}
	for _, piece := range []int{1, 3, 700, stream.Len()} {
		c, err := net.Dial("tcp", local(port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for rest := stream.Bytes(); len(rest) > 0; {
			k := min(piece, len(rest))
			if _, err := c.Write(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		for i := range n {
			r, err := (&dns.Conn{Conn: c}).ReadMsg()
			if err != nil {
				t.Fatalf("pieces of %d: %v", piece, err)
			}
			if int(r.Id) != i || texts(r) != "a unsigned" {
				t.Errorf("pieces of %d: message %d:\n%v", piece, i, r)
			}
		}
	}
}

// ended returns how the server ended the connection: nil if it closed it.
func ended(c net.Conn) error {
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.ReadAll(c)
	return err
}

func TestStreamTimeouts(t *testing.T) {
	standard.Deviates(t, "RFC 1035", "4.2.2 two minutes", "Idle connections are closed after 10 seconds, or what the property timeouts says: RFC 7766 has shortened the time to a few seconds.")
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\ntimeouts {\nread 1s\nidle 1s\nmaxtcpqueries 2\n}\nprobe a\n}", port))
	wire, err := query("x.example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	framed := append([]byte{0, byte(len(wire))}, wire...)
	for name, sent := range map[string][]byte{
		"silent":              nil,
		"half a length":       {0},
		"half a message":      framed[:20],
		"a length of 65535":   {0xff, 0xff, 1},
		"idle after a query":  framed,
		"half a second query": append(append([]byte(nil), framed...), framed[:9]...),
		"more than allowed":   bytes.Repeat(framed, 3),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", local(port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
			if err := ended(c); err != nil && !isReset(err) {
				t.Errorf("not closed: %v", err)
			}
		})
	}
}

// A connection whose answers are not read is not read either, and is closed once an answer has waited for long enough.
func TestUnreadAnswers(t *testing.T) {
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\ntimeouts {\nwrite 1s\n}\nprobe a\n}", port))
	answersAll(t, port, "a unsigned")
	wire, err := query("x.example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	framed := append([]byte{0, byte(len(wire))}, wire...)
	e := endpointOf("dns://" + local(port))
	// Nothing is on its way in a pipe.
	ours, theirs := net.Pipe()
	defer ours.Close()
	c := &connection{Conn: theirs, accepted: theirs}
	if !e.track(c, e.current.Load()) {
		t.Fatal("the connection is not taken")
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		e.serveConnection(c)
	}()
	if _, err := ours.Write(framed); err != nil {
		t.Fatal(err)
	}
	if n, err := ours.Write(framed); err == nil || n > 0 {
		t.Errorf("%d octets were read before the answer, %v", n, err)
	}
	<-served
}

func isReset(err error) bool {
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout())
}

// A plugin may close the connection, which ends it, or send several messages.
func TestPluginsHold(t *testing.T) {
	port := freePort(t)
	start(t, probing(port, "a"))
	c, err := dns.Dial("tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMsg(query("twice.example.org.", dns.TypeTXT)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "second"} {
		r, err := c.ReadMsg()
		if err != nil || texts(r) != want {
			t.Errorf("got %v, %v", r, err)
		}
	}
	// No answer is an answer, too.
	if err := c.WriteMsg(query("silent.example.org.", dns.TypeTXT)); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteMsg(query("close.example.org.", dns.TypeTXT)); err != nil {
		t.Fatal(err)
	}
	if err := ended(c.Conn); err != nil {
		t.Errorf("not closed: %v", err)
	}
	answersAll(t, port, "a unsigned")
}

// brokenPath panics instead of sending.
type brokenPath struct{ memory }

func (*brokenPath) send([]byte) error { panic("broken") }

// A panic costs one request, wherever it happens.
func TestPanicAnywhere(t *testing.T) {
	config := &dnsserver.Config{Zone: ".", Transport: "dns", Debug: true} // CoreDNS does not recover, so that this package must
	config.AddPlugin(func(plugin.Handler) plugin.Handler { return &probe{} })
	stock, err := dnsserver.NewServer("dns://:53", []*dnsserver.Config{config})
	if err != nil {
		t.Fatal(err)
	}
	wire, err := query("panic.example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Server: stock, observer: noObserver{}, limiter: newLimiter(Limits{}), authenticator: gsstsig.NewAuthenticator(nil)}
	back := &memory{}
	s.serve(&responseWriter{path: back, server: s, size: len(wire), message: s.authenticator.Inspect(wire)}, wire, ordinary)
	r := new(dns.Msg)
	if len(back.sent) != 1 || r.Unpack(back.sent[0]) != nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("%d answers: %v", len(back.sent), r)
	}
	broken := &brokenPath{}
	s.serve(&responseWriter{path: broken, server: s, size: len(wire), message: s.authenticator.Inspect(wire)}, wire, ordinary) // and so does answering
}
