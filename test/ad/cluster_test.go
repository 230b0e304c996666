//go:build e2e && linux

package ad

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// clusterOctet is the address in front of several servers.
const clusterOctet = nsOctet + 3

// TestClusterInADomain has the clients of a domain go to one address, behind which each connection and each datagram meets
// another server: Samba's have TKEY queries and signed updates on connections of their own.
func TestClusterInADomain(t *testing.T) {
	ctx, d := testContext(t), shared.domain
	binary, err := etcd.Build(ctx)
	if err != nil {
		t.Fatal(err)
	}
	on, err := d.add(ctx, "ns4", clusterOctet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(on.Close)
	const clients, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	etcdMember, err := on.Start(exec.Command(binary, "--data-dir", t.TempDir(), "--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers, "--log-level", "warn"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcdMember.Kill)
	address := netip.AddrPortFrom(on.Addresses[0].Addr(), nsAddress.Port())
	seed := strings.ReplaceAll(recordedSeed, fmt.Sprintf("10.77.0.%d", recordedOctet), address.Addr().String())
	var servers []*server.Server
	for i := range 3 {
		corefile := fmt.Sprintf("%s %s {\n    bind %s\n    gsstsig {\n        keytab %s\n        file db %[1]s\n        etcd %[5]s\n        etcd_server ns4-%[6]d\n        %[7]s\n    }\n    errors\n}\n",
			zone, reverse4, address.Addr(), d.keytab, clients, i, rules)
		s, err := server.Start(ctx, server.Config{Binary: shared.binary, Corefile: corefile, Files: map[string]string{"db": seed}, Probe: zone,
			Place: &server.Place{Address: netip.AddrPortFrom(address.Addr(), uint16(5301+i)), Start: on.Start, Dial: on.Dial}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		servers = append(servers, s)
	}

	var mu sync.Mutex
	made, parted := make(map[string]netip.AddrPort), 0 // server that made the context of a key; signed messages that met another
	front, err := relay.Start(relay.Config{
		Address: address, Dial: on.Dial, Listen: on.Listen, ListenPacket: on.ListenPacket,
		Pick: func() netip.AddrPort { return servers[rand.IntN(len(servers))].Address },
		Observe: func(e relay.Exchange) {
			mu.Lock()
			defer mu.Unlock()
			m := new(dns.Msg)
			if m.Unpack(e.Request) != nil || len(m.Question) != 1 {
				return
			}
			if m.Question[0].Qtype == dns.TypeTKEY {
				made[strings.ToLower(m.Question[0].Name)] = e.Server
			} else if sig := m.IsTsig(); sig != nil && made[strings.ToLower(sig.Hdr.Name)] != e.Server {
				parted++
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(front.Close)
	is := func(t *testing.T, name string, want ...string) {
		t.Helper()
		for _, s := range servers {
			for got, err := recordsOf(on, s.Address, name, dns.TypeA); !slices.Equal(got, want); got, err = recordsOf(on, s.Address, name, dns.TypeA) {
				if err != nil || ctx.Err() != nil {
					t.Fatalf("%s: %v, %v", name, got, err)
				}
			}
		}
	}

	member, who := client1.joined(t), client1.logIn(t)
	ask(t, member, address.Addr())
	for _, client := range []struct {
		tested.Client
		path string
		run  func(t *testing.T, i int)
	}{
		{netADS, "dns register and unregister", func(t *testing.T, _ int) {
			for _, verb := range []string{"register", "unregister"} {
				args := []string{"ads", "dns", verb, "-P"}
				want := []string{"10.77.0.101"}
				if verb == "unregister" {
					args, want = append(args, member.Host()), nil
				}
				if _, err := member.Output(member.Command(ctx, "net", args...)); err != nil {
					t.Error(err)
				}
				is(t, member.Host(), want...)
			}
		}},
		{nsupdate, "-g", func(t *testing.T, i int) {
			who.update(t, "NOERROR", "update delete client1.corp.test A", fmt.Sprintf("update add client1.corp.test 1200 A 10.77.0.%d", 150+i))
			is(t, member.Host(), fmt.Sprintf("10.77.0.%d", 150+i))
		}},
	} {
		t.Run(client.Name, func(t *testing.T) {
			tested.Path(t, client.Client, client.path+", through an address in front of three servers")
			apart := func() int {
				mu.Lock()
				defer mu.Unlock()
				return parted
			}
			before := apart()
			for i := 0; i < 3 || apart() == before; i++ {
				if client.run(t, i); t.Failed() || i == 20 {
					t.Fatalf("%d signed messages met another server than the one that made their context", apart()-before)
				}
			}
		})
	}
}
