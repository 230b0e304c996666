//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package control

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lockTimeout bounds how long Listen waits for another process that makes a socket in the same directory.
const lockTimeout = 2 * time.Second

// lockDirectory keeps other processes from making a socket in a directory until unlock is called: of two that find the socket of
// a process that is gone, the second would remove the socket of the first. Without the lock, which anyone who can read the
// directory could keep, the work is done all the same.
func lockDirectory(dir string) (unlock func()) {
	d, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	// The descriptor is not inherited, so that closing it unlocks.
	unlock = func() { _ = d.Close() }
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) || time.Now().After(deadline) {
			return unlock
		}
	}
}
