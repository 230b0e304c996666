package gsstsig

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/internal/test/windows"
)

// windowsMachine is a machine's account with a ticket, as Windows has it.
func (s *coredns) windowsMachine(account string) *client.Credentials {
	s.t.Helper()
	ticket, key := s.realm.Ticket(account, "DNS/ns1.example.test", 18, time.Hour)
	return client.FromTicket(client.ServiceTicket{
		Ticket: ticket, SessionKey: key, Client: s.realm.Principal(account), Expires: time.Now().Add(time.Hour),
	})
}

// register registers an address as Windows does.
func (s *coredns) register(account, host, address string) (*windows.Registration, error) {
	s.t.Helper()
	return windows.Register(s.t.Context(), windows.Config{
		Server: s.address, Credentials: s.windowsMachine(account), Host: host, Address: netip.MustParseAddr(address), Timeout: 10 * time.Second,
	})
}

// TestWindowsModes: what a zone takes in each mode, from a client that comes unsigned first, and signs when it is refused.
func TestWindowsModes(t *testing.T) {
	standard.Requires(t, "MS-DNSP", "2.2.6.1.1 off", "2.2.6.1.1 nonsecure and secure", "2.2.6.1.1 secure", "3.1.1.1.1 names with records", "3.1.1.1.1 new names")
	standard.Requires(t, "MS-GSSA", "3.1.5 rest", "3.1.5.3 response", "3.1.5.3 signed")
	standard.Deviates(t, "MS-GSSA", "3.1.5.3 refusals", "A refusal is an answer of the server's own, and signed like every other: a client that verifies it knows that it is the server's.")
	for mode, outcome := range map[string]struct {
		unsigned, signed int // -1 where the client has no reason to sign
		records          string
	}{
		"none":                 {dns.RcodeRefused, dns.RcodeRefused, ""},
		"secure":               {dns.RcodeRefused, dns.RcodeSuccess, "pc1.example.test. 1200 IN A 192.0.2.1"},
		"nonsecure-and-secure": {dns.RcodeSuccess, -1, "pc1.example.test. 1200 IN A 192.0.2.1"},
	} {
		t.Run(mode, func(t *testing.T) {
			s := start(t, "example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  updates "+mode+"\n }\n}")
			done, err := s.register("PC1$", "pc1.example.test", "192.0.2.1")
			if err != nil {
				t.Fatal(err)
			}
			want(t, "unsigned", done.Unsigned, outcome.unsigned)
			want(t, "signs", done.KeyName != "", outcome.signed >= 0)
			if outcome.signed >= 0 {
				// The client takes the TKEY reply and this one for the server's only if they are signed.
				want(t, "signed", done.Reply.Rcode, outcome.signed)
				want(t, "the answer has a signature", done.Reply.IsTsig() != nil, true)
			}
			want(t, "records", s.lookup("pc1.example.test.", dns.TypeA), outcome.records)
			if mode != "nonsecure-and-secure" {
				return
			}
			// Signed updates are taken as well, and make a name that others may not change.
			want(t, "signed all the same", s.signed(s.context("PC2$"), message(t, "example.test.", "+pc2.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)
			done, err = s.register("PC3$", "pc2.example.test", "192.0.2.3")
			if err != nil {
				t.Fatal(err)
			}
			want(t, "unsigned, another's name", done.Unsigned, dns.RcodeRefused)
			want(t, "signed, another's name", done.Reply.Rcode, dns.RcodeRefused)
			want(t, "records", s.lookup("pc2.example.test.", dns.TypeA), "pc2.example.test. 300 IN A 192.0.2.2")
		})
	}
}

// TestDigestOfTKEYReply: under both names of the algorithm the last TKEY reply, and all others, are signed over the digest of RFC
// 8945, which the client computes for itself, and which is Microsoft's.
func TestDigestOfTKEYReply(t *testing.T) {
	standard.Requires(t, "MS-GSSA", "3.1.5.1 no request MAC", "3.1.5.1 request MAC")
	s := start(t, "example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n }\n}")
	for _, algorithm := range []string{client.AlgorithmGSSTSIG, client.AlgorithmMicrosoft} {
		for _, framing := range []client.Framing{client.SPNEGOWindows, client.SPNEGOMicrosoftFirst, client.RawKerberos} {
			c, err := client.Dial(t.Context(), client.Config{
				Server: s.address, ServicePrincipal: "DNS/ns1.example.test@EXAMPLE.TEST", Credentials: s.windowsMachine("PC1$"),
				Algorithm: algorithm, Framing: framing,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			key, err := c.Negotiate(t.Context())
			if err != nil {
				t.Fatalf("%s, framing %d: %v", algorithm, framing, err)
			}
			reply, err := key.Exchange(t.Context(), message(t, "example.test.", "+pc1.example.test. 1200 A 192.0.2.1"))
			if err != nil {
				t.Fatalf("%s, framing %d: %v", algorithm, framing, err)
			}
			want(t, "algorithm of the reply", strings.ToLower(reply.IsTsig().Algorithm), algorithm)
		}
	}
}

// TestWindowsAnswers: what the server answers where Windows decides by it: whether a name is its own, or another's.
func TestWindowsAnswers(t *testing.T) {
	s := start(t, "example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n }\n}")
	rcode := func(account, host string) int {
		t.Helper()
		done, err := s.register(account, host, "192.0.2.9")
		if err != nil {
			t.Fatal(err)
		}
		return done.Reply.Rcode
	}
	want(t, "a free name", rcode("PC1$", "pc1.example.test"), dns.RcodeSuccess)
	want(t, "the same again", rcode("PC1$", "pc1.example.test"), dns.RcodeSuccess)
	want(t, "another's", rcode("PC2$", "pc1.example.test"), dns.RcodeSuccess) // it changes nothing
	want(t, "an alias", s.signed(s.context("PC1$"), message(t, "example.test.", "+alias.example.test. 300 CNAME pc1.example.test.")), dns.RcodeSuccess)
	want(t, "a name that is an alias", rcode("PC1$", "alias.example.test"), dns.RcodeYXRrset)
	want(t, "names without case", rcode("PC1$", "PC1.Example.Test"), dns.RcodeSuccess)
}

// TestProxiesOfWindows: what a DHCP server of Windows registers for a machine that cannot do so itself.
func TestProxiesOfWindows(t *testing.T) {
	standard.Deviates(t, "MS-DNSP", "3.1.1.1.1 proxies", "The first other client that signs a change of the name becomes its owner. Others have no rights to it then: with Windows anybody could take it.")
	s := start(t, "example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  proxies DHCP1$@EXAMPLE.TEST\n }\n}")
	add := func(account, address string) int {
		t.Helper()
		return s.signed(s.context(account), message(t, "example.test.", "-pc9.example.test. A", "+pc9.example.test. 1200 A "+address))
	}
	want(t, "by the DHCP server", add("DHCP1$", "192.0.2.9"), dns.RcodeSuccess)
	want(t, "and again", add("DHCP1$", "192.0.2.10"), dns.RcodeSuccess)
	want(t, "by the first machine", add("PC9$", "192.0.2.11"), dns.RcodeSuccess)
	want(t, "by the next one", add("PC8$", "192.0.2.12"), dns.RcodeRefused)
	want(t, "records", s.lookup("pc9.example.test.", dns.TypeA), "pc9.example.test. 1200 IN A 192.0.2.11")
}
