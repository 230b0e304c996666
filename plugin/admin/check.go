package admin

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// Levels of a finding.
const (
	levelOK      = "ok"
	levelWarning = "warning" // works, perhaps not for everybody
	levelError   = "error"   // clients fail
)

// A finding is one thing that was looked at.
type finding struct {
	Level  string `json:"level"`
	About  string `json:"about"`
	Text   string `json:"text"`
	Client string `json:"client_error,omitempty"` // what clients show
	Mend   string `json:"mend,omitempty"`
}

// checker collects findings.
type checker struct {
	ctx      context.Context
	findings []finding
	kdcs     *kdcs // nil if no KDC is to be asked
	server   string
	port     string
}

func (c *checker) add(f finding) { c.findings = append(c.findings, f) }

func (c *checker) ok(about, format string, args ...any) {
	c.add(finding{Level: levelOK, About: about, Text: fmt.Sprintf(format, args...)})
}

// check looks at all that has to fit together for a client to get through: Corefile, keytabs, zones, KDC, clocks, ports.
func check(s Streams, flags *flag.FlagSet, args []string) (int, error) {
	conf := flags.String("conf", "Corefile", "Corefile of the server")
	krb5conf := flags.String("krb5conf", defaultKrb5conf(), "krb5.conf that names the KDCs")
	offline := flags.Bool("offline", false, "ask neither KDC nor server")
	ccache := flags.String("ccache", "", "credential cache to ask the KDC with, where it does not take the server's own key for that")
	server := flags.String("server", "", "HOST:PORT of the running server, if the Corefile does not tell")
	port := flags.String("p", "53", "port of keys in the Corefile without one, as given to the server by -p or -dns.port")
	format := flags.String("o", "text", "text or json")
	args, err := parse(flags, args)
	if err != nil {
		return 0, err
	}
	if len(args) > 0 {
		return 0, &usageError{"no arguments are expected"}
	}
	if *format != "text" && *format != "json" {
		return 0, &usageError{fmt.Sprintf("-o %s: text or json", *format)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := &checker{ctx: ctx, server: *server, port: *port}
	if !*offline {
		c.kdcs = newKDCs(*krb5conf, *ccache)
	}
	c.run(*conf, *offline)

	if *format == "json" {
		err = printJSON(s.Out, c.findings)
	} else {
		err = printText(s.Out, c.findings)
	}
	if slices.ContainsFunc(c.findings, func(f finding) bool { return f.Level == levelError }) {
		return ExitNo, err
	}
	return ExitOK, err
}

// defaultKrb5conf is where MIT's library looks.
func defaultKrb5conf() string {
	if file := os.Getenv("KRB5_CONFIG"); file != "" {
		return file
	}
	return "/etc/krb5.conf"
}

func (c *checker) run(conf string, offline bool) {
	servers, err := corefile.ReadFile(conf)
	if errors.Is(err, corefile.ErrNoBlock) {
		c.add(finding{Level: levelError, About: conf, Text: err.Error(), Mend: "name the Corefile of the server by -conf, or add gsstsig to a server block"})
		return
	}
	if err != nil {
		c.add(finding{Level: levelError, About: conf, Text: err.Error(), Mend: "the server does not start with it"})
		return
	}
	for _, server := range servers {
		service, err := gsstsig.OpenService(server.Block)
		if err != nil {
			c.add(finding{Level: levelError, About: server.Position, Text: err.Error(), Mend: "the server does not start with it"})
			continue
		}
		c.keytabs(service)
		primaries, others := c.zones(service, gsstsig.ListenAddresses(server.Bind))
		if c.kdcs != nil {
			c.kerberos(service, primaries, others)
		}
		if !offline {
			c.listening(server)
		}
	}
}

// keytabs looks at the keys.
func (c *checker) keytabs(s *gsstsig.Service) {
	for _, warning := range s.Keytabs.Warnings() {
		c.add(finding{Level: levelWarning, About: "keytab", Text: warning})
	}
	for _, line := range s.DescribeKeys() {
		c.ok("keytab", "%s", line)
	}
	if problem, mend := s.UnusableKeys(); problem != "" {
		c.add(finding{Level: levelError, About: "keytab", Text: problem, Client: `"TKEY is unacceptable"`, Mend: mend})
	}
	for _, problem := range s.MistypedRealms() {
		c.add(finding{Level: levelError, About: "realm", Text: problem, Client: `"TKEY is unacceptable"`, Mend: "write the realm as the KDC does, mostly in capitals"})
	}
}

// zones looks at the zones, and returns the names that clients derive principals from: the MNAMEs, which most go by, and
// what else the NS records name.
func (c *checker) zones(s *gsstsig.Service, addresses []net.IP) (primaries, others []string) {
	for _, origin := range s.Origins {
		z, err := copyOf(s, origin, addresses)
		if err != nil {
			c.add(finding{Level: levelError, About: "zone " + origin, Text: err.Error(), Mend: "the server does not start with it"})
			continue
		}
		snapshot := z.Snapshot()
		mname := dns.CanonicalName(snapshot.SOA().Ns)
		if !slices.Contains(primaries, mname) {
			primaries = append(primaries, mname)
		}
		for _, rr := range snapshot.RRset(origin, dns.TypeNS) {
			if host := dns.CanonicalName(rr.(*dns.NS).Ns); !slices.Contains(others, host) {
				others = append(others, host)
			}
		}
		mismatches := s.Mismatches(snapshot)
		for _, m := range mismatches {
			f := finding{Level: levelWarning, About: "zone " + origin, Text: m.Problem(), Client: m.ClientError(), Mend: m.Mend()}
			if m.Primary {
				f.Level = levelError
			}
			c.add(f)
		}
		if len(mismatches) == 0 {
			c.ok("zone "+origin, "serial %d, primary server %s, which the keytab has a key for; updates %s", snapshot.Serial(), mname, s.Mode(origin))
		}
		c.addresses(snapshot, mname)
		if err := z.Close(); err != nil {
			c.add(finding{Level: levelError, About: "zone " + origin, Text: err.Error()})
		}
	}
	return primaries, slices.DeleteFunc(others, func(host string) bool { return slices.Contains(primaries, host) })
}

// addresses says when a zone does not know where its own primary server is.
func (c *checker) addresses(snapshot *zone.Snapshot, mname string) {
	if !snapshot.InZone(mname) || len(snapshot.RRset(mname, dns.TypeA))+len(snapshot.RRset(mname, dns.TypeAAAA)) > 0 {
		return
	}
	c.add(finding{
		Level: levelWarning, About: "zone " + snapshot.Origin(),
		Text:   fmt.Sprintf("its primary server %s has no address in the zone", mname),
		Client: "clients that are not told the server's address do not find it (nsupdate: \"couldn't get address for\")",
		Mend:   fmt.Sprintf("add an A or AAAA record for %s to the zone", mname),
	})
}

// kerberos asks the KDCs about what the keytab says.
func (c *checker) kerberos(s *gsstsig.Service, primaries, others []string) {
	for _, realm := range s.Keytabs.Realms() {
		difference, err := c.kdcs.clock(c.ctx, realm)
		if err != nil {
			c.add(finding{
				Level: levelWarning, About: "realm " + realm, Text: "its KDC cannot be asked: " + err.Error(),
				Mend: "the server itself needs no KDC, but the checks against it are missing here; see -krb5conf, or use -offline",
			})
			continue
		}
		skew := s.ClockSkew
		if skew == 0 {
			skew = krb5.DefaultClockSkew
		}
		switch {
		case difference.Abs() > skew:
			c.add(finding{
				Level: levelError, About: "realm " + realm,
				Text:   fmt.Sprintf("this machine's clock is %s off the KDC's; %s is let pass", difference.Round(time.Second), skew),
				Client: `"Clock skew too great"`, Mend: "have this machine and the KDC follow one time server",
			})
		case difference.Abs() > skew/2:
			c.add(finding{
				Level: levelWarning, About: "realm " + realm,
				Text: fmt.Sprintf("this machine's clock is %s off the KDC's, more than half of what is let pass (%s)", difference.Round(time.Second), skew),
				Mend: "have this machine and the KDC follow one time server",
			})
		default:
			c.ok("realm "+realm, "its KDC answers, and its clock is %s off", difference.Round(time.Millisecond))
		}
		c.principals(s, realm, primaries, levelError)
		// A client that goes by the NS records has others to try, and some of those may be secondaries.
		c.principals(s, realm, others, levelWarning)
	}
}

// principals asks the KDC for a ticket to each service that clients are going to ask for. What is wrong with one is of that
// level at most.
func (c *checker) principals(s *gsstsig.Service, realm string, hosts []string, most string) {
	for _, host := range hosts {
		service := krb5.Principal{Components: []string{"DNS", strings.TrimSuffix(host, ".")}, Realm: realm}
		about := "principal " + service.String()
		var f finding
		if ticket, err := c.kdcs.ticket(c.ctx, s, service); err != nil {
			f = explainTicket(about, err)
		} else {
			f = compareKeys(about, service, ticket, s.Keytabs.Keys())
		}
		if f.Level == levelError {
			f.Level = most
		}
		c.add(f)
	}
}

// explainTicket puts the refusal of a ticket into words.
func explainTicket(about string, err error) finding {
	text := err.Error()
	f := finding{Level: levelWarning, About: about, Text: text,
		Mend: "the KDC does not give the server's own principal a ticket to try this with; try again with the ticket of a client: -ccache"}
	switch {
	case strings.Contains(text, "KDC_ERR_S_PRINCIPAL_UNKNOWN"):
		f.Level, f.Text = levelError, "the KDC does not know it"
		f.Client = `"Server not found in Kerberos database"`
		f.Mend = "make the principal and export its key to the keytab (kadmin addprinc and ktadd; samba-tool spn add and " +
			"domain exportkeytab; setspn and ktpass), or name another primary server in the zone's SOA"
	case strings.Contains(text, "KRB_AP_ERR_SKEW"):
		f.Level, f.Text = levelError, "the KDC finds this machine's clock too far off"
		f.Client, f.Mend = `"Clock skew too great"`, "have this machine and the KDC follow one time server"
	case strings.Contains(text, "KDC_ERR_PREAUTH_FAILED"), strings.Contains(text, "KRB_AP_ERR_BAD_INTEGRITY"),
		strings.Contains(text, "Decrypting_Error"):
		f.Level, f.Text = levelError, "the KDC has another key than the keytab"
		f.Client, f.Mend = `"TKEY is unacceptable"`, "export the keytab again"
	}
	return f
}

// compareKeys tells whether the keytab has the key that a ticket was made with.
func compareKeys(about string, service krb5.Principal, ticket ticketKey, keys []krb5.KeyInfo) finding {
	var versions []string
	for _, k := range keys {
		if !sameService(k.Principal, service) || k.Enctype != ticket.enctype {
			continue
		}
		if k.KVNO == ticket.version {
			return finding{Level: levelOK, About: about, Text: fmt.Sprintf("the KDC gives out tickets with key version %d, %s, which the keytab has",
				ticket.version, ticket.enctype.String())}
		}
		versions = append(versions, fmt.Sprint(k.KVNO))
	}
	held := "no key of that type"
	if len(versions) > 0 {
		held = "version " + strings.Join(versions, ", ")
	}
	return finding{
		Level: levelError, About: about,
		Text: fmt.Sprintf("the KDC gives out tickets with key version %d, %s, but the keytab holds %s",
			ticket.version, ticket.enctype.String(), held),
		Client: `"TKEY is unacceptable"`, Mend: "export the keytab again; the server takes it up by itself",
	}
}

// sameService compares as the acceptor does: without case, but for the realm.
func sameService(a, b krb5.Principal) bool {
	return a.Realm == b.Realm && slices.EqualFunc(a.Components, b.Components, strings.EqualFold)
}

// listening asks the running server.
func (c *checker) listening(server corefile.Server) {
	for _, address := range c.serverAddresses(server) {
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg)
			m.SetQuestion(server.Origins[0], dns.TypeSOA)
			client := &dns.Client{Net: network, Timeout: 2 * time.Second}
			reply, _, err := client.ExchangeContext(c.ctx, m, address)
			about := fmt.Sprintf("port %s/%s", address, network)
			switch {
			case err != nil:
				c.add(finding{Level: levelWarning, About: about, Text: "no answer: " + err.Error(),
					Mend: "start the server, or open the port; clients need both UDP and TCP"})
			case !isSOA(reply, server.Origins[0]):
				c.add(finding{Level: levelError, About: about,
					Text: fmt.Sprintf("whoever answers there does not serve %s: %s", server.Origins[0], dns.RcodeToString[reply.Rcode]),
					Mend: "another DNS server has the port, or the server runs with another Corefile"})
			default:
				c.ok(about, "answers for %s", server.Origins[0])
			}
		}
	}
}

