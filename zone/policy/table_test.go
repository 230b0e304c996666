package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/policy/policytest"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// openZone returns a zone in memory with those contents.
func openZone(t testing.TB, origin string, seed []dns.RR, config zone.Config) *zone.Zone {
	t.Helper()
	config.Origin, config.Store = origin, store.NewMemory(store.MemoryOptions{})
	config.Seed = func() ([]store.Record, error) {
		var records []store.Record
		for _, rr := range seed {
			r, err := zone.RecordOf(rr)
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
		return records, nil
	}
	z, err := zone.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	return z
}

func parseRules(t testing.TB, lines []string) []policy.Rule {
	t.Helper()
	var rules []policy.Rule
	for i, line := range lines {
		words := strings.Fields(strings.ReplaceAll(line, `"`, ""))
		r, err := policy.ParseRule(words[1:], fmt.Sprintf("Corefile:%d", i+1), words[0] == "deny")
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	return rules
}

func newPolicy(t testing.TB, config policy.Config) *policy.Policy {
	t.Helper()
	p, err := policy.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// message makes an UPDATE of an update section.
func message(t testing.TB, origin string, updates []dns.RR) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate(origin)
	m.Ns = updates
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// wire returns the wire form of a name.
func wire(text string) string {
	name, err := dnswire.ParseName(text, nil)
	if err != nil {
		panic(err)
	}
	return string(name)
}

// propose returns what an Authorizer decides on.
func propose(t testing.TB, z *zone.Zone, message []byte) *zone.Proposal {
	t.Helper()
	p, err := z.Propose(message)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTables(t *testing.T) {
	policies, err := policytest.Tables()
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	zones := map[string]*zone.Zone{}
	for origin := range policytest.Seeds {
		seed, err := policytest.Records(origin)
		if err != nil {
			t.Fatal(err)
		}
		zones[origin] = openZone(t, origin, seed, zone.Config{})
	}
	for _, p := range policies {
		config := policy.Config{Mode: policy.Secure, Rules: parseRules(t, p.Rules)}
		decider := newPolicy(t, config)
		for _, c := range p.Cases {
			cases++
			u := decider.Update(c.Identity(), message(t, p.Origin, c.Update))
			d := u.Authorize(propose(t, zones[p.Origin], u.Message))
			if d.Allow != c.Allow {
				t.Errorf("%s:%d: %s\n\tdecision: %+v", c.File, c.Line, c.Text, d)
			}
			if !d.Allow && d.Reason == "" {
				t.Errorf("%s:%d: a refusal without a reason", c.File, c.Line)
			}
			if d.Allow {
				// What the policy lets through must be well-formed for the zone too, or the case
				// says nothing.
				z := openZone(t, p.Origin, mustRecords(t, p.Origin), zone.Config{})
				if r := z.Apply(context.Background(), u); r.Rcode != dns.RcodeSuccess {
					t.Errorf("%s:%d: %s: the zone says %s: %v", c.File, c.Line, c.Text, dns.RcodeToString[r.Rcode], r.Err)
				}
			}
		}
	}
	if cases < 300 {
		t.Errorf("%d cases; the tables are to have at least 300", cases)
	}
	t.Logf("%d cases", cases)
}

// TestLessonEveryRuleTypeRefuses: a rule that grants too much passes every test of what it is to
// grant (BIND CVE-2020-8624), and words that promise a narrower meaning must keep it (BIND
// CVE-2018-5741). So there are cases of both kinds for each of BIND's types of rule, where no other
// type could have made the difference.
func TestLessonEveryRuleTypeRefuses(t *testing.T) {
	policies, err := policytest.Tables()
	if err != nil {
		t.Fatal(err)
	}
	results := make(map[string]map[bool]int)
	for _, p := range policies {
		kinds := make(map[string]bool)
		for _, rule := range p.Rules {
			words := strings.Fields(rule)
			if words[0] == "deny" {
				kinds["deny"] = true
			}
			kinds[words[2]] = true
		}
		if len(kinds) != 1 {
			continue
		}
		for kind := range kinds {
			if results[kind] == nil {
				results[kind] = make(map[bool]int)
			}
			for _, c := range p.Cases {
				results[kind][c.Allow]++
			}
		}
	}
	for _, kind := range []string{
		"name", "subdomain", "zonesub", "wildcard", "self", "selfsub", "selfwild",
		"krb5-self", "krb5-selfsub", "krb5-subdomain", "krb5-subdomain-self-rhs",
		"ms-self", "ms-selfsub", "ms-subdomain", "ms-subdomain-self-rhs", "tcp-self", "6to4-self",
	} {
		if n := results[kind]; n[true] < 1 || n[false] < 3 {
			t.Errorf("%s: %d cases are allowed, %d refused", kind, n[true], n[false])
		}
	}
}

func mustRecords(t testing.TB, origin string) []dns.RR {
	t.Helper()
	rrs, err := policytest.Records(origin)
	if err != nil {
		t.Fatal(err)
	}
	return rrs
}

// changes makes an update section of changes to example.test, separated by semicolons.
func changes(t testing.TB, text string) []dns.RR {
	t.Helper()
	var updates []dns.RR
	for _, change := range strings.Split(text, ";") {
		rr, err := policytest.ParseChange("example.test.", strings.TrimSpace(change))
		if err != nil {
			t.Fatal(err)
		}
		updates = append(updates, rr)
	}
	return updates
}

// decide asks a policy about changes to the tables' zone.
func decide(t testing.TB, p *policy.Policy, id policy.Identity, text string) zone.Decision {
	t.Helper()
	const origin = "example.test."
	z := openZone(t, origin, mustRecords(t, origin), zone.Config{})
	return p.Authorizer(id)(propose(t, z, message(t, origin, changes(t, text))))
}
