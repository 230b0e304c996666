package gsstsig

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// Service is a gsstsig block together with what its keytabs hold: all that follows from the configuration alone,
// before a zone is opened or a socket. The plugin starts from it, and the commands of the binary examine it.
type Service struct {
	*corefile.Block
	Keytabs    *krb5.Keytabs
	Principals []krb5.Principal // service principals of the principal property, with realm; empty: every DNS/host
	Hosts      []string         // of the service principals that tickets are taken for, canonical, never empty
	Realms     []string         // client realms that are let in
	Transit    *krb5.TransitPolicy
}

// OpenService reads the block's keytabs and resolves what depends on them.
func OpenService(b *corefile.Block) (*Service, error) {
	keytabs, err := krb5.OpenKeytabs(b.Keytabs...)
	if err != nil {
		return nil, err
	}
	s := &Service{Block: b, Keytabs: keytabs, Realms: b.Realms}
	keys := keytabs.Keys()
	if s.Principals, err = resolveServices(b.Principals, keys); err != nil {
		return nil, err
	}
	s.Hosts = serviceHosts(keys, s.Principals)
	if len(s.Hosts) == 0 {
		return nil, fmt.Errorf("no DNS/<host> principal in %v, which holds %v: "+
			"clients ask their KDC for DNS/<the server's host name>, so the keytab needs that key", b.Keytabs, principalNames(keys))
	}
	if len(s.Realms) == 0 {
		s.Realms = keytabs.Realms()
	}
	s.Transit = new(krb5.TransitPolicy)
	if b.Krb5conf != "" {
		if s.Transit, err = krb5.ReadTransitPolicy(b.Krb5conf); err != nil {
			return nil, err
		}
	}
	s.Transit.TrustKDC = b.TrustKDC
	return s, nil
}

// UnusableKeys says that no ticket can be taken, and what to do about it, where all keys that tickets are made with are
// of encryption types that are not let in; otherwise it is empty. Keytabs change while the server runs, and the answer
// with them.
func (s *Service) UnusableKeys() (problem, mend string) {
	config := krb5.AcceptorConfig{Enctypes: s.Encryption, AllowRC4: s.AllowRC4}
	letIn := config.PermittedEnctypes()
	var held, names []string
	keys := s.Keytabs.Keys()
	for _, k := range keys {
		if serviceHost(k.Principal, s.Principals) == "" {
			continue
		}
		if slices.Contains(letIn, k.Enctype) {
			return "", ""
		}
		held = append(held, k.Enctype.String())
	}
	if len(held) == 0 {
		return fmt.Sprintf("%v holds no key of DNS/%s any more, but those of %v", s.Block.Keytabs, strings.Join(withoutDots(s.Hosts), ", DNS/"), principalNames(keys)),
			"export the key to the keytab again"
	}
	for _, id := range letIn {
		names = append(names, id.String())
	}
	slices.Sort(held)
	return fmt.Sprintf("the keys of DNS/%s in %v are of type %s, and what is let in is %s: no client gets in", strings.Join(withoutDots(s.Hosts), ", DNS/"),
			s.Block.Keytabs, strings.Join(slices.Compact(held), ", "), strings.Join(names, ", ")),
		"give the principal AES keys and export them to the keytab, or let the type in by enctypes or allow_rc4"
}

// MistypedRealms are the realms of the realm property that are no realm of the keytabs, but are one in other letters:
// realms differ by case.
func (s *Service) MistypedRealms() (problems []string) {
	for _, realm := range s.Block.Realms {
		for _, known := range s.Keytabs.Realms() {
			if realm != known && strings.EqualFold(realm, known) && !slices.Contains(s.Block.Realms, known) {
				problems = append(problems, fmt.Sprintf("realm %s lets nobody in from the keytab's realm %s: case counts", realm, known))
			}
		}
	}
	return problems
}

// Seed says what a zone of the block starts with: its master file or the generated apex, and what to call that. The
// addresses are those that the server answers on.
func (s *Service) Seed(origin string, addresses []net.IP) (source string, seed func() ([]dns.RR, error)) {
	file, ok := s.Seeds[origin]
	if !ok {
		return "the generated apex", func() ([]dns.RR, error) {
			return generatedApex(origin, primaryFor(origin, s.Hosts), addresses), nil
		}
	}
	return file, func() ([]dns.RR, error) {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("seed of zone %s: %w", origin, err)
		}
		defer f.Close()
		return zone.ParseSeed(f, origin, file)
	}
}

// Policy makes the policy of one of the block's zones. The primaries are the MNAMEs of all of them: with the hosts of the
// keytab they are the server's own names.
func (s *Service) Policy(origin string, primaries []string) (*policy.Policy, error) {
	return policy.New(policy.Config{
		Mode:              s.Mode(origin),
		Rules:             s.Rules,
		Realms:            s.Realms,
		Protected:         slices.Concat(s.Hosts, primaries),
		Proxies:           s.Proxies,
		TombstoneLifetime: s.Tombstones,
	})
}

// resolveServices finds the principals that the principal property names in the keytab, filling in the realm where
// the Corefile leaves it out.
func resolveServices(wanted []krb5.Principal, keys []krb5.KeyInfo) ([]krb5.Principal, error) {
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
			return nil, fmt.Errorf("principal %s is not in the keytab, which holds %v", w, principalNames(keys))
		}
	}
	return found, nil
}

// principalNames lists the principals of a keytab once each, for messages.
func principalNames(keys []krb5.KeyInfo) []string {
	var names []string
	for _, k := range keys {
		if name := k.Principal.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// primaryFor picks the host that a generated SOA names as primary server: one inside the zone if there is one.
func primaryFor(origin string, hosts []string) string {
	for _, host := range hosts {
		if dns.IsSubDomain(origin, host) {
			return host
		}
	}
	return hosts[0]
}

// generatedApex makes the records of a zone that has no seed file. A primary server inside the zone needs an address
// there, or nobody finds it.
func generatedApex(origin, mname string, addresses []net.IP) []dns.RR {
	records := zone.GeneratedApex(origin, mname)
	if !dns.IsSubDomain(origin, mname) {
		return records
	}
	ttl := records[0].Header().Ttl
	for _, ip := range addresses {
		header := dns.RR_Header{Name: mname, Class: dns.ClassINET, Ttl: ttl}
		if v4 := ip.To4(); v4 != nil {
			header.Rrtype = dns.TypeA
			records = append(records, &dns.A{Hdr: header, A: v4})
		} else {
			header.Rrtype = dns.TypeAAAA
			records = append(records, &dns.AAAA{Hdr: header, AAAA: ip})
		}
	}
	return records
}
