package admin

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/version"
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

// A command is one of the administrator's commands. Usage, completion and the man page are made from it.
type command struct {
	name    string
	words   string // that follow the flags, as in a usage: "ZONE [NAME]"
	purpose string // one sentence
	more    string // for -h and the man page: paragraphs, separated by empty lines

	// define adds the flags of the command, and returns what runs it once they are read.
	define func(flags *flag.FlagSet) runner
}

// A runner does the work of a command with the words that are not flags, and returns an exit status. Its error is printed; a
// *usageError with the command's usage.
type runner func(s Streams, words []string) (int, error)

// commands are those of a program, in the order of the usage.
func commands(program string) []command {
	return []command{
		{name: "check", define: check(program),
			purpose: "Check the whole Corefile, keytabs, zones, KDC, clocks and ports, and print the problems that clients will have."},
		{name: "convert", words: "[FILE]", define: convert,
			purpose: "Convert the update-policy of a named.conf, FILE or standard input, to lines of a gsstsig block, or all of the file to a Corefile."},
		{name: "dump", words: "ZONE", define: dump,
			purpose: "Print a zone from its database as a master file. The server may be running."},
		{name: "load", words: "ZONE FILE", define: load,
			purpose: "Fill the empty database of a zone from a dump or a master file, from standard input for -, or from another server. The server of this database must be stopped.",
			more: "axfr://HOST[:PORT] as FILE is a server that has the zone. It is asked by AXFR, unsigned, signed with an HMAC key (-key), or by GSS-TSIG (-gss).\n\n" +
				"ldap://HOST[:PORT][/DN] is a domain controller of Active Directory. It is asked with a Kerberos ticket for records, their times, and owners of names."},
		{name: "may", words: "PRINCIPAL NAME TYPE [RDATA...]", define: may,
			purpose: "Print whether a principal may add a record (or delete an RRset), and by which rule."},
		{name: "status", words: "[ZONE]", define: status,
			purpose: "Print what the running server has: version, zones, keys and contexts, or one zone in detail."},
		{name: "show", words: "ZONE [NAME]", define: show,
			purpose: "Print the names of a zone with records, owners and the hour in which each record was last seen.",
			more:    "A NAME without final dot may be relative to the zone; @ is the zone's own. If no name is found, the exit status is 1."},
		{name: "update", words: "ZONE", define: update,
			purpose: "Do what lines of nsupdate on standard input say, as the administrator and in one transaction.",
			more: "Prerequisites are compared as in a message. Lines that say how a message is sent, such as server and key, have no effect.\n" +
				"Nothing may follow the line send."},
		{name: "edit", words: "ZONE", define: edit,
			purpose: "Open a zone in $VISUAL or $EDITOR, and apply what was changed as one transaction.",
			more: "Nothing is changed if one of the RRsets or owners that were edited has been changed meanwhile: the difference is shown then.\n" +
				"The serial goes on by itself."},
		{name: "own", words: "NAME PRINCIPAL", define: own,
			purpose: "Make a principal the owner of a name, or of the tombstone of a name.",
			more:    "PRINCIPAL has its realm, and may be followed by a space and the SID of its account. It may also be the name of an HMAC key with its final dot, or first-come: the first client that signs."},
		{name: "release", words: "NAME", define: release,
			purpose: "Take the owner of a name away: a name with records is the administrator's then; one without, a tombstone, is kept for nobody."},
		{name: "contexts", define: contexts,
			purpose: "Print the security contexts of clients, without their keys, or drop some."},
		{name: "freeze", words: "ZONE", define: freeze,
			purpose: "Have the updates of a zone refused until thaw or the end of the process. Queries are answered, and the administrator's own changes go on."},
		{name: "thaw", words: "ZONE", define: thaw,
			purpose: "Have the updates of a frozen zone permitted again."},
		{name: "changes", words: "ZONE [FROM]", define: changes,
			purpose: "Print the log of a zone's changes, oldest first: when, by whom, by which rule, and the records and owners that went and came.",
			more: "FROM is a serial: only changes since then are printed. How far the log reaches back depends on the database.\n" +
				"Changes of owners alone are not in it."},
		{name: "stale", words: "ZONE", define: stale,
			purpose: "Print the records that aging takes from a zone, and when each is due.",
			more:    "With -intervals this is a preview of aging with these intervals, whatever the Corefile has."},
		{name: "scavenge", words: "ZONE", define: scavenge,
			purpose: "Remove the stale records of a zone now."},
		{name: "migrate", words: "ZONE", define: migrate,
			purpose: "Copy a zone from where one Corefile keeps it to where another does: from a database to etcd, or back. The server may be running.",
			more: "-conf is the Corefile in use, -to the other one. The zone is frozen, copied with times, owners, tombstones and serial, and compared.\n" +
				"The server goes on with the copy when the other Corefile is put in the place of the first and loaded."},
		{name: "restored", words: "ZONE", define: restored,
			purpose: "Go on with a zone after etcd was restored from a backup: raise its serial, so that all servers and secondaries load it anew.",
			more:    "The serial becomes greater than those of the running server and of -served, by more than a million."},
		{name: "completion", words: "bash|zsh|fish", define: completion(program),
			purpose: "Print the completion of commands, flags, zones, names and principals for a shell.",
			more:    "For bash: source <(" + program + " completion bash). A package puts the output into bash-completion/completions, zsh/site-functions or fish/vendor_completions.d."},
		{name: "man", define: man(program),
			purpose: "Print the man page of all commands: " + program + " man | man -l -."},
	}
}

