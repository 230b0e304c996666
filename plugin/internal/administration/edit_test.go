package administration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const seed = `
example.test.	3600	IN	SOA	ns1.example.test. h.example.test. 10 900 600 86400 300
example.test.	3600	IN	NS	ns1.example.test.
ns1.example.test.	3600	IN	A	192.0.2.1
`

func open(t *testing.T, rules ...string) Zone {
	t.Helper()
	z, err := zone.Open(zone.Config{Origin: "example.test.", Store: store.NewMemory(store.MemoryOptions{}), Seed: func() ([]store.Record, error) {
		return zone.ParseSeed(strings.NewReader(seed), zone.SeedConfig{Origin: "example.test.", File: "seed"})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	var config policy.Config
	for _, rule := range rules {
		r, err := policy.ParseRule(strings.Fields(rule), "", true)
		if err != nil {
			t.Fatal(err)
		}
		config.Rules = append(config.Rules, r)
	}
	p, err := policy.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return Zone{Zone: z, Policy: p}
}

func set(ttl uint32, data ...string) *view.Set { return &view.Set{TTL: ttl, Data: data} }

// soa is the SOA record of the seed with a serial and a refresh interval.
func soa(serial, refresh int) *view.Set {
	return set(3600, fmt.Sprintf("ns1.example.test. h.example.test. %d %d 600 86400 300", serial, refresh))
}

// TestEditSOA: the serial of an edited SOA record is greater than the zone's, however many updates come at the same time.
func TestEditSOA(t *testing.T) {
	z := open(t)
	edit := func(after *view.Set) view.Edited {
		t.Helper()
		refresh := z.Snapshot().SOA().Refresh
		edited, _, err := z.Edit(t.Context(), &view.Edit{Zone: "example.test.", Sets: []view.SetChange{
			{Name: "example.test.", Type: "SOA", Before: soa(1, int(refresh)), After: after},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return edited
	}
	if edited := edit(soa(1, 901)); edited.To != 11 || z.Snapshot().SOA().Refresh != 901 {
		t.Errorf("%+v", edited)
	}
	if edited := edit(soa(2026010101, 901)); edited.To != 2026010101 {
		t.Errorf("%+v", edited)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, _, err := z.Update(context.Background(), &view.Update{Zone: "example.test.", Updates: []view.Instruction{
					{Name: fmt.Sprintf("n%d.example.test.", i), Class: "IN", Type: "A", TTL: uint32(n), Data: "192.0.2.1"},
				}})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for refresh := 902; refresh < 930; refresh++ {
		before := z.Snapshot().Serial()
		if edited := edit(soa(1, refresh)); int32(edited.To-before) <= 0 || z.Snapshot().SOA().Refresh != uint32(refresh) {
			t.Errorf("%+v", edited.Applied)
		}
	}
	cancel()
	group.Wait()
}

// TestChangeOfSOAIsTold: what an update changes of the SOA record is told, in its result and in the log of changes, unless it is
// the serial alone, which every update raises.
func TestChangeOfSOAIsTold(t *testing.T) {
	const before = "ns1.example.test. h.example.test. 10 900 600 86400 300"
	for _, test := range []struct {
		name, data string
		ttl        uint32
		told       bool
	}{
		{"serial", "ns1.example.test. h.example.test. 11 900 600 86400 300", 3600, false},
		{"primary server", "ns2.example.test. h.example.test. 11 900 600 86400 300", 3600, true},
		{"primary server of another length", "ns.example.test. h.example.test. 11 900 600 86400 300", 3600, true},
		{"mailbox", "ns1.example.test. i.example.test. 11 900 600 86400 300", 3600, true},
		{"refresh", "ns1.example.test. h.example.test. 11 901 600 86400 300", 3600, true},
		{"minimum", "ns1.example.test. h.example.test. 11 900 600 86400 301", 3600, true},
		{"TTL", "ns1.example.test. h.example.test. 11 900 600 86400 300", 3601, true},
	} {
		z := open(t)
		a, _, err := z.Update(t.Context(), &view.Update{Zone: "example.test.", Updates: []view.Instruction{
			{Name: "example.test.", Class: "IN", Type: "SOA", TTL: test.ttl, Data: test.data},
		}})
		if err != nil {
			t.Fatal(err)
		}
		var logged []view.Change
		for c, err := range Changes("example.test.", z.Log(t.Context()), 0) {
			if err != nil {
				t.Fatal(err)
			}
			logged = append(logged, c)
		}
		if len(logged) != 1 {
			t.Fatalf("%s: %d changes", test.name, len(logged))
		}
		for _, told := range []struct{ removed, added []view.NamedRecord }{{a.Removed, a.Added}, {logged[0].Removed, logged[0].Added}} {
			switch {
			case !test.told && len(told.removed)+len(told.added) == 0:
			case test.told && len(told.removed) == 1 && told.removed[0].Data == before && len(told.added) == 1 && told.added[0].Data == test.data && told.added[0].TTL == test.ttl:
			default:
				t.Errorf("%s: %+v", test.name, told)
			}
		}
	}
}

// TestEditApex: all NS records of the apex may be replaced at once; a deletion of the SOA record is refused.
func TestEditApex(t *testing.T) {
	z := open(t)
	edited, _, err := z.Edit(t.Context(), &view.Edit{Sets: []view.SetChange{
		{Name: "example.test.", Type: "NS", Before: set(3600, "ns1.example.test."), After: set(60, "ns2.example.test.", "ns3.example.test.")},
	}})
	if err != nil || len(edited.Removed) != 1 || len(edited.Added) != 2 || edited.Added[0].TTL != 60 {
		t.Errorf("%+v, %v", edited, err)
	}
	if _, _, err := z.Edit(t.Context(), &view.Edit{Sets: []view.SetChange{{Name: "example.test.", Type: "SOA", Before: soa(10, 900)}}}); err == nil {
		t.Error("the SOA record was deleted")
	}
}

// TestEditDenied: what a rule denies to the administrator, an edit cannot do either, owners included.
func TestEditDenied(t *testing.T) {
	z := open(t, "administrator name locked.example.test ANY")
	for name, edit := range map[string]view.Edit{
		"record": {Sets: []view.SetChange{{Name: "free.example.test.", Type: "A", After: set(60, "192.0.2.1")}, {Name: "locked.example.test.", Type: "A", After: set(60, "192.0.2.1")}}},
		"owner":  {Owners: []view.OwnerChange{{Name: "locked.example.test.", After: "host/a@EXAMPLE.TEST"}}},
	} {
		if _, r, err := z.Edit(t.Context(), &edit); err == nil || r.Decision.Cause != policy.CauseDenied || z.Snapshot().Serial() != 10 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestEditOwnerByAnySpelling: an edit that has read another owner changes nothing, however it spells the name.
func TestEditOwnerByAnySpelling(t *testing.T) {
	z := open(t)
	if _, _, err := z.Own(t.Context(), "ns1.example.test.", "host/a@EXAMPLE.TEST"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ns1.example.test.", "ns1.example.test", "NS1.Example.Test", `n\1151.example.test`} {
		edited, _, err := z.Edit(t.Context(), &view.Edit{Owners: []view.OwnerChange{{Name: name, After: "host/b@EXAMPLE.TEST"}}})
		if own, _ := z.Snapshot().Owner("ns1.example.test."); err != nil || len(edited.Conflicts) != 1 || own.Principal != "host/a@EXAMPLE.TEST" {
			t.Errorf("%s: %+v, %v; the owner is %s", name, edited, err, own.Principal)
		}
	}
}

// TestEditOwners: an owner that an edit sets is one that own takes, or as a dump has it. One that stays is not checked.
func TestEditOwners(t *testing.T) {
	for word, want := range map[string]string{
		"host/a@EXAMPLE.TEST":          "host/a@EXAMPLE.TEST",
		"host/a@EXAMPLE.TEST S-1-5-21": "host/a@EXAMPLE.TEST S-1-5-21",
		"DHCP.":                        "key:dhcp.",
		"key:dhcp.":                    "key:dhcp.",
		"first-come":                   zone.FirstComeOwner,
		zone.FirstComeOwner:            zone.FirstComeOwner,
		zone.AdministratorOwner:        zone.AdministratorOwner,
		zone.SignedOwner:               zone.SignedOwner,
		"foo":                          "",
		"key:dhcp":                     "",
		"administrator":                "",
	} {
		z := open(t)
		_, _, err := z.Edit(t.Context(), &view.Edit{Owners: []view.OwnerChange{{Name: "ns1.example.test.", After: word}}})
		own, _ := z.Snapshot().Owner("ns1.example.test.")
		if own.Principal != want || (err == nil) != (want != "") {
			t.Errorf("%q: the owner is %q, %v", word, own.Principal, err)
		}
		if want == "" && err != nil && (!strings.Contains(err.Error(), "owner of ns1.example.test.") || !strings.Contains(err.Error(), "Fix: ")) {
			t.Errorf("%q: %v", word, err)
		}
	}
	z := open(t)
	if _, _, err := z.Own(t.Context(), "ns1.example.test.", "foo"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := z.Edit(t.Context(), &view.Edit{Owners: []view.OwnerChange{{Name: "ns1.example.test.", Before: "foo", After: "foo"}}}); err != nil {
		t.Error(err)
	}
}

// TestEditMalformed: nothing of an edit is done that is not as it should be.
func TestEditMalformed(t *testing.T) {
	z := open(t)
	for name, change := range map[string]view.SetChange{
		"name":       {Name: "a..example.test.", Type: "A", After: set(60, "192.0.2.1")},
		"outside":    {Name: "a.example.org.", Type: "A", After: set(60, "192.0.2.1")},
		"type":       {Name: "a.example.test.", Type: "ADDRESS", After: set(60, "192.0.2.1")},
		"meta type":  {Name: "a.example.test.", Type: "ANY", After: set(60, "192.0.2.1")},
		"data":       {Name: "a.example.test.", Type: "A", After: set(60, "192.0.2")},
		"two lines":  {Name: "a.example.test.", Type: "A", After: set(60, "192.0.2.1\nb.example.test. 60 IN A 192.0.2.2")},
		"TTL":        {Name: "a.example.test.", Type: "A", After: set(1<<31, "192.0.2.1")},
		"old TTL":    {Name: "a.example.test.", Type: "A", Before: set(1<<32-1, "192.0.2.1")},
		"SOA's TTL":  {Name: "example.test.", Type: "SOA", Before: soa(10, 900), After: &view.Set{TTL: 1 << 31, Data: soa(10, 901).Data}},
		"before":     {Name: "a.example.test.", Type: "A", Before: set(60, "x")},
		"second SOA": {Name: "a.example.test.", Type: "SOA", After: soa(1, 900)},
	} {
		good := view.SetChange{Name: "good.example.test.", Type: "A", After: set(60, "192.0.2.1")}
		if _, _, err := z.Edit(t.Context(), &view.Edit{Sets: []view.SetChange{good, change}}); err == nil || z.Snapshot().Serial() != 10 {
			t.Errorf("%s: %v, serial %d", name, err, z.Snapshot().Serial())
		}
	}
}

// TestTooLongTTL: RFC 2181 has a TTL of more than 31 bits count as 0. The administrator is told instead, and may use all others.
func TestTooLongTTL(t *testing.T) {
	z := open(t)
	update := func(ttl uint32) error {
		in := []view.Instruction{{Name: "a.example.test.", Class: "IN", Type: "A", TTL: ttl, Data: "192.0.2.1"}}
		_, _, err := z.Update(t.Context(), &view.Update{Updates: in})
		_, _, other := z.Update(t.Context(), &view.Update{Prerequisites: []view.Instruction{{Name: "b.example.test.", Class: "NONE", Type: "ANY", TTL: ttl}}, Updates: in})
		if ttl > maxTTL && (other == nil || !strings.Contains(other.Error(), "Fix: write a TTL from 0 to 2147483647")) {
			t.Errorf("TTL %d in a prerequisite: %v", ttl, other)
		}
		return err
	}
	for _, ttl := range []uint32{1 << 31, 1<<32 - 1} {
		if err := update(ttl); err == nil || !strings.Contains(err.Error(), "a.example.test.: the TTL ") || !strings.Contains(err.Error(), "Fix: write a TTL from 0 to 2147483647") {
			t.Errorf("TTL %d: %v", ttl, err)
		}
	}
	if z.Snapshot().Serial() != 10 {
		t.Errorf("serial %d", z.Snapshot().Serial())
	}
	if err := update(1<<31 - 1); err != nil || len(z.Snapshot().Types("a.example.test.")) != 1 {
		t.Errorf("the greatest TTL: %v", err)
	}
}

// TestEditIsFollowedInFull: an edit that a zone would follow in part changes nothing.
func TestEditIsFollowedInFull(t *testing.T) {
	ns1 := set(3600, "192.0.2.1")
	for name, e := range map[string]view.Edit{
		"keeps its last NS record": {Sets: []view.SetChange{
			{Name: "example.test.", Type: "NS", Before: set(3600, "ns1.example.test.")}, {Name: "ns1.example.test.", Type: "A", Before: ns1},
		}},
		"two changes of this RRset": {Sets: []view.SetChange{
			{Name: "ns1.example.test.", Type: "A", Before: ns1, After: set(60, "192.0.2.2")}, {Name: "NS1.example.test", Type: "TYPE1", Before: ns1},
		}},
		"two changes of this owner": {Owners: []view.OwnerChange{
			{Name: "ns1.example.test.", After: "host/a@EXAMPLE.TEST"}, {Name: "NS1.example.test", After: "host/b@EXAMPLE.TEST"},
		}},
	} {
		z := open(t)
		before := z.Snapshot()
		edited, _, err := z.Edit(t.Context(), &e)
		if err == nil || !strings.Contains(err.Error(), name) || edited.Changed || z.Snapshot() != before {
			t.Errorf("%s: %+v, %v", name, edited, err)
		}
	}
}

// TestOwnershipInWords: what is said about a change of an owner.
func TestOwnershipInWords(t *testing.T) {
	for _, test := range []struct {
		o    view.Ownership
		want string
	}{
		{view.Ownership{Before: "a", Owner: "b"}, "n belonged to a, and belongs to b now"},
		{view.Ownership{Owner: "b"}, "n had no owner, and belongs to b now"},
		{view.Ownership{Before: "a", Owner: "a"}, "n belongs to a already"},
		{view.Ownership{Before: "a"}, "n belonged to a, and is the administrator's now"},
		{view.Ownership{Before: "a", Tombstone: true}, "n was kept for a, and is free now"},
		{view.Ownership{Before: "a", Owner: "b", Tombstone: true}, "n was kept for a, and is kept for b now"},
	} {
		test.o.Name = "n"
		if got := test.o.String(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
