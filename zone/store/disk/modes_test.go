//go:build unix

package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Whatever the process's umask is, files are for their owner only.
func TestModes(t *testing.T) {
	// The engine asks for 0666.
	defer syscall.Umask(syscall.Umask(0))
	base := filepath.Join(t.TempDir(), "databases")
	dir := filepath.Join(base, "db")
	s, err := Open(dir, Options{Origin: origin, memTable: smallTables})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := fillStore(t, s, 5)
	script := newScript(1, 12<<10)
	for range 20 {
		list := script.commit(m.serial)
		if err := s.Commit(context.Background(), list); err != nil {
			t.Fatal(err)
		}
		m.apply(list)
	}
	files := 0
	err = filepath.WalkDir(base, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		want := fs.FileMode(fileMode)
		if e.IsDir() {
			want = dirMode | fs.ModeDir
		}
		// A compaction may just have created it.
		for end := time.Now().Add(10 * time.Second); err == nil && i.Mode() != want && time.Now().Before(end); i, err = os.Lstat(path) {
			time.Sleep(time.Millisecond)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && i.Mode() != want {
			t.Errorf("%s has mode %v", path, i.Mode())
		}
		files++
		return err
	})
	if err != nil || files < 8 {
		t.Errorf("%d files, %v", files, err)
	}
}
