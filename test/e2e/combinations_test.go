//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// combinationZone is a zone whose primary server has a service key of one encryption type only.
func combinationZone(key realm.Enctype) string { return fmt.Sprintf("key%d.example.test", int32(key)) }

// combinationServers start a server each that holds the zones of all service keys.
var combinationServers = []struct {
	name  string
	start func(t *testing.T) netip.AddrPort
	// able tells whether the server can do what is asked of it.
	able func(mechanism string, mutual bool) bool
}{
	{
		name: "coredns",
		start: func(t *testing.T) netip.AddrPort {
			var zones, files strings.Builder
			texts := make(map[string]string)
			for _, key := range realm.AES {
				zone := combinationZone(key)
				fmt.Fprintf(&zones, "%s ", zone)
				fmt.Fprintf(&files, "        file db.%[1]s %[1]s\n", zone)
				texts["db."+zone] = seed(singleHost(key))
			}
			corefile := fmt.Sprintf("%s{\n    bind 127.0.0.1\n    gsstsig {\n        keytab %s\n%s    }\n    errors\n}\n",
				zones.String(), shared.keytabs, files.String())
			return startCoreDNS(t, server.Config{
				Corefile: corefile, Files: texts, Probe: combinationZone(realm.AES256SHA1),
			}).Address
		},
		able: func(string, bool) bool { return true },
	},
	{
		name: "named",
		start: func(t *testing.T) netip.AddrPort {
			config, err := shared.realm.Config()
			if err != nil {
				t.Fatal(err)
			}
			var zones []named.Zone
			for _, key := range realm.AES {
				zones = append(zones, named.Zone{
					Name: combinationZone(key), Text: seed(singleHost(key)),
					Policy: "grant " + realmName + " krb5-subdomain . ANY;",
				})
			}
			s, err := named.Start(shared.ctx, named.Config{Keytab: shared.keytabs, Krb5Config: config, Zones: zones})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Stop)
			return s.Address
		},
		// BIND 9.18 answers SERVFAIL to a context that is complete without a token in return, and since it was found
		// to keep half-open contexts it refuses those that need more rounds.
		able: func(mechanism string, mutual bool) bool {
			switch mechanism {
			case gssclient.Kerberos:
				return mutual
			case gssclient.SPNEGOOther, gssclient.SPNEGOBare:
				return false
			}
			return true
		},
	},
}

// TestEncryptionTypes has MIT's library sign updates in each combination of session key, service key, transport, token
// framing and algorithm, and verify every reply.
func TestEncryptionTypes(t *testing.T) {
	t.Parallel()
	for _, target := range combinationServers {
		t.Run(target.name, func(t *testing.T) {
			t.Parallel()
			address := target.start(t)
			for _, session := range realm.AES {
				who := logIn(t, host1, session)
				for _, key := range realm.AES {
					t.Run(fmt.Sprintf("session=%d/key=%d", session, key), func(t *testing.T) {
						requireTicket(t, who, session, key)
						c := combination{server: address, who: who, session: session, key: key}
						t.Run("nsupdate -g", func(t *testing.T) { c.nsupdate(t, "-g") })
						t.Run("nsupdate -o", func(t *testing.T) { c.nsupdate(t, "-o") })
						c.all(t, target.able)
					})
				}
			}
		})
	}
}

// requireTicket makes sure that the KDC issues what the combination's name says.
func requireTicket(t *testing.T, who login, session, key realm.Enctype) {
	t.Helper()
	ticket, err := shared.realm.Ticket(who.cache, "DNS/"+singleHost(key), session)
	if err != nil {
		t.Fatal(err)
	}
	if ticket.Session != session || ticket.Key != key {
		t.Fatalf("the KDC issued a session key of %v in a key of %v", ticket.Session, ticket.Key)
	}
}

type combination struct {
	server       netip.AddrPort
	who          login
	session, key realm.Enctype
}

