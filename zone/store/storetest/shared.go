package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A SharedOpener opens one store for a server of that name. A test opens it for one server again only
// after it has closed it.
type SharedOpener func(server string) (store.Shared, error)

// RunShared runs the tests of the contract of store.Shared with as many servers: one for an adapter of
// an exclusive store, three for others. make returns what opens a new, empty store. The log of one for
// three servers keeps at least 100 batches and at most 200.
func RunShared(t *testing.T, servers int, make func(t *testing.T) SharedOpener) {
	type test struct {
		name string
		run  func(*testing.T, SharedOpener)
	}
	tests := []test{
		{"Empty", sharedEmpty},
		{"Init", sharedInit},
		{"Propose", sharedPropose},
		{"ProposeMany", sharedProposeMany},
		{"Refused", sharedRefused},
		{"Confirm", sharedConfirm},
		{"Reopened", sharedReopened},
		{"Changes", sharedChanges},
		{"VisitorError", sharedVisitorError},
		{"Cancelled", sharedCancelled},
		{"Closed", sharedClosed},
	}
	if servers > 1 {
		tests = append(tests, []test{
			{"InitByTwo", sharedInitByTwo},
			{"Conflict", sharedConflict},
			{"ConflictOfMany", sharedConflictOfMany},
			{"SameState", sharedSameState},
			{"LoadIsCurrent", sharedLoadIsCurrent},
			{"Follow", sharedFollow},
			{"FollowFromBefore", sharedFollowFromBefore},
			{"Heartbeat", sharedHeartbeat},
			{"Marks", sharedMarks},
			{"Frozen", sharedFrozen},
			{"History", sharedHistory},
			{"Contention", sharedContention},
		}...)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, make(t)) })
	}
}

