// Package storetest is what every implementation of store.Store, by [Run], and of store.Shared, by
// [RunShared], must pass. For tests of what stands on one it has stores that fail on purpose: [Faulty]
// and, with several servers, [Cluster].
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Opener opens the same store each time it is called: what was committed through one handle is
// there through the next. A test opens the next only after it has closed the one before, but for
// the test of exclusive use.
type Opener func() (store.Store, error)

// Run runs the contract's tests. make returns an Opener of a new, empty store, which keeps at least
// 100 changes in its log.
func Run(t *testing.T, make func(t *testing.T) Opener) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Opener)
	}{
		{"Empty", testEmpty},
		{"Init", testInit},
		{"InitTwice", testInitTwice},
		{"InitWithoutRecords", testInitEmptyOwners},
		{"Commit", testCommit},
		{"CommitMany", testCommitMany},
		{"CommitLarge", testCommitLarge},
		{"TTLReplaced", testTTL},
		{"Times", testTimes},
		{"Idempotent", testIdempotent},
		{"Names", testNames},
		{"Ownership", testOwnership},
		{"Order", testOrder},
		{"SerialWraps", testSerialWraps},
		{"Changes", testChanges},
		{"Log", testLog},
		{"LongTexts", testLongTexts},
		{"LogOfEmpty", testLogOfEmpty},
		{"ChangesOutOfReach", testChangesOutOfReach},
		{"ChangesSurvive", testChangesSurvive},
		{"ChangesWhileCommitting", testChangesWhileCommitting},
		{"ChangesWhileClosing", testChangesWhileClosing},
		{"Cancelled", testCancelled},
		{"VisitorError", testVisitorError},
		{"Closed", testClosed},
		{"ExclusiveUse", testExclusiveUse},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, make(t)) })
	}
}

func open(t *testing.T, opener Opener) store.Store {
	t.Helper()
	s, err := opener()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopen(t *testing.T, s store.Store, opener Opener) store.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return open(t, opener)
}

// wire returns the wire form of a name.
func wire(text string) string {
	name, err := dnswire.ParseName(text, nil)
	if err != nil {
		panic(err)
	}
	return string(name)
}

func soa(serial uint32) store.Record {
	data := make([]byte, 22)
	data[2], data[3], data[4], data[5] = byte(serial>>24), byte(serial>>16), byte(serial>>8), byte(serial)
	return store.Record{Name: wire("example.test."), Type: 6, Class: 1, TTL: 3600, Data: data}
}

func address(name string, last byte) store.Record {
	return store.Record{Name: wire(name), Type: 1, Class: 1, TTL: 300, Data: []byte{192, 0, 2, last}}
}

// change moves the serial by one and does what a zone's change does to the SOA.
func change(from uint32, removed, added []store.Record) store.Change {
	return store.Change{
		From: from, To: from + 1,
		Removed: append([]store.Record{soa(from)}, removed...),
		Added:   append([]store.Record{soa(from + 1)}, added...),
	}
}

func fill(t *testing.T, s store.Store, serial uint32, records ...store.Record) {
	t.Helper()
	records = append(records, soa(serial))
	if err := s.Init(context.Background(), store.Contents{Serial: serial, Records: slices.Values(records)}); err != nil {
		t.Fatalf("init: %v", err)
	}
}

