//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// companions are the plugins that may stand in the same server block, with what each needs.
var companions = []string{
	"cache {\n        success 1000 3600\n        denial 1000 3600\n        prefetch 1\n        serve_stale\n    }",
	"minimal",
	"loadbalance",
	"any",
	"acl {\n        block net 203.0.113.0/24\n    }",
	"rewrite name exact old.example.test new.example.test answer auto",
	"template IN A example.test {\n        match \"^gen-[0-9]+[.]\"\n        answer \"{{ .Name }} 60 IN A 192.0.2.250\"\n        fallthrough\n    }",
}

// TestNeverStale asks before, during and after acknowledged updates, with the cache plugin and all others in the block:
// what is answered after the acknowledgement is the new state, also that a name is not there.
func TestNeverStale(t *testing.T) {
	t.Parallel()
	ours := startBlock(t, forwardZone, []string{fmt.Sprintf("grant %s krb5-subdomain . ANY", realmName)}, companions, nil)
	ctx := testContext(t)
	credentials := keytabCredentials(t, host1)
	const workers, rounds = 4, 60
	var wait sync.WaitGroup
	for worker := range workers {
		wait.Go(func() {
			c, err := client.Dial(ctx, client.Config{Server: ours.Address.String(), Credentials: credentials, ServicePrincipal: service})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			key, err := c.Negotiate(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			udp := &dns.Client{Timeout: 10 * time.Second}
			name := fmt.Sprintf("stale%d.example.test.", worker)
			ask := func(want string) bool {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
					for range 2 {
						m := new(dns.Msg).SetQuestion(name, qtype)
						if qtype == dns.TypeAAAA {
							m.SetEdns0(1232, true) // the cache keeps these apart
						}
						reply, _, err := udp.ExchangeContext(ctx, m, ours.Address.String())
						if err != nil {
							t.Error(err)
							return false
						}
						got := ""
						if len(reply.Answer) == 1 && qtype == dns.TypeA {
							got = reply.Answer[0].(*dns.A).A.String()
						}
						rcode := dns.RcodeSuccess
						if want == "" {
							rcode = dns.RcodeNameError
						}
						if reply.Rcode != rcode || qtype == dns.TypeA && got != want || !reply.Authoritative {
							t.Errorf("%s %s: %q, want %q: %v", name, dns.TypeToString[qtype], got, want, reply)
							return false
						}
					}
				}
				return true
			}
			for round := range rounds {
				if !ask("") {
					return
				}
				for i, address := range []string{fmt.Sprintf("192.0.2.%d", round+1), fmt.Sprintf("198.51.100.%d", round+1), ""} {
					m := new(dns.Msg).SetUpdate(forwardZone + ".")
					m.RemoveName([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: name}}})
					if address != "" {
						record, err := dns.NewRR(name + " 3600 IN A " + address)
						if err != nil {
							t.Error(err)
							return
						}
						m.Insert([]dns.RR{record})
					}
					if _, err := key.Update(ctx, m); err != nil {
						t.Errorf("round %d, change %d: %v", round, i, err)
						return
					}
					if !ask(address) {
						return
					}
				}
			}
		})
	}
	wait.Wait()
}

