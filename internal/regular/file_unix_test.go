//go:build unix

package regular

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestRegularFilesAlone: what is no regular file is an error that names it, and is not opened: a pipe would wait for a writer.
func TestRegularFilesAlone(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("text"), 0o600), os.Symlink(file, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, link} {
		if content, err := ReadFile(name); err != nil || string(content) != "text" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	for name, want := range map[string]error{dir: ErrDirectory, pipe: ErrSpecial, os.DevNull: ErrSpecial, filepath.Join(dir, "none"): fs.ErrNotExist} {
		_, err := ReadFile(name)
		var path *fs.PathError
		if !errors.Is(err, want) || !errors.As(err, &path) || path.Path != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
