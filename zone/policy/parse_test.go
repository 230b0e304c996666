package policy_test

import (
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

func TestParseRule(t *testing.T) {
	tests := []struct {
		rule string
		want string // part of the error; empty for a good rule
	}{
		{"grant CORP.EXAMPLE.COM ms-self . A AAAA", ""},
		{"grant CORP.EXAMPLE.COM ms-self . A AAAA;", ""},
		{"grant CORP.EXAMPLE.COM ms-self . A AAAA ;", ""},
		{"deny * name critical.corp.example.com ANY", ""},
		{"grant EXAMPLE.TEST. krb5-self .", ""},
		{"grant EXAMPLE.TEST krb5-selfsub . any", ""},
		{"grant EXAMPLE.TEST krb5-subdomain .", ""},
		{"grant EXAMPLE.TEST krb5-subdomain example.test A(2) AAAA(0)", ""},
		{"grant EXAMPLE.TEST KRB5-Subdomain-Self-RHS rev.example.test ptr srv", ""},
		{"grant EXAMPLE.TEST ms-selfsub .", ""},
		{"grant EXAMPLE.TEST ms-subdomain example.test", ""},
		{"grant EXAMPLE.TEST ms-subdomain-self-rhs example.test", ""},
		{"grant key. subdomain example.test TYPE65535 TYPE1", ""},
		{"grant key zonesub", ""},
		{"grant key zonesub ANY(3)", ""},
		{"grant * wildcard *.example.test A", ""},
		{"grant * wildcard * A", ""},
		{"grant *.example.test self *.example.test", ""},
		{"grant key selfsub .", ""},
		{"grant * selfwild . A A(2)", ""},
		{"grant EXAMPLE.TEST krb5-self * A AAAA", ""},
		{"grant EXAMPLE.TEST krb5-selfsub *", ""},
		{"grant EXAMPLE.TEST ms-self * A AAAA", ""},
		{"grant EXAMPLE.TEST ms-selfsub * A", ""},
		{"grant key self * A", ""},
		{"grant key selfsub *", ""},
		{"grant key selfwild *", ""},
		{"grant * tcp-self * PTR(1)", ""},
		{"grant * 6to4-self * NS", ""},
		{"grant * tcp-self . PTR(1)", ""},
		{"grant 1.0.0.127.in-addr.arpa tcp-self .", ""},
		{"grant anonymous 6to4-self . NS", ""},
		{"grant anonymous subdomain dyn.example.test A", ""},
		{"grant REALM owner .", ""},
		{"grant * owner dyn.example.test A AAAA", ""},
		{"grant sid:S-1-5-21-1-2-3-1101 zonesub ANY", ""},
		{`grant host/a.example.test\@EXAMPLE.TEST name a.example.test`, ""},
		{`grant host/a.example.test@EXAMPLE.TEST name a.example.test`, ""},
		{`grant A\$\@EXAMPLE.TEST name a.example.test`, ""},
		{`grant DHCP\047a.example.test\064EXAMPLE.TEST name a.example.test`, ""},
		{`grant a\\047@EXAMPLE.TEST name a.example.test`, ""},
		{`grant b\111b@EXAMPLE.TEST zonesub`, ""},
		{`grant a\999@EXAMPLE.TEST name a.example.test`, "an escape in a principal"},
		{`grant *.example.test@EXAMPLE.TEST zonesub`, ""},

		{"grant", "a rule is IDENTITY RULETYPE"},
		{"grant *", "a rule is IDENTITY RULETYPE"},
		{"grant * ;", "a rule is IDENTITY RULETYPE"},
		{"grant * nome a.example.test", `"nome" is not a rule type; the types are 6to4-self, krb5-self, `},
		{"grant * local .", `"local" is not a rule type`},
		{"grant local:/run/x external * ANY", "not supported"},
		{"grant * external", "not supported"},
		{"grant * name", "name needs a name"},
		{"grant EXAMPLE.TEST owner", "owner needs a name. Fix: write a name behind it, or . for every name"},
		{"grant EXAMPLE.TEST krb5-self", "needs a name. Fix: write . behind it"},
		{"grant * wildcard", "needs a name. Fix: write a wildcard such as *."},
		{"grant * name A", "the name is missing before the type A"},
		{"grant EXAMPLE.TEST ms-self A AAAA", "the name is missing before the type A"},
		{"grant * subdomain MX(3)", "the name is missing"},
		{"grant * name a..b", `"a..b" is not a name`},
		{"grant * name " + strings.Repeat("a.", 200), "is not a name"},
		{"grant * name " + strings.Repeat("a", 64) + ".test", "is not a name"},
		{"grant * zonesub example.test A", `"example.test" is not a record type`},
		{"grant * wildcard example.test", "is not a wildcard"},
		{"grant * wildcard a*.example.test", "is not a wildcard"},
		{"grant * zonesub BLA", "is not a record type"},
		{"grant * zonesub None", "is not a record type"},
		{"grant * zonesub TYPE0", "is not a record type"},
		{"grant * zonesub TYPE65536", "is not a record type"},
		{"grant * zonesub A(65536)", "no count"},
		{"grant * zonesub A(-1)", "no count"},
		{"grant * zonesub A(1", "no count"},
		{"grant * zonesub A()", "no count"},
		{"grant * zonesub A(1)2", "no count"},
		{"grant * krb5-self .", "realm"},
		{"grant bob@EXAMPLE.TEST ms-self .", "realm"},
		{"grant EXAMPLE.TEST krb5-self *.example.test", "placeholder"},
		{"grant EXAMPLE.TEST ms-selfsub example.test", "placeholder"},
		{"grant * tcp-self 127.in-addr.arpa PTR", "placeholder"},
		{"grant * self example.test", "identity"},
		{"grant anonymous self .", "HMAC key"},
		{"grant bob@EXAMPLE.TEST selfsub .", "HMAC key"},
		{"grant a..b tcp-self .", "reverse tree"},
		{"grant *@EXAMPLE.TEST zonesub", "matches no principal"},
		{`grant *\@EXAMPLE.TEST zonesub`, "matches no principal"},
		{"grant bob@ zonesub", "realm"},
		{`grant bob\064EXAMPLE.TEST@ zonesub`, "realm"},
		{`grant a..b zonesub`, "not a key name"},
		{"grant sid:1-2-3 zonesub", "group"},
		{"deny EXAMPLE.TEST owner .", "owner only grants"},
	}
	for _, tt := range tests {
		words := strings.Fields(tt.rule)
		r, err := policy.ParseRule(words[1:], "Corefile:12", words[0] == "deny")
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%v", err)
		case tt.want == "":
			text := strings.TrimRight(strings.TrimSuffix(tt.rule, ";"), " ")
			if r.String() != "Corefile:12: "+text || r.Position() != "Corefile:12" {
				t.Errorf("%s: is written %q at %q", tt.rule, r.String(), r.Position())
			}
		case err == nil:
			t.Errorf("%s: no error", tt.rule)
		case !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "Corefile:12: "):
			t.Errorf("%s: error %q", tt.rule, err)
		}
	}
}

