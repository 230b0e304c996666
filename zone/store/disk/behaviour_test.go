package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/internal/namekey"
)

// clock is a clock that tests set.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Unix(1_700_000_000, 0)} }

func (c *clock) read() time.Time { return c.now }

func openMemory(t *testing.T, options Options) (*Disk, *faults) {
	t.Helper()
	fs := newFaults(vfs.NewMem())
	options.Origin, options.fs = origin, fs
	s, err := Open(filepath.Join(t.TempDir(), "db"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, fs
}

func mustCommit(t *testing.T, s *Disk, m *model, list ...store.Change) {
	t.Helper()
	if err := s.Commit(context.Background(), list); err != nil {
		t.Fatal(err)
	}
	m.apply(list)
}

// add is a change that adds one record of that size.
func add(serial uint32, octets int) store.Change {
	return store.Change{From: serial, To: serial + 1, Removed: []store.Record{soa(serial)}, Added: []store.Record{soa(serial + 1),
		{Name: wire(fmt.Sprintf("n%d.%s", serial, origin)), Type: 16, Class: 1, Data: make([]byte, octets)}}}
}

// A commit that fails after all of it has reached the disk is taken back, also if it is too large
// for the engine's table in memory.
func TestFailedCommitIsTakenBack(t *testing.T) {
	for name, octets := range map[string]int{"small": 100, "large": 60_000} {
		t.Run(name, func(t *testing.T) {
			s, fs := openMemory(t, Options{memTable: smallTables})
			fs.late = true
			m := fillStore(t, s, 10)
			owned := add(1, 10)
			owned.Owners = []store.Owner{{Name: wire("n1." + origin), Principal: "p"}}
			mustCommit(t, s, m, owned)

			c := add(2, octets)
			gone := store.Record{Name: wire("h1." + origin), Type: 1, Class: 1, TTL: 60, Data: []byte{192, 0, 2, 1}}
			changed := store.Record{Name: wire("h2." + origin), Type: 1, Class: 1, TTL: 61, Data: []byte{192, 0, 2, 2}}
			c.Removed = append(c.Removed, gone, store.Record{Name: wire("never." + origin), Type: 1, Class: 1})
			c.Added = append(c.Added, changed)
			c.Owners = []store.Owner{{Name: wire("n2." + origin), Principal: "q"}}
			c.Disowned = []string{wire("n1." + origin)}
			// The sync of this commit is done, then reported as failed, and every operation fails
			// until the fault is removed.
			fs.armSync(errInjected)
			if err := s.Commit(context.Background(), []store.Change{c}); !errors.Is(err, errInjected) {
				t.Fatalf("commit: %v", err)
			}
			if s.undo == nil {
				t.Fatal("there is nothing to take it back with")
			}
			fs.heal()
			seen := newModel()
			e, err := openEngineReadOnly(&s.options, s.data())
			if err != nil {
				t.Fatal(err)
			}
			if err := visit(context.Background(), s.dir, e, newDecoder(), seen); err != nil {
				t.Fatal(err)
			}
			e.close()
			if _, ok := seen.records[recordText(c.Added[1])]; !ok {
				t.Fatal("the commit did not reach the disk: nothing is tested")
			}
			// Closing takes it back if no other commit comes.
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(s.dir, s.options); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := errors.Join(m.difference(s), m.differenceOfChanges(s)); err != nil {
				t.Error(err)
			}
			mustCommit(t, s, m, add(2, 20))
			if err := errors.Join(m.difference(s), m.differenceOfChanges(s)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Close returns an error if a failed commit may be on the disk.
func TestCloseWithFailedCommit(t *testing.T) {
	s, fs := openMemory(t, Options{})
	fillStore(t, s, 1)
	fs.arm(0, -1, errInjected)
	if err := s.Commit(context.Background(), []store.Change{add(1, 1)}); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, errInjected) {
		t.Errorf("close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

// A disk that stays away is tried once in a while only, and its error is returned meanwhile.
func TestRetry(t *testing.T) {
	now := newClock()
	s, fs := openMemory(t, Options{Now: now.read, Retry: time.Minute})
	m := fillStore(t, s, 1)
	fs.arm(0, -1, errInjected)
	try := func() int {
		t.Helper()
		before := fs.ops
		if err := s.Commit(context.Background(), []store.Change{add(1, 1)}); !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		return fs.ops - before
	}
	try()
	if n := try(); n != 0 {
		t.Errorf("%d accesses to the disk before the time", n)
	}
	now.now = now.now.Add(time.Minute)
	if n := try(); n == 0 {
		t.Error("not tried in time")
	}
	fs.heal()
	if n := try(); n != 0 {
		t.Errorf("%d accesses to the disk before the time", n)
	}
	now.now = now.now.Add(time.Minute)
	mustCommit(t, s, m, add(1, 1))
}

// A full disk stops commits, not reading, and loses nothing; with room again commits go on.
func TestDiskFull(t *testing.T) {
	now := newClock()
	for _, room := range []int64{0, 100, 10_000, 70_000, 200_000} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			s, fs := openMemory(t, Options{memTable: smallTables, Now: now.read})
			m := fillStore(t, s, 50)
			script := newScript(7, 6000)
			for full := range 3 {
				fs.mu.Lock()
				fs.room = room
				fs.mu.Unlock()
				failed := 0
				for failed < 5 {
					list := script.commit(m.serial)
					err := s.Commit(context.Background(), list)
					if err == nil {
						m.apply(list)
						continue
					}
					if !errors.Is(err, errNoSpace) {
						t.Fatalf("time %d: %v", full, err)
					}
					failed++
					if err := m.differenceOfChanges(s); err != nil {
						t.Fatalf("time %d: %v", full, err)
					}
					now.now = now.now.Add(time.Second)
				}
				fs.heal()
				for range 10 {
					mustCommit(t, s, m, script.commit(m.serial)...)
				}
			}
			if err := m.difference(s); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(s.dir, s.options)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := errors.Join(m.difference(s), m.differenceOfChanges(s)); err != nil {
				t.Error(err)
			}
		})
	}
}

// After a table was damaged while the server runs, every commit fails, with a fix in the error.
func TestDamageInTheBackground(t *testing.T) {
	s, _ := openMemory(t, Options{})
	fillStore(t, s, 1)
	s.engine.options(&s.options, s.data()).EventListener.DataCorruption(pebble.DataCorruptionInfo{Path: "000005.sst", Details: errInjected})
	for range 2 {
		err := s.Commit(context.Background(), []store.Change{add(1, 1)})
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "000005.sst") || !strings.Contains(err.Error(), s.dir) ||
			!strings.Contains(err.Error(), ". Fix: save the zone") {
			t.Errorf("commit: %v", err)
		}
	}
}

// The table in memory grows with the tables on the disk, within bounds.
func TestTableInMemory(t *testing.T) {
	for _, test := range []struct {
		tables []int64
		want   uint64
	}{
		{nil, minMemTable},
		{[]int64{1 << 20, 1 << 20}, minMemTable},
		{[]int64{10 << 20, 10 << 20}, 10 << 20},
		{[]int64{100 << 20}, maxMemTable},
	} {
		dir := t.TempDir()
		write := func(name string, octets int64) {
			path := filepath.Join(dir, name)
			err := os.WriteFile(path, nil, 0o600)
			if err == nil {
				err = os.Truncate(path, octets)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		write("000001.log", 50<<20)
		for i, octets := range test.tables {
			write(fmt.Sprintf("%06d.sst", i+2), octets)
		}
		if got := memTableFor(vfs.Default, dir); got != test.want {
			t.Errorf("tables of %v octets: %d in memory, want %d", test.tables, got, test.want)
		}
	}
	if got := memTableFor(vfs.Default, filepath.Join(t.TempDir(), "none")); got != minMemTable {
		t.Errorf("no directory: %d in memory", got)
	}
}

// One commit is one sync.
func TestSyncsPerCommit(t *testing.T) {
	s, fs := openMemory(t, Options{})
	m := fillStore(t, s, 10)
	before := fs.syncs
	const commits = 50
	for range commits {
		var list []store.Change
		for i := range uint32(4) {
			list = append(list, add(m.serial+i, 20))
		}
		mustCommit(t, s, m, list...)
	}
	if n := fs.syncs - before; n != commits {
		t.Errorf("%d syncs for %d commits", n, commits)
	}
}

func TestLogBounds(t *testing.T) {
	now := newClock()
	octets := func(serial uint32, n int) int64 {
		b, err := appendChange(nil, add(serial, n), now.now.Unix())
		if err != nil {
			t.Fatal(err)
		}
		return int64(len(b))
	}
	for name, tc := range map[string]struct {
		options Options
		kept    int
	}{
		"number":             {Options{MaxChanges: 300}, 300},
		"octets":             {Options{MaxOctets: 100 * octets(1000, 2000)}, 100},
		"age":                {Options{MaxAge: 100 * time.Hour}, 101},
		"one that is larger": {Options{MaxOctets: 10}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tc.options.Now = now.read
			s, _ := openMemory(t, tc.options)
			m := fillStore(t, s, 1)
			const last = 1001
			for m.serial < last {
				mustCommit(t, s, m, add(m.serial, 2000))
				now.now = now.now.Add(time.Hour)
			}
			now.now = now.now.Add(-time.Hour)
			check := func() {
				t.Helper()
				for _, back := range []int{0, 1, tc.kept - 1, tc.kept, tc.kept + 1, 600, last - 1} {
					count := 0
					var err error
					for _, e := range s.Changes(context.Background(), uint32(last-back), last) {
						if err = e; err == nil {
							count++
						}
					}
					if back <= tc.kept && (err != nil || count != back) {
						t.Errorf("%d back: %d changes, %v", back, count, err)
					}
					if back > tc.kept && (!errors.Is(err, store.ErrHistory) || count > 0) {
						t.Errorf("%d back: %d changes, %v", back, count, err)
					}
				}
			}
			check()
			on := 0
			if err := s.engine.scan(keyChange, func(_, _ []byte) error { on++; return nil }); err != nil {
				t.Fatal(err)
			}
			if on >= tc.kept+trimEvery {
				t.Errorf("%d changes are in the directory", on)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var err error
			if s, err = Open(s.dir, s.options); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			check()
		})
	}
}

// A reader of the log notices that it was overtaken.
func TestChangesDroppedMeanwhile(t *testing.T) {
	s, _ := openMemory(t, Options{MaxChanges: 600})
	m := fillStore(t, s, 1)
	for range 600 {
		mustCommit(t, s, m, add(m.serial, 10))
	}
	count := 0
	var err error
	for c, e := range s.Changes(context.Background(), 1, 601) {
		if err = e; err != nil {
			break
		}
		if count++; c.From != uint32(count) {
			t.Fatalf("change %d is from %d", count, c.From)
		}
		if count == 1 {
			for range 600 {
				mustCommit(t, s, m, add(m.serial, 10))
			}
		}
	}
	if !errors.Is(err, store.ErrHistory) || count == 0 || count == 600 {
		t.Errorf("%d changes, %v", count, err)
	}
}

// Names and rdata of all kinds come back as they were, and in an order that keeps subtrees
// together.
func TestRecordKeys(t *testing.T) {
	texts := []string{
		origin, ".", "a.example.test.", "A.example.test.", "a.EXAMPLE.test.", "b.a.example.test.", "aexample.test.", `a\.example.test.`,
		`a\\.example.test.`, `\000\001.example.test.`, `\001\000.example.test.`, `\002.example.test.`, "*.example.test.", "other.", "a.b.",
		`a\.b\.c.d.example.test.`, `.\..example.test.`[1:], strings.Repeat(`\000.`, 127),
		strings.Repeat(strings.Repeat(`\255`, 63)+".", 3) + strings.Repeat(`\001`, 61) + ".",
	}
	var keys []string
	d := newDecoder()
	for _, text := range texts {
		for _, data := range [][]byte{nil, {0}, {0, 0}, make([]byte, 255), make([]byte, 256), make([]byte, 65535)} {
			r := store.Record{Name: wire(text), Type: 0x0100, Class: 0xff, TTL: 1 << 31, Hours: 1<<32 - 2, Data: data}
			key, value, err := appendRecord(nil, nil, r)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			got, err := d.record(key, value)
			if err != nil || recordText(got) != recordText(r) || attributes(got) != attributes(r) {
				t.Errorf("%q with %d octets: %.80s, %v", text, len(data), recordText(got), err)
			}
			keys = append(keys, string(key))
		}
		o := store.Owner{Name: wire(text), Principal: "p", Deleted: time.Unix(5, 0).UTC()}
		key, err := namekey.Append([]byte{keyOwner}, o.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.owner(key, appendOwner(nil, o)); err != nil || got != o {
			t.Errorf("owner of %q: %+v, %v", text, got, err)
		}
	}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != len(texts)*6 {
		t.Error("records share a key")
	}
	for _, bad := range []string{"", "a", "\x01", "\x01a", "\x00a", "\x01a\x00\x00", "\x40" + strings.Repeat("a", 64) + "\x00", strings.Repeat("\x01a", 127) + "\x01a\x00"} {
		if _, err := namekey.Append(nil, bad); err == nil {
			t.Errorf("%.20q has a key", bad)
		}
	}
}

// What is cut short anywhere is an error, not a panic and not a value.
func TestDecodeShortValues(t *testing.T) {
	c := add(1, 40)
	c.Author, c.Rule = "host/a@EXAMPLE.TEST", "owner"
	change, err := appendChange(nil, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := decodeChange(change)
	if err != nil {
		t.Fatal(err)
	}
	for end := range change {
		if c, err := decodeChange(change[:end]); err == nil && sameChange(c, whole) {
			t.Errorf("change cut at %d", end)
		}
	}
	d := newDecoder()
	for _, size := range []int{3, 300} {
		key, value, err := appendRecord(nil, nil, store.Record{Name: wire("a." + origin), Type: 1, Class: 1, Data: make([]byte, size)})
		if err != nil {
			t.Fatal(err)
		}
		for end := range value {
			if _, err := d.record(key, value[:end]); err == nil {
				t.Errorf("value cut at %d", end)
			}
		}
		for end := 1; end < 8; end++ {
			if _, err := d.record(key[:end], value); err == nil {
				t.Errorf("key cut at %d", end)
			}
		}
	}
	if _, err := d.owner([]byte{keyOwner, 'a', 0, 0}, nil); err == nil {
		t.Error("an owner without value")
	}
	if _, err := decodeState(make([]byte, 19)); err == nil {
		t.Error("a short state")
	}
}

// Of the states between the changes of one batch nothing is written, and the first and last are
// right.
func TestStatesBetweenChanges(t *testing.T) {
	s, fs := openMemory(t, Options{})
	m := fillStore(t, s, 1)
	mustCommit(t, s, m, add(1, 10), store.Change{From: 2, To: 2, Owners: []store.Owner{{Name: wire("n1." + origin), Principal: "p"}}}, add(2, 10), add(3, 10))
	b := s.engine.db.NewBatch()
	defer b.Close()
	if _, _, err := s.batch(b, []store.Change{add(4, 10), add(5, 10), add(6, 10)}); err != nil {
		t.Fatal(err)
	}
	// The SOA that goes and the one that comes, three records, three changes, and the state.
	if got := b.Count(); got != 2+3+3+1 {
		t.Errorf("%d keys", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(s.dir, Options{Origin: origin, fs: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := errors.Join(m.difference(again), m.differenceOfChanges(again)); err != nil {
		t.Error(err)
	}
}

// Of the snapshots that commits take, one at most stays, and it does not stay for ever: the engine keeps for it what has been
// replaced since.
func TestSnapshotsEnd(t *testing.T) {
	s, _ := openMemory(t, Options{})
	m := fillStore(t, s, 1)
	var oldest []uint64
	for i := range 2*anchorSnapshots + 1 {
		mustCommit(t, s, m, add(uint32(1+i), 1))
		snapshots := s.engine.db.Metrics().Snapshots
		if snapshots.Count != 1 {
			t.Fatalf("%d snapshots after %d commits", snapshots.Count, i+1)
		}
		if at := uint64(snapshots.EarliestSeqNum); !slices.Contains(oldest, at) {
			oldest = append(oldest, at)
		}
	}
	if len(oldest) != 3 {
		t.Errorf("the oldest of the snapshots during %d commits were %d, want 3", 2*anchorSnapshots+1, len(oldest))
	}
}

// TestLogAndAClockAhead: a clock that was far ahead shortens the log, and harms nothing else, then and after it was set back.
func TestLogAndAClockAhead(t *testing.T) {
	now := newClock()
	s, _ := openMemory(t, Options{Now: now.read})
	m := fillStore(t, s, 1)
	kept := func() (n int) {
		t.Helper()
		for _, err := range s.Log(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if err := m.difference(s); err != nil {
			t.Error(err)
		}
		return n
	}
	commit := func(n int) {
		t.Helper()
		for range n {
			mustCommit(t, s, m, add(m.serial, 10))
		}
	}
	commit(5)
	now.now = now.now.Add(31 * 24 * time.Hour)
	commit(1)
	if n := kept(); n != 1 {
		t.Errorf("%d changes while the clock is ahead", n)
	}
	now.now = now.now.Add(-31 * 24 * time.Hour)
	commit(5)
	if n := kept(); n != 6 {
		t.Errorf("%d changes after it was set back", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s, err = Open(s.dir, s.options); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	commit(1)
	if n := kept(); n < 7 { // those that were not deleted yet are there again
		t.Errorf("%d changes after a restart", n)
	}
}
