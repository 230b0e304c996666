//go:build e2e && linux

package ad

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/recipe"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// examples puts the domain's names and addresses in the place of those in the recipe. Its name servers and clients are
// machines that no other test uses.
var examples = strings.NewReplacer(
	"corp.example.com", zone, "CORP.EXAMPLE.COM", realm, "DC=corp,DC=example,DC=com", base, "2.0.192.in-addr.arpa", reverse4,
	"0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", reverse6, "192.0.2.101", "10.77.0.131", "192.0.2.53", "10.77.0.63", "192.0.2.", "10.77.0.",
	"ns1", "ns11", "ns2", "ns12", "client1", "client11", "client2", "client12",
)

// TestRecipe does what docs/active-directory.md says, with a name server of its own beside the other tests'.
func TestRecipe(t *testing.T) {
	tested.Path(t, sambaDNSUpdate, "as docs/active-directory.md says")
	tested.Path(t, adcli, "join, as docs/active-directory.md says")
	tested.Path(t, sssd, "as docs/active-directory.md says")
	tested.Path(t, netADS, "join and dns register, as docs/active-directory.md says")
	ctx := testContext(t)
	d := shared.domain
	blocks, err := recipe.Read("../../docs/active-directory.md", examples)
	if err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	if err := os.Symlink(shared.binary, filepath.Join(programs, "coredns")); err != nil {
		t.Fatal(err)
	}
	putBack(t, d.dc, "/etc/krb5.conf", "/etc/resolv.conf", "/var/lib/samba/private/krb5.conf")
	const nameServerOctet = 63
	nameServer := netip.AddrPortFrom(addresses(nameServerOctet)[0].Addr(), 53)
	lab := &recipe.Lab{
		Machines: map[string]*node.Node{"dc1": d.dc}, Programs: programs, Input: administratorPassword + "\n", Up: up,
	}
	for name, octet := range map[string]int{"ns1": nameServerOctet, "ns2": 64, "client1": 131, "client2": 132} {
		n, err := d.add(ctx, examples.Replace(name), octet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		if err := n.WriteFile("/etc/resolv.conf", fmt.Sprintf("nameserver %s\n", nameServer.Addr()), 0o644); err != nil {
			t.Fatal(err)
		}
		lab.Machines[name] = n
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	// Debian's unit of SSSD makes it.
	client := lab.Machines["client1"]
	if _, err := client.Output(client.Command(ctx, "mkdir", "-p", "/run/sssd")); err != nil {
		t.Fatal(err)
	}
	if err := lab.Follow(ctx, blocks); err != nil {
		t.Fatal(err)
	}

	ask := func(name string, qtype uint16, want ...string) {
		t.Helper()
		got, err := recordsOf(lab.Machines["ns1"], nameServer, name, qtype)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s %s is %q, %v; want %q", name, dns.TypeToString[qtype], got, err, want)
		}
	}
	ask(controllers, dns.TypeNS, "dc1.corp.test.", "ns11.corp.test.")
	ask("_ldap._tcp.dc."+controllers, dns.TypeSRV, "0 100 389 dc1.corp.test.")
	for _, name := range []string{"client1", "client2"} {
		n := lab.Machines[name]
		ask(n.Host(), dns.TypeA, n.Addresses[0].Addr().String())
		ask(n.Host(), dns.TypeAAAA, n.Addresses[1].Addr().String())
	}
	for _, address := range client.Addresses {
		ask(reverse(t, address), dns.TypePTR, dns.Fqdn(client.Host()))
	}
}

// putBack restores a machine's files after the test.
func putBack(t *testing.T, n *node.Node, paths ...string) {
	t.Helper()
	for _, path := range paths {
		text, err := n.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.WriteFile(path, text, 0o644); err != nil {
				t.Error(err)
			}
		})
	}
}

// up waits until coredns answers, or SSSD has registered its machine.
func up(ctx context.Context, on *node.Node, program string, p *process.Process) error {
	switch program {
	case "coredns":
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return poll(ctx, func() error {
			conn, err := on.Dial("tcp", netip.AddrPortFrom(on.Addresses[0].Addr(), 53).String())
			if err != nil {
				return fmt.Errorf("%w\n%s", err, p.Output())
			}
			return conn.Close()
		})
	case "sssd":
		said, err := dyndns(ctx, p)
		if err == nil && strings.Contains(said, dyndnsFailed) {
			err = errors.New("SSSD did not register the machine:\n" + dyndnsOf(said))
		}
		return err
	}
	return fmt.Errorf("no check for the program %s", program)
}
