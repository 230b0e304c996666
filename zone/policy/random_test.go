package policy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/policy/policytest"
)

var stranger = policy.Identity{Kind: policy.Kerberos, Name: "bob@EXAMPLE.TEST",
	Components: []string{"bob"}, Realm: "EXAMPLE.TEST"}

// contents returns the zone's records as text but for the SOA's serial.
func contents(z *zone.Zone) map[string]bool {
	records := make(map[string]bool)
	for rr := range z.Snapshot().Records() {
		if soa, ok := rr.(*dns.SOA); ok {
			soa.Serial = 0
		}
		records[rr.String()] = true
	}
	return records
}

// checkStranger applies an update by a client that owns nothing in the seed, and reports what
// is lost or joined to a name of the seed: nothing may be.
func checkStranger(t *testing.T, m *dns.Msg, octets []byte) {
	const origin = "example.test."
	z := openZone(t, origin, mustRecords(t, origin), zone.Config{})
	before, names := contents(z), map[string]bool{}
	for rr := range z.Snapshot().Records() {
		names[rr.Header().Name] = true
	}
	p := newPolicy(t, policy.Config{})
	r := z.Apply(context.Background(), &zone.Update{Message: octets, Authorize: p.Authorizer(stranger)})
	after := contents(z)
	for record := range before {
		if !after[record] {
			t.Errorf("lost %s by\n%v\n%+v", record, m, r)
		}
	}
	for record := range after {
		name, _, _ := strings.Cut(record, "\t")
		if !before[record] && names[name] {
			t.Errorf("joined %s by\n%v\n%+v", record, m, r)
		}
	}
	if r.Changed != (len(after) != len(before)) {
		t.Errorf("changed: %v by\n%v", r.Changed, m)
	}
	for _, c := range r.Decision.Own {
		if names[dnswire.NameText([]byte(c.Name))] {
			t.Errorf("claims %q by\n%v", c.Name, m)
		}
	}
}

// TestNothingToChange compares what the rule owner takes for no change with what the zone does: a
// stranger is permitted if, and only if, an update leaves all as it is.
func TestNothingToChange(t *testing.T) {
	const origin = "example.test."
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	record := func() string {
		return pick("A 192.0.2.1", "A 192.0.2.2", "A 192.0.2.10", "A 192.0.2.11", `TXT "one"`, `TXT "b"`, `TXT "B"`,
			"CNAME a", "CNAME A", "CNAME b", "PTR a", "PTR A", "PTR b", "MX 1 a", "SRV 0 0 389 a", "SRV 0 0 389 A",
			"KEY 0 3 5 AQ==", "HTTPS 1 a alpn=h2", "HTTPS 1 A alpn=h2", `TYPE65400 \# 1 00`, `TYPE65400 \# 1 41`, `TYPE65400 \# 1 61`)
	}
	seed := append(mustRecords(t, origin), changes(t, "add x HTTPS 1 a alpn=h2; add x TYPE65400 \\# 1 61; add x MX 1 a; add x KEY 0 3 5 AQ==")...)
	z := openZone(t, origin, seed, zone.Config{})
	p := newPolicy(t, policy.Config{})
	allowed := 0
	const rounds = 4_000
	for range rounds {
		var lines []string
		for range 1 + random.IntN(5) {
			name := pick("a", "a", "b", "multi", "alias", "mixed.rev", "_ldap._tcp", "x")
			switch random.IntN(6) {
			case 0:
				lines = append(lines, "delete "+name)
			case 1:
				lines = append(lines, "delete "+name+" "+pick("A", "TXT", "CNAME", "PTR", "SRV", "HTTPS", "MX"))
			case 2:
				lines = append(lines, "delete "+name+" "+record())
			default:
				lines = append(lines, "add "+name+" "+pick("300", "300", "300", "300", "60")+" "+record())
			}
		}
		text := strings.Join(lines, "; ")
		m := message(t, origin, changes(t, text))
		d := p.Authorizer(stranger)(propose(t, z, m))
		if d.Allow {
			allowed++
			if len(d.Own) > 0 {
				t.Errorf("%s: claims %v", text, d.Own)
			}
		}
		serial := z.Snapshot().Serial()
		r := z.Apply(context.Background(), &zone.Update{Message: m, Authorize: func(*zone.Proposal) zone.Decision {
			return zone.Decision{Allow: true}
		}})
		if r.Rcode != dns.RcodeSuccess {
			t.Fatalf("%s: %s: %v", text, dns.RcodeToString[r.Rcode], r.Err)
		}
		switch {
		case d.Allow && r.Changed:
			t.Errorf("%s: was taken for no change", text)
		case !d.Allow && !r.Changed:
			t.Errorf("%s: was taken for a change: %s", text, d.Reason)
		}
		if r.Changed {
			z.Close()
			z = openZone(t, origin, seed, zone.Config{})
		} else if z.Snapshot().Serial() != serial {
			t.Fatalf("%s: another serial without a change", text)
		}
	}
	if allowed < rounds/20 {
		t.Errorf("only %d of %d updates change nothing: the test tests nothing", allowed, rounds)
	}
}

