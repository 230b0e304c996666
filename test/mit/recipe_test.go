//go:build e2e && linux

package mit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/recipe"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

var nsupdate = tested.Client{Name: "nsupdate", Package: "bind9-dnsutils"}

// follow does what a recipe says on the site's machines and the given ones. What it starts ends with the test.
func (s *site) follow(t *testing.T, path string, clients ...*node.Node) *recipe.Lab {
	t.Helper()
	return s.followWith(t, path, shared.programs, clients...)
}

// followWith does the same with the programs of a directory, besides those that the machines have.
func (s *site) followWith(t *testing.T, path, programs string, clients ...*node.Node) *recipe.Lab {
	t.Helper()
	return s.followBlocks(t, programs, read(t, path), clients...)
}

// read reads a recipe.
func read(t *testing.T, path string) []recipe.Block {
	t.Helper()
	blocks, err := recipe.Read("../../docs/"+path, examples)
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

func (s *site) followBlocks(t *testing.T, programs string, blocks []recipe.Block, clients ...*node.Node) *recipe.Lab {
	t.Helper()
	lab := &recipe.Lab{
		Machines: make(map[string]*node.Node), Programs: programs, Input: strings.Repeat(password+"\n", 10), Up: up,
	}
	for _, n := range append(clients, s.kdc, s.ns) {
		lab.Machines[n.Name] = n
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := lab.Follow(testContext(t), blocks); err != nil {
		t.Fatal(err)
	}
	return lab
}

// up waits until coredns answers, or SSSD has registered its machine.
func up(ctx context.Context, on *node.Node, program string, p *process.Process) error {
	switch program {
	case "coredns":
		return listens(ctx, on, p, nsAddress.String())
	case "systemctl":
		if slices.ContainsFunc(on.Addresses, func(a netip.Prefix) bool { return a.Addr() == nsAddress.Addr() }) {
			return listens(ctx, on, p, nsAddress.String())
		}
		kdc := addresses(kdcOctet)[0].Addr().String()
		return errors.Join(listens(ctx, on, p, kdc+":88"), listens(ctx, on, p, kdc+":749"))
	case "sssd":
		_, err := dyndns(ctx, p)
		return err
	case "dhcpd":
		return p.Output().WaitFor(ctx, 0, "Server starting service.")
	case "kea-dhcp-ddns":
		if err := p.Output().WaitFor(ctx, 0, "DHCP_DDNS_STARTED"); err != nil {
			return err
		}
		// It says so before it listens.
		_, err := on.Output(on.Command(ctx, "sh", "-c", "until ss -Hlun sport = 53001 | grep -q .; do sleep 0.02; done"))
		return err
	}
	return fmt.Errorf("no check for the program %s", program)
}

// records asks ns1 from itself, and returns the data of the records in the answer, sorted.
func (s *site) records(name string, qtype uint16) ([]string, error) {
	conn, err := s.ns.Dial("tcp", nsAddress.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return dnsutils.Records(conn, name, qtype)
}

// expect fails the test unless the answer to a query is as wanted.
func (s *site) expect(t *testing.T, name string, qtype uint16, want ...string) {
	t.Helper()
	got, err := s.records(name, qtype)
	if err != nil {
		t.Error(err)
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("%s %s is %q, want %q", name, dns.TypeToString[qtype], got, want)
	}
}

// expectRegistered wants a machine's addresses under its name, and its name under its addresses.
func (s *site) expectRegistered(t *testing.T, n *node.Node) {
	t.Helper()
	for _, address := range n.Addresses {
		qtype := dns.TypeA
		if address.Addr().Is6() {
			qtype = dns.TypeAAAA
		}
		s.expect(t, n.Host(), qtype, address.Addr().String())
		name, err := dns.ReverseAddr(address.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s.expect(t, name, dns.TypePTR, dns.Fqdn(n.Host()))
	}
}

// TestMIT does what docs/mit.md says.
func TestMIT(t *testing.T) {
	tested.Path(t, nsupdate, "-g in the script of docs/mit.md")
	s := newSite(t, "kdc1")
	client := s.add(t, "client1", 101)
	if err := client.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644); err != nil {
		t.Fatal(err)
	}
	s.follow(t, "mit.md", client)
	s.expectRegistered(t, client)
	s.expect(t, "_ldap._tcp.example.test", dns.TypeSRV, "0 0 389 client1.example.test.")

	// A machine with containers, several addresses of its own, of which the last is new, and one whose reverse zone is nowhere.
	said, err := shell(t, client, `ip route add default via 10.78.0.1
ip link add docker0 type bridge
ip address add 172.17.0.1/16 dev docker0
ip link set docker0 up
ip address add 10.77.0.1/24 dev eth0
ip address add 10.78.0.201/24 dev eth0
ip address add fd78::201/64 dev eth0 nodad
ip address add fd78::202/64 dev eth0 nodad valid_lft 3600 preferred_lft 0
ip address add fd78::203/64 dev eth0
! /etc/cron.hourly/register-dns 2>&1`)
	if err != nil || !strings.Contains(said, "no PTR record for 10.77.0.1\n") {
		t.Errorf("%v\n%s", err, said)
	}
	s.expect(t, client.Host(), dns.TypeA, "10.77.0.1", "10.78.0.101", "10.78.0.201")
	s.expect(t, client.Host(), dns.TypeAAAA, "fd78::101", "fd78::201", "fd78::203")
	for _, address := range append(append(client.Addresses, addresses(201)...), addresses(203)[1]) {
		s.expect(t, reverseName(t, address), dns.TypePTR, dns.Fqdn(client.Host()))
	}
}
