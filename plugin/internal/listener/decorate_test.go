package listener

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// keptReplies is what the keep directive has been handed and not yet sent. Like the shed plugin, and as miekg/dns allows,
// it keeps the octets themselves until it sends them.
type keptReplies struct {
	mu      sync.Mutex
	until   int // replies to keep before all are sent
	replies []keptReply
}

type keptReply struct {
	to   dns.Writer
	wire []byte
}

var kept keptReplies

type keepingWriter struct{ dns.Writer }

func (w keepingWriter) Write(wire []byte) (int, error) {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	kept.replies = append(kept.replies, keptReply{w.Writer, wire})
	if len(kept.replies) < kept.until {
		return len(wire), nil
	}
	for _, r := range kept.replies {
		if _, err := r.to.Write(r.wire); err != nil {
			return 0, err
		}
	}
	kept.replies = nil
	return len(wire), nil
}

func setupKeep(c *caddy.Controller) error {
	dnsserver.GetConfig(c).UDPDecorateWriterFunc = func(*dnsserver.Server) dns.DecorateWriter {
		return func(w dns.Writer) dns.Writer { return keepingWriter{w} }
	}
	return nil
}

// A writer that a plugin puts around ours may keep what it was handed.
func TestDecoratedWriterKeepsReplies(t *testing.T) {
	const clients, inFlight, rounds = 20, 8, 5
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nkeep\nprobe a\n%s}", port, tsigBlock))
	for _, way := range []string{"x", "raw"} { // by WriteMsg, and by Write
		for round := range rounds {
			kept.mu.Lock()
			kept.until = clients * inFlight
			kept.mu.Unlock()
			var wg sync.WaitGroup
			for client := range clients {
				wg.Go(func() {
					conn, err := net.Dial("udp", local(port))
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					c := &dns.Conn{Conn: conn}
					asked := make(map[uint16]string)
					for i := range inFlight {
						q := query(fmt.Sprintf("%s.c%d-%d-%d.example.org.", way, client, i, round), dns.TypeTXT)
						q.Id = uint16(client*inFlight + i)
						asked[q.Id] = q.Question[0].Name
						if err := c.WriteMsg(q); err != nil {
							t.Error(err)
							return
						}
					}
					c.SetReadDeadline(time.Now().Add(10 * time.Second))
					for range inFlight {
						r, err := c.ReadMsg()
						if err != nil {
							t.Errorf("client %d: %v", client, err)
							return
						}
						name, ok := asked[r.Id]
						if !ok || len(r.Question) != 1 || r.Question[0].Name != name || len(r.Answer) != 1 || r.Answer[0].Header().Name != name {
							t.Errorf("client %d got the answer of another, or none of its questions:\n%v", client, r)
						}
						delete(asked, r.Id)
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
		}
	}
}
