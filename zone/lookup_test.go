package zone

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// lookupZone has RFC 4592 section 2.2.1's zone, and what else an answer can run into.
var lookupZone = `
$ORIGIN example.test.
$TTL 3600
@		IN	SOA	ns1 hostmaster 10 900 600 86400 300
@			NS	ns1
@			NS	ns.Sub
ns1			A	192.0.2.1
ns1			AAAA	2001:db8::1
; RFC 4592 section 2.2.1
*			TXT	"this is a wildcard"
*			MX	10 host1
sub.*			TXT	"this is not a wildcard"
host1			A	192.0.2.41
_ssh._tcp.host1		SRV	0 0 22 host1
_ssh._tcp.host2		SRV	0 0 22 Host1
subdel			NS	ns.example.com.
subdel			NS	ns.example.net.
; delegation with glue
sub			NS	ns.sub
sub			NS	ns1
sub			DS	1 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.sub			A	192.0.2.2
www.sub			A	192.0.2.3
deep.a.sub		NS	ns1
; chains
c1			CNAME	C2
c2			CNAME	host1
out			CNAME	www.example.net.
dead			CNAME	gone.host1
intowild		CNAME	what.wcname
intosub			CNAME	www.sub
intoent			CNAME	_tcp.host1
loop1			CNAME	loop2
loop2			CNAME	loop1
self			CNAME	self
*.wcname		CNAME	host1
*.went			A	192.0.2.9
x.*.wstar		A	192.0.2.9
; DNAME
dn			DNAME	target.host1
dn			TXT	"at the owner"
below.dn		A	192.0.2.66
name.target.host1	A	192.0.2.4
dout			DNAME	example.net.
long			DNAME	` + strings.Repeat(strings.Repeat("l", 50)+".", 4) + `example.net.
; names at their bounds
a\.b\\c			A	192.0.2.5
\000\001		A	192.0.2.6
` + strings.Repeat(strings.Repeat("n", 59)+".", 3) + strings.Repeat("n", 60) + `	A	192.0.2.7
unknown			TYPE65280 \# 2 abcd
mail			MX	10 mail
mail			A	192.0.2.8
mxsub			MX	10 www.sub
mxout			MX	10 mail.example.net.
mxwild			MX	10 any.went
mxdn			MX	10 any.dn
short		60	A	192.0.2.9
; services
svc			SVCB	1 mail alpn=h2
svc			SVCB	2 mail.example.net.
own			HTTPS	1 .
own			A	192.0.2.10
gone			HTTPS	0 .
*.wsvc			HTTPS	1 .
*.wsvc			AAAA	2001:db8::11
asvc			SVCB	0 svc
ahttps			HTTPS	0 svc
svcsub			SVCB	1 www.sub
asvcsub			SVCB	0 www.sub
naptr			NAPTR	1 1 "a" "x" "" mail
afsdb			AFSDB	1 mail
many			MX	0 mail
` + manyMX(maxAdditional) + `
`

// manyMX returns more records of the set "many".
func manyMX(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "many MX 10 m%d\n", i)
	}
	return b.String()
}

const (
	soaLine = "example.test. 300 IN SOA ns1.example.test. hostmaster.example.test. 10 900 600 86400 300"
	host1   = "host1.example.test. 3600 IN A 192.0.2.41"
)

// longName has 255 octets on the wire.
var longName = strings.Repeat(strings.Repeat("n", 59)+".", 3) + strings.Repeat("n", 60) + ".example.test."

