//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
)

// The Go client of gsstsig/client is proven here against BIND and MIT's library, which share no code with it.

// bindServer starts named with a zone that everybody in the realm may change, and one that host1 may.
func bindServer(t *testing.T) *named.Server {
	t.Helper()
	config, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	var zone strings.Builder
	zone.WriteString(seed("ns1.example.test") + "ns1 IN A 127.0.0.1\n")
	for i := range 5000 { // several messages of a transfer
		fmt.Fprintf(&zone, "h%d IN A 10.0.%d.%d\n", i, i>>8, i&255)
	}
	s, err := named.Start(shared.ctx, named.Config{
		Keytab: shared.keytabs, Krb5Config: config,
		Zones: []named.Zone{
			{Name: "example.test", Text: zone.String(), Policy: fmt.Sprintf("grant %s krb5-subdomain . ANY;", realmName)},
			{Name: "host1.test", Text: seed("ns1.example.test") + "ns1 IN A 127.0.0.1\n", Policy: fmt.Sprintf("grant %q zonesub ANY;", host1+"@"+realmName)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("named said last:\n%s", last(s.Log(), 30))
		}
		s.Stop()
	})
	return s
}

func keytabCredentials(t *testing.T, principal string) *client.Credentials {
	t.Helper()
	config, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	keytab, err := shared.realm.Keytab(t.TempDir()+"/client.keytab", principal)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := client.FromKeytab(config, keytab, principal)
	if err != nil {
		t.Fatal(err)
	}
	return credentials
}

func dialClient(t *testing.T, config client.Config) *client.Client {
	t.Helper()
	if config.ServicePrincipal == "" {
		config.ServicePrincipal = service
	}
	c, err := client.Dial(testContext(t), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// additions makes the names of what is added new each time: BIND takes a hundred records of one name and type.
var additions atomic.Int64

func addition(zone string) *dns.Msg {
	m := new(dns.Msg).SetUpdate(zone)
	m.Insert([]dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: fmt.Sprintf("added%d.%s", additions.Add(1), zone), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
		Txt: []string{"by the Go client"},
	}})
	return m
}

// useKey makes a context, changes the zone with it and deletes it.
func useKey(t *testing.T, c *client.Client) *client.Context {
	t.Helper()
	ctx := testContext(t)
	key, err := c.Negotiate(ctx)
	if err != nil {
		t.Error(err)
		return nil
	}
	if _, err := key.Update(ctx, addition("example.test.")); err != nil {
		t.Error(err)
	}
	if err := key.Delete(ctx); err != nil {
		t.Error(err)
	}
	return key
}

func TestClientAgainstBINDEncryptionTypes(t *testing.T) {
	bind := bindServer(t)
	credentials := keytabCredentials(t, host1)
	for _, session := range realm.AES {
		for _, key := range realm.AES {
			for _, network := range []string{"udp", "tcp"} {
				t.Run(fmt.Sprintf("session %s, service %s, %s", session, key, network), func(t *testing.T) {
					used := useKey(t, dialClient(t, client.Config{
						Server: bind.Address.String(), Network: network,
						Credentials:      credentials.WithEnctypes(krb5.Enctype(session)),
						ServicePrincipal: "DNS/" + singleHost(key),
					}))
					if used != nil && used.Enctype() != krb5.Enctype(session) {
						t.Errorf("signed with encryption type %d", used.Enctype())
					}
				})
			}
		}
	}
}

// What is left out, BIND 9.18 does not have: more rounds than one, and a last reply without a token of its own.
func TestClientAgainstBINDHandshakes(t *testing.T) {
	bind := bindServer(t)
	credentials := keytabCredentials(t, host1)
	for _, network := range []string{"udp", "tcp"} {
		for _, algorithm := range []string{client.AlgorithmGSSTSIG, client.AlgorithmMicrosoft} {
			for _, framing := range []client.Framing{client.SPNEGO, client.SPNEGOMicrosoftFirst, client.SPNEGOWindows, client.RawKerberos} {
				for flags := range 16 {
					config := client.Config{
						Server: bind.Address.String(), Network: network, Credentials: credentials, Algorithm: algorithm,
						Framing: framing,
						Quirks:  client.Quirks{NoSubkey: flags&1 != 0, MechListMIC: flags&2 != 0, TKEYInAnswer: flags&4 != 0, OneWay: flags&8 != 0},
					}
					if config.Quirks.OneWay && framing == client.RawKerberos {
						continue
					}
					t.Run(fmt.Sprintf("%s %s framing %d flags %04b", network, algorithm, framing, flags), func(t *testing.T) {
						useKey(t, dialClient(t, config))
					})
				}
			}
		}
	}
}

func TestClientAgainstBINDKeyNames(t *testing.T) {
	bind := bindServer(t)
	ctx := testContext(t)
	credentials := keytabCredentials(t, host1)
	for _, class := range []uint16{dns.ClassANY, dns.ClassINET} {
		for _, name := range []string{"", ".", "Mine.Example."} {
			c := dialClient(t, client.Config{
				Server: bind.Address.String(), Credentials: credentials, KeyName: name,
				Quirks:   client.Quirks{Class: class, RecordClass: class},
				Lifetime: 24 * time.Hour,
			})
			key, err := c.Negotiate(ctx)
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			if from, until := key.Lifetime(); until.Sub(from) != time.Hour {
				t.Errorf("%q lives for %v; BIND gives an hour", name, until.Sub(from))
			}
			if strings.HasPrefix(name, "Mine") {
				_, err := c.Negotiate(ctx)
				var refused *client.TKEYError
				if !errors.As(err, &refused) || refused.Code != dns.RcodeBadName {
					t.Errorf("the name again: %v", err)
				}
			}
			if err := key.Delete(ctx); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func TestClientAgainstBINDCredentials(t *testing.T) {
	bind := bindServer(t)
	config, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	const user, password = "user", "correct horse"
	if err := shared.realm.AddPassword(user, password); err != nil {
		t.Fatal(err)
	}
	fromPassword, err := client.FromPassword(config, user, password)
	if err != nil {
		t.Fatal(err)
	}
	fromCache, err := client.FromCCache(config, logIn(t, host2).cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, credentials := range []*client.Credentials{fromPassword, fromCache} {
		c := dialClient(t, client.Config{Server: bind.Address.String(), Credentials: credentials})
		key, err := c.Negotiate(testContext(t))
		if err != nil {
			t.Errorf("%s: %v", credentials.Client(), err)
			continue
		}
		if _, err := key.Exchange(testContext(t), new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA)); err != nil {
			t.Errorf("%s: %v", credentials.Client(), err)
		}
	}
	wrong, err := client.FromPassword(config, user, "wrong")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Ticket(testContext(t), service); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := fromPassword.Ticket(testContext(t), "DNS/nowhere.example.test"); err == nil {
		t.Error("a service that the KDC does not know gave a ticket")
	}
}

func TestClientAgainstBINDErrors(t *testing.T) {
	bind := bindServer(t)
	ctx := testContext(t)
	var offset atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	one := dialClient(t, client.Config{Server: bind.Address.String(), Credentials: keytabCredentials(t, host1), Now: now})
	two := dialClient(t, client.Config{Server: bind.Address.String(), Credentials: keytabCredentials(t, host2)})
	first, err := one.Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other, err := two.Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}

	// REFUSED is signed, or it would not come back as an RCODE.
	if _, err := first.Update(ctx, addition("host1.test.")); err != nil {
		t.Errorf("host1 in its zone: %v", err)
	}
	var rcode *client.RcodeError
	if _, err := other.Update(ctx, addition("host1.test.")); !errors.As(err, &rcode) || rcode.Rcode != dns.RcodeRefused {
		t.Errorf("host2 in host1's zone: %v", err)
	}

	var refused *client.TSIGError
	offset.Store(int64(time.Hour))
	_, err = first.Exchange(ctx, addition("example.test."))
	if !errors.As(err, &refused) || refused.Code != dns.RcodeBadTime || !refused.Verified {
		t.Errorf("an hour off: %v", err)
	} else if d := time.Since(refused.ServerTime); d < -time.Minute || d > time.Minute {
		t.Errorf("an hour off: the server's time is %v", refused.ServerTime)
	}
	offset.Store(0)

	wire, transaction, err := first.Sign(addition("example.test."))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		_, err := transaction.Verify(exchangeBytes(t, bind.Address.String(), wire))
		if replayed := errors.As(err, &refused) && refused.Code == dns.RcodeBadSig; replayed != (i == 1) || err != nil != replayed {
			t.Errorf("sent for time %d: %v", i+1, err)
		}
	}

	var refusedKey *client.TKEYError
	if err := other.DeleteKey(ctx, first.KeyName()); !errors.As(err, &refusedKey) {
		t.Errorf("host2 deletes host1's key: %v", err)
	}
	if err := first.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	gone, err := one.Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	helper, err := one.Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.DeleteKey(ctx, gone.KeyName()); err != nil {
		t.Errorf("host1 deletes another key of its own: %v", err)
	}
	if _, err := gone.Exchange(ctx, addition("example.test.")); !errors.As(err, &refused) || refused.Code != dns.RcodeBadKey {
		t.Errorf("a deleted key: %v", err)
	}
}

// exchangeBytes sends a packed message by TCP.
func exchangeBytes(t *testing.T, address string, wire []byte) []byte {
	t.Helper()
	conn, err := dns.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(wire); err != nil {
		t.Fatal(err)
	}
	reply, err := conn.ReadMsgHeader(nil)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestClientAgainstBINDTransfer(t *testing.T) {
	bind := bindServer(t)
	ctx := testContext(t)
	c := dialClient(t, client.Config{Server: bind.Address.String(), Credentials: keytabCredentials(t, host1)})
	key, err := c.Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for _, err := range key.Transfer(ctx, "example.test.") {
		if err != nil {
			t.Fatal(err)
		}
		records++
	}
	if records != 5004 {
		t.Errorf("the zone has %d records, want 5004", records)
	}
	const updates = 3
	for range updates {
		if _, err := key.Update(ctx, addition("example.test.")); err != nil {
			t.Fatal(err)
		}
	}
	records = 0
	for _, err := range key.Transfer(ctx, "example.test.", 1) {
		if err != nil {
			t.Fatal(err)
		}
		records++
	}
	// The SOA record at both ends; for each update two more and what it added.
	if records != 2+3*updates {
		t.Errorf("%d records of differences, want %d", records, 2+3*updates)
	}
	var rcode *client.RcodeError
	for _, err := range key.Transfer(ctx, "nowhere.test.") {
		if !errors.As(err, &rcode) || rcode.Rcode != dns.RcodeNotAuth {
			t.Errorf("a zone that is not there: %v", err)
		}
	}
}
