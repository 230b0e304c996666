package layout

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// TestStandards looks for a test of each requirement of a standard that binds the server, and compares docs/standards.md with
// what the tests say. go test ./test/layout -run TestStandards -update writes the file.
func TestStandards(t *testing.T) {
	const root = "../.."
	lists, err := standard.Lists()
	if err != nil {
		t.Fatal(err)
	}
	citations, err := standard.Gather(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range standard.Check(lists, citations) {
		t.Error(problem)
	}
	file := filepath.Join(root, "docs", "standards.md")
	now := standard.Document(lists, citations)
	if *update {
		if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text := readFile(t, file); text != now {
		t.Errorf("%s differs from what the tests say:\n%s", file, difference(text, now))
	}
}
