//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
)

// lookupZone is what the questions are about: each part of it is one that a simple look-up gets wrong.
const lookupZone = `$TTL 300
@                 IN SOA   ns1 hostmaster 1 3600 600 86400 60
@                 IN NS    ns1
@                 IN NS    ns2.other.test.
@                 IN MX    10 mail
@                 IN TXT   "apex"
ns1               IN A     127.0.0.1
ns1               IN AAAA  ::1
mail              IN A     192.0.2.25
mail              IN AAAA  2001:db8::25
mail              IN MX    0 mail
; round robin, several types, other TTLs
many              IN A     192.0.2.1
many              IN A     192.0.2.2
many              IN A     192.0.2.3
many         4000 IN TXT   "Upper and lower" "second"
MiXeD             IN A     192.0.2.4
; aliases: plain, chained, out of the zone, to nothing, in circles, too long
alias             IN CNAME many
chain1            IN CNAME Chain2
chain2            IN CNAME chain3
chain3            IN CNAME many
outside           IN CNAME www.other.test.
nowhere           IN CNAME absent
self              IN CNAME self
loop1             IN CNAME loop2
loop2             IN CNAME loop1
toent             IN CNAME b.ent
towild            IN CNAME x.wild
tocut             IN CNAME x.sub
todname           IN CNAME x.tree
todnameout        IN CNAME x.gone
toself            IN CNAME self
toapex            IN CNAME @
; wildcards: beside names, above names, as aliases, for other types, in the middle
*.wild            IN A     192.0.2.30
*.wild            IN TXT   "wild"
*.wild            IN MX    10 mail
here.wild         IN TXT   "here"
a.deep.wild       IN A     192.0.2.31
*.cwild           IN CNAME many
*.cchain          IN CNAME x.cwild
*.cself           IN CNAME x.cself
x.*.mid           IN A     192.0.2.32
*.under.*.wild2   IN A     192.0.2.33
*.wild2           IN A     192.0.2.34
*                 IN HINFO "any" "name"
sub.*.stars       IN TXT   "below a wildcard"
*.stars           IN A     192.0.2.35
; delegations: with glue, without, to a host of the zone, glue of a sibling, signed, with names below
sub               IN NS    ns.sub
sub               IN NS    ns1
ns.sub            IN A     192.0.2.40
ns.sub            IN AAAA  2001:db8::40
sub               IN DS    1 13 2 0000000000000000000000000000000000000000000000000000000000000000
host.sub          IN A     192.0.2.41
far               IN NS    ns.other.test.
sibling           IN NS    ns.sub
sibling           IN NS    ns.sibling
ns.sibling        IN A     192.0.2.42
near              IN NS    mail
noglue            IN NS    ns.noglue
deep.down.cut     IN NS    ns.deep.down.cut
ns.deep.down.cut  IN A     192.0.2.43
sub.sub           IN NS    ns.sub.sub
tocname           IN NS    alias
; DNAME: within the zone, out of it, beside other types, into another, growing too long, in a circle, at a wildcard's side
tree              IN DNAME target
tree              IN TXT   "beside a DNAME"
tree              IN A     192.0.2.50
x.target          IN A     192.0.2.51
y.x.target        IN CNAME many
*.star.target     IN A     192.0.2.52
gone              IN DNAME other.test.
tree2             IN DNAME tree
round             IN DNAME round2
round2            IN DNAME round
into              IN DNAME sub
grow              IN DNAME %[1]s
x.tree            IN A     192.0.2.53
dead              IN DNAME absent
; empty non-terminals
a.b.ent           IN A     192.0.2.60
x.y.z.ent2        IN TXT   "deep"
x.y.z.ent2        IN NS    ns.x.y.z.ent2
; labels that need escapes
a\.b              IN A     192.0.2.70
sp\032ace         IN A     192.0.2.71
\000zero          IN A     192.0.2.72
a\000             IN A     192.0.2.73
\255high          IN A     192.0.2.74
semi\;colon       IN A     192.0.2.75
quo\"te           IN A     192.0.2.76
back\\slash       IN A     192.0.2.77
\@                IN A     192.0.2.78
a\*b              IN A     192.0.2.79
x.\*y             IN A     192.0.2.80
UP\065            IN A     192.0.2.81
new\010line       IN CNAME sp\032ace
tab\009.ent3      IN MX    5 a\.b
; the longest names and labels
%[2]s             IN A     192.0.2.90
%[3]s             IN A     192.0.2.91
tolong            IN CNAME %[3]s
; types: additional data, unknown ones, empty ones, large ones
_ldap._tcp        IN SRV   0 0 389 many
_ldap._tcp        IN SRV   0 0 389 mail
_ldap._tcp        IN SRV   1 0 389 mail
_ldap._tcp        IN SRV   1 0 389 x.wild
_ldap._tcp        IN SRV   1 0 389 host.sub
_ldap._tcp        IN SRV   1 0 389 www.other.test.
_x._tcp           IN SRV   0 0 1 alias
_none._tcp        IN SRV   0 0 0 .
mx                IN MX    1 mail
mx                IN MX    2 many
mx                IN MX    3 x.tree
mx                IN MX    4 absent
mx                IN MX    5 ns.sub
ptr               IN PTR   many
unknown           IN TYPE65400 \# 3 010203
unknown           IN TYPE65401 \# 0
unknown           IN TYPE1234 \# 4 0a000001
sshfp             IN SSHFP 4 2 0000000000000000000000000000000000000000000000000000000000000000
caa               IN CAA   0 issue "ca.test"
loc               IN LOC   52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
rp                IN RP    hostmaster many
tlsa              IN TLSA  3 1 1 0000000000000000000000000000000000000000000000000000000000000000
uri               IN URI   10 1 "https://many.example.test/"
dsonly            IN DS    1 13 2 0000000000000000000000000000000000000000000000000000000000000000
hinfo             IN HINFO "CPU" "os"
afsdb             IN AFSDB 1 many
kx                IN KX    1 many
naptr             IN NAPTR 1 1 "A" "" "" many
https             IN HTTPS 1 many alpn=h2
`

