//go:build e2e && linux

package ad

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/recorder"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/windows"
)

// recordedOctet is the address of the name server that clients are recorded with. It calls itself ns1, as the domain has a
// service principal of that name.
const recordedOctet = nsOctet + 2

// recordedSeed is what a member needs to find its domain.
const recordedSeed = `$TTL 900
@ IN SOA ns1 hostmaster 1 900 600 86400 60
@ IN NS ns1
ns1 IN A 10.77.0.55
dc1 IN A 10.77.0.10
@ IN A 10.77.0.10
_kerberos._tcp IN SRV 0 100 88 dc1
_kerberos._udp IN SRV 0 100 88 dc1
_kpasswd._tcp IN SRV 0 100 464 dc1
_kpasswd._udp IN SRV 0 100 464 dc1
_ldap._tcp IN SRV 0 100 389 dc1
_gc._tcp IN SRV 0 100 3268 dc1
_ldap._tcp.dc._msdcs IN SRV 0 100 389 dc1
_ldap._tcp.pdc._msdcs IN SRV 0 100 389 dc1
_kerberos._tcp.dc._msdcs IN SRV 0 100 88 dc1
_ldap._tcp.Default-First-Site-Name._sites IN SRV 0 100 389 dc1
_kerberos._tcp.Default-First-Site-Name._sites IN SRV 0 100 88 dc1
_ldap._tcp.Default-First-Site-Name._sites.dc._msdcs IN SRV 0 100 389 dc1
_kerberos._tcp.Default-First-Site-Name._sites.dc._msdcs IN SRV 0 100 88 dc1
`

// controllerList is what samba_dnsupdate is to register, in the form of Samba's dns_update_list: a little of all that a
// controller does.
const controllerList = `NS ${DNSDOMAIN} ${HOSTNAME}
A gc._msdcs.${DNSFOREST} $IP
SRV _ldap._tcp.gc._msdcs.${DNSFOREST} ${HOSTNAME} 3268
`

// ask has a node ask another name server until the test ends.
func ask(t *testing.T, n *node.Node, server netip.Addr) {
	t.Helper()
	const resolvConf = "/etc/resolv.conf"
	before, err := n.ReadFile(resolvConf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.WriteFile(resolvConf, before, 0o644); err != nil {
			t.Error(err)
		}
	})
	if err := n.WriteFile(resolvConf, fmt.Sprintf("search %s\nnameserver %s\n", zone, server), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTranscripts records what clients say in a domain, see package recorder.
func TestTranscripts(t *testing.T) {
	d := shared.domain
	on, err := d.add(testContext(t), "ns3", recordedOctet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(on.Close)
	setup := recorder.Setup{
		Binary: shared.binary,
		Corefile: fmt.Sprintf(`%s:{PORT} %s:{PORT} %s:{PORT} {
    bind {ADDRESS}
    gsstsig {
        keytab {KEYTAB}
        file {SEED} %[1]s
        %[4]s
    }
    transfer {
        to *
    }
}
`, zone, reverse4, reverse6, rules),
		Zones: []string{zone, reverse4, reverse6}, Seed: recordedSeed, Keytab: d.keytab,
		On: on, Address: netip.AddrPortFrom(on.Addresses[0].Addr(), nsAddress.Port()),
	}
	server := setup.Address.Addr()
	member, long := client1.joined(t), longName.joined(t)
	for _, client := range []struct {
		recorder.Client
		run func(t *testing.T, address netip.AddrPort)
	}{
		{recorder.Client{Client: nsupdate, Options: "-g", Name: "ad-nsupdate-g", Principal: client1.account + "@" + realm},
			func(t *testing.T, _ netip.AddrPort) {
				who := client1.logIn(t)
				ask(t, member, server)
				who.update(t, "NOERROR", "update delete client1.corp.test A", "update add client1.corp.test 1200 A 10.77.0.101")
				who.update(t, "NOERROR", "update add 101.0.77.10.in-addr.arpa 1200 PTR client1.corp.test.")
				who.update(t, "REFUSED", "update add dc1.corp.test 1200 A 10.77.0.101")
			}},
		{recorder.Client{Client: netADS, Options: "dns register and unregister", Name: "ad-net-ads-dns", Principal: client1.account + "@" + realm},
			func(t *testing.T, _ netip.AddrPort) {
				ask(t, member, server)
				for _, verb := range []string{"register", "unregister", "register"} {
					args := []string{"ads", "dns", verb, "-P"}
					if verb == "unregister" {
						args = append(args, member.Host())
					}
					if _, err := member.Output(member.Command(testContext(t), "net", args...)); err != nil {
						t.Error(err)
					}
				}
			}},
		{recorder.Client{Client: sssd, Options: "with dyndns_update", Name: "ad-sssd", Principal: longName.account + "@" + realm},
			func(t *testing.T, _ netip.AddrPort) {
				ask(t, long, server)
				wantDyndns(t, long, true)
			}},
		{recorder.Client{Client: dnspython, Options: "on GSSAPI", Name: "ad-dnspython", Principal: client1.account + "@" + realm},
			func(t *testing.T, _ netip.AddrPort) {
				who := client1.logIn(t)
				ask(t, member, server)
				for _, args := range []string{"spnego udp a", "krb5 tcp b"} {
					mechanism, rest, _ := strings.Cut(args, " ")
					transport, name, _ := strings.Cut(rest, " ")
					who.python(t, "NOERROR compressed\nREFUSED compressed\n", server, mechanism, transport, name+".corp.test")
				}
			}},
		{recorder.Client{Client: sambaDNSUpdate, Options: "--use-nsupdate", Name: "ad-samba-dnsupdate", Principal: "DC1$@" + realm},
			func(t *testing.T, _ netip.AddrPort) {
				const list = "/run/dns_update_list"
				if err := d.dc.WriteFile(list, controllerList, 0o644); err != nil {
					t.Fatal(err)
				}
				ask(t, d.dc, server)
				if _, err := d.dc.Output(d.dc.Command(testContext(t), "samba_dnsupdate", "--all-names", "--use-nsupdate",
					"--update-list="+list, "--update-cache=/run/dns_update_cache", "--current-ip="+d.dc.Addresses[0].Addr().String())); err != nil {
					t.Error(err)
				}
			}},
		{recorder.Client{Client: windows.Tested, Name: "ad-windows", Principal: longName.account + "@" + realm},
			func(t *testing.T, address netip.AddrPort) {
				credentials := longName.logIn(t).credentials(t)
				between, err := relay.Start(relay.Config{Server: address, Dial: long.Dial})
				if err != nil {
					t.Fatal(err)
				}
				defer between.Close()
				for _, to := range []string{"10.77.0.103", "10.77.0.104"} {
					result, err := windows.Register(testContext(t), windows.Config{
						Server: between.Address.String(), Credentials: credentials, Host: long.Host(), Address: netip.MustParseAddr(to),
					})
					if err != nil {
						t.Fatal(err)
					}
					if result.Reply.Rcode != dns.RcodeSuccess {
						t.Errorf("%s: %s", to, dns.RcodeToString[result.Reply.Rcode])
					}
				}
			}},
	} {
		t.Run(client.Name, func(t *testing.T) { recorder.Record(t, setup, client.Client, client.run) })
	}
}
