package listener

import (
	"bytes"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// maxBatch is how many UDP messages are read and answered by one system call. With one message at a time, a plain query
// takes a sixth more CPU time (BenchmarkUDPQuery/shortcut).
const maxBatch = 16

// batch is what a goroutine reads from a UDP socket at a time, and the short answers that it sends at once. Only one
// goroutine has it.
type batch struct {
	received  []ipv4.Message // filled by the kernel; each has its buffer's octets, and controls if the socket tells them
	buffers   [maxBatch]*[]byte
	exchanges [maxBatch]*packetExchange
	replies   []ipv4.Message
	octets    [maxBatch][1][]byte // of the replies
	scratch   [maxBatch]scratch   // of the shortcut
	requests  []packetRequest     // that take longer
	control   lastControl
}

// packetRequest is a message to be worked on. It owns the buffer.
type packetRequest struct {
	exchange *packetExchange
	buffer   *[]byte
	length   int
	as       class
}

// batches holds *batch without requests and replies. What they have of buffers and exchanges is used again.
var batches = sync.Pool{New: func() any {
	b := &batch{received: make([]ipv4.Message, maxBatch), replies: make([]ipv4.Message, 0, maxBatch)}
	for i := range b.received {
		b.received[i].Buffers = make([][]byte, 1)
	}
	return b
}}

// read waits for messages from the endpoint's socket, and returns how many there are. Who sent them is in exchanges.
func (b *batch) read(e *endpoint) (n int, err error) {
	for i := range b.received {
		if b.exchanges[i] == nil {
			b.buffers[i], b.exchanges[i] = buffers.Get().(*[]byte), newPacketExchange()
			b.received[i].Buffers[0] = *b.buffers[i]
		}
		path := &b.exchanges[i].path
		path.endpoint, path.remote, path.control = e, nil, nil
		if e.udp == nil {
			return b.readWrapped(e)
		}
		if m := &b.received[i]; !e.anyHost {
			m.OOB = nil
		} else if m.OOB == nil {
			m.OOB = make([]byte, controlSize)
		}
	}
	n, err = e.batched.ReadBatch(b.received, 0)
	if err != nil {
		return 0, err
	}
	for i := range b.received[:n] {
		m, x := &b.received[i], b.exchanges[i]
		x.path.remote = m.Addr
		x.path.peer = m.Addr.(*net.UDPAddr).AddrPort()
		x.writer.source = ratelimit.Of(x.path.peer.Addr())
		if e.anyHost {
			x.path.control = b.control.reply(m.OOB[:m.NN])
		}
	}
	return n, nil
}

// lastControl has the control message that came last, and that of the reply. Most messages come to one address, so that they
// have the same one. To read it and to write the reply's takes seven allocations (BenchmarkUDPQuery/every_address).
type lastControl struct{ received, sent []byte }

// reply returns what replyControl makes of a control message. It must not be modified.
func (c *lastControl) reply(received []byte) []byte {
	if c.received == nil || !bytes.Equal(c.received, received) {
		c.received, c.sent = bytes.Clone(received), replyControl(received)
	}
	return c.sent
}

// readWrapped reads one message from a socket that CoreDNS has wrapped.
func (b *batch) readWrapped(e *endpoint) (n int, err error) {
	m, x := &b.received[0], b.exchanges[0]
	if m.N, x.path.remote, err = e.packets.ReadFrom(m.Buffers[0]); err != nil {
		return 0, err
	}
	x.path.peer = netip.AddrPort{}
	x.writer.source = ratelimit.Of(addressOf(x.path.remote).Addr())
	return 1, nil
}

// take hands a message over, with its exchange and buffer.
func (b *batch) take(i int, as class) {
	b.requests = append(b.requests, packetRequest{exchange: b.exchanges[i], buffer: b.buffers[i], length: b.received[i].N, as: as})
	b.exchanges[i], b.buffers[i] = nil, nil
}

// reply notes an answer to a message, which send sends.
func (b *batch) reply(i int, wire []byte) {
	at := len(b.replies)
	b.octets[at][0] = wire
	b.replies = append(b.replies, ipv4.Message{Buffers: b.octets[at][:], OOB: b.exchanges[i].path.control, Addr: b.received[i].Addr})
}

// send sends the answers noted.
func (b *batch) send(e *endpoint) {
	for rest := b.replies; len(rest) > 0; {
		n, err := e.batched.WriteBatch(rest, 0)
		if err != nil {
			n = max(n, 0) + 1 // the first one's client is gone, or it asks again
		}
		rest = rest[n:]
	}
	clear(b.replies)
	b.replies = b.replies[:0]
}