// longName makes a name of labels of x that is that many octets long on the wire, the zone included, relative to it.
func longName(octets int, zone string) string {
	left := octets - (len(zone) + 2)
	var labels []string
	for left > 0 {
		n := min(left-1, 63)
		if left-1-n == 1 { // no label is empty
			n--
		}
		labels = append(labels, strings.Repeat("x", n))
		left -= n + 1
	}
	return strings.Join(labels, ".")
}

// lookupSeed adds random hosts, aliases and wildcards to the zone.
func lookupSeed(random *rand.Rand) string {
	label := func() string { return fmt.Sprintf("r%d", random.IntN(12)) }
	var b strings.Builder
	fmt.Fprintf(&b, lookupZone, longName(200, forwardZone), longName(255, forwardZone), longName(254, forwardZone))
	taken := make(map[string]bool)
	for i := range 150 {
		var labels []string
		for range 1 + random.IntN(4) {
			labels = append(labels, label())
		}
		if random.IntN(6) == 0 {
			labels[0] = "*"
		}
		name := strings.Join(labels, ".") + ".random"
		if taken[name] {
			continue
		}
		taken[name] = true
		target := label() + "." + label() + ".random"
		switch random.IntN(8) {
		case 0:
			fmt.Fprintf(&b, "%s IN CNAME %s\n", name, target)
		case 1:
			if labels[0] != "*" {
				fmt.Fprintf(&b, "%s IN NS ns.%s\nns.%s IN A 10.1.0.%d\n", name, name, name, i)
			}
		case 2:
			if labels[0] != "*" {
				fmt.Fprintf(&b, "%s IN DNAME %s\n", name, target)
			}
		case 3:
			fmt.Fprintf(&b, "%s IN MX 10 %s\n", name, target)
		default:
			fmt.Fprintf(&b, "%s IN A 10.0.0.%d\n", name, i)
		}
	}
	return b.String()
}

