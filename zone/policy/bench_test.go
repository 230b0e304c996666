package policy_test

import (
	"fmt"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// twentyRules are nineteen that do not fit and, last, one that does.
func twentyRules(last string) []string {
	var rules []string
	for i := range 6 {
		rules = append(rules,
			fmt.Sprintf(`grant "host/admin%d.example.test@EXAMPLE.TEST" subdomain example.test ANY`, i),
			fmt.Sprintf("deny PARTNER%d.TEST ms-subdomain example.test ANY", i),
			fmt.Sprintf("grant *.key%d.test selfsub . A AAAA", i))
	}
	return append(rules, "deny * name critical.example.test ANY", last)
}

func benchmarkAuthorize(b *testing.B, rules []string, updates string) {
	z := openZone(b, "example.test.", mustRecords(b, "example.test."), zone.Config{})
	p := newPolicy(b, policy.Config{Rules: parseRules(b, rules)})
	octets := message(b, "example.test.", changes(b, updates))
	id := policy.Identity{Kind: policy.Kerberos, Name: "host/new.example.test@EXAMPLE.TEST",
		Components: []string{"host", "new.example.test"}, Realm: "EXAMPLE.TEST"}
	if d := p.Authorizer(id)(propose(b, z, octets)); !d.Allow {
		b.Fatalf("%+v", d)
	}
	b.ReportAllocs()
	// What the zone works out for the decision it keeps for the change, so that each decision needs a
	// Proposal of its own. The time that these take is not counted.
	proposals := make([]*zone.Proposal, 1024)
	for i := len(proposals); b.Loop(); i++ {
		if i == len(proposals) {
			b.StopTimer()
			for i = range proposals {
				proposals[i] = propose(b, z, octets)
			}
			i = 0
			b.StartTimer()
		}
		p.Authorizer(id)(proposals[i])
	}
}

// BenchmarkAuthorize20Rules is the decision on an update that has been parsed, with what the policy
// asks of the zone for it.
func BenchmarkAuthorize20Rules(b *testing.B) {
	b.Run("krb5-self", func(b *testing.B) {
		benchmarkAuthorize(b, twentyRules("grant EXAMPLE.TEST krb5-self . A AAAA"), "add new A 192.0.2.1")
	})
	b.Run("owner", func(b *testing.B) {
		benchmarkAuthorize(b, twentyRules("grant EXAMPLE.TEST owner ."), "add new A 192.0.2.1")
	})
	b.Run("owner, delete and add", func(b *testing.B) {
		benchmarkAuthorize(b, twentyRules("grant EXAMPLE.TEST owner ."), "delete new A; delete new AAAA; add new A 192.0.2.1")
	})
	b.Run("owner, nothing to change", func(b *testing.B) {
		benchmarkAuthorize(b, twentyRules("grant EXAMPLE.TEST owner ."), "delete a A; add a A 192.0.2.1")
	})
}

// TestRulesDoNotAllocate holds a decision by one rule against one by twenty.
func TestRulesDoNotAllocate(t *testing.T) {
	z := openZone(t, "example.test.", mustRecords(t, "example.test."), zone.Config{})
	octets := message(t, "example.test.", changes(t, "delete new A; add new A 192.0.2.1"))
	id := policy.Identity{Kind: policy.Kerberos, Name: "host/new.example.test@EXAMPLE.TEST",
		Components: []string{"host", "new.example.test"}, Realm: "EXAMPLE.TEST"}
	allocations := func(rules []string) float64 {
		p := newPolicy(t, policy.Config{Rules: parseRules(t, rules)})
		authorize := p.Authorizer(id)
		return testing.AllocsPerRun(100, func() {
			if d := authorize(propose(t, z, octets)); !d.Allow {
				t.Fatalf("%+v", d)
			}
		})
	}
	for _, last := range []string{"grant EXAMPLE.TEST krb5-self . A AAAA", "grant EXAMPLE.TEST owner ."} {
		one, twenty := allocations([]string{last}), allocations(twentyRules(last))
		if twenty > one {
			t.Errorf("%s: %v allocations by one rule, %v by twenty", last, one, twenty)
		}
	}
}
