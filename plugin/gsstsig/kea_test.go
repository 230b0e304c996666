package gsstsig

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
)

// keaCorefile is the Corefile of docs/kea.md, for the realm of the tests.
func keaCorefile(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/kea.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "~~~ corefile\n")
	block, _, closed := strings.Cut(block, "~~~")
	if !found || !closed {
		t.Fatal("docs/kea.md has no Corefile")
	}
	return strings.NewReplacer(
		"example.com 2.0.192.in-addr.arpa {", "example.test:{PORT} 2.0.192.in-addr.arpa:{PORT} {\n    bind 127.0.0.1",
		"example.com", "example.test", "EXAMPLE.COM", "EXAMPLE.TEST", "/etc/coredns/dns.keytab", "{KEYTAB}", "/var/lib/coredns", "{DIR}",
	).Replace(block)
}

// lease is a machine's address and DHCID, as D2 writes them: see testdata/transcripts/mit-kea.txt.
type lease struct {
	name, address, dhcid string
}

func leaseOf(n int) lease {
	return lease{
		name: fmt.Sprintf("pc%d.example.test.", n), address: fmt.Sprintf("192.0.2.%d", n),
		dhcid: fmt.Sprintf("AAEBDl4doUq0KKnYQWh5wGq0vLhhq1CkXMNPTyrx%04dABE=", n),
	}
}

func (l lease) reverse() string {
	name, _ := dns.ReverseAddr(l.address)
	return name
}

// added are the updates by which D2 adds a lease.
func (l lease) added(t *testing.T) []*dns.Msg {
	t.Helper()
	forward := message(t, "example.test.", "+"+l.name+" 3600 A "+l.address, "+"+l.name+" 3600 DHCID "+l.dhcid)
	forward.NameNotUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: l.name}}})
	return []*dns.Msg{forward, message(t, "2.0.192.in-addr.arpa.", "-"+l.reverse()+" PTR", "-"+l.reverse()+" DHCID",
		"+"+l.reverse()+" 3600 PTR "+l.name, "+"+l.reverse()+" 3600 DHCID "+l.dhcid)}
}

// moved is the update by which D2 gives the machine another address.
func (l lease) moved(t *testing.T, address string) *dns.Msg {
	t.Helper()
	m := message(t, "example.test.", "-"+l.name+" A", "+"+l.name+" 3600 A "+address)
	m.NameUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: l.name}}})
	m.Used(message(t, "example.test.", "+"+l.name+" 0 DHCID "+l.dhcid).Ns)
	return m
}

// removed are the three updates by which D2 removes a lease.
func (l lease) removed(t *testing.T) []*dns.Msg {
	t.Helper()
	dhcid := message(t, "example.test.", "+"+l.name+" 0 DHCID "+l.dhcid).Ns
	address := new(dns.Msg).SetUpdate("example.test.")
	address.Used(dhcid)
	address.Remove(message(t, "example.test.", "+"+l.name+" 0 A "+l.address).Ns)
	name := new(dns.Msg).SetUpdate("example.test.")
	name.Used(message(t, "example.test.", "+"+l.name+" 0 DHCID "+l.dhcid).Ns)
	for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		name.RRsetNotUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: l.name, Rrtype: rrtype}}})
	}
	name.RemoveName([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: l.name}}})
	reverse := new(dns.Msg).SetUpdate("2.0.192.in-addr.arpa.")
	reverse.Used(message(t, "2.0.192.in-addr.arpa.", "+"+l.reverse()+" 0 PTR "+l.name).Ns)
	reverse.RemoveName([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: l.reverse()}}})
	return []*dns.Msg{address, name, reverse}
}

