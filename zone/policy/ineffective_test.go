package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/policy/policytest"
)

// TestIneffective: what is said of the last rule of a list; "" if nothing is.
func TestIneffective(t *testing.T) {
	secure := policy.Setting{
		Realms: []string{"EXAMPLE.TEST", "CORP.TEST"},
		Keys:   []string{"dhcp.keys.example.test.", "key1."},
		Zones:  []policy.ZoneSetting{{Origin: "example.test.", Mode: policy.Secure}, {Origin: "2.0.192.in-addr.arpa.", Mode: policy.Secure}},
	}
	forward := policy.Setting{Realms: secure.Realms, Keys: secure.Keys, Zones: secure.Zones[:1]}
	reverse := policy.Setting{Realms: secure.Realms, Keys: secure.Keys, Zones: secure.Zones[1:]}
	open := policy.Setting{Realms: secure.Realms, Keys: secure.Keys, Zones: []policy.ZoneSetting{{Origin: "example.test.", Mode: policy.NonsecureAndSecure}}}
	unknown := policy.Setting{Zones: secure.Zones}
	tests := []struct {
		setting policy.Setting
		rules   string
		says    string // words of reason and fix, separated by bars
	}{
		// Identities.
		{secure, "grant DC1EXAMPLE.TEST zonesub ANY", "no @ in front of the realm|DC1$@EXAMPLE.TEST"},
		{secure, "grant bob.EXAMPLE.TEST zonesub ANY", "without @ and a realm it is the name of an HMAC key|write bob.EXAMPLE.TEST@EXAMPLE.TEST"},
		{secure, "grant bob zonesub ANY", "without @ and a realm it is the name of an HMAC key|write bob@EXAMPLE.TEST"},
		{secure, "grant key1 zonesub ANY", ""},
		{secure, "grant KEY1. zonesub ANY", ""},
		{secure, "grant key2. zonesub ANY", "no such key|plugin tsig"},
		{unknown, "grant bob zonesub ANY", ""},
		{secure, "grant Domain Admins zonesub ANY", "named by its SID|SID of \"Domain Admins\""},
		{secure, "grant Domain Admins owner .", "named by its SID"},
		{secure, "grant EXAMPLE.TEST zonesub", "a realm is an identity in the types owner"},
		{secure, "grant EXAMPLE.TEST owner .", ""},
		{secure, "grant example.test owner .", "realms are compared with case|write EXAMPLE.TEST"},
		{secure, "grant corp.test ms-self . A", "compared with case"},
		{secure, "grant bob@example.test zonesub", "the realm is EXAMPLE.TEST|write bob@EXAMPLE.TEST"},
		{secure, "grant bob@OTHER.TEST zonesub", "clients of the realm OTHER.TEST are not accepted, only those of EXAMPLE.TEST, CORP.TEST|property realm"},
		{unknown, "grant bob@OTHER.TEST zonesub", ""},
		{secure, "deny bob@OTHER.TEST zonesub", "not accepted"},
		{secure, "grant OTHER.TEST krb5-self . A", "not accepted"},
		{secure, "grant example.test krb5-self . A", "compared with case"},
		{secure, "grant *.example.test@OTHER.TEST zonesub", "not accepted"},
		{secure, "grant *.keys.example.test zonesub", ""},
		{secure, "grant *.nowhere.test zonesub", "no HMAC key and no accepted realm"},
		{secure, "grant *.TEST zonesub", ""},
		{secure, "grant *.test.x zonesub", "is below test.x|*.test.x@EXAMPLE.TEST"},
		{secure, "grant sid:S-1-5-21-1-2-3-512 zonesub", ""},
		{secure, "grant anonymous subdomain example.test A", "nonsecure-and-secure"},
		{open, "grant anonymous subdomain example.test A", ""},
		{secure, "grant anonymous owner .", "nonsecure-and-secure"},
		{secure, "grant anonymous tcp-self . PTR", ""}, // includes clients that sign
		{secure, "deny * name a.example.test", ""},
		// Names.
		{secure, "grant * name www A", "names in rules are absolute: write www.example.test."},
		{secure, "grant * wildcard *.lab A", "write *.lab.example.test."},
		{secure, "grant * name www.other.test A", "the name www.other.test. is in none of the zones example.test., 2.0.192.in-addr.arpa."},
		{secure, "grant * subdomain . A", ""},
		{secure, "grant * subdomain test A", ""},
		{secure, "grant * name test A", "none of the zones"},
		{secure, "grant * name example.test A", ""},
		{secure, "grant * wildcard *.example.test A", ""},
		{secure, "grant EXAMPLE.TEST owner lab.other.test", "none of the zones"},
		{secure, "grant EXAMPLE.TEST krb5-subdomain-self-rhs 2.0.192.in-addr.arpa PTR", ""},
		{secure, "grant EXAMPLE.TEST krb5-subdomain-self-rhs 3.0.192.in-addr.arpa PTR", "none of the zones"},
		{secure, "grant key1. self . A", "names after the HMAC key"},
		{secure, "grant * self . A", ""},
		{secure, "grant dhcp.keys.example.test selfsub . A", ""},
		{unknown, "grant * self . A", ""},
		{unknown, "grant key1. self . A", "names after the HMAC key"},
		{secure, "grant *.x@EXAMPLE.TEST self *.x@EXAMPLE.TEST", "is a principal"},
		{secure, "grant EXAMPLE.TEST ms-self . A", ""},
		{secure, "grant CORP.TEST ms-self . A", "NAME.corp.test, which are in none of the zones|ms-subdomain-self-rhs"},
		{reverse, "grant EXAMPLE.TEST ms-self . PTR", "NAME.example.test"},
		{reverse, "grant EXAMPLE.TEST krb5-self . PTR", ""}, // host/1.2.0.192.in-addr.arpa is no good idea, but a principal
		{reverse, "grant EXAMPLE.TEST ms-subdomain . PTR", ""},
		{policy.Setting{Realms: []string{"A B"}, Zones: secure.Zones}, "grant A_B ms-self .", "not accepted"},
		{policy.Setting{Realms: []string{"A/B"}, Zones: secure.Zones}, "grant * zonesub A", ""},
		{policy.Setting{Realms: []string{"A!B"}, Zones: secure.Zones}, "grant A!B ms-subdomain .", "not a domain name"},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "pc1.example.test."}}}, "grant EXAMPLE.TEST ms-self . A", ""},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "x.pc1.example.test."}}}, "grant EXAMPLE.TEST ms-self . A", "in none"},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "x.pc1.example.test."}}}, "grant EXAMPLE.TEST ms-selfsub . A", ""},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "test."}}}, "grant EXAMPLE.TEST ms-self . A", ""},
		// Addresses.
		{forward, "grant * tcp-self . PTR", "no reverse name|in-addr.arpa or ip6.arpa"},
		{reverse, "grant * tcp-self . PTR", ""},
		{reverse, "grant * 6to4-self . NS", "no reverse name"},
		{reverse, "grant *.2.0.192.in-addr.arpa tcp-self . PTR", ""},
		{reverse, "grant *.192.in-addr.arpa tcp-self . PTR", ""},
		{reverse, "grant *.3.0.192.in-addr.arpa tcp-self . PTR", "no reverse name"},
		{reverse, "grant 7.2.0.192.in-addr.arpa tcp-self . PTR", ""},
		{reverse, "grant 192.0.2.7 tcp-self . PTR", "no reverse name"},
		{reverse, "grant 2.0.192.in-addr.arpa tcp-self . PTR", "no reverse name"},
		{reverse, "grant 300.2.0.192.in-addr.arpa tcp-self . PTR", "no reverse name"},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "0/25.2.0.192.in-addr.arpa."}}}, "grant * tcp-self . PTR", "no reverse name"},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "8.b.d.0.1.0.0.2.ip6.arpa."}}}, "grant * tcp-self . PTR", ""},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "8.b.d.0.1.0.0.2.ip6.arpa."}}}, "grant * 6to4-self . NS", "no reverse name"},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "2.0.0.2.ip6.arpa."}}}, "grant * 6to4-self . NS", ""},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "arpa."}}}, "grant * 6to4-self . NS", ""},
		{policy.Setting{Zones: []policy.ZoneSetting{{Origin: "."}}}, "grant * tcp-self . PTR", ""},
		// Record types.
		{secure, "grant * zonesub NSEC NSEC3", "no update can change"},
		{secure, "grant * zonesub AXFR OPT", "no update can change"},
		{secure, "grant * zonesub NSEC A", ""},
		{secure, "grant * zonesub RRSIG", ""},
		{secure, "grant EXAMPLE.TEST owner . NSEC", ""}, // permits what changes nothing
		// Rules in front.
		{secure, "grant * zonesub ANY; deny bob@EXAMPLE.TEST name a.example.test", `"grant * zonesub ANY", in front of it, decides|put it in front of Corefile:1`},
		{secure, "grant * zonesub ANY; deny * name a.example.test ANY", "decides whenever it would"},
		{open, "grant * zonesub ANY; deny * name a.example.test ANY", ""},
		{secure, "deny * zonesub ANY; deny administrator name a.example.test ANY", ""},
		{secure, "grant * zonesub ANY; deny administrator name a.example.test ANY", ""},
		{secure, "deny administrator zonesub ANY; deny administrator name a.example.test ANY", "decides whenever it would"},
		{secure, "deny administrator zonesub A; deny administrator name a.example.test A NSEC", ""},
		{secure, "deny administrator name www.other.test ANY", "none of the zones"},
		{open, "deny * zonesub ANY; grant anonymous name a.example.test ANY", "decides whenever it would"},
		{secure, "grant * zonesub ANY; grant * zonesub ANY", "decides whenever it would|leave it out"},
		{secure, "grant * zonesub; grant * zonesub ANY", ""},
		{secure, "grant * zonesub; grant * name a.example.test NS", ""},
		{secure, "grant * zonesub; grant * name a.example.test A TXT(1)", "leave it out, or, if its record types are to hold, put it in front of Corefile:1"},
		{secure, "grant * zonesub A; grant * zonesub TXT; grant bob@EXAMPLE.TEST zonesub A TXT", `"grant * zonesub A" and "grant * zonesub TXT", in front of it, decide`},
		{secure, "grant * zonesub A; grant bob@EXAMPLE.TEST zonesub A TXT", ""},
		{secure, "grant * subdomain example.test A; grant bob@EXAMPLE.TEST name x.example.test A", "decides"},
		{forward, "grant * subdomain example.test A; grant bob@EXAMPLE.TEST zonesub A", "decides"},
		{secure, "grant * subdomain example.test A; grant bob@EXAMPLE.TEST zonesub A", ""},
		{secure, "grant * subdomain example.test A; grant * subdomain 2.0.192.in-addr.arpa A; grant bob@EXAMPLE.TEST zonesub A", "decide whenever"},
		{secure, "grant * wildcard *.x.example.test A; grant * name x.example.test A", ""},
		{secure, "grant * wildcard *.x.example.test A; grant * wildcard *.x.example.test A", "decides"},
		{secure, "grant * wildcard *.x.example.test A; grant * subdomain y.x.example.test A", "decides"},
		{secure, "grant * wildcard *.x.example.test A; grant * subdomain x.example.test A", ""},
		{secure, "grant bob@EXAMPLE.TEST zonesub; grant BOB@EXAMPLE.TEST name a.example.test A", "decides"},
		{secure, "grant bob@EXAMPLE.TEST zonesub; deny bob@EXAMPLE.TEST name a.example.test A", ""}, // another account may have that name in its ticket
		{secure, "deny bob@EXAMPLE.TEST zonesub; grant bob@EXAMPLE.TEST name a.example.test A", "decides"},
		{secure, "grant bob@EXAMPLE.TEST zonesub; grant * zonesub", ""},
		{secure, "grant sid:S-1-5-21-1-2-3-512 zonesub; deny sid:S-1-5-21-1-2-3-512 zonesub", ""}, // a ticket without PAC
		{secure, "grant EXAMPLE.TEST krb5-selfsub . A; grant EXAMPLE.TEST krb5-self . A", "decides"},
		{secure, "grant EXAMPLE.TEST krb5-self . A; grant EXAMPLE.TEST krb5-selfsub . A", ""},
		{secure, "grant EXAMPLE.TEST krb5-self . A; grant EXAMPLE.TEST ms-self . A", ""},
		{secure, "grant EXAMPLE.TEST krb5-self . A; grant CORP.TEST krb5-self . A", ""},
		{secure, "grant EXAMPLE.TEST ms-subdomain example.test A; grant EXAMPLE.TEST ms-self . A", "decides"},
		{secure, "grant EXAMPLE.TEST ms-subdomain-self-rhs . A PTR; grant EXAMPLE.TEST ms-subdomain . A", "decides"},
		{secure, "grant EXAMPLE.TEST ms-subdomain-self-rhs . A PTR; grant EXAMPLE.TEST ms-subdomain . PTR", ""},
		{secure, "grant EXAMPLE.TEST ms-subdomain-self-rhs . PTR; grant EXAMPLE.TEST ms-subdomain-self-rhs example.test PTR", "decides"},
		{secure, "grant * self . A; grant dhcp.keys.example.test self . A", "decides"},
		{secure, "grant * selfwild . A; grant dhcp.keys.example.test self . A", ""},
		{secure, "grant * self . A; grant * name dhcp.keys.example.test A", ""},
		{secure, "grant * tcp-self . PTR; grant *.2.0.192.in-addr.arpa tcp-self . PTR", "decides"},
		{secure, "grant *.2.0.192.in-addr.arpa tcp-self . PTR; grant * tcp-self . PTR", ""},
		{secure, "grant *.TEST zonesub; grant EXAMPLE.TEST krb5-self .", "decides"},
		{secure, "grant *.test zonesub; grant *.TEST zonesub", ""},
		{secure, "grant EXAMPLE.TEST owner .; grant bob@EXAMPLE.TEST zonesub", ""},
		{secure, "grant * zonesub ANY; grant EXAMPLE.TEST owner .", "decides"},
		{secure, "grant * zonesub; grant EXAMPLE.TEST owner .", ""}, // what changes nothing, in type NS
	}
	for _, tt := range tests {
		var rules []policy.Rule
		for i, line := range strings.Split(tt.rules, "; ") {
			words := strings.Fields(strings.ReplaceAll(line, "Domain Admins", "Domain_Admins"))
			words[1] = strings.ReplaceAll(words[1], "Domain_Admins", "Domain Admins") // one word, in quotes in a Corefile
			rule, err := policy.ParseRule(words[1:], fmt.Sprintf("Corefile:%d", i+1), words[0] == "deny")
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, rule)
		}
		said := ""
		for _, found := range tt.setting.Ineffective(rules) {
			if found.Reason == "" || found.Fix == "" {
				t.Errorf("%s: without reason or fix: %+v", tt.rules, found)
			}
			if found.Rule.Position() == rules[len(rules)-1].Position() {
				said = found.Reason + ". Fix: " + found.Fix
			}
		}
		for _, words := range strings.Split(tt.says, "|") {
			if (tt.says == "") != (said == "") || !strings.Contains(said, words) {
				t.Errorf("%s\n\tsays %q\n\twant %q", tt.rules, said, words)
			}
		}
	}
}

