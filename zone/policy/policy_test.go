package policy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// machine is the principal host/HOST@EXAMPLE.TEST.
func machine(host string) policy.Identity {
	return policy.Identity{Kind: policy.Kerberos, Name: "host/" + host + "@EXAMPLE.TEST",
		Components: []string{"host", host}, Realm: "EXAMPLE.TEST"}
}

// TestRefusalByModeAlone: what is refused before the zone's state is known is just what the mode
// refuses whatever the rules say.
func TestRefusalByModeAlone(t *testing.T) {
	overTCP := policy.Identity{TCP: true, Client: netip.MustParseAddr("192.0.2.7")}
	for _, rules := range [][]string{nil, {"grant anonymous zonesub ANY", "grant * tcp-self . PTR", "grant * 6to4-self . NS"}} {
		for _, test := range []struct {
			mode   policy.Mode
			sender policy.Identity
			rule   string
		}{
			{policy.Secure, policy.Identity{}, "updates secure"},
			{policy.Secure, overTCP, "updates secure"},
			{policy.Secure, stranger, ""},
			{policy.Secure, policy.Identity{Kind: policy.Static, Name: "key1."}, ""},
			{policy.None, policy.Identity{}, "updates none"},
			{policy.None, overTCP, "updates none"},
			{policy.None, stranger, "updates none"},
			{policy.None, policy.Identity{Kind: policy.Static, Name: "key1."}, "updates none"},
			{policy.NonsecureAndSecure, policy.Identity{}, ""},
			{policy.NonsecureAndSecure, overTCP, ""},
			{policy.NonsecureAndSecure, stranger, ""},
		} {
			p := newPolicy(t, policy.Config{Mode: test.mode, Rules: parseRules(t, rules)})
			u := p.Update(test.sender, message(t, "example.test.", nil))
			switch {
			case u.Authorize == nil || len(u.Message) == 0:
				t.Errorf("%v, %v: %+v", test.mode, test.sender, u)
			case test.rule == "":
				if u.Refusal != nil {
					t.Errorf("%v, %v: %+v", test.mode, test.sender, u.Refusal)
				}
			case u.Refusal == nil || u.Refusal.Allow || u.Refusal.Rule != test.rule || u.Refusal.Reason == "" || !slices.Contains(policy.Causes(), u.Refusal.Cause):
				t.Errorf("%v, %v: %+v", test.mode, test.sender, u.Refusal)
			}
		}
	}
}

// TestPointerWithoutTarget: a record whose target is the root points to no machine.
func TestPointerWithoutTarget(t *testing.T) {
	z := openZone(t, "example.test.", mustRecords(t, "example.test."), zone.Config{})
	for _, kind := range []string{"krb5", "ms"} {
		p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant EXAMPLE.TEST " + kind + "-subdomain-self-rhs example.test PTR SRV"})})
		id := machine("a.example.test")
		if kind == "ms" {
			id = policy.Identity{Kind: policy.Kerberos, Name: "A$@EXAMPLE.TEST", Components: []string{"A$"}, Realm: "EXAMPLE.TEST"}
		}
		for _, rr := range []dns.RR{
			&dns.PTR{Hdr: dns.RR_Header{Name: "3.rev.example.test.", Rrtype: dns.TypePTR, Class: dns.ClassINET}, Ptr: "."},
			&dns.SRV{Hdr: dns.RR_Header{Name: "_x._tcp.example.test.", Rrtype: dns.TypeSRV, Class: dns.ClassINET}, Target: "."},
		} {
			if d := p.Authorizer(id)(propose(t, z, message(t, "example.test.", []dns.RR{rr}))); d.Allow {
				t.Errorf("%s: %v: %+v", kind, rr, d)
			}
		}
	}
}

