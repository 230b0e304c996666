//go:build linux

package node

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// namespace is one that a thread can enter.
type namespace struct {
	name string // below /proc/PID/ns
	flag int
}

var (
	networkNamespace = namespace{"net", unix.CLONE_NEWNET}
	allNamespaces    = []namespace{
		networkNamespace, {"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC}, {"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS},
	}
)

// thread is a thread of this process that lives in the namespaces of another. A program that it starts, and a socket
// that it opens, is there as well.
type thread struct {
	work chan func()
	over chan struct{} // closed when it is to end
	ends sync.Once
}

// errEnded means that the node or network has been closed.
var errEnded = errors.New("the node has been closed")

// enter starts a thread in namespaces of the process.
func enter(pid int, namespaces ...namespace) (*thread, error) {
	t := &thread{work: make(chan func()), over: make(chan struct{})}
	entered := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so that no other goroutine runs in the namespaces.
		runtime.LockOSThread()
		err := setNamespaces(pid, namespaces)
		entered <- err
		if err != nil {
			return
		}
		for {
			select {
			case f := <-t.work:
				f()
			case <-t.over:
				return
			}
		}
	}()
	return t, <-entered
}

func setNamespaces(pid int, namespaces []namespace) error {
	// A thread that shares its root and working directory with others may not enter a mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	for _, ns := range namespaces {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name))
		if err != nil {
			return err
		}
		err = unix.Setns(int(f.Fd()), ns.flag)
		if closing := f.Close(); err == nil {
			err = closing
		}
		if err != nil {
			return fmt.Errorf("enter the namespace %s: %w", ns.name, err)
		}
	}
	return nil
}

// do runs a function there, waits for it, and returns its error.
func (t *thread) do(f func() error) error {
	done := make(chan error, 1)
	select {
	case t.work <- func() { done <- f() }:
		return <-done
	case <-t.over:
		return errEnded
	}
}

// end ends the thread. It may be called more than once.
func (t *thread) end() { t.ends.Do(func() { close(t.over) }) }
