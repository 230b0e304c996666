package admin

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
)

// Exit statuses that Run returns.
const (
	ExitOK    = 0 // done, or the answer is yes
	ExitNo    = 1 // failed, or the answer is no
	ExitUsage = 2 // the command line is wrong
)

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// A command does its work and returns an exit status. Its error is printed; a *usageError with the command's usage.
type command struct {
	synopsis string
	purpose  string
	run      func(s Streams, flags *flag.FlagSet, args []string) (int, error)
}

var commands = map[string]command{
	"check": {"[-conf FILE] [-krb5conf FILE] [-ccache FILE] [-server HOST:PORT] [-p PORT] [-offline] [-o text|json]",
		"Check the Corefile, keytabs, zones, KDC, clocks and ports, and print the problems that clients will have.", check},
	"convert": {"[FILE]",
		"Convert the update-policy of a named.conf, FILE or standard input, to lines of a gsstsig block.", convert},
	"dump": {"[-conf FILE | -database DIR] [-o text|json] ZONE",
		"Print a zone from its database as a master file. The server may be running.", dump},
	"load": {"[-conf FILE | -database DIR] [-previous DIR] [-served SERIAL]... [-unowned closed|first-come] [-owners krb5:REALM|ms:REALM] [-o text|json] ZONE FILE",
		"Fill the empty database of a zone from a dump or a master file, or from standard input for -. The server must be stopped.", load},
	"may": {"[-conf FILE] [-delete] [-client ADDRESS] [-account NAME] [-sid SID] [-group SID]... [-no-pac] [-o text|json] PRINCIPAL NAME TYPE [RDATA...]",
		"Print whether a principal may add a record (or delete an RRset), and by which rule.", may},
}

// order is that of the usage.
var order = []string{"check", "convert", "dump", "load", "may"}

// usageError is a wrong command line.
type usageError struct{ reason string }

func (e *usageError) Error() string { return e.reason }

// Run runs the command that args begin with and returns the exit status of the process. The program is how the user calls
// the commands, such as "coredns gsstsig"; messages begin with it. Run may be called from any program that has the plugin
// gsstsig: the order of CoreDNS's plugins (dnsserver.Directives) must contain gsstsig.
func Run(program string, args []string, s Streams) int {
	if len(args) == 0 {
		usage(s.Err, program)
		return ExitUsage
	}
	name := args[0]
	c, ok := commands[name]
	if !ok {
		if name == "help" || name == "-h" || name == "-help" || name == "--help" {
			usage(s.Out, program)
			return ExitOK
		}
		fmt.Fprintf(s.Err, "%s: unknown command %q\n", program, name)
		usage(s.Err, program)
		return ExitUsage
	}
	program += " " + name
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	status, err := c.run(s, flags, args[1:])
	var wrong *usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(s.Out, "usage: %s %s\n\n%s Flags may stand before or after other words; -- ends them.\n\n", program, c.synopsis, c.purpose)
		flags.SetOutput(s.Out)
		flags.PrintDefaults()
		return ExitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(s.Err, "%s: %v\nusage: %s %s\n", program, err, program, c.synopsis)
		return ExitUsage
	case err != nil:
		fmt.Fprintf(s.Err, "%s: %v\n", program, err)
		return ExitNo
	}
	return status
}

func usage(w io.Writer, program string) {
	fmt.Fprintf(w, "usage: %s COMMAND\n", program)
	for _, name := range order {
		fmt.Fprintf(w, "  %s %s\n      %s\n", name, commands[name].synopsis, commands[name].purpose)
	}
	fmt.Fprintf(w, "\"%s COMMAND -h\" describes the flags of a command.\n", program)
}

// parse reads the flags, which may stand before, between and after the words of the command, and returns these words. The
// word -- ends the flags: what follows it may begin with a hyphen.
func parse(flags *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, &usageError{err.Error()}
		}
		rest := flags.Args()
		ended := len(rest) < len(args) && args[len(args)-len(rest)-1] == "--"
		if ended || len(rest) == 0 {
			return append(words, rest...), nil
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return fmt.Sprint([]string(*l)) }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// output is the flag -o.
type output struct{ json bool }

func addOutputFlag(flags *flag.FlagSet) *output {
	o := new(output)
	flags.Var(o, "o", "form of the output: `text or json` (default text)")
	return o
}

// String implements flag.Value.
func (o *output) String() string {
	if o.json {
		return "json"
	}
	return ""
}

// Set implements flag.Value.
func (o *output) Set(v string) error {
	if v != "text" && v != "json" {
		return errors.New("must be text or json")
	}
	o.json = v == "json"
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
