package admin

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// may asks the policy about an update of one record, on the state that the zone is in.
func may(s Streams, flags *flag.FlagSet, args []string) (int, error) {
	conf := flags.String("conf", "Corefile", "Corefile of the server")
	deletion := flags.Bool("delete", false, "ask about the deletion of the RRset instead of the addition of a record")
	client := flags.String("client", "", "address that the update comes from, by TCP, for tcp-self and 6to4-self")
	var groups list
	flags.Var(&groups, "group", "SID of a group of the principal, as rules name it; may be given several times")
	args, err := parse(flags, args)
	if err != nil {
		return 0, err
	}
	if len(args) < 3 {
		return 0, &usageError{"a principal, a name and a type are needed"}
	}
	for _, group := range groups {
		if !strings.HasPrefix(group, "S-1-") {
			return 0, &usageError{fmt.Sprintf("group %q is not a SID, such as S-1-5-21-1-2-3-512", group)}
		}
	}
	id, err := identity(args[0], *client, groups)
	if err != nil {
		return 0, &usageError{err.Error()}
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
	service, origin, err := find(servers, name)
	if err != nil {
		return 0, err
	}
	if id.Kind == policy.Kerberos && !slices.Contains(service.Realms, id.Realm) {
		fmt.Fprintf(s.Out, "%s may not %s: clients of the realm %s are not let in, only those of %s; the property realm lists them\n",
			id, describe(update), id.Realm, strings.Join(service.Realms, ", "))
		return ExitNo, nil
	}
	decision, err := decide(service, origin, id, update)
	if err != nil {
		return 0, err
	}
	verb, status := "may not", ExitNo
	if decision.Allow {
		verb, status = "may", ExitOK
	}
	fmt.Fprintf(s.Out, "%s %s %s", id, verb, describe(update))
	if decision.Rule != "" {
		fmt.Fprintf(s.Out, ", by %s", decision.Rule)
	}
	if decision.Reason != "" {
		fmt.Fprintf(s.Out, ": %s", decision.Reason)
	}
	fmt.Fprintln(s.Out)
	for _, note := range decision.Notes {
		fmt.Fprintf(s.Out, "note: %s\n", note)
	}
	if service.Database == "" {
		fmt.Fprintf(s.Out, "note: zone %s is kept in memory. What a server has there since its start, owners too, is not known here\n", origin)
	}
	return status, nil
}

// identity reads who sends the update: a Kerberos principal, the name of an HMAC key with its final dot, or "anonymous".
func identity(word, client string, groups []string) (policy.Identity, error) {
	id := policy.Identity{Groups: groups}
	if client != "" {
		a, err := netip.ParseAddr(client)
		if err != nil {
			return id, fmt.Errorf("client %q is not an IP address", client)
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

// samples are the data of records that are asked about without any.
var samples = map[uint16]string{
	dns.TypeA:    "192.0.2.1",
	dns.TypeAAAA: "2001:db8::1",
	dns.TypeTXT:  `"sample"`,
}

// change makes the update section.
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
			return nil, fmt.Errorf("an addition of type %s wants its data: NAME %s RDATA", dns.Type(rrtype), dns.Type(rrtype))
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

// find returns the block that serves a name, and the zone.
func find(servers []corefile.Server, name string) (*gsstsig.Service, string, error) {
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
	service, err := gsstsig.OpenService(block)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", block.Position, err)
	}
	return service, origin, nil
}

// decide opens a copy of the zone and asks the zone's policy about the update. The copy is thrown away.
func decide(service *gsstsig.Service, origin string, id policy.Identity, update []dns.RR) (zone.Decision, error) {
	z, err := copyOf(service, origin, nil)
	if err != nil {
		return zone.Decision{}, err
	}
	defer z.Close()
	rules, err := service.Policy(origin, []string{z.Snapshot().SOA().Ns})
	if err != nil {
		return zone.Decision{}, err
	}
	m := new(dns.Msg)
	m.SetUpdate(origin)
	m.Ns = update
	result := z.Apply(context.Background(), rules.Update(id, m))
	if result.Decision.Rule == "" && result.Decision.Reason == "" && result.Err != nil {
		return zone.Decision{}, result.Err // not for the policy: a malformed update
	}
	return result.Decision, nil
}
