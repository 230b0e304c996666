package disk

import (
	"errors"
	"fmt"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// Sentinel errors, to be compared with [errors.Is]. The errors that wrap them name the directory
// and say what to do.
var (
	// ErrLocked is returned by Open for a directory that is in use.
	ErrLocked = errors.New("in use")
	// ErrForeign is returned by Open for a directory that does not hold a zone's database.
	ErrForeign = errors.New("not a zone database")
	// ErrFormat is returned by Open for a database in a format that this release does not know.
	ErrFormat = errors.New("unknown format")
	// ErrOtherZone is returned by Open for the database of another zone.
	ErrOtherZone = errors.New("database of another zone")
	// ErrInsecure is returned by Open for a directory that others than its owner can write to, or
	// in which there is a symbolic link.
	ErrInsecure = errors.New("not secure")
	// ErrDamaged is returned by Open and Load for a database whose contents are not those that were
	// written, and by Commit after the engine has detected that.
	ErrDamaged = errors.New("database damaged")
)

// restore is the fix for a database that cannot be used as it is.
const restore = "restore it from a dump, or move the directory away to start again from the master file"

// damaged reports that the contents of a directory are not those that were written.
func damaged(dir string, err error) error {
	return diagnose.WithFix(fmt.Errorf("store: %s: %w: %w", dir, ErrDamaged, err), restore)
}
