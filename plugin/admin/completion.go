package admin

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// shells print the completion of a program for a shell.
var shells = map[string]func(*cobra.Command, io.Writer) error{
	"bash": func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
	"zsh":  func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
	"fish": func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
}

// completion prints what a shell reads to complete command lines.
func completion(program string) func(*flag.FlagSet) runner {
	return func(*flag.FlagSet) runner {
		return func(s Streams, words []string) (int, error) {
			if len(words) != 1 || shells[words[0]] == nil {
				return 0, &usageError{"one of bash, zsh, fish is needed"}
			}
			return ExitOK, shells[words[0]](tree(program), s.Out)
		}
	}
}

// isCompletionRequest reports whether a word is the one by which shells ask for completions.
func isCompletionRequest(word string) bool {
	return word == cobra.ShellCompRequestCmd || word == cobra.ShellCompNoDescRequestCmd
}

// complete prints what the last word of a command line may be.
func complete(program string, args []string, s Streams) int {
	root := tree(program)
	request, words, last := args[0], args[1:], ""
	if len(words) > 0 {
		words, last = words[:len(words)-1], words[len(words)-1]
	}
	single := strings.HasPrefix(last, "-") && !strings.HasPrefix(last, "--")
	if single {
		last = "-" + last
	}
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(s.Err)
	root.SetArgs(slices.Concat([]string{request}, doubleHyphens(words), []string{last}))
	if err := root.Execute(); err != nil {
		fmt.Fprintf(s.Err, "%s: %v\n", program, err)
		return ExitNo
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		if single && strings.HasPrefix(line, "--") {
			line = line[1:]
		}
		if line != "\n" && !slices.Contains(lines, line) { // the help command without a name
			lines = append(lines, line)
		}
	}
	if _, err := io.WriteString(s.Out, strings.Join(lines, "")); err != nil {
		return ExitNo
	}
	return ExitOK
}

// tree makes the commands of a program for cobra's completion. They are below the second word of the program, if there is one.
func tree(program string) *cobra.Command {
	names := strings.Fields(program)
	root := &cobra.Command{Use: filepath.Base(names[0]), SilenceErrors: true, SilenceUsage: true}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{}) // cobra's own would be offered beside the second word of the program
	parent := root
	for _, name := range names[1:] {
		child := &cobra.Command{Use: name, Short: "Commands for the administrator of secure dynamic updates"}
		parent.AddCommand(child)
		parent = child
	}
	for _, c := range commands(program) {
		parent.AddCommand(c.cobra(func(runner, []string) error { return nil }))
	}
	return root
}

// choices are the values of flags that have but a few.
var choices = map[string][]string{
	"o":       {"text", "json"},
	"unowned": {"closed", "first-come"},
}

// typeCandidates are the types that machines register.
var typeCandidates = []string{"A", "AAAA", "CNAME", "DHCID", "PTR", "SRV", "SSHFP", "TXT"}

// completeValue completes the value of a flag, by its placeholder in the usage.
func completeValue(name, placeholder string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		switch {
		case name == "drop":
			return contextCandidates(cmd, prefix, true), cobra.ShellCompDirectiveNoFileComp
		case name == "owner":
			return principalCandidates(cmd, prefix), cobra.ShellCompDirectiveNoFileComp
		case name == "user":
			return userCandidates(prefix), cobra.ShellCompDirectiveNoFileComp
		case choices[name] != nil:
			return choices[name], cobra.ShellCompDirectiveNoFileComp
		case placeholder == "DIR":
			return nil, cobra.ShellCompDirectiveFilterDirs
		case placeholder == "FILE" || placeholder == "PATH":
			return nil, cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeWord completes a word that is not a flag, by its place in the usage.
func (c *command) completeWord(cmd *cobra.Command, before []string, prefix string) ([]string, cobra.ShellCompDirective) {
	places := strings.Fields(c.words)
	if len(before) >= len(places) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	switch place := strings.Trim(places[len(before)], "[]"); {
	case place == "FILE":
		return nil, cobra.ShellCompDirectiveDefault
	case place == "ZONE":
		return zoneCandidates(cmd, prefix), cobra.ShellCompDirectiveNoFileComp
	case place == "NAME":
		zone := ""
		if places[0] == "ZONE" {
			zone = before[0]
		}
		return nameCandidates(cmd, zone, prefix), cobra.ShellCompDirectiveNoFileComp
	case place == "PRINCIPAL":
		return principalCandidates(cmd, prefix), cobra.ShellCompDirectiveNoFileComp
	case place == "TYPE":
		return typeCandidates, cobra.ShellCompDirectiveNoFileComp
	case strings.Contains(place, "|"):
		return strings.Split(place, "|"), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
