package listener

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin/pkg/log"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// longAgo unblocks reads as a deadline.
var longAgo = time.Unix(1, 0)

// receiveBuffer is what the kernel is asked to keep of UDP messages not read yet. Machines that come up together all
// send at once, and what the usual 200 KiB do not hold, some 160 signed updates, is lost until their clients give up
// waiting. A flood fills those in 2 ms, while the server waits for its turn on the processor.
const receiveBuffer = 4 << 20

// endpoint is the pair of sockets of an address, and the goroutines that read them. Every message goes to the server
// that is current when it arrives. An address of DNS over TLS has no UDP socket.
type endpoint struct {
	key     endpointKey
	packets net.PacketConn   // nil with TLS
	udp     *net.UDPConn     // packets, unless wrapped
	batched *ipv4.PacketConn // udp, of either IP version, for several messages at a time
	anyHost bool             // udp is bound to the wildcard address
	streams net.Listener
	table   *connectionTable // of the process

	current atomic.Pointer[server] // nil before the first server and after the last
	busy    atomic.Int64           // UDP requests in flight
	idle    atomic.Int64           // goroutines that have served and wait until they are needed
	vacant  chan struct{}          // leaves the UDP socket to an idle goroutine
	handed  chan packetRequest     // gives a request to one
	quit    chan struct{}          // closed by stopReading

	// Guarded by the socketTable.
	next    *server // has claimed the endpoint
	started bool

	mu          sync.Mutex // guards what follows
	connections map[*connection]bool
	closing     bool
}

// sockets is the part of CoreDNS's servers that opens their sockets. The UDP socket of a server of DNS over TLS is nil.
type sockets interface {
	Address() string
	Listen() (net.Listener, error)
	ListenPacket() (net.PacketConn, error)
}

// openEndpoint opens the sockets of a server as CoreDNS does: with SO_REUSEPORT where there is such a thing, and
// wrapped if the PROXY protocol is spoken.
func openEndpoint(s sockets, table *connectionTable) (*endpoint, error) {
	streams, err := s.Listen()
	if err != nil {
		return nil, err
	}
	packets, err := s.ListenPacket()
	if err != nil {
		return nil, errors.Join(err, streams.Close())
	}
	e := &endpoint{
		packets:     packets,
		streams:     streams,
		vacant:      make(chan struct{}),
		handed:      make(chan packetRequest),
		quit:        make(chan struct{}),
		table:       table,
		connections: make(map[*connection]bool),
	}
	if udp, ok := packets.(*net.UDPConn); ok {
		e.udp, e.batched = udp, ipv4.NewPacketConn(udp)
		if got, err := setReceiveBuffer(udp, receiveBuffer); err != nil {
			log.Warningf("%s: the size of the receive buffer cannot be changed: %v", s.Address(), err)
		} else if got < receiveBuffer {
			log.Infof("%s: the receive buffer of the UDP socket has %d octets. Fewer messages are lost in a burst if the "+
				"sysctl net.core.rmem_max is %d", s.Address(), got, receiveBuffer)
		}
		if local, ok := udp.LocalAddr().(*net.UDPAddr); ok && local.IP.IsUnspecified() {
			// The address that a query was sent to has to be the one that the answer comes from.
			err6 := ipv6.NewPacketConn(udp).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
			err4 := ipv4.NewPacketConn(udp).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
			e.anyHost = err6 == nil || err4 == nil
		}
	}
	return e, nil
}

// start begins reading. Later calls do nothing. The socketTable's lock is held.
func (e *endpoint) start() {
	if e.started {
		return
	}
	e.started = true
	if e.packets != nil {
		go e.servePackets(packetRequest{})
		go e.trimPeriodically()
	}
	go e.acceptConnections()
}

// acquireServer returns the server that a message goes to, or nil if there is none any more. The server's requests.done must
// follow.
func (e *endpoint) acquireServer() *server {
	for {
		s := e.current.Load()
		if s == nil || s.requests.add() {
			return s
		}
	}
}

// stopReading stops reading. Answers can still be sent.
func (e *endpoint) stopReading() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closing = true
	close(e.quit)
	e.streams.Close()
	if e.packets != nil {
		e.packets.SetReadDeadline(longAgo)
	}
	for c := range e.connections {
		c.SetReadDeadline(longAgo)
	}
}

// close closes the sockets after stopReading.
func (e *endpoint) close() {
	if e.packets != nil {
		e.packets.Close()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.connections {
		c.abort()
	}
}

// isClosing reports whether stopReading was called.
func (e *endpoint) isClosing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closing
}

// pause waits before the next try after a socket returned an error that is not its end, such as running out of file
// descriptors. It returns the time to wait after another error.
func pause(last time.Duration) time.Duration {
	next := min(max(2*last, 5*time.Millisecond), time.Second)
	time.Sleep(next)
	return next
}
