package admin

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// What Run returns, for the shell.
const (
	ExitOK    = 0 // done, or the answer is yes
	ExitNo    = 1 // the answer is no, or something is wrong
	ExitUsage = 2 // the command line makes no sense
)

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// A command does its work and returns an exit status. An error is printed; a *usageError with the command's usage.
type command struct {
	synopsis string
	does     string
	run      func(s Streams, flags *flag.FlagSet, args []string) (int, error)
}

var commands = map[string]command{
	"check": {"[-conf FILE] [-krb5conf FILE] [-ccache FILE] [-server HOST:PORT] [-offline] [-o text|json]",
		"looks at Corefile, keytabs, zones, KDC, clocks and ports, and says what clients would run into", check},
	"convert": {"[FILE]",
		"prints the rules of BIND's update-policy in FILE, or standard input, as lines for the gsstsig block", convert},
	"dump": {"[-conf FILE | -database DIR] ZONE",
		"prints the zone of a database as a master file, while the server runs or not", dump},
	"load": {"[-conf FILE | -database DIR] ZONE FILE",
		"fills the empty database of a zone from a master file, - for standard input; the server must not run", load},
	"may": {"[-conf FILE] [-delete] [-client ADDRESS] [-group SID]... PRINCIPAL NAME TYPE [RDATA...]",
		"says whether an update would be permitted, and by which rule", may},
}

// order is that of the usage.
var order = []string{"check", "convert", "dump", "load", "may"}

// usageError is a command line that makes no sense.
type usageError struct{ reason string }

func (e *usageError) Error() string { return e.reason }

// Run runs one command, which args starts with, and returns the exit status.
func Run(s Streams, args []string) int {
	if len(args) == 0 {
		usage(s.Err)
		return ExitUsage
	}
	name := args[0]
	c, ok := commands[name]
	if !ok {
		if name == "help" || name == "-h" || name == "-help" || name == "--help" {
			usage(s.Out)
			return ExitOK
		}
		fmt.Fprintf(s.Err, "coredns gsstsig: no such command: %s\n", name)
		usage(s.Err)
		return ExitUsage
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	status, err := c.run(s, flags, args[1:])
	var wrong *usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(s.Out, "usage: coredns gsstsig %s %s\n%s\n", name, c.synopsis, c.does)
		flags.SetOutput(s.Out)
		flags.PrintDefaults()
		return ExitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(s.Err, "coredns gsstsig %s: %v\nusage: coredns gsstsig %s %s\n", name, err, name, c.synopsis)
		return ExitUsage
	case err != nil:
		fmt.Fprintf(s.Err, "coredns gsstsig %s: %v\n", name, err)
		return ExitNo
	}
	return status
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: coredns gsstsig COMMAND")
	for _, name := range order {
		fmt.Fprintf(w, "  %s %s\n      %s\n", name, commands[name].synopsis, commands[name].does)
	}
}

// parse reads the flags. What is left is of the command.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, &usageError{err.Error()}
	}
	return flags.Args(), nil
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return fmt.Sprint([]string(*l)) }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }
