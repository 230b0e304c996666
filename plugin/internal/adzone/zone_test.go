package adzone

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

var testOrigin = []byte("\x04corp\x04test\x00")

// record is a value of dnsRecord.
func record(rrtype uint16, hours uint32, data string) string {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(data)))
	b = binary.LittleEndian.AppendUint16(b, rrtype)
	b = append(b, "\x05\xf0\x00\x00\x07\x00\x00\x00\x00\x00\x03\x84\x00\x00\x00\x00"...)
	return string(binary.LittleEndian.AppendUint32(b, hours)) + data
}

// deletedAt is the value of a tombstone since 2024-01-17 21:20.
const deletedAt = "\x00\xc0\x83\xed\x8a\x49\xda\x01"

// binarySID is that of the account with that relative identifier in the domain of these tests.
func binarySID(rid uint32) string {
	return string(binary.LittleEndian.AppendUint32([]byte("\x01\x05\x00\x00\x00\x00\x00\x05\x15\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00"), rid))
}

const system = "\x01\x01\x00\x00\x00\x00\x00\x05\x12\x00\x00\x00"

func ownedBy(sid string) string {
	return "\x01\x00\x00\x80\x14\x00\x00\x00" + string(make([]byte, 12)) + sid
}

// entry is a node. The names of attributes are as Active Directory spells them.
func entry(name, owner string, records ...string) *ldap.Entry {
	e := &ldap.Entry{DN: "DC=" + name + ",DC=corp.test", Attributes: []*ldap.EntryAttribute{ldap.NewEntryAttribute("dc", []string{name})}}
	raw := func(attribute string, values ...string) {
		a := &ldap.EntryAttribute{Name: attribute, Values: values}
		for _, v := range values {
			a.ByteValues = append(a.ByteValues, []byte(v))
		}
		e.Attributes = append(e.Attributes, a)
	}
	raw("dnsRecord", records...)
	if owner != "" {
		raw("nTSecurityDescriptor", owner)
	}
	return e
}

func tombstoned(e *ldap.Entry) *ldap.Entry {
	e.Attributes = append(e.Attributes, ldap.NewEntryAttribute("dNSTombstoned", []string{"TRUE"}))
	return e
}

