package corefile

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
)

// fenced are the Corefiles in a Markdown file, with whatever else stands behind the fence's language.
var fenced = regexp.MustCompile("(?ms)^(?:~~~|```) ?corefile[^\n]*\n(.*?)^(?:~~~|```)$")

// readDoc returns the text of a file, which is named from the top of the module.
func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocumentedCorefiles reads every Corefile that the documentation shows.
func TestDocumentedCorefiles(t *testing.T) {
	stock := dnsserver.Directives
	dnsserver.Directives = slices.Concat(stock, []string{"gsstsig"})
	t.Cleanup(func() { dnsserver.Directives = stock })
	for _, name := range []string{"README.md", "plugin/README.md", "docs/active-directory.md", "docs/cluster.md", "docs/freeipa.md", "docs/mit.md"} {
		t.Run(name, func(t *testing.T) {
			corefiles := fenced.FindAllStringSubmatch(readDoc(t, name), -1)
			if len(corefiles) == 0 {
				t.Fatal("it shows no Corefile")
			}
			for _, found := range corefiles {
				path := filepath.Join(t.TempDir(), "Corefile")
				if err := os.WriteFile(path, []byte(found[1]), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := ReadFile(path); err != nil {
					t.Errorf("%v in\n%s", err, found[1])
				}
			}
		})
	}
}

// TestDocumentedWords compares the properties and limits that the README explains with those that there are.
func TestDocumentedWords(t *testing.T) {
	_, text, _ := strings.Cut(readDoc(t, "plugin/README.md"), "\n## Syntax\n")
	text, _, _ = strings.Cut(text, "\n## Metrics\n")
	syntax, explained, _ := strings.Cut(text, "\n## Rules\n")
	properties := slices.Sorted(maps.Keys(properties))
	words := regexp.MustCompile("(?m)^    ([a-z0-9_]+)").FindAllStringSubmatch(syntax, -1)
	if got := groups(words); !slices.Equal(got, properties) {
		t.Errorf("the syntax has %q, the plugin %q", got, properties)
	}
	for _, property := range properties {
		if !regexp.MustCompile("(?m)^\\* .*`" + property + "`").MatchString(syntax) {
			t.Errorf("the README does not explain %s", property)
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(explained[strings.Index(explained, "\n## Limits\n"):], -1)
	if got, want := groups(rows), slices.Sorted(maps.Keys(limits)); !slices.Equal(got, want) {
		t.Errorf("the README explains the limits %q, the plugin has %q", got, want)
	}
}

// groups are the first groups of matches, sorted.
func groups(matches [][]string) []string {
	var words []string
	for _, m := range matches {
		words = append(words, m[1])
	}
	slices.Sort(words)
	return words
}
