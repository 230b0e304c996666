package relay

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// answerer runs a server that answers every query, with nothing.
func answerer(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, packets, err := listen(Config{Listen: net.Listen, ListenPacket: net.ListenPacket})
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		if err := w.WriteMsg(new(dns.Msg).SetReply(r)); err != nil {
			t.Error(err)
		}
	})
	for _, s := range []*dns.Server{{Listener: listener, Handler: handler}, {PacketConn: packets, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		ended := make(chan error, 1)
		go func() { ended <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	return netip.MustParseAddrPort(listener.Addr().String())
}

func TestRelay(t *testing.T) {
	var seen []Exchange // no lock: Observe is told of one at a time, and of none after Close
	r, err := Start(Config{
		Server:  answerer(t),
		Observe: func(e Exchange) { seen = append(seen, e) },
		Change: func(e Exchange) []byte {
			e.Reply[3] |= dns.RcodeRefused
			return e.Reply
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	ask := func(conn *dns.Conn, network string) {
		t.Helper()
		if conn == nil {
			c, err := dns.Dial(network, r.Address.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conn = c
		}
		reply, _, err := (&dns.Client{Timeout: 10 * time.Second}).ExchangeWithConn(new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA), conn)
		if err != nil {
			t.Fatal(err)
		}
		if reply.Rcode != dns.RcodeRefused {
			t.Errorf("over %s the reply is not changed: %v", network, reply)
		}
	}
	ask(nil, "udp")
	conn, err := dns.Dial("tcp", r.Address.String())
	if err != nil {
		t.Fatal(err)
	}
	ask(conn, "tcp")
	ask(conn, "tcp")
	ask(nil, "tcp")
	// What is open does not keep the relay from ending.
	r.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives the relay")
	}
	var numbers []int
	for _, e := range seen {
		numbers = append(numbers, e.Connection)
		reply := new(dns.Msg)
		if err := reply.Unpack(e.Reply); err != nil || reply.Rcode != dns.RcodeSuccess || !slices.Equal(e.Request[:2], e.Reply[:2]) {
			t.Errorf("seen %x, %x: %v", e.Request, e.Reply, err)
		}
	}
	if want := []int{0, 1, 1, 2}; !slices.Equal(numbers, want) {
		t.Errorf("connections %v, want %v", numbers, want)
	}
}

// TestPick: each datagram and each connection goes to the server that is picked for it, and to none without one.
func TestPick(t *testing.T) {
	servers := []netip.AddrPort{answerer(t), answerer(t), {}}
	next := 0 // no lock: the questions are asked one after the other
	var seen []netip.AddrPort
	r, err := Start(Config{
		Pick: func() netip.AddrPort {
			next++
			return servers[(next-1)%len(servers)]
		},
		Observe: func(e Exchange) { seen = append(seen, e.Server) },
	})
	if err != nil {
		t.Fatal(err)
	}
	client := func(network string) error {
		c := &dns.Client{Net: network, Timeout: 10 * time.Second}
		_, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA), r.Address.String())
		return err
	}
	for i, network := range []string{"udp", "tcp", "tcp"} {
		if err := client(network); (err == nil) != servers[i].IsValid() {
			t.Errorf("question %d: %v", i, err)
		}
	}
	r.Close()
	if !slices.Equal(seen, servers[:2]) {
		t.Errorf("answers from %v, want %v", seen, servers[:2])
	}
}
