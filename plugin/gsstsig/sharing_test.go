package gsstsig

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/sharedcontexts"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// sharingCorefile is two server blocks on addresses of their own, with one zone, which stand for two servers.
const sharingCorefile = `example.test:{PORT} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
		database {DIR}/zones
		control {DIR}/control
	}
}
example.test:{SECOND} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
		database {DIR}/zones
	}
}
`

// pairOfServers is two servers that share their contexts.
type pairOfServers struct {
	*coredns
	process   *process
	table     *sharedcontexts.Table
	nodes     []*sharedcontexts.Node
	addresses [2]string
}

func startPair(t *testing.T) *pairOfServers {
	t.Helper()
	s := &pairOfServers{process: newProcess(), table: sharedcontexts.New()}
	s.process.registerer = prometheus.NewRegistry()
	s.process.sharing = func(b *block) gsstsig.Sharing {
		node := s.table.Node(time.Now)
		s.nodes = append(s.nodes, node)
		return gsstsig.Sharing{Contexts: node, Place: "site", Server: fmt.Sprintf("ns%d", b.number)}
	}
	before := current
	current = s.process
	t.Cleanup(func() { current = before })
	s.addresses[1] = freeAddress(t)
	_, second, err := net.SplitHostPort(s.addresses[1])
	if err != nil {
		t.Fatal(err)
	}
	s.coredns = start(t, strings.ReplaceAll(sharingCorefile, "{SECOND}", second))
	s.addresses[0] = s.address
	for _, n := range s.nodes {
		n.Behind()
	}
	return s
}

// send sends a signed message to one of the servers and returns its answer, verified.
func (s *pairOfServers) send(at int, wire []byte, transaction *client.Transaction) (*dns.Msg, error) {
	answer, err := s.sendWire(at, wire)
	if err != nil {
		return nil, err
	}
	return transaction.Verify(answer)
}

// exchangeWire sends a message and returns the answer, which is not verified.
func (s *pairOfServers) exchangeWire(at int, wire []byte) (*dns.Msg, error) {
	answer := new(dns.Msg)
	octets, err := s.sendWire(at, wire)
	if err == nil {
		err = answer.Unpack(octets)
	}
	return answer, err
}

func (s *pairOfServers) sendWire(at int, wire []byte) ([]byte, error) {
	conn, err := net.Dial("udp", s.addresses[at])
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	answer := make([]byte, dns.MaxMsgSize)
	n, err := conn.Read(answer)
	if err != nil {
		return nil, err
	}
	return answer[:n], nil
}

// login makes a context at one of the servers.
func (s *pairOfServers) login(at int, principal string) *client.Context {
	s.t.Helper()
	there := *s.coredns
	there.address = s.addresses[at]
	return there.context(principal)
}

