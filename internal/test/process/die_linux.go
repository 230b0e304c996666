package process

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starter runs functions on a thread that lives as long as this process. Linux takes the end of the thread that started
// a program for the end of its parent, and threads of Go's do end: with a goroutine that has locked its own.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// startToDieWithParent starts a program that is killed when this process ends.
func startToDieWithParent(cmd *exec.Cmd) (p *Process, err error) {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan struct{})
	starter() <- func() {
		p, err = StartGuarded(cmd)
		close(started)
	}
	<-started
	return p, err
}
