package admin

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// asProgram makes the test binary the program of that name.
const asProgram = "GSSTSIG_TEST_PROGRAM"

// completions asks for the completions of a command line of "coredns", as its shells do.
func completions(t *testing.T, line ...string) []string {
	t.Helper()
	status, out, errs := run(t, append([]string{"__complete"}, line...)...)
	if status != ExitOK {
		t.Fatalf("%q: exit status %d: %s", line, status, errs)
	}
	var words []string
	for line := range strings.Lines(out) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		words = append(words, word)
	}
	return words
}

// TestComplete: commands, flags in the form of the usage, their values and the zones of the Corefile. The last line tells the
// shell whether to offer files.
func TestComplete(t *testing.T) {
	conf := write(t, "")
	const files, nothing = ":0", ":4"
	for _, test := range []struct {
		line []string
		want []string
	}{
		{[]string{""}, []string{"gsstsig", nothing}},
		{[]string{"gsstsig", "ma"}, []string{"man", "may", nothing}},
		{[]string{"gsstsig", "may", "-cl"}, []string{"-client", nothing}},
		{[]string{"gsstsig", "may", "--cl"}, []string{"--client", nothing}},
		{[]string{"gsstsig", "may", "-delete", "-cl"}, []string{"-client", nothing}},
		{[]string{"gsstsig", "dump", "-o", ""}, []string{"text", "json", nothing}},
		{[]string{"gsstsig", "dump", "-o", "js"}, []string{"json", nothing}},
		{[]string{"gsstsig", "load", "-unowned", ""}, []string{"closed", "first-come", nothing}},
		{[]string{"gsstsig", "dump", "-conf", conf, ""}, []string{"example.test", "2.0.192.in-addr.arpa", nothing}},
		{[]string{"gsstsig", "dump", "-conf", conf, "ex"}, []string{"example.test", nothing}},
		{[]string{"gsstsig", "dump", "-conf", "/nonexistent", ""}, []string{nothing}},
		{[]string{"gsstsig", "dump", "-conf", conf, "example.test", ""}, []string{nothing}},
		{[]string{"gsstsig", "dump", "-conf", ""}, []string{files}},
		{[]string{"gsstsig", "dump", "-database", ""}, []string{":16"}},
		{[]string{"gsstsig", "load", "-conf", conf, "example.test", ""}, []string{files}},
		{[]string{"gsstsig", "completion", ""}, []string{"bash", "fish", "zsh", nothing}},
	} {
		got := completions(t, test.line...)
		if test.line[len(test.line)-1] == "" || !strings.HasPrefix(test.line[len(test.line)-1], "-") {
			got = slices.DeleteFunc(got, func(word string) bool { return strings.HasPrefix(word, "-") })
		}
		// Cobra leaves it to the shell to choose among words of a program's own.
		prefix := test.line[len(test.line)-1]
		got = slices.DeleteFunc(got, func(word string) bool { return !strings.HasPrefix(word, prefix) && word[0] != ':' })
		want := slices.Sorted(slices.Values(test.want))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", test.line, got, want)
		}
	}
}

// TestCompleteFromServer: zones, names, principals and keys come from the server, or from the databases of one that is stopped.
func TestCompleteFromServer(t *testing.T) {
	former := candidateTime
	t.Cleanup(func() { candidateTime = former })
	candidateTime = time.Minute // on a busy machine
	s := newSite(t, "")
	s.start()
	s.must(someNames, "update", "example.test")
	s.must("", "own", "a.example.test", "A$@EXAMPLE.TEST S-1-5-21-1-2-3-4")
	s.must("", "own", "b.example.test", "dhcp.")
	socket := filepath.Join(s.dir, "db", "control.sock")
	for _, running := range []bool{true, false} {
		if !running {
			s.stop()
		}
		for _, test := range []struct {
			line    string // with * for a word that is not there yet
			want    string
			offline bool // the same if the server is stopped
		}{
			{"freeze -conf CONF *", "example.test", true},
			{"freeze -control SOCKET *", "example.test", false},
			{"own -conf CONF *", "a.example.test b.example.test example.test ns1.example.test", true},
			{"own -control SOCKET a*", "a.example.test", false},
			{"release -conf CONF b*", "b.example.test", true},
			{"show -conf CONF example.test n*", "ns1.example.test", true},
			{"show -conf CONF example.org *", "", true},
			{"own -conf CONF a.example.test *", "A$@EXAMPLE.TEST dhcp.", true},
			{"show -conf CONF -owner A*", "A$@EXAMPLE.TEST", true},
			{"may -conf CONF *", "A$@EXAMPLE.TEST dhcp.", true},
			{"may -conf CONF A$@EXAMPLE.TEST b*", "b.example.test", true},
			{"may -conf CONF A$@EXAMPLE.TEST b.example.test AA*", "AAAA", true},
			{"contexts -conf CONF -drop *", "", true},
			{"check -user roo*", "root", true},
		} {
			words := strings.Fields("gsstsig " + strings.NewReplacer("CONF", s.conf, "SOCKET", socket).Replace(test.line))
			last := strings.TrimSuffix(words[len(words)-1], "*")
			words[len(words)-1] = last
			want := strings.Fields(test.want + " :4")
			if !running && !test.offline {
				want = []string{":4"}
			}
			got := slices.DeleteFunc(completions(t, words...), func(word string) bool {
				return word[0] == '-' || word[0] != ':' && !strings.HasPrefix(word, last)
			})
			if !slices.Equal(got, want) {
				t.Errorf("running %t: %s: %q, want %q", running, test.line, got, want)
			}
		}
	}
}

