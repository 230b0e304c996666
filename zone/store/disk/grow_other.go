//go:build !linux

package disk

import "github.com/cockroachdb/pebble/v2/vfs"

// grow reserves room for a file as far as the system can.
func grow(file vfs.File, offset, length int64) error { return file.Preallocate(offset, length) }
