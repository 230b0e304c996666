package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/krb5conf"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// checker collects findings.
type checker struct {
	ctx      context.Context
	findings []diagnose.Finding
	kdcs     *kdcs    // nil if no KDC is to be asked
	damaged  []string // zones that cannot be read on etcd, of which that was said
	server   string
	port     string
}

func (c *checker) add(findings ...diagnose.Finding) { c.findings = append(c.findings, findings...) }

func (c *checker) ok(subject, format string, args ...any) {
	c.add(diagnose.Finding{Severity: diagnose.OK, Subject: subject, Problem: fmt.Sprintf(format, args...)})
}

// doesNotStart adds the finding that an error keeps the server from starting.
func (c *checker) doesNotStart(subject string, err error) {
	f := diagnose.FromError(subject, err)
	f.Problem = "the server does not start: " + f.Problem
	c.add(f)
}

// zoneDoesNotStart adds the findings that a zone is not served, or keeps the server from starting, one for each error of its
// master file.
func (c *checker) zoneDoesNotStart(origin string, err error) {
	if errors.Is(err, disk.ErrDamaged) {
		c.add(service.DamagedFinding(origin, err))
		return
	}
	findings := service.SeedFindings(origin, err)
	if findings == nil {
		c.doesNotStart("zone "+origin, err)
		return
	}
	for _, f := range findings {
		f.Problem = "the server does not start: " + f.Problem
		c.add(f)
	}
}

