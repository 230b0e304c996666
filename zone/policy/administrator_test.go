package policy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

var theAdministrator = policy.Identity{Kind: policy.Administrator}

// TestAdministrator: everything is permitted in every mode but what a rule denies to the administrator by this word.
func TestAdministrator(t *testing.T) {
	z := openZone(t, "example.test.", mustRecords(t, "example.test."), zone.Config{})
	rules := []string{"deny * zonesub ANY", "deny anonymous zonesub ANY", "deny sid:S-1-5-32-544 zonesub ANY",
		"deny administrator name ns1.example.test ANY", "deny administrator subdomain locked.example.test TXT"}
	for _, mode := range []policy.Mode{policy.None, policy.Secure, policy.NonsecureAndSecure} {
		p := newPolicy(t, policy.Config{Mode: mode, Rules: parseRules(t, rules)})
		for update, denied := range map[string]string{
			"add example.test. 300 IN MX 10 mail.example.test.": "",
			"add *.example.test. 300 IN A 192.0.2.1":            "",
			"add a.example.test. 300 IN A 192.0.2.1":            "",
			"add a.locked.example.test. 300 IN A 192.0.2.1":     "",
			"add a.locked.example.test. 300 IN TXT \"x\"":       "TXT: denied",
			"add ns1.example.test. 300 IN A 192.0.2.1":          "ns1.example.test. A: denied",
			"delete example.test. NS":                           "",
		} {
			words := strings.SplitN(update, " ", 2)
			m := new(dns.Msg)
			m.SetUpdate("example.test.")
			if words[0] == "add" {
				rr, err := dns.NewRR(words[1])
				if err != nil {
					t.Fatal(err)
				}
				m.Insert([]dns.RR{rr})
			} else {
				name, _, _ := strings.Cut(words[1], " ")
				m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNS}}})
			}
			u := p.Update(theAdministrator, message(t, "example.test.", m.Ns))
			if u.Refusal != nil || !u.Administrative {
				t.Errorf("%v: %+v", mode, u)
			}
			d := u.Authorize(propose(t, z, u.Message))
			if d.Allow != (denied == "") || !strings.Contains(d.Reason, denied) || d.Allow && d.Rule != "administrator" {
				t.Errorf("%v: %s: %+v", mode, update, d)
			}
		}
	}
	for _, rule := range []string{"administrator zonesub ANY", "administrator self . A"} {
		if _, err := policy.ParseRule(strings.Fields(rule), "", false); err == nil {
			t.Errorf("grant %s is a rule", rule)
		}
	}
	for _, words := range [][]string{{"administrator"}} {
		if _, err := policy.ParseIdentities(words); err == nil {
			t.Errorf("%q may transfer", words)
		}
		if _, err := policy.New(policy.Config{Proxies: words}); err == nil {
			t.Errorf("%q may be a proxy", words)
		}
	}
	// With its final dot the word is the name of a key.
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant administrator. zonesub ANY"})})
	key := policy.Identity{Kind: policy.Static, Name: "administrator."}
	if d := decide(t, p, key, "add a A 192.0.2.1"); !d.Allow {
		t.Errorf("key: %+v", d)
	}
}

// TestAdministratorTakesTombstones: a name that the administrator makes again does not go back to the owner of its tombstone,
// and a name with records keeps its owner.
func TestAdministratorTakesTombstones(t *testing.T) {
	z := openZone(t, "example.test.", mustRecords(t, "example.test."), zone.Config{})
	p := newPolicy(t, policy.Config{})
	apply := func(id policy.Identity, change func(*dns.Msg)) zone.Result {
		m := new(dns.Msg)
		m.SetUpdate("example.test.")
		change(m)
		r := z.Apply(context.Background(), p.Update(id, message(t, "example.test.", m.Ns)))
		if r.Rcode != dns.RcodeSuccess {
			t.Fatalf("%+v", r)
		}
		return r
	}
	address := mustRR(t, "client1.example.test. 300 IN A 192.0.2.7")
	text := mustRR(t, `client1.example.test. 300 IN TXT "x"`)
	add := func(rr dns.RR) func(*dns.Msg) { return func(m *dns.Msg) { m.Insert([]dns.RR{rr}) } }
	apply(machine("client1.example.test"), add(address))
	apply(theAdministrator, add(text))
	if owner, _ := z.Snapshot().Owner("client1.example.test."); owner.Principal != "host/client1.example.test@EXAMPLE.TEST" || !owner.Deleted.IsZero() {
		t.Errorf("%+v", owner)
	}
	apply(theAdministrator, func(m *dns.Msg) { m.RemoveName([]dns.RR{address}) })
	if owner, ok := z.Snapshot().Owner("client1.example.test."); !ok || owner.Deleted.IsZero() {
		t.Errorf("no tombstone: %+v", owner)
	}
	if r := apply(theAdministrator, add(address)); len(r.Decision.Notes) != 1 {
		t.Errorf("%+v", r.Decision)
	}
	if owner, ok := z.Snapshot().Owner("client1.example.test."); ok {
		t.Errorf("owner %+v", owner)
	}
}

func mustRR(t *testing.T, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}
