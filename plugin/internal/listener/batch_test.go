package listener

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

// openBatched is an endpoint with nothing but a UDP socket, which nothing else reads.
func openBatched(t *testing.T, network, address string) *endpoint {
	t.Helper()
	packets, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	udp := packets.(*net.UDPConn)
	return &endpoint{packets: udp, udp: udp, batched: ipv4.NewPacketConn(udp)}
}

// What has come is read in one go, each message with its own sender, and answered so. An answer that cannot be sent keeps
// back none of the others.
func TestBatch(t *testing.T) {
	for _, test := range []struct{ network, address, from string }{
		{"udp4", "127.0.0.1:0", "127.0.0.1"},
		{"udp6", "[::1]:0", "::1"},
		{"udp", "[::]:0", "127.0.0.1"},
		{"udp", "[::]:0", "::1"},
	} {
		t.Run(test.address+" from "+test.from, func(t *testing.T) {
			e := openBatched(t, test.network, test.address)
			port := fmt.Sprint(e.udp.LocalAddr().(*net.UDPAddr).Port)
			const clients = 6
			var conns []net.Conn
			for i := range clients {
				c, err := net.Dial("udp", net.JoinHostPort(test.from, port))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := fmt.Fprintf(c, "request %d", i); err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
			}
			b := batches.Get().(*batch)
			// Messages over the loopback interface are there once they are sent.
			n, err := b.read(e)
			if err != nil || n < 1 {
				t.Fatal(n, err)
			}
			if n != clients && runtime.GOOS == "linux" {
				t.Errorf("%d messages of %d were read", n, clients)
			}
			answered := 0
			for round := 0; answered < clients; round++ {
				if round > 0 {
					if n, err = b.read(e); err != nil {
						t.Fatal(err)
					}
				}
				for i := range n {
					m := &b.received[i]
					text := string(m.Buffers[0][:m.N])
					if want := fmt.Sprintf("request %d", answered); text != want {
						t.Errorf("%q, want %q", text, want)
					}
					if got, want := b.exchanges[i].path.remoteAddr().String(), conns[answered].LocalAddr().String(); got != want {
						t.Errorf("%s is from %s, want %s", text, got, want)
					}
					if answered == 2 {
						m.Addr.(*net.UDPAddr).Port = 0 // where nothing can be sent to
					}
					b.reply(i, fmt.Appendf(nil, "answer %d", answered))
					answered++
				}
				b.send(e)
			}
			for i, c := range conns {
				if i == 2 {
					continue
				}
				c.SetReadDeadline(time.Now().Add(5 * time.Second))
				answer := make([]byte, 100)
				n, err := c.Read(answer)
				if want := fmt.Sprintf("answer %d", i); err != nil || string(answer[:n]) != want {
					t.Errorf("%q, %v; want %q", answer[:n], err, want)
				}
			}
		})
	}
}

// All queries of a mixed burst are answered: plain queries by the shortcut, others by a worker. Malformed messages among
// them delay none.
func TestBurst(t *testing.T) {
	port := freePort(t)
	startShort(t, probing(port, "a"))
	const clients, each = 4, 100
	for client := range clients {
		t.Run(fmt.Sprint(client), func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("udp", local(port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			want := make(map[uint16]string)
			for i := range each {
				name, text := "x.example.org.", "short"
				switch i % 4 {
				case 0:
					name, text = "long.example.org.", "a unsigned"
				case 1:
					if _, err := c.Write([]byte("nothing")); err != nil {
						t.Fatal(err)
					}
				}
				m := query(name, dns.TypeTXT)
				m.Id = uint16(i)
				want[m.Id] = text
				wire, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write(wire); err != nil {
					t.Fatal(err)
				}
			}
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			for range each {
				r, err := (&dns.Conn{Conn: c}).ReadMsg()
				if err != nil {
					t.Fatalf("%d are not answered: %v", len(want), err)
				}
				if texts(r) != want[r.Id] {
					t.Errorf("message %d: %q, want %q", r.Id, texts(r), want[r.Id])
				}
				delete(want, r.Id)
			}
		})
	}
}