// TestUnmatchedIdentity: identities of lists.
func TestUnmatchedIdentity(t *testing.T) {
	s := policy.Setting{Realms: []string{"EXAMPLE.TEST"}, Keys: []string{}}
	for _, tt := range []struct {
		word  string
		owner bool
		says  string
	}{
		{"EXAMPLE.TEST", true, ""},
		{"EXAMPLE.TEST", false, "a realm is no identity here"},
		{"dhcp@EXAMPLE.TEST", false, ""},
		{"dhcp@example.test", true, "compared with case"},
		{"key1.", true, "no such key"},
		{"*", true, ""},
		{"sid:S-1-5-21-1-2-3-1101", false, ""},
	} {
		if reason, fix := s.UnmatchedIdentity(tt.word, tt.owner); (reason == "") != (tt.says == "") || (fix == "") != (tt.says == "") || !strings.Contains(reason, tt.says) {
			t.Errorf("%s: %q, %q", tt.word, reason, fix)
		}
	}
	if _, fix := s.UnmatchedIdentity("EXAMPLE.TEST", false); strings.Contains(fix, "type") {
		t.Errorf("a list has no rule types: %s", fix)
	}
}

// TestIneffectiveRulesOfTables: no rule of the tables decides on a case if it is said never to decide.
func TestIneffectiveRulesOfTables(t *testing.T) {
	policies, err := policytest.Tables()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, p := range policies {
		rules := parseRules(t, p.Rules)
		config := policy.Config{Mode: policy.Secure, Rules: rules}
		setting := policy.Setting{Zones: []policy.ZoneSetting{{Origin: p.Origin, Mode: policy.Secure}}}
		var never []string
		for _, f := range setting.Ineffective(rules) {
			never = append(never, f.Rule.String())
		}
		found += len(never)
		for _, c := range p.Cases {
			z := openZone(t, p.Origin, mustRecords(t, p.Origin), zone.Config{})
			d := newPolicy(t, config).Authorizer(c.Identity())(propose(t, z, message(t, p.Origin, c.Update)))
			if slices.Contains(never, d.Rule) {
				t.Errorf("%s:%d: %s: decided by %s", c.File, c.Line, c.Text, d.Rule)
			}
		}
	}
	if found == 0 {
		t.Error("no rule of the tables is said never to decide: the test tests nothing")
	}
}