func openShared(t *testing.T, opener SharedOpener, server string) store.Shared {
	t.Helper()
	s, err := opener(server)
	if err != nil {
		t.Fatalf("open for server %s: %v", server, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A model is what a zone holds, as plainly as it can be written.
type model struct {
	serial  uint32
	records map[string]store.Record // by all that identifies one
	owners  map[string]store.Owner
}

func newModel(serial uint32, records ...store.Record) *model {
	m := &model{serial: serial, records: make(map[string]store.Record), owners: make(map[string]store.Owner)}
	for _, r := range append(records, soa(serial)) {
		m.records[identity(r)] = r
	}
	return m
}

func identity(r store.Record) string {
	return fmt.Sprintf("%q %d %d %x", r.Name, r.Type, r.Class, r.Data)
}

func (m *model) clone() *model {
	c := newModel(m.serial)
	clear(c.records)
	for k, r := range m.records {
		c.records[k] = r
	}
	for k, o := range m.owners {
		c.owners[k] = o
	}
	return c
}

func (m *model) apply(changes []store.Change) {
	for _, c := range changes {
		for _, r := range c.Removed {
			delete(m.records, identity(r))
		}
		for _, r := range slices.Concat(c.Added, c.Refreshed) {
			m.records[identity(r)] = r
		}
		for _, o := range c.Owners {
			m.owners[o.Name] = o
		}
		for _, name := range c.Disowned {
			delete(m.owners, name)
		}
		m.serial = c.To
	}
}

// batch returns a batch of changes to what m holds.
func (m *model) batch(changes ...store.Change) store.Batch {
	after := m.clone()
	after.apply(changes)
	return store.Batch{Changes: changes, At: func(name string) (records []store.Record, owner *store.Owner) {
		for _, r := range after.records {
			if strings.EqualFold(r.Name, name) {
				records = append(records, r)
			}
		}
		slices.SortFunc(records, func(a, b store.Record) int { return strings.Compare(identity(a), identity(b)) })
		if o, owned := after.owners[name]; owned {
			owner = &o
		}
		return records, owner
	}}
}

// init fills a store with what m holds.
func (m *model) init(t *testing.T, s store.Shared) store.Position {
	t.Helper()
	p, err := s.Init(context.Background(), m.contents())
	if err != nil {
		t.Fatalf("init: %v", err)
	}
	if p.Serial != m.serial {
		t.Fatalf("init with serial %d is at %+v", m.serial, p)
	}
	return p
}

func (m *model) contents() store.Contents {
	var records []store.Record
	var owners []store.Owner
	for _, r := range m.records {
		records = append(records, r)
	}
	for _, o := range m.owners {
		owners = append(owners, o)
	}
	return store.Contents{Serial: m.serial, Records: slices.Values(records), Owners: slices.Values(owners)}
}

// propose commits changes to what m holds, and to m.
func (m *model) propose(t *testing.T, s store.Shared, at store.Position, changes ...store.Change) store.Position {
	t.Helper()
	p, missed, err := s.Propose(context.Background(), at, m.batch(changes...))
	if err != nil || len(missed) > 0 {
		t.Fatalf("propose: %v, %d missed", err, len(missed))
	}
	if m.apply(changes); p.Sequence != at.Sequence+1 || p.Serial != m.serial {
		t.Fatalf("from %+v to %+v", at, p)
	}
	return p
}

// sharedContents is a SharedVisitor that keeps all it sees, as text.
type sharedContents struct {
	contents
	marks  []store.Mark
	frozen store.Freeze
}

func (c *sharedContents) Mark(m store.Mark) error {
	c.marks = append(c.marks, m)
	return nil
}

func (c *sharedContents) Frozen(f store.Freeze) error {
	c.frozen = f
	return nil
}

// expectShared loads a store, compares it with m, and returns the position.
func expectShared(t *testing.T, s store.Shared, m *model) (store.Position, *sharedContents) {
	t.Helper()
	got := &sharedContents{contents: contents{t: t}}
	p, found, err := s.Load(context.Background(), got)
	if err != nil || !found {
		t.Fatalf("load: found %v, %v", found, err)
	}
	if p.Serial != m.serial {
		t.Errorf("at %+v, want serial %d", p, m.serial)
	}
	var records, owners []string
	for _, r := range m.records {
		records = append(records, timedLine(r))
	}
	for _, o := range m.owners {
		owners = append(owners, ownerLine(o))
	}
	for _, list := range [][]string{got.records, got.owners, records, owners} {
		slices.Sort(list)
	}
	if !slices.Equal(got.records, records) {
		t.Errorf("records %q\nwant %q", got.records, records)
	}
	if !slices.Equal(got.owners, owners) {
		t.Errorf("owners %q\nwant %q", got.owners, owners)
	}
	return p, got
}

// sampleChanges are changes of every kind, from a serial on, to a zone that has sampleRecords.
func sampleChanges(serial uint32) []store.Change {
	first := change(serial, []store.Record{address("A.example.test.", 1)}, []store.Record{address("A.example.test.", 2), at(7, address("b.example.test.", 1))})
	first.Author, first.Rule = "host/a@REALM", "self"
	first.Owners = []store.Owner{{Name: wire("b.example.test."), Principal: "host/b@REALM"}}
	second := change(serial+1, []store.Record{address("c.example.test.", 1)}, nil)
	second.Refreshed = []store.Record{at(9, address("b.example.test.", 1))}
	second.Owners = []store.Owner{{Name: wire("c.example.test."), Principal: "host/c@REALM", Deleted: time.Unix(1700000000, 0).UTC()}}
	second.Disowned = []string{wire("d.example.test.")}
	times := store.Change{From: serial + 2, To: serial + 2, Author: "host/b@REALM", Refreshed: []store.Record{at(11, address("b.example.test.", 1))}}
	return []store.Change{first, second, times}
}

func sampleModel(serial uint32) *model {
	m := newModel(serial, address("A.example.test.", 1), address("c.example.test.", 1), address("d.example.test.", 1))
	m.owners[wire("c.example.test.")] = store.Owner{Name: wire("c.example.test."), Principal: "host/c@REALM"}
	m.owners[wire("d.example.test.")] = store.Owner{Name: wire("d.example.test."), Principal: "host/d@REALM"}
	return m
}

func sharedEmpty(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	for range 2 {
		if _, found, err := s.Load(context.Background(), &sharedContents{contents: contents{t: t}}); found || err != nil {
			t.Errorf("load: found %v, %v", found, err)
		}
	}
}

func sharedInit(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	if got, _ := expectShared(t, s, m); got != p {
		t.Errorf("init at %+v, load at %+v", p, got)
	}
	if _, err := s.Init(context.Background(), newModel(9).contents()); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("second init: %v", err)
	}
	expectShared(t, s, m)
}

// sharedPropose commits every kind of change.
func sharedPropose(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	for i, c := range sampleChanges(7) {
		p = m.propose(t, s, p, c)
		if got, _ := expectShared(t, s, m); got != p {
			t.Errorf("change %d: committed at %+v, load at %+v", i, p, got)
		}
	}
}

// sharedProposeMany commits changes together that undo each other in part.
func sharedProposeMany(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	list := sampleChanges(7)
	p = m.propose(t, s, p, append(list,
		change(9, []store.Record{address("A.example.test.", 2)}, []store.Record{address("c.example.test.", 1)}),
		change(10, []store.Record{address("c.example.test.", 1)}, nil))...)
	if got, _ := expectShared(t, s, m); got != p {
		t.Errorf("committed at %+v, load at %+v", p, got)
	}
	m.propose(t, s, p, change(11, nil, nil))
	expectShared(t, s, m)
}

// sharedRefused proposes what no store commits.
func sharedRefused(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	long := change(7, nil, nil)
	long.Author = strings.Repeat("a", store.MaxText+1)
	for _, test := range []struct {
		what    string
		changes []store.Change
		want    error
	}{
		{"behind", []store.Change{change(6, nil, nil)}, store.ErrOrder},
		{"gap", []store.Change{change(7, nil, nil), change(9, nil, nil)}, store.ErrOrder},
		{"long text", []store.Change{long}, store.ErrText},
	} {
		if _, _, err := s.Propose(context.Background(), p, m.batch(test.changes...)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.what, err, test.want)
		}
	}
	if got, _ := expectShared(t, s, m); got != p {
		t.Errorf("at %+v, want %+v", got, p)
	}
	m.propose(t, s, p, change(7, nil, nil))
}

func sharedConfirm(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	for i := range 3 {
		if missed, err := s.Confirm(context.Background(), p); err != nil || len(missed) > 0 {
			t.Errorf("%v, %d missed", err, len(missed))
		}
		before := p
		p = m.propose(t, s, p, change(7+uint32(i), nil, nil))
		if _, err := s.Confirm(context.Background(), before); !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrHistory) {
			t.Errorf("the position before: %v", err)
		}
	}
}

