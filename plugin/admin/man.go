package admin

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"strings"
)

// man prints the man page of all commands, in the language of man(7).
func man(program string) func(*flag.FlagSet) runner {
	return func(*flag.FlagSet) runner {
		return func(s Streams, words []string) (int, error) {
			if len(words) > 0 {
				return 0, &usageError{"man takes no arguments"}
			}
			return ExitOK, writeManual(s.Out, program)
		}
	}
}

// A manual writes a man page.
type manual struct{ *bufio.Writer }

// macro writes a line that begins with a macro. Its arguments are quoted.
func (m manual) macro(name string, args ...string) {
	m.WriteString("." + name)
	for _, arg := range args {
		m.WriteString(` "` + strings.ReplaceAll(roff(arg), `"`, `\(dq`) + `"`)
	}
	m.WriteByte('\n')
}

// paragraph writes text.
func (m manual) paragraph(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			m.macro("PP")
			continue
		}
		if line[0] == '.' || line[0] == '\'' {
			m.WriteString(`\&`)
		}
		m.WriteString(roff(line) + "\n")
	}
}

// roff escapes text. Hyphens are printed as they are typed, so that command lines can be copied.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
}

// writeManual writes the man page of a program.
func writeManual(w io.Writer, program string) error {
	m := manual{bufio.NewWriter(w)}
	page := strings.ReplaceAll(program, " ", "-")
	m.macro("TH", strings.ToUpper(page), "8", "", "coredns-gsstsig", "System Administration")
	m.macro("SH", "NAME")
	m.paragraph(page + " - administer zones with GSS-TSIG secure dynamic updates of CoreDNS")
	m.macro("SH", "SYNOPSIS")
	m.macro("B", program)
	m.paragraph("COMMAND [FLAGS] [WORDS]")
	m.macro("SH", "DESCRIPTION")
	m.paragraph("The commands check the configuration of a server with the plugin gsstsig, and read and change its zones.\n\n" +
		"Flags may stand before, between and after other words. The word -- ends them: what follows may begin with a hyphen.")
	m.macro("SH", "COMMANDS")
	for _, c := range commands(program) {
		m.macro("SS", c.name+c.synopsis())
		m.paragraph(c.purpose)
		if c.more != "" {
			m.macro("PP")
			m.paragraph(c.more)
		}
		c.flags().VisitAll(func(f *flag.Flag) {
			value, usage := describe(f)
			m.macro("TP")
			m.macro("B", strings.TrimSpace("-"+f.Name+" "+value))
			m.paragraph(usage)
		})
	}
	m.macro("SH", "EXIT STATUS")
	for _, status := range []struct {
		code int
		text string
	}{
		{ExitOK, "The command has done its work, or the answer is yes."},
		{ExitNo, "The command has failed, or the answer is no."},
		{ExitUsage, "The command line is wrong."},
	} {
		m.macro("TP")
		m.macro("B", fmt.Sprint(status.code))
		m.paragraph(status.text)
	}
	m.macro("SH", "FILES")
	m.macro("TP")
	m.macro("B", "Corefile")
	m.paragraph("The configuration of the server, in the current directory if -conf does not name another one. The Debian package has it in /etc/coredns.")
	m.macro("TP")
	m.macro("B", "control.sock")
	m.paragraph("The control socket of a running server, in the directory of the first database unless the property control names another one.")
	m.macro("SH", "ENVIRONMENT")
	m.macro("TP")
	m.macro("B", "VISUAL, EDITOR")
	m.paragraph("The editor of the command edit.")
	m.macro("TP")
	m.macro("B", "KRB5CCNAME, KRB5_CONFIG")
	m.paragraph("The credential cache to ask another server with, and the krb5.conf that names the KDCs, or several with colons between them, unless flags name others.")
	m.macro("SH", "EXAMPLES")
	for _, example := range []struct{ text, command string }{
		{"See what clients would fail on.", "check -conf /etc/coredns/Corefile -user coredns"},
		{"See whether a machine may change a name, and if not, why, and what to do.", "may host/pc17.corp.example.com@CORP.EXAMPLE.COM pc17.corp.example.com A"},
		{"Give a name to its right owner.", "own pc17.corp.example.com 'PC17$@CORP.EXAMPLE.COM'"},
		{"Back up a zone, also while the server runs.", "dump corp.example.com > corp.example.com.zone"},
	} {
		m.macro("TP")
		m.macro("B", program+" "+example.command)
		m.paragraph(example.text)
	}
	m.macro("SH", "SEE ALSO")
	m.paragraph("nsupdate(1), kadmin(1), krb5.conf(5)")
	return m.Flush()
}
