package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// run runs a command to its end and returns what it wrote to standard output. If the command fails, the error has the end of
// what it wrote to standard error. When ctx ends, the command is killed with all that it has started.
func run(ctx context.Context, cmd *exec.Cmd) (string, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	warnings := process.NewOutput()
	cmd.Stderr = warnings
	p, err := process.Start(cmd)
	if err != nil {
		return "", err
	}
	// The negative number is the process group. It may have members when the command has ended.
	killAll := func() { _ = syscall.Kill(-p.PID(), syscall.SIGKILL) }
	defer killAll()
	select {
	case <-p.Done():
	case <-ctx.Done():
		killAll()
		p.Kill()
		return "", ctx.Err()
	}
	if err := p.Err(); err != nil {
		return p.Output().String(), fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, tail(warnings.String()))
	}
	return p.Output().String(), nil
}

// tail returns the end of a text.
func tail(text string) string {
	const most = 4000
	return text[max(0, len(text)-most):]
}
