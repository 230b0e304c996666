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

// serviceHosts lists the host names of the service principals that a block accepts, canonical and in keytab order.
func serviceHosts(keys []krb5.KeyInfo, only []krb5.Principal) []string {
	var hosts []string
	for _, k := range keys {
		if !isService(k.Principal) || (len(only) > 0 && !slices.ContainsFunc(only, k.Principal.Equal)) {
			continue
		}
		host := dns.CanonicalName(k.Principal.Components[1])
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

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
		e := entry{k.Principal.String(), k.Version, k.File}
		if _, ok := types[e]; !ok {
			order = append(order, e)
		}
		types[e] = append(types[e], krb5.EncryptionTypeName(k.EncryptionType))
	}
	lines := make([]string, len(order))
	for i, e := range order {
		lines[i] = fmt.Sprintf("keytab %s: %s version %d (%s)", e.file, e.principal, e.version, strings.Join(types[e], ", "))
	}
	return lines
}

// warnAboutNames compares the names that clients derive their ticket request from, the zone's MNAME and name servers,
// with the principals of the keytab. A client whose KDC does not know DNS/<MNAME> fails before it sends us anything,
// so nothing but this can tell the administrator why.
func warnAboutNames(z *zone.Zone, hosts []string, realms []string) []string {
	snapshot := z.Snapshot()
	realm := "<REALM>"
	if len(realms) > 0 {
		realm = realms[0]
	}
	have := "DNS/" + strings.Join(withoutDots(hosts), ", DNS/")
	var warnings []string
	mname := dns.CanonicalName(snapshot.SOA().Ns)
	if !slices.Contains(hosts, mname) {
		warnings = append(warnings, fmt.Sprintf(
			"zone %s: its SOA names %s as primary server (MNAME), but the keytab holds %s. "+
				"Clients ask their KDC for DNS/%s@%s and fail with \"Server not found in Kerberos database\", "+
				"or with \"TKEY is unacceptable\" where the KDC knows that name. "+
				"Mend: name %s in the zone's SOA, or make the principal DNS/%s and export it to the keytab",
			z.Origin(), mname, have, withoutDot(mname), realm, withoutDot(hosts[0]), withoutDot(mname)))
	}
	for _, rr := range snapshot.RRset(z.Origin(), dns.TypeNS) {
		server := dns.CanonicalName(rr.(*dns.NS).Ns)
		if server == mname || slices.Contains(hosts, server) {
			continue
		}
		warnings = append(warnings, fmt.Sprintf(
			"zone %s: its name server %s has no DNS/%s in the keytab. Clients that derive the principal from the NS record "+
				"(net ads dns) and reach this server under that name fail; a secondary on another machine is fine",
			z.Origin(), server, withoutDot(server)))
	}
	return warnings
}

func withoutDot(name string) string { return strings.TrimSuffix(name, ".") }

func withoutDots(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = withoutDot(n)
	}
	return out
}
