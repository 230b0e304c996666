package zone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// openZones opens zones of these records and returns what finds the nearest one above a name.
func openZones(t *testing.T, records map[string]string) (nearest func(name string) *Snapshot) {
	t.Helper()
	zones := make(map[string]*Snapshot)
	for origin, text := range records {
		text = "@ 3600 SOA ns hostmaster 1 3600 600 86400 60\n@ 3600 NS ns\n" + text
		z, err := Open(Config{Origin: origin, Store: memory(), Seed: func() ([]store.Record, error) {
			return ParseSeed(strings.NewReader("$TTL 60\n"+text), SeedConfig{Origin: origin, File: "seed"})
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { z.Close() })
		zones[origin] = z.Snapshot()
	}
	return func(name string) *Snapshot {
		name = dns.CanonicalName(name)
		for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
			if s := zones[name[off:]]; s != nil {
				return s
			}
		}
		return nil
	}
}

// TestFollow: a chain that leaves a zone continues in the nearest zone that there is (RFC 1034 section 4.3.2, step 3a).
func TestFollow(t *testing.T) {
	nearest := openZones(t, map[string]string{
		"example.test.": `al CNAME a.sub
deleg NS ns.deleg
alnone CNAME gone.sub
alcut CNAME x.cut.sub
alout CNAME www.example.com.
chain CNAME c.other.test.
loop CNAME loop.other.test.
tree DNAME sub
alias CNAME al
`,
		"sub.example.test.": `a A 192.0.2.1
cut NS ns.cut
ns.cut A 192.0.2.2
`,
		"other.test.": `c CNAME c.third.test.
loop CNAME LOOP.example.test.
`,
		"third.test.":                 "c CNAME a.sub.example.test.\n",
		"2.0.192.in-addr.arpa.":       "5 CNAME 5.0-127\n",
		"0-127.2.0.192.in-addr.arpa.": "5 PTR host.example.test.\n",
		"_msdcs.example.test.":        "guid CNAME dc1.sub.example.test.\n",
	})
	for name, test := range map[string]struct {
		qtype  uint16
		rcode  int
		answer string // the owners and types
		rest   string // of the authority section
		target string
	}{
		"al.example.test.":          {qtype: dns.TypeA, answer: "al.example.test. CNAME, a.sub.example.test. A"},
		"alias.example.test.":       {qtype: dns.TypeA, answer: "alias.example.test. CNAME, al.example.test. CNAME, a.sub.example.test. A"},
		"AL.example.test.":          {qtype: dns.TypeAAAA, answer: "al.example.test. CNAME", rest: "sub.example.test. SOA"},
		"alnone.example.test.":      {qtype: dns.TypeA, rcode: dns.RcodeNameError, answer: "alnone.example.test. CNAME", rest: "sub.example.test. SOA"},
		"alcut.example.test.":       {qtype: dns.TypeA, answer: "alcut.example.test. CNAME", rest: "cut.sub.example.test. NS"},
		"alout.example.test.":       {qtype: dns.TypeA, answer: "alout.example.test. CNAME", target: "www.example.com."},
		"a.tree.example.test.":      {qtype: dns.TypeA, answer: "tree.example.test. DNAME, a.tree.example.test. CNAME, a.sub.example.test. A"},
		"chain.example.test.":       {qtype: dns.TypeA, answer: "chain.example.test. CNAME, c.other.test. CNAME, c.third.test. CNAME, a.sub.example.test. A"},
		"loop.example.test.":        {qtype: dns.TypeA, rcode: dns.RcodeServerFailure, answer: "loop.example.test. CNAME, loop.other.test. CNAME"},
		"5.2.0.192.in-addr.arpa.":   {qtype: dns.TypePTR, answer: "5.2.0.192.in-addr.arpa. CNAME, 5.0-127.2.0.192.in-addr.arpa. PTR"},
		"guid._msdcs.example.test.": {qtype: dns.TypeA, rcode: dns.RcodeNameError, answer: "guid._msdcs.example.test. CNAME", rest: "sub.example.test. SOA"},
	} {
		a := nearest(name).Follow(name, test.qtype, nil, nearest)
		if a.Rcode != test.rcode || a.Target != test.target || !a.Authoritative {
			t.Errorf("%s: %s, AA %v, target %q", name, dns.RcodeToString[a.Rcode], a.Authoritative, a.Target)
		}
		if got := ownersOf(a.Answer); got != test.answer {
			t.Errorf("%s: %s", name, got)
		}
		if got := ownersOf(a.Authority); got != test.rest {
			t.Errorf("%s: authority %s", name, got)
		}
	}
}

func ownersOf(rrs []dns.RR) string {
	var owners []string
	for _, rr := range rrs {
		owners = append(owners, rr.Header().Name+" "+dns.Type(rr.Header().Rrtype).String())
	}
	return strings.Join(owners, ", ")
}

// TestFollowBound: the names before the first one count for the length of a chain, over any number of zones, and going back to one
// of them is a loop.
func TestFollowBound(t *testing.T) {
	var even, odd strings.Builder
	for i := range 2 * maxChain {
		fmt.Fprintf(&even, "c%d CNAME c%d.odd.test.\n", i, i+1)
		fmt.Fprintf(&odd, "c%d CNAME c%d.even.test.\n", i, i+1)
	}
	even.WriteString("out CNAME www.example.com.\n")
	nearest := openZones(t, map[string]string{"even.test.": even.String(), "odd.test.": odd.String()})
	chain := make([]string, 0, maxChain+1)
	for range maxChain + 2 {
		a := nearest("c0.even.test.").Follow("c0.even.test.", dns.TypeA, chain, nearest)
		if want := max(0, maxChain-len(chain)); a.Rcode != dns.RcodeServerFailure || len(a.Answer) != want || a.Target != "" {
			t.Errorf("after %d names: %s, %d records, target %q", len(chain), dns.RcodeToString[a.Rcode], len(a.Answer), a.Target)
		}
		out := nearest("out.even.test.").Follow("out.even.test.", dns.TypeA, chain, nearest)
		if leaves := len(chain) < maxChain-1; leaves != (out.Target != "") || leaves != (out.Rcode == dns.RcodeSuccess) {
			t.Errorf("after %d names: %s, target %q", len(chain), dns.RcodeToString[out.Rcode], out.Target)
		}
		chain = append(chain, fmt.Sprintf("p%d.test.", len(chain)))
	}
	loop := nearest("c0.even.test.").Follow("c0.even.test.", dns.TypeA, []string{"x.test.", "C3.odd.test."}, nearest)
	if loop.Rcode != dns.RcodeServerFailure || len(loop.Answer) != 3 {
		t.Errorf("loop: %s, %s", dns.RcodeToString[loop.Rcode], ownersOf(loop.Answer))
	}
	if a := nearest("c0.even.test.").Follow("c0.even.test.", dns.TypeA, []string{"C0.even.test."}, nearest); a.Rcode != dns.RcodeServerFailure || len(a.Answer) != 0 {
		t.Errorf("back at once: %s, %s", dns.RcodeToString[a.Rcode], ownersOf(a.Answer))
	}
	if a := nearest("c0.even.test.").Follow("c0.odd.test.", dns.TypeA, nil, nearest); a.Rcode != dns.RcodeRefused || len(a.Answer) != 0 {
		t.Errorf("a name outside: %s", dns.RcodeToString[a.Rcode])
	}
}