// sharedReopened finds all there after the server has gone and come again.
func sharedReopened(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	m.propose(t, s, m.init(t, s), sampleChanges(7)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openShared(t, opener, "a")
	p, _ := expectShared(t, s, m)
	m.propose(t, s, p, change(9, nil, []store.Record{address("e.example.test.", 1)}))
	expectShared(t, s, m)
}

func sharedChanges(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	var all []store.Change
	for i := range uint32(10) {
		c := change(7+2*i, nil, []store.Record{address("e.example.test.", byte(i))})
		again := change(8+2*i, []store.Record{address("e.example.test.", byte(i))}, nil)
		c.Author, again.Rule = fmt.Sprint("author ", i), fmt.Sprint("rule ", i)
		all = append(all, c, again)
		p = m.propose(t, s, p, c, again)
	}
	for _, span := range [][2]uint32{{7, 27}, {7, 8}, {26, 27}, {12, 15}, {9, 9}} {
		var got []store.Change
		for c, err := range s.Changes(context.Background(), span[0], span[1]) {
			if err != nil {
				t.Fatalf("from %d to %d: %v", span[0], span[1], err)
			}
			got = append(got, c)
		}
		compareChanges(t, got, all[span[0]-7:span[1]-7])
	}
	for _, span := range [][2]uint32{{6, 27}, {7, 28}, {27, 7}} {
		for _, err := range s.Changes(context.Background(), span[0], span[1]) {
			if !errors.Is(err, store.ErrHistory) {
				t.Errorf("from %d to %d: %v", span[0], span[1], err)
			}
		}
	}
	var log []store.Change
	for c, err := range s.Log(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, c)
	}
	slices.Reverse(log)
	compareChanges(t, log, all)
	for i, c := range log {
		if i < len(all) && (c.Author != all[i].Author || c.Rule != all[i].Rule || c.Committed.IsZero() || c.Committed.Location() != time.UTC) {
			t.Errorf("change %d by %q, rule %q, at %v", i, c.Author, c.Rule, c.Committed)
		}
	}
}

