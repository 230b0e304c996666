//go:build !linux

package control

import "syscall"

// ownerOnly does nothing where a socket has no mode before it has a path: the directory has to keep others out for the moment
// until the file has its mode.
func ownerOnly(string, string, syscall.RawConn) error { return nil }