func commit(t *testing.T, s store.Store, changes ...store.Change) {
	t.Helper()
	if err := s.Commit(context.Background(), changes); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// contents is a Visitor that keeps all it sees, as text.
type contents struct {
	t       *testing.T
	records []string
	owners  []string
}

func (c *contents) Record(r store.Record) error {
	c.records = append(c.records, timedLine(r))
	// The contract lets the store use Data again.
	clear(r.Data)
	return nil
}

func (c *contents) Owner(o store.Owner) error {
	c.owners = append(c.owners, ownerLine(o))
	return nil
}

func line(r store.Record) string {
	return fmt.Sprintf("%s %d %d %d %x", r.Name, r.Type, r.Class, r.TTL, r.Data)
}

// timedLine is line with the record's time.
func timedLine(r store.Record) string { return fmt.Sprintf("%s %d", line(r), r.Hours) }

func ownerLine(o store.Owner) string {
	if o.Deleted.IsZero() {
		return o.Name + " " + o.Principal
	}
	return o.Name + " " + o.Principal + " " + o.Deleted.UTC().Format(time.RFC3339Nano)
}

// expect loads the store and compares.
func expect(t *testing.T, s store.Store, serial uint32, records []store.Record, owners []store.Owner) {
	t.Helper()
	got := &contents{t: t}
	at, found, err := s.Load(context.Background(), got)
	if err != nil || !found {
		t.Fatalf("load: found %v, %v", found, err)
	}
	if at != serial {
		t.Errorf("serial %d, want %d", at, serial)
	}
	var wantRecords, wantOwners []string
	for _, r := range append(slices.Clone(records), soa(serial)) {
		wantRecords = append(wantRecords, timedLine(r))
	}
	for _, o := range owners {
		wantOwners = append(wantOwners, ownerLine(o))
	}
	for _, list := range [][]string{got.records, got.owners, wantRecords, wantOwners} {
		slices.Sort(list)
	}
	if !slices.Equal(got.records, wantRecords) {
		t.Errorf("records %q\nwant %q", got.records, wantRecords)
	}
	if !slices.Equal(got.owners, wantOwners) {
		t.Errorf("owners %q\nwant %q", got.owners, wantOwners)
	}
}

func changes(s store.Store, from, to uint32) (list []store.Change, err error) {
	for c, e := range s.Changes(context.Background(), from, to) {
		if e != nil {
			return list, e
		}
		list = append(list, c)
	}
	return list, nil
}

func testEmpty(t *testing.T, opener Opener) {
	s := open(t, opener)
	for range 2 {
		if _, found, err := s.Load(context.Background(), &contents{t: t}); found || err != nil {
			t.Fatalf("load of an empty store: found %v, %v", found, err)
		}
		s = reopen(t, s, opener)
	}
	if err := s.Commit(context.Background(), []store.Change{change(1, nil, nil)}); !errors.Is(err, store.ErrEmpty) {
		t.Errorf("commit to an empty store: %v", err)
	}
	if err := s.Commit(context.Background(), nil); err != nil {
		t.Errorf("commit of nothing: %v", err)
	}
}

func testInit(t *testing.T, opener Opener) {
	s := open(t, opener)
	records := []store.Record{address("a.example.test.", 1), address("a.example.test.", 2), address("b.example.test.", 1)}
	owners := []store.Owner{
		{Name: wire("a.example.test."), Principal: "host/a@REALM"},
		{Name: wire("gone.example.test."), Principal: "host/gone@REALM", Deleted: time.Unix(1700000000, 0).UTC()},
	}
	err := s.Init(context.Background(), store.Contents{
		Serial: 7, Records: slices.Values(append(slices.Clone(records), soa(7))), Owners: slices.Values(owners),
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, s, 7, records, owners)
	s = reopen(t, s, opener)
	expect(t, s, 7, records, owners)
	if list, err := changes(s, 7, 7); len(list) != 0 || err != nil {
		t.Errorf("changes after init: %v, %v", list, err)
	}
}

func testInitTwice(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	again := store.Contents{Serial: 2, Records: slices.Values([]store.Record{soa(2)})}
	if err := s.Init(context.Background(), again); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("second init: %v", err)
	}
	s = reopen(t, s, opener)
	if err := s.Init(context.Background(), again); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("init after reopening: %v", err)
	}
	expect(t, s, 1, nil, nil)
}

func testInitEmptyOwners(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 0)
	s = reopen(t, s, opener)
	expect(t, s, 0, nil, nil)
}

func testCommit(t *testing.T, opener Opener) {
	s := open(t, opener)
	a, b := address("a.example.test.", 1), address("b.example.test.", 1)
	fill(t, s, 1, a)
	commit(t, s, change(1, []store.Record{a}, []store.Record{b}))
	expect(t, s, 2, []store.Record{b}, nil)
	s = reopen(t, s, opener)
	expect(t, s, 2, []store.Record{b}, nil)
	commit(t, s, change(2, []store.Record{b}, nil))
	s = reopen(t, s, opener)
	expect(t, s, 3, nil, nil)
}