// nsupdate tests a run of it, which sends TKEY and update by TCP whatever one tells it.
func (c combination) nsupdate(t *testing.T, auth string) {
	name := fmt.Sprintf("nsupdate%s-%d.%s", auth, c.session, combinationZone(c.key))
	outcome := nsupdate(testContext(t), t, c.server, auth, c.who.env, "update add "+name+" 300 A 192.0.2.1")
	if outcome.Rcode != "NOERROR" || !outcome.Signed {
		t.Fatalf("rcode %q, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
	}
	expect(t, c.server, name, dns.TypeA, "192.0.2.1")
}

func (c combination) all(t *testing.T, able func(string, bool) bool) {
	mechanisms := []string{gssclient.Kerberos, gssclient.SPNEGO, gssclient.SPNEGOMicrosoft, gssclient.SPNEGOOther,
		gssclient.SPNEGOBare}
	for _, mechanism := range mechanisms {
		for _, mutual := range []bool{true, false} {
			if !able(mechanism, mutual) {
				continue
			}
			for _, network := range []string{"udp", "tcp"} {
				for _, algorithm := range []string{"gss-tsig.", "gss.microsoft.com."} {
					t.Run(fmt.Sprintf("%s/mutual=%v/%s/%s", mechanism, mutual, network, algorithm), func(t *testing.T) {
						c.sign(t, mechanism, mutual, network, algorithm)
					})
				}
			}
		}
	}
}

func (c combination) sign(t *testing.T, mechanism string, mutual bool, network, algorithm string) {
	// A server without a token in return sends the client's back (RFC 3645 4.1.3): more than fits into 512 octets.
	udpSize := 0
	if mechanism == gssclient.Kerberos && !mutual {
		udpSize = 4096
	}
	client := startClient(t, c.who, gssclient.Config{
		Server: c.server, Service: "DNS/" + singleHost(c.key) + "@" + realmName, Mechanism: mechanism, NoMutual: !mutual,
		Algorithm: algorithm, UDPSize: udpSize,
	})
	handshake, err := client.Negotiate(network)
	if err != nil {
		t.Fatal(err)
	}
	if !handshake.Established || handshake.MIC != gssclient.MICOK {
		t.Fatalf("no context, or its reply not signed with it: %+v", handshake)
	}
	if handshake.Algorithm != algorithm || handshake.Mutual != mutual || handshake.KeyType != int32(c.session) {
		t.Errorf("another context than asked for: %+v", handshake)
	}
	if wantMIC := mechanism == gssclient.SPNEGOOther; handshake.MechListMIC != wantMIC {
		t.Errorf("mechListMIC sent: %v, want %v", handshake.MechListMIC, wantMIC)
	}
	if lifetime := handshake.Expiration.Sub(handshake.Inception); lifetime <= 0 || lifetime > time.Hour {
		t.Errorf("a lifetime of %v", lifetime)
	}
	name := fmt.Sprintf("%s-%v-%s-%s-%d.%s", mechanism, mutual, network, strings.ReplaceAll(algorithm, ".", ""), c.session,
		combinationZone(c.key))
	for i, message := range []*dns.Msg{
		add(t, combinationZone(c.key), name+". 300 A 192.0.2.2"),
		add(t, combinationZone(c.key), name+". 300 AAAA 2001:db8::2"),
		new(dns.Msg).SetQuestion(name+".", dns.TypeA),
	} {
		reply, err := client.Exchange(network, message, gssclient.Misbehaviour{})
		if err != nil {
			t.Fatal(err)
		}
		if reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
			t.Fatalf("message %d: rcode %s, signature %s", i, dns.RcodeToString[reply.Message.Rcode], reply.MIC)
		}
	}
	expect(t, c.server, name, dns.TypeA, "192.0.2.2")
	expect(t, c.server, name, dns.TypeAAAA, "2001:db8::2")
}
