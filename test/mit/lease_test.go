//go:build e2e && linux

package mit

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

const (
	dhcpOctet = 67
	stopGrace = 10 * time.Second
)

// leased is the only address that the DHCP server gives to whoever asks.
var leased, reserved = addresses(150)[0], addresses(151)[0]

// startDHCP runs a DHCP server, which has reservations beside that address.
func (s *site) startDHCP(t *testing.T, on *node.Node, reservations string) *process.Process {
	t.Helper()
	conf := fmt.Sprintf(`authoritative;
default-lease-time 3600;
option domain-name-servers %[1]s;
option domain-search "%[2]s";
subnet 10.78.0.0 netmask 255.255.255.0 {
    range %[3]s %[3]s;
}
%[4]s`, nsAddress.Addr(), zone, leased.Addr(), reservations)
	if err := on.WriteFile("/etc/dhcp/dhcpd.conf", conf, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := shell(t, on, "mkdir -p /var/lib/dhcp; touch /var/lib/dhcp/dhcpd.leases; rm -f /run/dhcpd.pid"); err != nil {
		t.Fatal(err)
	}
	p, err := on.Start(on.Command(shared.ctx, "dhcpd", "-4", "-d", "-pf", "/run/dhcpd.pid", "eth0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Output().WaitFor(testContext(t), 0, "Server starting service."); err != nil {
		t.Fatalf("%v\n%s", err, p.Output())
	}
	return p
}

// lease has a machine ask for an address, and run what belongs to a new lease.
func lease(t *testing.T, n *node.Node, want netip.Prefix) {
	t.Helper()
	said, err := shell(t, n, "mkdir -p /var/lib/dhcp; dhclient -1 -v -pf /run/dhclient.pid -lf /var/lib/dhcp/leases eth0")
	if err != nil || !strings.Contains(said, "bound to "+want.Addr().String()) {
		t.Fatalf("no lease of %s: %v\n%s", want, err, said)
	}
}

func giveBack(t *testing.T, n *node.Node) {
	t.Helper()
	if _, err := shell(t, n, "dhclient -r -pf /run/dhclient.pid -lf /var/lib/dhcp/leases eth0"); err != nil {
		t.Fatal(err)
	}
}

// TestLeaseMoves has a DHCP server give one address to two machines, one after the other, which register by the script of
// docs/mit.md. The PTR record goes with the address, and the first machine does not get it back.
func TestLeaseMoves(t *testing.T) {
	t.Parallel()
	tested.Path(t, nsupdate, "-g in the script of docs/mit.md, for leases that move")
	s := newSite(t, "kdc1")
	server := s.add(t, "dhcp1", dhcpOctet)
	first, second := s.add(t, "client1", 101), s.add(t, "client2", 102)
	for _, n := range []*node.Node{first, second} {
		if err := n.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.follow(t, "mit.md", first)
	s.enrol(t, second)
	for _, path := range []string{"/etc/cron.hourly/register-dns", "/etc/dhcp/dhclient-exit-hooks.d/register-dns"} {
		text, err := first.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := second.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []*node.Node{first, second} {
		if err := n.RemoveAddress(testContext(t), n.Addresses[0]); err != nil {
			t.Fatal(err)
		}
	}
	has := func(n *node.Node, address netip.Prefix) {
		t.Helper()
		s.expect(t, n.Host(), dns.TypeA, address.Addr().String())
		s.expect(t, reverseName(t, address), dns.TypePTR, dns.Fqdn(n.Host()))
	}

	dhcpd := s.startDHCP(t, server, "")
	lease(t, first, leased)
	has(first, leased)
	giveBack(t, first)
	lease(t, second, leased)
	has(second, leased)
	// The first gets another address, and registers when NetworkManager would tell it.
	dhcpd.Stop(stopGrace)
	link, err := shell(t, first, "ip -o link show eth0")
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(link, "link/ether ")
	s.startDHCP(t, server, fmt.Sprintf("host client1 { hardware ethernet %s; fixed-address %s; }\n", strings.Fields(address)[0], reserved.Addr()))
	lease(t, first, reserved)
	has(first, reserved)
	if _, err := shell(t, first, "/etc/NetworkManager/dispatcher.d/50-register-dns eth0 dhcp4-change"); err != nil {
		t.Error(err)
	}
	has(first, reserved)

	// It has no right to what it had before, by UDP or TCP.
	name := reverseName(t, leased)
	for _, options := range [][]string{nil, {"-v"}} {
		outcome, err := dnsutils.Update{
			Auth: "-g", Options: options, On: first.Run, Env: append(first.Env(), "KRB5CCNAME=FILE:/run/register-dns.ccache"),
			Commands: []string{"update delete " + name + " PTR", "update add " + name + " 3600 PTR " + first.Host()},
		}.Run(testContext(t))
		if err != nil || outcome.Rcode != "REFUSED" || !outcome.Signed {
			t.Errorf("nsupdate %v: %v, %s, signed %v:\n%s", options, err, outcome.Rcode, outcome.Signed, outcome.Output)
		}
	}
	has(second, leased)

	// It gets its address by dhcpcd, after the administrator has deleted its records.
	giveBack(t, first)
	if _, err := shell(t, s.ns, fmt.Sprintf("cd /etc/coredns; echo update delete %s | %s/coredns gsstsig update %s", first.Host(), shared.programs, zone)); err != nil {
		t.Fatal(err)
	}
	s.expect(t, first.Host(), dns.TypeA)
	if said, err := shell(t, first, "dhcpcd --oneshot --ipv4only --noarp eth0"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	has(first, reserved)
}

func reverseName(t *testing.T, address netip.Prefix) string {
	t.Helper()
	name, err := dns.ReverseAddr(address.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestLeaseMovesWithSSSD does what docs/freeipa.md says about addresses that move: a machine gets the address of another,
// and SSSD registers it, with the PTR record.
func TestLeaseMovesWithSSSD(t *testing.T) {
	t.Parallel()
	tested.Path(t, sssd, "id_provider = ipa: an address that another machine had, with its PTR record, as docs/freeipa.md says")
	s := newSite(t, "ipa1")
	if err := s.startDirectory(testContext(t)); err != nil {
		t.Fatal(err)
	}
	first, second := s.add(t, "client1", 101), s.add(t, "client2", 102)
	for _, n := range []*node.Node{first, second} { // Debian's unit of SSSD makes it
		if _, err := shell(t, n, "mkdir -p /run/sssd"); err != nil {
			t.Fatal(err)
		}
	}
	rules, settings := inserts(t, "freeipa.md", "rules"), inserts(t, "freeipa.md", "ini")
	const rule, domain = "        grant EXAMPLE.TEST krb5-subdomain-self-rhs . PTR\n", "dyndns_ttl = 1200\n"
	blocks := read(t, "freeipa.md")
	for i, b := range blocks {
		blocks[i].Text = strings.Replace(strings.Replace(b.Text, rule, rules, 1), domain, domain+settings, 1)
	}
	lab := s.followBlocks(t, shared.programs, blocks, first)
	s.expectRegistered(t, first)
	if err := lab.End(first.Name); err != nil {
		t.Fatal(err)
	}

	ctx := testContext(t)
	had := first.Addresses[0]
	if err := errors.Join(first.RemoveAddress(ctx, had), second.RemoveAddress(ctx, second.Addresses[0]), second.AddAddress(ctx, had)); err != nil {
		t.Fatal(err)
	}
	second.Addresses = []netip.Prefix{had, second.Addresses[1]}
	conf, err := first.ReadFile(sssdConf)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.WriteFile(sssdConf, strings.ReplaceAll(conf, first.Host(), second.Host()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.enrol(t, second)
	// The first of its tries is refused, see docs/freeipa.md.
	said, _ := runSSSD(t, second)
	if !strings.Contains(said, "UPDATE, status: REFUSED") {
		t.Errorf("SSSD took the record over at its first try:\n%s", said)
	}
	s.expectRegistered(t, second)
}

// inserts is the text of a document's only block that is no step by itself, ~~~ LANGUAGE.
func inserts(t *testing.T, path, language string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n~~~ "+language+"\n")
	block, _, found := strings.Cut(rest, "~~~\n")
	if !found {
		t.Fatalf("docs/%s has no block ~~~ %s", path, language)
	}
	return examples.Replace(block)
}