// testCommitMany commits several changes at once that undo each other in part.
func testCommitMany(t *testing.T, opener Opener) {
	s := open(t, opener)
	a, b := address("a.example.test.", 1), address("b.example.test.", 1)
	fill(t, s, 1)
	commit(t, s,
		change(1, nil, []store.Record{a}),
		change(2, []store.Record{a}, []store.Record{b}),
		change(3, nil, []store.Record{a}),
		change(4, []store.Record{b}, nil),
	)
	expect(t, s, 5, []store.Record{a}, nil)
	s = reopen(t, s, opener)
	expect(t, s, 5, []store.Record{a}, nil)
}

// testCommitLarge commits, in one, more than any buffer will hold.
func testCommitLarge(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	var list []store.Change
	var records []store.Record
	for i := range uint32(60) {
		var added []store.Record
		for j := range 2 {
			data := make([]byte, 30_000)
			data[0], data[1] = byte(i), byte(j)
			added = append(added, store.Record{Name: wire("large.example.test."), Type: 65280, Class: 1, TTL: 5, Data: data})
		}
		list = append(list, change(i+1, nil, added))
		records = append(records, added...)
	}
	commit(t, s, list...)
	expect(t, s, 61, records, nil)
	s = reopen(t, s, opener)
	expect(t, s, 61, records, nil)
	got, err := changes(s, 1, 61)
	if err != nil {
		t.Fatal(err)
	}
	compareChanges(t, got, list)
}

func testTTL(t *testing.T, opener Opener) {
	s := open(t, opener)
	old := address("a.example.test.", 1)
	fill(t, s, 1, old)
	changed := old
	changed.TTL = 60
	commit(t, s, change(1, []store.Record{old}, []store.Record{changed}))
	expect(t, s, 2, []store.Record{changed}, nil)
	again := old
	again.TTL = 90
	commit(t, s, change(2, nil, []store.Record{again}))
	s = reopen(t, s, opener)
	expect(t, s, 3, []store.Record{again}, nil)
}

func at(hours uint32, r store.Record) store.Record {
	r.Hours = hours
	return r
}

// testTimes keeps the time of each record through commits with and without a serial of their own.
func testTimes(t *testing.T, opener Opener) {
	s := open(t, opener)
	long := store.Record{Name: wire("long.example.test."), Type: 16, Class: 1, TTL: 5, Data: make([]byte, 1000)}
	a, b := address("a.example.test.", 1), address("a.example.test.", 2)
	fill(t, s, 1, at(500_000, a), b, at(500_001, long))
	expect(t, s, 1, []store.Record{at(500_000, a), b, at(500_001, long)}, nil)
	s = reopen(t, s, opener)
	expect(t, s, 1, []store.Record{at(500_000, a), b, at(500_001, long)}, nil)

	commit(t, s, store.Change{From: 1, To: 1, Refreshed: []store.Record{at(500_100, a), at(1<<32-1, long)}})
	expect(t, s, 1, []store.Record{at(500_100, a), b, at(1<<32-1, long)}, nil)
	if list, err := changes(s, 1, 1); len(list) != 0 || err != nil {
		t.Errorf("refreshes are in the log: %v, %v", list, err)
	}
	// The time of a record does not tell it from another.
	c := change(1, []store.Record{a}, []store.Record{at(500_200, b), at(500_201, address("b.example.test.", 1))})
	c.Refreshed = []store.Record{long}
	// The same batch refreshes a record that it has added, and removes another.
	again := store.Change{From: 2, To: 2, Refreshed: []store.Record{at(500_300, b)}}
	commit(t, s, c, again, change(2, []store.Record{address("b.example.test.", 1)}, nil))
	s = reopen(t, s, opener)
	expect(t, s, 3, []store.Record{at(500_300, b), long}, nil)
	list, err := changes(s, 1, 3)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, c := range list {
		if len(c.Refreshed) != 0 {
			t.Errorf("the log has refreshes: %v", c.Refreshed)
		}
	}
}

func testIdempotent(t *testing.T, opener Opener) {
	s := open(t, opener)
	a := address("a.example.test.", 1)
	fill(t, s, 1, a)
	c := change(1, []store.Record{address("nope.example.test.", 1)}, []store.Record{a})
	c.Disowned = []string{wire("nope.example.test.")}
	commit(t, s, c)
	expect(t, s, 2, []store.Record{a}, nil)
}

