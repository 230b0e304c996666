//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/gsstsigtest"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
	"github.com/gsstsig/coredns-gsstsig/internal/test/windows"
)

// A machine whose name has more than the 15 characters that the domain keeps of it.
const (
	longHost    = "averylonghostname01.example.test"
	longAccount = "AVERYLONGHOSTNA$"
)

// machineAccounts are those of Windows machines, which are named after them except for the first.
var machineAccounts = []string{longAccount, "PC2$", "PC3$", "PC4$", "PC5$"}

// TestWindows registers machines as Windows does. The reply to each signed update must be signed, or there is none.
func TestWindows(t *testing.T) {
	t.Parallel()
	address := startSecure(t)
	long, pc := keytabCredentials(t, longAccount), keytabCredentials(t, "PC2$")
	const pcHost = "pc2.example.test"
	register := func(t *testing.T, who *client.Credentials, host, to string, want int) {
		t.Helper()
		result, err := windows.Register(testContext(t), windows.Config{
			Server: address.String(), Credentials: who, Host: host, Address: netip.MustParseAddr(to),
		})
		if err != nil {
			t.Fatal(err)
		}
		if result.Unsigned != dns.RcodeRefused || result.KeyName == "" || result.Reply.Rcode != want {
			t.Errorf("%s: unsigned %s, then %s with key %q; want %s", host, dns.RcodeToString[result.Unsigned],
				dns.RcodeToString[result.Reply.Rcode], result.KeyName, dns.RcodeToString[want])
		}
	}

	t.Run("register", func(t *testing.T) {
		tested.Path(t, windows.Tested, "MIT realm: registration, change of address, a name longer than the account's")
		register(t, long, longHost, "192.0.2.61", dns.RcodeSuccess)
		expect(t, address, longHost, dns.TypeA, "192.0.2.61")
		register(t, long, longHost, "192.0.2.62", dns.RcodeSuccess)
		expect(t, address, longHost, dns.TypeA, "192.0.2.62")
		register(t, long, longHost, "192.0.2.62", dns.RcodeSuccess) // nothing changes
		answer := exchange(t, address, "udp", new(dns.Msg).SetQuestion(longHost+".", dns.TypeA)).Answer
		if len(answer) != 1 || answer[0].Header().Ttl != 1200 {
			t.Errorf("registered %v, want a TTL of 1200", answer)
		}
		register(t, long, longHost, "2001:db8::62", dns.RcodeSuccess)
		expect(t, address, longHost, dns.TypeA)
		expect(t, address, longHost, dns.TypeAAAA, "2001:db8::62")
	})
	t.Run("second machine", func(t *testing.T) {
		tested.Path(t, windows.Tested, "refused another machine's name")
		register(t, pc, pcHost, "192.0.2.71", dns.RcodeSuccess)
		register(t, pc, longHost, "192.0.2.72", dns.RcodeRefused)
		register(t, long, pcHost, "192.0.2.73", dns.RcodeRefused)
		expect(t, address, pcHost, dns.TypeA, "192.0.2.71")
		expect(t, address, longHost, dns.TypeAAAA, "2001:db8::62")
		// A machine account does not take its own name from the owner, unless "reclaim always" is set: in a domain every
		// user can create machine accounts.
		register(t, long, "pc3.example.test", "192.0.2.74", dns.RcodeSuccess)
		register(t, keytabCredentials(t, "PC3$"), "pc3.example.test", "192.0.2.75", dns.RcodeRefused)
		expect(t, address, "pc3.example.test", dns.TypeA, "192.0.2.74")
	})
	t.Run("alias", func(t *testing.T) {
		tested.Path(t, windows.Tested, "a prerequisite that is not met")
		c := dialClient(t, client.Config{Server: address.String(), Credentials: long})
		key, err := c.Negotiate(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := key.Update(testContext(t), add(t, forwardZone, "alias.example.test. 300 CNAME "+longHost+".")); err != nil {
			t.Fatal(err)
		}
		register(t, long, "alias.example.test", "192.0.2.76", dns.RcodeYXRrset)
		expect(t, address, "alias.example.test", dns.TypeCNAME, longHost+".")
	})
}

// TestWindowsUnsigned has a server that takes unsigned updates: Windows then does not even ask for a ticket. A name that
// a principal owns is refused, and then it does.
func TestWindowsUnsigned(t *testing.T) {
	t.Parallel()
	tested.Path(t, windows.Tested, "unsigned where that is allowed, signed for a name that is owned")
	address := startSecure(t, "updates nonsecure-and-secure")
	const host = "pc4.example.test"
	credentials := keytabCredentials(t, "PC4$")
	register := func(to string, signed bool) {
		t.Helper()
		result, err := windows.Register(testContext(t), windows.Config{
			Server: address.String(), Credentials: credentials, Host: host, Address: netip.MustParseAddr(to),
		})
		if err != nil {
			t.Fatal(err)
		}
		if result.Reply.Rcode != dns.RcodeSuccess || (result.KeyName != "") != signed {
			t.Errorf("%s, key %q; want NOERROR, signed %v", dns.RcodeToString[result.Reply.Rcode], result.KeyName, signed)
		}
		expect(t, address, host, dns.TypeA, to)
	}
	register("192.0.2.81", false)
	c := dialClient(t, client.Config{Server: address.String(), Credentials: credentials})
	key, err := c.Negotiate(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Update(testContext(t), windows.Update(forwardZone, host, netip.MustParseAddr("192.0.2.82"))); err != nil {
		t.Fatal(err)
	}
	register("192.0.2.83", true)
}

// TestWindowsVerifies changes the signatures of replies on their way. Each must be noticed: that of the TKEY reply, with
// which the context is made, and that of the UPDATE reply.
func TestWindowsVerifies(t *testing.T) {
	t.Parallel()
	tested.Path(t, windows.Tested, "notices a wrong signature, or none, of the TKEY reply and of the UPDATE reply")
	address := startSecure(t)
	credentials := keytabCredentials(t, "PC5$")
	// flip changes a bit of the reply's MAC.
	flip := func(octet func(mac []byte) int) func(relay.Exchange, []byte) []byte {
		return func(e relay.Exchange, mac []byte) []byte {
			mac[octet(mac)] ^= 1
			return e.Reply
		}
	}
	checksum := flip(func(mac []byte) int { return len(mac) - 1 })
	acceptorFlag := flip(func([]byte) int { return 2 })
	own := func(e relay.Exchange, mac []byte) []byte {
		signature, err := gsstsigtest.FindSignature(e.Request)
		if err != nil || signature == nil || len(signature.MAC) != len(mac) {
			t.Errorf("no MAC in the request that would fit: %v", err)
			return nil
		}
		copy(mac, signature.MAC)
		return e.Reply
	}
	none := func(e relay.Exchange, _ []byte) []byte {
		reply := new(dns.Msg)
		if err := reply.Unpack(e.Reply); err != nil {
			t.Error(err)
		}
		reply.Extra = nil
		return packedMessage(t, reply)
	}
	for _, test := range []struct {
		name   string
		rrtype uint16 // of the question in the reply that is changed
		change func(e relay.Exchange, mac []byte) []byte
		want   error
	}{
		{"MAC of the TKEY reply", dns.TypeTKEY, checksum, client.ErrSignature},
		{"MAC of the UPDATE reply", dns.TypeSOA, checksum, client.ErrSignature},
		{"acceptor's flag of the TKEY reply", dns.TypeTKEY, acceptorFlag, client.ErrSignature},
		{"acceptor's flag of the UPDATE reply", dns.TypeSOA, acceptorFlag, client.ErrSignature},
		{"the client's own MAC", dns.TypeSOA, own, client.ErrSignature},
		{"TKEY reply without signature", dns.TypeTKEY, none, client.ErrUnsigned},
		{"UPDATE reply without signature", dns.TypeSOA, none, client.ErrUnsigned},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			between, err := relay.Start(relay.Config{Server: address, Change: func(e relay.Exchange) []byte {
				signature, err := gsstsigtest.FindSignature(e.Reply)
				reply := new(dns.Msg)
				if err := errors.Join(err, reply.Unpack(e.Reply)); err != nil {
					t.Error(err)
				}
				if signature == nil || reply.Question[0].Qtype != test.rrtype {
					return e.Reply
				}
				return test.change(e, e.Reply[bytes.LastIndex(e.Reply, signature.MAC):][:len(signature.MAC)])
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(between.Close)
			_, err = windows.Register(testContext(t), windows.Config{
				Server: between.Address.String(), Credentials: credentials, Host: "pc5.example.test",
				Address: netip.MustParseAddr("192.0.2.91"),
				Timeout: 3 * time.Second, // a better reply may come until then
			})
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// packedMessage is a message's octets.
func packedMessage(t *testing.T, m *dns.Msg) []byte {
	wire, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return wire
}

// TestWindowsAgainstBIND proves the client: BIND takes its form as well, and the answers are what it expects.
func TestWindowsAgainstBIND(t *testing.T) {
	bind := bindServer(t)
	for _, test := range []struct {
		who, host string
		want      int
	}{{host1, "client1.example.test", dns.RcodeSuccess}, {host1, "pc.host1.test", dns.RcodeSuccess}, {host2, "pc.host1.test", dns.RcodeRefused}} {
		result, err := windows.Register(testContext(t), windows.Config{
			Server: bind.Address.String(), Credentials: keytabCredentials(t, test.who), Host: test.host,
			Address: netip.MustParseAddr("192.0.2.11"),
		})
		if err != nil {
			t.Errorf("%s: %v", test.host, err)
			continue
		}
		if result.Unsigned != dns.RcodeRefused || result.Reply.Rcode != test.want {
			t.Errorf("%s: unsigned %s, then %s; want %s", test.host, dns.RcodeToString[result.Unsigned],
				dns.RcodeToString[result.Reply.Rcode], dns.RcodeToString[test.want])
		}
	}
}
