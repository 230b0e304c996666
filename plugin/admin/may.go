package admin

import (
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// may prints what the policy decides on an update of one record in the present state of the zone.
func may(flags *flag.FlagSet) runner {
	conf := flags.String("conf", "Corefile", "Corefile of the server, a `FILE`")
	deletion := flags.Bool("delete", false, "delete the RRset instead of adding a record")
	client := flags.String("client", "", "`ADDRESS` that the update comes from by TCP, for the rules tcp-self and 6to4-self")
	var groups list
	flags.Var(&groups, "group", "`SID` of a group of the principal; may be given several times")
	account := flags.String("account", "", "`NAME` of the principal's account in Active Directory; a machine's ends in $")
	sid := flags.String("sid", "", "`SID` of the principal's account, which decides about names whose owner has one")
	noPAC := flags.Bool("no-pac", false, "the ticket has no PAC, though others of its realm have one")
	output := addOutputFlag(flags)
	return func(s Streams, args []string) (int, error) {
		if len(args) < 3 {
			return 0, &usageError{"PRINCIPAL, NAME and TYPE are needed"}
		}
		for _, group := range groups {
			if !strings.HasPrefix(group, "S-1-") {
				return 0, &usageError{fmt.Sprintf("-group %q is not a SID, such as S-1-5-21-1-2-3-512", group)}
			}
		}
		if *sid != "" && !strings.HasPrefix(*sid, "S-1-") {
			return 0, &usageError{fmt.Sprintf("-sid %q is not a SID, such as S-1-5-21-1-2-3-1104", *sid)}
		}
		if *noPAC && (*account != "" || *sid != "" || len(groups) > 0) {
			return 0, &usageError{"a ticket with -no-pac tells no -account, -sid and -group"}
		}
		id, err := identity(args[0], *client, groups)
		if err != nil {
			return 0, &usageError{err.Error()}
		}
		if id.Kind == policy.Kerberos {
			id.Account, id.SID, id.HasPAC, id.RealmNamesAccounts = *account, *sid, !*noPAC, *noPAC
		}
		name := dns.Fqdn(args[1])
		update, err := change(name, args[2], args[3:], *deletion)
		if err != nil {
			return 0, &usageError{err.Error()}
		}
		servers, err := corefile.ReadFile(*conf)
		if err != nil {
			return 0, err
		}
		block, origin, err := blockOf(servers, name)
		if err != nil {
			return 0, err
		}
		decision, err := decide(block, origin, id, update)
		if err != nil {
			return 0, err
		}
		result := decisionJSON{
			Permitted: decision.Allow, Identity: id.String(), Update: describe(update), Rule: decision.Rule, Reason: decision.Reason, Notes: decision.Notes,
		}
		if block.Database == "" {
			result.Notes = append(result.Notes, fmt.Sprintf("zone %s has no database and is in memory only: what a running server has changed is not known here, owners included", origin))
		}
		if output.json {
			err = printJSON(s.Out, result)
		} else {
			err = result.print(s.Out)
		}
		if result.Permitted {
			return ExitOK, err
		}
		return ExitNo, err
	}
}

// print prints the decision as a sentence.
func (d decisionJSON) print(w io.Writer) error {
	verb := "may not"
	if d.Permitted {
		verb = "may"
	}
	text := fmt.Sprintf("%s %s %s", d.Identity, verb, d.Update)
	if d.Rule != "" {
		text += ", by " + d.Rule
	}
	if d.Reason != "" {
		text += ": " + d.Reason
	}
	text += "\n"
	for _, note := range d.Notes {
		text += "note: " + note + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// identity reads the sender of an update: a Kerberos principal, the name of an HMAC key with its final dot, or "anonymous".
func identity(word, client string, groups []string) (policy.Identity, error) {
	id := policy.Identity{Groups: groups}
	if client != "" {
		a, err := netip.ParseAddr(client)
		if err != nil {
			return id, fmt.Errorf("-client %q is not an IP address", client)
		}
		id.Client, id.TCP = a.Unmap(), true
	}
	switch {
	case word == "anonymous":
		return id, nil
	case strings.HasSuffix(word, ".") && !strings.Contains(word, "@"):
		id.Kind, id.Name = policy.Static, dns.CanonicalName(word)
		return id, nil
	}
	p, err := krb5.ParsePrincipal(word)
	if err != nil {
		return id, fmt.Errorf("principal %q: %w", word, err)
	}
	if p.Realm == "" {
		return id, fmt.Errorf("principal %q needs its realm: %s@REALM; an HMAC key is named with a final dot", word, word)
	}
	id.Kind, id.Name, id.Components, id.Realm = policy.Kerberos, p.String(), p.Components, p.Realm
	return id, nil
}

// samples are the rdata of types that may be given without.
var samples = map[uint16]string{
	dns.TypeA:    "192.0.2.1",
	dns.TypeAAAA: "2001:db8::1",
	dns.TypeTXT:  `"sample"`,
}

// change makes the update section of the message.
func change(name, typeName string, rdata []string, deletion bool) ([]dns.RR, error) {
	rrtype, ok := recordType(typeName)
	if !ok {
		return nil, fmt.Errorf("%q is not a record type", typeName)
	}
	m := new(dns.Msg)
	if deletion {
		m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: name, Rrtype: rrtype}}})
		return m.Ns, nil
	}
	data := strings.Join(rdata, " ")
	if data == "" {
		if data, ok = samples[rrtype]; !ok {
			return nil, fmt.Errorf("a record of type %s needs rdata: NAME %s RDATA", dns.Type(rrtype), dns.Type(rrtype))
		}
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s 3600 IN %s %s", name, dns.Type(rrtype), data))
	if err != nil || rr == nil {
		return nil, fmt.Errorf("%s %q: %w", dns.Type(rrtype), data, err)
	}
	return []dns.RR{rr}, nil
}

