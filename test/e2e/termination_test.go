//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// TestTerminationAmongReloads: a server that is told to reload again and to end while it reloads ends, and its clients go on with
// their contexts at the next start.
func TestTerminationAmongReloads(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := startCoreDNS(t, server.Config{Corefile: secureBlock("database " + filepath.Join(t.TempDir(), "zones")), Probe: forwardZone})
	client := negotiated(t, logIn(t, host1), gssclient.Config{Server: s.Address}, "tcp")
	for _, name := range []string{"one", "two", "three"} {
		reply, err := client.Exchange("udp", add(t, forwardZone, name+".example.test. 300 A 192.0.2.1"), gssclient.Misbehaviour{})
		if err != nil || reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
			t.Fatalf("%s: %+v, %v", name, reply, err)
		}
		from := s.Log().Len()
		if err := s.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		// In the moment before this line a second SIGUSR1 and a SIGTERM behind it are still lost.
		if err := s.Log().Wait(ctx, from, func(said string) bool { return strings.Contains(said, "kept across the reload") }); err != nil {
			t.Fatal(err)
		}
		if err := s.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(ctx, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
}
