//go:build unix

package admin

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// inheritOwner returns a function that gives files the owner of the directory that a zone's database is in or, if that is to be
// made too, of the nearest one above it: what root makes there, the server must be able to use. It does nothing for a user other
// than root.
func inheritOwner(directory string) (func(paths []string) error, error) {
	return inheritOwnerAs(directory, os.Geteuid(), (*os.Root).Lchown)
}

func inheritOwnerAs(directory string, euid int, chown func(root *os.Root, name string, uid, gid int) error) (func(paths []string) error, error) {
	nothing := func([]string) error { return nil }
	if euid != 0 {
		return nothing, nil
	}
	existing := filepath.Dir(filepath.Clean(directory))
	info, err := os.Stat(existing)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(existing) != existing {
		existing = filepath.Dir(existing)
		info, err = os.Stat(existing)
	}
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == uint32(euid) {
		return nothing, nil
	}
	return func(paths []string) error {
		// The owner can change what is below the directory at any time: nothing may lead out of it.
		root, err := os.OpenRoot(existing)
		if err != nil {
			return err
		}
		defer root.Close()
		for _, path := range paths {
			if err := chownBelow(root, existing, path, func(name string) error { return chown(root, name, int(stat.Uid), int(stat.Gid)) }); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// chownBelow calls chown for all directories from existing down to path, and for all that is in path. What is not there, or not
// below existing, has no owner to change.
func chownBelow(root *os.Root, existing, path string, chown func(name string) error) error {
	name, err := filepath.Rel(existing, path)
	if err != nil || !filepath.IsLocal(name) {
		return nil
	}
	for parent := filepath.Dir(name); parent != "."; parent = filepath.Dir(parent) {
		if err := chown(parent); err != nil {
			return err
		}
	}
	return fs.WalkDir(root.FS(), filepath.ToSlash(name), func(name string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return chown(filepath.FromSlash(name))
	})
}
