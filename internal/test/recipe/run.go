//go:build linux

package recipe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// stopGrace is how long a program may take to end.
const stopGrace = 15 * time.Second

// Lab is where recipes are tried. It is not safe for concurrent use.
type Lab struct {
	Machines map[string]*node.Node
	Programs string // directory of programs that a machine of a reader has in its PATH
	Input    string // what commands read, such as passwords

	// Up waits until a program that keeps running does what it is for.
	Up func(ctx context.Context, on *node.Node, program string, p *process.Process) error

	running []running
}

// running is a program that has been started on a machine.
type running struct {
	machine string
	process *process.Process
}

// Follow does what blocks say, one after the other, up to the first error.
func (l *Lab) Follow(ctx context.Context, blocks []Block) error {
	for _, b := range blocks {
		if err := l.do(ctx, b); err != nil {
			for _, r := range l.running {
				err = fmt.Errorf("%w\n%s's program said last:\n%s", err, r.machine, last(r.process.Output().String()))
			}
			return fmt.Errorf("%s: on %s: %w", b.Position, b.Machine, err)
		}
	}
	return nil
}

// last is the end of a text.
func last(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "")
}

func (l *Lab) do(ctx context.Context, b Block) error {
	n := l.Machines[b.Machine]
	if n == nil {
		return errors.New("there is no such machine")
	}
	if b.File != "" {
		return n.WriteFile(b.File, b.Text, 0o644)
	}
	if arguments, found := strings.CutPrefix(b.Text, "scp "); found {
		return l.copy(strings.Fields(arguments), n)
	}
	lasting, text := ctx, b.Text
	if b.Running {
		lasting, text = context.WithoutCancel(ctx), "exec "+b.Text
	}
	cmd := n.Command(lasting, "sh", "-ec", text)
	for i, variable := range cmd.Env {
		if path, found := strings.CutPrefix(variable, "PATH="); found {
			cmd.Env[i] = "PATH=" + l.Programs + ":" + path
		}
	}
	// Without a terminal of its own it asks for passwords on its input.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !b.Running {
		cmd.Stdin = strings.NewReader(l.Input)
		_, err := n.Output(cmd)
		return err
	}
	p, err := n.Start(cmd)
	if err != nil {
		return err
	}
	l.running = append(l.running, running{b.Machine, p})
	return l.Up(ctx, n, strings.Fields(b.Text)[0], p)
}

// copy does what "scp MACHINE.DOMAIN:FILE FILE", or the same with an address of the machine, would do on a machine, which has no SSH.
func (l *Lab) copy(args []string, to *node.Node) error {
	if len(args) != 2 {
		return errors.New("scp stands in a block of its own, with two arguments")
	}
	host, file, _ := strings.Cut(args[0], ":")
	for _, from := range l.Machines {
		if from.Host() == host || slices.ContainsFunc(from.Addresses, func(a netip.Prefix) bool { return a.Addr().String() == host }) {
			text, err := from.ReadFile(file)
			if err != nil {
				return err
			}
			return to.WriteFile(args[1], text, 0o600)
		}
	}
	return fmt.Errorf("there is no machine %s", host)
}

// Close ends what keeps running, the last first, and reports what the race detector found in it. It may be called more
// than once.
func (l *Lab) Close() error {
	return l.end(func(string) bool { return true })
}

// Output is what the program has written that was started last on a machine, or nil.
func (l *Lab) Output(machine string) *process.Output {
	for _, r := range slices.Backward(l.running) {
		if r.machine == machine {
			return r.process.Output()
		}
	}
	return nil
}

// End does the same on one machine.
func (l *Lab) End(machine string) error {
	return l.end(func(name string) bool { return name == machine })
}

func (l *Lab) end(where func(machine string) bool) error {
	var errs []error
	var others []running
	for _, r := range slices.Backward(l.running) {
		if !where(r.machine) {
			others = slices.Insert(others, 0, r)
			continue
		}
		r.process.Stop(stopGrace)
		if _, race, found := strings.Cut(r.process.Output().String(), "WARNING: DATA RACE"); found {
			errs = append(errs, fmt.Errorf("data race on %s:%s", r.machine, race))
		}
	}
	l.running = others
	return errors.Join(errs...)
}