// TestKea is D2's day: one key for hundreds of updates at once, through a restart of the server, and a new keytab while D2 has the
// earlier ticket.
func TestKea(t *testing.T) {
	corefile := keaCorefile(t)
	s := start(t, corefile)
	const principal = "DHCP/kea1.example.test"
	ticket, sessionKey := s.realm.Ticket(principal, "DNS/ns1.example.test", 18, time.Hour)
	d2, err := s.negotiate(principal, ticket, sessionKey)
	if err != nil {
		t.Fatal(err)
	}
	all := func(what string, of func(lease) []*dns.Msg) {
		t.Helper()
		var wait sync.WaitGroup
		for n := 1; n <= 240; n++ {
			updates := of(leaseOf(n))
			wait.Go(func() {
				for _, m := range updates {
					if _, err := d2.Update(t.Context(), m); err != nil {
						t.Errorf("%s %d: %v", what, n, err)
					}
				}
			})
		}
		wait.Wait()
	}
	all("adding lease", func(l lease) []*dns.Msg { return l.added(t) })
	first := leaseOf(1)
	want(t, "A", s.lookup(first.name, dns.TypeA), first.name+" 3600 IN A 192.0.2.1")
	want(t, "DHCID", s.lookup(first.name, dns.TypeDHCID), first.name+" 3600 IN DHCID "+first.dhcid)
	want(t, "PTR", s.lookup(leaseOf(240).reverse(), dns.TypePTR), leaseOf(240).reverse()+" 3600 IN PTR pc240.example.test.")

	// Another client's lease for the name: D2 learns that from the answers.
	other := first
	other.dhcid, other.address = leaseOf(2).dhcid, "192.0.2.250"
	want(t, "a name that is taken", s.signed(d2, other.added(t)[0]), dns.RcodeYXDomain)
	want(t, "by another", s.signed(d2, other.moved(t, other.address)), dns.RcodeNXRrset)

	s.stop()
	s.restart(corefile)
	want(t, "a new address, by the key from before the restart", s.signed(d2, first.moved(t, "192.0.2.251")), dns.RcodeSuccess)
	want(t, "A", s.lookup(first.name, dns.TypeA), first.name+" 3600 IN A 192.0.2.251")

	// The administrator replaces the key of the service. The other realm stands for the same one with another key.
	content, err := os.ReadFile(krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.keytab, content, 0o600); err != nil {
		t.Fatal(err)
	}
	current.reloadKeytabs()
	want(t, "by the key from before the new keytab", s.signed(d2, first.moved(t, first.address)), dns.RcodeSuccess)
	rekeyed, err := s.negotiate(principal, ticket, sessionKey)
	if err != nil {
		t.Fatalf("a new key by the earlier ticket: %v", err)
	}
	former := d2
	d2 = rekeyed
	all("removing lease", func(l lease) []*dns.Msg { return l.removed(t) })
	want(t, "A", s.lookup(first.name, dns.TypeA), "")
	want(t, "PTR", s.lookup(first.reverse(), dns.TypePTR), "")
	want(t, "the former key lives on", s.signed(former, first.added(t)[0]), dns.RcodeSuccess)
}

// TestKeaAndOthers: by the rules of docs/kea.md a second D2 changes what the first one has created, a machine takes its name
// over, and what has records of other types stays.
func TestKeaAndOthers(t *testing.T) {
	s := start(t, strings.Replace(keaCorefile(t), "database {DIR}", "", 1))
	first, second := s.context("DHCP/kea1.example.test"), s.context("DHCP/kea2.example.test")
	pc := leaseOf(1)
	for _, m := range pc.added(t) {
		want(t, "a lease", s.signed(first, m), dns.RcodeSuccess)
	}
	want(t, "the other D2", s.signed(second, pc.moved(t, "192.0.2.9")), dns.RcodeSuccess)
	host := s.context("host/pc1.example.test")
	want(t, "the machine", s.signed(host, message(t, "example.test.", "+pc1.example.test. 300 SSHFP 4 2 "+strings.Repeat("ab", 32))), dns.RcodeSuccess)
	stranger := s.context("host/pc2.example.test")
	want(t, "a machine whose name it is not", s.signed(stranger, message(t, "example.test.", "+pc1.example.test. 300 A 192.0.2.66")), dns.RcodeRefused)
	want(t, "D2, the name of a machine", s.signed(first, pc.moved(t, "192.0.2.1")), dns.RcodeSuccess)
	removed := pc.removed(t)
	want(t, "D2, the address", s.signed(first, removed[0]), dns.RcodeSuccess)
	want(t, "D2, a name with records of other types", s.signed(first, removed[1]), dns.RcodeRefused)
	want(t, "D2, a name server", s.signed(first, message(t, "example.test.", "+sub.example.test. 300 NS ns1.example.test.")), dns.RcodeRefused)
}

// TestKeaLifetime: D2 does not read the lifetime of its key. With a longer one of its own it gets BADKEY, as the page says.
func TestKeaLifetime(t *testing.T) {
	s := start(t, strings.NewReplacer("database {DIR}", "", "lifetime 1h", "lifetime 1s").Replace(keaCorefile(t)))
	d2 := s.context("DHCP/kea1.example.test")
	n := 0
	for end := time.Now().Add(30 * time.Second); ; n++ {
		_, err := d2.Update(t.Context(), message(t, "example.test.", fmt.Sprintf("+pc%d.example.test. 300 A 192.0.2.1", n)))
		var refused *client.TSIGError
		if errors.As(err, &refused) && int(refused.Code) == dns.RcodeBadKey {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("update %d: %v", n, err)
		}
	}
}
