package policy

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ruleSpan is a rule in the running text or in a table of a Markdown file.
var ruleSpan = regexp.MustCompile("`((?:grant|deny) [^`]*)`")

// rulesIn returns the rules that a Markdown file shows as examples: in code spans, and in fences whose language is rules.
func rulesIn(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	fence := "" // its language, while one is open
	open := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if language, found := strings.CutPrefix(line, "~~~"); found {
			open, fence = !open, strings.TrimSpace(language)
			continue
		}
		switch {
		case open && fence == "rules" && line != "":
			rules = append(rules, line)
		case !open:
			for _, span := range ruleSpan.FindAllStringSubmatch(line, -1) {
				rules = append(rules, span[1])
			}
		}
	}
	return rules
}

// TestReadme parses every rule that the plugin's README shows, and wants an example of every rule type there.
func TestReadme(t *testing.T) {
	missing := maps.Clone(ruleTypes)
	for _, rule := range rulesIn(t, "../../plugin/README.md") {
		words := strings.Fields(rule)
		if _, err := ParseRule(words[1:], "plugin/README.md", words[0] == "deny"); err != nil {
			t.Error(err)
			continue
		}
		delete(missing, words[2])
	}
	if len(missing) > 0 {
		t.Errorf("the README has no example of %s", strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
	}
}
