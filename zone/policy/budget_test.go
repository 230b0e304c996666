package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// budget is how many comparisons of records an update gets: maxComparisons.
const budget = 10_000

// spend is changes to a name without records that take one comparison more than the budget, of
// which the last one is the last deletion, and leave it without records.
func spend(name, rrtype string) string {
	var lines []string
	add := func(i int) { lines = append(lines, fmt.Sprintf("add %s %s r%d", name, rrtype, i)) }
	remove := func(i int) { lines = append(lines, fmt.Sprintf("delete %s %s r%d", name, rrtype, i)) }
	comparisons, n := 0, 0
	for ; comparisons+n+n+1 <= budget; n++ { // the next addition takes n, its deletion 1
		add(n)
		comparisons += n
	}
	comparisons += n
	for i := range n {
		remove(i)
	}
	for ; comparisons <= budget; comparisons++ {
		add(0)
		remove(0)
	}
	return strings.Join(lines, "; ")
}

// TestNothingToChangeEndsWithTheBudget: what comes after the last comparison is not worked out, and
// must not pass for no change on that account.
func TestNothingToChangeEndsWithTheBudget(t *testing.T) {
	const origin = "example.test."
	owners := []store.Owner{{Name: "gone.example.test.", Principal: "alice@EXAMPLE.TEST"}}
	p := newPolicy(t, policy.Config{})
	for what, text := range map[string]string{
		"another name": spend("gone", "TXT") + "; add a A 192.0.2.66",
		"the same":     spend("gone", "TXT") + "; add gone A 192.0.2.66",
	} {
		z := openZone(t, origin, append(mustRecords(t, origin), changes(t, "add gone A 192.0.2.1")...), zone.Config{Owners: owners})
		alice := policy.Identity{Kind: policy.Kerberos, Name: "alice@EXAMPLE.TEST", Components: []string{"alice"}, Realm: "EXAMPLE.TEST"}
		apply := func(id policy.Identity, text string) zone.Result {
			return z.Apply(context.Background(), p.Update(id, message(t, origin, changes(t, text))))
		}
		if r := apply(alice, "delete gone"); r.Rcode != dns.RcodeSuccess {
			t.Fatalf("%+v", r)
		}
		if r := apply(stranger, text); r.Rcode != dns.RcodeRefused || r.Changed {
			t.Errorf("%s: %s, decision %+v", what, dns.RcodeToString[r.Rcode], r.Decision)
		}
		// Before the last comparison everything is known.
		text, _, _ = strings.Cut(text, "; add gone TXT r0; delete gone TXT r0;")
		if r := apply(stranger, text+"; delete a AAAA"); r.Rcode != dns.RcodeSuccess || r.Changed {
			t.Errorf("within the budget: %s, decision %+v", dns.RcodeToString[r.Rcode], r.Decision)
		}
	}
}

// TestQuotaEndsWithTheBudget: records that are no more counted exceed any number.
func TestQuotaEndsWithTheBudget(t *testing.T) {
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant key1. zonesub TXT(1) PTR"})})
	key := policy.Identity{Kind: policy.Static, Name: "key1."}
	if d := decide(t, p, key, spend("x", "PTR")+`; add x TXT "a"; add x TXT "b"`); d.Allow {
		t.Errorf("%+v", d)
	}
	if d := decide(t, p, key, "add x PTR a; delete x PTR a; add x TXT a"); !d.Allow {
		t.Errorf("within the budget: %+v", d)
	}
}

// TestAbsenceEndsWithTheBudget: the deletion of a record that is not there asks no rule, as long as
// it is known that it is not there.
func TestAbsenceEndsWithTheBudget(t *testing.T) {
	const origin, held = "example.test.", 100
	seed := mustRecords(t, origin)
	for i := range held {
		seed = append(seed, changes(t, fmt.Sprintf("add large PTR h%d", i))...)
	}
	z := openZone(t, origin, seed, zone.Config{})
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant EXAMPLE.TEST krb5-subdomain-self-rhs example.test PTR"})})
	id := policy.Identity{Kind: policy.Kerberos, Name: "host/a.example.test@EXAMPLE.TEST",
		Components: []string{"host", "a.example.test"}, Realm: "EXAMPLE.TEST"}
	for records, allow := range map[int]bool{budget / held: true, budget/held + 1: false} {
		text := strings.TrimSuffix(strings.Repeat("delete large PTR none; ", records), "; ")
		u := p.Update(id, message(t, origin, changes(t, text)))
		if d := u.Authorize(z.Snapshot(), u); d.Allow != allow {
			t.Errorf("%d records of %d that are not there: %+v", records, held, d)
		}
	}
}
