package listener

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/gsstsigtest"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

const realm = "EXAMPLE.TEST"

// kerberosServer makes a server that holds the key of DNS/host, and what makes tickets for it.
func kerberosServer(t testing.TB, host string, now func() time.Time) (*gsstsig.Server, *keytab.Keytab) {
	t.Helper()
	keytabs, keys := kerberosKeys(t, host)
	return serverOf(t, keytabs, gsstsig.NewTable(gsstsig.TableConfig{Now: now}), now), keys
}

// kerberosKeys makes the key of DNS/host.
func kerberosKeys(t testing.TB, host string) (*krb5.Keytabs, *keytab.Keytab) {
	t.Helper()
	keys := keytab.New()
	if err := keys.AddEntry("DNS/"+host, realm, "password of "+host, time.Now(), 1, 18); err != nil {
		t.Fatal(err)
	}
	octets, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keytab")
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	keytabs, err := krb5.OpenKeytabs(file)
	if err != nil {
		t.Fatal(err)
	}
	return keytabs, keys
}

// serverOf makes a server with that keytab and table.
func serverOf(t testing.TB, keytabs *krb5.Keytabs, table *gsstsig.Table, now func() time.Time) *gsstsig.Server {
	t.Helper()
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{Keytabs: keytabs, Replays: krb5.NewReplayCache(100), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	server, err := gsstsig.NewServer(gsstsig.Config{Acceptor: acceptor, Contexts: table, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// initiate begins a context with DNS/host and returns the first token.
func initiate(t *testing.T, host string, keys *keytab.Keytab) (*krb5.InitiatorContext, []byte) {
	t.Helper()
	return initiateContext(t, host, keys, true)
}

// initiateContext is initiate, with or without mutual authentication.
func initiateContext(t *testing.T, host string, keys *keytab.Keytab, mutual bool) (*krb5.InitiatorContext, []byte) {
	t.Helper()
	now := time.Now()
	ticket, session, err := messages.NewTicket(types.NewPrincipalName(1, "host/a.example.org"), realm,
		types.NewPrincipalName(2, "DNS/"+host), realm, asn1.BitString{Bytes: make([]byte, 4), BitLength: 32}, keys, 18, 1,
		now, now, now.Add(time.Hour), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	client, err := krb5.NewInitiator(krb5.InitiatorConfig{Ticket: ticket, SessionKey: session,
		Client: krb5.Principal{Components: []string{"host", "a.example.org"}, Realm: realm}, Mutual: mutual})
	if err != nil {
		t.Fatal(err)
	}
	token, err := client.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	return client, token
}

func tkeyQuery(name string, class uint16, inAnswer bool, token []byte) *dns.Msg {
	m := query(name, dns.TypeTKEY)
	m.Question[0].Qclass = class
	record := &dns.TKEY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTKEY, Class: class}, Algorithm: "gss-tsig.", Mode: 3,
		Inception: uint32(time.Now().Unix()), Expiration: uint32(time.Now().Unix() + 3600),
		KeySize: uint16(len(token)), Key: hex.EncodeToString(token)}
	if inAnswer {
		m.Answer = append(m.Answer, record)
	} else {
		m.Extra = append(m.Extra, record)
	}
	return m
}

// provider signs and verifies with a context, for miekg/dns.
type provider struct{ context *krb5.InitiatorContext }

func (p provider) Generate(message []byte, _ *dns.TSIG) ([]byte, error) {
	return p.context.GetMIC(message)
}

func (p provider) Verify(message []byte, t *dns.TSIG) error {
	mic, err := hex.DecodeString(t.MAC)
	if err != nil {
		return err
	}
	return p.context.VerifyMIC(message, mic)
}

// signedBy sends a message signed by a context and returns the answer, whose signature it has verified. dns.Client verifies
// none where the rcode is NOTAUTH.
func signedBy(t *testing.T, key provider, network, port, name string, m *dns.Msg) *dns.Msg {
	t.Helper()
	m.SetTsig(name, "gss-tsig.", 300, time.Now().Unix())
	request, mac, err := dns.TsigGenerateWithProvider(m, key, "", false)
	if err != nil {
		t.Fatal(err)
	}
	requestMAC, err := hex.DecodeString(mac)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dns.DialTimeout(network, local(port), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.UDPSize = 4096
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	wire, err := conn.ReadMsgHeader(nil)
	if err != nil {
		t.Fatal(err)
	}
	answer := new(dns.Msg)
	if err := answer.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	signature, err := gsstsigtest.FindSignature(wire)
	if err != nil || signature == nil {
		t.Fatalf("%v: no signature: %v\n%v", m.Question, err, answer)
	}
	if err := key.context.VerifyMIC(signature.Digest(requestMAC), signature.MAC); err != nil {
		t.Fatalf("%v: %v\n%v", m.Question, err, answer)
	}
	return answer
}

// line is what the probe answers to the holder of a key, nothing without.
func line(label, key string) string {
	if key == "" {
		return ""
	}
	return label + " " + key
}

// Two blocks with keytabs of their own share the address, one of them behind the tsig plugin.
func TestNegotiation(t *testing.T) {
	standard.Requires(t, "RFC 3645", "2.2 signed reply", "4.1.3 signed")
	port := freePort(t)
	hosts := map[string]*keytab.Keytab{}
	for _, label := range []string{"one", "two"} {
		host := label + ".example.org"
		server, keys := kerberosServer(t, host, time.Now)
		hosts[host] = keys
		probeServers.Store(label, server)
		t.Cleanup(func() { probeServers.Delete(label) })
	}
	r := start(t, fmt.Sprintf(`
		one.org:%[1]s {
			bind 127.0.0.1
			%[2]s
			probe one
		}
		two.org:%[1]s {
			bind 127.0.0.1
			probe two
		}`, port, tsigBlock))
	n := 0
	for host, keys := range hosts {
		for _, network := range networks {
			for _, class := range []uint16{dns.ClassANY, dns.ClassINET} {
				for _, inAnswer := range []bool{false, true} {
					n++
					name := fmt.Sprintf("%d.sig-%s.", n, host)
					client, token := initiate(t, host, keys)
					m := tkeyQuery(name, class, inAnswer, token)
					m.SetEdns0(1232, false)
					answer := ask(t, network, local(port), m) // dns.Client cannot verify it: it has no such key
					var reply *dns.TKEY
					for _, rr := range answer.Answer {
						reply, _ = rr.(*dns.TKEY)
					}
					if reply == nil || reply.Error != 0 || answer.IsTsig() == nil || answer.IsEdns0() == nil {
						t.Fatalf("%s %s %d %v:\n%v", network, host, class, inAnswer, answer)
					}
					inner, err := hex.DecodeString(reply.Key)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := client.Init(inner); err != nil || !client.Established() {
						t.Fatalf("%s: %v", host, err)
					}
					if n == 3 {
						if err := r.reload(string(r.inst.Caddyfile().Body())); err != nil {
							t.Fatal(err)
						}
					}
					// The key works for every answer, and by the other transport. All blocks on the address sign with it,
					// but the tsig plugin of the first one takes no other block's.
					own := ""
					if host == "one.example.org" {
						own = name
					}
					for question, want := range map[string]string{
						"x.one.org.": line("one", own), "x.two.org.": "two " + name, "refuse.two.org.": "", "refuse.one.org.": "", "no.zone.": "",
						"panic.one.org.": "", "raw.one.org.": line("raw", own),
					} {
						if got := signedBy(t, provider{client}, networks[n%2], port, name, query(question, dns.TypeTXT)); texts(got) != want {
							t.Fatalf("%s with key of %s:\n%v", question, host, got)
						}
					}
				}
			}
		}
	}
}

// Without mutual authentication the mechanism has nothing to say, and the client's own token is returned. By UDP there may
// be no room for it.
func TestNegotiationWithoutMutualAuthentication(t *testing.T) {
	port := freePort(t)
	host := "one.example.org"
	server, keys := kerberosServer(t, host, time.Now)
	probeServers.Store("one", server)
	t.Cleanup(func() { probeServers.Delete("one") })
	start(t, fmt.Sprintf("one.org:%s {\nbind 127.0.0.1\nprobe one\n}", port))
	for i, c := range []struct {
		network string
		name    string // of the key; the server chooses one for the root
		edns    uint16
		echo    bool
	}{
		{"udp", "1234567890.sig-ns1.corp.example.com.", 0, false},
		{"udp", "1234567891.sig-ns1.corp.example.com.", 4096, true},
		{"udp", ".", 4096, false}, // longer than the query by the name
		{"tcp", "1234567892.sig-ns1.corp.example.com.", 0, true},
		{"tcp", ".", 0, true},
	} {
		key, token := initiateContext(t, host, keys, false)
		m := tkeyQuery(c.name, dns.ClassANY, false, token)
		if c.edns > 0 {
			m.SetEdns0(c.edns, false)
		}
		answer := ask(t, c.network, local(port), m)
		if answer.Truncated || len(answer.Answer) != 1 || answer.IsTsig() == nil {
			t.Errorf("%d:\n%v", i, answer)
			continue
		}
		reply := answer.Answer[0].(*dns.TKEY)
		if reply.Error != 0 || (reply.Key == hex.EncodeToString(token)) != c.echo || (reply.Key == "") == c.echo || int(reply.KeySize) != len(reply.Key)/2 {
			t.Errorf("%d:\n%v", i, answer)
		}
		if got := signedBy(t, provider{key}, "udp", port, reply.Hdr.Name, query("x.one.org.", dns.TypeTXT)); texts(got) != "one "+reply.Hdr.Name {
			t.Errorf("%d, signed by the key:\n%v", i, got)
		}
	}
}

// A TKEY query that fits no server goes to the first server, which says what is wrong with it.
func TestTKEYGarbage(t *testing.T) {
	standard.Requires(t, "RFC 2930", "3 authenticated replies", "4 TKEY record")
	port := freePort(t)
	server, _ := kerberosServer(t, "one.example.org", time.Now)
	probeServers.Store("one", server)
	t.Cleanup(func() { probeServers.Delete("one") })
	start(t, fmt.Sprintf("one.org:%s {\nbind 127.0.0.1\nprobe one\n%s}", port, tsigBlock))
	for _, token := range [][]byte{nil, {1}, make([]byte, 3000)} {
		for _, network := range networks {
			answer := ask(t, network, local(port), tkeyQuery("k.test.", dns.ClassANY, false, token))
			if answer.Rcode == dns.RcodeServerFailure || len(answer.Answer) == 0 && answer.Rcode == dns.RcodeSuccess {
				t.Errorf("%s, %d octets:\n%v", network, len(token), answer)
			}
			// Signed with a static key the answer is signed with that.
			answer = ask(t, network, local(port), signed(tkeyQuery("k.test.", dns.ClassANY, false, token)))
			if answer.IsTsig() == nil {
				t.Errorf("%s, %d octets, unsigned:\n%v", network, len(token), answer)
			}
		}
	}
	missing := ask(t, "udp", local(port), query("k.test.", dns.TypeTKEY))
	if missing.Rcode != dns.RcodeFormatError {
		t.Errorf("no record:\n%v", missing)
	}
}
