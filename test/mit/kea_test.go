//go:build e2e && linux

package mit

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

var (
	kea   = tested.Client{Name: "Kea D2", Package: "kea-dhcp-ddns-server"}
	dhcpd = tested.Client{Name: "ISC dhcpd", Package: "isc-dhcp-server"}
)

// begins and ends have D2 do what a DHCP server asks of it when the lease of a client begins or ends.
func begins(t *testing.T, on *node.Node, name string, address netip.Prefix, identity string) {
	t.Helper()
	request(t, on, 0, name, address, identity)
}

func ends(t *testing.T, on *node.Node, name string, address netip.Prefix, identity string) {
	t.Helper()
	request(t, on, 1, name, address, identity)
}

func request(t *testing.T, on *node.Node, change int, name string, address netip.Prefix, identity string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"change-type": change, "forward-change": true, "reverse-change": true, "fqdn": dns.Fqdn(name), "ip-address": address.Addr().String(),
		"dhcid": identity, "lease-expires-on": time.Now().UTC().Add(time.Hour).Format("20060102150405"), "lease-length": 600,
		"use-conflict-resolution": true,
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := on.Dial("udp", "127.0.0.1:53001")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...)); err != nil {
		t.Fatal(err)
	}
}

// becomes waits until the answer to a query is as wanted.
func (s *site) becomes(t *testing.T, name string, qtype uint16, want ...string) {
	t.Helper()
	ctx := testContext(t)
	for {
		got, err := s.records(name, qtype)
		if err == nil && slices.Equal(got, want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s %s is %q, want %q: %v", name, dns.TypeToString[qtype], got, want, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestKea does what docs/kea.md says, with D2 and a static key: leases begin and end, a name that is taken stays as it is,
// and a machine becomes the owner of what D2 has made for it.
func TestKea(t *testing.T) {
	t.Parallel()
	tested.Path(t, kea, "with a shared key, as docs/kea.md says: leases that begin and end, another client's lease for a taken name, a machine that registers itself")
	s := newSite(t, "kdc1")
	server, dhcp1, client := s.add(t, "kea1", dhcpOctet), s.add(t, "dhcp1", 68), s.add(t, "client1", 101)
	if _, err := shell(t, server, "mkdir -p /run/kea /run/lock/kea /etc/kea"); err != nil { // Debian's unit makes them
		t.Fatal(err)
	}
	if _, err := shell(t, dhcp1, "mkdir -p /var/lib/dhcp; touch /var/lib/dhcp/dhcpd.leases"); err != nil {
		t.Fatal(err)
	}
	lab := s.follow(t, "kea.md", server, dhcp1)
	defer func() {
		if t.Failed() {
			t.Logf("D2:\n%s\ndhcpd:\n%s\nthe name server:\n%s", lab.Output("kea1"), lab.Output("dhcp1"), lab.Output("ns1"))
		}
	}()
	const (
		name   = "client1.example.test"
		first  = "000001CC517CF2902366937FCC87F3668D941816C25AC15928CF65D1E5963E59E86500"
		second = "000001DAC195CF6F41F5C220E3E5AAF73A125A5F207EE7396B7D0F6356A9EF880DE543"
	)
	before, now := addresses(150)[0], addresses(101)[0]
	has := func(address, other netip.Prefix) {
		t.Helper()
		s.becomes(t, reverseName(t, address), dns.TypePTR, dns.Fqdn(name)) // D2 changes the reverse zone last
		s.expect(t, name, dns.TypeA, address.Addr().String())
		s.expect(t, reverseName(t, other), dns.TypePTR)
	}
	begins(t, server, name, before, first)
	has(before, now)
	ends(t, server, name, before, first)
	s.becomes(t, reverseName(t, before), dns.TypePTR)
	s.expect(t, name, dns.TypeA)
	begins(t, server, name, now, first)
	has(now, before)

	// The name stays with the client that has it. D2 does one thing after the other for one client.
	begins(t, server, name, before, second)
	begins(t, server, "client2.example.test", before, second)
	s.becomes(t, reverseName(t, before), dns.TypePTR, "client2.example.test.")
	s.expect(t, name, dns.TypeA, now.Addr().String())

	owned := func(by string) {
		t.Helper()
		said, err := shell(t, s.ns, shared.programs+"/coredns gsstsig show -conf /etc/coredns/Corefile example.test "+name)
		if err != nil || !slices.Contains(strings.Fields(said), by) {
			t.Errorf("%s is not the owner: %v\n%s", by, err, said)
		}
	}
	owned("first-come:") // by proxies

	// The machine registers itself, and D2 removes what is left when its lease ends.
	s.enrol(t, client)
	if err := client.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := shell(t, client, "kinit -k"); err != nil {
		t.Fatal(err)
	}
	outcome := runNsupdate(t, client, dnsutils.Update{Auth: "-g", Commands: []string{
		"update delete " + name + " A", fmt.Sprintf("update add %s 3600 A %s", name, now.Addr()),
	}})
	if outcome.Rcode != "NOERROR" {
		t.Errorf("the machine's own update: %s\n%s", outcome.Rcode, outcome.Output)
	}
	owned("host/client1.example.test@EXAMPLE.TEST")
	ends(t, server, name, now, first)
	s.becomes(t, reverseName(t, now), dns.TypePTR)
	s.expect(t, name, dns.TypeA)

	// A lease of ISC's dhcpd, which does its updates itself.
	tested.Path(t, dhcpd, "updates with a shared key, as docs/kea.md says: a lease that begins and ends")
	third, address := s.add(t, "client3", 103), addresses(160)[0]
	if err := third.RemoveAddress(testContext(t), third.Addresses[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := shell(t, third, "hostname client3"); err != nil { // which dhclient sends
		t.Fatal(err)
	}
	lease(t, third, address)
	s.becomes(t, reverseName(t, address), dns.TypePTR, dns.Fqdn(third.Host()))
	s.expect(t, third.Host(), dns.TypeA, address.Addr().String())
	giveBack(t, third)
	s.becomes(t, reverseName(t, address), dns.TypePTR)
	s.expect(t, third.Host(), dns.TypeA)
}
