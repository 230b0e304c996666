package listener

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/test/sharedcontexts"
)

const sharedHost = "one.example.org"

// sharing is two listeners whose servers share their contexts. The second one hears of what the first one does only when it
// asks.
type sharing struct {
	t     *testing.T
	keys  *keytab.Keytab
	ports [2]string
	nodes [2]*sharedcontexts.Node
}

// startSharing starts them. More is put into the Corefile of the second one.
func startSharing(t *testing.T, limits Limits, more string) *sharing {
	t.Helper()
	s := &sharing{t: t}
	keytabs, keys := kerberosKeys(t, sharedHost)
	s.keys = keys
	table := sharedcontexts.New()
	probeLimits.Store("one", limits)
	t.Cleanup(func() {
		probeServers.Delete("one")
		probeLimits.Delete("one")
	})
	for i := range s.nodes {
		s.nodes[i] = table.Node(time.Now)
		contexts := gsstsig.NewTable(gsstsig.TableConfig{})
		if err := contexts.Share(gsstsig.Sharing{Contexts: s.nodes[i], Place: "site", Server: fmt.Sprintf("ns%d", i)}); err != nil {
			t.Fatal(err)
		}
		probeServers.Store("one", serverOf(t, keytabs, contexts, time.Now))
		s.ports[i] = freePort(t)
		corefile := fmt.Sprintf("one.org:%s {\nbind 127.0.0.1\nprobe one\n}\n", s.ports[i])
		if i == 1 && more != "" {
			corefile += fmt.Sprintf(more, s.ports[i])
		}
		start(t, corefile)
	}
	s.nodes[1].Behind()
	return s
}

// login makes a context at a listener.
func (s *sharing) login(at int, network, name string) provider {
	s.t.Helper()
	key, token := initiateContext(s.t, sharedHost, s.keys, false)
	answer := ask(s.t, network, local(s.ports[at]), tkeyQuery(name, dns.ClassANY, false, token))
	if answer.IsTsig() == nil {
		s.t.Fatalf("no context:\n%v", answer)
	}
	return provider{key}
}

// TestKeyMadeElsewhere: a context is good at once at a server that has not heard of it yet, also where other blocks share the
// address.
func TestKeyMadeElsewhere(t *testing.T) {
	for _, more := range []string{"", "two.org:%[1]s {\nbind 127.0.0.1\nwhoami\n}\n"} {
		s := startSharing(t, Limits{}, more)
		for i := range 20 {
			for _, network := range networks {
				name := fmt.Sprintf("%d.%s.test.", i, network)
				key := s.login(0, network, name)
				if got := signedBy(t, key, network, s.ports[1], name, query("x.one.org.", dns.TypeTXT)); texts(got) != "one "+name {
					t.Fatalf("%s:\n%v", network, got)
				}
			}
		}
	}
}

// TestMadeUpKeys: keys that there are nowhere get BADKEY, in a number that is limited, while clients with contexts get answers.
func TestMadeUpKeys(t *testing.T) {
	s := startSharing(t, Limits{SourceErrors: 1000}, "")
	key := s.login(0, "udp", "k.test.")
	var done sync.WaitGroup
	for i := range 100 {
		made := query("x.one.org.", dns.TypeTXT)
		made.SetTsig(fmt.Sprintf("%d.made.test.", i), "gss-tsig.", 300, time.Now().Unix())
		wire, _, err := dns.TsigGenerateWithProvider(made, key, "", false)
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			conn, err := dns.Dial(networks[i%2], local(s.ports[1]))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Write(wire); err != nil {
				t.Error(err)
				return
			}
			buffer := make([]byte, dns.MaxMsgSize)
			n, err := conn.Read(buffer)
			answer := new(dns.Msg)
			if err == nil {
				err = answer.Unpack(buffer[:n])
			}
			if err != nil || answer.Rcode != dns.RcodeNotAuth || answer.IsTsig() == nil || answer.IsTsig().Error != dns.RcodeBadKey {
				t.Errorf("%v\n%v", err, answer)
			}
		})
	}
	if got := signedBy(t, key, "udp", s.ports[1], "k.test.", query("x.one.org.", dns.TypeTXT)); texts(got) != "one k.test." {
		t.Errorf("%v", got)
	}
	done.Wait()
}