type sharedStopper struct{ stopper }

func (s sharedStopper) Mark(store.Mark) error     { return s.err }
func (s sharedStopper) Frozen(store.Freeze) error { return s.err }

func sharedVisitorError(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	sampleModel(7).init(t, s)
	stop := errors.New("enough")
	if _, _, err := s.Load(context.Background(), sharedStopper{stopper{stop}}); !errors.Is(err, stop) {
		t.Errorf("load: %v", err)
	}
}

// sharedCancelled has calls end that nobody waits for any more.
func sharedCancelled(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.Propose(ctx, p, m.batch(change(7, nil, nil))); err == nil {
		t.Error("proposed")
	}
	for range s.Follow(ctx, p) {
		// What it yields does not matter, but that it ends.
	}
	expectShared(t, s, m)
}

func sharedClosed(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, _, err := s.Load(context.Background(), &sharedContents{contents: contents{t: t}}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("load: %v", err)
	}
	if _, _, err := s.Propose(context.Background(), p, m.batch(change(7, nil, nil))); !errors.Is(err, store.ErrClosed) {
		t.Errorf("propose: %v", err)
	}
	for _, err := range s.Changes(context.Background(), 6, 7) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("changes: %v", err)
		}
	}
	for range s.Follow(context.Background(), p) {
		// It ends.
	}
}

// sharedInitByTwo lets one of several servers fill the store.
func sharedInitByTwo(t *testing.T, opener SharedOpener) {
	var servers sync.WaitGroup
	var mu sync.Mutex
	var won []*model
	stores := []store.Shared{openShared(t, opener, "a"), openShared(t, opener, "b"), openShared(t, opener, "c")}
	for i, s := range stores {
		servers.Go(func() {
			m := newModel(uint32(10*i+1), address("a.example.test.", byte(i)))
			_, err := s.Init(context.Background(), m.contents())
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, m)
			} else if !errors.Is(err, store.ErrNotEmpty) {
				t.Errorf("init: %v", err)
			}
		})
	}
	servers.Wait()
	if len(won) != 1 {
		t.Fatalf("%d servers have filled the store", len(won))
	}
	for _, s := range stores {
		expectShared(t, s, won[0])
	}
}