func TestNodes(t *testing.T) {
	var warned []string
	r := reader{origin: testOrigin, warn: func(w string) { warned = append(warned, w) }, owners: make(accounts), zone: &Zone{Realm: "CORP.TEST"},
		directory: &directory{}}
	machine, other, a := ownedBy(binarySID(1101)), ownedBy(binarySID(1102)), record(dns.TypeA, 3700000, "\xc0\x00\x02\x01")
	ns := record(dns.TypeNS, 0, "\x03\x01\x01a\x00")
	for _, e := range []*ldap.Entry{
		entry("@", machine, ns, record(dns.TypeSOA, 0, strings.Repeat("\x00\x00\x00\x01", 5)+"\x03\x01\x01a\x00\x03\x01\x01b\x00")),
		entry("Host", machine, a, record(dns.TypeA, 0, "\xc0\x00\x02\x02")),
		entry("_x._tcp", machine, record(dns.TypeSRV, 0, "\x00\x01\x00\x02\x00\x03\x03\x01\x01a\x00")),
		entry("by-system", ownedBy(system), a),
		entry("by-unknown", other, a),
		entry("sub", machine, ns),
		entry("host.sub", machine, a),
		tombstoned(entry("gone", machine, record(0, 0, deletedAt))),
		tombstoned(entry("gone-with-rest", machine, a, record(0, 0, deletedAt))),
		entry("gone-without-mark", machine, record(0, 0, deletedAt)),
		tombstoned(entry("gone-without-time", machine, record(0, 0, ""))),
		entry("empty", machine),
		entry("no-owner", "", a),
		entry("bad-owner", "\x01", a),
		entry("bad-record", machine, a[:20], a),
		entry("wins", machine, record(0xff01, 0, "")),
		entry("a..b", machine, a),
		entry(strings.Repeat("a", 64), machine, a),
		entry(strings.Repeat(strings.Repeat("a", 60)+".", 4)+"a", machine, a),
		entry("conflict\nCNF:1", machine, a),
	} {
		if err := r.node(e); err != nil {
			t.Fatal(err)
		}
	}
	// What the directory would say.
	r.owners[binarySID(1101)] = account{name: "HOST$", sid: "S-1-5-21-1-2-3-1101"}
	r.owners[binarySID(1102)] = account{unknown: true, sid: "S-1-5-21-1-2-3-1102"}
	r.assign()

	var got []string
	for _, record := range r.zone.Records {
		got = append(got, fmt.Sprint(dnswire.NameText([]byte(record.Name)), " ", dnswire.TypeText(record.Type), " ", dnswire.TextOrGeneric(record.Type, record.Data), " ", record.Hours))
	}
	want := []string{
		"corp.test. NS a. 0", "corp.test. SOA a. b. 16777216 16777216 16777216 16777216 16777216 0",
		"Host.corp.test. A 192.0.2.1 465424", "Host.corp.test. A 192.0.2.2 0", "_x._tcp.corp.test. SRV 1 2 3 a. 0",
		"by-system.corp.test. A 192.0.2.1 465424", "by-unknown.corp.test. A 192.0.2.1 465424", "sub.corp.test. NS a. 0", "host.sub.corp.test. A 192.0.2.1 465424",
		"no-owner.corp.test. A 192.0.2.1 465424", "bad-owner.corp.test. A 192.0.2.1 465424", "bad-record.corp.test. A 192.0.2.1 465424",
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "16777216", "1")
	}
	if !slices.Equal(got, want) {
		t.Errorf("records:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	got = nil
	for _, o := range r.zone.Owners {
		deleted := ""
		switch {
		case o.Deleted.IsZero():
		case time.Since(o.Deleted) < time.Minute:
			deleted = "now"
		default:
			deleted = o.Deleted.Format(time.RFC3339)
		}
		got = append(got, fmt.Sprint(dnswire.NameText([]byte(o.Name)), " ", o.Principal, " ", deleted))
	}
	const owner = "HOST$@CORP.TEST S-1-5-21-1-2-3-1101 "
	want = []string{"host.corp.test. " + owner, "_x._tcp.corp.test. " + owner, "gone.corp.test. " + owner + "2024-01-17T21:20:00Z", "bad-record.corp.test. " + owner,
		"gone-with-rest.corp.test. " + owner + "2024-01-17T21:20:00Z", "gone-without-mark.corp.test. " + owner + "2024-01-17T21:20:00Z", "gone-without-time.corp.test. " + owner + "now"}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("owners:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, words := range []string{"the owner of no-owner.corp.test. cannot be read", "the owner of bad-owner.corp.test. cannot be read", "a record of bad-record.corp.test. is left out",
		"a record of wins.corp.test. is left out: the setting of a WINS lookup", "DC=a..b,DC=corp.test is left out: its name is no domain name",
		"1 name of the account S-1-5-21-1-2-3-1102 becomes the administrator's"} {
		if !slices.ContainsFunc(warned, func(w string) bool { return strings.Contains(w, words) }) {
			t.Errorf("%q is not in %q", words, warned)
		}
	}
	for range 20 {
		r.leave("one more")
	}
	if len(warned) != maxWarnings {
		t.Errorf("%d warnings", len(warned))
	}
}

func TestIsAccount(t *testing.T) {
	for sid, want := range map[string]bool{
		"S-1-5-18": false, "S-1-5-32-544": false, "S-1-5-9": false, "S-1-5-21-1-2-3-500": false, "S-1-5-21-1-2-3-512": false,
		"S-1-5-21-1-2-3-1000": true, "S-1-5-21-1-2-3-1104": true, "S-1-5-21-": false, "S-1-5-80-1-2-3-2000": false,
	} {
		if isAccount(sid) != want {
			t.Errorf("%s: %v", sid, !want)
		}
	}
}

func TestIsAdministrative(t *testing.T) {
	account := func(attributes ...string) *ldap.Entry {
		e := &ldap.Entry{}
		for i := 0; i < len(attributes); i += 2 {
			e.Attributes = append(e.Attributes, ldap.NewEntryAttribute(attributes[i], strings.Split(attributes[i+1], " ")))
		}
		return e
	}
	for name, test := range map[string]struct {
		entry *ldap.Entry
		want  bool
	}{
		"machine":              {account("sAMAccountName", "HOST$", "userAccountControl", "4096", "objectClass", "top person user computer"), false},
		"user":                 {account("sAMAccountName", "alice", "userAccountControl", "512", "objectClass", "top person user"), false},
		"domain controller":    {account("sAMAccountName", "DC1$", "userAccountControl", "532480", "objectClass", "top person user computer"), true},
		"read-only controller": {account("sAMAccountName", "DC2$", "userAccountControl", "83890176", "objectClass", "top person user computer"), true},
		"protected user":       {account("sAMAccountName", "root", "userAccountControl", "512", "adminCount", "1", "objectClass", "user"), true},
		"group":                {account("sAMAccountName", "DnsAdmins", "objectClass", "top group"), true},
		"without a name":       {account("userAccountControl", "4096", "objectClass", "computer"), true},
		"nothing that is read": {account(), true},
	} {
		if isAdministrative(test.entry) != test.want {
			t.Errorf("%s: %v", name, !test.want)
		}
	}
}

func TestRealmOf(t *testing.T) {
	for domain, want := range map[string]string{"DC=corp,DC=test": "CORP.TEST", "dc=a, dc=B": "A.B", "CN=x,DC=test": "", "DC=a+DC=b": "", "x": "", "": ""} {
		if got, _ := realmOf(domain); got != want {
			t.Errorf("%s: %q", domain, got)
		}
	}
}

func TestCutRange(t *testing.T) {
	for attribute, want := range map[string]string{"dnsRecord;range=0-1499": "0-1499", "DNSRecord;Range=1500-*": "1500-*", "dnsRecord": "", "": "", "dnsRecord;range=": ""} {
		if got, _ := cutRange(attribute); got != want {
			t.Errorf("%s: %q", attribute, got)
		}
	}
}
