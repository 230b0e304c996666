package listener

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// maxMessage is the largest DNS message there is. UDP is read whole: a signed update easily exceeds 512 octets, and
	// the octets that do not fit would be lost.
	maxMessage = 65535

	// maxInFlight bounds the UDP requests that are worked on at a time on one socket. Further ones are dropped.
	maxInFlight = 10000

	// maxUnproven is how many of them may be messages that name no known key. The rest is for messages that do.
	maxUnproven = maxInFlight / 2

	// maxIdle is the number of goroutines per socket that wait until they are needed there. It is enough for the bursts
	// in which many requests at once wait for the socket to take their answer. Each time trimPeriod has passed, half of
	// those above fewIdle end, so that a burst or a flood leaves nothing behind.
	maxIdle    = 256
	fewIdle    = 16
	trimPeriod = 5 * time.Second
)

// buffers holds *[]byte of maxMessage octets, for reading and for packing.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, maxMessage)
	return &b
}}

// servePackets reads messages from the UDP socket and answers them until the endpoint is closed. One goroutine at a time
// reads the socket; for more, use several sockets (multisocket). The goroutine answers plain queries at once. When it reads
// a request that takes longer, it leaves the socket to another goroutine and handles the request itself, so that a slow
// request delays no other. If it reads several such requests at once, other goroutines get all but one. A new goroutine for
// each request, whose stack would have to grow first, takes a quarter more CPU time (BenchmarkUDPQuery/listener).
//
// The caller has either left the socket to the goroutine, or has a request for it to begin with.
func (e *endpoint) servePackets(request packetRequest) {
	for ok := true; ok; request, ok = e.waitForWork() {
		if request.exchange == nil {
			if request, ok = e.nextPacket(); !ok {
				return
			}
		}
		e.servePacket(request)
	}
}

// nextPacket reads until there is a request that takes longer than reading, and leaves the socket to another goroutine. It
// reports false if the endpoint is closed.
func (e *endpoint) nextPacket() (request packetRequest, ok bool) {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	var wait time.Duration
	for {
		n, err := b.read(e)
		if err != nil {
			if e.isClosing() {
				return packetRequest{}, false
			}
			wait = pause(wait)
			continue
		}
		wait = 0
		s := e.acquireServer()
		if s == nil {
			continue // between the last server's stop and the end of this loop
		}
		s.sortBatch(b, n)
		b.send(e)
		s.requests.done() // not before: without requests, a server that stops closes the socket
		if len(b.requests) == 0 {
			continue
		}
		request = b.requests[0]
		select {
		case e.vacant <- struct{}{}:
		default: // no goroutine waits
			go e.servePackets(packetRequest{})
		}
		for _, other := range b.requests[1:] {
			select {
			case e.handed <- other:
			default:
				go e.servePackets(other)
			}
		}
		clear(b.requests)
		b.requests = b.requests[:0]
		return request, true
	}
}

// sortBatch goes through the messages that were read. It answers plain queries, drops what classify discards, and keeps the
// rest as requests, which it counts in the endpoint and in the server.
func (s *server) sortBatch(b *batch, n int) {
	for i := range n {
		x := b.exchanges[i]
		x.writer.server, x.path.decorate = s, s.decorate
		wire := b.received[i].Buffers[0][:b.received[i].N]
		if response := s.shortcut(x, &b.scratch[i], wire); response != nil {
			b.reply(i, response)
			continue
		}
		as := s.classify(&x.writer, wire)
		if as == discarded {
			continue
		}
		e := x.path.endpoint
		if busy := e.busy.Add(1); busy > maxInFlight || busy > maxUnproven && as != established {
			e.busy.Add(-1)
			s.observer.Dropped(Busy)
			continue
		}
		s.requests.addAnother()
		b.take(i, as)
	}
}

