package policytest

import (
	"bufio"
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// Seeds are the zones that the tables are about, with their contents before each case.
var Seeds = map[string]string{
	"example.test.": `
@             300 IN SOA   ns1 hostmaster 1 3600 600 86400 60
@             300 IN NS    ns1
ns1           300 IN A     192.0.2.53
a             300 IN A     192.0.2.1
b             300 IN A     192.0.2.2
b             300 IN TXT   "b"
c.a           300 IN A     192.0.2.3
multi         300 IN A     192.0.2.10
multi         300 IN A     192.0.2.11
multi         300 IN TXT   "one"
alias         300 IN CNAME a
*.wild        300 IN A     192.0.2.20
sub           300 IN NS    ns.sub
sub           300 IN DS    1 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.sub        300 IN A     192.0.2.54
1.rev         300 IN PTR   a
2.rev         300 IN PTR   b
mixed.rev     300 IN PTR   a
mixed.rev     300 IN PTR   b
mixed.rev     300 IN TXT   "mixed"
_ldap._tcp    300 IN SRV   0 0 389 a
_kdc._tcp     300 IN SRV   0 0 88 b
`,
	"_msdcs.example.test.": `
@    300 IN SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60
@    300 IN NS  ns1.example.test.
`,
	"arpa.": `
@                        300 IN SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60
@                        300 IN NS  ns1.example.test.
9.0.0.127.in-addr.arpa.  300 IN PTR a.example.test.
`,
}

//go:embed tables/*.txt
var tables embed.FS

// A Policy is rules and the cases that they are put to.
type Policy struct {
	Origin string   // of the zone: a key of Seeds
	File   string   // the table
	Line   int      // of its heading, from 1
	Rules  []string // with grant or deny before each
	Cases  []Case   // in their order; each is put to the zone of Seeds as it is at first
}

// A Case is one update.
type Case struct {
	File   string     // the table
	Line   int        // in it, from 1
	Text   string     // the line itself
	Allow  bool       // the policy permits it
	BIND   string     // why BIND's verdict is the other one; empty if it is not
	Who    string     // who signs: a principal, the name of an HMAC key, or anonymous
	Client netip.Addr // that sends it
	TCP    bool       // by TCP
	Update []dns.RR   // the update section
}

// Tables returns the policies of all tables.
func Tables() ([]Policy, error) {
	files, err := fs.Glob(tables, "tables/*.txt")
	if err != nil {
		return nil, err
	}
	var policies []Policy
	for _, file := range files {
		text, err := fs.ReadFile(tables, file)
		if err != nil {
			return nil, err
		}
		p, err := parse(file, string(text))
		if err != nil {
			return nil, err
		}
		policies = append(policies, p...)
	}
	return policies, nil
}

func parse(file, text string) ([]Policy, error) {
	var policies []Policy
	origin := "example.test."
	lines := bufio.NewScanner(strings.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "zone "); ok {
			if origin = name; Seeds[origin] == "" {
				return nil, fmt.Errorf("%s:%d: no seed for %s", file, number, origin)
			}
			continue
		}
		if strings.HasPrefix(line, "grant ") || strings.HasPrefix(line, "deny ") {
			if n := len(policies); n == 0 || len(policies[n-1].Cases) > 0 || policies[n-1].Origin != origin {
				policies = append(policies, Policy{Origin: origin, File: file, Line: number})
			}
			p := &policies[len(policies)-1]
			p.Rules = append(p.Rules, line)
			continue
		}
		c, err := parseCase(origin, line)
		if err == nil && len(policies) == 0 {
			err = fmt.Errorf("a case before the first rule")
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		c.File, c.Line, c.Text = file, number, line
		p := &policies[len(policies)-1]
		p.Cases = append(p.Cases, c)
	}
	return policies, lines.Err()
}

func parseCase(origin, line string) (Case, error) {
	c := Case{Client: netip.MustParseAddr("127.0.0.1")}
	switch {
	case strings.HasPrefix(line, "allow"):
		c.Allow = true
		line = line[len("allow"):]
	case strings.HasPrefix(line, "refuse"):
		line = line[len("refuse"):]
	default:
		return c, fmt.Errorf("neither a rule nor a verdict: %s", line)
	}
	if rest, ok := strings.CutPrefix(line, "[BIND "); ok {
		if c.BIND, line, ok = strings.Cut(rest, "]"); !ok {
			return c, fmt.Errorf("no end of the bracket")
		}
	}
	sender, changes, ok := strings.Cut(line, " : ")
	if !ok {
		return c, fmt.Errorf("no colon between the sender and the changes")
	}
	words := strings.Fields(sender)
	switch {
	case len(words) == 3 && (words[1] == "tcp" || words[1] == "udp"):
		addr, err := netip.ParseAddr(words[2])
		if err != nil {
			return c, err
		}
		c.Client, c.TCP = addr, words[1] == "tcp"
	case len(words) != 1:
		return c, fmt.Errorf("sender %q", sender)
	}
	c.Who = words[0]
	for _, change := range strings.Split(changes, ";") {
		rr, err := ParseChange(origin, strings.TrimSpace(change))
		if err != nil {
			return c, err
		}
		c.Update = append(c.Update, rr)
	}
	return c, nil
}

// ParseChange makes a record of an update section (RFC 2136 section 2.5) of an add or delete as
// tables write it. An added record has TTL 300 unless its name is followed by another.
func ParseChange(origin, change string) (dns.RR, error) {
	words := strings.Fields(change)
	if len(words) < 2 {
		return nil, fmt.Errorf("change %q", change)
	}
	name, data := Absolute(origin, words[1]), words[2:]
	switch {
	case words[0] == "add" && len(data) >= 2:
		return parseRecord(origin, name+" "+strings.Join(data, " "))
	case words[0] == "delete" && len(data) == 0:
		return &dns.ANY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeANY, Class: dns.ClassANY}}, nil
	case words[0] == "delete" && len(data) == 1:
		rrtype, ok := dns.StringToType[data[0]]
		if !ok {
			return nil, fmt.Errorf("change %q: type", change)
		}
		return &dns.ANY{Hdr: dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassANY}}, nil
	case words[0] == "delete":
		rr, err := parseRecord(origin, name+" "+strings.Join(data, " "))
		if err == nil {
			rr.Header().Class, rr.Header().Ttl = dns.ClassNONE, 0
		}
		return rr, err
	}
	return nil, fmt.Errorf("change %q", change)
}

