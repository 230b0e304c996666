package listener

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// waiting is how many requests wait for a turn.
func (t *turns) waiting() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.order.Front(); e != nil; e = e.Next() {
		n += len(e.Value.(*turnLine).requests)
	}
	return n
}

// isIdle reports whether all of so many turns are free, and nobody waits.
func (t *turns) isIdle(atOnce int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.free == atOnce && t.order.Len() == 0 && len(t.lines) == 0 && t.woken == nil
}

// TestTurnsOfSources: other sources come before the one whose turn has ended, however many requests of that wait.
func TestTurnsOfSources(t *testing.T) {
	all := newTurns(1)
	a := sourceOf("192.0.2.1")
	begun := make(chan string)
	names := map[string]string{"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
	all.acquire(a)
	for i, name := range strings.Fields("a a a b b c") {
		go func() {
			all.acquire(sourceOf(names[name]))
			begun <- name
		}()
		eventually(t, "the request waits", func() bool { return all.waiting() == i+1 })
	}
	all.release(a)
	order := ""
	for range 6 {
		name := <-begun
		order += name
		all.release(sourceOf(names[name]))
	}
	if order != "bacbaa" {
		t.Errorf("turns: %s", order)
	}
	if !all.isIdle(1) {
		t.Errorf("left over: %+v", all)
	}
}

// TestTurnsOfOneSource: a turn that ends may begin again before the request that waits is awake. That one has the next.
func TestTurnsOfOneSource(t *testing.T) {
	all := newTurns(1)
	source := sourceOf("192.0.2.1")
	all.acquire(source)
	begun := make(chan struct{})
	go func() {
		all.acquire(source)
		close(begun)
	}()
	eventually(t, "the request waits", func() bool { return all.waiting() == 1 })

	all.mu.Lock() // as if the turn had ended, and begun again
	all.free++
	all.wakeNext()
	all.free--
	all.mu.Unlock()
	eventually(t, "the request was woken for nothing", func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		return all.woken == nil
	})
	if all.waiting() != 1 {
		t.Error("the request does not wait any more")
	}
	all.release(source)
	if all.free != 0 {
		t.Error("the turn was not given to the request that has waited")
	}
	<-begun
	all.release(source)
	if !all.isIdle(1) {
		t.Errorf("left over: %+v", all)
	}
}

// TestTurnsThatEndTogether: all requests have a turn for which there is one, though one of them is woken at a time.
func TestTurnsThatEndTogether(t *testing.T) {
	const atOnce = 3
	all := newTurns(atOnce)
	source := sourceOf("192.0.2.1")
	for range atOnce {
		all.acquire(source)
	}
	begun := make(chan struct{})
	for range atOnce {
		go func() {
			all.acquire(source)
			begun <- struct{}{}
		}()
	}
	eventually(t, "the requests wait", func() bool { return all.waiting() == atOnce })
	all.mu.Lock() // as if all turns had ended before one of the requests was awake
	all.free = atOnce
	all.wakeNext()
	all.mu.Unlock()
	for range atOnce {
		<-begun
	}
	for range atOnce {
		all.release(source)
	}
	if !all.isIdle(atOnce) {
		t.Errorf("left over: %+v", all)
	}
}

// TestTurnsAtOnce: many requests of several sources all have their turns, no more of them at a time than there are.
func TestTurnsAtOnce(t *testing.T) {
	const atOnce = 3
	all := newTurns(atOnce)
	var now, most atomic.Int64
	var done sync.WaitGroup
	for i := range 40 {
		source := sourceOf(fmt.Sprintf("192.0.2.%d", min(i%7, 4))) // the last has more
		done.Go(func() {
			for range 200 {
				all.acquire(source)
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				now.Add(-1)
				all.release(source)
			}
		})
	}
	done.Wait()
	if most.Load() > atOnce {
		t.Errorf("%d turns at a time", most.Load())
	}
	if !all.isIdle(atOnce) {
		t.Errorf("left over: %+v", all)
	}
}

// answerWith makes an answer to a query with so many records.
func answerWith(request *dns.Msg, records int) *dns.Msg {
	m := new(dns.Msg).SetReply(request)
	for i := range records {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: request.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A: net.IPv4(10, 0, byte(i>>8), byte(i))})
	}
	return m
}

// TestLargeAnswersTakeTurns: by TCP, an answer with many records, or what finds one, waits while there is no turn. It has none
// while it is sent, nor when it could not be packed. What comes by UDP, updates, and small answers do not wait.
func TestLargeAnswersTakeTurns(t *testing.T) {
	limiter := newLimiter(Limits{})
	limiter.turns = newTurns(1)
	s := &server{limiter: limiter}
	other := sourceOf("192.0.2.1")
	request := query("x.example.org.", dns.TypeA)
	large := answerWith(request, fewRecords+1)
	writer := func(path returnPath) *responseWriter {
		return &responseWriter{path: path, server: s, stream: true, source: sourceOf("192.0.2.2"), limit: maxMessage, opcode: dns.OpcodeQuery}
	}
	write := func(w *responseWriter, m *dns.Msg) {
		t.Helper()
		if err := w.WriteMsg(m); err != nil {
			t.Error(err)
		}
	}

	limiter.turns.acquire(other)
	write(writer(&memory{}), answerWith(request, fewRecords))
	update := writer(&memory{})
	update.opcode = dns.OpcodeUpdate
	write(update, large)
	packet := writer(&memory{})
	packet.stream = false
	write(packet, large)
	Compute(&requestContext{Context: t.Context(), writer: packet}, func() {})
	Compute(context.Background(), func() {})

	way := &stuck{sending: make(chan struct{}), release: make(chan struct{})}
	written := make(chan error)
	go func() { written <- writer(way).WriteMsg(large) }()
	eventually(t, "the answer waits", func() bool { return limiter.turns.waiting() == 1 })
	limiter.turns.release(other)
	<-way.sending
	if !limiter.turns.isIdle(1) {
		t.Error("an answer has a turn while it is sent")
	}
	close(way.release)
	if err := <-written; err != nil {
		t.Error(err)
	}

	limiter.turns.acquire(other)
	found := make(chan struct{})
	go Compute(&requestContext{Context: t.Context(), writer: writer(&memory{})}, func() { close(found) })
	eventually(t, "the query waits", func() bool { return limiter.turns.waiting() == 1 })
	limiter.turns.release(other)
	<-found
	eventually(t, "the turn has ended", func() bool { return limiter.turns.isIdle(1) })

	wrong := answerWith(request, fewRecords+1)
	wrong.Answer[0].Header().Name = strings.Repeat("x", 64) + "."
	if err := writer(&memory{}).WriteMsg(wrong); err == nil {
		t.Error("a wrong name was packed")
	}
	func() {
		defer func() { _ = recover() }()
		Compute(&requestContext{Context: t.Context(), writer: writer(&memory{})}, func() { panic("test") })
	}()
	if !limiter.turns.isIdle(1) {
		t.Error("a turn is lost")
	}
}