// testNames keeps apart what looks alike.
func testNames(t *testing.T, opener Opener) {
	s := open(t, opener)
	records := []store.Record{
		address(`a\000.example.test.`, 1), address(`a\.b.example.test.`, 1), address("a.b.example.test.", 1),
		address(`\000.example.test.`, 1), address(`\001.example.test.`, 1), address(`\002.example.test.`, 1), address(`\001\001.example.test.`, 1),
		address("A.example.test.", 3), address("a.EXAMPLE.test.", 3), address(strings.Repeat(`\000.`, 120)+"example.test.", 1),
		address("a.example.test.", 0), address("*.example.test.", 1), address("example.test.", 1),
		{Name: wire("a.example.test."), Type: 0x0100, Class: 1, TTL: 5, Data: nil},
		{Name: wire("a.example.test."), Type: 65280, Class: 1, TTL: 5, Data: []byte{}},
		{Name: wire("a.example.test."), Type: 65280, Class: 1, TTL: 5, Data: []byte{0}},
		{Name: wire("a.example.test."), Type: 65280, Class: 1, TTL: 5, Data: []byte{0, 0}},
		{Name: wire("a.example.test."), Type: 16, Class: 1, TTL: 5, Data: append([]byte{255}, make([]byte, 255)...)},
		{Name: wire("a.example.test."), Type: 16, Class: 1, TTL: 5, Data: make([]byte, 65535)},
	}
	fill(t, s, 1, records...)
	expect(t, s, 1, records, nil)
	commit(t, s, change(1, records[:4], nil))
	expect(t, s, 2, records[4:], nil)
	s = reopen(t, s, opener)
	expect(t, s, 2, records[4:], nil)
	commit(t, s, change(2, records[4:], records[:4]))
	s = reopen(t, s, opener)
	expect(t, s, 3, records[:4], nil)
}

func testOwnership(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	a := store.Owner{Name: wire("a.example.test."), Principal: "host/a@REALM"}
	b := store.Owner{Name: wire("b.example.test."), Principal: "host/b@REALM"}
	commit(t, s, store.Change{From: 1, To: 1, Owners: []store.Owner{a, b}})
	expect(t, s, 1, nil, []store.Owner{a, b})

	a.Deleted = time.Unix(1700000001, 0).UTC()
	b.Principal = "other@REALM"
	c := change(1, nil, []store.Record{address("b.example.test.", 1)})
	c.Owners = []store.Owner{a, b}
	commit(t, s, c)
	s = reopen(t, s, opener)
	expect(t, s, 2, []store.Record{address("b.example.test.", 1)}, []store.Owner{a, b})

	a.Deleted = time.Time{}
	commit(t, s, store.Change{From: 2, To: 2, Owners: []store.Owner{a}, Disowned: []string{wire("b.example.test.")}})
	s = reopen(t, s, opener)
	expect(t, s, 2, []store.Record{address("b.example.test.", 1)}, []store.Owner{a})
	if list, err := changes(s, 1, 2); len(list) != 1 || err != nil {
		t.Errorf("changes of ownership are in the log: %v, %v", list, err)
	}
}

// testOrder refuses gaps, whole.
func testOrder(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 5)
	a := []store.Record{address("a.example.test.", 1)}
	for name, list := range map[string][]store.Change{
		"behind":       {change(4, nil, a)},
		"ahead":        {change(6, nil, a)},
		"gap":          {change(5, nil, a), change(7, nil, nil)},
		"repeated":     {change(5, nil, a), change(5, nil, a)},
		"gap at owner": {change(5, nil, a), {From: 5, To: 5}},
	} {
		if err := s.Commit(context.Background(), list); !errors.Is(err, store.ErrOrder) {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, s, 5, nil, nil)
	commit(t, s, change(5, nil, a))
	if err := s.Commit(context.Background(), []store.Change{change(5, nil, a)}); !errors.Is(err, store.ErrOrder) {
		t.Errorf("again: %v", err)
	}
	s = reopen(t, s, opener)
	expect(t, s, 6, a, nil)
}

func testSerialWraps(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 0xfffffffe)
	wrap := change(0xffffffff, nil, nil)
	wrap.To, wrap.Added = 1, []store.Record{soa(1)}
	commit(t, s, change(0xfffffffe, nil, nil), wrap, change(1, nil, nil))
	s = reopen(t, s, opener)
	expect(t, s, 2, nil, nil)
	if list, err := changes(s, 0xfffffffe, 2); len(list) != 3 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}