// lookupQuestions asks for each name of the zone, for names above, below and beside them, in each of the types.
func lookupQuestions(records []string, random *rand.Rand) []dns.Question {
	names := make(map[string]bool)
	for _, line := range records {
		name, _, _ := strings.Cut(line, "\t")
		names[name] = true
		for _, below := range []string{"x", "*", "r1", "a.b", "_tcp"} {
			names[below+"."+name] = true
		}
		if at, end := dns.NextLabel(name, 0); !end {
			names[name[at:]] = true
			names["beside."+name[at:]] = true
			names["*."+name[at:]] = true
		}
	}
	for range 100 {
		names[fmt.Sprintf("r%d.r%d.r%d.random.%s.", random.IntN(12), random.IntN(12), random.IntN(12), forwardZone)] = true
	}
	// The octets of a name's label count, not how it is written.
	for _, name := range []string{"MANY", "up\\065", "UPA", "MiXeD", "X.Wild", "x.TREE", "a\\046b", "\\109any"} {
		names[name+"."+forwardZone+"."] = true
	}
	types := []uint16{
		dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeMX, dns.TypeTXT, dns.TypeSRV, dns.TypeDS,
		dns.TypeDNAME, dns.TypeANY, dns.TypeHINFO, 65400, 65401, dns.TypeNSEC,
	}
	others := []uint16{dns.TypePTR, 1234, dns.TypeSSHFP, dns.TypeCAA, dns.TypeLOC, dns.TypeRP, dns.TypeTLSA, dns.TypeURI, dns.TypeRRSIG, dns.TypeDNSKEY, dns.TypeNAPTR}
	var questions []dns.Question
	for name := range names {
		if _, ok := dns.IsDomainName(name); !ok || wireLength(name) > 255 || !dns.IsSubDomain(forwardZone+".", name) {
			continue
		}
		for _, qtype := range append(types, others[random.IntN(len(others))]) {
			questions = append(questions, dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET})
		}
	}
	for _, rest := range []struct {
		name  string
		qtype uint16
	}{{"ptr", dns.TypePTR}, {"unknown", 1234}, {"sshfp", dns.TypeSSHFP}, {"caa", dns.TypeCAA}, {"loc", dns.TypeLOC}, {"rp", dns.TypeRP}, {"tlsa", dns.TypeTLSA}, {"uri", dns.TypeURI},
		{"afsdb", dns.TypeAFSDB}, {"kx", dns.TypeKX}, {"naptr", dns.TypeNAPTR}, {"https", dns.TypeHTTPS}} {
		questions = append(questions, dns.Question{Name: rest.name + "." + forwardZone + ".", Qtype: rest.qtype, Qclass: dns.ClassINET})
	}
	slices.SortFunc(questions, func(a, b dns.Question) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return int(a.Qtype) - int(b.Qtype)
	})
	return questions
}

func wireLength(name string) int {
	var buffer [300]byte
	n, err := dns.PackDomainName(name, buffer[:], 0, nil, false)
	if err != nil {
		return len(buffer)
	}
	return n
}

// asker asks one server by TCP, on connections that are kept.
type asker struct{ conn *dns.Conn }

func newAsker(address netip.AddrPort) (*asker, error) {
	conn, err := dns.DialTimeout("tcp", address.String(), 10*time.Second)
	return &asker{conn: conn}, err
}

func (a *asker) ask(m *dns.Msg) (*dns.Msg, error) {
	if err := a.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if err := a.conn.WriteMsg(m); err != nil {
		return nil, err
	}
	reply, err := a.conn.ReadMsg()
	if err == nil && reply.Id != m.Id {
		err = fmt.Errorf("reply with another ID")
	}
	return reply, err
}