// TestHostNameBounds: what is too long for a domain name is no machine's, for any rule.
func TestHostNameBounds(t *testing.T) {
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant EXAMPLE.TEST krb5-subdomain example.test A"})})
	label := strings.Repeat("a", 63)
	long := strings.Join([]string{label, label, label, strings.Repeat("b", 61)}, ".")
	for host, allow := range map[string]bool{
		label + ".test":       true,
		"a" + label + ".test": false,
		"test." + label + "a": false,
		long:                  true, // 253 characters
		long + "b":            false,
		"":                    false,
		"a..test":             false,
		".test":               false,
		"a.":                  false,
	} {
		if d := decide(t, p, machine(host), "add new A 192.0.2.1"); d.Allow != allow {
			t.Errorf("%d characters, %.70s: %+v", len(host), host, d)
		}
	}
}

// TestNoGrantNoOwner: a deletion that no rule had to grant, since only the signer's records are
// there, makes no client the owner.
func TestNoGrantNoOwner(t *testing.T) {
	seed := append(mustRecords(t, "example.test."),
		changes(t, "add x RRSIG A 13 3 300 20300101000000 20200101000000 1 example.test. AAAA")...)
	z := openZone(t, "example.test.", seed, zone.Config{Owners: []store.Owner{{Name: wire("x.example.test."), Principal: "bob@EXAMPLE.TEST"}}})
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant key1. zonesub ANY"})})
	octets := message(t, "example.test.", changes(t, "delete x"))
	if d := p.Authorizer(machine("x.example.test"))(propose(t, z, octets)); !d.Allow || len(d.Own) > 0 || len(d.Notes) > 0 {
		t.Errorf("%+v", d)
	}
}

// TestRefusalNamesWhatToGive: the name of a refusal because of ownership is the one that the administrator gives to the client, if
// the client is right. If it does not exist, it needs a record first.
func TestRefusalNamesWhatToGive(t *testing.T) {
	const origin = "example.test."
	bob := kerberos("bob@EXAMPLE.TEST")
	p := newPolicy(t, policy.Config{})
	seed := func(more ...string) []dns.RR {
		records := append(mustRecords(t, origin), changes(t, "add desk A 192.0.2.9")...)
		for _, name := range more {
			records = append(records, changes(t, "add "+name+" A 192.0.2.10")...)
		}
		return records
	}
	carols := []store.Owner{{Name: wire("desk.example.test."), Principal: "carol@EXAMPLE.TEST"}}
	for _, test := range []struct {
		update, cause, name string
		create              bool
	}{
		{"add desk A 192.0.2.1", policy.CauseOwned, "desk.example.test.", false},
		{"add x.desk A 192.0.2.1", policy.CauseBelow, "x.desk.example.test.", true},
		{"add _ssh._tcp.desk SRV 0 0 22 desk", policy.CauseOwned, "desk.example.test.", false},
		{"add _ssh._tcp.nothing SRV 0 0 22 desk", policy.CauseBelow, "nothing.example.test.", true},
		{"add multi A 192.0.2.1", policy.CauseAdministrator, "multi.example.test.", false},
		{"add x.multi A 192.0.2.1", policy.CauseBelow, "x.multi.example.test.", true},
	} {
		octets := message(t, origin, changes(t, test.update))
		d := p.Authorizer(bob)(propose(t, openZone(t, origin, seed(), zone.Config{Owners: carols}), octets))
		if d.Allow || d.Cause != test.cause || d.Name != test.name {
			t.Errorf("%s: %+v, want the cause %s at %s", test.update, d, test.cause, test.name)
			continue
		}
		owners := append([]store.Owner{{Name: wire(d.Name), Principal: "bob@EXAMPLE.TEST"}}, carols...)
		if d.Name == "desk.example.test." {
			owners = owners[:1]
		}
		records := seed()
		if test.create {
			records = seed(strings.TrimSuffix(d.Name, ".example.test."))
		}
		if d := p.Authorizer(bob)(propose(t, openZone(t, origin, records, zone.Config{Owners: owners}), octets)); !d.Allow {
			t.Errorf("%s is refused after %s was given away: %+v", test.update, test.name, d)
		}
	}
}