// recordType reads a type, also one without a name (RFC 3597 section 5).
func recordType(word string) (uint16, bool) {
	word = strings.ToUpper(word)
	if rrtype, ok := dns.StringToType[word]; ok {
		return rrtype, true
	}
	number, ok := strings.CutPrefix(word, "TYPE")
	rrtype, err := strconv.ParseUint(number, 10, 16)
	return uint16(rrtype), ok && err == nil
}

func describe(update []dns.RR) string {
	h := update[0].Header()
	if h.Class == dns.ClassANY {
		return fmt.Sprintf("delete %s %s", h.Name, dns.Type(h.Rrtype))
	}
	return "add " + strings.Join(strings.Fields(update[0].String()), " ")
}

// blockOf returns the service of the block that has a name, and the name's zone.
func blockOf(servers []corefile.Server, name string) (*service.Service, string, error) {
	var block *corefile.Block
	var origin string
	for _, server := range servers {
		for _, o := range server.Origins {
			if dns.IsSubDomain(o, name) && len(o) > len(origin) {
				block, origin = server.Block, o
			}
		}
	}
	if block == nil {
		return nil, "", fmt.Errorf("%s is in no zone of a gsstsig block", name)
	}
	found, err := service.Open(block)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", block.Position, block.Explain(err))
	}
	return found, origin, nil
}

// decide returns the decision on an update: by the permitted realms, as at the handshake, then by the zone's policy on a
// copy of the zone.
func decide(s *service.Service, origin string, id policy.Identity, update []dns.RR) (zone.Decision, error) {
	if id.Kind == policy.Kerberos && !slices.Contains(s.Realms, id.Realm) {
		return zone.Decision{Reason: fmt.Sprintf("clients of the realm %s are not accepted, only those of %s. Fix: add the realm to the property realm",
			id.Realm, strings.Join(s.Realms, ", "))}, nil
	}
	z, err := copyOf(s, origin, nil, func(diagnose.Finding) {})
	if err != nil {
		return zone.Decision{}, err
	}
	defer z.Close()
	rules, err := s.Policy(origin, []string{z.Snapshot().SOA().Ns}, func(name []byte) string { return ownerOf(s, name) })
	if err != nil {
		return zone.Decision{}, err
	}
	m := new(dns.Msg)
	m.SetUpdate(origin)
	m.Ns = update
	message, err := m.Pack()
	if err != nil {
		return zone.Decision{}, err
	}
	proposal, err := z.Propose(message)
	if err != nil {
		return zone.Decision{}, err
	}
	u := rules.Update(id, message)
	if u.Refusal != nil {
		return *u.Refusal, nil
	}
	return u.Authorize(proposal), nil
}

// ownerOf returns the recorded owner of a name with records in the databases of the block's zones, or "".
func ownerOf(s *service.Service, name []byte) string {
	text := dnswire.NameText(name)
	origin := s.ZoneOf(text)
	if origin == "" || !s.HasDatabase(origin) {
		return ""
	}
	snapshot, err := readDatabase(s.DatabaseOf(origin), origin)
	if err != nil {
		return ""
	}
	if owner, _ := snapshot.Owner(text); owner.Deleted.IsZero() {
		return owner.Principal
	}
	return ""
}