// TestCompanions has each plugin that may stand in the same block do what it is for, and signed updates go on beside it.
func TestCompanions(t *testing.T) {
	t.Parallel()
	text := seed("ns1.example.test") + "ns1 IN A 127.0.0.1\nnew IN A 192.0.2.1\nrobin IN A 192.0.2.2\nrobin IN A 192.0.2.3\nmx IN MX 1 robin\n"
	ours := startBlock(t, forwardZone, []string{"file db " + forwardZone, fmt.Sprintf("grant %s krb5-subdomain . ANY", realmName)},
		companions, map[string]string{"db": text})
	ctx := testContext(t)
	ask := func(name string, qtype uint16) *dns.Msg {
		return exchange(t, ours.Address, "tcp", new(dns.Msg).SetQuestion(name, qtype))
	}
	if reply := ask("old.example.test.", dns.TypeA); len(reply.Answer) != 1 || reply.Answer[0].Header().Name != "old.example.test." {
		t.Errorf("rewrite: %v", reply)
	}
	if reply := ask("gen-7.example.test.", dns.TypeA); len(reply.Answer) != 1 || !strings.HasSuffix(reply.Answer[0].String(), "192.0.2.250") {
		t.Errorf("template: %v", reply)
	}
	if reply := ask("robin.example.test.", dns.TypeANY); len(reply.Answer) != 1 || reply.Answer[0].Header().Rrtype != dns.TypeHINFO {
		t.Errorf("any: %v", reply)
	}
	if reply := ask("mx.example.test.", dns.TypeMX); len(reply.Answer) != 1 || len(reply.Extra) != 0 {
		t.Errorf("minimal: %v", reply)
	}
	first := make(map[string]bool)
	for i := 0; i < 100 && len(first) < 2; i++ { // it is chosen at random
		if reply := ask("robin.example.test.", dns.TypeA); len(reply.Answer) == 2 {
			first[reply.Answer[0].String()] = true
		}
	}
	if len(first) != 2 {
		t.Errorf("loadbalance: always first: %v", first)
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, algorithm := range []string{client.AlgorithmGSSTSIG, client.AlgorithmMicrosoft} {
			c := dialClient(t, client.Config{Server: ours.Address.String(), Credentials: keytabCredentials(t, host1), Network: network, Algorithm: algorithm})
			key, err := c.Negotiate(ctx)
			if err != nil {
				t.Fatalf("%s %s: %v", network, algorithm, err)
			}
			for range 3 {
				if _, err := key.Update(ctx, addition(forwardZone+".")); err != nil {
					t.Errorf("%s %s: %v", network, algorithm, err)
				}
			}
			// What the other plugins answer to a signed query is signed as well; Exchange verifies it.
			for _, name := range []string{"old.example.test.", "gen-7.example.test.", "robin.example.test.", "absent.example.test."} {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeANY} {
					for _, edns := range []bool{false, true} {
						m := new(dns.Msg).SetQuestion(name, qtype)
						if edns {
							m.SetEdns0(1232, true)
						}
						if _, err := key.Exchange(ctx, m); err != nil {
							t.Errorf("%s %s, %s %s: %v", network, algorithm, name, dns.TypeToString[qtype], err)
						}
					}
				}
			}
			// The names that other plugins work on may be updated too.
			m := new(dns.Msg).SetUpdate(forwardZone + ".")
			m.Insert([]dns.RR{rr(t, "old.example.test. 60 IN TXT \"its own\""), rr(t, "gen-7.example.test. 60 IN TXT \"its own\"")})
			if _, err := key.Update(ctx, m); err != nil {
				t.Errorf("%s %s: %v", network, algorithm, err)
			}
			if err := key.Delete(ctx); err != nil {
				t.Errorf("%s %s: %v", network, algorithm, err)
			}
		}
	}
}

// TestBlockedByACL has the acl plugin refuse this machine: also updates, and with a signature to those who sign.
func TestBlockedByACL(t *testing.T) {
	t.Parallel()
	corefile := blockOf(forwardZone, []string{fmt.Sprintf("grant %s krb5-subdomain . ANY", realmName)},
		[]string{"acl {\n        block\n    }"})
	ours := startCoreDNS(t, server.Config{Corefile: corefile})
	ctx := testContext(t)
	key, err := dialClient(t, client.Config{Server: ours.Address.String(), Credentials: keytabCredentials(t, host1)}).Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*dns.Msg{addition(forwardZone + "."), new(dns.Msg).SetQuestion(forwardZone+".", dns.TypeSOA)} {
		reply, err := key.Exchange(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if reply.Rcode != dns.RcodeRefused {
			t.Errorf("%s", dns.RcodeToString[reply.Rcode])
		}
	}
	if reply := exchange(t, ours.Address, "udp", addition(forwardZone+".")); reply.Rcode != dns.RcodeRefused {
		t.Errorf("unsigned: %s", dns.RcodeToString[reply.Rcode])
	}
	if strings.Contains(ours.Log().String(), "update zone=") {
		t.Error("an update came past the acl plugin")
	}
}
