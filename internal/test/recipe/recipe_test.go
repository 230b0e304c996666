package recipe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const text = "prose\n```sh ns1\nhostname example.com\n```\nmore\n## A server\n```corefile ns1:/etc/Corefile\nexample.com {\n}\n```\n```sh ns1 running\ncoredns\n```\n"
	got, err := parse("doc", text, strings.NewReplacer("example.com", "example.test"))
	want := []Block{
		{Position: "doc:2", Machine: "ns1", Text: "hostname example.test\n"},
		{Position: "doc:7", Section: "A server", Machine: "ns1", File: "/etc/Corefile", Text: "example.test {\n}\n"},
		{Position: "doc:11", Section: "A server", Machine: "ns1", Running: true, Text: "coredns\n"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{
		"```\ntext\n```\n", "```sh\ntext\n```\n", "```sh ns1\ntext\n", "```ini ns1\n```\n", "```sh ns1 later\n```\n",
		"```ini ns1:/etc/file running\n```\n",
	} {
		if blocks, err := parse("doc", bad, strings.NewReplacer()); err == nil {
			t.Errorf("%q is %+v", bad, blocks)
		}
	}
}

// TestDocs makes sure that nothing in docs stands in a block that cannot be followed.
func TestDocs(t *testing.T) {
	const dir = "../../../docs"
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, err := Read(filepath.Join(dir, file.Name()), strings.NewReplacer()); err != nil {
			t.Error(err)
		}
	}
}
