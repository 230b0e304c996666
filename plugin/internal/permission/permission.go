// Package permission answers what a client may do: for the command may, and for the form of the status page.
package permission

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// Identity reads the sender of an update: a Kerberos principal, the name of an HMAC key with its final dot, or "anonymous". The
// principal's ticket is taken to have a PAC, without which rules that deny something to a group would mean it.
func Identity(word, client string, groups []string) (policy.Identity, error) {
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
	id.HasPAC = true
	return id, nil
}

// samples are the rdata of types that may be given without.
var samples = map[uint16]string{
	dns.TypeA:    "192.0.2.1",
	dns.TypeAAAA: "2001:db8::1",
	dns.TypeTXT:  `"sample"`,
}

// Change makes the update section of a message that adds a record, or deletes an RRset. The rdata of an added record may be left
// out where a sample will do.
func Change(name, typeName string, rdata []string, deletion bool) ([]dns.RR, error) {
	rrtype, ok := recordType(typeName)
	if !ok {
		return nil, fmt.Errorf("%q is not a record type", typeName)
	}
	owner, err := dnswire.ParseName(dns.Fqdn(name), nil)
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", name, err)
	}
	m := new(dns.Msg)
	if deletion {
		m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: dnswire.NameText(owner), Rrtype: rrtype}}})
		return m.Ns, nil
	}
	data := strings.Join(rdata, " ")
	if data == "" {
		if data, ok = samples[rrtype]; !ok {
			return nil, fmt.Errorf("a record of type %s needs rdata: NAME %s RDATA", dns.Type(rrtype), dns.Type(rrtype))
		}
	}
	rr, err := record(owner, rrtype, data)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", dns.Type(rrtype), data, err)
	}
	return []dns.RR{rr}, nil
}

// record reads one record. Name and rdata may be anyone's, and a master file has directives that open files: the name is written
// with escapes, and the parser is one that permits no $INCLUDE, which that of dns.NewRR does.
func record(name []byte, rrtype uint16, data string) (dns.RR, error) {
	line := fmt.Sprintf("%s 3600 IN %s %s\n", dnswire.NameText(name), dns.Type(rrtype), data)
	parser := dns.NewZoneParser(strings.NewReader(line), ".", "")
	rr, ok := parser.Next()
	_, more := parser.Next()
	switch {
	case parser.Err() != nil, !ok, more:
		return nil, errors.New("it is not the data of one record of that type")
	}
	return rr, nil
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

// Describe returns an update section of [Change] in words.
func Describe(update []dns.RR) string {
	h := update[0].Header()
	if h.Class == dns.ClassANY {
		return fmt.Sprintf("delete %s %s", h.Name, dns.Type(h.Rrtype))
	}
	return "add " + strings.Join(strings.Fields(update[0].String()), " ")
}

// Decide returns the decision on an update in the present state of a zone: by the permitted realms, as at the handshake, then by
// the zone's policy. A frozen zone takes no update that they permit. Nothing changes.
//
// In Active Directory names are recorded with the SID of their owner, and who asks about a principal need not know its SID: a
// principal without one is taken for the account of that name which the name, or one above it, is recorded with. A note says so.
func Decide(realms []string, rules *policy.Policy, z *zone.Zone, id policy.Identity, update []dns.RR) (zone.Decision, error) {
	if id.Kind == policy.Kerberos && !slices.Contains(realms, id.Realm) {
		reason := fmt.Sprintf("clients of the realm %s are not accepted, only those of %s", id.Realm, strings.Join(realms, ", "))
		if i := slices.IndexFunc(realms, func(realm string) bool { return strings.EqualFold(realm, id.Realm) }); i >= 0 {
			reason = fmt.Sprintf("the realm is %s: realms are compared with case", realms[i])
		}
		return zone.Decision{Cause: causeRealm, Reason: reason}, nil
	}
	m := new(dns.Msg)
	m.SetUpdate(z.Origin())
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
	d := u.Authorize(proposal)
	if sid := recordedSID(z.Snapshot(), id, update[0].Header().Name); !d.Allow && sid != "" {
		id.SID = sid
		if d = rules.Update(id, message).Authorize(proposal); d.Allow {
			d.Notes = append(d.Notes, id.String()+" is taken for the account with the SID "+sid+", which the name, or one above it, is recorded with")
		}
	}
	if note := groupNote(id, rules, d.Allow, func(member policy.Identity) zone.Decision { return rules.Update(member, message).Authorize(proposal) }); note != "" {
		d.Notes = append(d.Notes, note)
	}
	if since, frozen := z.Frozen(); frozen && d.Allow {
		return zone.Decision{Rule: "frozen", Cause: zone.CauseFrozen, Reason: "the zone is frozen since " + since.Format(time.RFC3339)}, nil
	}
	return d, nil
}

// recordedSID returns the SID that the owner of a name, or of the closest name above it with the same principal, is recorded with. It
// is "" if the identity has a SID of its own, or is one that has none.
func recordedSID(snapshot *zone.Snapshot, id policy.Identity, name string) string {
	if id.Kind != policy.Kerberos || id.SID != "" || id.Account != "" || id.RealmNamesAccounts {
		return ""
	}
	for off, end := 0, false; !end && dns.IsSubDomain(snapshot.Origin(), name[off:]); off, end = dns.NextLabel(name, off) {
		owner, _ := snapshot.Owner(name[off:])
		principal, sid := policy.SplitOwner(owner.Principal)
		if sid != "" && strings.EqualFold(principal, id.Name) && strings.HasSuffix(principal, "@"+id.Realm) {
			return sid
		}
	}
	return ""
}

// groupNote says which group's members are decided on otherwise than a client whose groups the question does not name, the first of
// which that is so; "" if there is none.
func groupNote(id policy.Identity, rules *policy.Policy, allow bool, decide func(policy.Identity) zone.Decision) string {
	tellsNone := id.RealmNamesAccounts && id.Account == ""
	if id.Kind != policy.Kerberos || len(id.Groups) > 0 || tellsNone {
		return ""
	}
	for _, rule := range rules.Rules() {
		words := strings.Fields(rule) // its position stands before it
		at := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "sid:") })
		if at < 1 || words[at-1] != "grant" && words[at-1] != "deny" {
			continue
		}
		group, member := strings.TrimPrefix(words[at], "sid:"), id
		member.Groups = []string{group}
		d := decide(member)
		if d.Allow == allow {
			continue
		}
		what := "may"
		if allow {
			what = "may not"
		}
		return fmt.Sprintf("no group of %s is known here, and a member of %s %s, by \"%s\". Fix: ask by coredns gsstsig may -group SID", id.String(), group, what, d.Rule)
	}
	return ""
}

// View returns a decision of [Decide] on an update of a zone in words, with the fix of a refusal.
func View(origin string, id policy.Identity, update []dns.RR, d zone.Decision) view.Decision {
	v := view.Decision{Permitted: d.Allow, Identity: id.String(), Update: Describe(update), Rule: d.Rule, Reason: d.Reason, Notes: d.Notes}
	if !d.Allow {
		v.Cause = d.Cause
		v.Fix = Refusal{Cause: d.Cause, Zone: origin, Name: d.Name, Identity: v.Identity, Signed: id.Kind != policy.Anonymous}.Fix()
	}
	return v
}
