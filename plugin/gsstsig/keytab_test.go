package gsstsig

import (
	"encoding/hex"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
)

// TestKeytabBreaks: a keytab that can no longer be read leaves the keys as they were, which is logged once; so is that everyone
// may read it.
func TestKeytabBreaks(t *testing.T) {
	s := start(t, smallCorefile)
	content, err := os.ReadFile(s.keytab)
	if err != nil {
		t.Fatal(err)
	}
	logs := func(what string, count int, words ...string) {
		t.Helper()
		current.reloadKeytabs()
		current.reloadKeytabs()
		want(t, what, len(logged.lines(append(words, s.keytab)...)), count)
	}
	logs("a keytab as it should be", 0, "chmod")
	if err := os.Chmod(s.keytab, 0o644); err != nil {
		t.Fatal(err)
	}
	logs("a keytab that everyone may read", 1, "WARNING", "can be read by everyone", "chmod 600")
	if err := os.WriteFile(s.keytab, content[:len(content)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	logs("half a keytab", 1, "ERROR", "cut off", "the keys read before stay in use")
	s.context("host/client1.example.test")
	if err := os.Remove(s.keytab); err != nil {
		t.Fatal(err)
	}
	logs("no keytab", 1, "ERROR", "no such file", "the keys read before stay in use")
	s.context("host/client1.example.test")
	if err := os.WriteFile(s.keytab, content, 0o600); err != nil {
		t.Fatal(err)
	}
	logs("the keytab once more", 1, "ERROR", "no such file")
	s.context("host/client1.example.test")
	other, err := os.ReadFile(krb5test.New(t, "EXAMPLE.TEST", "host/ns1.example.test").Keytab())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.keytab, other, 0o600); err != nil {
		t.Fatal(err)
	}
	logs("the keytab of another service", 1, "ERROR", "no longer has a key of DNS/ns1.example.test", "host/ns1.example.test", "the keys read before stay in use for 24h")
	s.context("host/client1.example.test")
}

// TestKeytabsBreak: of several keytabs that can no longer be read each has a line of its own.
func TestKeytabsBreak(t *testing.T) {
	first := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()
	second := krb5test.New(t, "OTHER.TEST", "DNS/ns1.example.test").Keytab()
	s, err := service.Open(&corefile.Block{Keytabs: []string{first, second}})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range s.Block.Keytabs {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	new(keytabReports).reload(s)
	for _, file := range s.Block.Keytabs {
		want(t, file, len(logged.lines("[ERROR] plugin/gsstsig: keytab "+file+": no such file or directory; the keys read before stay in use. Fix: export the key")), 1)
	}
}

// TestReplayAfterReload: what was seen before a reload is not new after it.
func TestReplayAfterReload(t *testing.T) {
	s := start(t, smallCorefile)
	const principal, service = "host/client1.example.test", "DNS/ns1.example.test"
	ticket, key := s.realm.Ticket(principal, service, 18, time.Hour)
	initiator, err := krb5.NewInitiator(krb5.InitiatorConfig{
		Ticket: ticket, SessionKey: key, Client: s.realm.Principal(principal), Mutual: true, Subkey: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := initiator.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	negotiate := func(name string) uint16 {
		t.Helper()
		m := new(dns.Msg).SetQuestion(name, dns.TypeTKEY)
		m.Question[0].Qclass = dns.ClassANY
		m.Extra = []dns.RR{&dns.TKEY{
			Hdr:       dns.RR_Header{Name: name, Rrtype: dns.TypeTKEY, Class: dns.ClassANY},
			Algorithm: "gss-tsig.", Mode: 3, KeySize: uint16(len(token)), Key: hex.EncodeToString(token),
		}}
		reply, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, s.address)
		if reply == nil || len(reply.Answer) != 1 { // the client cannot verify the signature, and says so
			t.Fatalf("%v: %v", err, reply)
		}
		return reply.Answer[0].(*dns.TKEY).Error
	}
	want(t, "the first time", negotiate("first.test."), 0)
	want(t, "the second time", negotiate("second.test."), dns.RcodeBadKey)
	if err := s.reload(smallCorefile + "# again\n"); err != nil {
		t.Fatal(err)
	}
	want(t, "after a reload", negotiate("third.test."), dns.RcodeBadKey)
	if n := len(logged.lines("handshake result=badkey", `key="third.test."`, "was used before")); n != 1 {
		t.Errorf("%d lines say so", n)
	}
}
