package administration

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Identity is the administrator, as log and rules know it.
var Identity = policy.Identity{Kind: policy.Administrator}

// A Zone is a zone and the policy that decides what the administrator may do with it.
type Zone struct {
	*zone.Zone
	Policy *policy.Policy
	// Realms are those whose clients are accepted.
	Realms []string
}

// apply does a transaction. The decision of the policy comes before check, which may refuse on the state that the transaction
// would apply to, and may claim and release names.
func (z Zone) apply(ctx context.Context, s *zone.Sections, check func(*zone.Proposal, *zone.Decision)) zone.Result {
	u := z.Policy.Update(Identity, nil)
	authorize := u.Authorize
	u.Sections = s
	u.Authorize = func(p *zone.Proposal) zone.Decision {
		d := authorize(p)
		if d.Allow && check != nil {
			check(p, &d)
		}
		return d
	}
	return z.Apply(ctx, u)
}

// applied describes a transaction that was done.
func applied(z Zone, r zone.Result) view.Applied {
	removed, added := WithoutSerial(r.Removed, r.Added)
	a := view.Applied{Zone: z.Origin(), From: r.Before, To: r.After, Changed: r.Changed, Notes: r.Decision.Notes,
		Removed: namedRecords(removed), Added: namedRecords(added)}
	return a
}

// WithoutSerial returns the records of a change without the SOA record, which is the first one, if nothing but its serial has
// changed: every change raises that.
func WithoutSerial(removed, added []store.Record) (lost, got []store.Record) {
	if len(removed) == 0 || len(added) == 0 {
		return removed, added
	}
	a, b := &removed[0], &added[0]
	if a.Type != dns.TypeSOA || b.Type != dns.TypeSOA || a.TTL != b.TTL || !SameData(dns.TypeSOA, a.Data, b.Data) {
		return removed, added
	}
	return removed[1:], added[1:]
}

func namedRecords(records []store.Record) []view.NamedRecord {
	list := []view.NamedRecord{}
	for i := range records {
		list = append(list, namedRecord(&records[i]))
	}
	return list
}

// Own makes a principal the owner of a name that has records or a tombstone. Nothing is changed if it is the owner already.
func (z Zone) Own(ctx context.Context, name, owner string) (view.Ownership, zone.Result, error) {
	return z.setOwner(ctx, name, owner)
}

// Release takes the owner of a name away. A name with records is the administrator's then; a tombstone goes.
func (z Zone) Release(ctx context.Context, name string) (view.Ownership, zone.Result, error) {
	return z.setOwner(ctx, name, "")
}

func (z Zone) setOwner(ctx context.Context, name, owner string) (view.Ownership, zone.Result, error) {
	wire, err := z.name(name)
	if err != nil {
		return view.Ownership{}, zone.Result{}, err
	}
	change := view.Ownership{Zone: z.Origin(), Name: text(wire), Owner: owner}
	var missing error
	r := z.apply(ctx, new(zone.Sections), func(_ *zone.Proposal, d *zone.Decision) {
		if denial := z.Policy.DeniesAdministrator(wire); denial != nil {
			*d = *denial
			return
		}
		state := z.Snapshot()
		before, owned := state.Owner(change.Name)
		change.Before = before.Principal
		change.Tombstone = owned && !before.Deleted.IsZero()
		switch {
		case owner == "" && !owned:
			missing = fmt.Errorf("%s has no owner", change.Name)
		case owner == before.Principal && owned:
			return // it is the owner already
		case owner != "" && !owned && !state.Exists(change.Name):
			missing = diagnose.WithFix(fmt.Errorf("%s has neither records nor a former owner", change.Name),
				"add a record first, or let the client create the name: it becomes the owner then")
		case owner == "":
			d.Released = []string{string(wire)}
		default:
			d.Own = []zone.Claim{{Name: string(wire), Principal: owner}}
		}
		if missing != nil {
			*d = zone.Decision{Rule: d.Rule, Reason: missing.Error()}
			return
		}
		d.Notes = append(d.Notes, change.String())
	})
	if missing != nil {
		return change, r, missing
	}
	change.Warning = z.stranger(owner)
	return change, r, failure(z, r)
}

// name reads a name of the zone.
func (z Zone) name(word string) ([]byte, error) {
	wire, err := parseName(word)
	if err != nil {
		return nil, err
	}
	if !z.Snapshot().InZone(text(wire)) {
		return nil, fmt.Errorf("%s is not in the zone %s", text(wire), z.Origin())
	}
	return wire, nil
}

// ParseOwner reads an owner: a principal with its realm and perhaps, after a space, the SID of its account; the name of an HMAC
// key with its final dot; or first-come, for the first client that signs. Owners of keys and first-come may have the form in which
// they are recorded and shown.
func ParseOwner(word string) (string, error) {
	switch {
	case word == "first-come", word == zone.FirstComeOwner:
		return zone.FirstComeOwner, nil
	case strings.HasSuffix(word, ".") && !strings.Contains(word, "@"):
		return policy.Identity{Kind: policy.Static, Name: strings.TrimPrefix(word, "key:")}.Owner(), nil
	}
	principal, sid := policy.SplitOwner(word)
	p, err := krb5.ParsePrincipal(principal)
	if err != nil {
		return "", fmt.Errorf("principal %q: %w", principal, err)
	}
	if p.Realm == "" {
		return "", diagnose.WithFix(fmt.Errorf("principal %q has no realm", principal),
			"write %s@REALM; the name of an HMAC key has a final dot", principal)
	}
	if sid != "" {
		return p.String() + " " + sid, nil
	}
	return p.String(), nil
}

// parseRecordedOwner is ParseOwner for an owner in the text of a zone, which may also be none of a client.
func parseRecordedOwner(word string) (string, error) {
	switch word {
	case zone.AdministratorOwner, zone.SignedOwner:
		return word, nil
	}
	return ParseOwner(word)
}

// stranger returns a warning if an owner is a principal of a realm whose clients are not accepted, "" if it is not.
func (z Zone) stranger(owner string) string {
	name, _ := policy.SplitOwner(owner)
	p, err := krb5.ParsePrincipal(name)
	if err != nil || p.Realm == "" || len(z.Realms) == 0 || slices.Contains(z.Realms, p.Realm) {
		return ""
	}
	f := diagnose.Finding{Problem: fmt.Sprintf("clients of the realm %s are not accepted, only those of %s", p.Realm, strings.Join(z.Realms, ", ")),
		Fix: "correct the realm, or add it to the property realm"}
	if i := slices.IndexFunc(z.Realms, func(realm string) bool { return strings.EqualFold(realm, p.Realm) }); i >= 0 {
		f.Problem, f.Fix = fmt.Sprintf("the realm is %s: realms are compared with case", z.Realms[i]), "write the realm so"
	}
	return f.String()
}
