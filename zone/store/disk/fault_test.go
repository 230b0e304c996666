package disk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

var errInjected = errors.New("injected")

// smallTables makes the engine rotate its log and write tables every few commits of the scripts
// here.
const smallTables = 64 << 10

// faultKind is a way in which a disk fails.
type faultKind struct {
	name       string
	count      int // how many changes in a row fail
	torn, late bool
}

var faultKinds = []faultKind{
	{name: "one change fails", count: 1},
	{name: "all fail", count: -1},
	{name: "torn", count: -1, torn: true},
	{name: "done, but reported as failed", count: 1, late: true},
	{name: "done once, then all fail", count: -1, late: true},
}

// atEveryFault runs a test for each of the first changes to the disk failing. The test reports
// whether it came as far as that.
func atEveryFault(t *testing.T, kind faultKind, changes int, test func(t *testing.T, fs *faults, skip, count int) bool) {
	step := pace(7)
	var hits atomic.Int32
	t.Run("change", func(t *testing.T) {
		for skip := 0; skip < changes; skip += step {
			t.Run(fmt.Sprint(skip), func(t *testing.T) {
				t.Parallel()
				fs := newFaults(vfs.NewMem())
				fs.torn, fs.late = kind.torn, kind.late
				if test(t, fs, skip, kind.count) {
					hits.Add(1)
				}
			})
		}
	})
	if n := int(hits.Load()) * step; n < 20 {
		t.Errorf("only %d changes to the disk", n)
	}
}

// At whatever change to the disk it begins to fail, a commit that returns an error has not happened
// and one that returns nil has, commits work again when the disk does, and the log of changes can
// be read all the time.
func TestCommitAtEveryFault(t *testing.T) {
	for _, kind := range faultKinds {
		t.Run(kind.name, func(t *testing.T) {
			atEveryFault(t, kind, 80, commitAtFault)
		})
	}
}

func commitAtFault(t *testing.T, fs *faults, skip, count int) (hit bool) {
	dir := filepath.Join(t.TempDir(), "db")
	now := time.Unix(1_700_000_000, 0)
	options := Options{Origin: origin, fs: fs, memTable: smallTables, Now: func() time.Time { return now }}
	s, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := fillStore(t, s, 20)
	script := newScript(1, 12<<10)
	fs.arm(skip, count, errInjected)
	failed := 0
	for i := range 16 {
		if i == 12 {
			hit = fs.heal()
		}
		list := script.commit(m.serial)
		err := s.Commit(context.Background(), list)
		switch {
		case err == nil:
			m.apply(list)
		case i > 12:
			t.Fatalf("commit %d, the disk being well again: %v", i, err)
		case !errors.Is(err, errInjected):
			t.Fatalf("commit %d: %v", i, err)
		default:
			failed++
		}
		if err := m.differenceOfChanges(s); err != nil {
			t.Fatalf("after commit %d (%d failed): %v", i, failed, err)
		}
		// Past the time that it waits before it tries again.
		now = now.Add(2 * time.Second)
	}
	if err := m.difference(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, options); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.difference(s), m.differenceOfChanges(s)); err != nil {
		t.Fatalf("after opening again (%d failed): %v", failed, err)
	}
	return hit
}

// abandon ends a Disk as the end of its process would.
func abandon(s *Disk) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if s.engine != nil {
		s.engine.fence.close(errors.New("abandoned"))
		_ = s.engine.close()
	}
	_ = s.acknowledged.file.Close()
	_ = s.lock.Close()
}

// A process that ends after a commit has failed leaves what was acknowledged, and the failed commit
// whole or not at all.
func TestEndAtEveryFault(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.5 stable storage")
	for _, kind := range faultKinds {
		t.Run(kind.name, func(t *testing.T) {
			atEveryFault(t, kind, 60, endAtFault)
		})
	}
}

func endAtFault(t *testing.T, fs *faults, skip, count int) (hit bool) {
	dir := filepath.Join(t.TempDir(), "db")
	options := Options{Origin: origin, fs: fs, memTable: smallTables}
	s, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := fillStore(t, s, 20)
	with := m
	script := newScript(2, 12<<10)
	fs.arm(skip, count, errInjected)
	for range 12 {
		list := script.commit(m.serial)
		if err := s.Commit(context.Background(), list); err != nil {
			with = m.clone()
			with.apply(list)
			break
		}
		m.apply(list)
		with = m
	}
	abandon(s)
	hit = fs.heal()
	if s, err = Open(dir, options); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	without := errors.Join(m.difference(s), m.differenceOfChanges(s))
	if without != nil {
		if err := errors.Join(with.difference(s), with.differenceOfChanges(s)); err != nil {
			t.Fatalf("neither the state before (%v) nor after (%v)", without, err)
		}
	}
	return hit
}

// Whatever fails while a database is made, making it again works.
func TestOpenAndInitAtEveryFault(t *testing.T) {
	for _, kind := range faultKinds {
		t.Run(kind.name, func(t *testing.T) {
			atEveryFault(t, kind, 60, initAtFault)
		})
	}
}

func initAtFault(t *testing.T, fs *faults, skip, count int) (hit bool) {
	dir := filepath.Join(t.TempDir(), "db")
	options := Options{Origin: origin, fs: fs, memTable: smallTables, chunk: 10 << 10}
	const n = 80
	fs.arm(skip, count, errInjected)
	records := func(yield func(store.Record) bool) {
		for i := range n {
			if !yield(store.Record{Name: wire(origin), Type: 16, Class: 1, Data: make([]byte, 1000+i)}) {
				return
			}
		}
	}
	c := store.Contents{Serial: 1, Records: records}
	s, err := Open(dir, options)
	if err == nil {
		err = s.Init(context.Background(), c)
		if err != nil {
			if _, found, err := s.Load(context.Background(), newModel()); found || err != nil {
				t.Fatalf("after an Init that failed: %v, %v", found, err)
			}
		}
	}
	hit = fs.heal()
	if err != nil && s != nil && skip%2 == 0 {
		// It can be done again at once.
		if err := s.Init(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	if s != nil {
		abandon(s)
	}
	if s, err = Open(dir, options); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := newModel()
	if _, found, err := s.Load(context.Background(), m); err != nil {
		t.Fatal(err)
	} else if !found {
		if err := s.Init(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Load(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.records) != n {
		t.Fatalf("%d records, want %d", len(m.records), n)
	}
	return hit
}
