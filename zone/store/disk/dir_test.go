package disk

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// snapshotOf returns the names and contents below dir, but for locks.
func snapshotOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == lockFile {
			return err
		}
		contents, err := os.ReadFile(path)
		b.WriteString(path + "\n" + string(contents) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What is not the zone's database is refused with its name and advice, and not touched.
func TestRefusedDirectories(t *testing.T) {
	database := func(t *testing.T, dir string) {
		s, err := Open(dir, Options{Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		fillStore(t, s, 3)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	identity := func(text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			database(t, dir)
			if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(text), fileMode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		make   func(t *testing.T, dir string)
		origin string
		want   error
		words  string
	}{
		"someone's files": {
			make: func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("words"), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			want: ErrForeign, words: "thesis.txt",
		},
		"another program's file of that name": {make: identity("Europe/Berlin\n"), want: ErrForeign, words: "move the directory away"},
		"a file without format":               {make: identity(magic + "\n"), want: ErrForeign, words: "ZONE"},
		"a file without zone":                 {make: identity(magic + "\nformat 3\nid 00\n"), want: ErrForeign, words: "ZONE"},
		"a later format":                      {make: identity(magic + "\nformat 4\nzone example.test.\nid 00\n"), want: ErrFormat, words: "4, this release knows 1 to 3"},
		"another zone":                        {make: database, origin: "other.test.", want: ErrOtherZone, words: "example.test., not other.test."},
		"another database's identity":         {make: identity(magic + "\nformat 3\nzone example.test.\nid 00\n"), want: ErrDamaged, words: "data"},
		"no identity": {
			make: func(t *testing.T, dir string) {
				database(t, dir)
				if err := os.Remove(filepath.Join(dir, identityFile)); err != nil {
					t.Fatal(err)
				}
			},
			want: ErrForeign, words: "no file ZONE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tc.make(t, dir)
			if tc.origin == "" {
				tc.origin = origin
			}
			before := snapshotOf(t, dir)
			s, err := Open(dir, Options{Origin: tc.origin})
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.words) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), ". Fix: ") {
				t.Errorf("got %v", err)
			}
			if snapshotOf(t, dir) != before {
				t.Error("it was changed")
			}
		})
	}
}

func TestOpenWithoutOrigin(t *testing.T) {
	if _, err := Open(t.TempDir(), Options{}); err == nil {
		t.Error("opened")
	}
}

// A file where the directory belongs, and one that cannot be made, are errors of the system, not
// damage.
func TestOpenNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := Open(dir, Options{Origin: origin}); err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestLockedByThisProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	s, err := Open(dir, Options{Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// A link in the place of the directory itself is refused.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(dir), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, dir + "/../db", filepath.Join(link, "db")} {
		_, err := Open(path, Options{Origin: origin})
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) || !strings.Contains(err.Error(), ". Fix: stop that process") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, Options{Origin: origin})
	if err != nil {
		t.Fatalf("after closing: %v", err)
	}
	again.Close()
}

// TestLock: what is locked can be read and not be opened, and Lock makes no file where there is no database.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	if _, err := Lock(dir); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), ". Fix: name the directory") {
		t.Errorf("no directory: %v", err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a directory: %v", err)
	}
	s, err := Open(dir, Options{Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), ". Fix: stop that process") {
		t.Errorf("it is open: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(dir), link); err != nil {
		t.Fatal(err)
	}
	for _, same := range []string{filepath.Join(link, "db"), "db"} {
		if same == "db" {
			t.Chdir(filepath.Dir(dir))
		}
		if _, err := Lock(same); !errors.Is(err, ErrLocked) {
			t.Errorf("it is open as %s: %v", same, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{Origin: origin}); !errors.Is(err, ErrLocked) {
		t.Errorf("it is locked: %v", err)
	}
	read, err := OpenSnapshot(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(read.Close(), lock.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{Origin: origin}); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestLockedByAnotherProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	s, err := Open(dir, killOptions)
	if err != nil {
		t.Fatal(err)
	}
	fillStore(t, s, 1)
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
	// Once it commits it has the lock.
	var b [64]byte
	for read := 0; read < 8; {
		n, err := out.Read(b[:])
		if err != nil {
			t.Fatal(err)
		}
		read += n
	}
	_, err = Open(dir, killOptions)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(c.Process.Pid)) {
		t.Errorf("got %v, the process is %d", err, c.Process.Pid)
	}
}

func TestPath(t *testing.T) {
	long := strings.Repeat("a.", 120) + "test."
	seen := make(map[string]string)
	for origin, want := range map[string]string{
		"example.test.":              "example.test",
		"Example.Test":               "example.test",
		"2.0.192.in-addr.arpa.":      "2.0.192.in-addr.arpa",
		"0/26.2.0.192.in-addr.arpa.": "0%2F26.2.0.192.in-addr.arpa",
		`a\.b.test.`:                 "a%5C.b.test",
		".":                          "@",
		"@.":                         "%40",
		"..":                         "%2E",
		"_msdcs.example.test.":       "_msdcs.example.test",
		long:                         "",
		"b." + long:                  "",
	} {
		got := Path("base", origin)
		if want != "" && got != filepath.Join("base", want) {
			t.Errorf("%s: %s", origin, got)
		}
		if filepath.Dir(got) != "base" || len(filepath.Base(got)) > 255 {
			t.Errorf("%s: %s", origin, got)
		}
		if other, ok := seen[got]; ok && !strings.EqualFold(strings.TrimSuffix(other, "."), strings.TrimSuffix(origin, ".")) {
			t.Errorf("%s and %s are both %s", origin, other, got)
		}
		seen[got] = origin
	}
}

// TestID: each database has an identifier of its own, which stays.
func TestID(t *testing.T) {
	ids := make(map[string]bool)
	for range 2 {
		dir := filepath.Join(t.TempDir(), "zone")
		if _, err := ID(dir); !errors.Is(err, ErrForeign) {
			t.Errorf("before it is made: %v", err)
		}
		for n := range 2 {
			d, err := Open(dir, Options{Origin: "example.test."})
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				nothing := store.Contents{Records: slices.Values[[]store.Record](nil), Owners: slices.Values[[]store.Owner](nil)}
				if err := d.Init(t.Context(), nothing); err != nil {
					t.Fatal(err)
				}
			}
			id, err := ID(dir)
			if err != nil || len(id) != 16 {
				t.Errorf("%q, %v", id, err)
			}
			ids[id] = true
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(ids) != 2 {
		t.Errorf("%v", ids)
	}
}
