package listener

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
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

var (
	kept      keptReplies
	decorated atomic.Int64 // how often a writer was asked for
)

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
		decorated.Add(1)
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

// The plugin is asked for its writer when the server begins to serve, as in CoreDNS. What it makes ends with the instance's
// shutdown, which an instance that does not start never has.
func TestDecoratedWriterOfFailedStart(t *testing.T) {
	mine, other := freePort(t), freePort(t)
	occupy(t, other)
	corefile := fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nkeep\nprobe a\n}\n", mine)
	before := decorated.Load()
	if _, err := tryStart(corefile + fmt.Sprintf("other.test:%s {\nbind 127.0.0.1\nwhoami\n}\n", other)); err == nil {
		t.Fatal("it started")
	}
	if n := decorated.Load() - before; n != 0 {
		t.Errorf("asked %d times by a start that failed", n)
	}
	start(t, corefile)
	eventually(t, "it is asked once", func() bool { return decorated.Load()-before == 1 })
}

// A message that is too large is not changed by what is sent of it.
func TestWriteMsgKeepsTheMessage(t *testing.T) {
	m := query("x.example.org.", dns.TypeTXT)
	for i := range 50 {
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: "x.example.org.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{fmt.Sprintf("%050d", i)}})
	}
	m.Extra = []dns.RR{optOwnedBy("."), &dns.A{Hdr: dns.RR_Header{Name: "x.example.org.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)},
		&dns.A{Hdr: dns.RR_Header{Name: "x.example.org.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 2)}}
	before := m.String()
	path := &memory{}
	if err := (&responseWriter{path: path, server: &server{}, limit: 512}).WriteMsg(m); err != nil {
		t.Fatal(err)
	}
	if len(path.sent) != 1 || len(path.sent[0]) > 512 {
		t.Errorf("sent: %v", path.sent)
	}
	if after := m.String(); after != before {
		t.Errorf("was:\n%s\nis:\n%s", before, after)
	}
}
