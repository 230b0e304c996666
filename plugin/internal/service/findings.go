package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// What clients show where the server's keytab or Corefile is at fault.
const (
	ClientUnacceptable = `"TKEY is unacceptable"`                         // the server rejects the ticket
	ClientUnknown      = `"Server not found in Kerberos database"`        // the KDC does not know the service principal
	clientRefused      = `"update failed: REFUSED"`                       // no rule permits the update
	clientMismatch     = ClientUnknown + " or " + ClientUnacceptable      // it depends on the KDC
	clientNoAddress    = `"couldn't get address for" the name (nsupdate)` // the primary server has no address record
)

// KeyFindings lists the keys of the keytabs by file and principal: versions and encryption types, never the keys themselves.
func (s *Service) KeyFindings() []diagnose.Finding {
	type entry struct {
		principal string
		version   uint32
		file      string
	}
	var order []entry
	types := make(map[entry][]string)
	for _, k := range s.Keytabs.Keys() {
		e := entry{k.Principal.String(), k.KVNO, k.File}
		if _, ok := types[e]; !ok {
			order = append(order, e)
		}
		if name := k.Enctype.String(); !slices.Contains(types[e], name) { // a keytab may have a key twice
			types[e] = append(types[e], name)
		}
	}
	findings := make([]diagnose.Finding, len(order))
	for i, e := range order {
		findings[i] = diagnose.Finding{Severity: diagnose.OK, Subject: "keytab " + e.file,
			Problem: fmt.Sprintf("%s version %d (%s)", e.principal, e.version, strings.Join(types[e], ", "))}
	}
	return findings
}

// ServiceKeys returns the keys that tickets may be encrypted in: those of the accepted service principals.
func (s *Service) ServiceKeys() []krb5.KeyInfo {
	return slices.DeleteFunc(s.Keytabs.Keys(), func(k krb5.KeyInfo) bool { return acceptedHost(k.Principal, s.Principals) == "" })
}

// FileFindings returns what is wrong with the keytab files although they can be read.
func (s *Service) FileFindings() []diagnose.Finding {
	var findings []diagnose.Finding
	for _, w := range s.Keytabs.Warnings() {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "keytab " + w.File, Problem: w.Problem, Fix: w.Fix})
	}
	return findings
}

// NotReady returns why the server can accept no ticket: the keytabs have no key of its service principals that is of a
// permitted encryption type. The answer changes when keytabs are reloaded.
func (s *Service) NotReady() []diagnose.Finding {
	config := krb5.AcceptorConfig{Enctypes: s.Enctypes, AllowRC4: s.AllowRC4}
	permitted := config.PermittedEnctypes()
	var found []string
	keys := s.Keytabs.Keys()
	for _, k := range keys {
		if acceptedHost(k.Principal, s.Principals) == "" {
			continue
		}
		if slices.Contains(permitted, k.Enctype) {
			return nil
		}
		found = append(found, k.Enctype.String())
	}
	f := diagnose.Finding{Severity: diagnose.Error, Subject: "keytab " + strings.Join(s.Block.Keytabs, ", "), ClientError: ClientUnacceptable}
	if len(found) == 0 {
		f.Problem = fmt.Sprintf("it no longer has a key of %s, only of %s", servicesOf(s.Hosts), principalNames(keys))
		f.Fix = "export the key to the keytab again"
		return []diagnose.Finding{f}
	}
	var names []string
	for _, id := range permitted {
		names = append(names, id.String())
	}
	slices.Sort(found)
	f.Problem = fmt.Sprintf("its keys of %s are of type %s, but only %s are permitted, so the server accepts no client", servicesOf(s.Hosts),
		strings.Join(slices.Compact(found), ", "), strings.Join(names, ", "))
	f.Fix = "give the principal AES keys and export them to the keytab, or permit the type by enctypes or allow_rc4"
	return []diagnose.Finding{f}
}

// RealmFindings returns the realms of the realm property that differ from a realm of the keytabs in case alone: realms are
// compared with case.
func (s *Service) RealmFindings() []diagnose.Finding {
	var findings []diagnose.Finding
	for _, realm := range s.Block.Realms {
		for _, known := range s.Keytabs.Realms() {
			if realm == known || !strings.EqualFold(realm, known) || slices.Contains(s.Block.Realms, known) {
				continue
			}
			findings = append(findings, diagnose.Finding{Severity: diagnose.Error, Subject: "realm " + realm,
				Problem:     fmt.Sprintf("it permits no client of the keytab's realm %s, since the case of realms matters", known),
				ClientError: ClientUnacceptable,
				Fix:         "write realm " + known})
		}
	}
	return findings
}

