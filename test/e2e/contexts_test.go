//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// TestContextsOverARestart: MIT's library goes on with its context after the server was stopped by SIGTERM and by SIGINT and
// started again. A message from before the restart is not taken again after it. After a kill the context is unknown, also if
// there was a clean stop before.
func TestContextsOverARestart(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	block := secureBlock("database " + filepath.Join(t.TempDir(), "zones"))
	s := startCoreDNS(t, server.Config{Corefile: block, Probe: forwardZone})
	client := negotiated(t, logIn(t, host1), gssclient.Config{Server: s.Address}, "tcp")
	update := func(n int) {
		t.Helper()
		reply, err := client.Exchange("udp", add(t, forwardZone, fmt.Sprintf("kept%d.example.test. 300 A 192.0.2.1", n)), gssclient.Misbehaviour{})
		if err != nil {
			t.Fatal(err)
		}
		if reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
			t.Fatalf("update %d: %s, TSIG error %d, signature %s", n, dns.RcodeToString[reply.Message.Rcode], reply.TSIGError, reply.MIC)
		}
	}
	update(0)
	for n, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		if err := s.Restart(ctx, end); err != nil {
			t.Fatal(err)
		}
		reply, err := client.Replay("udp")
		if err != nil {
			t.Fatal(err)
		}
		if reply.Message.Rcode != dns.RcodeNotAuth || reply.TSIGError != dns.RcodeBadSig {
			t.Errorf("a replay after %v: %s, TSIG error %d", end, dns.RcodeToString[reply.Message.Rcode], reply.TSIGError)
		}
		update(n + 1)
	}
	if err := s.Restart(ctx, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	reply, err := client.Exchange("udp", add(t, forwardZone, "killed.example.test. 300 A 192.0.2.1"), gssclient.Misbehaviour{})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Message.Rcode != dns.RcodeNotAuth || reply.TSIGError != dns.RcodeBadKey {
		t.Errorf("after a kill: %s, TSIG error %d", dns.RcodeToString[reply.Message.Rcode], reply.TSIGError)
	}
	if said := s.Log().String(); strings.Contains(said, "kept over the restart") {
		t.Errorf("it says:\n%s", said)
	}
}