// usageError is a wrong command line.
type usageError struct{ reason string }

func (e *usageError) Error() string { return e.reason }

// Run runs the command that args have and returns the exit status of the process. The program is how the user calls the
// commands, such as "coredns gsstsig"; messages begin with it. Run may be called from any program that has the plugin
// gsstsig: the order of CoreDNS's plugins (dnsserver.Directives) must contain gsstsig.
//
// Completion calls the first word of the program with the words __complete and the command line, second word of the program
// included. A program of two words passes on such a call too: see the example.
func Run(program string, args []string, s Streams) int {
	if len(args) > 0 && isCompletionRequest(args[0]) {
		return complete(program, args, s)
	}
	args = moveCommandFirst(args)
	if len(args) == 0 {
		usage(s.Err, program)
		return ExitUsage
	}
	switch name := args[0]; name {
	case "version", "-version", "--version":
		fmt.Fprintf(s.Out, "%s %s, for CoreDNS %s\n", program, version.Module(), coremain.CoreVersion)
		return ExitOK
	case "help", "-h", "--h", "-help", "--help":
		if len(args) == 1 || name != "help" {
			usage(s.Out, program)
			return ExitOK
		}
		args = []string{args[1], "-help"}
	}
	c, ok := find(program, args[0])
	if !ok {
		fmt.Fprintf(s.Err, "%s: unknown command %q%s\n\"%s help\" lists the commands\n", program, args[0], suggestion(program, args[0]), program)
		return ExitUsage
	}
	status, err := c.execute(program, args[1:], s)
	program += " " + c.name
	var wrong *usageError
	switch {
	case errors.As(err, &wrong):
		fmt.Fprintf(s.Err, "%s: %v\nusage: %s%s\n", program, err, program, c.synopsis())
		return ExitUsage
	case err != nil:
		fmt.Fprintf(s.Err, "%s: %v\n", program, err)
		return ExitNo
	}
	return status
}

// find returns the command of that name.
func find(program, name string) (command, bool) {
	for _, c := range commands(program) {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// suggestion asks for the commands that a word may be meant for. It is empty if it is like none.
func suggestion(program, word string) string {
	root := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, c := range commands(program) {
		root.AddCommand(&cobra.Command{Use: c.name, Run: func(*cobra.Command, []string) {}})
	}
	if names := root.SuggestionsFor(word); len(names) > 0 {
		return ". Did you mean " + strings.Join(names, " or ") + "?"
	}
	return ""
}

// usage lists the commands.
func usage(w io.Writer, program string) {
	fmt.Fprintf(w, "usage: %s COMMAND\n", program)
	for _, c := range commands(program) {
		fmt.Fprintf(w, "  %s\n      %s\n", strings.TrimSpace(c.name+" "+c.words), c.purpose)
	}
	fmt.Fprintf(w, "\"%s COMMAND -h\" describes the flags of a command, \"%s -version\" prints the version.\n", program, program)
}

// help describes one command.
func (c *command) help(w io.Writer, program string) {
	fmt.Fprintf(w, "usage: %s %s%s\n\n%s Flags may stand before or after other words; -- ends them.\n", program, c.name, c.synopsis(), c.purpose)
	if c.more != "" {
		fmt.Fprintf(w, "\n%s\n", c.more)
	}
	flags := c.flags()
	first := true
	flags.VisitAll(func(*flag.Flag) {
		if first {
			fmt.Fprintln(w)
		}
		first = false
	})
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// flags returns the flags of the command.
func (c *command) flags() *flag.FlagSet {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.define(flags)
	return flags
}

// synopsis is the part of the usage behind the name, with a space before each word.
func (c *command) synopsis() string {
	var b strings.Builder
	c.flags().VisitAll(func(f *flag.Flag) {
		value, _ := flag.UnquoteUsage(f)
		if value != "" {
			value = " " + value
		}
		fmt.Fprintf(&b, " [-%s%s]", f.Name, value)
		if _, ok := f.Value.(repeated); ok {
			b.WriteString("...")
		}
	})
	if c.words != "" {
		b.WriteString(" " + c.words)
	}
	return b.String()
}

// A repeated value is one of a flag that may be given several times.
type repeated interface{ repeated() }

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }
func (l *list) repeated()          {}
