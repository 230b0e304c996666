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

// budget is about how many comparisons of records the updates of these tests take in a linear search.
const budget = 10_000

// spend is many changes to a name without records that leave it without records.
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

// TestNothingToChangeInLongUpdates: whatever precedes it, a change is found, and no change is none.
func TestNothingToChangeInLongUpdates(t *testing.T) {
	const origin = "example.test."
	owners := []store.Owner{{Name: wire("gone.example.test."), Principal: "alice@EXAMPLE.TEST"}}
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
		text, _, _ = strings.Cut(text, "; add gone TXT r0; delete gone TXT r0;")
		if r := apply(stranger, text+"; delete a AAAA"); r.Rcode != dns.RcodeSuccess || r.Changed {
			t.Errorf("without a change: %s, decision %+v", dns.RcodeToString[r.Rcode], r.Decision)
		}
	}
}

// TestQuotaInLongUpdates: the records of a type are counted to the end.
func TestQuotaInLongUpdates(t *testing.T) {
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant key1. zonesub TXT(1) PTR"})})
	key := policy.Identity{Kind: policy.Static, Name: "key1."}
	if d := decide(t, p, key, spend("x", "PTR")+`; add x TXT "a"; add x TXT "b"`); d.Allow {
		t.Errorf("%+v", d)
	}
	if d := decide(t, p, key, spend("x", "PTR")+`; add x TXT "a"; delete x TXT "a"; add x TXT "b"`); !d.Allow {
		t.Errorf("one record at a time: %+v", d)
	}
}

// TestAbsenceInLargeSets: the deletion of a record that is not there asks no rule, that of one that is
// there does.
func TestAbsenceInLargeSets(t *testing.T) {
	const origin, held = "example.test.", 100
	seed := mustRecords(t, origin)
	for i := range held {
		seed = append(seed, changes(t, fmt.Sprintf("add large PTR h%d", i))...)
	}
	z := openZone(t, origin, seed, zone.Config{})
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant EXAMPLE.TEST krb5-subdomain-self-rhs example.test PTR"})})
	for last, allow := range map[string]bool{"delete large PTR none": true, "delete large PTR h42": false, "delete large PTR H99": false} {
		text := strings.Repeat("delete large PTR none; ", 500) + last
		octets := message(t, origin, changes(t, text))
		if d := p.Authorizer(machine("a.example.test"))(propose(t, z, octets)); d.Allow != allow {
			t.Errorf("%s: %+v", last, d)
		}
	}
}
