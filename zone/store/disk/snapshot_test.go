package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A snapshot of a database that another process writes to as fast as it can is the state after some
// commit, and not after one before the last acknowledged.
func TestSnapshotBesideWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	s, err := Open(dir, killOptions)
	if err != nil {
		t.Fatal(err)
	}
	m := fillStore(t, s, 100)
	commits := s.state.commits
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), killDir+"="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	lines := make(chan uint64, 1<<16)
	go func() {
		defer close(lines)
		for read := bufio.NewScanner(out); read.Scan(); {
			var n uint64
			if _, err := fmt.Sscan(read.Text(), &n); err == nil {
				lines <- n
			}
		}
	}()
	const snapshots = 20
	for range snapshots {
		// The latest that is known by now, but one at least.
		acknowledged, ok := <-lines
		for ok && len(lines) > 0 {
			acknowledged = <-lines
		}
		if !ok {
			t.Fatal("the writer ended")
		}
		s, err := OpenSnapshot(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		at, found, err := s.engine.state()
		if err != nil || !found || at.commits < acknowledged {
			t.Fatalf("at commit %d, %d was acknowledged (%v, %v)", at.commits, acknowledged, found, err)
		}
		for ; commits < at.commits; commits++ {
			m.apply(killScript(commits).commit(m.serial))
		}
		if err := m.difference(s); err != nil {
			t.Fatalf("at commit %d: %v", commits, err)
		}
		if s.Origin() != origin {
			t.Errorf("origin %s", s.Origin())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d commits during %d snapshots", commits, snapshots)
}

// A snapshot can be taken of a database that is not in use, and changes nothing of it; nothing can
// be taken of what is none.
func TestSnapshotAtRest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	if _, err := OpenSnapshot(context.Background(), dir); !errors.Is(err, ErrForeign) {
		t.Errorf("no directory: %v", err)
	}
	s, err := Open(dir, Options{Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	look := func() (*model, bool) {
		t.Helper()
		s, err := OpenSnapshot(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		m := newModel()
		_, found, err := s.Load(context.Background(), m)
		if err != nil {
			t.Fatal(err)
		}
		return m, found
	}
	if _, found := look(); found {
		t.Error("found a zone in an empty database")
	}
	m := fillStore(t, s, 10)
	mustCommit(t, s, m, store.Change{From: 1, To: 1, Owners: []store.Owner{{Name: wire(origin), Principal: "p"}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := snapshotOf(t, dir)
	if seen, found := look(); !found || len(seen.records) != len(m.records) || len(seen.owners) != 1 {
		t.Errorf("found %v, %d records, %d owners", found, len(seen.records), len(seen.owners))
	}
	if snapshotOf(t, dir) != before {
		t.Error("the directory was changed")
	}
	// Damage is damage here too.
	if err := os.WriteFile(filepath.Join(dir, acknowledgedFile), encodeAcknowledged(99), fileMode); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSnapshot(context.Background(), dir); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "99") {
		t.Errorf("commits lost: %v", err)
	}
}