// TestMadeUpKeysOfOneSource: a source that was sent too many errors is not looked for.
func TestMadeUpKeysOfOneSource(t *testing.T) {
	moment := time.Now()
	s := startSharing(t, Limits{SourceErrors: 5, now: func() time.Time { return moment }, closeDelay: time.Millisecond}, "")
	key := s.login(0, "udp", "k.test.")
	answered := 0
	for i := range 30 {
		m := query("x.one.org.", dns.TypeTXT)
		m.SetTsig(fmt.Sprintf("%d.made.test.", i), "gss-tsig.", 300, time.Now().Unix())
		wire, _, err := dns.TsigGenerateWithProvider(m, key, "", false)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := dns.Dial("tcp", local(s.ports[1]))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		if n, _ := conn.Read(make([]byte, dns.MaxMsgSize)); n > 0 {
			answered++
		}
		conn.Close()
	}
	if asked := s.nodes[1].Syncs.Load(); answered != 10 || asked > 10 {
		t.Errorf("%d answers, the table was asked %d times", answered, asked)
	}
}

// slowTable takes a record when it is told to.
type slowTable struct {
	*sharedcontexts.Node
	waiting atomic.Int64
	take    chan struct{}
}

func (s *slowTable) Add(ctx context.Context, id [32]byte, record []byte, expires time.Time) (bool, error) {
	s.waiting.Add(1)
	<-s.take
	return s.Node.Add(ctx, id, record, expires)
}

// TestWaitingTakesNoSlot: handshakes that wait for the shared table do not keep others from being worked on.
func TestWaitingTakesNoSlot(t *testing.T) {
	const handshakes = 20
	table := &slowTable{Node: sharedcontexts.New().Node(time.Now), take: make(chan struct{})}
	keytabs, keys := kerberosKeys(t, sharedHost)
	contexts := gsstsig.NewTable(gsstsig.TableConfig{})
	if err := contexts.Share(gsstsig.Sharing{Contexts: table}); err != nil {
		t.Fatal(err)
	}
	probeServers.Store("one", serverOf(t, keytabs, contexts, time.Now))
	probeLimits.Store("one", Limits{Handshakes: 1, HandshakeQueue: handshakes})
	t.Cleanup(func() {
		probeServers.Delete("one")
		probeLimits.Delete("one")
	})
	port := freePort(t)
	start(t, fmt.Sprintf("one.org:%s {\nbind 127.0.0.1\nprobe one\n}\n", port))
	var done sync.WaitGroup
	for i := range handshakes {
		_, token := initiateContext(t, sharedHost, keys, false)
		m := tkeyQuery(fmt.Sprintf("%d.test.", i), dns.ClassANY, false, token)
		done.Go(func() {
			if answer := ask(t, "tcp", local(port), m); answer.IsTsig() == nil {
				t.Errorf("no context:\n%v", answer)
			}
		})
	}
	eventually(t, "all wait for the table", func() bool { return table.waiting.Load() == handshakes })
	close(table.take)
	done.Wait()
}

// TestRefuseReplayed: an update that another server has done is answered as one that came twice.
func TestRefuseReplayed(t *testing.T) {
	s := startSharing(t, Limits{}, "")
	key := s.login(0, "udp", "k.test.")
	before := counts.get("badsig")
	m := new(dns.Msg).SetUpdate("replayed.one.org.")
	m.SetTsig("k.test.", "gss-tsig.", 300, time.Now().Unix())
	wire, _, err := dns.TsigGenerateWithProvider(m, key, "", false)
	if err != nil {
		t.Fatal(err)
	}
	again := m.Copy()
	again.SetUpdate("one.org.")
	again.Id, again.Extra = m.Id, nil
	var answers []*dns.Msg
	twice, _, err := dns.TsigGenerateWithProvider(again.SetTsig("k.test.", "gss-tsig.", 300, time.Now().Unix()), key, "", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, wire := range [][]byte{wire, twice, twice} {
		conn, err := dns.Dial("udp", local(s.ports[1]))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, dns.MaxMsgSize)
		n, err := conn.Read(buffer)
		conn.Close()
		answer := new(dns.Msg)
		if err == nil {
			err = answer.Unpack(buffer[:n])
		}
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	if answers[1].Rcode != dns.RcodeSuccess {
		t.Fatalf("%v", answers[1])
	}
	for _, answer := range []*dns.Msg{answers[0], answers[2]} {
		if tsig := answer.IsTsig(); answer.Rcode != dns.RcodeNotAuth || tsig == nil || tsig.Error != dns.RcodeBadSig || tsig.MACSize != 0 {
			t.Errorf("%v", answer)
		}
	}
	if got := counts.get("badsig"); got != before+2 {
		t.Errorf("%d failures are counted", got-before)
	}
}
