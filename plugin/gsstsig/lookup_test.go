package gsstsig

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// TestShortcutAnswersAsUsual compares answers by UDP, where simple ones take the shortcut, with those by TCP, where none does.
func TestShortcutAnswersAsUsual(t *testing.T) {
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte(`$TTL 300
@ IN SOA ns1 hostmaster 1 3600 600 86400 60
@ IN NS ns1
@ IN MX 10 a
ns1 IN A 192.0.2.1
a IN A 192.0.2.2
a IN A 192.0.2.3
a IN AAAA 2001:db8::2
alias IN CNAME a
*.wild IN TXT "wild"
b.empty IN A 192.0.2.4
sub IN NS ns.sub
ns.sub IN A 192.0.2.5
tree IN DNAME a
_s._tcp IN SRV 0 0 1 a
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for plugins, short := range map[string]bool{"errors\n cache": true, "log": false} {
		t.Run(plugins, func(t *testing.T) {
			s := start(t, fmt.Sprintf("example.test:{PORT} {\n bind 127.0.0.1\n %s\n gsstsig {\n  keytab {KEYTAB}\n  file %s\n }\n}", plugins, seed))
			exchange := func(network, name string, qtype uint16, edns bool) (*dns.Msg, int) {
				t.Helper()
				m := new(dns.Msg).SetQuestion(name, qtype)
				if edns {
					m.SetEdns0(4096, true)
				}
				conn, err := dns.DialTimeout(network, s.address, 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.UDPSize = 4096
				if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
					t.Fatal(err)
				}
				if err := conn.WriteMsg(m); err != nil {
					t.Fatal(err)
				}
				wire, err := conn.ReadMsgHeader(nil)
				if err != nil {
					t.Fatal(err)
				}
				r := new(dns.Msg)
				if err := r.Unpack(wire); err != nil {
					t.Fatal(err)
				}
				r.Id = 0
				return r, len(wire)
			}
			differ := 0
			for _, name := range []string{"", "ns1.", "a.", "A.", "alias.", "x.wild.", "wild.", "empty.", "b.empty.", "gone.", "sub.", "x.sub.",
				"tree.", "x.tree.", "_tcp.", "_s._tcp."} {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeMX, dns.TypeSRV, dns.TypeCNAME,
					dns.TypeDS, dns.TypeANY, 65400} {
					for _, edns := range []bool{false, true} {
						udp, length := exchange("udp", name+"example.test.", qtype, edns)
						tcp, usual := exchange("tcp", name+"example.test.", qtype, edns)
						if length != usual {
							differ++ // the shortcut compresses no names in rdata
						}
						got, want := strings.Split(strings.ToLower(udp.String()), "\n"), strings.Split(strings.ToLower(tcp.String()), "\n")
						if !slices.Equal(got, want) {
							t.Errorf("by UDP\n%v\nby TCP\n%v", udp, tcp)
						}
					}
				}
			}
			if (differ > 0) != short {
				t.Errorf("%d answers took the shortcut", differ)
			}
		})
	}
}

// TestCompression: an answer is compressed also if it would fit without (RFC 1035 section 4.1.4), which saves a referral half of
// its octets.
func TestCompression(t *testing.T) {
	standard.Requires(t, "MS-GSSA", "3.1.5.4 compression")
	standard.Requires(t, "RFC 1035", "4.1.4 compression")
	var zone strings.Builder
	zone.WriteString("$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\n")
	for i := range 8 {
		fmt.Fprintf(&zone, "department NS server%d.department\nserver%d.department A 192.0.2.%d\n", i, i, i+1)
	}
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte(zone.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, fmt.Sprintf("example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  file %s\n }\n}", seed))
	m := new(dns.Msg).SetQuestion("host.department.example.test.", dns.TypeA)
	m.SetEdns0(4096, false)
	for _, network := range []string{"udp", "tcp"} {
		conn, err := dns.DialTimeout(network, s.address, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.UDPSize = 4096
		if err := conn.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
		wire, err := conn.ReadMsgHeader(nil)
		reply := new(dns.Msg)
		if err != nil || reply.Unpack(wire) != nil {
			t.Fatal(err)
		}
		want(t, network+" servers", len(reply.Ns), 8)
		want(t, network+" addresses", len(reply.Extra), 8+1)
		if whole := reply.Len(); whole < 900 || whole > 1232 || len(wire) > dns.MinMsgSize {
			t.Errorf("%s: %d octets, %d uncompressed", network, len(wire), whole)
		}
	}
	answer, err := s.context("host/client1.example.test").Exchange(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "signed, truncated", answer.Truncated, false)
	want(t, "signed, servers", len(answer.Ns), 8)
}