// RuleFindings returns what the grant and deny lines do to updates as a whole, which is that they replace the default rule,
// and which of them never decide. keys are the names of the HMAC keys of the whole Corefile, nil if they are not known.
func (s *Service) RuleFindings(keys []string) []diagnose.Finding {
	setting := policy.Setting{Realms: s.Realms, Keys: keys}
	for _, origin := range s.Origins {
		setting.Zones = append(setting.Zones, policy.ZoneSetting{Origin: origin, Mode: s.Mode(origin)})
	}
	return slices.Concat(s.defaultFindings(), ineffective(setting, s.Rules),
		unmatched(setting, "proxies", s.Proxies, false), unmatched(setting, "transfers", s.TransferWords, true))
}

func (s *Service) defaultFindings() []diagnose.Finding {
	if len(s.Rules) == 0 {
		return nil
	}
	f := diagnose.Finding{Severity: diagnose.OK, Subject: "rules",
		Problem: fmt.Sprintf("the grant and deny lines replace the default rule, \"%s\": a signed update that none of them grants is refused",
			s.defaultRule())}
	if !slices.ContainsFunc(s.Rules, policy.Rule.Grants) {
		f.Severity = diagnose.Warning
		f.ClientError = clientRefused
		f.Fix = fmt.Sprintf("add a grant line, such as \"%s\"", s.defaultRule())
	}
	return []diagnose.Finding{f}
}

// ineffective returns a warning for each rule that never decides.
func ineffective(setting policy.Setting, rules []policy.Rule) []diagnose.Finding {
	var findings []diagnose.Finding
	for _, found := range setting.Ineffective(rules) {
		f := diagnose.Finding{Severity: diagnose.Warning, Subject: found.Rule.Position(),
			Problem: fmt.Sprintf("\"%s\" never decides: %s", found.Rule.Text(), found.Reason), Fix: found.Fix}
		if found.Rule.Grants() {
			f.ClientError = clientRefused
		}
		findings = append(findings, f)
	}
	return findings
}

// unmatched returns a warning for each identity of a property that includes no client.
func unmatched(setting policy.Setting, property string, words []string, ownerForm bool) []diagnose.Finding {
	var findings []diagnose.Finding
	for _, word := range words {
		if reason, fix := setting.UnmatchedIdentity(word, ownerForm); reason != "" {
			findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: property,
				Problem: fmt.Sprintf("\"%s\" includes no client: %s", word, reason), Fix: fix})
		}
	}
	return findings
}

// defaultRule is the line that has the effect of no rules, in secure mode.
func (s *Service) defaultRule() string { return "grant " + s.Realms[0] + " owner ." }

// StorageFindings returns a warning for each of the block's zones if they are in memory only, one if others can put another
// directory in the place of the databases', and what is doubtful in the connection to etcd.
func (s *Service) StorageFindings() []diagnose.Finding {
	if s.Database != "" {
		above := disk.Replaceable(s.Database)
		if above == "" {
			return nil
		}
		return []diagnose.Finding{{Severity: diagnose.Warning, Subject: "database " + s.Database,
			Problem: "others can write to " + above + " and put another directory in its place", Fix: "chmod go-w " + above + ", or chmod +t " + above}}
	}
	if s.OnEtcd() {
		return etcdFindings(&s.Etcd)
	}
	var findings []diagnose.Finding
	for _, origin := range s.Origins {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
			Problem: "it has no database and is in memory only: updates, owners and the serial are lost at a restart",
			Fix:     "add \"database DIR\" to the gsstsig block"})
	}
	return findings
}