func testChanges(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	var all []store.Change
	for i := range uint32(20) {
		c := change(i+1, nil, []store.Record{address("a.example.test.", byte(i))})
		all = append(all, c)
	}
	commit(t, s, all[:7]...)
	commit(t, s, all[7])
	commit(t, s, all[8:]...)
	for _, span := range [][2]uint32{{1, 21}, {1, 2}, {20, 21}, {7, 9}, {3, 3}, {21, 21}} {
		list, err := changes(s, span[0], span[1])
		if err != nil {
			t.Errorf("from %d to %d: %v", span[0], span[1], err)
			continue
		}
		compareChanges(t, list, all[span[0]-1:span[1]-1])
	}
	// A reader may stop early.
	for range s.Changes(context.Background(), 1, 21) {
		break
	}
}

func compareChanges(t *testing.T, got, want []store.Change) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d changes, want %d", len(got), len(want))
		return
	}
	for i := range got {
		same := got[i].From == want[i].From && got[i].To == want[i].To
		equal := func(a, b store.Record) bool { return line(a) == line(b) }
		same = same && slices.EqualFunc(got[i].Removed, want[i].Removed, equal)
		same = same && slices.EqualFunc(got[i].Added, want[i].Added, equal)
		if !same {
			t.Errorf("change %d: %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func entries(s store.Store) (list []store.Change, err error) {
	for c, e := range s.Log(context.Background()) {
		if e != nil {
			return list, e
		}
		list = append(list, c)
	}
	return list, nil
}

// testLog reads who made each change, and when, the newest first.
func testLog(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	begin := time.Now().Add(-time.Minute)
	var all []store.Change
	for i := range uint32(80) {
		c := change(i+1, nil, []store.Record{address("a.example.test.", byte(i))})
		c.Author, c.Rule = fmt.Sprintf("host/%d@REALM", i), strings.Repeat("r", int(i))
		all = append(all, c)
	}
	commit(t, s, all[:70]...)
	// Neither of these is a change of the zone's contents.
	commit(t, s, store.Change{From: 71, To: 71, Author: "a", Refreshed: []store.Record{at(5, address("a.example.test.", 1))}},
		store.Change{From: 71, To: 71, Author: "b", Owners: []store.Owner{{Name: wire("a.example.test."), Principal: "p"}}})
	commit(t, s, all[70:]...)
	slices.Reverse(all)
	for range 2 {
		list, err := entries(s)
		if err != nil {
			t.Fatal(err)
		}
		compareChanges(t, list, all)
		for i, c := range list {
			if c.Author != all[i].Author || c.Rule != all[i].Rule {
				t.Errorf("change to %d by %q, rule %q", c.To, c.Author, c.Rule)
			}
			if c.Committed.Location() != time.UTC || c.Committed.Nanosecond() != 0 || c.Committed.Before(begin) || c.Committed.After(time.Now()) {
				t.Errorf("change to %d at %v", c.To, c.Committed)
			}
		}
		s = reopen(t, s, opener)
	}
	// A reader may stop early.
	for c := range s.Log(context.Background()) {
		if c.To != 81 {
			t.Errorf("the newest change is to %d", c.To)
		}
		break
	}
	list, err := changes(s, 1, 81)
	if err != nil || len(list) != 80 || list[3].Author != "host/3@REALM" || list[3].Rule != "rrr" {
		t.Errorf("%d changes, %v", len(list), err)
	}
}

// testLongTexts refuses what the log has no room for, whole.
func testLongTexts(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	for _, texts := range [][2]string{{strings.Repeat("a", store.MaxText+1), ""}, {"", strings.Repeat("r", store.MaxText+1)}} {
		c := change(2, nil, nil)
		c.Author, c.Rule = texts[0], texts[1]
		if err := s.Commit(context.Background(), []store.Change{change(1, nil, nil), c}); !errors.Is(err, store.ErrText) {
			t.Errorf("%d and %d octets: %v", len(texts[0]), len(texts[1]), err)
		}
	}
	expect(t, s, 1, nil, nil)
	c := change(1, nil, nil)
	c.Author, c.Rule = store.CutText(strings.Repeat("é", store.MaxText)), store.CutText(strings.Repeat("r", store.MaxText))
	commit(t, s, c)
	list, err := entries(s)
	if err != nil || len(list) != 1 || list[0].Author != c.Author || list[0].Rule != c.Rule {
		t.Errorf("%v, %v", list, err)
	}
}

func testLogOfEmpty(t *testing.T, opener Opener) {
	s := open(t, opener)
	if list, err := entries(s); len(list) != 0 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	fill(t, s, 1)
	if list, err := entries(s); len(list) != 0 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}

func testChangesOutOfReach(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 5)
	commit(t, s, change(5, nil, nil), change(6, nil, nil))
	for _, span := range [][2]uint32{{4, 7}, {5, 8}, {8, 7}, {7, 5}, {100, 7}} {
		if list, err := changes(s, span[0], span[1]); !errors.Is(err, store.ErrHistory) || len(list) != 0 {
			t.Errorf("from %d to %d: %v, %v", span[0], span[1], list, err)
		}
	}
}

func testChangesSurvive(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	all := []store.Change{
		change(1, nil, []store.Record{address("a.example.test.", 1)}),
		change(2, []store.Record{address("a.example.test.", 1)}, nil),
	}
	commit(t, s, all...)
	s = reopen(t, s, opener)
	list, err := changes(s, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	compareChanges(t, list, all)
}

func testChangesWhileCommitting(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	commit(t, s, change(1, nil, nil))
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if list, err := changes(s, 1, 2); err != nil || len(list) != 1 {
					t.Errorf("%v, %v", list, err)
					return
				}
			}
		})
	}
	for i := range uint32(50) {
		commit(t, s, change(i+2, nil, nil))
	}
	close(stop)
	readers.Wait()
}