// sameBatch compares a batch with what was proposed.
func sameBatch(t *testing.T, got store.Committed, server string, at store.Position, want store.Batch) {
	t.Helper()
	if got.Position != at || got.Server != server || time.Since(got.Time).Abs() > time.Hour || got.At != nil {
		t.Errorf("batch at %+v of %q, %v; want %+v of %q", got.Position, got.Server, got.Time, at, server)
	}
	if !slices.Equal(got.Marks, want.Marks) {
		t.Errorf("marks %v, want %v", got.Marks, want.Marks)
	}
	if (got.Frozen == nil) != (want.Frozen == nil) || got.Frozen != nil && *got.Frozen != *want.Frozen {
		t.Errorf("frozen %v, want %v", got.Frozen, want.Frozen)
	}
	if len(got.Changes) != len(want.Changes) {
		t.Errorf("%d changes, want %d", len(got.Changes), len(want.Changes))
		return
	}
	same := func(a, b store.Record) bool {
		return a.Name == b.Name && a.Type == b.Type && a.Class == b.Class && a.TTL == b.TTL && a.Hours == b.Hours && bytes.Equal(a.Data, b.Data)
	}
	for i, w := range want.Changes {
		g := got.Changes[i]
		owners := slices.EqualFunc(g.Owners, w.Owners, func(a, b store.Owner) bool { return ownerLine(a) == ownerLine(b) })
		if g.From != w.From || g.To != w.To || g.Author != w.Author || g.Rule != w.Rule || !owners || !slices.Equal(g.Disowned, w.Disowned) ||
			!slices.EqualFunc(g.Removed, w.Removed, same) || !slices.EqualFunc(g.Added, w.Added, same) || !slices.EqualFunc(g.Refreshed, w.Refreshed, same) {
			t.Errorf("change %d is %+v\nwant %+v", i, g, w)
		}
	}
}

// sharedConflict commits from one of two servers at one position, and tells the other all.
func sharedConflict(t *testing.T, opener SharedOpener) {
	a, b := openShared(t, opener, "a"), openShared(t, opener, "b")
	m := sampleModel(7)
	first := m.init(t, a)
	if got, _ := expectShared(t, b, m); got != first {
		t.Fatalf("at %+v, want %+v", got, first)
	}
	batch := m.batch(sampleChanges(7)...)
	batch.Marks = []store.Mark{{Context: [16]byte{1, 2}, Number: 1<<64 - 1}, {Number: 7}}
	second, _, err := a.Propose(context.Background(), first, batch)
	if err != nil {
		t.Fatal(err)
	}
	late := m.batch(change(7, nil, []store.Record{address("late.example.test.", 1)}))
	for range 2 {
		_, missed, err := b.Propose(context.Background(), first, late)
		if !errors.Is(err, store.ErrConflict) || len(missed) != 1 {
			t.Fatalf("%v, %d missed", err, len(missed))
		}
		sameBatch(t, missed[0], "a", second, batch)
		missed, err = b.Confirm(context.Background(), first)
		if !errors.Is(err, store.ErrConflict) || len(missed) != 1 {
			t.Fatalf("confirm: %v, %d missed", err, len(missed))
		}
		sameBatch(t, missed[0], "a", second, batch)
	}
	m.apply(batch.Changes)
	expectShared(t, a, m)
	if _, err := b.Confirm(context.Background(), second); err != nil {
		t.Errorf("confirm: %v", err)
	}
	m.propose(t, b, second, change(9, nil, []store.Record{address("late.example.test.", 1)}))
	expectShared(t, a, m)
}

// sharedConflictOfMany tells the batches in their order.
func sharedConflictOfMany(t *testing.T, opener SharedOpener) {
	a, b := openShared(t, opener, "a"), openShared(t, opener, "b")
	m := sampleModel(7)
	p := m.init(t, a)
	positions := []store.Position{p}
	for i := range uint32(30) {
		p = m.propose(t, a, p, change(7+i, nil, []store.Record{address("a.example.test.", byte(i))}))
		positions = append(positions, p)
	}
	for _, from := range []int{0, 1, 17, 29} {
		_, missed, err := b.Propose(context.Background(), positions[from], newModel(0).batch())
		if !errors.Is(err, store.ErrConflict) || len(missed) != 30-from {
			t.Fatalf("from %d: %v, %d missed", from, err, len(missed))
		}
		for i, c := range missed {
			if c.Position != positions[from+1+i] || len(c.Changes) != 1 || c.Changes[0].To != c.Position.Serial {
				t.Errorf("from %d: batch %d at %+v, want %+v", from, i, c.Position, positions[from+1+i])
			}
		}
	}
}

