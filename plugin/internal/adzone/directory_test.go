package adzone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/miekg/dns"
)

// fakeDirectory answers searches. What a real controller answers is tried in test/ad.
type fakeDirectory func(*ldap.SearchRequest) (*ldap.SearchResult, error)

func (f fakeDirectory) Search(r *ldap.SearchRequest) (*ldap.SearchResult, error) { return f(r) }
func (fakeDirectory) Close() error                                               { return nil }

func noSuchObject() error {
	return ldap.NewError(ldap.LDAPResultNoSuchObject, errors.New("no such object"))
}

func TestReadRoot(t *testing.T) {
	for name, test := range map[string]struct {
		entries []*ldap.Entry
		realm   string
	}{
		"a controller":   {[]*ldap.Entry{ldap.NewEntry("", map[string][]string{"defaultNamingContext": {"DC=corp,DC=test"}, "namingContexts": {"DC=corp,DC=test", "DC=x"}})}, "CORP.TEST"},
		"another server": {[]*ldap.Entry{ldap.NewEntry("", map[string][]string{"namingContexts": {"dc=x"}})}, ""},
		"nothing":        {nil, ""},
		"no DNS name":    {[]*ldap.Entry{ldap.NewEntry("", map[string][]string{"defaultNamingContext": {"CN=x"}})}, ""},
	} {
		d := directory{ldap: fakeDirectory(func(*ldap.SearchRequest) (*ldap.SearchResult, error) {
			return &ldap.SearchResult{Entries: test.entries}, nil
		})}
		if err := d.readRoot(); (err == nil) != (test.realm != "") || d.realm != test.realm {
			t.Errorf("%s: %q, %v", name, d.realm, err)
		}
	}
}

func TestFindZone(t *testing.T) {
	const domainZones, system = "CN=MicrosoftDNS,DC=DomainDnsZones,DC=corp,DC=test", "CN=MicrosoftDNS,CN=System,DC=corp,DC=test"
	for name, test := range map[string]struct {
		has  []string // containers with the zone
		dn   string
		want string
		says string
	}{
		"one":              {[]string{domainZones}, "", "DC=corp.test," + domainZones, ""},
		"of Windows 2000":  {[]string{system}, "", "DC=corp.test," + system, ""},
		"none":             {nil, "", "", "no partition of the domain controller has the zone corp.test"},
		"two":              {[]string{domainZones, system}, "", "", "2 partitions have the zone corp.test: DC=corp.test," + system + "; DC=corp.test," + domainZones + ". Fix: name the one that is in use: ldap://HOST/DN"},
		"two, and a name":  {[]string{domainZones, system}, "DC=corp.test," + system, "DC=corp.test," + system, ""},
		"not of that name": {[]string{domainZones}, "CN=Users,DC=corp,DC=test", "", "is not the object of the zone corp.test"},
	} {
		d := directory{partitions: []string{"DC=corp,DC=test", "DC=DomainDnsZones,DC=corp,DC=test"}, ldap: fakeDirectory(func(r *ldap.SearchRequest) (*ldap.SearchResult, error) {
			if r.Filter != "(&(objectClass=dnsZone)(dc=corp.test))" {
				t.Errorf("filter %s", r.Filter)
			}
			for _, container := range test.has {
				if r.BaseDN == container && r.Scope == ldap.ScopeSingleLevel || r.BaseDN == "DC=corp.test,"+container && r.Scope == ldap.ScopeBaseObject {
					return &ldap.SearchResult{Entries: []*ldap.Entry{ldap.NewEntry("DC=corp.test,"+container, nil)}}, nil
				}
			}
			if r.Scope == ldap.ScopeBaseObject {
				return new(ldap.SearchResult), nil
			}
			return nil, noSuchObject()
		})}
		entry, err := d.findZone("corp.test.", test.dn)
		switch {
		case test.says != "":
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || entry.DN != test.want:
			t.Errorf("%s: %+v, %v", name, entry, err)
		}
	}
	broken := directory{partitions: []string{"DC=x"}, ldap: fakeDirectory(func(*ldap.SearchRequest) (*ldap.SearchResult, error) {
		return nil, ldap.NewError(ldap.LDAPResultInsufficientAccessRights, errors.New("no"))
	})}
	if _, err := broken.findZone("corp.test.", ""); !ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights) {
		t.Errorf("without the right to read: %v", err)
	}
}