// SharedZoneFindings returns a warning for each zone that several server blocks have in different places: in memory, where
// each block has a copy of its own, or in different directories.
func SharedZoneFindings(servers []corefile.Server) []diagnose.Finding {
	var order []string
	places, descriptions := make(map[string]map[string]bool), make(map[string][]string)
	for _, server := range servers {
		for _, origin := range server.Origins {
			place := server.Database
			description := server.Position + " in " + place
			switch {
			case server.OnEtcd():
				place = server.Etcd.Key()
				description = server.Position + " on " + server.Etcd.String()
			case place == "":
				place, description = server.Position, server.Position+" in memory"
			}
			if places[origin] == nil {
				places[origin] = make(map[string]bool)
				order = append(order, origin)
			}
			places[origin][place] = true
			descriptions[origin] = append(descriptions[origin], description)
		}
	}
	var findings []diagnose.Finding
	for _, origin := range order {
		if len(places[origin]) > 1 {
			findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
				Problem: fmt.Sprintf("several server blocks have it (%s), each in a copy of its own: an update changes one of them", strings.Join(descriptions[origin], ", ")),
				Fix:     "add the same \"database DIR\" to all of these blocks"})
		}
	}
	return findings
}

// DamagedFinding says what follows from damage to a zone's database, which is err.
func DamagedFinding(origin string, err error) diagnose.Finding {
	f := diagnose.FromError("zone "+origin, err)
	// Some errors of the engine have two lines.
	f.Problem = strings.Join(strings.Fields(f.Problem), " ") + "; the server answers all queries and updates of the zone SERVFAIL, and serves the others"
	if f.Fix != "" {
		f.Fix += ", then reload the Corefile (SIGUSR1) or restart the server"
	}
	f.ClientError = "SERVFAIL for names in " + withoutDot(origin)
	return f
}

// ApexFindings compares the names that clients derive the service principal from, the zone's MNAME and name servers, with the
// principals of the keytab, and looks for the address of the primary server. A client whose KDC does not know the principal
// fails before it sends anything to this server, so that nothing else can tell the administrator why.
func (s *Service) ApexFindings(snapshot *zone.Snapshot) []diagnose.Finding {
	var findings []diagnose.Finding
	subject := "zone " + snapshot.Origin()
	mname := dns.CanonicalName(snapshot.SOA().Ns)
	if !slices.Contains(s.Hosts, mname) {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Error, Subject: subject,
			Problem: fmt.Sprintf("its SOA record names %s as primary server (MNAME), so clients ask their KDC for DNS/%s@%s, but the keytab has only %s",
				mname, withoutDot(mname), s.Realms[0], servicesOf(s.Hosts)),
			ClientError: clientMismatch,
			Fix: fmt.Sprintf("name %s in the zone's SOA record, or create the principal DNS/%s and export its key to the keytab",
				withoutDot(s.Hosts[0]), withoutDot(mname))})
	} else if !hasDomain(mname) && !snapshot.InZone(mname) {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: subject,
			Problem:     fmt.Sprintf("its SOA record names %s as primary server (MNAME), which is no full host name, so clients find no address for it", mname),
			ClientError: clientNoAddress,
			Fix:         "name the server with its domain in the zone's SOA and NS records, and have a key of DNS/ and that name in the keytab"})
	}
	for _, rr := range snapshot.RRset(snapshot.Origin(), dns.TypeNS) {
		server := dns.CanonicalName(rr.(*dns.NS).Ns)
		if server == mname || slices.Contains(s.Hosts, server) {
			continue
		}
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: subject,
			Problem: fmt.Sprintf("its NS record names %s, but the keytab has no key of DNS/%s. This is right for a secondary on another machine; "+
				"where %s is this server, clients that derive the principal from NS records (net ads dns) fail", server, withoutDot(server), server),
			ClientError: clientMismatch,
			Fix:         fmt.Sprintf("if %s is this server, create the principal DNS/%s and export its key to the keytab", server, withoutDot(server))})
	}
	if snapshot.InZone(mname) && len(snapshot.RRset(mname, dns.TypeA))+len(snapshot.RRset(mname, dns.TypeAAAA)) == 0 {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: subject,
			Problem:     fmt.Sprintf("its primary server %s has no address in the zone, so clients cannot find it by the SOA record", mname),
			ClientError: clientNoAddress,
			Fix:         fmt.Sprintf("add an A or AAAA record for %s to the zone", mname)})
	}
	return findings
}

func withoutDot(name string) string { return strings.TrimSuffix(name, ".") }

// servicesOf lists service principals for messages.
func servicesOf(hosts []string) string {
	names := make([]string, len(hosts))
	for i, host := range hosts {
		names[i] = "DNS/" + withoutDot(host)
	}
	return strings.Join(names, ", ")
}