// sharedSameState holds a proposal that comes twice, as after an answer that was lost.
func sharedSameState(t *testing.T, opener SharedOpener) {
	s := openShared(t, opener, "a")
	m := sampleModel(7)
	p := m.init(t, s)
	times := store.Change{From: 7, To: 7, Refreshed: []store.Record{at(5, address("A.example.test.", 1))}}
	again := m.batch(times)
	m.propose(t, s, p, times)
	if _, _, err := s.Propose(context.Background(), p, again); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the same again, which keeps the serial: %v", err)
	}
	expectShared(t, s, m)
}

// sharedLoadIsCurrent has a batch of one server found by all others at once.
func sharedLoadIsCurrent(t *testing.T, opener SharedOpener) {
	stores := []store.Shared{openShared(t, opener, "a"), openShared(t, opener, "b"), openShared(t, opener, "c")}
	m := sampleModel(7)
	m.init(t, stores[0])
	for i := range uint32(15) {
		s := stores[i%3]
		p, _ := expectShared(t, s, m)
		m.propose(t, s, p, change(7+i, nil, []store.Record{address("a.example.test.", byte(i))}))
	}
	for _, s := range stores {
		expectShared(t, s, m)
	}
}

// follower follows a store in the background.
type follower struct {
	batches chan store.Committed
	end     chan error
	cancel  context.CancelFunc
}

func follow(t *testing.T, s store.Shared, from store.Position) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{batches: make(chan store.Committed), end: make(chan error, 1), cancel: cancel}
	go func() {
		defer close(f.batches)
		for c, err := range s.Follow(ctx, from) {
			if err != nil {
				f.end <- err
				return
			}
			select {
			case f.batches <- c:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range f.batches {
			// Until it has ended.
		}
	})
	return f
}

// hasBatch reports whether this is not merely a position.
func hasBatch(c store.Committed) bool {
	return len(c.Changes) > 0 || len(c.Marks) > 0 || c.Frozen != nil
}

// next returns the next batch.
func (f *follower) next(t *testing.T) store.Committed {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case c, ok := <-f.batches:
			if !ok {
				t.Fatalf("following has ended: %v", <-f.end)
			}
			if hasBatch(c) {
				return c
			}
		case <-late:
			t.Fatal("no batch came")
		}
	}
}

// sharedFollow yields what this server and others commit, in one order.
func sharedFollow(t *testing.T, opener SharedOpener) {
	a, b := openShared(t, opener, "a"), openShared(t, opener, "b")
	m := sampleModel(7)
	p := m.init(t, a)
	followers := []*follower{follow(t, a, p), follow(t, b, p)}
	for i, c := range sampleChanges(7) {
		s, server := a, "a"
		if i%2 == 1 {
			s, server = b, "b"
		}
		batch := m.batch(c)
		p = m.propose(t, s, p, c)
		for _, f := range followers {
			sameBatch(t, f.next(t), server, p, batch)
		}
	}
	for _, f := range followers {
		f.cancel()
		for range f.batches {
			// Until it has ended.
		}
	}
}

// sharedFollowFromBefore begins with what the log has.
func sharedFollowFromBefore(t *testing.T, opener SharedOpener) {
	a, b := openShared(t, opener, "a"), openShared(t, opener, "b")
	m := sampleModel(7)
	p := m.init(t, a)
	positions := []store.Position{p}
	for i := range uint32(20) {
		p = m.propose(t, a, p, change(7+i, nil, nil))
		positions = append(positions, p)
	}
	for _, from := range []int{0, 13, 20} {
		f := follow(t, b, positions[from])
		for _, want := range positions[from+1:] {
			if c := f.next(t); c.Position != want {
				t.Fatalf("from %d: batch at %+v, want %+v", from, c.Position, want)
			}
		}
		p = m.propose(t, a, p, change(m.serial, nil, nil))
		positions = append(positions, p)
		if c := f.next(t); c.Position != p {
			t.Errorf("from %d: batch at %+v, want %+v", from, c.Position, p)
		}
		f.cancel()
	}
}

