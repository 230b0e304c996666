package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lessons are the flaws of other servers that must not come back here. The comment of a test that sees to that cites them.
var lessons = map[string]string{
	"BIND CVE-2015-5477":      "a TKEY record in a section where it does not belong",
	"BIND CVE-2016-9131":      "a TKEY query whose answer has records of another class",
	"BIND CVE-2017-3142":      "a wrong signature that is accepted",
	"BIND CVE-2018-5741":      "rules that permit more than their words say",
	"BIND CVE-2020-8617":      "a truncated TSIG record that ends the process",
	"BIND CVE-2020-8622":      "a truncated answer to a signed request that ends the process",
	"BIND CVE-2020-8624":      "a rule for one subdomain that permits the whole zone",
	"BIND CVE-2020-8625":      "lengths in SPNEGO tokens that are believed",
	"BIND CVE-2021-25216":     "the same, in another place",
	"BIND CVE-2022-3094":      "updates that take memory before it is decided whether they are allowed",
	"BIND CVE-2024-1737":      "any number of records of a set, and of types of a name",
	"BIND CVE-2024-1975":      "costly signatures that are computed for every sender",
	"BIND CVE-2025-40775":     "an unknown TSIG algorithm",
	"BIND CVE-2026-3039":      "unfinished negotiations that are never freed",
	"BIND CVE-2026-3119":      "a signed TKEY query of another mode",
	"BIND CVE-2026-5946":      "an UPDATE of another class than IN",
	"BIND GL #5006":           "rules that change while an update goes by them",
	"BIND GL #5799":           "a limit on one type that another entry of the rule gets around",
	"CoreDNS CVE-2026-33190":  "signatures that are trusted without being verified",
	"PowerDNS CVE-2026-42002": "unfinished negotiations without bound",
}

// TestLessonsAreTested looks for a test of each lesson.
func TestLessonsAreTested(t *testing.T) {
	const root = "../.."
	tests := make(map[string][]string) // by lesson
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			text := strings.Join(strings.Fields(f.Doc.Text()), " ")
			for lesson := range lessons {
				_, number, _ := strings.Cut(lesson, " ")
				if strings.Contains(text, number) {
					tests[lesson] = append(tests[lesson], filepath.Base(filepath.Dir(path))+"."+f.Name.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for lesson, what := range lessons {
		if tests[lesson] == nil {
			t.Errorf("no test cites %s, %s", lesson, what)
		}
		slices.Sort(tests[lesson])
		rows = append(rows, fmt.Sprintf("| %s | %s | `%s` |\n", lesson, what, strings.Join(tests[lesson], "`, `")))
	}
	slices.Sort(rows)
	document(t, filepath.Join(root, "docs", "security.md"), rows)
}

// document compares the rows with those of the table of lessons in a file. With -update it writes them there.
func document(t *testing.T, file string, rows []string) {
	t.Helper()
	const begin, end = "<!-- lessons: go test ./test/layout -run TestLessonsAreTested -update -->\n\n| fault | is | tested by |\n| --- | --- | --- |\n",
		"\n<!-- end of lessons -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	table, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no table of lessons", file)
	}
	now := strings.Join(rows, "")
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+now+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != now {
		t.Errorf("the table of lessons in %s differs:\n%s", file, difference(table, now))
	}
}
