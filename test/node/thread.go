//go:build linux

package node

import (
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
	ends sync.Once
}

// enter starts a thread in namespaces of the process.
func enter(pid int, namespaces ...namespace) (*thread, error) {
	t := &thread{work: make(chan func())}
	entered := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, nobody else gets to run in the namespaces.
		runtime.LockOSThread()
		err := setNamespaces(pid, namespaces)
		entered <- err
		if err != nil {
			return
		}
		for f := range t.work {
			f()
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

// do runs a function there and waits for it.
func (t *thread) do(f func()) {
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// end ends the thread, and with it the programs that it started. Nothing may be asked of it any more.
func (t *thread) end() { t.ends.Do(func() { close(t.work) }) }