// randomSetting is a list of rules, and clients and updates that its server may see.
type randomSetting struct {
	t      testing.TB
	random *rand.Rand
}

func (r *randomSetting) pick(words ...string) string { return words[r.random.IntN(len(words))] }

func (r *randomSetting) name() string {
	return r.pick("a", "x.a", ".", ".", "example.test", "example.test", "a.example.test", "example.test", "x.a.example.test", "A.example.test", "key1.example.test", "www.other.test",
		"x.key1.example.test", "1.rev.example.test", "7.2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa", "test", ".", "a.key1.example.test",
		"pc1.example.test", "x.pc1.example.test")
}

func (r *randomSetting) types() string {
	return r.pick("", "", "", "ANY", "ANY", "ANY", "ANY", "A", "PTR", "A TXT", "A(1) PTR", "NS", "SRV PTR(2)", "NSEC", "ANY(1)", "TXT AXFR", "SOA A", "RRSIG", "DS")
}

func (r *randomSetting) rule() string {
	verb := r.pick("grant", "grant", "deny")
	who := r.pick("*", "*", "*", "*", "*", "*", "bob@EXAMPLE.TEST", "BOB@EXAMPLE.TEST", "bob@CORP.TEST", "bob@example.test", "key1.example.test.", "key2.", "anonymous",
		"sid:S-1-5-21-1-2-3-512", "sid:S-1-5-21-1-2-3-513", "*.example.test", "*.TEST", "*.pc1@EXAMPLE.TEST", "pc1$@EXAMPLE.TEST",
		"host/pc1.example.test@EXAMPLE.TEST", "EXAMPLE.TEST", "*.CORP.TEST", "*.a")
	if verb == "deny" && r.random.IntN(6) == 0 {
		who = policy.AdministratorName
	}
	realm := r.pick("EXAMPLE.TEST", "EXAMPLE.TEST", "CORP.TEST", "example.test", "X!Y")
	kind := r.pick("name", "subdomain", "zonesub", "wildcard", "self", "krb5", "ms", "tcp-self", "6to4-self", "owner", "subdomain", "zonesub")
	family := kind
	switch kind {
	case "zonesub":
		return fmt.Sprintf("%s %s zonesub %s", verb, who, r.types())
	case "wildcard":
		return fmt.Sprintf("%s %s wildcard *.%s %s", verb, who, strings.TrimPrefix(r.name(), "."), r.types())
	case "self":
		who = r.pick("*", "*", "key1.example.test", "key2.", "*.example.test", "*.a")
		return fmt.Sprintf("%s %s self%s . %s", verb, who, r.pick("", "sub", "wild"), r.types())
	case "krb5", "ms":
		switch r.random.IntN(4) {
		case 0, 1:
			return fmt.Sprintf("%s %s %s-self%s . %s", verb, realm, family, r.pick("", "sub"), r.types())
		}
		return fmt.Sprintf("%s %s %s-subdomain%s %s %s", verb, realm, family, r.pick("", "-self-rhs"), r.name(), r.types())
	case "tcp-self", "6to4-self":
		who = r.pick("*", "*", "anonymous", "*.2.0.192.in-addr.arpa", "7.2.0.192.in-addr.arpa", "*.in-addr.arpa", "192.0.2.7",
			"7.0.2.0.0.0.0.c.2.0.0.2.ip6.arpa", "*.2.0.0.2.ip6.arpa", "*.ip6.arpa")
		return fmt.Sprintf("%s %s %s . %s", verb, who, kind, r.types())
	case "owner":
		return fmt.Sprintf("grant %s owner %s %s", who, r.name(), r.types())
	}
	return fmt.Sprintf("%s %s %s %s %s", verb, who, kind, r.name(), r.types())
}

