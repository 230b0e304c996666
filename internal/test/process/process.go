package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/debian13"
)

// Process is a program that runs in the background. Its methods are safe for concurrent use.
type Process struct {
	cmd    *exec.Cmd
	output *Output
	done   chan struct{}
	err    error // what Wait returned; set before done is closed
}

// Start runs the command. Standard output and standard error are collected, unless the caller has set them. Where the
// system can do so, the program is killed when this process ends, however that happens.
func Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	return startToDieWithParent(cmd)
}

// StartGuarded is Start for a program that something else ends together with this process, such as a PID namespace (in
// which a program cannot see that this process is its parent).
func StartGuarded(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, output: NewOutput(), done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = p.output
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		p.output.close()
		close(p.done)
	}()
	return p, nil
}

// PID is the process's identifier.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended and all it wrote has been collected.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the program ended, as [exec.Cmd.Wait] says it; nil while it runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Output is what the program has written.
func (p *Process) Output() *Output { return p.output }

// Signal sends a signal to the program. A program that has ended already is not an error.
func (p *Process) Signal(s os.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Stop asks the program to end by SIGTERM, and kills it when it has not after the grace period. It returns when the
// program is gone.
func (p *Process) Stop(grace time.Duration) {
	if err := p.Signal(syscall.SIGTERM); err == nil {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.done:
			return
		case <-timer.C:
		}
	}
	p.Kill()
}

// Kill ends the program at once, and returns when it is gone.
func (p *Process) Kill() {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return
	}
	<-p.done
}

// Output collects what a program writes. Its methods are safe for concurrent use.
type Output struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed and replaced at each write
	closed  bool
}

// NewOutput returns an empty Output.
func NewOutput() *Output { return &Output{changed: make(chan struct{})} }

// Write implements io.Writer.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(b), nil
}

func (o *Output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	close(o.changed)
	o.changed = make(chan struct{})
}

// String is all that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Len is the number of octets written so far. Text written later begins there.
func (o *Output) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Len()
}

// Wait returns when the text after the first from octets satisfies found. It returns an error when the context or the
// program ends first.
func (o *Output) Wait(ctx context.Context, from int, found func(text string) bool) error {
	for {
		o.mu.Lock()
		text, changed, closed := o.text.String()[from:], o.changed, o.closed
		o.mu.Unlock()
		if found(text) {
			return nil
		}
		if closed {
			return fmt.Errorf("the program ended without saying what was waited for; it said:\n%s", text)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the program said:\n%s", ctx.Err(), text)
		case <-changed:
		}
	}
}

// WaitFor waits for a part of the text after the first from octets.
func (o *Output) WaitFor(ctx context.Context, from int, part string) error {
	if err := o.Wait(ctx, from, func(text string) bool { return strings.Contains(text, part) }); err != nil {
		return fmt.Errorf("waiting for %q: %w", part, err)
	}
	return nil
}

// Require returns an error that names the programs that are not installed.
func Require(programs ...string) error {
	var missing []string
	for _, program := range programs {
		if _, err := LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not installed: %s; run test/install.sh as root", strings.Join(missing, ", "))
	}
	return nil
}

// LookPath finds a program, also in the directories for administrators that are not in every user's PATH. Where the tests
// are to run programs of Debian 13, it prefers these.
func LookPath(program string) (string, error) {
	if debian13.Chosen() {
		if path, err := debian13.LookPath(program); !errors.Is(err, debian13.ErrNoProgram) {
			return path, err
		}
	}
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(dir + "/" + program); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w; run test/install.sh as root", err)
}