func FuzzAuthorize(f *testing.F) {
	for _, text := range []string{
		"add new A 192.0.2.1",
		"delete a A; add a A 192.0.2.1",
		"delete alias; add alias CNAME b",
		"delete mixed.rev PTR a; add *.x SRV 0 0 1 a",
		"add wpad A 192.0.2.1; delete @; delete sub NS",
		`add x\.y TXT "z"; add \000 TYPE65400 \# 1 00`,
	} {
		f.Add(message(f, "example.test.", changes(f, text)))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		m.Opcode, m.Response = dns.OpcodeUpdate, false
		m.Question = []dns.Question{{Name: "example.test.", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}}
		octets, err := m.Pack()
		if err != nil {
			return
		}
		checkStranger(t, m, octets)
		everyRule(t, octets)
	})
}

// everyRule puts a message to rules of every type.
func everyRule(t *testing.T, octets []byte) {
	const origin = "example.test."
	z := openZone(t, origin, mustRecords(t, origin), zone.Config{})
	policies, err := policytest.Tables()
	if err != nil {
		t.Fatal(err)
	}
	for i := range policies {
		p := newPolicy(t, policy.Config{Mode: policy.NonsecureAndSecure, Rules: parseRules(t, policies[i].Rules)})
		for _, id := range []policy.Identity{stranger, {}, {Kind: policy.Static, Name: "key1."}} {
			if proposal, err := z.Propose(octets); err == nil {
				p.Authorizer(id)(proposal)
			}
		}
	}
}

// TestCostIsBounded puts the longest updates that the zone takes to sets of records far larger than
// updates can make them. If every record of the one were compared with every record of the other,
// it would take minutes.
func TestCostIsBounded(t *testing.T) {
	const origin = "example.test."
	seed := mustRecords(t, origin)
	var large []string
	for i := range 5_000 {
		large = append(large, fmt.Sprintf("add large PTR h%d; add large TXT %d", i, i))
	}
	seed = append(seed, changes(t, strings.Join(large, ";"))...)
	z := openZone(t, origin, seed, zone.Config{Limits: zone.Limits{UpdateOctets: 1 << 20}})
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{
		"grant key1. name large.example.test PTR A TXT(1)",
		"grant EXAMPLE.TEST owner .",
	})})
	for _, change := range []string{
		"delete large PTR", "delete large PTR none", "delete large", "add large PTR x%d", "delete large TXT x%d",
		"add large TXT x%d", "add name%d.x.y A 192.0.2.1", "add a A 192.0.2.1", "delete a",
	} {
		var lines []string
		for i := range 2_000 {
			lines = append(lines, strings.ReplaceAll(change, "%d", fmt.Sprint(i)))
		}
		octets := message(t, origin, changes(t, strings.Join(lines, ";")))
		for _, id := range []policy.Identity{stranger, {Kind: policy.Static, Name: "key1."}} {
			p.Authorizer(id)(propose(t, z, octets))
		}
	}
}
