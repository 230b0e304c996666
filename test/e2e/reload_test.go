//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// load asks a server for a name over and over, from several sockets, each with one query under way.
type load struct {
	stop     context.CancelFunc
	wait     sync.WaitGroup
	answered atomic.Int64
	mu       sync.Mutex
	lost     []string
}

// answerWithin is how long a query may take before it counts as lost; much more than any reload.
const answerWithin = 10 * time.Second

func startLoad(t *testing.T, address netip.AddrPort, sockets int, name string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	l := &load{stop: cancel}
	for range sockets {
		conn, err := net.Dial("udp", address.String())
		if err != nil {
			t.Fatal(err)
		}
		l.wait.Go(func() {
			defer conn.Close()
			for ctx.Err() == nil {
				if err := l.ask(conn, name); err != nil {
					l.mu.Lock()
					l.lost = append(l.lost, err.Error())
					l.mu.Unlock()
				}
			}
		})
	}
	t.Cleanup(func() { l.finish() })
	return l
}

func (l *load) ask(conn net.Conn, name string) error {
	c := &dns.Conn{Conn: conn}
	query := new(dns.Msg).SetQuestion(name, dns.TypeA)
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if err := c.WriteMsg(query); err != nil {
		return err
	}
	for {
		reply, err := c.ReadMsg()
		if err != nil {
			return err
		}
		if reply.Id != query.Id {
			continue // late
		}
		if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 1 {
			return fmt.Errorf("answer: %s", reply)
		}
		l.answered.Add(1)
		return nil
	}
}

// finish ends the load and returns what went wrong.
func (l *load) finish() []string {
	l.stop()
	l.wait.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// awaitAnswers waits until the load has got some more answers.
func (l *load) awaitAnswers(ctx context.Context, more int64) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for want := l.answered.Load() + more; l.answered.Load() < want; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// TestReloadsUnderLoad reloads eight times while queries come in. None may be lost, contexts and records stay.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	const reloads, answersBetween = 8, 200
	ctx := testContext(t)
	corefile := func(n int) string {
		return fmt.Sprintf("# %d\n%s. {\n    bind 127.0.0.1\n    hosts {\n        203.0.113.7 www.outside.test\n    }\n}\n", n, secureBlock())
	}
	s := startCoreDNS(t, server.Config{Corefile: corefile(0), Probe: forwardZone})
	who := logIn(t, host1)
	client := negotiated(t, who, gssclient.Config{Server: s.Address}, "tcp")
	sign := func(c *gssclient.Client, network, record string) {
		t.Helper()
		reply, err := c.Exchange(network, add(t, forwardZone, record), gssclient.Misbehaviour{})
		if err != nil {
			t.Fatal(err)
		}
		if reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
			t.Fatalf("%s, TSIG error %d, signature %s", dns.RcodeToString[reply.Message.Rcode], reply.TSIGError, reply.MIC)
		}
	}
	sign(client, "udp", "load.example.test. 300 A 192.0.2.80")
	loads := []*load{startLoad(t, s.Address, 4, "load.example.test."), startLoad(t, s.Address, 2, "www.outside.test.")}
	for n := 1; n <= reloads; n++ {
		if err := s.Reload(ctx, corefile(n)); err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"udp", "tcp"} {
			sign(client, network, fmt.Sprintf("%s%d.example.test. 300 A 192.0.2.80", network, n))
		}
		sign(negotiated(t, who, gssclient.Config{Server: s.Address}, "udp"), "tcp", fmt.Sprintf("new%d.example.test. 300 A 192.0.2.80", n))
		for _, l := range loads {
			if err := l.awaitAnswers(ctx, answersBetween); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, l := range loads {
		lost := l.finish()
		if len(lost) > 0 {
			t.Errorf("%d of %d queries lost, the first: %s", len(lost), l.answered.Load()+int64(len(lost)), lost[0])
		}
		t.Logf("%d queries answered over %d reloads", l.answered.Load(), reloads)
	}
	for n := 1; n <= reloads; n++ {
		expect(t, s.Address, fmt.Sprintf("udp%d.example.test", n), dns.TypeA, "192.0.2.80")
	}
}