// reading is what is compared of an answer.
func reading(m *dns.Msg) string {
	return fmt.Sprintf("%s aa=%v tc=%v ra=%v ad=%v\n  answer     %q\n  authority  %q\n  additional %q", dns.RcodeToString[m.Rcode],
		m.Authoritative, m.Truncated, m.RecursionAvailable, m.AuthenticatedData, canonicals(m.Answer), canonicals(m.Ns), canonicals(m.Extra))
}

// TestLookupAsBIND compares answers with BIND's. BIND leaves the NS records out of answers, as this server does.
func TestLookupAsBIND(t *testing.T) {
	t.Parallel()
	random := randomness(t, 0)
	text := lookupSeed(random)
	ours := startBlock(t, forwardZone, []string{"file db " + forwardZone}, []string{"transfer {\n        to 127.0.0.1\n    }"}, map[string]string{"db": text})
	bind := startNamed(t, named.Config{
		Options: "minimal-responses no-auth; minimal-any no;",
		Zones:   []named.Zone{{Name: forwardZone, Text: text, Statement: "check-names ignore; check-integrity no; check-sibling no;"}},
	})
	sameZone(t, ours.Address, bind.Address, forwardZone)
	records, _ := transferred(t, ours.Address, forwardZone)
	questions := lookupQuestions(records, random)

	const askers = 6
	var mu sync.Mutex
	different, known := 0, make(map[string]int)
	var wait sync.WaitGroup
	for first := range askers {
		wait.Go(func() {
			a, err := newAsker(ours.Address)
			if err != nil {
				t.Error(err)
				return
			}
			defer a.conn.Close()
			b, err := newAsker(bind.Address)
			if err != nil {
				t.Error(err)
				return
			}
			defer b.conn.Close()
			for i := first; i < len(questions); i += askers {
				q := questions[i]
				m := new(dns.Msg)
				m.Id, m.Question = dns.Id(), []dns.Question{q}
				if i%3 == 0 {
					m.SetEdns0(4096, i%2 == 0)
				}
				ourAnswer, err := a.ask(m)
				if err != nil {
					t.Errorf("%v: %v", q, err)
					return
				}
				bindAnswer, err := b.ask(m)
				if err != nil {
					t.Errorf("%v: BIND: %v", q, err)
					return
				}
				if reading(ourAnswer) == reading(bindAnswer) && (ourAnswer.IsEdns0() == nil) == (bindAnswer.IsEdns0() == nil) {
					continue
				}
				mu.Lock()
				if reason := lookupDifference(q, ourAnswer, bindAnswer); reason != "" {
					known[reason]++
				} else if different++; different <= 40 {
					t.Errorf("%s %s\nours: %s\nBIND: %s", q.Name, dns.Type(q.Qtype), reading(ourAnswer), reading(bindAnswer))
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	t.Logf("%d records, %d questions, %d answered in another way without a reason", len(records), len(questions), different)
	for reason, count := range known {
		t.Logf("%d answers: %s", count, reason)
	}
}

// lookupDifference is the reason why an answer need not be BIND's, "" when there is none.
func lookupDifference(q dns.Question, ours, bind *dns.Msg) string {
	// A DS record is the parent's at a delegation; where there is none, BIND still keeps it out of an answer to ANY, which
	// leaves NOERROR without answer and without SOA record. What is there is a better answer.
	if q.Qtype == dns.TypeANY && len(bind.Answer)+len(bind.Ns) == 0 && len(ours.Answer) == 1 && ours.Answer[0].Header().Rrtype == dns.TypeDS {
		return "BIND does not show a DS record where there is no delegation to those who ask for ANY"
	}
	// These are optional: a client asks for what it misses.
	switch q.Qtype {
	case dns.TypeAFSDB, dns.TypeKX, dns.TypeNAPTR, dns.TypeHTTPS:
		without := *bind
		without.Extra = nil
		if len(canonicals(ours.Extra)) == 0 && reading(ours) == reading(&without) {
			return "BIND adds addresses to more types than NS, MX and SRV"
		}
	}
	return ""
}