func TestDecisionNamesTheRule(t *testing.T) {
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{
		"deny * name b.example.test ANY",
		"grant key1. zonesub A",
	})})
	for _, tt := range []struct{ change, rule, reason, cause string }{
		{"add a A 192.0.2.9", "Corefile:2: grant key1. zonesub A", "", ""},
		{"add b A 192.0.2.9", "Corefile:1: deny * name b.example.test ANY", "b.example.test. A: denied", policy.CauseDenied},
		{"add a TXT x", "no rule", "a.example.test. TXT: no rule grants it to key key1.", policy.CauseNoRule},
	} {
		d := decide(t, p, policy.Identity{Kind: policy.Static, Name: "key1."}, tt.change)
		if d.Rule != tt.rule || d.Reason != tt.reason || d.Cause != tt.cause {
			t.Errorf("%s: %+v", tt.change, d)
		}
	}
}

func TestGroupsComeFromTheTicket(t *testing.T) {
	p := newPolicy(t, policy.Config{Rules: parseRules(t, []string{"grant sid:S-1-5-21-1-2-3-1101 zonesub ANY"})})
	id := policy.Identity{Kind: policy.Kerberos, Name: "bob@EXAMPLE.TEST", Components: []string{"bob"}, Realm: "EXAMPLE.TEST"}
	if d := decide(t, p, id, "add @ MX 1 a"); d.Allow {
		t.Errorf("without the group: %+v", d)
	}
	id.Groups = []string{"S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1101"}
	if d := decide(t, p, id, "add @ MX 1 a"); !d.Allow {
		t.Errorf("with the group: %+v", d)
	}
	id.Groups = []string{"S-1-5-21-1-2-3-110", "S-1-5-21-1-2-3-11010"}
	if d := decide(t, p, id, "add @ MX 1 a"); d.Allow {
		t.Errorf("with other groups: %+v", d)
	}
	id.Groups = []string{"S-1-5-21-1-2-3-1101"}
	for _, id.Kind = range []policy.Kind{policy.Static, policy.Anonymous} {
		if d := decide(t, p, id, "add @ MX 1 a"); d.Allow {
			t.Errorf("without a ticket: %+v", d)
		}
	}
}

func TestNew(t *testing.T) {
	if _, err := policy.New(policy.Config{Protected: []string{"a..b"}}); err == nil {
		t.Error("a protected name that is no name")
	}
	if _, err := policy.New(policy.Config{Mode: 7}); err == nil {
		t.Error("a mode that does not exist")
	}
	for _, word := range []string{"none", "secure", "nonsecure-and-secure"} {
		m, err := policy.ParseMode(word)
		if err != nil || m.String() != word {
			t.Errorf("%s: %v, %v", word, m, err)
		}
	}
	if _, err := policy.ParseMode("Secure"); err == nil {
		t.Error("a mode in the wrong case")
	}
	p := newPolicy(t, policy.Config{Mode: policy.NonsecureAndSecure, Realms: []string{"A.TEST", "B.TEST"}})
	if got := strings.Join(p.Rules(), "; "); got !=
		"default: grant A.TEST owner .; default: grant B.TEST owner .; default: grant anonymous owner ." {
		t.Errorf("rules: %s", got)
	}
}
