package gsstsig

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func openSeed(t *testing.T, origin, text string) *zone.Zone {
	t.Helper()
	z, err := zone.Open(zone.Config{
		Origin: origin,
		Store:  store.NewMemory(store.MemoryOptions{}),
		Seed:   func() ([]dns.RR, error) { return zone.ParseSeed(strings.NewReader(text), origin, "db") },
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

// TestMismatches: where a client would ask for a principal that the keytab lacks, the warning has the client's error.
func TestMismatches(t *testing.T) {
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
		"another primary": {seed("dc1.example.test.", "ns1.example.test."), []string{"ns1.example.test."}, [][]string{{"example.test.", "dc1.example.test.", "DNS/dc1.example.test@EXAMPLE.TEST", "DNS/ns1.example.test", "Server not found in Kerberos database", "Mend"}}},
		"secondary":       {seed("ns1.example.test.", "ns1.example.test.", "ns2.example.test."), []string{"ns1.example.test."}, [][]string{{"ns2.example.test.", "net ads dns"}}},
		"two principals":  {seed("ns2.example.test.", "ns1.example.test."), []string{"ns1.example.test.", "ns2.example.test."}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			service := &Service{Hosts: test.hosts, Realms: []string{"EXAMPLE.TEST"}}
			var got []string
			for _, m := range service.Mismatches(openSeed(t, "example.test.", test.seed).Snapshot()) {
				got = append(got, m.warning())
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

// TestUnusableKeys: a keytab without a key of a type that is let in is named, and is not ready to serve.
func TestUnusableKeys(t *testing.T) {
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test", "host/ns1.example.test").Keytab()
	held := func() (types []krb5.Enctype) {
		service, err := OpenService(&corefile.Block{Keytabs: []string{keytab}})
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
		{others, []string{"DNS/ns1.example.test", keytab, held[0].String(), others[0].String()}},
	} {
		service, err := OpenService(&corefile.Block{Keytabs: []string{keytab}, Encryption: test.types})
		if err != nil {
			t.Fatal(err)
		}
		problem, _ := service.UnusableKeys()
		if ready := (&Handler{service: service}).Ready(); ready != (test.want == nil) || ready != (problem == "") {
			t.Errorf("%v: ready %t, %q", test.types, ready, problem)
		}
		for _, words := range test.want {
			if !strings.Contains(problem, words) {
				t.Errorf("%q does not say %q", problem, words)
			}
		}
	}
}

// TestMistypedRealms: a realm whose letters differ in case only from the keytab's is named, one beside it is not.
func TestMistypedRealms(t *testing.T) {
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()
	for _, test := range []struct {
		realms []string
		want   int
	}{{nil, 0}, {[]string{"EXAMPLE.TEST", "example.test"}, 0}, {[]string{"OTHER.TEST"}, 0}, {[]string{"example.test"}, 1}} {
		service, err := OpenService(&corefile.Block{Keytabs: []string{keytab}, Realms: test.realms})
		if err != nil {
			t.Fatal(err)
		}
		if problems := service.MistypedRealms(); len(problems) != test.want {
			t.Errorf("%v: %q", test.realms, problems)
		}
	}
}

// TestGeneratedApex: the primary server of a generated zone has an address where it lies inside the zone.
func TestGeneratedApex(t *testing.T) {
	addresses := []net.IP{net.ParseIP("192.0.2.53"), net.ParseIP("2001:db8::53")}
	var types []string
	for _, rr := range generatedApex("example.test.", "ns1.example.test.", addresses) {
		types = append(types, rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype])
	}
	slices.Sort(types)
	want(t, "inside", strings.Join(types, ", "), "example.test. NS, example.test. SOA, ns1.example.test. A, ns1.example.test. AAAA")
	want(t, "outside", len(generatedApex("2.0.192.in-addr.arpa.", "ns1.example.test.", addresses)), 2)
}
