//go:build e2e

package e2e

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// refusal begins what the server says to an upgrade.
const refusal = "SIGUSR2: a running server cannot be replaced while it serves"

// TestUpgradeRefused sends SIGUSR2, on which caddy would start a second process that is to replace the first. The server says
// that it does not, and goes on: no listener is left that nobody serves, all queries are answered, of CoreDNS's own servers
// too, and the server reloads and ends as before.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	block := secureBlock("database " + filepath.Join(t.TempDir(), "zones"))
	stock := "example.org:{$STOCK} {\n    bind 127.0.0.1\n    hosts {\n        192.0.2.9 www.example.org\n    }\n}\n"
	s := startCoreDNS(t, server.Config{Corefile: block + stock, Probe: forwardZone, Ports: []string{"STOCK"}})
	client := negotiated(t, logIn(t, host1), gssclient.Config{Server: s.Address}, "tcp")
	update := func(name string) {
		t.Helper()
		reply, err := client.Exchange("udp", add(t, forwardZone, name+".example.test. 300 A 192.0.2.1"), gssclient.Misbehaviour{})
		if err != nil {
			t.Fatal(err)
		}
		if reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
			t.Fatalf("%s, signature %s", dns.RcodeToString[reply.Message.Rcode], reply.MIC)
		}
		expect(t, s.Address, name+".example.test", dns.TypeA, "192.0.2.1")
	}
	answered := func() {
		t.Helper()
		for _, network := range []string{"udp", "tcp"} {
			for range 100 {
				for address, name := range map[netip.AddrPort]string{s.Address: "client1.example.test.", s.Port("STOCK"): "www.example.org."} {
					reply := exchange(t, address, network, new(dns.Msg).SetQuestion(name, dns.TypeA))
					if len(reply.Answer) != 1 {
						t.Fatalf("%s over %s: %s", name, network, reply)
					}
				}
			}
		}
	}
	update("client1")
	for n := range 2 {
		from := s.Log().Len()
		if err := s.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		if err := s.Log().WaitFor(ctx, from, "[ERROR] plugin/gsstsig: "+refusal); err != nil {
			t.Fatal(err)
		}
		answered()
		update(fmt.Sprintf("after%d", n))
	}
	if err := s.Reload(ctx, "# changed\n"+block+stock); err != nil {
		t.Fatal(err)
	}
	answered()
	update("reloaded")
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		t.Fatalf("the server does not end:\n%s", s.Log())
	}
}

// TestUpgradeProcess starts the server as caddy starts the process that is to replace another: it ends and says why.
func TestUpgradeProcess(t *testing.T) {
	t.Parallel()
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	var input bytes.Buffer
	err = gob.NewEncoder(&input).Encode(struct {
		ListenerFds map[string]uintptr
		Caddyfile   caddy.Input
	}{Caddyfile: caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(secureBlock()), ServerTypeName: "dns"}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), binary, "-dns.port", "0")
	cmd.Env = append(os.Environ(), "CADDY__UPGRADE=1")
	cmd.Stdin = &input
	said, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the process ended without error")
	}
	if !strings.Contains(string(said), refusal) {
		t.Errorf("it said:\n%s", said)
	}
}