// waitForWork has a goroutine wait until the socket is left to it, or until there is a request for it, which another has read.
// It reports false if it is to end.
func (e *endpoint) waitForWork() (request packetRequest, ok bool) {
	defer e.idle.Add(-1)
	if e.idle.Add(1) > maxIdle {
		return packetRequest{}, false
	}
	select {
	case <-e.vacant:
		return packetRequest{}, true
	case request = <-e.handed:
		return request, request.exchange != nil
	case <-e.quit:
		return packetRequest{}, false
	}
}

// trimPeriodically ends goroutines that were not needed, until the endpoint is closed.
func (e *endpoint) trimPeriodically() {
	tick := time.NewTicker(trimPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.trim()
		case <-e.quit:
			return
		}
	}
}

// trim has half of the idle goroutines above fewIdle end. An empty request tells them.
func (e *endpoint) trim() {
	for range (e.idle.Load() - fewIdle + 1) / 2 {
		select {
		case e.handed <- packetRequest{}:
		default:
			return
		}
	}
}

func (e *endpoint) servePacket(r packetRequest) {
	s := r.exchange.writer.server
	defer func() {
		e.busy.Add(-1)
		s.requests.done()
	}()
	w := &r.exchange.writer
	accepted := s.accept(w, (*r.buffer)[:r.length], r.as)
	buffers.Put(r.buffer)
	if accepted {
		s.handle(w, r.as)
	}
}

// packetExchange is a message that came by UDP, and what is needed to answer it.
type packetExchange struct {
	writer responseWriter
	path   packetPath
}

func newPacketExchange() *packetExchange {
	x := new(packetExchange)
	x.writer.path = &x.path
	return x
}

// packetPath is the way back of a request that came by UDP.
type packetPath struct {
	endpoint *endpoint
	remote   net.Addr           // of the client; with the PROXY protocol not where the packet came from
	peer     netip.AddrPort     // the same, if the socket is not wrapped
	control  []byte             // for the reply, nil if the socket has one address
	decorate dns.DecorateWriter // of the server, may be nil
}

func (p *packetPath) localAddr() net.Addr { return p.endpoint.packets.LocalAddr() }

func (p *packetPath) remoteAddr() net.Addr { return p.remote }

func (p *packetPath) close() error { return nil } // all requests share the socket

// Write sends one message.
func (p *packetPath) Write(wire []byte) (int, error) {
	switch {
	case p.endpoint.udp == nil:
		return p.endpoint.packets.WriteTo(wire, p.remote)
	case p.control == nil:
		return p.endpoint.udp.WriteToUDPAddrPort(wire, p.peer)
	default:
		n, _, err := p.endpoint.udp.WriteMsgUDPAddrPort(wire, p.control, p.peer)
		return n, err
	}
}

func (p *packetPath) send(wire []byte) error {
	var err error
	if p.decorate != nil {
		// A plugin's writer may keep what it is handed, as shed does, and wire may lie in a pooled buffer.
		_, err = p.decorate(p).Write(bytes.Clone(wire))
	} else {
		_, err = p.Write(wire)
	}
	return err
}

// controlSize is enough for the control messages of either IP version: which one comes depends on the packet.
var controlSize = max(len(ipv4.NewControlMessage(ipv4.FlagDst|ipv4.FlagInterface)),
	len(ipv6.NewControlMessage(ipv6.FlagDst|ipv6.FlagInterface)))

// replyControl makes the control message that sends a reply from the address that the request was sent to.
func replyControl(received []byte) []byte {
	var cm6 ipv6.ControlMessage
	if err := cm6.Parse(received); err == nil && cm6.Dst != nil && cm6.Dst.To4() == nil {
		reply := ipv6.ControlMessage{Src: cm6.Dst}
		if cm6.Dst.IsLinkLocalUnicast() {
			reply.IfIndex = cm6.IfIndex
		}
		return reply.Marshal()
	}
	// A dual-stack socket may tell the destination of an IPv4 packet in either form.
	dst := cm6.Dst
	var cm4 ipv4.ControlMessage
	if err := cm4.Parse(received); err == nil && cm4.Dst != nil {
		dst = cm4.Dst
	}
	if dst == nil {
		return nil
	}
	return (&ipv4.ControlMessage{Src: dst}).Marshal()
}