// isSOA tells whether a reply is that of a zone's own server.
func isSOA(reply *dns.Msg, origin string) bool {
	return reply.Authoritative && len(reply.Answer) > 0 && reply.Answer[0].Header().Rrtype == dns.TypeSOA &&
		dns.CanonicalName(reply.Answer[0].Header().Name) == origin
}

// serverAddresses are where the server block listens, as far as the Corefile tells.
func (c *checker) serverAddresses(server corefile.Server) []string {
	if c.server != "" {
		return []string{c.server}
	}
	port := c.port
	if _, p, err := net.SplitHostPort(server.Keys[0]); err == nil && p != "" {
		port = p
	}
	var addresses []string
	for _, word := range server.Bind {
		if ip := net.ParseIP(word); ip != nil && !ip.IsUnspecified() {
			addresses = append(addresses, net.JoinHostPort(word, port))
		}
	}
	if len(addresses) == 0 {
		addresses = append(addresses, net.JoinHostPort("127.0.0.1", port))
	}
	return addresses
}

func printJSON(w io.Writer, findings []finding) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(findings)
}

func printText(w io.Writer, findings []finding) error {
	var text strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&text, "%-8s%s: %s\n", f.Level, f.About, f.Text)
		if f.Client != "" {
			fmt.Fprintf(&text, "        clients show: %s\n", f.Client)
		}
		if f.Mend != "" {
			fmt.Fprintf(&text, "        mend: %s\n", f.Mend)
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
