package disk

import (
	"errors"
	"fmt"
)

// Sentinel errors, to be compared with errors.Is. The errors that wrap them say
// which directory is meant and what to do.
var (
	// ErrLocked is returned by Open for a directory that is in use.
	ErrLocked = errors.New("in use")
	// ErrForeign is returned by Open for a directory that holds something
	// else than a zone's database.
	ErrForeign = errors.New("not a zone database")
	// ErrFormat is returned by Open for a database in a format that this
	// release does not know.
	ErrFormat = errors.New("unknown format")
	// ErrOtherZone is returned by Open for the database of another zone.
	ErrOtherZone = errors.New("database of another zone")
	// ErrDamaged is returned by Open and Load for a database that is not what
	// was written, and by Commit once the engine has found that out.
	ErrDamaged = errors.New("database damaged")
)

// advice ends messages about a database that cannot be used as it is.
const advice = "restore it from a dump, or move the directory away to begin anew from the seed"

// damaged says that something of the directory is not as it was written.
func damaged(dir string, err error) error {
	return fmt.Errorf("store: %s: %w: %w; %s", dir, ErrDamaged, err, advice)
}
