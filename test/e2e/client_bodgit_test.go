//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bodgit/tsig"
	"github.com/bodgit/tsig/gss"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// bodgitClient is the library that Terraform's provider for DNS signs with; external-dns and lego have a newer one.
var bodgitClient = tested.Client{Name: "bodgit/tsig, of Terraform's provider", Module: "github.com/bodgit/tsig"}

// bodgit is a program with that library, which derives the service's principal from the name that it has for the server.
type bodgit struct {
	config    string // krb5.conf
	server    string // host and port
	resolver  *net.Resolver
	negotiate func(c *gss.Client, server string) (key string, expires time.Time, err error)
}

// signed makes a context for one message, as the programs do, and has it signed. What end frees is the client's alone:
// the server is told nothing.
func (b *bodgit) signed(t *testing.T, network string, m *dns.Msg) (signer dns.TsigProvider, end func()) {
	t.Helper()
	c, err := gss.NewClient(&dns.Client{Net: network, Dialer: &net.Dialer{Resolver: b.resolver}}, gss.WithConfig(b.config))
	if err != nil {
		t.Fatal(err)
	}
	key, expires, err := b.negotiate(c, b.server)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(expires); left <= 0 || left > time.Hour {
		t.Errorf("the context ends at %s", expires)
	}
	m.SetTsig(key, tsig.GSS, 300, time.Now().Unix())
	return c, func() {
		if err := c.DeleteContext(key); err != nil {
			t.Error(err)
		}
	}
}

// update sends an UPDATE and wants the rcode, with a signature that the library takes.
func (b *bodgit) update(t *testing.T, network string, rcode int, change func(m *dns.Msg)) {
	t.Helper()
	m := new(dns.Msg).SetUpdate(dns.Fqdn(forwardZone))
	change(m)
	signer, end := b.signed(t, network, m)
	defer end()
	c := &dns.Client{Net: network, Dialer: &net.Dialer{Resolver: b.resolver}, TsigProvider: signer}
	reply, _, err := c.Exchange(m, b.server)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Rcode != rcode || reply.IsTsig() == nil {
		t.Errorf("over %s: %s", network, reply)
	}
}

// zone reads the zone, by address records.
func (b *bodgit) zone(t *testing.T) map[string]string {
	t.Helper()
	m := new(dns.Msg).SetAxfr(dns.Fqdn(forwardZone))
	signer, end := b.signed(t, "tcp", m)
	defer end()
	d := net.Dialer{Resolver: b.resolver}
	conn, err := d.DialContext(testContext(t), "tcp", b.server)
	if err != nil {
		t.Fatal(err)
	}
	transfer := &dns.Transfer{Conn: &dns.Conn{Conn: conn}, TsigProvider: signer}
	envelopes, err := transfer.In(m, b.server)
	if err != nil {
		t.Fatal(err)
	}
	addresses := make(map[string]string)
	for envelope := range envelopes {
		if envelope.Error != nil {
			t.Fatal(envelope.Error)
		}
		for _, rr := range envelope.RR {
			if a, ok := rr.(*dns.A); ok {
				addresses[a.Hdr.Name] = a.A.String()
			}
		}
	}
	return addresses
}

// TestBodgit has the library do what such programs do with it: read the zone by a signed transfer, add,
// replace and delete records, each message by a context of its own, with a password and with a keytab.
func TestBodgit(t *testing.T) {
	t.Parallel()
	path, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const user, password = "bodgit", "a password of the test"
	if err := shared.realm.AddPassword(user, password); err != nil {
		t.Fatal(err)
	}
	keytab, err := shared.realm.Keytab(filepath.Join(t.TempDir(), "client.keytab"), host1)
	if err != nil {
		t.Fatal(err)
	}
	var hosts string // more than one message of the transfer
	for i := range 3000 {
		hosts += fmt.Sprintf("h%d IN A 10.0.%d.%d\n", i, i>>8, i&255)
	}
	s := startCoreDNS(t, server.Config{
		Corefile: forwardZone + " {\n    bind 127.0.0.1\n    gsstsig {\n        keytab " + shared.keytab + "\n        file db\n    }\n" +
			"    transfer {\n        to *\n    }\n    errors\n}\n",
		Files: map[string]string{"db": seed("ns1.example.test") + "ns1 IN A 127.0.0.1\n" + hosts},
		Probe: forwardZone,
	})
	b := &bodgit{
		config: string(config),
		server: fmt.Sprintf("ns1.example.test:%d", s.Address.Port()),
		resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Address.String())
		}},
	}
	rr := func(text string) []dns.RR {
		t.Helper()
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return []dns.RR{rr}
	}
	for _, who := range []struct {
		name, host string
		negotiate  func(c *gss.Client, server string) (string, time.Time, error)
	}{
		{"password", "password.example.test.", func(c *gss.Client, server string) (string, time.Time, error) {
			return c.NegotiateContextWithCredentials(server, realmName, user, password)
		}},
		{"keytab", "keytab.example.test.", func(c *gss.Client, server string) (string, time.Time, error) {
			return c.NegotiateContextWithKeytab(server, realmName, host1, keytab)
		}},
	} {
		t.Run(who.name, func(t *testing.T) {
			tested.Path(t, bodgitClient, "by "+who.name+": add, replace and delete over UDP and TCP, and signed AXFR")
			b.negotiate = who.negotiate
			for _, network := range []string{"udp", "tcp"} {
				b.update(t, network, dns.RcodeSuccess, func(m *dns.Msg) {
					m.Insert(rr(who.host + " 300 A 192.0.2.1"))
					m.Insert(rr(who.host + ` 300 TXT "heritage=external-dns"`))
				})
				if zone := b.zone(t); len(zone) != 3002 || zone[who.host] != "192.0.2.1" {
					t.Errorf("over %s: after the update %d addresses, %s has %q", network, len(zone), who.host, zone[who.host])
				}
				b.update(t, network, dns.RcodeSuccess, func(m *dns.Msg) {
					m.Remove(rr(who.host + " 300 A 192.0.2.1"))
					m.Insert(rr(who.host + " 300 A 192.0.2.2"))
				})
				b.update(t, network, dns.RcodeRefused, func(m *dns.Msg) { m.Insert(rr("h1.example.test. 300 A 192.0.2.3")) })
				if zone := b.zone(t); zone[who.host] != "192.0.2.2" || zone["h1.example.test."] != "10.0.0.1" {
					t.Errorf("over %s: after the change: %q, %q", network, zone[who.host], zone["h1.example.test."])
				}
				b.update(t, network, dns.RcodeSuccess, func(m *dns.Msg) { m.RemoveName(rr(who.host + " 0 ANY")) })
				if zone := b.zone(t); len(zone) != 3001 {
					t.Errorf("over %s: after the deletion %d addresses", network, len(zone))
				}
			}
		})
	}
}
