package listener

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// maxMessage is the largest DNS message there is. UDP is read whole: a signed update easily exceeds 512 octets, and
	// the octets that do not fit would be lost.
	maxMessage = 65535

	// maxInFlight bounds the UDP requests that are worked on at a time on one socket. Further ones are dropped.
	maxInFlight = 10000

	// maxIdle is the number of goroutines per socket that wait for the next UDP request.
	maxIdle = 64
)

// buffers holds *[]byte of maxMessage octets, for reading and for packing.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, maxMessage)
	return &b
}}

// readPackets reads the UDP socket until the endpoint is closed.
func (e *endpoint) readPackets() {
	var oob []byte
	if e.anyHost {
		oob = make([]byte, controlSize)
	}
	var wait time.Duration
	for {
		buffer := buffers.Get().(*[]byte)
		n, x, err := e.readPacket(*buffer, oob)
		if err != nil {
			buffers.Put(buffer)
			if e.isClosing() {
				return
			}
			wait = pause(wait)
			continue
		}
		wait = 0
		s := e.enter()
		if s == nil {
			buffers.Put(buffer)
			continue // between the last server's stop and the end of this loop
		}
		if e.busy.Add(1) > maxInFlight {
			e.busy.Add(-1)
			s.observer.Dropped("busy")
			s.requests.leave()
			buffers.Put(buffer)
			continue
		}
		p := packet{s, x, buffer, n}
		select {
		case e.work <- p:
		default: // nobody is idle
			go e.servePackets(p)
		}
	}
}

// packet is a message that was read and the server that it goes to.
type packet struct {
	server   *server
	exchange *packetExchange
	buffer   *[]byte
	length   int
}

// servePackets answers one packet after the other. Handing packets to a goroutine that has done it before saves growing
// a new stack to what the plugins need, a quarter of the work of a short query.
func (e *endpoint) servePackets(p packet) {
	for {
		e.servePacket(p)
		if e.idle.Add(1) > maxIdle {
			e.idle.Add(-1)
			return
		}
		select {
		case p = <-e.work:
			e.idle.Add(-1)
		case <-e.quit:
			return
		}
	}
}

func (e *endpoint) servePacket(p packet) {
	s, x := p.server, p.exchange
	defer func() {
		e.busy.Add(-1)
		s.requests.leave()
	}()
	x.responseWriter.back = x
	x.responseWriter.server = s
	s.serve(&x.responseWriter, (*p.buffer)[:p.length], func() { buffers.Put(p.buffer) })
}

// readPacket reads one message and who sent it.
func (e *endpoint) readPacket(b, oob []byte) (int, *packetExchange, error) {
	x := &packetExchange{endpoint: e}
	var n int
	var err error
	switch {
	case e.udp == nil:
		n, x.remote, err = e.packets.ReadFrom(b)
		return n, x, err
	case oob == nil:
		n, x.peer, err = e.udp.ReadFromUDPAddrPort(b)
	default:
		var controls int
		n, controls, _, x.peer, err = e.udp.ReadMsgUDPAddrPort(b, oob)
		if err == nil {
			x.control = replyControl(oob[:controls])
		}
	}
	if err == nil {
		x.remote = net.UDPAddrFromAddrPort(x.peer)
	}
	return n, x, err
}

// packetExchange is a request that came by UDP and the way back.
type packetExchange struct {
	responseWriter
	endpoint *endpoint
	remote   net.Addr       // of the client; with the PROXY protocol not where the packet came from
	peer     netip.AddrPort // where the packet came from, if the socket is not wrapped
	control  []byte         // for the reply, nil if the socket has one address
}

func (x *packetExchange) localAddr() net.Addr  { return x.endpoint.packets.LocalAddr() }
func (x *packetExchange) remoteAddr() net.Addr { return x.remote }
func (x *packetExchange) close() error         { return nil } // the socket is everyone's

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