func (r *randomSetting) identity() policy.Identity {
	id := policy.Identity{}
	switch r.random.IntN(9) {
	case 0:
	case 3:
		return policy.Identity{Kind: policy.Administrator}
	case 1, 2:
		id = policy.Identity{Kind: policy.Static, Name: r.pick("key1.example.test.", "key3.")}
	default:
		id = kerberos(r.pick("bob@EXAMPLE.TEST", "Bob@EXAMPLE.TEST", "bob@CORP.TEST", "pc1$@EXAMPLE.TEST", "PC1$@CORP.TEST", "host/pc1.example.test@EXAMPLE.TEST",
			"host/a.example.test@CORP.TEST", "host/7.2.0.192.in-addr.arpa@EXAMPLE.TEST", "x.pc1@EXAMPLE.TEST"))
		switch r.random.IntN(4) {
		case 0:
			id.HasPAC, id.SID, id.Account = true, "S-1-5-21-1-2-3-1000", r.pick("bob", "pc1$", "a$")
			id.Groups = []string{id.SID, r.pick("S-1-5-21-1-2-3-512", "S-1-5-21-1-2-3-513")}
		case 1:
			id.RealmNamesAccounts = true
		}
	}
	id.Client = netip.MustParseAddr(r.pick("192.0.2.7", "192.0.2.8", "2002:c000:207::1", "2001:db8::1"))
	id.TCP = r.random.IntN(2) == 0
	return id
}

