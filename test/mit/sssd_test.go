//go:build e2e && linux

package mit

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

var sssd = tested.Client{Name: "SSSD", Package: "sssd-ipa"}

// dyndns waits until SSSD has registered its machine or has failed to, which is an error, and returns what it said.
func dyndns(ctx context.Context, p *process.Process) (said string, err error) {
	const task = "Task [Dyndns update]: "
	err = p.Output().Wait(ctx, 0, func(text string) bool {
		said = text
		return strings.Contains(text, task+"finished") || strings.Contains(text, task+"failed")
	})
	if err != nil {
		return said, err
	}
	if strings.Contains(said, "nsupdate child execution failed") || strings.Contains(said, task+"failed") {
		_, updates, _ := strings.Cut(said, "Performing update")
		err = fmt.Errorf("SSSD did not register the machine:\n%s", updates)
	}
	return said, err
}

const sssdConf = "/etc/sssd/sssd.conf"

// runSSSD runs SSSD on a machine until it has registered the machine or has failed to.
func runSSSD(t *testing.T, n *node.Node) (said string, err error) {
	t.Helper()
	ctx := testContext(t)
	if err := n.Remove("/run/sssd.pid"); err != nil {
		t.Fatal(err)
	}
	p, err := n.Start(n.Command(ctx, "sssd", "-i", "--logger=stderr", "-d", "9"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(10 * time.Second)
	return dyndns(ctx, p)
}

// TestFreeIPA does what docs/freeipa.md says: SSSD's provider for FreeIPA finds a directory, by the SRV records that the
// administrator entered, and registers its machine. With the same settings it then has another address, and another
// machine the name of the first.
func TestFreeIPA(t *testing.T) {
	s := newSite(t, "ipa1")
	if err := s.startDirectory(testContext(t)); err != nil {
		t.Fatal(err)
	}
	client, other := s.add(t, "client1", 101), s.add(t, "client2", 102)
	for _, n := range []*node.Node{client, other} { // Debian's unit of SSSD makes it
		if _, err := n.Output(n.Command(testContext(t), "mkdir", "-p", "/run/sssd")); err != nil {
			t.Fatal(err)
		}
	}
	tested.Path(t, sssd, "id_provider = ipa: A, AAAA and both PTR by krb5-self, as docs/freeipa.md says")
	lab := s.follow(t, "freeipa.md", client)
	s.expectRegistered(t, client)
	if err := lab.End(client.Name); err != nil {
		t.Fatal(err)
	}
	t.Run("-", func(t *testing.T) {
		t.Run("address change", func(t *testing.T) {
			t.Parallel()
			tested.Path(t, sssd, "id_provider = ipa: address change")
			ctx := testContext(t)
			moved := addresses(111)[0]
			if err := client.RemoveAddress(ctx, client.Addresses[0]); err != nil {
				t.Fatal(err)
			}
			if err := client.AddAddress(ctx, moved); err != nil {
				t.Fatal(err)
			}
			client.Addresses = []netip.Prefix{moved, client.Addresses[1]}
			if _, err := runSSSD(t, client); err != nil {
				t.Fatal(err)
			}
			s.expectRegistered(t, client)
		})
		t.Run("another's name", func(t *testing.T) {
			t.Parallel()
			tested.Path(t, sssd, "id_provider = ipa: refused another host's name")
			conf, err := client.ReadFile(sssdConf)
			if err != nil {
				t.Fatal(err)
			}
			if err := other.WriteFile(sssdConf, conf, 0o600); err != nil {
				t.Fatal(err)
			}
			s.enrol(t, other)
			said, err := runSSSD(t, other)
			if err == nil || !strings.Contains(said, "UPDATE, status: REFUSED") {
				t.Errorf("SSSD does not say why: %v", err)
			}
			for _, address := range other.Addresses {
				name, err := dns.ReverseAddr(address.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				s.expect(t, name, dns.TypePTR)
			}
			s.expect(t, client.Host(), dns.TypeAAAA, addresses(101)[1].Addr().String())
		})
	})
}

// enrol gives a machine its principal and the principal's keytab.
func (s *site) enrol(t *testing.T, n *node.Node) {
	t.Helper()
	name, keytab := "host/"+n.Host(), fmt.Sprintf("/run/%s.keytab", n.Name)
	for _, args := range [][]string{{"addprinc", "-randkey", name}, {"ktadd", "-k", keytab, name}} {
		if _, err := s.kdc.Output(s.kdc.Command(testContext(t), "kadmin.local", args...)); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := s.kdc.ReadFile(keytab)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.WriteFile("/etc/krb5.keytab", keys, 0o600); err != nil {
		t.Fatal(err)
	}
}