var lookups = []struct {
	name  string
	qtype uint16
	rcode int
	// answer, authority, additional, each one record a line, as sets.
	answer, authority, additional string
	notAuthoritative              bool
}{
	{name: "host1.example.test.", qtype: dns.TypeA, answer: host1},
	{name: "HOST1.example.TEST.", qtype: dns.TypeA, answer: "host1.example.test. 3600 IN A 192.0.2.41"},
	{name: "host1.example.test.", qtype: dns.TypeANY, answer: host1},
	{name: "host1.example.test.", qtype: dns.TypeAAAA, authority: soaLine},
	{name: "example.test.", qtype: dns.TypeSOA, answer: strings.Replace(soaLine, " 300 IN", " 3600 IN", 1)},
	{name: "example.test.", qtype: dns.TypeNS,
		answer:     "example.test. 3600 IN NS ns1.example.test.\nexample.test. 3600 IN NS ns.Sub.example.test.",
		additional: "ns1.example.test. 3600 IN A 192.0.2.1\nns1.example.test. 3600 IN AAAA 2001:db8::1"},
	{name: "example.test.", qtype: dns.TypeDS, authority: soaLine},
	{name: "example.test.", qtype: dns.TypeA, authority: soaLine},
	{name: "example.net.", qtype: dns.TypeA, rcode: dns.RcodeRefused, notAuthoritative: true},
	{name: "test.", qtype: dns.TypeA, rcode: dns.RcodeRefused, notAuthoritative: true},
	{name: ".", qtype: dns.TypeA, rcode: dns.RcodeRefused, notAuthoritative: true},
	{name: "notexample.test.", qtype: dns.TypeA, rcode: dns.RcodeRefused, notAuthoritative: true},
	{name: "", qtype: dns.TypeA, rcode: dns.RcodeRefused, notAuthoritative: true},
	{name: "a..example.test.", qtype: dns.TypeA, rcode: dns.RcodeRefused, notAuthoritative: true},
	{name: "a.example.test", qtype: dns.TypeA, rcode: dns.RcodeRefused, notAuthoritative: true},
	{name: "short.example.test.", qtype: dns.TypeA, answer: "short.example.test. 60 IN A 192.0.2.9"},
	{name: "unknown.example.test.", qtype: 65280, answer: `unknown.example.test. 3600 CLASS1 TYPE65280 \# 2 abcd`},

	// RFC 4592 section 2.2.1, its questions in its order.
	{name: "host3.example.test.", qtype: dns.TypeMX, answer: "host3.example.test. 3600 IN MX 10 host1.example.test.", additional: host1},
	{name: "host3.example.test.", qtype: dns.TypeA, authority: soaLine},
	{name: "foo.bar.example.test.", qtype: dns.TypeTXT, answer: `foo.bar.example.test. 3600 IN TXT "this is a wildcard"`},
	{name: "host1.example.test.", qtype: dns.TypeMX, authority: soaLine},
	{name: "sub.*.example.test.", qtype: dns.TypeMX, authority: soaLine},
	{name: "_telnet._tcp.host1.example.test.", qtype: dns.TypeSRV, rcode: dns.RcodeNameError, authority: soaLine},
	{name: "host.subdel.example.test.", qtype: dns.TypeA, notAuthoritative: true,
		authority: "subdel.example.test. 3600 IN NS ns.example.com.\nsubdel.example.test. 3600 IN NS ns.example.net."},
	{name: "_telnet._tcp.host1.example.test.", qtype: dns.TypeSOA, rcode: dns.RcodeNameError, authority: strings.Replace(soaLine, " 300 IN", " 0 IN", 1)},
	{name: "host1.example.test.", qtype: dns.TypeSOA, authority: soaLine},
	{name: "ghost.*.example.test.", qtype: dns.TypeMX, rcode: dns.RcodeNameError, authority: soaLine},
	{name: "*.example.test.", qtype: dns.TypeTXT, answer: `*.example.test. 3600 IN TXT "this is a wildcard"`},
	{name: "host3.example.test.", qtype: dns.TypeANY, answer: "host3.example.test. 3600 IN TXT \"this is a wildcard\"\nhost3.example.test. 3600 IN MX 10 host1.example.test."},

	// Wildcards further.
	{name: "x.wcname.example.test.", qtype: dns.TypeA, answer: "x.wcname.example.test. 3600 IN CNAME host1.example.test.\n" + host1},
	{name: "x.y.wcname.example.test.", qtype: dns.TypeCNAME, answer: "x.y.wcname.example.test. 3600 IN CNAME host1.example.test."},
	{name: "intowild.example.test.", qtype: dns.TypeA,
		answer: "intowild.example.test. 3600 IN CNAME what.wcname.example.test.\nwhat.wcname.example.test. 3600 IN CNAME host1.example.test.\n" + host1},
	{name: "x.wstar.example.test.", qtype: dns.TypeA, authority: soaLine}, // *.wstar is an empty non-terminal
	{name: "went.example.test.", qtype: dns.TypeA, authority: soaLine},

	// Empty non-terminals.
	{name: "_tcp.host1.example.test.", qtype: dns.TypeTXT, authority: soaLine},
	{name: "_tcp.host1.example.test.", qtype: dns.TypeANY, authority: soaLine},
	{name: "x._tcp.host1.example.test.", qtype: dns.TypeTXT, rcode: dns.RcodeNameError, authority: soaLine},
	{name: "_ssh._tcp.host2.example.test.", qtype: dns.TypeSRV, answer: "_ssh._tcp.host2.example.test. 3600 IN SRV 0 0 22 Host1.example.test.",
		additional: "host1.example.test. 3600 IN A 192.0.2.41"},

	// Delegation.
	{name: "sub.example.test.", qtype: dns.TypeA, notAuthoritative: true,
		authority:  "sub.example.test. 3600 IN NS ns.sub.example.test.\nsub.example.test. 3600 IN NS ns1.example.test.",
		additional: "ns.sub.example.test. 3600 IN A 192.0.2.2"},
	{name: "WWW.Sub.example.test.", qtype: dns.TypeA, notAuthoritative: true,
		authority:  "sub.example.test. 3600 IN NS ns.sub.example.test.\nsub.example.test. 3600 IN NS ns1.example.test.",
		additional: "ns.sub.example.test. 3600 IN A 192.0.2.2"},
	{name: "x.deep.a.sub.example.test.", qtype: dns.TypeDS, notAuthoritative: true,
		authority:  "sub.example.test. 3600 IN NS ns.sub.example.test.\nsub.example.test. 3600 IN NS ns1.example.test.",
		additional: "ns.sub.example.test. 3600 IN A 192.0.2.2"},
	{name: "sub.example.test.", qtype: dns.TypeDS, answer: "sub.example.test. 3600 IN DS 1 13 2 " + strings.Repeat("0", 64)},
	{name: "subdel.example.test.", qtype: dns.TypeDS, authority: soaLine},
	{name: "subdel.example.test.", qtype: dns.TypeNS, notAuthoritative: true,
		authority: "subdel.example.test. 3600 IN NS ns.example.com.\nsubdel.example.test. 3600 IN NS ns.example.net."},
	{name: "subdel.example.test.", qtype: dns.TypeANY, notAuthoritative: true,
		authority: "subdel.example.test. 3600 IN NS ns.example.com.\nsubdel.example.test. 3600 IN NS ns.example.net."},
	{name: "intosub.example.test.", qtype: dns.TypeA,
		answer:     "intosub.example.test. 3600 IN CNAME www.sub.example.test.",
		authority:  "sub.example.test. 3600 IN NS ns.sub.example.test.\nsub.example.test. 3600 IN NS ns1.example.test.",
		additional: "ns.sub.example.test. 3600 IN A 192.0.2.2"},

	// CNAME.
	{name: "c1.example.test.", qtype: dns.TypeA, answer: "c1.example.test. 3600 IN CNAME C2.example.test.\nc2.example.test. 3600 IN CNAME host1.example.test.\n" + host1},
	{name: "c1.example.test.", qtype: dns.TypeAAAA, answer: "c1.example.test. 3600 IN CNAME C2.example.test.\nc2.example.test. 3600 IN CNAME host1.example.test.", authority: soaLine},
	{name: "c1.example.test.", qtype: dns.TypeCNAME, answer: "c1.example.test. 3600 IN CNAME C2.example.test."},
	{name: "c1.example.test.", qtype: dns.TypeANY, answer: "c1.example.test. 3600 IN CNAME C2.example.test."},
	{name: "c1.example.test.", qtype: dns.TypeRRSIG, authority: soaLine},
	{name: "out.example.test.", qtype: dns.TypeA, answer: "out.example.test. 3600 IN CNAME www.example.net."},
	{name: "dead.example.test.", qtype: dns.TypeA, rcode: dns.RcodeNameError, answer: "dead.example.test. 3600 IN CNAME gone.host1.example.test.", authority: soaLine},
	{name: "intoent.example.test.", qtype: dns.TypeA, answer: "intoent.example.test. 3600 IN CNAME _tcp.host1.example.test.", authority: soaLine},
	{name: "loop1.example.test.", qtype: dns.TypeA, rcode: dns.RcodeServerFailure, answer: "loop1.example.test. 3600 IN CNAME loop2.example.test.\nloop2.example.test. 3600 IN CNAME loop1.example.test."},
	{name: "self.example.test.", qtype: dns.TypeA, rcode: dns.RcodeServerFailure, answer: "self.example.test. 3600 IN CNAME self.example.test."},

	// DNAME.
	{name: "name.dn.example.test.", qtype: dns.TypeA,
		answer: "dn.example.test. 3600 IN DNAME target.host1.example.test.\nname.dn.example.test. 3600 IN CNAME name.target.host1.example.test.\nname.target.host1.example.test. 3600 IN A 192.0.2.4"},
	{name: "below.dn.example.test.", qtype: dns.TypeA, rcode: dns.RcodeNameError, authority: soaLine,
		answer: "dn.example.test. 3600 IN DNAME target.host1.example.test.\nbelow.dn.example.test. 3600 IN CNAME below.target.host1.example.test."},
	{name: "name.dn.example.test.", qtype: dns.TypeCNAME,
		answer: "dn.example.test. 3600 IN DNAME target.host1.example.test.\nname.dn.example.test. 3600 IN CNAME name.target.host1.example.test."},
	{name: "name.dn.example.test.", qtype: dns.TypeANY,
		answer: "dn.example.test. 3600 IN DNAME target.host1.example.test.\nname.dn.example.test. 3600 IN CNAME name.target.host1.example.test."},
	{name: "dn.example.test.", qtype: dns.TypeDNAME, answer: "dn.example.test. 3600 IN DNAME target.host1.example.test."},
	{name: "dn.example.test.", qtype: dns.TypeTXT, answer: `dn.example.test. 3600 IN TXT "at the owner"`},
	{name: "dn.example.test.", qtype: dns.TypeA, authority: soaLine},
	{name: "A.b.Dout.example.test.", qtype: dns.TypeA,
		answer: "dout.example.test. 3600 IN DNAME example.net.\nA.b.Dout.example.test. 3600 IN CNAME A.b.example.net."},
	{name: strings.Repeat("x", 50) + ".long.example.test.", qtype: dns.TypeA, rcode: dns.RcodeYXDomain,
		answer: "long.example.test. 3600 IN DNAME " + strings.Repeat(strings.Repeat("l", 50)+".", 4) + "example.net."},

	// Names at their bounds.
	{name: `a\.B\\c.example.test.`, qtype: dns.TypeA, answer: `a\.b\\c.example.test. 3600 IN A 192.0.2.5`},
	{name: `\097\.b\\c.example.test.`, qtype: dns.TypeA, answer: `\097\.b\\c.example.test. 3600 IN A 192.0.2.5`},
	{name: `\000\001.example.test.`, qtype: dns.TypeA, answer: `\000\001.example.test. 3600 IN A 192.0.2.6`},
	{name: longName, qtype: dns.TypeA, answer: longName + " 3600 IN A 192.0.2.7"},
	{name: "x" + longName, qtype: dns.TypeA, rcode: dns.RcodeRefused, notAuthoritative: true},

	// Additional.
	{name: "mxwild.example.test.", qtype: dns.TypeMX, answer: "mxwild.example.test. 3600 IN MX 10 any.went.example.test.",
		additional: "any.went.example.test. 3600 IN A 192.0.2.9"},
	{name: "mxdn.example.test.", qtype: dns.TypeMX, answer: "mxdn.example.test. 3600 IN MX 10 any.dn.example.test."},
	{name: "mail.example.test.", qtype: dns.TypeMX, answer: "mail.example.test. 3600 IN MX 10 mail.example.test.", additional: "mail.example.test. 3600 IN A 192.0.2.8"},
	{name: "mxsub.example.test.", qtype: dns.TypeMX, answer: "mxsub.example.test. 3600 IN MX 10 www.sub.example.test."},
	{name: "mxout.example.test.", qtype: dns.TypeMX, answer: "mxout.example.test. 3600 IN MX 10 mail.example.net."},
	{name: "naptr.example.test.", qtype: dns.TypeNAPTR, answer: `naptr.example.test. 3600 IN NAPTR 1 1 "a" "x" "" mail.example.test.`,
		additional: "mail.example.test. 3600 IN A 192.0.2.8"},
	{name: "afsdb.example.test.", qtype: dns.TypeAFSDB, answer: "afsdb.example.test. 3600 IN AFSDB 1 mail.example.test.",
		additional: "mail.example.test. 3600 IN A 192.0.2.8"},
	// RFC 9460 section 4.1.
	{name: "svc.example.test.", qtype: dns.TypeSVCB, additional: "mail.example.test. 3600 IN A 192.0.2.8",
		answer: "svc.example.test. 3600 IN SVCB 1 mail.example.test. alpn=\"h2\"\nsvc.example.test. 3600 IN SVCB 2 mail.example.net."},
	{name: "own.example.test.", qtype: dns.TypeHTTPS, answer: "own.example.test. 3600 IN HTTPS 1 .", additional: "own.example.test. 3600 IN A 192.0.2.10"},
	{name: "gone.example.test.", qtype: dns.TypeHTTPS, answer: "gone.example.test. 3600 IN HTTPS 0 ."},
	{name: "x.wsvc.example.test.", qtype: dns.TypeHTTPS, answer: "x.wsvc.example.test. 3600 IN HTTPS 1 .",
		additional: "x.wsvc.example.test. 3600 IN AAAA 2001:db8::11"},
	{name: "asvc.example.test.", qtype: dns.TypeSVCB, answer: "asvc.example.test. 3600 IN SVCB 0 svc.example.test.",
		additional: "svc.example.test. 3600 IN SVCB 1 mail.example.test. alpn=\"h2\"\nsvc.example.test. 3600 IN SVCB 2 mail.example.net.\n" +
			"mail.example.test. 3600 IN A 192.0.2.8"},
	{name: "ahttps.example.test.", qtype: dns.TypeHTTPS, answer: "ahttps.example.test. 3600 IN HTTPS 0 svc.example.test."},
	{name: "svcsub.example.test.", qtype: dns.TypeSVCB, answer: "svcsub.example.test. 3600 IN SVCB 1 www.sub.example.test."},
	{name: "asvcsub.example.test.", qtype: dns.TypeSVCB, answer: "asvcsub.example.test. 3600 IN SVCB 0 www.sub.example.test."},
	// More than maxAdditional names.
	{name: "many.example.test.", qtype: dns.TypeMX,
		answer: "many.example.test. 3600 IN MX 0 mail.example.test.\n" + strings.TrimSuffix(strings.NewReplacer("many MX", "many.example.test. 3600 IN MX",
			"\n", ".example.test.\n").Replace(manyMX(maxAdditional)), "\n")},
}