func (r *randomSetting) change(origin string) string {
	name := r.pick("a", "b", "x.a", "@", "key1", "x.key1", "1.rev", "7", "8", "new", "pc1", "x.pc1", "alias", "sub", "a.key1")
	if origin == "2.0.0.2.ip6.arpa." {
		name = r.pick("7.0.2.0.0.0.0.c", "8.0.2.0.0.0.0.c", "@", "7")
	}
	data := r.pick("A 192.0.2.9", "A 192.0.2.1", "TXT x", "PTR pc1.example.test.", "PTR a.example.test.", "SRV 0 0 1 pc1.example.test.", "NS ns9.example.test.",
		"DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000", "MX 1 a.example.test.")
	rrtype, _, _ := strings.Cut(data, " ")
	switch r.random.IntN(6) {
	case 0:
		return "delete " + name
	case 1:
		return "delete " + name + " " + rrtype
	case 2:
		return "delete " + name + " " + data
	}
	return "add " + name + " " + data
}

// TestIneffectiveNeverDecides: under random rules, random clients and random updates, a rule that is said never to decide
// does not, and the decisions without it are the same.
func TestIneffectiveNeverDecides(t *testing.T) {
	r := &randomSetting{t, rand.New(rand.NewPCG(3, 4))}
	seeds := map[string]string{
		"example.test.":         "add @ SOA ns1 h 1 3600 600 86400 60; add @ NS ns1; add a A 192.0.2.1; add x.a TXT x; add 1.rev PTR a; add key1 A 192.0.2.1; add sub NS ns.sub; add alias CNAME a",
		"2.0.192.in-addr.arpa.": "add @ SOA ns1 h 1 3600 600 86400 60; add @ NS ns1; add 7 PTR pc1.example.test.; add 8 PTR a.example.test.",
		"2.0.0.2.ip6.arpa.":     "add @ SOA ns1 h 1 3600 600 86400 60; add @ NS ns1; add 7.0.2.0.0.0.0.c NS ns1.example.test.",
	}
	origins := []string{"example.test.", "2.0.192.in-addr.arpa.", "2.0.0.2.ip6.arpa."}
	zones := make(map[string]*zone.Zone)
	section := func(origin, text string) []byte {
		var m []byte
		var records = changes(t, "delete @")[:0]
		for _, change := range strings.Split(text, "; ") {
			rr, err := policytest.ParseChange(origin, change)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, rr)
		}
		m = message(t, origin, records)
		return m
	}
	for _, origin := range origins {
		records := changes(t, "delete @")[:0]
		for _, change := range strings.Split(seeds[origin], "; ") {
			rr, err := policytest.ParseChange(origin, change)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, rr)
		}
		zones[origin] = openZone(t, origin, records, zone.Config{})
	}
	lists, reported, decisions, byRule := 2_000, 0, 0, 0
	for range lists {
		var lines []string
		for range 1 + r.random.IntN(5) {
			lines = append(lines, r.rule())
		}
		var rules []policy.Rule
		for i, line := range lines {
			words := strings.Fields(line)
			rule, err := policy.ParseRule(words[1:], fmt.Sprintf("Corefile:%d", i+1), words[0] == "deny")
			if err == nil {
				rules = append(rules, rule)
			}
		}
		if len(rules) == 0 {
			continue
		}
		setting := policy.Setting{Realms: []string{"EXAMPLE.TEST", "CORP.TEST"}, Keys: []string{"key1.example.test.", "key3."}}
		if r.random.IntN(4) == 0 {
			setting.Realms, setting.Keys = nil, nil
		}
		policies := make(map[string]*policy.Policy)
		for _, origin := range origins {
			if r.random.IntN(2) == 0 {
				continue
			}
			mode, err := policy.ParseMode(r.pick("secure", "nonsecure-and-secure"))
			if err != nil {
				t.Fatal(err)
			}
			setting.Zones = append(setting.Zones, policy.ZoneSetting{Origin: origin, Mode: mode})
			policies[origin] = newPolicy(t, policy.Config{Mode: mode, Rules: rules, Realms: setting.Realms})
		}
		var never []string
		for _, f := range setting.Ineffective(rules) {
			never = append(never, f.Rule.String())
		}
		reported += len(never)
		for _, origin := range origins {
			p, ok := policies[origin]
			if !ok {
				continue
			}
			without := p.Without(never)
			for range 20 {
				id, text := r.identity(), r.change(origin)
				if r.random.IntN(3) == 0 {
					text += "; " + r.change(origin)
				}
				octets := section(origin, text)
				proposal, err := zones[origin].Propose(octets)
				if err != nil {
					continue
				}
				d, other := p.Authorizer(id)(proposal), without.Authorizer(id)(propose(t, zones[origin], octets))
				decisions++
				if strings.HasPrefix(d.Rule, "Corefile:") {
					byRule++
				}
				if slices.Contains(never, d.Rule) || d.Allow != other.Allow {
					t.Fatalf("%s %v %q by %v\n%s\nnever: %v\n%+v\nwithout: %+v", origin, setting.Zones, text, id, strings.Join(lines, "\n"), never, d, other)
				}
			}
		}
	}
	t.Logf("%d lists, %d rules reported; %d decisions, %d by a rule", lists, reported, decisions, byRule)
	if reported < lists/4 || byRule < decisions/20 {
		t.Errorf("%d rules of %d lists reported, %d of %d decisions by a rule: the test tests nothing", reported, lists, byRule, decisions)
	}
}