// sharedHeartbeat tells of a position that it is the newest, after all batches before.
func sharedHeartbeat(t *testing.T, opener SharedOpener) {
	a, b := openShared(t, opener, "a"), openShared(t, opener, "b")
	m := sampleModel(7)
	p := m.init(t, a)
	begun := time.Now()
	f := follow(t, b, p)
	for i := range uint32(5) {
		p = m.propose(t, a, p, change(7+i, nil, nil))
	}
	last := uint64(0)
	late := time.After(30 * time.Second)
	for {
		select {
		case c, ok := <-f.batches:
			switch {
			case !ok:
				t.Fatalf("following has ended: %v", <-f.end)
			case hasBatch(c):
				last = c.Position.Sequence
				continue
			case last != 0 && c.Position.Sequence > last, c.Time.Before(begun), c.Time.After(time.Now()):
				t.Errorf("after batch %d: %+v was the newest at %v", last, c.Position, c.Time)
			}
			if c.Position == p && last == p.Sequence {
				return
			}
		case <-late:
			t.Fatal("no heartbeat came")
		}
	}
}

// sharedMarks keeps the marks of a batch, also of one without changes.
func sharedMarks(t *testing.T, opener SharedOpener) {
	a, b := openShared(t, opener, "a"), openShared(t, opener, "b")
	m := sampleModel(7)
	first := m.init(t, a)
	f := follow(t, b, first)
	var all []store.Mark
	p := first
	for i := range uint64(5) {
		batch := m.batch()
		if i%2 == 1 {
			batch = m.batch(change(m.serial, nil, nil))
		}
		batch.Marks = []store.Mark{{Context: [16]byte{byte(i)}, Number: i}, {Context: [16]byte{15: 1}, Number: 1 << 40 * i}}
		next, _, err := a.Propose(context.Background(), p, batch)
		if err != nil || next.Sequence != p.Sequence+1 {
			t.Fatalf("%+v, %v", next, err)
		}
		p = next
		m.apply(batch.Changes)
		all = append(all, batch.Marks...)
		sameBatch(t, f.next(t), "a", p, batch)
	}
	if _, got := expectShared(t, b, m); !sameMarks(got.marks, all) {
		t.Errorf("load: marks %v, want %v", got.marks, all)
	}
	if _, missed, err := b.Propose(context.Background(), first, m.batch()); !errors.Is(err, store.ErrConflict) || len(missed) != 5 || !slices.Equal(missed[4].Marks, all[8:]) {
		t.Errorf("%v, %+v", err, missed)
	}
}

// sameMarks compares marks in any order.
func sameMarks(a, b []store.Mark) bool {
	text := func(marks []store.Mark) (list []string) {
		for _, m := range marks {
			list = append(list, fmt.Sprint(m))
		}
		slices.Sort(list)
		return list
	}
	return slices.Equal(text(a), text(b))
}

// sharedFrozen tells all servers since when the zone is frozen and whether it is sealed, and that it is not any more.
func sharedFrozen(t *testing.T, opener SharedOpener) {
	a, b := openShared(t, opener, "a"), openShared(t, opener, "b")
	m := sampleModel(7)
	p := m.init(t, a)
	f := follow(t, b, p)
	last := store.Freeze{Since: time.Unix(1900000000, 0).UTC(), Sealed: true}
	for _, frozen := range []store.Freeze{
		{Since: time.Unix(1700000000, 123456789).UTC()}, {}, {Since: time.Unix(1800000000, 0).UTC()},
		{Since: time.Unix(1800000000, 0).UTC(), Sealed: true}, {Since: time.Unix(1800000000, 0).UTC()}, last,
	} {
		batch := m.batch()
		batch.Frozen = &frozen
		next, _, err := a.Propose(context.Background(), p, batch)
		if err != nil || next.Sequence != p.Sequence+1 || next.Serial != p.Serial {
			t.Fatalf("%+v, %v", next, err)
		}
		p = next
		sameBatch(t, f.next(t), "a", p, batch)
		if _, got := expectShared(t, b, m); got.frozen != frozen {
			t.Errorf("load: %+v, want %+v", got.frozen, frozen)
		}
	}
	// Other batches do not thaw it.
	m.propose(t, b, p, change(7, nil, nil))
	if _, got := expectShared(t, a, m); got.frozen != last {
		t.Errorf("load: %+v", got.frozen)
	}
}

