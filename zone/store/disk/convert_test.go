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

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// earlier makes a copy of a database that the last release with an earlier format has written.
func earlier(t *testing.T, version int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "db")
	if err := os.CopyFS(dir, os.DirFS(fmt.Sprintf("testdata/format%d", version))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// eachEarlier runs a test for every earlier format.
func eachEarlier(t *testing.T, test func(t *testing.T, version int)) {
	for version := 1; version < formatVersion; version++ {
		t.Run(fmt.Sprintf("format %d", version), func(t *testing.T) { test(t, version) })
	}
}

// listing is a Visitor that notes what it sees.
type listing struct{ records, owners []string }

func (l *listing) Record(r store.Record) error {
	line := fmt.Sprintf("%q %d %d %x", r.Name, r.Type, r.TTL, r.Data)
	if r.Hours != 0 {
		line += fmt.Sprintf(" refreshed %d", r.Hours)
	}
	l.records = append(l.records, line)
	return nil
}

func (l *listing) Owner(o store.Owner) error {
	deleted := ""
	if !o.Deleted.IsZero() {
		deleted = o.Deleted.Format(time.RFC3339)
	}
	l.owners = append(l.owners, fmt.Sprintf("%q %s %s", o.Name, o.Principal, deleted))
	return nil
}

// checkEarlier compares what a source holds with what was written to the databases in testdata.
func checkEarlier(t *testing.T, load func(context.Context, store.Visitor) (uint32, bool, error)) {
	t.Helper()
	var got listing
	serial, found, err := load(t.Context(), &got)
	if serial != 16 || !found || err != nil {
		t.Fatalf("serial %d, found %t, %v", serial, found, err)
	}
	ns1, host := wire("ns1.example.test."), wire("hostmaster.example.test.")
	record := func(name string, rrtype int, ttl int, data string) string {
		return fmt.Sprintf("%q %d %d %x", wire(name), rrtype, ttl, data)
	}
	digits := strings.Repeat("0123456789", 20)
	want := listing{
		records: []string{
			record("example.test.", 6, 3600, ns1+host+"\x00\x00\x00\x10\x00\x00\x03\x84\x00\x00\x02\x58\x00\x01\x51\x80\x00\x00\x01\x2c"),
			record("example.test.", 2, 3600, ns1),
			record("ns1.example.test.", 1, 3600, "\xc0\x00\x02\x01"),
			record(`a\.b\000\001\255\\.example.test.`, 1, 300, "\xc0\x00\x02\x02"),
			record(`my\032printer._ipp._tcp.example.test.`, 33, 300, "\x00\x00\x00\x00\x02\x77"+wire("Printer.Example.Test.")),
			record("*.wild.example.test.", 16, 300, "\x04wild\x04card"),
			record("x.y.z.example.test.", 15, 600, "\x00\x0a"+wire("Mail.Example.Test.")),
			record("odd.example.test.", 65280, 300, "\x0a\xff\x01"),
			record("client1.example.test.", 1, 300, "\xc0\x00\x02\x0a"),
			record("client1.example.test.", 28, 300, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10"),
			record("client1.example.test.", 257, 300, "\x00\x05is ue\"x"),
			record("long.example.test.", 16, 300, strings.Repeat("\xc8"+digits, 4)),
		},
		owners: []string{
			fmt.Sprintf("%q host/client1@EXAMPLE.TEST ", wire("client1.example.test.")),
			fmt.Sprintf("%q host/gone@EXAMPLE.TEST 2026-01-01T00:02:00Z", wire("gone.example.test.")),
			fmt.Sprintf(`%q user\/x@EXAMPLE.TEST `, wire(`a\.b\000\001\255\\.example.test.`)),
		},
	}
	for _, list := range [][]string{got.records, got.owners, want.records, want.owners} {
		slices.Sort(list)
	}
	if !slices.Equal(got.records, want.records) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got.records, "\n"), strings.Join(want.records, "\n"))
	}
	if !slices.Equal(got.owners, want.owners) {
		t.Errorf("owners\n%s\nwant\n%s", strings.Join(got.owners, "\n"), strings.Join(want.owners, "\n"))
	}
}

// kept are options with a clock at which the changes of testdata are not too old.
func kept(fs vfs.FS) Options {
	return Options{Origin: origin, Now: func() time.Time { return time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) }, fs: fs}
}

