package gsstsig

import (
	"bytes"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/plugin/admin"
)

// dhcpSecret is that of the key dhcp in testdata/named.
const dhcpSecret = "YSBzZWNyZXQgb2YgMzIgb2N0ZXRzLCBhcyBpdCBpcy4="

// blockHead is the line that begins a server block of a converted Corefile.
var blockHead = regexp.MustCompile(`(?m)^("?[^\s"]+"?) \{$`)

// TestConvertedCorefiles: a Corefile that was converted from a named.conf starts a server, whose rules decide as BIND's do.
func TestConvertedCorefiles(t *testing.T) {
	type update struct {
		client string // principal, "tcp " and a principal, or "key dhcp."
		origin string
		line   string
		rcode  int
	}
	for file, test := range map[string]struct {
		keytab  string
		updates []update
	}{
		"realm.conf": {"/etc/bind/dns.keytab", []update{
			{"host/pc1.example.test", "example.test.", "+pc1.example.test. 60 A 192.0.2.1", dns.RcodeSuccess},
			{"host/pc1.example.test", "example.test.", "+pc1.example.test. 60 TXT x", dns.RcodeRefused},
			{"host/pc1.example.test", "example.test.", "+pc2.example.test. 60 A 192.0.2.1", dns.RcodeRefused},
			{"admin", "example.test.", "+pc2.example.test. 60 TXT x", dns.RcodeSuccess},
			{"admin", "example.test.", "+critical.example.test. 60 TXT x", dns.RcodeRefused},
			{"admin", "2.0.192.in-addr.arpa.", "+1.2.0.192.in-addr.arpa. 60 PTR pc1.example.test.", dns.RcodeRefused},
			{"key dhcp.", "example.test.", "+a.dhcp.example.test. 60 A 192.0.2.7", dns.RcodeSuccess},
			{"key dhcp.", "example.test.", "+a.example.test. 60 A 192.0.2.7", dns.RcodeRefused},
			{"key dhcp.", "2.0.192.in-addr.arpa.", "+7.2.0.192.in-addr.arpa. 60 PTR a.dhcp.example.test.", dns.RcodeSuccess},
		}},
		"domain.conf": {"/var/lib/samba/bind-dns/dns.keytab", []update{
			{"PC1$", "example.test.", "+pc1.example.test. 60 A 192.0.2.1", dns.RcodeSuccess},
			{"PC1$", "example.test.", "+pc2.example.test. 60 A 192.0.2.1", dns.RcodeRefused},
			{"DC1$", "example.test.", "+_ldap._tcp.example.test. 60 SRV 0 0 389 dc1.example.test.", dns.RcodeSuccess},
			{"PC1$", "example.test.", "+_ldap._tcp.example.test. 60 SRV 0 0 389 pc1.example.test.", dns.RcodeRefused},
			{"tcp PC1$", "127.in-addr.arpa.", "+1.0.0.127.in-addr.arpa. 60 PTR pc1.example.test.", dns.RcodeSuccess},
			{"PC1$", "127.in-addr.arpa.", "+1.0.0.127.in-addr.arpa. 60 PTR pc2.example.test.", dns.RcodeRefused},
			{"tcp PC1$", "127.in-addr.arpa.", "+2.0.0.127.in-addr.arpa. 60 PTR pc1.example.test.", dns.RcodeRefused},
		}},
	} {
		t.Run(file, func(t *testing.T) {
			var out bytes.Buffer
			path := filepath.Join("testdata", "named", file)
			if status := admin.Run("coredns gsstsig", []string{"convert", "-corefile", path}, admin.Streams{In: strings.NewReader(""), Out: &out, Err: io.Discard}); status != admin.ExitOK {
				t.Fatalf("exit status %d:\n%s", status, &out)
			}
			// Paths and port are those of the test.
			converted := blockHead.ReplaceAllString(out.String(), "$1:{PORT} {\n    bind 127.0.0.1")
			converted = strings.NewReplacer("keytab "+test.keytab, "keytab {KEYTAB}", "database /var/lib/coredns", "database {DIR}").Replace(converted)
			s := start(t, converted)
			contexts := make(map[string]*client.Context)
			for _, u := range test.updates {
				m := message(t, u.origin, u.line)
				var rcode int
				principal, byTCP := strings.CutPrefix(u.client, "tcp ")
				switch {
				case strings.HasPrefix(u.client, "key "):
					rcode = s.signedByKey(strings.TrimPrefix(u.client, "key "), dhcpSecret, m)
				case byTCP:
					rcode = s.signed(s.contextOverTCP(principal), m)
				default:
					if contexts[principal] == nil {
						contexts[principal] = s.context(principal)
					}
					rcode = s.signed(contexts[principal], m)
				}
				want(t, u.client+": "+u.line, dns.RcodeToString[rcode], dns.RcodeToString[u.rcode])
				if name := strings.Fields(u.line[1:])[0]; u.rcode == dns.RcodeSuccess && s.lookup(name, m.Ns[0].Header().Rrtype) == "" {
					t.Errorf("%s has no such record", name)
				}
			}
		})
	}
}

// signedByKey sends an update that is signed by HMAC-SHA256, and verifies the signature of the reply.
func (s *coredns) signedByKey(key, secret string, m *dns.Msg) int {
	s.t.Helper()
	m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	c := dns.Client{TsigSecret: map[string]string{key: secret}}
	reply, _, err := c.ExchangeContext(s.t.Context(), m, s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply.Rcode
}
