package gsstsig

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// isService tells whether a principal is one that clients ask tickets for: DNS/host, in any case.
func isService(p krb5.Principal) bool {
	return len(p.Components) == 2 && strings.EqualFold(p.Components[0], "DNS")
}

// serviceHost is the canonical host name of a service principal that a block accepts, "" of any other principal.
func serviceHost(p krb5.Principal, only []krb5.Principal) string {
	if !isService(p) || (len(only) > 0 && !slices.ContainsFunc(only, p.Equal)) {
		return ""
	}
	return dns.CanonicalName(p.Components[1])
}

// serviceHosts lists the host names of the service principals that a block accepts, canonical and in keytab order.
func serviceHosts(keys []krb5.KeyInfo, only []krb5.Principal) []string {
	var hosts []string
	for _, k := range keys {
		if host := serviceHost(k.Principal, only); host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// DescribeKeys says in one line each which keys the keytabs hold, and nothing of the keys themselves.
func (s *Service) DescribeKeys() []string { return describeKeys(s.Keytabs.Keys()) }

// describeKeys says in one line each which keys were read, for the log: principal, version, encryption types.
func describeKeys(keys []krb5.KeyInfo) []string {
	type entry struct {
		principal string
		version   uint32
		file      string
	}
	var order []entry
	types := make(map[entry][]string)
	for _, k := range keys {
		e := entry{k.Principal.String(), k.KVNO, k.File}
		if _, ok := types[e]; !ok {
			order = append(order, e)
		}
		types[e] = append(types[e], k.Enctype.String())
	}
	lines := make([]string, len(order))
	for i, e := range order {
		lines[i] = fmt.Sprintf("keytab %s: %s version %d (%s)", e.file, e.principal, e.version, strings.Join(types[e], ", "))
	}
	return lines
}

// Mismatch is a name server of a zone whose service principal the keytab does not hold.
type Mismatch struct {
	Zone, Host string // canonical
	Primary    bool   // the MNAME of the zone's SOA, from which most clients derive the principal; else only an NS
	holds      []string
	realm      string
}

// Mismatches compares the names that clients derive their ticket request from, the zone's MNAME and name servers, with
// the principals of the keytab. A client whose KDC does not know DNS/<MNAME> fails before it sends us anything, so
// nothing but this can tell the administrator why.
func (s *Service) Mismatches(snapshot *zone.Snapshot) []Mismatch {
	at := Mismatch{Zone: snapshot.Origin(), holds: s.Hosts, realm: "<REALM>"}
	if len(s.Realms) > 0 {
		at.realm = s.Realms[0]
	}
	var found []Mismatch
	mname := dns.CanonicalName(snapshot.SOA().Ns)
	if !slices.Contains(s.Hosts, mname) {
		m := at
		m.Host, m.Primary = mname, true
		found = append(found, m)
	}
	for _, rr := range snapshot.RRset(snapshot.Origin(), dns.TypeNS) {
		server := dns.CanonicalName(rr.(*dns.NS).Ns)
		if server == mname || slices.Contains(s.Hosts, server) {
			continue
		}
		m := at
		m.Host = server
		found = append(found, m)
	}
	return found
}

// Problem says what is wrong, ClientError what a client then shows, and Mend what to do about it.
func (m Mismatch) Problem() string {
	if !m.Primary {
		return fmt.Sprintf("its name server %s has no DNS/%s in the keytab. Clients that derive the principal from "+
			"the NS record (net ads dns) and reach this server under that name fail; a secondary on another machine is fine",
			m.Host, withoutDot(m.Host))
	}
	return fmt.Sprintf("its SOA names %s as primary server (MNAME), but the keytab holds DNS/%s. "+
		"Clients ask their KDC for DNS/%s@%s", m.Host, strings.Join(withoutDots(m.holds), ", DNS/"), withoutDot(m.Host), m.realm)
}

// ClientError is the text that clients show.
func (m Mismatch) ClientError() string {
	return `"Server not found in Kerberos database", or "TKEY is unacceptable" where the KDC knows that name`
}

// Mend is what an administrator does about it.
func (m Mismatch) Mend() string {
	return fmt.Sprintf("name %s in the zone's SOA, or make the principal DNS/%s and export it to the keytab",
		withoutDot(m.holds[0]), withoutDot(m.Host))
}

// warning is all of it in one line of the log.
func (m Mismatch) warning() string {
	problem := "zone " + m.Zone + ": " + m.Problem()
	if !m.Primary {
		return problem
	}
	return problem + " and fail with " + m.ClientError() + ". Mend: " + m.Mend()
}

func withoutDot(name string) string { return strings.TrimSuffix(name, ".") }

func withoutDots(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = withoutDot(n)
	}
	return out
}
