package zone

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// holdingOf says what a proposal finds at or above a name: "NAME OWNER", "NAME" or "".
func holdingOf(t testing.TB, p *Proposal, name string) string {
	t.Helper()
	held, found := p.Holding([]byte(wire(t, name)))
	if again, foundAgain := p.Holding([]byte(wire(t, strings.ToUpper(name)))); found != foundAgain || string(again.Name) != string(held.Name) {
		t.Errorf("%s: %+v, then %+v", name, held, again)
	}
	if !found {
		return ""
	}
	if held.Owned != (held.Owner.Principal != "") {
		t.Errorf("%s: %+v", name, held)
	}
	return strings.TrimSpace(dnswire.NameText(held.Name) + " " + held.Owner.Principal)
}

func propose(t testing.TB, z *Zone, script string) *Proposal {
	t.Helper()
	p, err := z.Propose(pack(t, message(t, script)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHolding(t *testing.T) {
	c := &clock{at: time.Unix(1_700_000_000, 0)}
	z := openText(t, testApex, func(config *Config) { config.Now = c.now })
	own := func(name, principal string) {
		applyAs(t, z, "U "+name+" 5 IN A 192.0.2.1", Claim{wire(t, name), principal})
	}
	own("a.example.test.", "alice")
	own("x.y.a.example.test.", "bob")
	apply(t, z, "U c.b.example.test. 5 IN A 192.0.2.1")
	own("gone.example.test.", "carol")
	apply(t, z, "U gone.example.test. 0 ANY ANY")
	for _, updates := range []string{"U n.example.test. 5 IN A 192.0.2.1", "U n.example.test. 5 IN A 192.0.2.1\nU m.example.test. 5 IN A 192.0.2.1"} {
		p := propose(t, z, updates)
		for name, want := range map[string]string{
			"example.test.":             "",
			"b.example.test.":           "",
			"new.example.test.":         "",
			"other.test.":               "",
			"a.example.test.":           "a.example.test. alice",
			"y.a.example.test.":         "a.example.test. alice",
			"z.a.example.test.":         "a.example.test. alice",
			"1.2.3.x.y.a.example.test.": "x.y.a.example.test. bob",
			"x.y.b.a.example.test.":     "a.example.test. alice",
			"aa.example.test.":          "",
			"d.c.b.example.test.":       "c.b.example.test.",
			"d.b.example.test.":         "",
			"x.gone.example.test.":      "gone.example.test. carol",
		} {
			if got := holdingOf(t, p, name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	c.at = c.at.Add(8 * 24 * time.Hour)
	if got := holdingOf(t, propose(t, z, ""), "x.gone.example.test."); got != "" {
		t.Errorf("an expired tombstone holds %q", got)
	}
}

// TestHoldingRandom compares Holding with a walk from label to label.
func TestHoldingRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	c := &clock{at: time.Unix(1_700_000_000, 0)}
	z := openText(t, testApex, func(config *Config) { config.Now = c.now })
	name := func() string {
		name := "example.test."
		for range 1 + r.IntN(4) {
			name = string('a'+rune(r.IntN(3))) + "." + name
		}
		return name
	}
	for range 1_000 {
		n := name()
		switch r.IntN(5) {
		case 0:
			apply(t, z, "U "+n+" 0 ANY ANY")
		case 1:
			c.at = c.at.Add(24 * time.Hour)
		case 2:
			apply(t, z, "U "+n+" 5 IN A 192.0.2.1")
		default:
			applyAs(t, z, "U "+n+" 5 IN A 192.0.2.1", Claim{wire(t, n), fmt.Sprint("p", r.IntN(9))})
		}
		p := propose(t, z, "")
		n = name()
		want := ""
		for above := n; above != "example.test."; _, above, _ = strings.Cut(above, ".") {
			own, owned := z.Snapshot().Owner(above)
			if owned && !own.Deleted.IsZero() && own.Deleted.Unix() <= p.expired {
				owned = false
			}
			if owned || z.Snapshot().Exists(above) {
				if want = above; owned {
					want += " " + own.Principal
				}
				break
			}
		}
		if got := holdingOf(t, p, n); got != want {
			t.Fatalf("%s: %q, want %q", n, got, want)
		}
	}
}

func TestServers(t *testing.T) {
	z := openText(t, testApex, nil)
	check := func(name string, server, target bool) {
		t.Helper()
		n := propose(t, z, "U "+name+" 5 IN A 192.0.2.1").Name(0)
		if n.IsNameServer() != server || n.IsServiceTarget() != target {
			t.Errorf("%s: name server %v, service %v", name, n.IsNameServer(), n.IsServiceTarget())
		}
	}
	check("ns1.example.test.", true, true)
	check("NS1.example.test.", true, true)
	apply(t, z, `
		U example.test. 5 IN MX 10 mail.example.test.
		U example.test. 5 IN NS ns2.example.test.
		U _LDAP._tcp.example.test. 5 IN SRV 0 0 389 DC1.example.test.
		U _ldap._tcp.x._sites.example.test. 5 IN SRV 0 0 389 dc1.example.test.
		U _ldap._tcp.example.test. 5 IN SRV 0 0 389 dc.other.test.
		U _ssh._tcp.a.example.test. 5 IN SRV 0 0 22 b.example.test.
		U x.example.test. 5 IN MX 10 a.example.test.`)
	verify(t, z.Snapshot())
	check("ns2.example.test.", true, true)
	check("mail.example.test.", false, true)
	check("dc1.example.test.", false, true)
	check("a.example.test.", false, false)
	check("b.example.test.", false, false)
	apply(t, z, "U _ldap._tcp.example.test. 0 ANY ANY")
	verify(t, z.Snapshot())
	check("dc1.example.test.", false, true)
	apply(t, z, "U _ldap._tcp.x._sites.example.test. 0 ANY SRV")
	verify(t, z.Snapshot())
	check("dc1.example.test.", false, false)
}

// TestServiceTargets has a record of each type that leads the clients of a zone's service to a name.
func TestServiceTargets(t *testing.T) {
	t.Parallel()
	isTarget := func(z *Zone, name string) bool {
		t.Helper()
		return propose(t, z, "U "+name+" 5 IN A 192.0.2.1").Name(0).IsServiceTarget()
	}
	for owner, data := range map[string][]string{
		"": {"MX 10 %", "KX 10 %", "AFSDB 1 %", "RT 10 %", "LP 10 %", "SRV 0 0 1 %", "HTTPS 0 %", "HTTPS 1 % alpn=h2 port=8443", "SVCB 1 %",
			`NAPTR 10 10 "A" "SIP+D2U" "" %`},
		"_x.":  {"CNAME %", "DNAME %", "SRV 0 0 1 %", "SVCB 1 % alpn=dot", "HTTPS 0 %", `NAPTR 10 10 "S" "x" "" %`, "MX 10 %", "PTR %"},
		"sub.": {"NS %"}, "sub.lab.": {"NS %"}, "_acme-challenge.": {"CNAME %"}, "_kerberos._udp.": {"CNAME %", "SRV 0 0 88 %"}, "a.b._sites.": {"SRV 0 0 389 %", "CNAME %"},
	} {
		for _, text := range data {
			record := strings.ReplaceAll(text, "%", "Target.example.test.")
			z := openText(t, testApex, nil)
			apply(t, z, "U "+owner+"example.test. 5 IN "+record)
			rrtype, _, _ := strings.Cut(record, " ")
			if !isTarget(z, "target.example.test.") || isTarget(z, "other.example.test.") {
				t.Errorf("%s%s: not only its target is one", owner, record)
			}
			for _, below := range []string{"a.target.example.test.", "b.a.target.example.test."} {
				if isTarget(z, below) != (rrtype == "DNAME") || isTarget(z, strings.Replace(below, "target", "other", 1)) {
					t.Errorf("%s%s: not only a DNAME record leads to names below its target", owner, record)
				}
			}
			verify(t, z.Snapshot())
			apply(t, z, "U "+owner+"example.test. 0 ANY "+rrtype)
			if isTarget(z, "target.example.test.") || isTarget(z, "a.target.example.test.") {
				t.Errorf("%s%s: its target remains one without the record", owner, record)
			}
			verify(t, z.Snapshot())
		}
	}
	// Other records of the apex, and of other names, lead nobody to a service of the zone.
	z := openText(t, testApex, nil)
	apply(t, z, `
		U example.test. 5 IN RP a.example.test. b.example.test.
		U www.example.test. 5 IN CNAME c.example.test.
		U _x.www2.example.test. 5 IN CNAME d.example.test.
		U x.example.test. 5 IN HTTPS 0 e.example.test.
		U example.test. 5 IN SVCB 1 .
		U _y.example.test. 5 IN SRV 0 0 0 .`)
	for _, name := range []string{"a", "b", "c", "d", "e", "www", "hostmaster"} {
		if isTarget(z, name+".example.test.") {
			t.Errorf("%s is a target", name)
		}
	}
}

// TestServicesOfOtherZones: records of a zone's services lead to names of other zones.
func TestServicesOfOtherZones(t *testing.T) {
	t.Parallel()
	leads := func(z *Zone, name string) bool {
		t.Helper()
		return z.Snapshot().LeadsTo([]byte(wire(t, name)))
	}
	z := openText(t, testApex, nil)
	apply(t, z, `
		U example.test. 5 IN MX 10 Mail.other.test.
		U example.test. 5 IN NS ns.other.test.
		U _ldap._tcp.example.test. 5 IN SRV 0 0 389 DC.other.test.
		U _gc._tcp.example.test. 5 IN SRV 0 0 389 dc.other.test.
		U _x.example.test. 5 IN DNAME tree.other.test.
		U sub.example.test. 5 IN NS ns.sub.other.test.
		U www.example.test. 5 IN CNAME web.other.test.
		U _y.example.test. 5 IN SRV 0 0 0 .`)
	verify(t, z.Snapshot())
	for name, want := range map[string]bool{"mail": true, "ns": true, "dc": true, "tree": true, "a.tree": true, "b.a.tree": true, "ns.sub": true,
		"web": false, "sub": false, "a.dc": false, "tree.example": false, "mail.example": false} {
		if leads(z, name+".other.test.") != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	if leads(z, ".") || leads(z, "test.") || leads(z, "mail.example.test.") {
		t.Error("a name that no record has is led to")
	}
	before := z.Snapshot()
	apply(t, z, `
		U example.test. 0 ANY MX
		U _x.example.test. 0 ANY ANY
		U _ldap._tcp.example.test. 0 ANY SRV
		U sub.example.test. 0 ANY NS`)
	verify(t, z.Snapshot())
	for name, want := range map[string]bool{"mail": false, "a.tree": false, "tree": false, "ns.sub": false, "dc": true} {
		if leads(z, name+".other.test.") != want {
			t.Errorf("%s: %v after the deletion", name, !want)
		}
	}
	if !before.LeadsTo([]byte(wire(t, "mail.other.test."))) {
		t.Error("an earlier snapshot has changed")
	}

	// All names of a zone below a service label are those of services.
	msdcs := openText(t, "", func(c *Config) {
		c.Origin = "_msdcs.example.test."
		c.Seed = func() ([]store.Record, error) {
			text := "@ 5 SOA ns1.example.test. hostmaster.example.test. 10 900 600 86400 300\n@ 5 NS ns1.example.test.\n" +
				"2f3a.domains 5 SRV 0 0 389 dc1.example.test.\n77aa 5 CNAME dc2.example.test.\ngc 5 A 192.0.2.1\n"
			return ParseSeed(strings.NewReader(text), SeedConfig{Origin: c.Origin, File: "seed"})
		}
	})
	verify(t, msdcs.Snapshot())
	for name, want := range map[string]bool{"dc1": true, "dc2": true, "dc3": false, "gc._msdcs": false} {
		if leads(msdcs, name+".example.test.") != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// TestAliasesOfServices: what a name that services lead to is an alias of serves for it as well.
func TestAliasesOfServices(t *testing.T) {
	t.Parallel()
	z := openText(t, testApex, nil)
	check := func(what, names string) {
		t.Helper()
		verify(t, z.Snapshot())
		got := ""
		for _, name := range strings.Fields("a b c d e f example.test.") {
			if !strings.HasSuffix(name, ".") {
				name += ".example.test."
			}
			if z.Snapshot().LeadsTo([]byte(wire(t, name))) {
				got += " " + strings.TrimSuffix(name, ".example.test.")
			}
		}
		if z.Snapshot().LeadsTo([]byte(wire(t, "x.other.test."))) {
			got += " x"
		}
		if strings.TrimSpace(got) != names {
			t.Errorf("%s: services lead to%s, want %s", what, got, names)
		}
	}
	apply(t, z, "U b.example.test. 5 IN CNAME C.example.test.\nU c.example.test. 5 IN CNAME d.example.test.\nU e.example.test. 5 IN CNAME f.example.test.")
	check("aliases alone", "")
	apply(t, z, "U _x._tcp.example.test. 5 IN SRV 0 0 1 a.example.test.")
	check("no alias", "a")
	apply(t, z, "U a.example.test. 5 IN CNAME b.example.test.")
	check("three aliases", "a b c d")
	before := z.Snapshot()
	apply(t, z, "U c.example.test. 0 ANY CNAME\nU c.example.test. 5 IN CNAME x.other.test.")
	check("out of the zone", "a b c x")
	apply(t, z, "U c.example.test. 0 ANY CNAME\nU c.example.test. 5 IN CNAME a.example.test.")
	check("a loop", "a b c")
	apply(t, z, "U a.example.test. 0 ANY CNAME\nU a.example.test. 5 IN A 192.0.2.1")
	check("no alias any more", "a")
	if !before.LeadsTo([]byte(wire(t, "d.example.test."))) {
		t.Error("an earlier snapshot has changed")
	}
	apply(t, z, "U a.example.test. 0 ANY A\nU a.example.test. 5 IN CNAME e.example.test.")
	check("an alias again", "a e f")
	apply(t, z, "U _x._tcp.example.test. 0 ANY SRV")
	check("no service", "")
	apply(t, z, "U example.test. 5 IN MX 10 e.example.test.\nU _y.example.test. 5 IN CNAME e.example.test.")
	check("the apex", "e f")
	apply(t, z, "U example.test. 0 ANY MX")
	check("a service still", "e f")
	apply(t, z, "U e.example.test. 0 ANY ANY")
	check("no records", "e")
}

func TestHasRecordsAfter(t *testing.T) {
	z := openText(t, testApex+"a.example.test. 5 IN A 192.0.2.1\n", nil)
	for script, want := range map[string]bool{
		"P a.example.test. 0 ANY ANY":                                         true,
		"U a.example.test. 0 ANY A":                                           false,
		"U a.example.test. 0 ANY A\nU a.example.test. 5 IN A 192.0.2.2":       true,
		"U new.example.test. 0 ANY A":                                         false,
		"U new.example.test. 5 IN A 192.0.2.2":                                true,
		"U new.example.test. 5 IN A 192.0.2.2\nU new.example.test. 0 ANY ANY": false,
	} {
		if got := propose(t, z, script).Name(0).HasRecordsAfter(); got != want {
			t.Errorf("%s: %v", script, got)
		}
	}
}
