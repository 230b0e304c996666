package control

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// ownerOnly gives a socket its mode before it is bound to a path. Linux makes the file with the mode of the socket, less the
// umask, so that there is no moment in which others could connect. Another umask would do that too, but it is the whole process's.
func ownerOnly(_, _ string, c syscall.RawConn) error {
	var failure error
	err := c.Control(func(fd uintptr) { failure = unix.Fchmod(int(fd), 0o600) })
	if err != nil {
		return err
	}
	return failure
}

// closeToOthers does nothing, because the socket has its mode already. A change by path could change another file, which has
// taken the socket's place since.
func closeToOthers(string) error { return nil }
