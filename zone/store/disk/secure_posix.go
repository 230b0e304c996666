//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// noFollow makes the opening of a symbolic link fail.
const noFollow = syscall.O_NOFOLLOW

// writableByOthers are the permissions of group and others to write.
const writableByOthers = 0o022

// checkAccess refuses a directory that others than its owner can change, or have changed: with such
// a directory, or with a symbolic link in it, they choose which file of the system is written, and
// what the zone is. The directory that holds it may be one like /tmp, in which only owners rename.
func checkAccess(dir string) error {
	for _, path := range []string{filepath.Dir(dir), dir} {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if info.Mode()&writableByOthers != 0 && (path == dir || info.Mode()&fs.ModeSticky == 0) {
			return insecure(dir, fmt.Sprintf("others can write to %s (mode %v)", path, info.Mode().Perm()), "chmod go-w "+path)
		}
	}
	subs := []string{""}
	for _, f := range formats {
		subs = append(subs, f.data)
	}
	for _, sub := range subs {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, sub, e.Name())
			info, err := e.Info()
			switch {
			case errors.Is(err, fs.ErrNotExist):
				// It was removed since. No other user can have done that.
			case err != nil:
				return fmt.Errorf("store: %w", err)
			case !info.Mode().IsRegular() && !info.IsDir():
				return insecure(dir, path+" is neither a file nor a directory", "find out who made it, and remove it")
			case sub == "" && info.Mode()&writableByOthers != 0:
				return insecure(dir, fmt.Sprintf("others can write to %s (mode %v)", path, info.Mode().Perm()), "chmod go-w "+path)
			}
		}
	}
	return nil
}

// checkLink refuses a directory of a zone that is a symbolic link. The way to it may have links.
func checkLink(dir string) error {
	info, err := os.Lstat(dir)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return insecure(dir, "it is a symbolic link", "find out who made it, and put the directory itself in its place")
	}
	return nil
}

// Replaceable returns the closest of the directories above dir in which others can rename dir, or what
// leads to it, and so put another in its place; "" if there is none. In a directory like /tmp only
// owners rename. What does not exist yet is left out.
func Replaceable(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	ways := []string{dir}
	if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir {
		ways = append(ways, real)
	}
	for _, way := range ways {
		for above := filepath.Dir(way); above != way; way, above = above, filepath.Dir(above) {
			info, err := os.Stat(above)
			if err == nil && info.Mode()&writableByOthers != 0 && info.Mode()&fs.ModeSticky == 0 {
				return above
			}
		}
	}
	return ""
}

func insecure(dir, problem, fix string) error {
	return diagnose.WithFix(fmt.Errorf("store: %s: %w: %s", dir, ErrInsecure, problem), "%s", fix)
}
