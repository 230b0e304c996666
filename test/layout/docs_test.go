package layout

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	link     = regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]*))?\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.+)$`)
	pathName = regexp.MustCompile(`^(?:gsstsig|zone|plugin|internal|test|docs|coredns-build)(?:/[A-Za-z0-9_.-]+)*/?$`)
	method   = regexp.MustCompile(`^\(\*?([A-Za-z]+)\)\.([A-Za-z]+)$`)
)

// TestDocumentedNames looks for every file, directory and method in code spans of the documents, and for the target of every
// link: if one is moved or renamed, the documents have to follow.
func TestDocumentedNames(t *testing.T) {
	const root = "../.."
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "SECURITY.md", "CONTRIBUTING.md", "plugin/README.md"} {
		documents = append(documents, filepath.Join(root, name))
	}
	methods := methodsIn(t, root)
	for _, document := range documents {
		text := readFile(t, document)
		for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
			if pathName.MatchString(span[1]) && !exists(filepath.Join(root, span[1])) {
				t.Errorf("%s: there is no %s", document, span[1])
			}
			if m := method.FindStringSubmatch(span[1]); m != nil && !methods[m[1]+"."+m[2]] {
				t.Errorf("%s: there is no method %s", document, span[1])
			}
		}
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			target := document
			if l[1] != "" {
				target = filepath.Join(filepath.Dir(document), l[1])
			}
			switch {
			case !exists(target):
				t.Errorf("%s: there is no %s", document, l[1])
			case l[2] != "" && !anchors(readFile(t, target))[l[2]]:
				t.Errorf("%s: %s has no heading for #%s", document, target, l[2])
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// anchors are the fragments that links to the headings of a Markdown file have.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		found[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(h[1]))] = true
	}
	return found
}

// methodsIn lists the methods of the module's types, as Type.Method.
func methodsIn(t *testing.T, root string) map[string]bool {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func \([a-z]+ \*?([A-Za-z]+)(?:\[[^\]]*\])?\) ([A-Za-z]+)\(`)
	methods := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		for _, m := range declaration.FindAllStringSubmatch(readFile(t, path), -1) {
			methods[m[1]+"."+m[2]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return methods
}