// check examines what has to fit together for a client's update to be accepted: Corefile, keytabs, zones, KDC, clocks, ports.
func check(program string) func(flags *flag.FlagSet) runner {
	return func(flags *flag.FlagSet) runner {
		conf := flags.String("conf", "Corefile", "read the server's Corefile from `FILE`")
		conffile := flags.String("krb5conf", krb5conf.Default(), "find the KDCs by the krb5.conf `FILE`, or by SRV records if it names none")
		offline := flags.Bool("offline", false, "ask neither KDC nor server")
		ccache := flags.String("ccache", "", "ask the KDC with the ticket in the credential cache `FILE`, if it rejects the server's own key")
		var server hostPort
		flags.Var(&server, "server", "ask the running server at `HOST:PORT`, if the Corefile does not say where it is")
		port := portNumber("53")
		flags.Var(&port, "p", "`PORT` of server blocks that name none, as given to the server by -p or -dns.port")
		userName := flags.String("user", "", "examine files as `USER` sees them, the user that the server runs as; needs root")
		output := addOutputFlag(flags)
		return func(s Streams, args []string) (int, error) {
			if len(args) > 0 {
				return 0, &usageError{"check takes no arguments"}
			}
			if *userName != "" {
				if status, done, err := runAs(program, *userName, *conf, flags, s); done || err != nil {
					return status, err
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			c := &checker{ctx: ctx, server: string(server), port: string(port)}
			if !*offline {
				c.kdcs = newKDCs(*conffile, *ccache)
				c.add(c.kdcs.fileFindings(*conffile != krb5conf.Default())...)
			}
			if content, err := c.readCorefile(*conf, s.In); err != nil {
				c.add(diagnose.FromError("Corefile", err))
			} else {
				c.run(*conf, content, *offline)
			}
			var err error
			if output.json {
				err = printJSON(s.Out, c.findings)
			} else {
				err = diagnose.Write(s.Out, c.findings)
			}
			if diagnose.Failed(c.findings) {
				return ExitNo, err
			}
			return ExitOK, err
		}
	}
}

// maxCorefile bounds what is read of a Corefile.
const maxCorefile = 1 << 20

// readCorefile reads the Corefile or, in a process that runAs started, what that passes on.
func (c *checker) readCorefile(conf string, in io.Reader) ([]byte, error) {
	if os.Getenv(corefileOnInput) == "" {
		f, err := os.Open(conf)
		if err != nil {
			return nil, diagnose.WithFix(err, "name the Corefile of the server by -conf")
		}
		defer f.Close()
		in = f
	} else if f, err := os.Open(conf); err == nil {
		f.Close()
	} else {
		c.add(diagnose.Finding{Severity: diagnose.Warning, Subject: "Corefile", Problem: fmt.Sprintf("the user cannot read it: %v", err),
			Fix: "unless this is a temporary copy, give the user the right to read it, and to enter all directories above it"})
	}
	content, err := io.ReadAll(io.LimitReader(in, maxCorefile+1))
	switch {
	case err != nil:
		return nil, diagnose.WithFix(err, "name the Corefile of the server by -conf")
	case len(content) > maxCorefile:
		return nil, fmt.Errorf("%s has more than %d octets", conf, maxCorefile)
	}
	return content, nil
}

func (c *checker) run(conf string, content []byte, offline bool) {
	for _, v := range corefile.UnsetVariables(conf, content) {
		c.add(diagnose.Finding{Severity: diagnose.Warning, Subject: v.Position(),
			Problem: fmt.Sprintf("the environment variable %s is not set here, so that the server would use an empty string", v.Name),
			Fix:     "set it for this command as for the server, or write its value into the Corefile"})
	}
	configuration := corefile.Inspect(conf, content, c.port)
	c.add(configuration.Findings...)
	servers := configuration.Servers
	if len(servers) == 0 && !diagnose.Failed(configuration.Findings) {
		c.add(diagnose.Finding{Severity: diagnose.Error, Subject: conf, Problem: corefile.ErrNoBlock.Error(),
			Fix: "name the Corefile of the server by -conf, or add gsstsig to a server block"})
		return
	}
	c.add(service.SharedZoneFindings(servers)...)
	c.user(configuration)
	c.control(servers)
	var answering []corefile.Server
	for _, server := range servers {
		s, err := service.Open(server.Block)
		if err != nil {
			c.doesNotStart(server.Position, server.Explain(err))
			continue
		}
		c.keytabs(s)
		c.add(s.RuleFindings(configuration.Keys)...)
		c.add(s.StorageFindings()...)
		if findings := databaseAccess(s.Block); len(findings) > 0 {
			c.add(findings...)
			continue // the zones cannot be read
		}
		if s.OnEtcd() && offline {
			if _, err := service.OpenEtcd(&s.Etcd); err != nil {
				c.doesNotStart(s.Position, err)
			}
			continue // the zones are not read
		}
		if s.OnEtcd() && !c.etcd(s) {
			continue // nor are these
		}
		addresses, err := service.ListenAddresses(server.Bind)
		if err != nil {
			c.add(diagnose.Finding{Severity: diagnose.Warning, Subject: server.Position, Problem: err.Error()})
		}
		primaries, others := c.zones(s, addresses)
		if c.kdcs != nil {
			c.kerberos(s, primaries, others)
		}
		if !offline && c.listening(server) {
			answering = append(answering, server)
		}
	}
	if c.local() {
		c.sameDatabases(servers, answering)
	}
}

// keytabs examines the keys.
func (c *checker) keytabs(s *service.Service) {
	c.add(s.FileFindings()...)
	c.add(s.KeyFindings()...)
	c.add(s.NotReady()...)
	c.add(s.RealmFindings()...)
}

// zones examines the zones, and returns the names that clients derive principals from: the MNAMEs, which most use, and
// what else the NS records name.
func (c *checker) zones(s *service.Service, addresses []net.IP) (primaries, others []string) {
	for _, origin := range s.Origins {
		if s.OnEtcd() && slices.Contains(c.damaged, origin) {
			continue
		}
		z, err := copyOf(s, origin, addresses, func(f diagnose.Finding) { c.add(f) })
		if err != nil {
			c.zoneDoesNotStart(origin, err)
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
		findings := s.ApexFindings(snapshot)
		c.add(findings...)
		if len(findings) == 0 {
			c.ok("zone "+origin, "serial %d, primary server %s, which the keytab has a key for; updates %s", snapshot.Serial(), mname, s.Mode(origin))
		}
		if changes, err := s.MasterFileFindings(origin); err != nil {
			c.doesNotStart("zone "+origin, err)
		} else {
			c.add(changes...)
		}
		if err := z.Close(); err != nil {
			c.add(diagnose.FromError("zone "+origin, err))
		}
	}
	return primaries, slices.DeleteFunc(others, func(host string) bool { return slices.Contains(primaries, host) })
}

// fixClocks is the advice about clocks that differ.
const fixClocks = "synchronize this machine and the KDC with the same time server (NTP)"

// clientSkew is what clients show where clocks differ too much.
const clientSkew = `"Clock skew too great"`

// kerberos asks the KDCs about the keytab's realms and principals.
func (c *checker) kerberos(s *service.Service, primaries, others []string) {
	for _, realm := range s.Keytabs.Realms() {
		difference, err := c.kdcs.clock(c.ctx, realm)
		if err != nil {
			c.add(diagnose.Finding{
				Severity: diagnose.Warning, Subject: "realm " + realm,
				Problem: fmt.Sprintf("no KDC answers, so keys and clocks are not compared with its own (the server itself needs no KDC): %v", err),
				Fix:     "name the KDC in krb5.conf (-krb5conf names another file), or add the realm's SRV records _kerberos._udp and _kerberos._tcp to the DNS; -offline leaves the KDC out",
			})
			continue
		}
		skew := s.ClockSkew
		if skew == 0 {
			skew = krb5.DefaultClockSkew
		}
		switch {
		case difference.Abs() > skew:
			c.add(diagnose.Finding{
				Severity: diagnose.Error, Subject: "realm " + realm,
				Problem:     fmt.Sprintf("this machine's clock is %s off the KDC's; %s is permitted", difference.Round(time.Second), skew),
				ClientError: clientSkew, Fix: fixClocks,
			})
		case difference.Abs() > skew/2:
			c.add(diagnose.Finding{
				Severity: diagnose.Warning, Subject: "realm " + realm,
				Problem: fmt.Sprintf("this machine's clock is %s off the KDC's, more than half of what is permitted (%s)", difference.Round(time.Second), skew),
				Fix:     fixClocks,
			})
		default:
			c.ok("realm "+realm, "its KDC answers, and its clock is %s off", difference.Round(time.Millisecond))
		}
		c.principals(s, realm, primaries, diagnose.Error)
		// A client that uses the NS records has others to try, and some of those may be secondaries.
		c.principals(s, realm, others, diagnose.Warning)
	}
}

// principals asks the KDC for a ticket to each service that clients ask for. An error gets the given severity.
func (c *checker) principals(s *service.Service, realm string, hosts []string, severity diagnose.Severity) {
	for _, host := range hosts {
		principal := krb5.Principal{Components: []string{"DNS", strings.TrimSuffix(host, ".")}, Realm: realm}
		subject := "principal " + principal.String()
		var f diagnose.Finding
		if ticket, err := c.kdcs.ticket(c.ctx, s, principal); err != nil {
			f = explainTicket(subject, err)
		} else {
			f = compareKeys(subject, principal, ticket, s.Keytabs.Keys())
		}
		if f.Severity == diagnose.Error {
			f.Severity = severity
		}
		c.add(f)
	}
}

// explainTicket says why the KDC issued no ticket.
func explainTicket(subject string, err error) diagnose.Finding {
	text := err.Error()
	f := diagnose.Finding{Severity: diagnose.Error, Subject: subject}
	switch {
	case strings.Contains(text, "KDC_ERR_S_PRINCIPAL_UNKNOWN"):
		f.Problem, f.ClientError = "the KDC does not know it", service.ClientUnknown
		f.Fix = "create the principal and export its key to the keytab (kadmin addprinc and ktadd; samba-tool spn add and " +
			"domain exportkeytab; setspn and ktpass), or name another primary server in the zone's SOA record"
	case strings.Contains(text, "KRB_AP_ERR_SKEW"), strings.Contains(text, "clock skew with KDC"): // by the KDC, by gokrb5
		f.Problem, f.ClientError, f.Fix = "the clocks of the KDC and this machine differ too much for a ticket", clientSkew, fixClocks
	case strings.Contains(text, "KDC_ERR_PREAUTH_FAILED"), strings.Contains(text, "KRB_AP_ERR_BAD_INTEGRITY"),
		strings.Contains(text, "Decrypting_Error"):
		f.Problem, f.ClientError, f.Fix = "the KDC has another key than the keytab", service.ClientUnacceptable, "export the key to the keytab again"
	default:
		f.Severity, f.Problem = diagnose.Warning, "the KDC issues no ticket to the server's own principal, so its key is not compared: "+text
		f.Fix = "get a ticket of any principal by kinit, and run check with its file (klist prints it): -ccache FILE"
	}
	return f
}

// compareKeys says whether the keytab has the key that a ticket is encrypted in.
func compareKeys(subject string, principal krb5.Principal, ticket ticketKey, keys []krb5.KeyInfo) diagnose.Finding {
	var versions []string
	for _, k := range keys {
		if !sameService(k.Principal, principal) || k.Enctype != ticket.enctype {
			continue
		}
		if k.KVNO == ticket.version {
			return diagnose.Finding{Severity: diagnose.OK, Subject: subject, Problem: fmt.Sprintf("the KDC issues tickets in key version %d, %s, which the keytab has",
				ticket.version, ticket.enctype)}
		}
		versions = append(versions, fmt.Sprint(k.KVNO))
	}
	has := "no key of that type"
	if len(versions) > 0 {
		has = "only version " + strings.Join(versions, ", ")
	}
	return diagnose.Finding{
		Severity: diagnose.Error, Subject: subject,
		Problem: fmt.Sprintf("the KDC issues tickets in key version %d, %s, but the keytab has %s",
			ticket.version, ticket.enctype, has),
		ClientError: service.ClientUnacceptable, Fix: "export the key to the keytab again; the server reloads it by itself",
	}
}

// sameService compares as the acceptor does: without case, but for the realm.
func sameService(a, b krb5.Principal) bool {
	return a.Realm == b.Realm && slices.EqualFunc(a.Components, b.Components, strings.EqualFold)
}

// listening queries the running server, and reports whether it answers for the block's zone.
func (c *checker) listening(server corefile.Server) (answers bool) {
	for _, at := range c.serverAddresses(server) {
		m := new(dns.Msg)
		m.SetQuestion(server.Origins[0], dns.TypeSOA)
		var certificate *x509.Certificate // of the server
		asked := false                    // for one of the client
		client := &dns.Client{Net: at.network, Timeout: 2 * time.Second, TLSConfig: &tls.Config{
			InsecureSkipVerify: true, // whether clients trust the certificate is theirs to say
			VerifyConnection: func(state tls.ConnectionState) error {
				certificate = state.PeerCertificates[0]
				return nil
			},
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return new(tls.Certificate), nil
			},
		}}
		reply, _, err := client.ExchangeContext(c.ctx, m, at.address)
		subject := fmt.Sprintf("port %s/%s", at.address, at.network)
		fix := "start the server, or open the port; clients need both UDP and TCP"
		if at.network == overTLS {
			subject, fix = fmt.Sprintf("port %s/tls", at.address), "start the server, or open the port"
		}
		if certificate != nil && !usesCertificate(server.TLS, certificate) {
			c.add(diagnose.Finding{Severity: diagnose.Warning, Subject: subject,
				Problem: fmt.Sprintf("the server uses another certificate than the Corefile names, valid until %s", certificate.NotAfter.UTC().Format(time.DateTime)),
				Fix:     "reload CoreDNS by SIGUSR1, so that it reads the file again; or, if that is another server, stop it"})
		}
		switch {
		case err != nil && asked:
			c.ok(subject, "answers, and asks for a certificate of the client, which check does not have")
		case err != nil:
			c.add(diagnose.Finding{Severity: diagnose.Warning, Subject: subject, Problem: "no answer: " + err.Error(), Fix: fix})
		case !isSOA(reply, server.Origins[0]):
			c.add(diagnose.Finding{Severity: diagnose.Error, Subject: subject,
				Problem: fmt.Sprintf("the server there does not serve %s (%s): it is another one, or runs with another Corefile",
					server.Origins[0], dns.RcodeToString[reply.Rcode]),
				Fix: "stop the other server, or start this one with the Corefile that was checked"})
		default:
			c.ok(subject, "answers for %s", server.Origins[0])
			answers = true
		}
	}
	return answers
}

// usesCertificate reports whether a certificate is one of the Corefile's, or can be: plugins may get certificates by themselves.
func usesCertificate(config *tls.Config, certificate *x509.Certificate) bool {
	return config == nil || len(config.Certificates) == 0 || slices.ContainsFunc(config.Certificates, func(pair tls.Certificate) bool {
		return len(pair.Certificate) > 0 && bytes.Equal(pair.Certificate[0], certificate.Raw)
	})
}

// isSOA reports whether a reply is that of a server of the zone itself.
func isSOA(reply *dns.Msg, origin string) bool {
	return reply.Authoritative && len(reply.Answer) > 0 && reply.Answer[0].Header().Rrtype == dns.TypeSOA &&
		dns.CanonicalName(reply.Answer[0].Header().Name) == origin
}

// overTLS is DNS over TLS in the words of dns.Client.
const overTLS = "tcp-tls"

// serverAddress is where a server block listens, and by which network of dns.Client.
type serverAddress struct{ network, address string }

// serverAddresses are where the server block listens by plain DNS and DNS over TLS, as far as the Corefile tells.
func (c *checker) serverAddresses(server corefile.Server) []serverAddress {
	if c.server != "" {
		return []serverAddress{{"udp", c.server}, {"tcp", c.server}}
	}
	hosts := slices.DeleteFunc(slices.Clone(server.Bind), func(word string) bool {
		ip := net.ParseIP(word)
		return ip == nil || ip.IsUnspecified()
	})
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	var addresses []serverAddress
	for _, key := range server.Keys {
		scheme, rest := parse.Transport(key)
		networks, port := []string{"udp", "tcp"}, c.port
		switch scheme {
		case transport.DNS:
		case transport.TLS:
			networks, port = []string{overTLS}, transport.TLSPort
		default:
			continue // no update is taken there
		}
		if _, p, err := net.SplitHostPort(rest); err == nil && p != "" {
			port = p
		}
		for _, host := range hosts {
			for _, network := range networks {
				if at := (serverAddress{network, net.JoinHostPort(host, port)}); !slices.Contains(addresses, at) {
					addresses = append(addresses, at)
				}
			}
		}
	}
	return addresses
}
