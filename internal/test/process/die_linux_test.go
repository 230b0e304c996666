package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestOutlivesThread starts a program from a thread that then ends, which is not the end of this process.
func TestOutlivesThread(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.Command("sh", "-c", "read line && echo $line")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var p *Process
	thread := make(chan int)
	var begin func()
	begin = func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if syscall.Gettid() == syscall.Getpid() {
			go begin() // the process's first thread does not end
			return
		}
		p, err = Start(cmd)
		thread <- syscall.Gettid()
	}
	go begin()
	task := fmt.Sprintf("/proc/self/task/%d", <-thread)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(task); err != nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("the thread does not end")
		case <-ticker.C:
		}
	}
	if _, err := io.WriteString(input, "alive\n"); err != nil {
		t.Fatal(err)
	}
	if err := p.Output().WaitFor(ctx, 0, "alive"); err != nil {
		t.Error(err)
	}
}
