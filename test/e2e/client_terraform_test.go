//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bodgit/tsig"
	"github.com/bodgit/tsig/gss"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// terraform sends what Terraform's provider for DNS sends, in its order and by its library: each message in a context of its own, queries
// too, and again where the provider sends it again.
type terraform struct {
	bodgit
	transport string
	timeout   time.Duration
	retries   int
}

// exchange sends a message until there is an answer that is not to be retried. The library takes the signature off a message
// that it sends, so that what is sent again is not signed.
func (p *terraform) exchange(m *dns.Msg) (*dns.Msg, error) {
	c := &dns.Client{Net: p.transport, Timeout: p.timeout, Dialer: &net.Dialer{Resolver: p.resolver, Timeout: p.timeout}}
	g, err := gss.NewClient(c, gss.WithConfig(p.config))
	if err != nil {
		return nil, err
	}
	key, _, err := p.negotiate(g, p.server)
	if err != nil {
		return nil, fmt.Errorf("negotiating: %w", err)
	}
	defer func() { _ = g.DeleteContext(key) }() // at the client alone
	c.TsigProvider = g
	m.RecursionDesired = false
	m.SetTsig(key, tsig.GSS, 300, time.Now().Unix())
	for left, larger := p.retries, false; ; {
		r, _, err := c.Exchange(m, p.server)
		failure, isNet := err.(net.Error)
		switch {
		case left > 0 && (isNet && failure.Timeout() || err == nil && r.Rcode == dns.RcodeServerFailure):
			left--
		case err != nil:
			return r, err
		case r.Truncated && larger:
			c.Net, left = "tcp", p.retries
		case r.Truncated:
			m.SetEdns0(dns.DefaultMsgSize, false)
			larger, left = true, p.retries
		default:
			return r, nil
		}
	}
}

// set is what a resource of the provider has: the records of one name and type.
type set struct {
	zone, name, rtype string
	data              []string
}

func (s set) records(t *testing.T, data []string) (list []dns.RR) {
	t.Helper()
	for _, d := range data {
		rr, err := dns.NewRR(fmt.Sprintf("%s 3600 %s %s", s.name, s.rtype, d))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rr)
	}
	return list
}

// change removes what was, and adds what is to be, in one update, as for a resource that is created or changed. What is in both is
// not sent.
func (p *terraform) change(t *testing.T, s set, was, is []string) (rcode int) {
	t.Helper()
	without := func(list, others []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(d string) bool { return slices.Contains(others, d) })
	}
	m := new(dns.Msg).SetUpdate(s.zone)
	m.Remove(s.records(t, without(was, is)))
	m.Insert(s.records(t, without(is, was)))
	return p.updated(t, m)
}

// remove removes the whole set.
func (p *terraform) remove(t *testing.T, s set) (rcode int) {
	t.Helper()
	m := new(dns.Msg).SetUpdate(s.zone)
	m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: s.name, Rrtype: dns.StringToType[s.rtype]}}})
	return p.updated(t, m)
}

func (p *terraform) updated(t *testing.T, m *dns.Msg) int {
	t.Helper()
	r, err := p.exchange(m)
	if err != nil {
		t.Fatal(err)
	}
	return r.Rcode
}

