//go:build unix

package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// TestDirectoryThatOthersCanChange: nothing outside is written, whatever is in the directory.
func TestDirectoryThatOthersCanChange(t *testing.T) {
	options := disk.Options{Origin: "example.test."}
	for name, spoil := range map[string]func(dir, victim string) error{
		"link ACKNOWLEDGED": func(dir, victim string) error { return os.Symlink(victim, filepath.Join(dir, "ACKNOWLEDGED")) },
		"link ZONE.new":     func(dir, victim string) error { return os.Symlink(victim, filepath.Join(dir, "ZONE.new")) },
		"link LOCK":         func(dir, victim string) error { return os.Symlink(victim, filepath.Join(dir, "LOCK")) },
		"link to nothing": func(dir, victim string) error {
			return os.Symlink(victim+"-missing", filepath.Join(dir, "ACKNOWLEDGED"))
		},
		"directory":         func(dir, _ string) error { return os.Chmod(dir, 0o770) },
		"directory, others": func(dir, _ string) error { return os.Chmod(dir, 0o707) },
		"link in its place": func(dir, victim string) error {
			other := filepath.Join(filepath.Dir(victim), "other")
			return errors.Join(os.Remove(dir), os.Mkdir(other, 0o700), os.Symlink(other, dir))
		},
		"its directory": func(dir, _ string) error { return os.Chmod(filepath.Dir(dir), 0o777) },
		"file": func(dir, _ string) error {
			path := filepath.Join(dir, "LOCK")
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666))
		},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir, victim := filepath.Join(top, "data", "example.test"), filepath.Join(top, "victim")
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(victim, []byte("precious"), 0o644), spoil(dir, victim)); err != nil {
				t.Fatal(err)
			}
			d, err := disk.Open(dir, options)
			if !errors.Is(err, disk.ErrInsecure) {
				if d != nil {
					d.Close()
				}
				t.Errorf("opened: %v", err)
			}
			if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
				t.Errorf("the file that the link points to has %q, %v", text, err)
			}
			if info, err := os.Stat(victim); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("the mode of the file that the link points to: %v, %v", info.Mode(), err)
			}
			if _, err := os.Stat(victim + "-missing"); err == nil {
				t.Error("a file was made outside")
			}
			if made, err := os.ReadDir(filepath.Join(top, "other")); err == nil && len(made) > 0 {
				t.Errorf("%v was made outside", made)
			}
		})
	}

	// A database with a link among the engine's files.
	dir := filepath.Join(t.TempDir(), "zone")
	d, err := disk.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := filepath.Glob(filepath.Join(dir, "data*"))
	if err != nil || len(data) != 1 {
		t.Fatal(data, err)
	}
	link := filepath.Join(data[0], "000099.log")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Open(dir, options); !errors.Is(err, disk.ErrInsecure) {
		t.Errorf("opened: %v", err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if d, err = disk.Open(dir, options); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	// In a directory like /tmp only the owner can replace it; the way there may have a link.
	sticky := filepath.Join(t.TempDir(), "sticky")
	if err := errors.Join(os.Mkdir(sticky, 0o700), os.Chmod(sticky, 0o777|os.ModeSticky), os.Symlink(sticky, sticky+"-link")); err != nil {
		t.Fatal(err)
	}
	if d, err = disk.Open(filepath.Join(sticky+"-link", "zone"), options); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReplaceable: a directory above that others can write to lets them replace the database, also on the
// way that a link leads.
func TestReplaceable(t *testing.T) {
	top := t.TempDir()
	for _, tc := range []struct {
		name string
		mode os.FileMode // of the directory a
		dir  string
		want bool
	}{
		{"owner alone", 0o755, "a/b/db", false},
		{"others", 0o757, "a/b/db", true},
		{"group", 0o775, "a/b/db", true},
		{"sticky", 0o777 | os.ModeSticky, "a/b/db", false},
		{"missing", 0o777, "a/c/db", true},
		{"by a link", 0o777, "link/db", true},
		{"itself", 0o777, "a", false},
	} {
		a := filepath.Join(top, tc.name, "a")
		if err := errors.Join(os.MkdirAll(filepath.Join(a, "b", "db"), 0o755), os.Chmod(a, tc.mode), os.Symlink("a/b", filepath.Join(top, tc.name, "link"))); err != nil {
			t.Fatal(err)
		}
		if got := disk.Replaceable(filepath.Join(top, tc.name, tc.dir)); (got == a) != tc.want {
			t.Errorf("%s: %q", tc.name, got)
		}
	}
}
