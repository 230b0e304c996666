package policy_test

import (
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// domainSID is that of the accounts in these tests.
const domainSID = "S-1-5-21-1-2-3-"

// withPAC adds to a principal what its ticket says of it, written as
//
//	ACCOUNT:RID[:GROUP...]   a PAC that names the account; GROUP is a RID too
//	pac                      a PAC that names none
//	none                     no PAC, in a realm whose tickets have PACs that name accounts
//
// and nothing for a ticket without PAC in a realm of which no more is known.
func withPAC(id policy.Identity, ticket string) policy.Identity {
	switch ticket {
	case "":
	case "pac":
		id.HasPAC = true
	case "none":
		id.RealmNamesAccounts = true
	default:
		words := strings.Split(ticket, ":")
		id.HasPAC, id.RealmNamesAccounts = true, true
		id.Account, id.SID = words[0], domainSID+words[1]
		for _, rid := range words[2:] {
			id.Groups = append(id.Groups, domainSID+rid)
		}
	}
	return id
}

func kerberos(name string) policy.Identity {
	at := strings.LastIndexByte(name, '@')
	return policy.Identity{Kind: policy.Kerberos, Name: name, Components: strings.Split(name[:at], "/"), Realm: name[at+1:]}
}

// TestAccountDecides: what the ticket calls its client counts only as far as the account bears it out.
func TestAccountDecides(t *testing.T) {
	for _, tt := range []struct {
		name, ticket string
		machine      bool // rules about machines grant
		byName       bool // a grant to the name in the ticket does
	}{
		{"CLIENT1$@EXAMPLE.TEST", "CLIENT1$:1104", true, true},
		{"client1$@EXAMPLE.TEST", "CLIENT1$:1104", true, true},
		{"host/client1.example.test@EXAMPLE.TEST", "CLIENT1$:1104", true, true},
		{"host/CLIENT1.example.test@EXAMPLE.TEST", "client1$:1104", true, true},
		{"host/averylonghostname01.example.test@EXAMPLE.TEST", "AVERYLONGHOSTNA$:1104", true, true},
		{"host/averylonghostname01.example.test@EXAMPLE.TEST", "AVERYLONGHOSTNAME01$:1104", true, true},
		{"host/averylonghostname01.example.test@EXAMPLE.TEST", "AVERYLONGHOSTN$:1104", false, false},
		{"host/client1.example.test@EXAMPLE.TEST", "CLIENT1:1104", false, false},
		{"host/client1.example.test@EXAMPLE.TEST", "CLIENT$:1104", false, false},
		{"host/client1.example.test@EXAMPLE.TEST", "CLIENT11$:1104", false, false},
		{"host/client1.example.test@EXAMPLE.TEST", "alice:1103", false, false},
		{"host/client1.example.test@EXAMPLE.TEST", "client1.example.test:1103", false, false},
		{"host/client1.example.test@EXAMPLE.TEST", "$:1103", false, false},
		{"CLIENT1$@EXAMPLE.TEST", "alice:1103", false, false},
		{"CLIENT1$@EXAMPLE.TEST", "CLIENT2$:1105", false, false},
		// A name that the ticket has in the account's place.
		{"host/client1.example.test@EXAMPLE.TEST", "host/client1.example.test:1104", true, true},
		// The account is not known: MIT, FreeIPA, Heimdal.
		{"host/client1.example.test@EXAMPLE.TEST", "", true, true},
		{"host/client1.example.test@EXAMPLE.TEST", "pac", true, true},
		{"CLIENT1$@EXAMPLE.TEST", "", true, true},
		// It is not known where it should be.
		{"host/client1.example.test@EXAMPLE.TEST", "none", false, false},
		{"CLIENT1$@EXAMPLE.TEST", "none", false, false},
	} {
		id := withPAC(kerberos(tt.name), tt.ticket)
		host := "client1.example.test."
		if strings.Contains(tt.name, "averylong") {
			host = "averylonghostname01.example.test."
		}
		kind := "ms"
		if strings.HasPrefix(tt.name, "host/") {
			kind = "krb5"
		}
		for _, rule := range []struct {
			text string
			want bool
		}{
			{"grant EXAMPLE.TEST " + kind + "-self . A", tt.machine},
			{"grant EXAMPLE.TEST " + kind + "-selfsub . A", tt.machine},
			{"grant EXAMPLE.TEST " + kind + "-subdomain . A", tt.machine},
			{"grant EXAMPLE.TEST " + kind + "-subdomain-self-rhs . A", tt.machine},
			{"grant " + tt.name + " zonesub A", tt.byName},
			{"grant *.example.test@EXAMPLE.TEST zonesub A", tt.byName && kind == "krb5"},
		} {
			if got := allows(t, rule.text, id, host+" A 192.0.2.1"); got != rule.want {
				t.Errorf("%s of %q: %s: %v", tt.name, tt.ticket, rule.text, got)
			}
			deny := strings.Replace(rule.text, "grant", "deny", 1)
			if kind == "krb5" || !strings.Contains(deny, "*") {
				if got := allows(t, deny+"; grant * zonesub A", id, host+" A 192.0.2.1"); got {
					t.Errorf("%s of %q: %s is escaped", tt.name, tt.ticket, deny)
				}
			}
		}
	}
}

// allows reports whether rules, separated by "; ", permit to add a record.
func allows(t *testing.T, rules string, id policy.Identity, record string) bool {
	t.Helper()
	p := newPolicy(t, policy.Config{Rules: parseRules(t, strings.Split(rules, "; "))})
	return decide(t, p, id, "add "+record).Allow
}

// TestGrantNamesTheAccount: a rule may name the account, whatever name the client came by.
func TestGrantNamesTheAccount(t *testing.T) {
	const rule = "grant alice@EXAMPLE.TEST zonesub A"
	for _, tt := range []struct {
		name, ticket string
		want         bool
	}{
		{"alice@EXAMPLE.TEST", "alice:1103", true},
		{"alice.smith@EXAMPLE.TEST", "Alice:1103", true},
		{"alice.smith@EXAMPLE.TEST", "", false},
		{"alice.smith@OTHER.TEST", "alice:1103", false},
		{"alice@EXAMPLE.TEST", "mallory:1106", false},
		{"alice@EXAMPLE.TEST", "none", false},
		{"alice@EXAMPLE.TEST", "pac", true},
		{"alice@EXAMPLE.TEST", "", true},
	} {
		id := withPAC(kerberos(tt.name), tt.ticket)
		if got := allows(t, rule, id, "x A 192.0.2.1"); got != tt.want {
			t.Errorf("%s of %q: %v", tt.name, tt.ticket, got)
		}
		deny := strings.Replace(rule, "grant", "deny", 1) + "; grant * zonesub A"
		if allows(t, deny, id, "x A 192.0.2.1") && (tt.want || strings.HasPrefix(tt.name, "alice@")) {
			t.Errorf("%s of %q escapes %s", tt.name, tt.ticket, deny)
		}
	}
}

// TestDenyOfGroup: whose groups nobody tells is in all groups that something is denied to, and in none
// that something is granted to.
func TestDenyOfGroup(t *testing.T) {
	deny := "deny sid:" + domainSID + "1200 zonesub A; grant EXAMPLE.TEST owner ."
	grant := "grant sid:" + domainSID + "1200 zonesub A"
	for ticket, want := range map[string]struct{ denied, granted bool }{
		"":                {true, false},
		"none":            {true, false},
		"pac":             {false, false},
		"carol:1103":      {false, false},
		"carol:1103:1200": {true, true},
	} {
		id := withPAC(kerberos("carol@EXAMPLE.TEST"), ticket)
		if got := allows(t, deny, id, "x A 192.0.2.1"); got == want.denied {
			t.Errorf("%q: %v in spite of %s", ticket, got, deny)
		}
		if got := allows(t, grant, id, "x A 192.0.2.1"); got != want.granted {
			t.Errorf("%q: %v by %s", ticket, got, grant)
		}
	}
	// An HMAC key is in no group.
	key := policy.Identity{Kind: policy.Static, Name: "key1."}
	if !allows(t, "deny sid:"+domainSID+"1200 zonesub A; grant key1. zonesub A", key, "x A 192.0.2.1") {
		t.Error("a key is in a group")
	}
}

func TestOwnerHasTheSID(t *testing.T) {
	for _, tt := range []struct{ name, ticket, want string }{
		{"host/a.example.test@EXAMPLE.TEST", "", "host/a.example.test@EXAMPLE.TEST"},
		{"host/a.example.test@EXAMPLE.TEST", "pac", "host/a.example.test@EXAMPLE.TEST"},
		{"A$@EXAMPLE.TEST", "A$:1104", "A$@EXAMPLE.TEST " + domainSID + "1104"},
		{"host/a.example.test@EXAMPLE.TEST", "alice:1103", "alice@EXAMPLE.TEST " + domainSID + "1103"},
		{"host/a.example.test@EXAMPLE.TEST", "a@b/c:1103", `a\@b\/c@EXAMPLE.TEST ` + domainSID + "1103"},
		{"A$@EXAMPLE.TEST", "none", "A$@EXAMPLE.TEST S-1-0-0"},
	} {
		owner := withPAC(kerberos(tt.name), tt.ticket).Owner()
		if owner != tt.want {
			t.Errorf("%s of %q: %s", tt.name, tt.ticket, owner)
		}
		name, sid := policy.SplitOwner(owner)
		if joined := strings.TrimSpace(name + " " + sid); joined != owner || sid != "" && !strings.HasPrefix(sid, "S-1-") || strings.Contains(name, " ") {
			t.Errorf("%s: split into %q and %q", owner, name, sid)
		}
	}
	for _, owner := range []string{"", "key:key1.", "proxy:", "a b@EXAMPLE.TEST"} {
		if name, sid := policy.SplitOwner(owner); name != owner || sid != "" {
			t.Errorf("%q: split into %q and %q", owner, name, sid)
		}
	}
}
