//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockHolder returns, after locking failed with err, who holds the lock. others is false if it
// failed for another reason.
func lockHolder(path string, err error) (holder string, others bool) {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		// Pebble keeps a list of its own of what this process has locked.
		return fmt.Sprintf("this process (pid %d)", os.Getpid()), true
	}
	if errno != syscall.EAGAIN && errno != syscall.EACCES {
		return "", false
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	err = syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock)
	if err != nil || lock.Type == syscall.F_UNLCK || lock.Pid <= 0 {
		// It ended meanwhile, or runs in another container.
		return "another process", true
	}
	return fmt.Sprintf("the process with pid %d", lock.Pid), true
}
