//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// TestTKEYOfEveryMode sends TKEY queries of every mode, of no mode, in every section and class, unsigned and signed by a live
// key (BIND CVE-2026-3119, CVE-2015-5477, CVE-2016-9131). None of them makes a key, and none harms the one that there is.
func TestTKEYOfEveryMode(t *testing.T) {
	t.Parallel()
	address := startSecure(t)
	c := dialClient(t, client.Config{Server: address.String(), Credentials: keytabCredentials(t, host1)})
	key, err := c.Negotiate(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(t *testing.T, m *dns.Msg, network string, signed bool) *dns.Msg {
		t.Helper()
		if !signed {
			return exchange(t, address, network, m)
		}
		wire, transaction, err := key.Sign(m)
		if err != nil {
			t.Fatal(err)
		}
		octets := sendWire(t, loopbackAddress, address, network, wire)
		reply := new(dns.Msg)
		if err := reply.Unpack(octets); err != nil {
			t.Fatal(err)
		}
		// The answer to a signed query is signed, whatever it says.
		if _, err := transaction.Verify(octets); err != nil {
			t.Errorf("%v: %s", err, reply)
		}
		return reply
	}
	query := func(name string, mode, class uint16) (*dns.Msg, dns.RR) {
		m := new(dns.Msg).SetQuestion(name, dns.TypeTKEY)
		m.Question[0].Qclass = dns.ClassANY
		return m, &dns.TKEY{
			Hdr:       dns.RR_Header{Name: name, Rrtype: dns.TypeTKEY, Class: class},
			Algorithm: "gss-tsig.", Mode: mode, Key: "6000", KeySize: 2,
		}
	}
	for _, signed := range []bool{false, true} {
		for _, network := range []string{"udp", "tcp"} {
			for _, mode := range []uint16{0, 1, 2, 3, 4, 5, 6, 255, 65534, 65535} {
				t.Run(fmt.Sprintf("signed=%v/%s/mode=%d", signed, network, mode), func(t *testing.T) {
					rcode, tkeyError := dns.RcodeSuccess, uint16(dns.RcodeBadMode)
					switch {
					case mode == 3:
						tkeyError = dns.RcodeBadKey
					case mode == 5 && signed:
						tkeyError = dns.RcodeBadName
					case mode == 5:
						rcode, tkeyError = dns.RcodeNotAuth, dns.RcodeBadKey
					}
					m, record := query("mode.example.test.", mode, dns.ClassANY)
					m.Extra = append(m.Extra, record)
					reply := ask(t, m, network, signed)
					if reply.Rcode != rcode || len(reply.Answer) != 1 {
						t.Fatalf("%s", reply)
					}
					if got, ok := reply.Answer[0].(*dns.TKEY); !ok || got.Error != tkeyError || got.KeySize != 0 {
						t.Errorf("got %s, want error %d", reply, tkeyError)
					}
				})
			}
			for _, place := range []struct {
				name string
				put  func(m *dns.Msg, record dns.RR)
			}{
				{"authority", func(m *dns.Msg, record dns.RR) { m.Ns = append(m.Ns, record) }},
				{"answer and additional", func(m *dns.Msg, record dns.RR) { m.Answer, m.Extra = []dns.RR{record}, []dns.RR{record} }},
				{"twice", func(m *dns.Msg, record dns.RR) { m.Extra = []dns.RR{record, record} }},
				{"class CH", func(m *dns.Msg, record dns.RR) {
					record.Header().Class = dns.ClassCHAOS
					m.Extra = []dns.RR{record}
				}},
				{"another name", func(m *dns.Msg, record dns.RR) {
					record.Header().Name = "other.example.test."
					m.Extra = []dns.RR{record}
				}},
			} {
				t.Run(fmt.Sprintf("signed=%v/%s/%s", signed, network, place.name), func(t *testing.T) {
					m, record := query("place.example.test.", 3, dns.ClassANY)
					place.put(m, record)
					if reply := ask(t, m, network, signed); reply.Rcode != dns.RcodeFormatError || len(reply.Answer) != 0 {
						t.Errorf("%s", reply)
					}
				})
			}
		}
	}
	if _, err := key.Update(testContext(t), addition("example.test.")); err != nil {
		t.Errorf("the key is unusable after that: %v", err)
	}
}
