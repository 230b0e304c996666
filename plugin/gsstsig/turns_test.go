package gsstsig

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
)

// holdTurn is a plugin that keeps the turn of a query for turn., and waits at one for wait., until the test says.
type holdTurn struct{ next plugin.Handler }

var (
	turnHeld = make(chan struct{})
	endTurn  = make(chan struct{})
)

func setupHoldTurn(c *caddy.Controller) error {
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler { return &holdTurn{next} })
	return nil
}

func (h *holdTurn) Name() string { return "holdturn" }

func (h *holdTurn) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	hold := func() {
		turnHeld <- struct{}{}
		<-endTurn
	}
	switch r.Question[0].Name {
	case "turn.":
		listener.Compute(ctx, hold)
	case "wait.":
		hold()
	}
	return plugin.NextOrFailure(h.Name(), h.next, ctx, w, r)
}

// TestTurns: a query by TCP waits for its turn, and has none while another plugin answers for where its CNAME record leads.
func TestTurns(t *testing.T) {
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte("$ORIGIN example.test.\n@ 60 SOA ns1 admin 1 1 1 1 1\n@ 60 NS ns1\nns1 60 A 192.0.2.1\nalias 60 CNAME wait.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, `example.test:{PORT} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
		file `+seed+` example.test
	}
}
.:{PORT} {
	bind 127.0.0.1
	holdturn
	whoami
}
`)
	ask := func(name string) *dns.Conn {
		t.Helper()
		conn, err := dns.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answer := func(conn *dns.Conn) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if m, err := conn.ReadMsg(); err != nil || m.Rcode != dns.RcodeSuccess || !strings.Contains(m.String(), "192.0.2.1") && m.Question[0].Name == "ns1.example.test." {
			t.Errorf("%v, %v", m, err)
		}
	}
	for _, what := range []string{"turn.", "alias.example.test."} {
		var held []*dns.Conn
		for range runtime.GOMAXPROCS(0) {
			held = append(held, ask(what))
			<-turnHeld
		}
		conn := ask("ns1.example.test.")
		if what == "turn." {
			if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			var timeout net.Error
			if m, err := conn.ReadMsg(); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("an answer without a turn: %v, %v", m, err)
			}
		} else {
			answer(conn)
		}
		for range held {
			endTurn <- struct{}{}
		}
		if what == "turn." {
			answer(conn)
		}
		for _, conn := range held {
			answer(conn)
		}
	}
}
