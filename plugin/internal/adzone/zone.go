package adzone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/msdnsp"
	"github.com/gsstsig/coredns-gsstsig/internal/msdtyp"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Bounds of a zone, as of what is not trusted.
const (
	maxNodes   = 20_000_000
	maxRecords = 40_000_000
)

// Config says what to read.
type Config struct {
	Server
	// Zone is the zone's name.
	Zone string
	// DN is the distinguished name of the zone's object. It is needed only if the directory has several.
	DN string
	// Warn is called with what is left out, and why; a bounded number of times. It may be nil.
	Warn func(problem string)
	// Progress is called with the number of records of each page. It may be nil.
	Progress func(records int)
}

// A Zone is what the directory has.
type Zone struct {
	// DN is the distinguished name of the zone's object.
	DN string
	// Realm is that of the domain.
	Realm string
	// Records are in no order, and are not checked to be a zone.
	Records []store.Record
	// Owners are the accounts that created names, as packages policy records them; those of names without records are tombstones.
	// The names that administrators and domain controllers created have none.
	Owners   []store.Owner
	Settings msdnsp.Settings
}

// Read reads a zone.
func Read(ctx context.Context, config Config) (*Zone, error) {
	origin, err := dnswire.ParseName(dns.Fqdn(config.Zone), nil)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", config.Zone, err)
	}
	d, err := connect(ctx, &config.Server)
	if err != nil {
		return nil, err
	}
	defer d.close()
	object, err := d.findZone(dns.Fqdn(config.Zone), config.DN)
	if err != nil {
		return nil, err
	}
	r := reader{origin: origin, directory: d, warn: config.Warn, owners: make(accounts), zone: &Zone{DN: object.DN, Realm: d.realm}}
	for _, value := range object.GetEqualFoldRawAttributeValues("dnsProperty") {
		if err := r.zone.Settings.Add(value); err != nil {
			r.leave("a setting of the zone: %v", err)
		}
	}
	err = d.pages(ctx, object.DN, ldap.ScopeSingleLevel, "(objectClass=dnsNode)",
		[]string{"dc", "dnsRecord", "dNSTombstoned", "nTSecurityDescriptor"}, func(entries []*ldap.Entry) error {
			before := len(r.zone.Records)
			for _, entry := range entries {
				if err := r.node(entry); err != nil {
					return err
				}
			}
			if config.Progress != nil {
				config.Progress(len(r.zone.Records) - before)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	if err := d.lookUp(r.owners); err != nil {
		return nil, fmt.Errorf("accounts of the owners: %w", err)
	}
	r.assign()
	return r.zone, nil
}

// reader collects a zone.
type reader struct {
	origin    []byte
	directory *directory
	warn      func(string)
	warnings  int

	zone   *Zone
	nodes  []node
	owners accounts
}

// node is a name that may have an owner.
type node struct {
	name    string // in wire form
	owner   string // SID in binary form
	cut     bool   // a delegation
	deleted time.Time
}

// maxWarnings bounds how many of the things that are left out are named.
const maxWarnings = 10

// leave notes that something is left out.
func (r *reader) leave(format string, args ...any) {
	if r.warnings++; r.warnings <= maxWarnings && r.warn != nil {
		r.warn(fmt.Sprintf(format, args...))
	}
}

// node reads the object of a name.
func (r *reader) node(entry *ldap.Entry) error {
	if len(r.nodes) == maxNodes || len(r.zone.Records) > maxRecords {
		return fmt.Errorf("the zone has more than %d names or %d records", maxNodes, maxRecords)
	}
	label := entry.GetEqualFoldAttributeValue("dc")
	name, err := nodeName(label, r.origin)
	if err != nil {
		r.leave("%s is left out: %v", entry.DN, err)
		return nil
	}
	values, err := r.values(entry)
	if err != nil {
		return err
	}
	n := node{name: string(name)}
	var deleted time.Time
	has := false
	if strings.EqualFold(entry.GetEqualFoldAttributeValue("dNSTombstoned"), "TRUE") {
		deleted, values = tombstoneTime(values), nil
	}
	for _, value := range values {
		record, err := msdnsp.ParseRecord(value)
		switch {
		case err != nil:
			r.leave("a record of %s is left out: %v", dnswire.NameText(name), err)
			continue
		case record.Type == 0:
			deleted = tombstoneTime([][]byte{value})
			continue
		}
		has = true
		n.cut = n.cut || record.Type == dns.TypeNS && !dnswire.EqualNames(name, r.origin)
		r.zone.Records = append(r.zone.Records, store.Record{Name: n.name, Type: record.Type, Class: dns.ClassINET, TTL: record.TTL,
			Hours: record.Hours, Data: record.Data})
	}
	if !has {
		if deleted.IsZero() {
			return nil // an object without anything
		}
		n.deleted = deleted
	}
	descriptor := entry.GetEqualFoldRawAttributeValue("nTSecurityDescriptor")
	if len(descriptor) == 0 {
		r.leave("the owner of %s cannot be read, and it becomes the administrator's", dnswire.NameText(name))
		return nil
	}
	sid, err := msdtyp.Owner(descriptor)
	if err != nil {
		r.leave("the owner of %s cannot be read, and it becomes the administrator's: %v", dnswire.NameText(name), err)
		return nil
	}
	n.owner = string(sid)
	if n.owner != "" {
		r.owners[n.owner] = account{}
	}
	r.nodes = append(r.nodes, n)
	return nil
}

// tombstoneTime returns when a node became a tombstone: now, if no value says, or one says that it will.
func tombstoneTime(values [][]byte) time.Time {
	now := time.Now().UTC().Truncate(time.Second)
	for _, value := range values {
		if record, err := msdnsp.ParseRecord(value); err == nil && record.Type == 0 && !record.Deleted.IsZero() && record.Deleted.Before(now) {
			return record.Deleted
		}
	}
	return now
}

var errNodeName = errors.New("its name is no domain name")

// nodeName makes the name of a node, in wire form, of its label: "@" is the zone's name, and a dot separates labels.
func nodeName(label string, origin []byte) ([]byte, error) {
	if label == "@" {
		return origin, nil
	}
	var name []byte
	for part := range strings.SplitSeq(label, ".") {
		const maxLabel = 63
		if part == "" || len(part) > maxLabel || strings.ContainsAny(part, "\n\x00") {
			return nil, errNodeName
		}
		name = append(append(name, byte(len(part))), part...)
	}
	if name = append(name, origin...); dnswire.NameLen(name) != len(name) {
		return nil, errNodeName
	}
	return name, nil
}

// values returns the records of a node. Of more than a controller sends at once it asks for the rest ([MS-ADTS] 3.1.1.3.1.3.3).
func (r *reader) values(entry *ldap.Entry) ([][]byte, error) {
	for _, a := range entry.Attributes {
		begin, more := cutRange(a.Name)
		if !more {
			continue
		}
		values := slices.Clone(a.ByteValues)
		for !strings.HasSuffix(begin, "-*") {
			attribute := "dnsRecord;range=" + strconv.Itoa(len(values)) + "-*"
			entries, err := r.directory.search(entry.DN, ldap.ScopeBaseObject, "(objectClass=dnsNode)", nil, attribute)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", entry.DN, err)
			}
			begin = ""
			for _, entry := range entries {
				for _, a := range entry.Attributes {
					if rest, ok := cutRange(a.Name); ok && len(a.ByteValues) > 0 {
						begin, values = rest, append(values, a.ByteValues...)
					}
				}
			}
			if begin == "" {
				return nil, fmt.Errorf("%s: the domain controller sends %d of its records, and not the rest", entry.DN, len(values))
			}
			if len(values) > maxRecords {
				return nil, fmt.Errorf("%s has more than %d records", entry.DN, maxRecords)
			}
		}
		return values, nil
	}
	return entry.GetEqualFoldRawAttributeValues("dnsRecord"), nil
}

// cutRange returns the range of values that an attribute has, such as 0-1499, or 1500-* for the last. It is a part of the
// attribute's name.
func cutRange(attribute string) (values string, ok bool) {
	const prefix = "dnsRecord;range="
	if len(attribute) < len(prefix) || !strings.EqualFold(attribute[:len(prefix)], prefix) {
		return "", false
	}
	return attribute[len(prefix):], true
}

// assign sets the owners, which were looked up. Delegations, and what is below them, have none: they are the administrator's.
func (r *reader) assign() {
	cuts := make(map[string]bool)
	for i := range r.nodes {
		if r.nodes[i].cut {
			cuts[lower(r.nodes[i].name)] = true
		}
	}
	unknown := make(map[string]int)
	for _, n := range r.nodes {
		a := r.owners[n.owner]
		name := lower(n.name)
		if a.unknown {
			unknown[a.sid]++
		}
		if a.name == "" || name == lower(string(r.origin)) || isBelow(cuts, name, len(r.origin)) {
			continue
		}
		r.zone.Owners = append(r.zone.Owners, store.Owner{Name: name, Principal: a.name + "@" + r.zone.Realm + " " + a.sid, Deleted: n.deleted})
	}
	slices.SortFunc(r.zone.Owners, func(a, b store.Owner) int { return strings.Compare(a.Name, b.Name) })
	sids := make([]string, 0, len(unknown))
	for sid := range unknown {
		sids = append(sids, sid)
	}
	slices.Sort(sids)
	for _, sid := range sids {
		words := "names of the account %s become"
		if unknown[sid] == 1 {
			words = "name of the account %s becomes"
		}
		r.leave("%d "+words+" the administrator's: the domain has no such account", unknown[sid], sid)
	}
	if more := r.warnings - maxWarnings; more > 0 && r.warn != nil {
		r.warn(fmt.Sprintf("%d more things are left out", more))
	}
}

func lower(name string) string { return string(dnswire.AppendLower(nil, []byte(name))) }

// isBelow reports whether a name is one of the cuts or below one. Both are in lower case.
func isBelow(cuts map[string]bool, name string, apex int) bool {
	for len(name) > apex {
		if cuts[name] {
			return true
		}
		name = name[1+int(name[0]):]
	}
	return false
}