// read returns what is there, by a query. That of a delegation is in the authority section.
func (p *terraform) read(t *testing.T, s set) (data []string) {
	t.Helper()
	r, err := p.exchange(new(dns.Msg).SetQuestion(s.name, dns.StringToType[s.rtype]))
	if err != nil {
		t.Fatal(err)
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		t.Fatalf("%s %s: %s", s.name, s.rtype, dns.RcodeToString[r.Rcode])
	}
	answer := r.Answer
	if s.rtype == "NS" {
		answer = r.Ns
	}
	for _, rr := range answer {
		if dns.TypeToString[rr.Header().Rrtype] != s.rtype {
			continue // SOA, if there is nothing
		}
		if rr.Header().Ttl != 3600 {
			t.Errorf("time to live: %s", rr)
		}
		data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(data)
	return data
}

// zoneOf finds the zone of a name, as for a resource that is imported: by its SOA record, label by label.
func (p *terraform) zoneOf(t *testing.T, name string) string {
	t.Helper()
	for ; name != "."; name = dns.Fqdn(strings.Join(dns.SplitDomainName(name)[1:], ".")) {
		r, err := p.exchange(new(dns.Msg).SetQuestion(name, dns.TypeSOA))
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range r.Answer {
			if soa, ok := rr.(*dns.SOA); ok {
				return soa.Hdr.Name
			}
		}
	}
	return ""
}

// startTerraform starts a server, and a relay in front of it, which changes answers.
func startTerraform(t *testing.T, change func(relay.Exchange) []byte) *terraform {
	t.Helper()
	path, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := startCoreDNS(t, server.Config{
		Corefile: "example.test 2.0.192.in-addr.arpa {\n    bind 127.0.0.1\n    gsstsig {\n        keytab " + shared.keytab + "\n        file db example.test\n" +
			"        deny * name ns1.example.test ANY\n        grant * zonesub ANY\n    }\n    errors\n}\n",
		Files: map[string]string{"db": seed("ns1.example.test") + "ns1 IN A 127.0.0.1\n"},
		Probe: forwardZone,
	})
	r, err := relay.Start(relay.Config{Server: s.Address, Change: change})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return &terraform{retries: 3, bodgit: bodgit{
		config: string(config),
		server: fmt.Sprintf("ns1.example.test:%d", r.Address.Port()),
		resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Address.String())
		}},
	}}
}

// TestTerraform has resources of each type created, changed, deleted and imported, as Terraform's provider does it, by each of
// its three ways to log in and both transports.
func TestTerraform(t *testing.T) { // not parallel, for the environment
	const user, password = "terraform", "a password of the test"
	if err := shared.realm.AddPassword(user, password); err != nil {
		t.Fatal(err)
	}
	keytab, err := shared.realm.Keytab(filepath.Join(t.TempDir(), "client.keytab"), host1)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5CCNAME", "FILE:"+logIn(t, host2).cache)
	p := startTerraform(t, nil)
	const forward, reverse = "example.test.", "2.0.192.in-addr.arpa."
	resources := []struct {
		set
		then []string
	}{
		{set{forward, "a.example.test.", "A", []string{"192.0.2.1", "192.0.2.2"}}, []string{"192.0.2.2", "192.0.2.3"}},
		{set{forward, "a.example.test.", "AAAA", []string{"2001:db8::1"}}, []string{"2001:db8::2", "2001:db8::3"}},
		{set{forward, "alias.example.test.", "CNAME", []string{"a.example.test."}}, []string{"b.example.test."}},
		{set{forward, "mail.example.test.", "MX", []string{"10 mx1.example.test.", "20 mx2.example.test."}}, []string{"10 mx1.example.test."}},
		{set{forward, "sub.example.test.", "NS", []string{"ns.other.test."}}, []string{"ns.other.test.", "ns2.other.test."}},
		{set{forward, "_ldap._tcp.example.test.", "SRV", []string{"0 100 389 a.example.test."}}, []string{"0 50 389 b.example.test."}},
		{set{forward, "text.example.test.", "TXT", []string{`"v=spf1 -all"`, `"a" "b"`}}, []string{`"v=spf1 mx -all"`}},
		{set{reverse, "7.2.0.192.in-addr.arpa.", "PTR", []string{"a.example.test."}}, []string{"b.example.test."}},
	}
	for _, who := range []struct {
		name      string
		negotiate func(*gss.Client, string) (string, time.Time, error)
	}{
		{"keytab", func(c *gss.Client, server string) (string, time.Time, error) {
			return c.NegotiateContextWithKeytab(server, realmName, host1, keytab)
		}},
		{"password", func(c *gss.Client, server string) (string, time.Time, error) {
			return c.NegotiateContextWithCredentials(server, realmName, user, password)
		}},
		{"the session's tickets", (*gss.Client).NegotiateContext},
	} {
		t.Run(who.name, func(t *testing.T) {
			tested.Path(t, bodgitClient, "by "+who.name+": what the provider sends to create, read, change, delete and import record sets of 8 types, over UDP and TCP")
			p.negotiate = who.negotiate
			for _, p.transport = range []string{"udp", "tcp"} {
				for _, r := range resources {
					step := func(what string, rcode int, want []string) {
						t.Helper()
						if rcode != dns.RcodeSuccess {
							t.Errorf("%s: %s %s %s: %s", p.transport, what, r.name, r.rtype, dns.RcodeToString[rcode])
						}
						want = slices.Clone(want)
						slices.Sort(want)
						if got := p.read(t, r.set); !slices.Equal(got, want) {
							t.Errorf("%s: %s %s %s: %q, want %q", p.transport, what, r.name, r.rtype, got, want)
						}
					}
					step("create", p.change(t, r.set, nil, r.data), r.data)
					step("change", p.change(t, r.set, r.data, r.then), r.then)
					step("delete", p.remove(t, r.set), nil)
				}
				for name, want := range map[string]string{"x.y.example.test.": forward, "7.2.0.192.in-addr.arpa.": reverse} {
					if got := p.zoneOf(t, name); got != want {
						t.Errorf("%s: the zone of %s is %q, not %q", p.transport, name, got, want)
					}
				}
				protected := set{forward, "ns1.example.test.", "A", []string{"192.0.2.66"}}
				if rcode := p.change(t, protected, nil, protected.data); rcode != dns.RcodeRefused {
					t.Errorf("%s: another's name: %s", p.transport, dns.RcodeToString[rcode])
				}
			}
		})
	}
}

