//go:build e2e

package e2e

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/recorder"
	"github.com/gsstsig/coredns-gsstsig/internal/test/windows"
)

// TestTranscripts records what clients say in an MIT realm, see package recorder.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	setup := recorder.Setup{
		Binary: binary,
		Corefile: `example.test:{PORT} 2.0.192.in-addr.arpa:{PORT} {
    bind {ADDRESS}
    gsstsig {
        keytab {KEYTAB}
        file {SEED} example.test
    }
    transfer {
        to *
    }
}
`,
		Zones:  []string{forwardZone, "2.0.192.in-addr.arpa"},
		Seed:   seed("ns1.example.test"),
		Keytab: shared.keytab,
	}
	client1 := logIn(t, host1)
	for _, auth := range []string{"-g", "-o"} {
		t.Run("nsupdate "+auth, func(t *testing.T) {
			recorder.Record(t, setup, recorder.Client{
				Client: nsupdateClient, Options: auth, Name: "mit-nsupdate" + auth, Principal: host1 + "@" + realmName,
			}, func(t *testing.T, address netip.AddrPort) {
				for _, update := range []struct {
					rcode    string
					commands []string
				}{
					{"NOERROR", []string{"update delete client1.example.test A", "update add client1.example.test 300 A 192.0.2.11"}},
					{"NOERROR", []string{"update add 11.2.0.192.in-addr.arpa 300 PTR client1.example.test."}},
					{"REFUSED", []string{"update add wpad.example.test 300 A 192.0.2.11"}},
					{"NXRRSET", []string{"prereq yxrrset client1.example.test A 192.0.2.12", "update delete client1.example.test"}},
				} {
					outcome := nsupdate(testContext(t), t, address, auth, client1.env, update.commands...)
					if outcome.Rcode != update.rcode || !outcome.Signed {
						t.Errorf("%q: rcode %q, signed %v:\n%s", update.commands, outcome.Rcode, outcome.Signed, outcome.Output)
					}
				}
				expect(t, address, "client1.example.test", dns.TypeA, "192.0.2.11")
			})
		})
	}
	for _, session := range realm.AES {
		t.Run("nsupdate "+session.String(), func(t *testing.T) {
			who := logIn(t, host2, session)
			recorder.Record(t, setup, recorder.Client{
				Client: nsupdateClient, Options: "-g, " + session.String(), Name: "mit-nsupdate-g-" + session.String(),
				Principal: host2 + "@" + realmName,
			}, func(t *testing.T, address netip.AddrPort) {
				outcome := nsupdate(testContext(t), t, address, "-g", who.env, "update add client2.example.test 300 A 192.0.2.12")
				if outcome.Rcode != "NOERROR" || !outcome.Signed {
					t.Errorf("rcode %q, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
				}
			})
		})
	}
	t.Run("Windows", func(t *testing.T) {
		recorder.Record(t, setup, recorder.Client{
			Client: windows.Tested, Name: "mit-windows", Principal: longAccount + "@" + realmName,
		}, func(t *testing.T, address netip.AddrPort) {
			for _, to := range []string{"192.0.2.61", "192.0.2.62"} {
				result, err := windows.Register(testContext(t), windows.Config{
					Server: address.String(), Credentials: keytabCredentials(t, longAccount), Host: longHost, Address: netip.MustParseAddr(to),
				})
				if err != nil {
					t.Fatal(err)
				}
				if result.Reply.Rcode != dns.RcodeSuccess {
					t.Errorf("%s: %s", to, dns.RcodeToString[result.Reply.Rcode])
				}
			}
			expect(t, address, longHost, dns.TypeA, "192.0.2.62")
		})
	})
}
