package listener

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/source"
)

const (
	// maxMessage is the largest DNS message there is. UDP is read whole: a signed update easily exceeds 512 octets, and
	// the octets that do not fit would be lost.
	maxMessage = 65535

	// maxInFlight bounds the UDP requests that are worked on at a time on one socket. Further ones are dropped.
	maxInFlight = 10000

	// maxUnproven is how many of them may be from those who do not even claim to hold a key. The rest of the room is for
	// those who do.
	maxUnproven = maxInFlight / 2

	// maxReaders is the number of goroutines per socket that are at it for the next UDP request, each with a buffer.
	maxReaders = 2

	// maxIdle is the number of goroutines per socket that wait until they are needed there. It is enough for the bursts
	// in which many requests at once wait for the socket to take their answer.
	maxIdle = 256
)

// buffers holds *[]byte of maxMessage octets, for reading and for packing.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, maxMessage)
	return &b
}}

// servePackets reads messages from the UDP socket and answers them, one after the other, until the endpoint is closed.
// Several goroutines do so, and take turns at the socket: whoever got a message sees to it that somebody else is there,
// then works on the message itself. So a request that takes its time holds up nobody, and one that does not costs no
// hand-over to another goroutine, whose stack would have to grow first.
//
// The caller counts the goroutine in readers.
func (e *endpoint) servePackets() {
	var oob []byte
	if e.anyHost {
		oob = make([]byte, controlSize)
	}
	var wait time.Duration
	var buffer *[]byte
	var x *packetExchange
	for {
		if x == nil { // else the last message came to nothing, or was answered at once
			buffer, x = buffers.Get().(*[]byte), &packetExchange{endpoint: e}
		}
		n, err := e.readPacket(x, *buffer, oob)
		if err != nil {
			if e.isClosing() {
				buffers.Put(buffer)
				return
			}
			wait = pause(wait)
			continue
		}
		wait = 0
		s := e.enter()
		if s == nil {
			continue // between the last server's stop and the end of this loop
		}
		x.responseWriter.back, x.responseWriter.server = x, s
		if s.shortcut(x, (*buffer)[:n]) {
			s.requests.leave()
			continue
		}
		as := s.admit(&x.responseWriter, (*buffer)[:n])
		if as == discarded {
			s.requests.leave()
			continue
		}
		if busy := e.busy.Add(1); busy > maxInFlight || busy > maxUnproven && as != established {
			e.busy.Add(-1)
			s.observer.Dropped("busy")
			s.requests.leave()
			continue
		}
		if e.depart() {
			go e.servePackets()
		}
		e.servePacket(x, buffer, n, as)
		x, buffer = nil, nil // an idle goroutine shall hold neither
		if !e.rejoin() {
			return
		}
	}
}

// depart counts a goroutine out of those that read packets. If it was the last one it wakes an idle one, or reports that
// a new one has to be started, which is counted already.
func (e *endpoint) depart() (start bool) {
	if e.readers.Add(-1) > 0 {
		return false
	}
	e.readers.Add(1)
	select {
	case e.needed <- struct{}{}:
		return false
	default: // nobody is idle
		return true
	}
}

// rejoin takes a goroutine back to those that read packets, at once or when it is needed there. It reports false if it
// is to end. The same few goroutines do most of the work that way, and the stacks of the others stay out of the
// processor's caches.
func (e *endpoint) rejoin() bool {
	// Never count to more than there are: the last ones to depart would leave the socket to somebody who goes idle.
	for n := e.readers.Load(); n < maxReaders; n = e.readers.Load() {
		if e.readers.CompareAndSwap(n, n+1) {
			return true
		}
	}
	defer e.idle.Add(-1)
	if e.idle.Add(1) > maxIdle {
		return false
	}
	select {
	case <-e.needed: // whoever says so has counted this goroutine in readers
		return true
	case <-e.quit:
		return false
	}
}

func (e *endpoint) servePacket(x *packetExchange, buffer *[]byte, length int, as class) {
	s := x.server
	defer func() {
		e.busy.Add(-1)
		s.requests.leave()
	}()
	s.serve(&x.responseWriter, (*buffer)[:length], as, func() { buffers.Put(buffer) })
}

// readPacket reads one message, and into x who sent it.
func (e *endpoint) readPacket(x *packetExchange, b, oob []byte) (n int, err error) {
	switch {
	case e.udp == nil:
		e.reading.Lock()
		n, x.remote, err = e.packets.ReadFrom(b)
		e.reading.Unlock()
		if err == nil {
			x.source = source.Of(addressOf(x.remote).Addr())
		}
		return n, err
	case oob == nil:
		n, x.peer, err = e.udp.ReadFromUDPAddrPort(b)
	default:
		var controls int
		n, controls, _, x.peer, err = e.udp.ReadMsgUDPAddrPort(b, oob)
		if err == nil {
			x.control = replyControl(oob[:controls])
		}
	}
	x.remote = nil // until somebody wants to know
	x.source = source.Of(x.peer.Addr())
	return n, err
}

// packetExchange is a request that came by UDP and the way back.
type packetExchange struct {
	responseWriter
	endpoint *endpoint
	remote   net.Addr       // of the client; with the PROXY protocol not where the packet came from
	peer     netip.AddrPort // where the packet came from, if the socket is not wrapped
	control  []byte         // for the reply, nil if the socket has one address
	query    plainQuery     // of the shortcut
	response []byte         // room for the shortcut's
}

func (x *packetExchange) localAddr() net.Addr { return x.endpoint.packets.LocalAddr() }

func (x *packetExchange) remoteAddr() net.Addr {
	if x.remote == nil {
		x.remote = net.UDPAddrFromAddrPort(x.peer)
	}
	return x.remote
}
func (x *packetExchange) close() error { return nil } // the socket is everyone's

// Write sends one message.
func (x *packetExchange) Write(wire []byte) (int, error) {
	switch {
	case x.endpoint.udp == nil:
		return x.endpoint.packets.WriteTo(wire, x.remote)
	case x.control == nil:
		return x.endpoint.udp.WriteToUDPAddrPort(wire, x.peer)
	default:
		n, _, err := x.endpoint.udp.WriteMsgUDPAddrPort(wire, x.control, x.peer)
		return n, err
	}
}

func (x *packetExchange) send(wire []byte) error {
	var err error
	if decorate := x.server.decorate; decorate != nil {
		_, err = decorate(x).Write(wire)
	} else {
		_, err = x.Write(wire)
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
