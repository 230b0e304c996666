//go:build e2e && linux

package ad

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

var sssd = tested.Client{Name: "SSSD", Package: "sssd-ad"}

// sssdConf is what an administrator writes, except for what makes it quick: no offset before the first update.
const sssdConf = `[sssd]
services = nss
domains = corp.test
[nss]
[domain/corp.test]
id_provider = ad
access_provider = permit
ad_domain = corp.test
krb5_realm = CORP.TEST
ad_enable_gc = False
ad_maximum_machine_account_password_age = 0
dyndns_update = True
dyndns_update_ptr = True
dyndns_iface = eth0
dyndns_refresh_interval = 60
dyndns_refresh_interval_offset = 0
dyndns_ttl = 1200
`

// wantDyndns runs SSSD on a node until it has registered the node's addresses or has failed to, wants it to have
// succeeded or not, and returns what SSSD and its nsupdate said.
func wantDyndns(t *testing.T, n *node.Node, success bool, options ...string) (said string) {
	t.Helper()
	ctx := testContext(t)
	conf := sssdConf + strings.Join(append(options, ""), "\n")
	if !strings.Contains(conf, "ad_hostname") {
		conf += "ad_hostname = " + n.Host() + "\n"
	}
	if err := n.Remove("/run/sssd.pid", "/var/log/sssd/*"); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteFile("/etc/sssd/sssd.conf", conf, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Output(n.Command(ctx, "mkdir", "-p", "/run/sssd")); err != nil {
		t.Fatal(err)
	}
	p, err := n.Start(n.Command(ctx, "sssd", "-i", "--logger=stderr", "-d", "9"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(10 * time.Second)
	if said, err = dyndns(ctx, p); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(said, dyndnsFailed) == success {
		t.Errorf("SSSD's success is not %v:\n%s", success, dyndnsOf(said))
	}
	return said
}

// dyndnsFailed is what SSSD says of an nsupdate that failed. Its task calls itself successful even if only the reverse
// zone was to its liking.
const dyndnsFailed = "nsupdate child execution failed"

// dyndns waits until SSSD has registered its machine or has failed to, and returns what it said.
func dyndns(ctx context.Context, p *process.Process) (said string, err error) {
	const task = "Task [Dyndns update]: "
	err = p.Output().Wait(ctx, 0, func(text string) bool {
		said = text
		return strings.Contains(text, task+"finished") || strings.Contains(text, task+"failed")
	})
	return said, err
}

// dyndnsOf is what of SSSD's log is about its updates.
func dyndnsOf(said string) string {
	_, updates, _ := strings.Cut(said, "Performing update")
	return updates
}

// reverse is the name of an address below in-addr.arpa or ip6.arpa.
func reverse(t *testing.T, address netip.Prefix) string {
	t.Helper()
	name, err := dns.ReverseAddr(address.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// expectRegistered wants a node's addresses under the name, and the name under the addresses.
func expectRegistered(t *testing.T, name string, addresses ...netip.Prefix) {
	t.Helper()
	of := map[uint16][]string{dns.TypeA: nil, dns.TypeAAAA: nil}
	for _, address := range addresses {
		qtype := dns.TypeA
		if address.Addr().Is6() {
			qtype = dns.TypeAAAA
		}
		of[qtype] = append(of[qtype], address.Addr().String())
		expect(t, reverse(t, address), dns.TypePTR, dns.Fqdn(name))
	}
	for qtype, want := range of {
		expect(t, name, qtype, want...)
	}
}

// inParallel runs parts of a test at the same time: SSSD waits ten seconds before its first update.
func inParallel(t *testing.T, parts map[string]func(*testing.T)) {
	t.Helper()
	t.Run("-", func(t *testing.T) {
		for name, part := range parts {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				part(t)
			})
		}
	})
}

func TestSSSD(t *testing.T) {
	d := shared.domain
	first, second, long := client1.joined(t), client2.joined(t), longName.joined(t)
	moved := addresses(112)[0]
	inParallel(t, map[string]func(*testing.T){
		"secure": func(t *testing.T) {
			tested.Path(t, sssd, "A, AAAA and both PTR in secure mode")
			wantDyndns(t, second, true)
			expectRegistered(t, second.Host(), second.Addresses...)
		},
		"long name": func(t *testing.T) {
			tested.Path(t, sssd, "a host name longer than the account's")
			wantDyndns(t, long, true)
			expectRegistered(t, long.Host(), long.Addresses...)
		},
	})
	inParallel(t, map[string]func(*testing.T){
		"address change": func(t *testing.T) {
			tested.Path(t, sssd, "address change")
			ctx := testContext(t)
			if err := second.RemoveAddress(ctx, second.Addresses[0]); err != nil {
				t.Fatal(err)
			}
			if err := second.AddAddress(ctx, moved); err != nil {
				t.Fatal(err)
			}
			wantDyndns(t, second, true)
			expectRegistered(t, second.Host(), moved, second.Addresses[1])
			// SSSD leaves the old one behind.
			expect(t, reverse(t, second.Addresses[0]), dns.TypePTR, dns.Fqdn(second.Host()))
		},
		"another's name": func(t *testing.T) {
			tested.Path(t, sssd, "refused another host's name")
			said := wantDyndns(t, first, false, "ad_hostname = "+long.Host(), "dyndns_update_ptr = False")
			if !strings.Contains(said, "UPDATE, status: REFUSED") {
				t.Errorf("SSSD does not say why:\n%s", dyndnsOf(said))
			}
			expect(t, long.Host(), dns.TypeA, long.Addresses[0].Addr().String())
		},
		"wrong primary": func(t *testing.T) {
			tested.Path(t, sssd, "the error of a primary server without principal, of which the start had warned")
			wrongPrimary(t, long)
		},
	})
	// Other tests find the node as it was.
	own := slices.Clone(long.Addresses)
	t.Cleanup(func() {
		if moved := long.Addresses[0]; moved != own[0] {
			if err := errors.Join(long.RemoveAddress(shared.ctx, moved), long.AddAddress(shared.ctx, own[0])); err != nil {
				t.Error(err)
			}
			long.Addresses = own
		}
	})
	inParallel(t, map[string]func(*testing.T){
		"unsigned": func(t *testing.T) {
			tested.Path(t, sssd, "dyndns_auth = none refused in secure mode")
			said := wantDyndns(t, first, false, "ad_hostname = guest.corp.test", "dyndns_auth = none")
			if !strings.Contains(said, "UPDATE, status: REFUSED") {
				t.Errorf("SSSD does not say why:\n%s", dyndnsOf(said))
			}
			expect(t, "guest.corp.test", dns.TypeA)
		},
		"lease moves": func(t *testing.T) {
			tested.Path(t, sssd, "an address that another machine had, with its PTR record")
			ctx := testContext(t)
			had := second.Addresses[0] // until it moved
			expect(t, reverse(t, had), dns.TypePTR, dns.Fqdn(second.Host()))
			if err := errors.Join(long.RemoveAddress(ctx, long.Addresses[0]), long.AddAddress(ctx, had)); err != nil {
				t.Fatal(err)
			}
			long.Addresses = []netip.Prefix{had, long.Addresses[1]}
			// The first try is by IPv6, which proves nothing about the IPv4 address. The second one is to dyndns_server.
			said := wantDyndns(t, long, false, "dyndns_force_tcp = true", "dyndns_server = "+nsAddress.Addr().String())
			if !strings.Contains(said, "UPDATE, status: REFUSED") {
				t.Errorf("SSSD took the record over at its first try:\n%s", dyndnsOf(said))
			}
			expectRegistered(t, long.Host(), long.Addresses...)
			const line = "took over 102.0.77.10.in-addr.arpa., the name of its address, from CLIENT2$@CORP.TEST"
			if !strings.Contains(shared.domain.dns.Log().String(), line) {
				t.Errorf("the log does not say %q", line)
			}
		},
	})
	reconfigure(t, d.corefile("nonsecure-and-secure", rules))
	inParallel(t, map[string]func(*testing.T){
		"unsigned, allowed": func(t *testing.T) {
			tested.Path(t, sssd, "dyndns_auth = none accepted in nonsecure-and-secure mode")
			wantDyndns(t, first, true, "ad_hostname = guest.corp.test", "dyndns_auth = none", "dyndns_update_ptr = False")
			expect(t, "guest.corp.test", dns.TypeA, first.Addresses[0].Addr().String())
			expect(t, "guest.corp.test", dns.TypeAAAA, first.Addresses[1].Addr().String())
		},
		"unsigned, owned": func(t *testing.T) {
			tested.Path(t, sssd, "dyndns_auth = none refused for an owned name")
			wantDyndns(t, second, false, "ad_hostname = "+long.Host(), "dyndns_auth = none", "dyndns_update_ptr = False")
			expect(t, long.Host(), dns.TypeA, long.Addresses[0].Addr().String())
		},
	})
}

// wrongPrimary has a node ask a server whose zone names a primary server that the domain has no principal for. Clients
// fail before they send the server anything, so that the warning at its start has to say it.
func wrongPrimary(t *testing.T, n *node.Node) {
	const primary = "nobody.corp.test"
	ctx := testContext(t)
	d := shared.domain
	ns2, err := d.add(ctx, "ns2", nsOctet+1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns2.Close)
	dump, err := exec.CommandContext(ctx, shared.binary, "gsstsig", "dump", "-database", d.data, zone).Output()
	if err != nil {
		t.Fatal(err)
	}
	address := netip.AddrPortFrom(ns2.Addresses[0].Addr(), 53)
	text := strings.Replace(string(dump), "ns1.corp.test. hostmaster", primary+". hostmaster", 1)
	text += fmt.Sprintf("\n%s. 300 IN A %s\n", primary, address.Addr())
	s, err := server.Start(shared.ctx, server.Config{
		Binary:   shared.binary,
		Corefile: fmt.Sprintf("%s {\n    gsstsig {\n        keytab %s\n        file seed\n        %s\n    }\n    errors\n}\n", zone, d.keytab, rules),
		Files:    map[string]string{"seed": text},
		Probe:    zone,
		Place:    &server.Place{Address: address, Start: ns2.Start, Dial: ns2.Dial},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	const clientsError = "Server not found in Kerberos database"
	warned := false
	for line := range strings.Lines(s.Log().String()) {
		warned = warned || strings.Contains(line, "ERROR") && strings.Contains(line, clientsError) && strings.Contains(line, primary)
	}
	if !warned {
		t.Errorf("no warning names the error that clients show:\n%s", s.Log())
	}
	const resolvConf = "/etc/resolv.conf"
	before, err := n.ReadFile(resolvConf)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.WriteFile(resolvConf, fmt.Sprintf("nameserver %s\n", address.Addr()), 0o644); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.WriteFile(resolvConf, before, 0o644); err != nil {
			t.Error(err)
		}
	}()
	if said := wantDyndns(t, n, false); !strings.Contains(said, clientsError) {
		t.Errorf("SSSD shows another error:\n%s", dyndnsOf(said))
	}
}
