package gsstsig

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestReclaim(t *testing.T) {
	forgetAccounts(t)
	for _, tt := range []struct {
		word          string
		host, account int // the rcodes for host/NAME and NAME$
	}{
		{"", dns.RcodeSuccess, dns.RcodeRefused},
		{"reclaim hosts", dns.RcodeSuccess, dns.RcodeRefused},
		{"reclaim always", dns.RcodeSuccess, dns.RcodeSuccess},
		{"reclaim never", dns.RcodeRefused, dns.RcodeRefused},
	} {
		s := start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n"+tt.word, 1))
		squatter := s.context("mallory")
		take := message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.66", "+client2.example.test. 300 A 192.0.2.66")
		want(t, tt.word+": squatter", s.signed(squatter, take), dns.RcodeSuccess)
		want(t, tt.word+": host", s.signed(s.context("host/client1.example.test"), message(t, "example.test.", "-client1.example.test. A")), tt.host)
		want(t, tt.word+": account", s.signed(s.context("CLIENT2$"), message(t, "example.test.", "-client2.example.test. A")), tt.account)
		s.stop()
	}
}

// TestAddressThatMoved: the client at an address takes over the PTR record, if it owns the name in the other zone that
// the record leads to, and sends by TCP.
func TestAddressThatMoved(t *testing.T) {
	forgetAccounts(t)
	s := start(t, strings.Replace(smallCorefile, "2.0.192.in-addr.arpa", "0.0.127.in-addr.arpa", 1))
	alice, bob := s.context("alice"), s.context("bob")
	want(t, "before", s.signed(alice, message(t, "0.0.127.in-addr.arpa.", "+1.0.0.127.in-addr.arpa. 300 PTR old.example.test.")), dns.RcodeSuccess)
	move := message(t, "0.0.127.in-addr.arpa.", "-1.0.0.127.in-addr.arpa. PTR", "+1.0.0.127.in-addr.arpa. 300 PTR new.example.test.")
	overTCP := s.contextOverTCP("bob")
	want(t, "before it has the name", s.signed(overTCP, move), dns.RcodeRefused)
	want(t, "the name", s.signed(bob, message(t, "example.test.", "+new.example.test. 300 A 127.0.0.1")), dns.RcodeSuccess)
	want(t, "by UDP", s.signed(bob, move), dns.RcodeRefused)
	want(t, "by TCP", s.signed(overTCP, move), dns.RcodeSuccess)
	want(t, "lookup", s.lookup("1.0.0.127.in-addr.arpa.", dns.TypePTR), "1.0.0.127.in-addr.arpa. 300 IN PTR new.example.test.")
	if lines := logged.lines("bob@EXAMPLE.TEST took over 1.0.0.127.in-addr.arpa., the name of its address, from alice@EXAMPLE.TEST"); len(lines) != 1 {
		t.Errorf("noted in %q", lines)
	}
	want(t, "deletes the name", s.signed(bob, message(t, "example.test.", "-new.example.test. A")), dns.RcodeSuccess)
	want(t, "is the owner", s.signed(s.contextOverTCP("bob"), message(t, "0.0.127.in-addr.arpa.", "-1.0.0.127.in-addr.arpa. PTR", "+1.0.0.127.in-addr.arpa. 300 PTR x.example.test.")), dns.RcodeSuccess)
	want(t, "a name that it had", s.signed(s.contextOverTCP("alice"), move), dns.RcodeRefused)
}

// TestTargetsOfOtherZones: nobody creates what the services of another zone of the block lead to.
func TestTargetsOfOtherZones(t *testing.T) {
	forgetAccounts(t)
	s := start(t, strings.NewReplacer("2.0.192.in-addr.arpa", "_msdcs.example.test", "keytab {KEYTAB}",
		"keytab {KEYTAB}\ngrant admin@EXAMPLE.TEST zonesub ANY\ngrant EXAMPLE.TEST owner .").Replace(smallCorefile))
	admin, bob := s.context("admin"), s.context("bob")
	dc := message(t, "example.test.", "+dc9.example.test. 300 A 192.0.2.66")
	want(t, "the service", s.signed(admin, message(t, "_msdcs.example.test.", "+_ldap._tcp.dc._msdcs.example.test. 300 SRV 0 0 389 dc9.example.test.")), dns.RcodeSuccess)
	want(t, "its target", s.signed(bob, dc), dns.RcodeRefused)
	if lines := logged.lines("records of the services of another zone of the server lead to the name"); len(lines) != 1 {
		t.Errorf("logged: %q", lines)
	}
	want(t, "another name", s.signed(bob, message(t, "example.test.", "+dc8.example.test. 300 A 192.0.2.66")), dns.RcodeSuccess)
	want(t, "no service", s.signed(admin, message(t, "_msdcs.example.test.", "-_ldap._tcp.dc._msdcs.example.test. SRV")), dns.RcodeSuccess)
	want(t, "its former target", s.signed(bob, dc), dns.RcodeSuccess)
	want(t, "a service of a client's name", s.signed(admin, message(t, "_msdcs.example.test.", "+77aa._msdcs.example.test. 300 CNAME dc9.example.test.")), dns.RcodeSuccess)
	want(t, "the owner", s.signed(bob, message(t, "example.test.", "-dc9.example.test. A", "+dc9.example.test. 300 A 192.0.2.9")), dns.RcodeSuccess)
}