// TestCompletionIsBounded: it takes no more words than a shell can show, and does not wait for a server that does not answer.
func TestCompletionIsBounded(t *testing.T) {
	endless := func(_ context.Context, add func(string) bool) {
		for i := 0; add(fmt.Sprintf("word%d", i)); i++ {
		}
	}
	if got := collect("w", endless); len(got) != candidateMost {
		t.Errorf("%d words", len(got))
	}
	hangs := func(ctx context.Context, add func(string) bool) {
		add("word")
		add("another")
		<-t.Context().Done()
	}
	if got := collect("w", hangs); len(got) > 1 {
		t.Errorf("%q", got)
	}
}

// bashCompletion stands for the function of the package bash-completion that the script calls.
const bashCompletion = `_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD; }
`

// TestCompletionInBash: bash itself completes a command line by what the program prints.
func TestCompletionInBash(t *testing.T) {
	conf := write(t, "")
	for program, test := range map[string]struct{ line, want string }{
		"coredns gsstsig": {"coredns gsstsig dump -conf " + conf + " exam", "example.test"},
		"gsstsigctl":      {"gsstsigctl dump -dat", "-database"},
	} {
		dir := t.TempDir()
		name, _, _ := strings.Cut(program, " ")
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		wrapper := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != gsstsig ] || shift\n%s='%s' exec '%s' \"$@\"\n", asProgram, program, self)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(wrapper), 0o700); err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(test.line)
		script := bashCompletion + fmt.Sprintf("source <(%s completion bash)\nCOMP_LINE='%s' COMP_POINT=%d COMP_WORDS=(%s) COMP_CWORD=%d COMP_TYPE=9\n__start_%s\nprintf '%%s\\n' \"${COMPREPLY[@]}\"\n",
			program, test.line, len(test.line), test.line, len(words)-1, name)
		cmd := exec.Command("bash", "--norc", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != test.want {
			t.Errorf("%s: %q, %v, want %q\n%s", test.line, out, err, test.want, stderr.String())
		}
	}
}

// TestCompletionScripts: each shell has one, and no other has.
func TestCompletionScripts(t *testing.T) {
	for shell, says := range map[string]string{"bash": "complete -o default", "zsh": "#compdef coredns", "fish": "complete -c coredns"} {
		if status, out, errs := run(t, "completion", shell); status != ExitOK || !strings.Contains(out, says) || !strings.Contains(out, "__complete") {
			t.Errorf("%s: exit status %d, %q is not in:\n%s%s", shell, status, says, out, errs)
		}
	}
	for _, args := range [][]string{{"completion"}, {"completion", "tcsh"}, {"completion", "bash", "zsh"}} {
		if status, _, errs := run(t, args...); status != ExitUsage || !strings.Contains(errs, "bash, zsh, fish") {
			t.Errorf("%v: exit status %d, %s", args, status, errs)
		}
	}
}

// TestFlagsAgree: a flag takes a value in every command or in none, since it may stand before the command, and flags of several
// letters and of one are told apart by the length of their names.
func TestFlagsAgree(t *testing.T) {
	takesValue := make(map[string]bool)
	for _, c := range commands("gsstsigctl") {
		c.flags().VisitAll(func(f *flag.Flag) {
			if before, ok := takesValue[f.Name]; ok && before == isBool(f) {
				t.Errorf("-%s of %s takes a value, and that of another command does not", f.Name, c.name)
			}
			takesValue[f.Name] = !isBool(f)
			if value, _ := flag.UnquoteUsage(f); isBool(f) != (value == "") || value == "value" || value == "string" || value != strings.ToUpper(value) {
				t.Errorf("-%s of %s has the value %q in its usage", f.Name, c.name, value)
			}
			if f.Name == "h" || f.Name == "help" {
				t.Errorf("-%s of %s is for the usage", f.Name, c.name)
			}
		})
	}
}

// TestManual: the page has every command and every flag, and no line of text is taken for a macro.
func TestManual(t *testing.T) {
	status, page, errs := run(t, "man")
	if status != ExitOK {
		t.Fatalf("exit status %d: %s", status, errs)
	}
	for _, c := range commands("coredns gsstsig") {
		if !strings.Contains(page, "\n.SS \""+roff(c.name)) || !strings.Contains(page, roff(c.purpose)) {
			t.Errorf("%s is missing", c.name)
		}
		c.flags().VisitAll(func(f *flag.Flag) {
			if !strings.Contains(page, "\n.B \""+roff("-"+f.Name)) {
				t.Errorf("%s -%s is missing", c.name, f.Name)
			}
		})
	}
	if strings.Contains(page, "(default [])") {
		t.Error("a flag that may be given several times has an empty list as its default")
	}
	for line := range strings.Lines(page) {
		macro, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(line, ".") && !slices.Contains([]string{".TH", ".SH", ".SS", ".PP", ".TP", ".B"}, macro) || line[0] == '\'' {
			t.Errorf("not a line of text: %q", line)
		}
	}
	if status, _, _ := run(t, "man", "dump"); status != ExitUsage {
		t.Errorf("with a word: exit status %d", status)
	}
}
