package service

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func openSeed(t *testing.T, origin, text string) *zone.Zone {
	t.Helper()
	z, err := zone.Open(zone.Config{
		Origin: origin,
		Store:  store.NewMemory(store.MemoryOptions{}),
		Seed: func() ([]store.Record, error) {
			return zone.ParseSeed(strings.NewReader(text), zone.SeedConfig{Origin: origin, File: "db"})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	return z
}

// TestApexFindings: where a client would ask for a principal that the keytab lacks, the finding has the client's error.
func TestApexFindings(t *testing.T) {
	seed := func(mname string, servers ...string) string {
		text := "$TTL 300\n@ SOA " + mname + " hostmaster.example.test. 1 900 600 86400 300\n"
		for _, s := range servers {
			text += "@ NS " + s + "\n"
		}
		return text + "ns1 A 192.0.2.53\nns2 A 192.0.2.54\n"
	}
	tests := map[string]struct {
		seed  string
		hosts []string
		want  [][]string // words of each warning
	}{
		"fits":            {seed("ns1.example.test.", "ns1.example.test."), []string{"ns1.example.test."}, nil},
		"case":            {seed("NS1.Example.TEST.", "Ns1.example.test."), []string{"ns1.example.test."}, nil},
		"another primary": {seed("dc1.example.test.", "ns1.example.test.") + "dc1 A 192.0.2.55\n", []string{"ns1.example.test."}, [][]string{{"error zone example.test.:", "dc1.example.test.", "DNS/dc1.example.test@EXAMPLE.TEST", "DNS/ns1.example.test", "Server not found in Kerberos database", "Fix: name ns1.example.test in the zone's SOA"}}},
		"secondary":       {seed("ns1.example.test.", "ns1.example.test.", "ns2.example.test."), []string{"ns1.example.test."}, [][]string{{"warning zone", "ns2.example.test.", "net ads dns", "Fix: "}}},
		"no address": {seed("ns3.example.test.", "ns1.example.test."), []string{"ns1.example.test.", "ns3.example.test."},
			[][]string{{"warning zone", "ns3.example.test. has no address", "couldn't get address", "Fix: add an A or AAAA record"}}},
		"no domain":                      {seed("ns1.", "ns1."), []string{"ns1."}, [][]string{{"warning zone", "names ns1. as primary server", "no full host name", "couldn't get address", "Fix: name the server with its domain"}}},
		"another primary, a name server": {seed("ns2.example.test.", "ns1.example.test.", "ns2.example.test."), []string{"ns1.example.test."}, [][]string{{"error zone example.test.:", "ns2.example.test."}}},
		"two principals":                 {seed("ns2.example.test.", "ns1.example.test."), []string{"ns1.example.test.", "ns2.example.test."}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			service := &Service{Hosts: test.hosts, Realms: []string{"EXAMPLE.TEST"}}
			var got []string
			for _, f := range service.ApexFindings(openSeed(t, "example.test.", test.seed).Snapshot()) {
				got = append(got, string(f.Severity)+" "+f.String())
			}
			if len(got) != len(test.want) {
				t.Fatalf("%d warnings, want %d: %q", len(got), len(test.want), got)
			}
			for i, words := range test.want {
				for _, word := range words {
					if !strings.Contains(got[i], word) {
						t.Errorf("warning %q does not say %q", got[i], word)
					}
				}
			}
		})
	}
}

// TestHostsWithDomainFirst: adcli and net write the short name of a machine to its keytab first. A generated SOA record names the
// full one.
func TestHostsWithDomainFirst(t *testing.T) {
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/NS2", "DNS/ns2.example.test", "DNS/NS3", "DNS/ns3.example.test").Keytab()
	service, err := Open(&corefile.Block{Keytabs: []string{keytab}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ns2.example.test.", "ns3.example.test.", "ns2.", "ns3."}; !slices.Equal(service.Hosts, want) {
		t.Errorf("%q, want %q", service.Hosts, want)
	}
	if host := primaryFor("2.0.192.in-addr.arpa.", service.Hosts); host != "ns2.example.test." {
		t.Error(host)
	}
}

// TestNotReady: a keytab without a key of a permitted type is named, with what it has.
func TestNotReady(t *testing.T) {
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test", "host/ns1.example.test").Keytab()
	held := func() (types []krb5.Enctype) {
		service, err := Open(&corefile.Block{Keytabs: []string{keytab}})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range service.Keytabs.Keys() {
			types = append(types, k.Enctype)
		}
		return types
	}()
	others := slices.DeleteFunc([]krb5.Enctype{17, 18, 19, 20}, func(id krb5.Enctype) bool { return slices.Contains(held, id) })
	for _, test := range []struct {
		types []krb5.Enctype
		want  []string
	}{
		{nil, nil},
		{held, nil},
		{others, []string{"DNS/ns1.example.test", keytab, held[0].String(), others[0].String(), "TKEY is unacceptable", "Fix: "}},
	} {
		service, err := Open(&corefile.Block{Keytabs: []string{keytab}, Enctypes: test.types})
		if err != nil {
			t.Fatal(err)
		}
		findings := service.NotReady()
		if (len(findings) == 0) != (test.want == nil) {
			t.Errorf("%v: %v", test.types, findings)
		}
		for _, words := range test.want {
			if !strings.Contains(findings[0].String(), words) {
				t.Errorf("%q does not say %q", findings[0], words)
			}
		}
	}
}

// TestRealmFindings: a realm that differs from the keytab's in case only is named, one beside it is not.
func TestRealmFindings(t *testing.T) {
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()
	for _, test := range []struct {
		realms []string
		want   int
	}{{nil, 0}, {[]string{"EXAMPLE.TEST", "example.test"}, 0}, {[]string{"OTHER.TEST"}, 0}, {[]string{"example.test"}, 1}} {
		service, err := Open(&corefile.Block{Keytabs: []string{keytab}, Realms: test.realms})
		if err != nil {
			t.Fatal(err)
		}
		findings := service.RealmFindings()
		if len(findings) != test.want || test.want > 0 && findings[0].Fix != "write realm EXAMPLE.TEST" {
			t.Errorf("%v: %v", test.realms, findings)
		}
	}
}

// TestRuleFindings: grant and deny lines replace the default rule; deny lines alone refuse everything.
func TestRuleFindings(t *testing.T) {
	for _, test := range []struct {
		rules    []string
		severity diagnose.Severity
	}{
		{nil, ""},
		{[]string{"grant EXAMPLE.TEST ms-self . A"}, diagnose.OK},
		{[]string{"deny * name a.example.test ANY", "grant EXAMPLE.TEST ms-self . A"}, diagnose.OK},
		{[]string{"deny * name a.example.test ANY"}, diagnose.Warning},
	} {
		service := &Service{Block: &corefile.Block{Origins: []string{"example.test."}}, Realms: []string{"EXAMPLE.TEST"}}
		for _, line := range test.rules {
			words := strings.Fields(line)
			rule, err := policy.ParseRule(words[1:], "", words[0] == "deny")
			if err != nil {
				t.Fatal(err)
			}
			service.Rules = append(service.Rules, rule)
		}
		findings := service.RuleFindings(nil)
		if test.severity == "" {
			if len(findings) != 0 {
				t.Errorf("%q: %v", test.rules, findings)
			}
			continue
		}
		if len(findings) != 1 || findings[0].Severity != test.severity || !strings.Contains(findings[0].Problem, `"grant EXAMPLE.TEST owner ."`) ||
			(findings[0].Fix != "") != (test.severity == diagnose.Warning) {
			t.Errorf("%q: %v", test.rules, findings)
		}
	}
}

// TestIneffectiveRules: rules that never decide, and identities that include nobody, are warnings with a fix.
func TestIneffectiveRules(t *testing.T) {
	s := &Service{Realms: []string{"EXAMPLE.TEST"}, Block: &corefile.Block{
		Origins: []string{"example.test."}, Proxies: []string{"dhcp"}, TransferWords: []string{"example.test", "EXAMPLE.TEST"},
	}}
	for i, line := range []string{"grant bob zonesub", "grant EXAMPLE.TEST ms-self . A", "grant * zonesub ANY", "deny alice@EXAMPLE.TEST name a.example.test"} {
		words := strings.Fields(line)
		rule, err := policy.ParseRule(words[1:], "Corefile:"+strconv.Itoa(i+1), words[0] == "deny")
		if err != nil {
			t.Fatal(err)
		}
		s.Rules = append(s.Rules, rule)
	}
	for _, test := range []struct {
		keys []string
		want []string
	}{
		{nil, []string{`Corefile:4: "deny alice@EXAMPLE.TEST name a.example.test" never decides: `, `transfers: "example.test" includes no client: `}},
		{[]string{}, []string{`Corefile:1: "grant bob zonesub" never decides: `, `Corefile:4: "deny`, `proxies: "dhcp" includes no client: `, `transfers: `}},
		{[]string{"bob."}, []string{`Corefile:4: "deny`, `proxies: `, `transfers: `}},
	} {
		var got []string
		for _, f := range s.RuleFindings(test.keys) {
			if f.Severity == diagnose.OK {
				continue
			}
			if f.Severity != diagnose.Warning || f.Fix == "" || (f.ClientError != "") != strings.Contains(f.Problem, "grant bob") {
				t.Errorf("%+v", f)
			}
			got = append(got, f.String())
		}
		if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
			t.Errorf("keys %q: %q", test.keys, got)
		}
	}
}

// TestStorageFindings: each zone without a database is named, and a directory in which others could replace the databases.
func TestStorageFindings(t *testing.T) {
	block := &corefile.Block{Origins: []string{"a.test.", "b.test."}}
	findings := (&Service{Block: block}).StorageFindings()
	if len(findings) != 2 || findings[1].Subject != "zone b.test." || findings[1].Severity != diagnose.Warning ||
		!strings.Contains(findings[1].Problem, "lost at a restart") || !strings.Contains(findings[1].Fix, "database DIR") {
		t.Errorf("in memory: %v", findings)
	}
	above := filepath.Join(t.TempDir(), "above")
	block.Database = filepath.Join(above, "data")
	for mode, want := range map[os.FileMode]int{0o755: 0, 0o777: 1, 0o777 | os.ModeSticky: 0} {
		if err := errors.Join(os.MkdirAll(block.Database, 0o700), os.Chmod(above, mode)); err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, f := range (&Service{Block: block}).StorageFindings() {
			if f.Severity == diagnose.Warning && strings.Contains(f.Problem, above+" ") && strings.Contains(f.Fix, "chmod go-w "+above) {
				found++
			}
		}
		if found != want {
			t.Errorf("in a database below a directory of mode %v: %d warnings of it", mode, found)
		}
	}
}

// TestGeneratedApex: the primary server of a generated zone has an address where it lies inside the zone.
func TestGeneratedApex(t *testing.T) {
	addresses := []net.IP{net.ParseIP("192.0.2.53"), net.ParseIP("2001:db8::53")}
	var types []string
	records, err := generatedApex("example.test.", "ns1.example.test.", addresses)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		types = append(types, dnswire.NameText([]byte(r.Name))+" "+dnswire.TypeText(r.Type))
	}
	slices.Sort(types)
	if got, want := strings.Join(types, ", "), "example.test. NS, example.test. SOA, ns1.example.test. A, ns1.example.test. AAAA"; got != want {
		t.Errorf("inside the zone: %s, want %s", got, want)
	}
	if records, err := generatedApex("2.0.192.in-addr.arpa.", "ns1.example.test.", addresses); err != nil || len(records) != 2 {
		t.Errorf("outside the zone: %d records, want 2; %v", len(records), err)
	}
}

// TestKeyFindings: a key that a keytab has twice, as after a second export without a new key, is listed once.
func TestKeyFindings(t *testing.T) {
	file := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()
	octets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list := func() []diagnose.Finding {
		keytabs, err := krb5.OpenKeytabs(file)
		if err != nil {
			t.Fatal(err)
		}
		return (&Service{Keytabs: keytabs}).KeyFindings()
	}
	once := list()
	if err := os.WriteFile(file, append(octets, octets[2:]...), 0o600); err != nil { // behind the version of the format
		t.Fatal(err)
	}
	if twice := list(); !slices.Equal(once, twice) || len(once) != 1 {
		t.Errorf("%v, and with each key twice %v", once, twice)
	}
}
