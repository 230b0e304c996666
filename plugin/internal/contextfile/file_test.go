package contextfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var records = [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("long "), 20)}

func TestWriteAndTake(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "contexts")
	for range 2 { // the second replaces the first
		if err := Write(path, records); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	got, err := Take(path)
	if err != nil || !reflect.DeepEqual(got, records) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if got, err := Take(path); got != nil || err != nil {
		t.Errorf("taken twice: %q, %v", got, err)
	}
}

// TestCrash: what a crash while the file was written has left is gone with the next start, and in the way of no later file.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "contexts")
	for _, then := range []func() error{
		func() error { _, err := Take(path); return err },
		func() error { return Write(path, records) },
	} {
		if err := os.WriteFile(path+newSuffix, []byte(header), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := then(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path + newSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the new file is still there: %v", err)
		}
	}
	if got, err := Take(path); err != nil || !reflect.DeepEqual(got, records) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestWriteNothing: no old file is left that the next start would take.
func TestWriteNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "contexts")
	if err := Write(path, records); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := Write(path, nil); err != nil {
		t.Error(err)
	}
}

// TestTakeDamaged: what is whole is returned, and the file is gone.
func TestTakeDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "contexts")
	if err := Write(path, records); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Take(path)
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d octets: %v", n, err)
		}
		for i := range got {
			if !bytes.Equal(got[i], records[i]) {
				t.Fatalf("cut to %d octets: record %d is %q", n, i, got[i])
			}
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("the file is still there")
		}
	}
	if err := os.WriteFile(path, append(whole, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Take(path); !errors.Is(err, ErrDamaged) || len(got) != len(records) {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// TestTakeWhatCannotBeRemoved: records that the next start would take again are not used.
func TestTakeWhatCannotBeRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "contexts")
	if err := os.MkdirAll(filepath.Join(path, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := Take(path); got != nil || err == nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.Symlink("/etc/passwd", path+"2"); err != nil {
		t.Fatal(err)
	}
	if got, err := Take(path + "2"); got != nil || !errors.Is(err, ErrDamaged) {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, octets []byte) {
		got, err := parse(octets)
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		size := len(header) + 4
		for _, r := range got {
			size += 4 + len(r)
		}
		if size > len(octets) && len(got) > 0 || err == nil && size != len(octets) {
			t.Fatalf("%d octets, %d records of %d, %v", len(octets), len(got), size, err)
		}
	})
}