func TestLookup(t *testing.T) {
	standard.Requires(t, "RFC 1034", "3.1 case", "3.6.2 follow", "3.6.2 asked for", "3.7 sections", "4.2.1 glue", "4.3.2 referral", "4.3.2 name error", "4.3.3 wildcards", "4.3.4 SOA in negative answers")
	standard.Requires(t, "RFC 1035", "4.1.1 AA")
	standard.Requires(t, "RFC 2181", "6.1 authority")
	z := openText(t, lookupZone, nil)
	s := z.Snapshot()
	verify(t, s)
	for _, tc := range lookups {
		t.Run(fmt.Sprintf("%.40s %s", tc.name, dns.Type(tc.qtype)), func(t *testing.T) {
			a := s.Lookup(tc.name, tc.qtype)
			if a.Rcode != tc.rcode || a.Authoritative == tc.notAuthoritative {
				t.Errorf("rcode %s, AA %v", dns.RcodeToString[a.Rcode], a.Authoritative)
			}
			for _, section := range []struct {
				name string
				got  []dns.RR
				want string
			}{
				{"answer", a.Answer, tc.answer},
				{"authority", a.Authority, tc.authority},
				{"additional", a.Additional, tc.additional},
			} {
				var got, want []string
				for _, rr := range section.got {
					got = append(got, text(rr))
				}
				if section.want != "" {
					want = strings.Split(section.want, "\n")
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s\n%s\nwant\n%s", section.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
			m := new(dns.Msg)
			m.Answer, m.Ns, m.Extra = a.Answer, a.Authority, a.Additional
			if _, err := m.Pack(); err != nil {
				t.Errorf("does not pack: %v", err)
			}
		})
	}
}

// An answer is the caller's: what is done to it shows in no later one.
func TestAnswersShareNothing(t *testing.T) {
	z := openText(t, lookupZone, nil)
	s := z.Snapshot()
	first := s.Lookup("host1.example.test.", dns.TypeA)
	first.Answer[0].(*dns.A).A[3] = 99
	first.Answer[0].Header().Ttl = 99
	negative := s.Lookup("nope.host1.example.test.", dns.TypeA)
	negative.Authority[0].Header().Ttl = 99
	if got := text(s.Lookup("host1.example.test.", dns.TypeA).Answer[0]); got != host1 {
		t.Error(got)
	}
	if got := text(s.Lookup("nope.host1.example.test.", dns.TypeA).Authority[0]); got != soaLine {
		t.Error(got)
	}
}

func TestLongChain(t *testing.T) {
	var b strings.Builder
	b.WriteString(testApex)
	for i := range 3 * maxChain {
		fmt.Fprintf(&b, "c%d.example.test. 60 IN CNAME c%d.example.test.\n", i, i+1)
	}
	s := openText(t, b.String(), nil).Snapshot()
	for from, rcode := range map[int]int{
		0:                         dns.RcodeServerFailure,
		3*maxChain - maxChain:     dns.RcodeServerFailure,
		3*maxChain - maxChain + 1: dns.RcodeNameError, // comes to its end
	} {
		a := s.Lookup(fmt.Sprintf("c%d.example.test.", from), dns.TypeA)
		if want := min(maxChain, 3*maxChain-from); len(a.Answer) != want || a.Rcode != rcode {
			t.Errorf("from %d: %d records, %s", from, len(a.Answer), dns.RcodeToString[a.Rcode])
		}
	}
}

func TestApexDNAME(t *testing.T) {
	s := openText(t, testApex+"example.test. 60 IN DNAME example.net.\n", nil).Snapshot()
	if a := s.Lookup("x.example.test.", dns.TypeA); len(a.Answer) != 2 || text(a.Answer[1]) != "x.example.test. 60 IN CNAME x.example.net." {
		t.Errorf("%+v", a)
	}
	if a := s.Lookup("example.test.", dns.TypeNS); len(a.Answer) != 1 || !a.Authoritative {
		t.Errorf("%+v", a)
	}
}

func TestRootZone(t *testing.T) {
	z, err := Open(Config{Origin: ".", Store: memory(), Seed: func() ([]store.Record, error) {
		return ParseSeed(strings.NewReader(". 60 SOA a. b. 1 2 3 4 5\n. 60 NS a.test.\na.test. 60 A 192.0.2.1\n"), SeedConfig{Origin: ".", File: "root"})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if a := z.Snapshot().Lookup("a.test.", dns.TypeA); len(a.Answer) != 1 {
		t.Errorf("%+v", a)
	}
	if a := z.Snapshot().Lookup("b.test.", dns.TypeA); a.Rcode != dns.RcodeNameError || a.Authority[0].Header().Name != "." {
		t.Errorf("%+v", a)
	}
}