// TestSharedContexts: clients make contexts at one server and send updates to the other, many at once. Each update is done
// once, whichever server it is sent to again.
func TestSharedContexts(t *testing.T) {
	const clients = 100
	s := startPair(t)
	var contexts []*client.Context
	for i := range clients {
		contexts = append(contexts, s.login(i%2, fmt.Sprintf("host/c%d.example.test", i)))
	}
	var done sync.WaitGroup
	for i, c := range contexts {
		done.Go(func() {
			name := fmt.Sprintf("c%d.example.test.", i)
			numbers := make(map[string]bool)
			for j, lines := range [][]string{
				{"+" + name + " 300 A 192.0.2.1"}, {"-" + name + " A", "+" + name + " 300 A 192.0.2.2"}, {"-" + name + " A", "+" + name + " 300 A 192.0.2.2"},
			} {
				wire, transaction, err := c.Sign(message(t, "example.test.", lines...))
				if err != nil {
					t.Error(err)
					return
				}
				there := (i + j + 1) % 2
				answer, err := s.send(there, wire, transaction)
				if err != nil || answer.Rcode != dns.RcodeSuccess {
					t.Errorf("%s at %d: %v, %v", name, there, answer, err)
					return
				}
				mac, err := hex.DecodeString(answer.IsTsig().MAC)
				if err != nil || len(mac) < 16 || numbers[string(mac[8:16])] {
					t.Errorf("%s: number %x of an answer comes again, %v", name, mac, err)
					return
				}
				numbers[string(mac[8:16])] = true
				if i%10 > 0 {
					continue // the server answers some errors a second only
				}
				for _, at := range []int{there, 1 - there} {
					if j == 2 && at != there {
						continue // a zone of one server remembers what has changed it only
					}
					answer, err := s.exchangeWire(at, wire)
					if tsig := answer.IsTsig(); err != nil || answer.Rcode != dns.RcodeNotAuth || tsig == nil || tsig.Error != dns.RcodeBadSig || tsig.MACSize != 0 {
						t.Errorf("%s, update %d again at %d: %v\n%v", name, j, at, err, answer)
					}
				}
			}
		})
	}
	done.Wait()
	zone, err := s.process.zoneNamed("example.test.")
	if err != nil {
		t.Fatal(err)
	}
	if changes := zone.Snapshot().Serial(); int(changes) != int(1+2*clients) {
		t.Errorf("serial %d after %d changes", changes, 2*clients)
	}
	list, err := s.process.listContexts(t.Context(), struct{}{})
	if err != nil || len(list) != clients {
		t.Errorf("%d contexts are listed, %v", len(list), err)
	}
	for _, c := range list {
		if !strings.HasPrefix(c.Server, "ns") || c.Address == "" || c.Created == nil {
			t.Errorf("%+v", c)
		}
	}
}

// TestDropSharedContexts: the administrator drops contexts that others made, for all servers.
func TestDropSharedContexts(t *testing.T) {
	s := startPair(t)
	kept, dropped := s.login(1, "host/a.example.test"), s.login(1, "host/b.example.test")
	update := func(c *client.Context, at int) (*dns.Msg, error) {
		wire, transaction, err := c.Sign(message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		return s.send(at, wire, transaction)
	}
	list, err := s.process.dropContexts(t.Context(), view.DropRequest{Word: "host/b.example.test@EXAMPLE.TEST"})
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	for at := range s.addresses {
		var refused *client.TSIGError
		if _, err := update(dropped, at); !errors.As(err, &refused) || int(refused.Code) != dns.RcodeBadKey {
			t.Errorf("%v", err)
		}
		if answer, err := update(kept, at); err != nil || answer.Rcode != dns.RcodeSuccess {
			t.Errorf("%v, %v", answer, err)
		}
	}
}

// TestContextsThatAreNotShared: while the table is out of reach, contexts are made all the same, counted, and told of.
func TestContextsThatAreNotShared(t *testing.T) {
	former := unshared.limiter // tests before may have used it up
	unshared.limiter = rate.NewLimiter(1, 1)
	t.Cleanup(func() { unshared.limiter = former })
	s := startPair(t)
	for _, n := range s.nodes {
		n.Cut(true)
	}
	counter := func() float64 { return metric(t, "coredns_gsstsig_contexts_not_shared_total", "reason", "table") }
	before, lines := counter(), len(logged.lines("context not shared", "deadline exceeded", "etcd"))
	c := s.login(0, "host/a.example.test")
	if _, err := c.Update(t.Context(), message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1")); err != nil {
		t.Error(err)
	}
	if got := counter(); got != before+1 {
		t.Errorf("%v are counted", got-before)
	}
	if len(logged.lines("context not shared", "deadline exceeded", "etcd")) != lines+1 {
		t.Error("no line in the log")
	}
	list, err := s.process.listContexts(t.Context(), struct{}{})
	if err != nil || len(list) != 1 || list[0].Server != "" {
		t.Errorf("%+v, %v", list, err)
	}
}
