//go:build !linux

package control

import (
	"os"
	"syscall"
)

// ownerOnly does nothing where a socket has no mode before it has a path: the directory has to keep others out for the moment
// until the file has its mode.
func ownerOnly(string, string, syscall.RawConn) error { return nil }

// closeToOthers gives a socket its mode.
func closeToOthers(path string) error { return os.Chmod(path, 0o600) }
