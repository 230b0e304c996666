package listener

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

func never() bool { return false }

// A client that has had more than its share of the time waits while another is active, and no longer. Of its requests by
// UDP only some wait. Others do not wait for it.
func TestRequestsWaitForTheirShare(t *testing.T) {
	var now atomic.Int64
	base := time.Now()
	probeLimits.Store("shares", Limits{now: func() time.Time { return base.Add(time.Duration(now.Load())) }})
	t.Cleanup(func() { probeLimits.Delete("shares") })
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe shares\n%s}", port, tsigBlock))
	wire := signedWire(t, query("x.example.org.", dns.TypeTXT))
	if r := exchange(t, port, wire); len(r.Answer) != 1 {
		t.Fatal(r)
	}
	work := endpointOf("dns://" + local(port)).current.Load().limiter.work
	const client = "\x00" + keyName
	delayed := func() int {
		work.mu.Lock()
		defer work.mu.Unlock()
		if line := work.delayed[client]; line != nil {
			return line.packets
		}
		return 0
	}

	work.begin("other", ratelimit.Key{}, true, 0, work.clock(), never)
	work.end(client, time.Minute, work.clock())

	packets, err := net.Dial("udp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	dropped := counts.get("busy")
	for range maxDelayed + 1 {
		packets.Write(wire)
	}
	eventually(t, "one request is too many", func() bool { return counts.get("busy") == dropped+1 && delayed() == maxDelayed })
	// What follows is not even verified, and so does not get an answer either if its MAC is wrong.
	forged := bytes.Clone(wire)
	forged[20] ^= 1 // a letter of the question
	bad := counts.get("badsig")
	packets.Write(forged)
	eventually(t, "it is dropped", func() bool { return counts.get("busy") == dropped+2 })
	stream, err := net.Dial("tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for range 2 {
		stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
	}
	answersAll(t, port, "shares unsigned")
	if _, ok := work.begin("other", ratelimit.Key{}, false, 0, work.clock(), func() bool { t.Error("another waits"); return true }); !ok {
		t.Error("another is dropped")
	}
	if delayed() != maxDelayed || counts.get("badsig") != bad {
		t.Errorf("%d requests wait, %d wrong MACs", delayed(), counts.get("badsig")-bad)
	}

	now.Store(int64(time.Hour))
	buffer := make([]byte, dns.MaxMsgSize)
	for i := range maxDelayed {
		packets.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := packets.Read(buffer); err != nil {
			t.Fatalf("answer %d by UDP: %v", i, err)
		}
	}
	replies := &dns.Conn{Conn: stream}
	for i := range 2 {
		stream.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := replies.ReadMsgHeader(nil); err != nil {
			t.Fatalf("answer %d by TCP: %v", i, err)
		}
	}
	if delayed() != 0 {
		t.Errorf("%d requests wait at the end", delayed())
	}
	if r := exchange(t, port, wire); len(r.Answer) != 1 {
		t.Error(r)
	}
}

// When the server stops, no request waits for a share.
func TestWaitEndsWithTheServer(t *testing.T) {
	work := newWorkTime(time.Now)
	for _, client := range []string{"a", "b"} {
		work.begin(client, ratelimit.Key{}, true, 0, work.clock(), never)
	}
	work.end("a", time.Hour, work.clock())
	waits, stops := make(chan struct{}), make(chan struct{})
	done := make(chan bool)
	begin := func() {
		_, ok := work.begin("a", ratelimit.Key{}, true, 0, work.clock(), func() bool {
			select {
			case <-stops:
				return true
			case waits <- struct{}{}:
			default:
			}
			return false
		})
		done <- ok
	}
	const requests = 3
	for range requests {
		go begin()
	}
	<-waits
	eventually(t, "all wait", func() bool {
		work.mu.Lock()
		defer work.mu.Unlock()
		return len(work.delayed["a"].turns) == requests
	})
	close(stops)
	for range requests {
		if !<-done {
			t.Error("dropped")
		}
	}
	if len(work.delayed) > 0 {
		t.Error("a line is left")
	}
}

// The client is charged for the time from the verification to the answer, without the time in which others are waited for,
// and without gaps that are too long to be work.
func TestWorkIsCharged(t *testing.T) {
	for name, c := range map[string]struct {
		took, waited time.Duration
		size         int
		waits        bool // afterwards
	}{
		"little":        {took: 20 * time.Microsecond},
		"much":          {took: 100 * time.Microsecond, waits: true},
		"waiting":       {took: time.Second, waited: time.Second},
		"a gap":         {took: time.Second, waits: true},
		"large message": {took: 1100 * time.Microsecond, size: 20_000, waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			s := &server{limiter: newLimiter(Limits{now: func() time.Time { return now }})}
			work := s.limiter.work
			work.shares.Parallel = 1
			now = now.Add(c.took)
			for _, client := range []string{"a", "b"} {
				work.begin(client, ratelimit.Key{}, true, 0, work.clock(), never)
			}
			// As many as take little more than the burst.
			const requests = 30
			for range requests {
				s.endWork(&responseWriter{server: s, signer: "a", waited: c.waited, size: c.size})
			}
			wait := work.shares.Wait("a", work.clock(), 2)
			if (wait > 0) != c.waits {
				t.Errorf("waits %v", wait)
			}
			if most := 2 * requests * (messageTime + time.Duration(c.size)*octetTime); wait > most {
				t.Errorf("waits %v, at most %v", wait, most)
			}
		})
	}
}

// What a handler waits for is told apart from its work; Wait is also good for a request that came by another listener.
func TestWait(t *testing.T) {
	now := time.Now()
	w := &responseWriter{server: &server{limiter: newLimiter(Limits{now: func() time.Time { return now }})}}
	calls := 0
	for _, ctx := range []context.Context{&requestContext{Context: t.Context(), writer: w}, t.Context()} {
		Wait(ctx, func() {
			now = now.Add(time.Second)
			calls++
		})
	}
	if calls != 2 || w.waited != time.Second {
		t.Errorf("%d calls, waited %v", calls, w.waited)
	}
}

// The table of senders that have no room is bounded, and those whose time has come go first.
func TestFullIsBounded(t *testing.T) {
	now := time.Now()
	work := newWorkTime(func() time.Time { return now })
	for i := range uint32(maxFull) {
		work.setFull(ratelimit.Of(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})), 0, time.Duration(1+i%2)*time.Second)
	}
	another := sourceOf("192.0.2.1")
	work.setFull(another, 0, time.Second)
	if len(work.full) != maxFull || !work.hasRoom(another) {
		t.Errorf("%d senders", len(work.full))
	}
	now = now.Add(time.Second)
	work.setFull(another, time.Second, 2*time.Second)
	if len(work.full) != maxFull/2+1 || work.hasRoom(another) {
		t.Errorf("%d senders", len(work.full))
	}
	now = now.Add(time.Second)
	if !work.hasRoom(another) || len(work.full) != maxFull/2 {
		t.Errorf("%d senders", len(work.full))
	}
}
