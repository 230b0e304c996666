package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/krb5conf"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/adzone"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/axfr"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// serverFlags say how load signs requests to a server, and what it changes in the zone that it gets.
type serverFlags struct {
	key     string
	gss     bool
	service string
	primary string
	replace bool

	krb5conf, ccache, keytab, principal string
}

func addServerFlags(flags *flag.FlagSet) *serverFlags {
	f := new(serverFlags)
	flags.StringVar(&f.key, "key", "", "axfr: sign with the HMAC key in `FILE`, a key statement as tsig-keygen prints it")
	flags.BoolVar(&f.gss, "gss", false, "axfr: sign by GSS-TSIG")
	flags.StringVar(&f.krb5conf, "krb5conf", krb5conf.Default(), "find the KDCs by the krb5.conf `FILE`, or by SRV records if it names none")
	flags.StringVar(&f.ccache, "ccache", "", "ask with the ticket in the credential cache `FILE` (default: the one that KRB5CCNAME names)")
	flags.StringVar(&f.keytab, "keytab", "", "ask with a key in the keytab `FILE` instead of a ticket")
	flags.StringVar(&f.principal, "principal", "", "ask as `PRINCIPAL`, whose key -keytab has")
	flags.StringVar(&f.service, "service", "", "ask for a ticket for the server `PRINCIPAL` (default DNS/HOST for axfr, ldap/HOST for ldap)")
	flags.StringVar(&f.primary, "primary", "", "axfr, ldap: make `HOST` the primary server in the SOA record, and add it to the NS records")
	flags.BoolVar(&f.replace, "replace-ns", false, "with -primary: remove the zone's other NS records")
	return f
}

// serverSource returns the server that a word of the command line names, or nil if the word is the name of a file. The path of
// an ldap URL is the distinguished name of the zone's object (RFC 4516).
func serverSource(word string) (*url.URL, error) {
	scheme, _, found := strings.Cut(word, "://")
	if !found || scheme != "axfr" && scheme != "ldap" {
		return nil, nil
	}
	u, err := url.Parse(word)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || scheme == "axfr" && u.Path != "" && u.Path != "/" {
		return nil, &usageError{fmt.Sprintf("%q is not of the form axfr://HOST[:PORT] or ldap://HOST[:PORT][/DN]", word)}
	}
	return u, nil
}

// validate reports options that do not fit each other.
func (f *serverFlags) validate(server *url.URL) error {
	kerberos := f.gss || f.ccache != "" || f.keytab != "" || f.principal != "" || f.service != ""
	switch {
	case server == nil && (kerberos || f.key != "" || f.primary != "" || f.replace):
		return &usageError{"-key, -gss, -ccache, -keytab, -principal, -service, -primary and -replace-ns are for a zone that a server has, not for a FILE"}
	case f.replace && f.primary == "":
		return &usageError{"-replace-ns needs -primary"}
	case f.key != "" && server.Scheme == "ldap":
		return &usageError{"-key is for axfr; ldap needs a ticket or a keytab of Kerberos"}
	case f.key != "" && kerberos:
		return &usageError{"-key and the options of Kerberos exclude each other"}
	case f.keytab != "" && f.ccache != "":
		return &usageError{"-keytab and -ccache exclude each other"}
	case (f.keytab == "") != (f.principal == ""):
		return &usageError{"-keytab and -principal belong together"}
	}
	return nil
}

// byKerberos reports whether requests are to be signed by GSS-TSIG.
func (f *serverFlags) byKerberos() bool {
	return f.gss || f.ccache != "" || f.keytab != "" || f.service != ""
}

// credentials returns those of who asks the server.
func (f *serverFlags) credentials() (*client.Credentials, error) {
	if _, err := krb5conf.Load(f.krb5conf); err != nil {
		return nil, diagnose.WithFix(err, "name the krb5.conf of the realm by -krb5conf, or leave that out for %s", krb5conf.Default())
	}
	if f.keytab != "" {
		return client.FromKeytab(f.krb5conf, f.keytab, f.principal)
	}
	cache := f.ccache
	if cache == "" {
		cache = os.Getenv("KRB5CCNAME")
	}
	if cache == "" {
		cache = fmt.Sprintf("/tmp/krb5cc_%d", os.Getuid())
	}
	credentials, err := client.FromCCache(f.krb5conf, cache)
	if err != nil {
		return nil, diagnose.WithFix(err, "get a ticket by kinit, or name another cache by -ccache, or a keytab by -keytab and -principal")
	}
	return credentials, nil
}

// servicePrincipal is the principal of the server.
func (f *serverFlags) servicePrincipal(kind string, server *url.URL) (string, error) {
	if f.service != "" {
		return f.service, nil
	}
	host := server.Hostname()
	if net.ParseIP(host) != nil {
		return "", diagnose.WithFix(fmt.Errorf("%s: Kerberos knows the server by its name, not by its address", host),
			"write the server's host name, or name its principal by -service %s/HOST", kind)
	}
	return kind + "/" + strings.ToLower(strings.TrimSuffix(host, ".")), nil
}

