package admin

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
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
	In  io.Reader // of update, and of load and convert where they read standard input
	Out io.Writer // results
	Err io.Writer // errors, warnings and progress
}

// A command is one of the administrator's commands. Usage, completion and the man page are made from it.
type command struct {
	name    string
	words   string // that follow the flags, as in a usage: "ZONE [NAME]"
	purpose string // one sentence
	more    string // for -h and the man page: paragraphs, separated by empty lines

	required []string // names of flags that must be there

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
			purpose: "Check the whole Corefile, keytabs, zones, rules, KDC, clocks, ports and etcd, and print what clients will fail on, with the fix."},
		{name: "convert", words: "[FILE]", define: convert,
			purpose: "Convert the update-policy and allow-update of a named.conf, read from FILE or standard input, to grant and deny lines, or the whole file to a Corefile."},
		{name: "dump", words: "ZONE", define: dump,
			purpose: "Print a zone from its database as a master file. The server may be running."},
		{name: "load", words: "ZONE FILE", define: load,
			purpose: "Fill the empty database of a zone from a dump, a master file, or another server. The server of this database must be stopped.",
			more: "The FILE - is standard input.\n\n" +
				"The FILE axfr://HOST[:PORT] is a server that has the zone. It is asked by AXFR, unsigned, signed with an HMAC key (-key), or by GSS-TSIG (-gss).\n\n" +
				"The FILE ldap://HOST[:PORT][/DN] is a domain controller of Active Directory. It is asked with a Kerberos ticket for records, their times, and owners of names."},
		{name: "may", words: "PRINCIPAL NAME TYPE [RDATA...]", define: may,
			purpose: "Print whether a principal may add a record, or delete an RRset, and which rule decides."},
		{name: "status", words: "[ZONE]", define: status,
			purpose: "Print what the running server has: version, zones, keys and contexts, or one zone in detail."},
		{name: "show", words: "ZONE [NAME]", define: show,
			purpose: "Print the names of a zone with their records and owners, and the hour in which each record was last refreshed.",
			more:    "A NAME without final dot may be relative to the zone; @ is the zone's own. If no name is found, the exit status is 1."},
		{name: "update", words: "ZONE", define: update,
			purpose: "Read nsupdate's lines from standard input, and apply them as the administrator in one transaction.",
			more:    "Prerequisites are evaluated as those of a message. Lines that say how a message is sent, such as server and key, have no effect. Nothing may follow the line send."},
		{name: "edit", words: "ZONE", define: edit,
			purpose: "Open a zone in $VISUAL or $EDITOR, and apply the changes in one transaction.",
			more:    "If one of the edited RRsets or owners has been changed by others meanwhile, nothing is applied, and the difference is printed. The server raises the serial itself."},
		{name: "own", words: "NAME PRINCIPAL", define: own,
			purpose: "Make a principal the owner of a name with records, or of a deleted name (tombstone).",
			more:    "PRINCIPAL is written with its realm; a space and the SID of its account may follow. It may also be the name of an HMAC key with its final dot, or first-come: the first client that signs a change of the name."},
		{name: "release", words: "NAME", define: release,
			purpose: "Remove the owner of a name. A name with records then belongs to the administrator; a deleted name (tombstone) is free."},
		{name: "contexts", define: contexts,
			purpose: "Print the security contexts of clients, without their secrets, or drop some."},
		{name: "freeze", words: "ZONE", define: freeze,
			purpose: "Refuse clients' updates of a zone, until thaw or, unless the zone is on etcd, the end of the process. Queries are answered, and the administrator can change the zone, unless -all is given."},
		{name: "thaw", words: "ZONE", define: thaw,
			purpose: "Take clients' updates of a frozen zone again.",
			more:    "A zone that is frozen for the administrator too may be about to move, perhaps by a command at another server. That needs -all, and gives the move up."},
		{name: "changes", words: "ZONE [FROM]", define: changes,
			purpose: "Print the log of a zone's changes, oldest first: when, by whom, by which rule, and the records that were removed and added.",
			more:    "FROM is a serial: only the changes since then are printed. The log is bounded: it has the latest changes, and none of owners alone."},
		{name: "stale", words: "ZONE", define: stale,
			purpose: "Print the stale records of a zone, which aging removes, and when each is due.",
			more:    "With -intervals, this is a preview of aging with these intervals, whatever the property aging says."},
		{name: "scavenge", words: "ZONE", define: scavenge,
			purpose: "Remove the stale records of a zone now."},
		{name: "migrate", words: "ZONE", define: migrate, required: []string{"to"},
			purpose: "Copy a zone from where one Corefile keeps it to where another does: from a database to etcd, or back. The server may be running.",
			more:    "-conf is the Corefile in use, -to the new one. The zone is frozen, as freeze -all does it, copied with times, owners, tombstones and serial, and compared. The database of a server that is stopped is locked meanwhile. Then put the new Corefile in the place of the old one and reload: the server goes on with the copy."},
		{name: "restored", words: "ZONE", define: restored,
			purpose: "Resume a zone after etcd was restored from a backup: raise its serial, so that all servers and secondaries load the zone again.",
			more:    "The new serial is greater than that of the running server and those of -served, by more than a million."},
		{name: "completion", words: "bash|zsh|fish", define: completion(program),
			purpose: "Print a script that has a shell complete commands, flags, zones, names and principals.",
			more:    "For bash: source <(" + program + " completion bash), which needs the package bash-completion. The Debian package installs the scripts of all three shells."},
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
		fmt.Fprintf(s.Err, "%s: %v\n%s\n", program, err, wrap("usage: "+program+c.synopsis(), ""))
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
	fmt.Fprintf(w, "usage: %s COMMAND\n\n", program)
	for _, c := range commands(program) {
		fmt.Fprintf(w, "  %s\n%s\n", strings.TrimSpace(c.name+" "+c.words), wrap(c.purpose, "      "))
	}
	fmt.Fprintf(w, "\n\"%s COMMAND -h\" describes the flags of a command.\n\"%s -version\" prints the version.\n", program, program)
}

// help describes one command.
func (c *command) help(w io.Writer, program string) {
	fmt.Fprintf(w, "%s\n\n%s\n", wrap("usage: "+program+" "+c.name+c.synopsis(), ""), wrap(c.purpose, ""))
	if c.more != "" {
		fmt.Fprintf(w, "\n%s\n", wrap(c.more, ""))
	}
	heading := "\nFlags, which may stand before or after other words; -- ends them:\n"
	c.flags().VisitAll(func(f *flag.Flag) {
		value, usage := describe(f)
		fmt.Fprintf(w, "%s  %s\n%s\n", heading, strings.TrimSpace("-"+f.Name+" "+value), wrap(usage, "      "))
		heading = ""
	})
}

// describe returns the placeholder of a flag's value, empty if it takes none, and its text with the default.
func describe(f *flag.Flag) (value, usage string) {
	value, usage = flag.UnquoteUsage(f)
	if _, several := f.Value.(repeated); f.DefValue != "" && !several && !isBool(f) {
		usage += fmt.Sprintf(" (default %s)", f.DefValue)
	}
	return value, usage
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
		value, _ := describe(f)
		text := strings.TrimSpace("-" + f.Name + " " + value)
		if !slices.Contains(c.required, f.Name) {
			text = "[" + text + "]"
		}
		if _, ok := f.Value.(repeated); ok {
			text += "..."
		}
		b.WriteString(" " + text)
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