// testChangesWhileClosing ends the store beside its readers. They may see the rest, or that it is
// closed.
func testChangesWhileClosing(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	var all []store.Change
	for i := range uint32(90) {
		all = append(all, change(i+1, nil, nil))
	}
	commit(t, s, all...)
	var readers sync.WaitGroup
	begun := make(chan struct{}, 4)
	for range 4 {
		readers.Go(func() {
			for first := true; ; first = false {
				list, err := changes(s, 1, 91)
				if err != nil && !errors.Is(err, store.ErrClosed) {
					t.Errorf("%v", err)
				}
				if err == nil && len(list) != len(all) {
					t.Errorf("%d changes without an error", len(list))
				}
				if first {
					begun <- struct{}{}
				}
				if err != nil {
					return
				}
			}
		})
	}
	for range 4 {
		<-begun
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	readers.Wait()
}

func testCancelled(t *testing.T, opener Opener) {
	s := open(t, opener)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Init(ctx, store.Contents{Serial: 1, Records: slices.Values([]store.Record{soa(1)})}); !errors.Is(err, context.Canceled) {
		t.Errorf("init: %v", err)
	}
	fill(t, s, 1)
	if err := s.Commit(ctx, []store.Change{change(1, nil, nil)}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v", err)
	}
	expect(t, s, 1, nil, nil)
	commit(t, s, change(1, nil, nil))
	for _, err := range s.Changes(ctx, 1, 2) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("changes: %v", err)
		}
	}
	for _, err := range s.Log(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("log: %v", err)
		}
	}
}

type stopper struct{ err error }

func (s stopper) Record(store.Record) error { return s.err }
func (s stopper) Owner(store.Owner) error   { return s.err }

func testVisitorError(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	stop := errors.New("enough")
	if _, _, err := s.Load(context.Background(), stopper{stop}); !errors.Is(err, stop) {
		t.Errorf("load: %v", err)
	}
}

func testClosed(t *testing.T, opener Opener) {
	s := open(t, opener)
	fill(t, s, 1)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, _, err := s.Load(context.Background(), &contents{t: t}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("load: %v", err)
	}
	if err := s.Init(context.Background(), store.Contents{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("init: %v", err)
	}
	if err := s.Commit(context.Background(), []store.Change{change(1, nil, nil)}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if _, err := changes(s, 1, 2); !errors.Is(err, store.ErrClosed) {
		t.Errorf("changes: %v", err)
	}
	if _, err := entries(s); !errors.Is(err, store.ErrClosed) {
		t.Errorf("log: %v", err)
	}
}

func testExclusiveUse(t *testing.T, opener Opener) {
	s := open(t, opener)
	if second, err := opener(); err == nil {
		second.Close()
		t.Error("opened what is in use")
	}
	fill(t, s, 1)
	s = reopen(t, s, opener)
	expect(t, s, 1, nil, nil)
}