// transfer fetches a zone by AXFR.
func (f *serverFlags) transfer(ctx context.Context, server *url.URL, origin string, p *progress) ([]store.Record, error) {
	port := server.Port()
	if port == "" {
		port = "53"
	}
	// A key of GSS-TSIG is known to one server: all connections go to one address.
	addresses, err := net.DefaultResolver.LookupHost(ctx, server.Hostname())
	if err != nil {
		return nil, err
	}
	config := axfr.Config{Address: net.JoinHostPort(addresses[0], port), Zone: origin, Progress: p.add}
	switch {
	case f.key != "":
		key, err := readKeyFile(f.key)
		if err != nil {
			return nil, err
		}
		config.Sign = key.Sign
	case f.byKerberos():
		key, end, err := f.negotiate(ctx, server, config.Address)
		if err != nil {
			return nil, err
		}
		defer end()
		config.Sign = key.Sign
	}
	records, err := axfr.Fetch(ctx, config)
	var refused *axfr.Refused
	if errors.As(err, &refused) && (refused.Rcode == dns.RcodeRefused || refused.Rcode == dns.RcodeNotAuth) {
		err = diagnose.WithFix(err, "permit the transfer at the server (allow-transfer in BIND, transfer in CoreDNS), or sign it by -key or -gss")
	}
	return records, err
}

// negotiate makes a key of GSS-TSIG. end deletes it.
func (f *serverFlags) negotiate(ctx context.Context, server *url.URL, address string) (key *client.Context, end func(), err error) {
	principal, err := f.servicePrincipal("DNS", server)
	if err != nil {
		return nil, nil, err
	}
	credentials, err := f.credentials()
	if err != nil {
		return nil, nil, err
	}
	c, err := client.Dial(ctx, client.Config{Server: address, Network: "tcp", Credentials: credentials, ServicePrincipal: principal})
	if err != nil {
		return nil, nil, err
	}
	if key, err = c.Negotiate(ctx); err != nil {
		c.Close()
		return nil, nil, err
	}
	return key, func() {
		_ = key.Delete(ctx) // the server drops it later anyway
		c.Close()
	}, nil
}

// readServer returns the zone that a server has, with the settings of one from Active Directory.
func (f *serverFlags) readServer(ctx context.Context, server *url.URL, origin string, p *progress, warn func(diagnose.Finding)) (seed, error) {
	name := server.Scheme + "://" + server.Host
	var from seed
	var err error
	if server.Scheme == "ldap" {
		from, err = f.directory(ctx, server, origin, p, func(problem string) {
			warn(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin, Problem: name + ": " + problem})
		})
	} else {
		from.records, err = f.transfer(ctx, server, origin, p)
	}
	if err != nil {
		return seed{}, fmt.Errorf("%s: %w", name, err)
	}
	if from.records, err = leaveOutside(from.records, origin, name, warn); err != nil {
		return seed{}, err
	}
	if from.records, err = zone.CheckSeed(from.records, service.SeedConfig(origin, name, warn)); err != nil {
		return seed{}, err
	}
	from.records, err = withPrimary(from.records, f.primary, f.replace)
	return from, err
}

// directory reads a zone from Active Directory.
func (f *serverFlags) directory(ctx context.Context, server *url.URL, origin string, p *progress, warn func(string)) (seed, error) {
	principal, err := f.servicePrincipal("ldap", server)
	if err != nil {
		return seed{}, err
	}
	credentials, err := f.credentials()
	if err != nil {
		return seed{}, err
	}
	port := server.Port()
	if port == "" {
		port = "389"
	}
	z, err := adzone.Read(ctx, adzone.Config{
		Server: adzone.Server{Address: net.JoinHostPort(server.Hostname(), port), ServicePrincipal: principal, Credentials: credentials},
		Zone:   origin, DN: strings.TrimPrefix(server.Path, "/"), Warn: warn, Progress: p.add,
	})
	if err != nil {
		return seed{}, err
	}
	return seed{records: z.Records, owners: z.Owners, settings: &z.Settings}, nil
}

// leaveOutside leaves out records that are not in the zone, as BIND and Knot DNS do when they get them by a transfer.
func leaveOutside(records []store.Record, origin, name string, warn func(diagnose.Finding)) ([]store.Record, error) {
	apex, err := dnswire.ParseName(origin, nil)
	if err != nil {
		return nil, err
	}
	kept, first := records[:0], ""
	outside := 0
	for _, r := range records {
		if dnswire.IsSubdomain([]byte(r.Name), apex) {
			kept = append(kept, r)
			continue
		}
		if outside++; first == "" {
			first = dnswire.NameText([]byte(r.Name))
		}
	}
	if outside > 0 {
		warn(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
			Problem: fmt.Sprintf("%s: %s left out, the first of them at %s", name, agree(outside, "record outside the zone is", "records outside the zone are"), first)})
	}
	return kept, nil
}

// withPrimary makes a host the primary server of a zone, whose first record is the SOA record: the SOA record names it, and an
// NS record too, or with replace the only one of the zone's name. An empty host changes nothing.
func withPrimary(records []store.Record, host string, replace bool) ([]store.Record, error) {
	if host == "" {
		return records, nil
	}
	name, err := dnswire.ParseName(dns.Fqdn(host), nil)
	if err != nil {
		return nil, fmt.Errorf("primary server %q: %w", host, err)
	}
	soa := &records[0]
	soa.Data = slices.Concat(name, soa.Data[dnswire.NameLen(soa.Data):])
	ns := store.Record{Name: soa.Name, Type: dns.TypeNS, Class: dns.ClassINET, TTL: soa.TTL, Data: name}
	others := slices.DeleteFunc(records, func(r store.Record) bool {
		if r.Type != dns.TypeNS || !dnswire.EqualNames([]byte(r.Name), []byte(ns.Name)) {
			return false
		}
		ns.TTL = r.TTL
		return replace || dnswire.EqualNames(r.Data, name)
	})
	return append(others, ns), nil
}
