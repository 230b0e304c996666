package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// A Service is a gsstsig block with its keytabs. It does not change, but the keys of its keytabs do when they are
// reloaded. It is safe for concurrent use.
type Service struct {
	*corefile.Block
	Keytabs    *krb5.Keytabs
	Principals []krb5.Principal // of the principal property, with realm; empty: every DNS/host of the keytabs
	Hosts      []string         // of the accepted service principals, canonical, never empty
	Realms     []string         // permitted realms of clients
	Transit    *krb5.TransitPolicy
	RequirePAC []string // those of Realms whose tickets must have a PAC
}

// Open reads the block's keytabs and krb5.conf. Its errors name the file and the fix, but not the block.
func Open(b *corefile.Block) (*Service, error) {
	keytabs, err := krb5.OpenKeytabs(b.Keytabs...)
	if err != nil {
		return nil, err
	}
	s := &Service{Block: b, Keytabs: keytabs, Realms: b.Realms}
	keys := keytabs.Keys()
	if s.Principals, err = resolvePrincipals(b.Principals, keys); err != nil {
		return nil, err
	}
	s.Hosts = acceptedHosts(keys, s.Principals)
	if len(s.Hosts) == 0 {
		return nil, diagnose.WithFix(
			fmt.Errorf("keytab %s: it has no key of a DNS/HOST principal, only of %s", strings.Join(b.Keytabs, ", "), principalNames(keys)),
			"export the key of DNS/HOST to it, where HOST is the name of this server in the zone's SOA record: clients ask their KDC for that principal")
	}
	if len(s.Realms) == 0 {
		s.Realms = keytabs.Realms()
	}
	s.RequirePAC = b.RequirePAC
	if b.RequirePACOfAll {
		s.RequirePAC = s.Realms
	}
	for _, realm := range s.RequirePAC {
		if !slices.Contains(s.Realms, realm) {
			return nil, diagnose.WithFix(fmt.Errorf("require_pac: clients of the realm %s are not accepted, only those of %s", realm, strings.Join(s.Realms, ", ")),
				"correct the realm, whose letters have the right case, or add it to the property realm")
		}
	}
	s.Transit = new(krb5.TransitPolicy)
	if b.Krb5conf != "" {
		if s.Transit, err = krb5.ReadTransitPolicy(b.Krb5conf); err != nil {
			return nil, diagnose.WithFix(err, "correct the file, or the property krb5conf, or leave that out: trusts then follow the hierarchy of realms")
		}
	}
	s.Transit.TrustKDC = b.TrustKDC
	return s, nil
}

// Policy makes the policy of one of the block's zones. The primaries are the MNAMEs of all of them: with the hosts of the
// keytab they are the server's own names, which are protected. ownerOf and isTarget are those of [policy.Config].
func (s *Service) Policy(origin string, primaries []string, ownerOf func(name []byte) string, isTarget func(name []byte) bool) (*policy.Policy, error) {
	return policy.New(policy.Config{
		Mode:      s.Mode(origin),
		Rules:     s.Rules,
		Realms:    s.Realms,
		Protected: slices.Concat(s.Hosts, primaries),
		Proxies:   s.Proxies,
		Reclaim:   s.Reclaim,
		OwnerOf:   ownerOf,
		IsTarget:  isTarget,
	})
}

// ZoneOf returns the zone of the block that a name is in, which is the closest one, or "".
func (s *Service) ZoneOf(name string) string {
	closest := ""
	for _, origin := range s.Origins {
		if dns.IsSubDomain(origin, name) && len(origin) > len(closest) {
			closest = origin
		}
	}
	return closest
}

// resolvePrincipals finds the principals that the principal property names in the keytab, and fills in the realm where
// the Corefile leaves it out.
func resolvePrincipals(wanted []krb5.Principal, keys []krb5.KeyInfo) ([]krb5.Principal, error) {
	var found []krb5.Principal
	for _, w := range wanted {
		n := len(found)
		for _, k := range keys {
			if slices.Equal(k.Principal.Components, w.Components) && (w.Realm == "" || w.Realm == k.Principal.Realm) &&
				!slices.ContainsFunc(found, k.Principal.Equal) {
				found = append(found, k.Principal)
			}
		}
		if len(found) == n {
			return nil, diagnose.WithFix(fmt.Errorf("principal %s is not in the keytab, which has keys of %s", w, principalNames(keys)),
				"export its key to the keytab, or correct the property principal")
		}
	}
	return found, nil
}

// principalNames lists the principals of a keytab once each, for messages.
func principalNames(keys []krb5.KeyInfo) string {
	var names []string
	for _, k := range keys {
		if name := k.Principal.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// acceptedHost is the canonical host name of a service principal that a block accepts, "" of any other principal.
// Without a list of principals a block accepts DNS/HOST, in any case.
func acceptedHost(p krb5.Principal, accepted []krb5.Principal) string {
	if len(p.Components) != 2 || !strings.EqualFold(p.Components[0], "DNS") {
		return ""
	}
	if len(accepted) > 0 && !slices.ContainsFunc(accepted, p.Equal) {
		return ""
	}
	return dns.CanonicalName(p.Components[1])
}

// acceptedHosts lists the host names of the service principals that a block accepts, canonical and in keytab order. Names without
// a domain come last: adcli and net write DNS/NS1 before DNS/ns1.corp.example.com, and no client finds the address of the host NS1.
func acceptedHosts(keys []krb5.KeyInfo, accepted []krb5.Principal) []string {
	var hosts []string
	for _, k := range keys {
		if host := acceptedHost(k.Principal, accepted); host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	full := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return !hasDomain(host) })
	short := slices.DeleteFunc(hosts, hasDomain)
	return append(full, short...)
}

// hasDomain reports whether a host name has more than one label.
func hasDomain(host string) bool { return dns.CountLabel(host) > 1 }
