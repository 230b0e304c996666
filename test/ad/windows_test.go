//go:build e2e && linux

package ad

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
	"github.com/gsstsig/coredns-gsstsig/internal/test/windows"
)

// credentials gets a ticket for the server on the node of the login, and takes that ticket from there: this process does
// not reach the KDC.
func (l login) credentials(t *testing.T) *client.Credentials {
	t.Helper()
	cache := strings.TrimPrefix(l.cache, "FILE:") + "-service"
	if _, err := l.on.Output(l.command(t, "kvno", "-q", "--out-cache", cache, service)); err != nil {
		t.Fatal(err)
	}
	credentials, err := client.FromCCache(l.on.Path("/etc/krb5.conf"), l.on.Path(cache))
	if err != nil {
		t.Fatal(err)
	}
	return credentials
}

// TestWindows registers machines as Windows does, with the machine accounts' own tickets.
func TestWindows(t *testing.T) {
	long, other := longName.logIn(t), client1.logIn(t)
	// The client runs in this process; the relay gets its messages into the network of the domain.
	between, err := relay.Start(relay.Config{Server: nsAddress, Dial: long.on.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(between.Close)
	register := func(who login, host, to string, want int) {
		t.Helper()
		result, err := windows.Register(testContext(t), windows.Config{
			Server: between.Address.String(), Credentials: who.credentials(t), Host: host, Address: netip.MustParseAddr(to),
		})
		if err != nil {
			t.Fatal(err)
		}
		if result.Unsigned != dns.RcodeRefused || result.Reply.Rcode != want {
			t.Errorf("%s as %s: unsigned %s, then %s; want %s", host, who.account, dns.RcodeToString[result.Unsigned],
				dns.RcodeToString[result.Reply.Rcode], dns.RcodeToString[want])
		}
	}
	tested.Path(t, windows.Tested, "AD domain: an account of 15 characters for a longer name, refused another machine's name")
	name := longName.node.Host()
	register(long, name, "10.77.0.103", dns.RcodeSuccess)
	register(long, name, "10.77.0.104", dns.RcodeSuccess)
	expect(t, name, dns.TypeA, "10.77.0.104")
	register(other, name, "10.77.0.105", dns.RcodeRefused)
	register(long, client1.node.Host(), "10.77.0.106", dns.RcodeRefused)
	expect(t, name, dns.TypeA, "10.77.0.104")
	register(long, name, "10.77.0.103", dns.RcodeSuccess)
	register(other, client1.node.Host(), "10.77.0.101", dns.RcodeSuccess)
	expect(t, client1.node.Host(), dns.TypeA, "10.77.0.101")
}
