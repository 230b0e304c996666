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

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
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

// completeValue completes the value of a flag, by its placeholder in the usage.
func completeValue(name, placeholder string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		switch {
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
func (c *command) completeWord(cmd *cobra.Command, before []string, _ string) ([]string, cobra.ShellCompDirective) {
	places := strings.Fields(c.words)
	if len(before) >= len(places) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	switch place := strings.Trim(places[len(before)], "[]"); {
	case place == "FILE":
		return nil, cobra.ShellCompDirectiveDefault
	case place == "ZONE":
		return zonesOf(cmd), cobra.ShellCompDirectiveNoFileComp
	case strings.Contains(place, "|"):
		return strings.Split(place, "|"), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// zonesOf returns the zones of the Corefile that a command line names, none if it cannot be read.
func zonesOf(cmd *cobra.Command) []string {
	conf := cmd.Flag("conf")
	if conf == nil {
		return nil
	}
	servers, err := corefile.ReadFile(conf.Value.String())
	if err != nil {
		return nil
	}
	var zones []string
	for _, server := range servers {
		for _, origin := range server.Origins {
			if name := strings.TrimSuffix(origin, "."); name != "" && !slices.Contains(zones, name) {
				zones = append(zones, name)
			}
		}
	}
	return zones
}