func parseRecord(origin, text string) (dns.RR, error) {
	parser := dns.NewZoneParser(strings.NewReader(text+"\n"), origin, "")
	parser.SetDefaultTTL(300)
	rr, ok := parser.Next()
	if !ok {
		return nil, fmt.Errorf("record %q: %w", text, parser.Err())
	}
	return rr, nil
}

// Absolute returns a name of a table as an absolute one.
func Absolute(origin, name string) string {
	switch {
	case name == "@":
		return origin
	case strings.HasSuffix(name, "."):
		return name
	}
	return name + "." + origin
}

// Records returns the contents of one of Seeds.
func Records(origin string) ([]dns.RR, error) {
	parser := dns.NewZoneParser(strings.NewReader(Seeds[origin]), origin, "")
	var rrs []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		rrs = append(rrs, rr)
	}
	return rrs, parser.Err()
}

// Identity says who sends a case: a principal as MIT writes it, the name of an HMAC key with a
// final dot, or anonymous.
func (c *Case) Identity() policy.Identity {
	id := policy.Identity{Client: c.Client, TCP: c.TCP}
	at := strings.LastIndexByte(c.Who, '@')
	switch {
	case c.Who == "anonymous":
	case at < 0:
		id.Kind, id.Name = policy.Static, c.Who
	default:
		id.Kind, id.Name = policy.Kerberos, c.Who
		id.Components, id.Realm = strings.Split(c.Who[:at], "/"), c.Who[at+1:]
	}
	return id
}