// TestTerraformRetries: what the provider sends again is not signed. Queries are answered all the same, and updates refused: nothing
// is done twice.
func TestTerraformRetries(t *testing.T) {
	t.Parallel()
	keytab, err := shared.realm.Keytab(filepath.Join(t.TempDir(), "client.keytab"), host1)
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Int32 // answers by UDP that are still to be lost
	var answers atomic.Int32
	p := startTerraform(t, func(e relay.Exchange) []byte {
		if e.Network == "udp" {
			answers.Add(1)
			if lost.Add(-1) >= 0 {
				return nil
			}
		}
		return e.Reply
	})
	p.transport, p.timeout = "udp", 2*time.Second
	p.negotiate = func(c *gss.Client, server string) (string, time.Time, error) {
		return c.NegotiateContextWithKeytab(server, realmName, host1, keytab)
	}
	tested.Path(t, bodgitClient, "answers that are lost, and that need EDNS or TCP: queries are answered, updates that the provider sends again unsigned are refused")
	s := set{"example.test.", "again.example.test.", "A", []string{"192.0.2.1"}}
	lost.Store(1)
	if rcode := p.change(t, s, nil, s.data); rcode != dns.RcodeRefused {
		t.Errorf("an update that was sent again without signature: %s", dns.RcodeToString[rcode])
	}
	if n := answers.Swap(0); n != 2 {
		t.Errorf("%d answers", n)
	}
	// The first one was done. Terraform does not know, and creates the resource once more.
	if rcode := p.change(t, s, nil, s.data); rcode != dns.RcodeSuccess {
		t.Errorf("once more: %s", dns.RcodeToString[rcode])
	}
	lost.Store(1)
	if got := p.read(t, s); !slices.Equal(got, s.data) {
		t.Errorf("a query that was sent again: %q", got)
	}
	// 512 octets are not enough for 50 addresses of IPv4, and 1232 not for 90 of IPv6.
	for _, large := range []struct {
		rtype, address string
		n              int
	}{{"A", "192.0.2.%d", 50}, {"AAAA", "2001:db8::%x", 90}} {
		s.rtype, s.name, s.data = large.rtype, "large.example.test.", nil
		for i := range large.n {
			s.data = append(s.data, fmt.Sprintf(large.address, i+1))
		}
		slices.Sort(s.data)
		p.transport = "tcp" // the update is longer than a datagram
		if rcode := p.change(t, s, nil, s.data); rcode != dns.RcodeSuccess {
			t.Errorf("%s: %s", s.rtype, dns.RcodeToString[rcode])
		}
		p.transport = "udp"
		if got := p.read(t, s); !slices.Equal(got, s.data) {
			t.Errorf("%s: %d of %d", s.rtype, len(got), large.n)
		}
	}
}