// A database of an earlier format is converted when it is opened, with its owners and its log, and can
// be written. Its records are static, and its changes have no author.
func TestConvert(t *testing.T) { eachEarlier(t, testConvert) }

func testConvert(t *testing.T, version int) {
	dir := earlier(t, version)
	for range 2 { // what was converted stays what it is
		s, err := Open(dir, kept(nil))
		if err != nil {
			t.Fatal(err)
		}
		checkEarlier(t, s.Load)
		var log []string
		for c, err := range s.Changes(t.Context(), 10, 16) {
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Removed) == 0 || c.Removed[0].Name != wire(origin) || c.Added[0].Type != typeSOA {
				t.Errorf("change to %d: %+v", c.To, c)
			}
			for _, r := range c.Added[1:] {
				log = append(log, r.Name)
			}
			if c.Author != "" || c.Rule != "" || c.Committed.Year() != 2026 {
				t.Errorf("change to %d by %q, rule %q, at %v", c.To, c.Author, c.Rule, c.Committed)
			}
		}
		want := []string{wire("client1.example.test."), wire("client1.example.test."), wire("gone.example.test."),
			wire("long.example.test."), wire("client1.example.test."), wire("x.y.z.example.test.")}
		if !slices.Equal(log, want) {
			t.Errorf("log %q", log)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, formats[version].data)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old contents are still there: %v", err)
	}
	s, err := Open(dir, kept(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Commit(t.Context(), []store.Change{add(16, 10)}); err != nil {
		t.Error(err)
	}
}

// A snapshot is taken of an earlier format as it is.
func TestSnapshotOfEarlier(t *testing.T) { eachEarlier(t, testSnapshotOfEarlier) }

func testSnapshotOfEarlier(t *testing.T, version int) {
	dir := earlier(t, version)
	before := snapshotOf(t, dir)
	s, err := OpenSnapshot(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	checkEarlier(t, s.Load)
	var log []uint32
	for c, err := range s.Log(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, c.To)
	}
	if want := []uint32{16, 15, 14, 13, 12, 11}; !slices.Equal(log, want) {
		t.Errorf("log %d, want %d", log, want)
	}
	if snapshotOf(t, dir) != before {
		t.Error("it was changed")
	}
}

// Whatever fails during a conversion, the old contents stay as they are, and the next attempt
// succeeds.
func TestConversionFails(t *testing.T) { eachEarlier(t, testConversionFails) }

func testConversionFails(t *testing.T, version int) {
	for failing := 0; ; failing++ {
		dir := earlier(t, version)
		old := filepath.Join(dir, formats[version].data)
		before := snapshotOf(t, old)
		fs := newFaults(vfs.Default)
		fs.arm(failing, -1, errInjected)
		s, err := Open(dir, kept(fs))
		if err == nil {
			hit := fs.heal()
			s.Close()
			if hit {
				continue // in what is not needed, such as removing a file
			}
			if failing < 10 {
				t.Errorf("only %d changes to the disk can fail: nothing is tested", failing)
			}
			return
		}
		if i, _, err := readIdentity(dir); err != nil {
			t.Fatal(err)
		} else if i.format == version && snapshotOf(t, old) != before {
			t.Fatalf("change %d fails: the old contents were changed", failing)
		}
		if s, err = Open(dir, kept(nil)); err != nil {
			t.Fatalf("after change %d failed: %v", failing, err)
		}
		checkEarlier(t, s.Load)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A process that ended between writing the new contents and removing the old ones has left both.
func TestConversionLeavesBoth(t *testing.T) { eachEarlier(t, testConversionLeavesBoth) }

func testConversionLeavesBoth(t *testing.T, version int) {
	dir, again := earlier(t, version), earlier(t, version)
	s, err := Open(dir, kept(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// New contents that count, and old ones that do not.
	if err := os.Rename(filepath.Join(again, formats[version].data), filepath.Join(dir, formats[version].data)); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, kept(nil)); err != nil {
		t.Fatal(err)
	}
	checkEarlier(t, s.Load)
	s.Close()
	if _, err := os.Stat(filepath.Join(dir, formats[version].data)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the old contents are still there")
	}
	// Old contents that count, and a part of new ones.
	dir = earlier(t, version)
	if err := os.MkdirAll(filepath.Join(dir, dataDir), dirMode); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, dataDir, "000001.log"), []byte("half"), fileMode); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, kept(nil)); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	checkEarlier(t, s.Load)
}