// sharedHistory says so if the log does not reach back to a position.
func sharedHistory(t *testing.T, opener SharedOpener) {
	a, b := openShared(t, opener, "a"), openShared(t, opener, "b")
	m := sampleModel(7)
	first := m.init(t, a)
	p := first
	for i := range uint32(250) {
		p = m.propose(t, a, p, change(7+i, nil, nil))
	}
	if _, missed, err := b.Propose(context.Background(), first, m.batch()); !errors.Is(err, store.ErrHistory) || len(missed) > 0 {
		t.Errorf("propose: %v, %d missed", err, len(missed))
	}
	if missed, err := b.Confirm(context.Background(), first); !errors.Is(err, store.ErrHistory) || len(missed) > 0 {
		t.Errorf("confirm: %v, %d missed", err, len(missed))
	}
	f := follow(t, b, first)
	for c := range f.batches {
		t.Errorf("followed to %+v", c.Position)
	}
	if err := <-f.end; !errors.Is(err, store.ErrHistory) {
		t.Errorf("follow: %v", err)
	}
	for _, err := range b.Changes(context.Background(), 7, m.serial) {
		if !errors.Is(err, store.ErrHistory) {
			t.Errorf("changes: %v", err)
		}
		break
	}
	expectShared(t, b, m)
}

// sharedContention has servers add to one counter at once. Nothing is lost or done twice.
func sharedContention(t *testing.T, opener SharedOpener) {
	stores := map[string]store.Shared{"a": openShared(t, opener, "a"), "b": openShared(t, opener, "b"), "c": openShared(t, opener, "c")}
	first := newModel(1)
	begin := first.init(t, stores["a"])
	f := follow(t, stores["c"], begin)
	const each = 10
	var servers sync.WaitGroup
	for server, s := range stores {
		servers.Go(func() {
			at, m := begin, first.clone()
			for done := 0; done < each; {
				name := fmt.Sprintf("%s%d.example.test.", server, done)
				c := change(m.serial, nil, []store.Record{address(name, 1)})
				p, missed, err := s.Propose(context.Background(), at, m.batch(c))
				switch {
				case err == nil:
					m.apply([]store.Change{c})
					at = p
					done++
				case errors.Is(err, store.ErrConflict) && len(missed) > 0:
					for _, b := range missed {
						if b.Position.Sequence != at.Sequence+1 {
							t.Errorf("batch %d after %d", b.Position.Sequence, at.Sequence)
						}
						m.apply(b.Changes)
						at = b.Position
					}
				default:
					t.Errorf("propose: %v, %d missed", err, len(missed))
					return
				}
			}
		})
	}
	servers.Wait()
	m := first.clone()
	counts := make(map[string]int)
	for i := range uint64(each * len(stores)) {
		c := f.next(t)
		if c.Position.Sequence != begin.Sequence+1+i {
			t.Fatalf("followed to batch %d after %d", c.Position.Sequence, begin.Sequence+i)
		}
		m.apply(c.Changes)
		counts[c.Server]++
	}
	for server := range stores {
		if counts[server] != each {
			t.Errorf("server %s has committed %d batches", server, counts[server])
		}
	}
	for _, s := range stores {
		expectShared(t, s, m)
	}
}