func TestPages(t *testing.T) {
	d := directory{ldap: fakeDirectory(func(r *ldap.SearchRequest) (*ldap.SearchResult, error) {
		asked := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if ldap.FindControl(r.Controls, ldap.ControlTypeMicrosoftSDFlags) == nil {
			t.Error("the whole security descriptor is asked for")
		}
		page, _ := strconv.Atoi(string(asked.Cookie))
		answer := ldap.NewControlPaging(0)
		if page < 2 {
			answer.SetCookie([]byte(strconv.Itoa(page + 1)))
		}
		return &ldap.SearchResult{Entries: []*ldap.Entry{ldap.NewEntry(fmt.Sprint(page), nil)}, Controls: []ldap.Control{answer}}, nil
	})}
	var got []string
	take := func(entries []*ldap.Entry) error {
		got = append(got, entries[0].DN)
		return nil
	}
	if err := d.pages(t.Context(), "", 0, "", nil, take); err != nil || !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("%q, %v", got, err)
	}
	wrong := errors.New("wrong")
	if err := d.pages(t.Context(), "", 0, "", nil, func([]*ldap.Entry) error { return wrong }); err != wrong {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	if err := d.pages(canceled, "", 0, "", nil, func([]*ldap.Entry) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestRanges: a controller sends at most 1500 values at once, and the rest is asked for.
func TestRanges(t *testing.T) {
	const all, once = 3700, 1500
	part := func(from int) *ldap.EntryAttribute {
		to := min(from+once, all)
		a := &ldap.EntryAttribute{Name: fmt.Sprintf("dnsRecord;range=%d-%d", from, to-1)}
		if to == all {
			a.Name = fmt.Sprintf("dnsRecord;range=%d-*", from)
		}
		for i := from; i < to; i++ {
			a.ByteValues = append(a.ByteValues, []byte(record(dns.TypeA, 0, "\x0a\x00"+string([]byte{byte(i >> 8), byte(i)}))))
		}
		return a
	}
	var asked []string
	stops := false
	r := reader{origin: testOrigin, owners: make(accounts), zone: new(Zone), directory: &directory{ldap: fakeDirectory(func(r *ldap.SearchRequest) (*ldap.SearchResult, error) {
		asked = append(asked, r.BaseDN+" "+r.Attributes[0])
		var from int
		if _, err := fmt.Sscanf(r.Attributes[0], "dnsRecord;range=%d-*", &from); err != nil {
			t.Error(err)
		}
		e := &ldap.Entry{DN: r.BaseDN, Attributes: []*ldap.EntryAttribute{part(from)}}
		if stops {
			e.Attributes[0].ByteValues = nil
		}
		return &ldap.SearchResult{Entries: []*ldap.Entry{e}}, nil
	})}}
	e := entry("many", ownedBy(binarySID(1101)))
	e.Attributes[1] = part(0)
	if err := r.node(e); err != nil || len(r.zone.Records) != all {
		t.Errorf("%d records, %v", len(r.zone.Records), err)
	}
	want := []string{e.DN + " dnsRecord;range=1500-*", e.DN + " dnsRecord;range=3000-*"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
	// One that promises more and sends none is not asked again and again.
	stops, asked = true, nil
	if err := r.node(e); err == nil || !strings.Contains(err.Error(), "the rest") || len(asked) != 1 {
		t.Errorf("%v, asked %d times", err, len(asked))
	}
}

func TestLookUp(t *testing.T) {
	searches := 0
	d := directory{domain: "DC=corp,DC=test", ldap: fakeDirectory(func(r *ldap.SearchRequest) (*ldap.SearchResult, error) {
		searches++
		result := new(ldap.SearchResult)
		for rid := uint32(1000); rid < 1120; rid++ {
			if !strings.Contains(r.Filter, "(objectSid="+escapeOctets([]byte(binarySID(rid)))+")") {
				continue
			}
			e := ldap.NewEntry("", map[string][]string{"sAMAccountName": {fmt.Sprintf("HOST%d$", rid)}, "userAccountControl": {"4096"}, "objectClass": {"computer"}})
			e.Attributes = append(e.Attributes, &ldap.EntryAttribute{Name: "objectSid", ByteValues: [][]byte{[]byte(binarySID(rid))}})
			result.Entries = append(result.Entries, e)
		}
		// One that nobody asked for.
		result.Entries = append(result.Entries, ldap.NewEntry("", map[string][]string{"sAMAccountName": {"X"}}))
		return result, nil
	})}
	found := accounts{system: {}, binarySID(512): {}, binarySID(2000): {}}
	for rid := uint32(1000); rid < 1120; rid++ {
		found[binarySID(rid)] = account{}
	}
	if err := d.lookUp(found); err != nil || searches != 3 || len(found) != 123 {
		t.Fatalf("%d searches, %d accounts, %v", searches, len(found), err)
	}
	for sid, want := range map[string]account{
		system: {sid: "S-1-5-18"}, binarySID(512): {sid: "S-1-5-21-1-2-3-512"}, binarySID(2000): {sid: "S-1-5-21-1-2-3-2000", unknown: true},
		binarySID(1000): {sid: "S-1-5-21-1-2-3-1000", name: "HOST1000$"}, binarySID(1119): {sid: "S-1-5-21-1-2-3-1119", name: "HOST1119$"},
	} {
		if found[sid] != want {
			t.Errorf("%+v, want %+v", found[sid], want)
		}
	}
}
