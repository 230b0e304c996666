package masterfile

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

var update = flag.Bool("update", false, "write what is read of testdata/*.zone into testdata/read.golden")

// origin is the name of all zones in testdata.
var origin = []byte("\x07example\x04test\x00")

func openFile(name string) (io.ReadCloser, error) { return os.Open(name) }

// zoneFiles are the master files in testdata. The test of named-compilezone in test/e2e reads them too.
func zoneFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.zone")
	if err != nil || len(files) < 200 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	return files
}

// account is all that a reader says of a file, in lines.
func account(t *testing.T, content io.Reader, config Config) string {
	t.Helper()
	var out bytes.Buffer
	config.Warn = func(w Warning) { fmt.Fprintf(&out, "warning: %s\n", w) }
	config.Annotate = func(a Annotation) error {
		fmt.Fprintf(&out, "%s:%d: annotation %q\n", a.File, a.Line, a.Words)
		return nil
	}
	r := NewReader(content, config)
	for {
		record, err := r.Next()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			fmt.Fprintf(&out, "error: %v\n", err)
			return out.String()
		}
		fmt.Fprintf(&out, "%s:%d: ", record.File, record.Line)
		w := NewWriter(&out)
		if err := errors.Join(w.Record(record), w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFiles reads the master files of testdata. The first line of each says what its point is. That the records are the
// right ones is what test/e2e asks named-compilezone.
func TestFiles(t *testing.T) {
	standard.Requires(t, "RFC 1035", "5 master files")
	const golden = "testdata/read.golden"
	var all strings.Builder
	for _, name := range zoneFiles(t) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		config := Config{Origin: origin, File: name, Open: openFile}
		whole := account(t, bytes.NewReader(content), config)
		if slow := account(t, iotest.OneByteReader(bytes.NewReader(content)), config); slow != whole {
			t.Errorf("%s octet by octet:\n%s\nat once:\n%s", name, slow, whole)
		}
		fmt.Fprintf(&all, "== %s\n%s", filepath.Base(name), strings.ReplaceAll(whole, "testdata/", ""))
	}
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	is := make(map[string]string)
	for section := range strings.SplitSeq(all.String(), "== ") {
		name, text, _ := strings.Cut(section, "\n")
		is[name] = text
	}
	for section := range strings.SplitSeq(string(want), "== ") {
		name, text, _ := strings.Cut(section, "\n")
		if is[name] != text {
			t.Errorf("%s was read as\n%s\nwhere testdata/read.golden has\n%s", name, is[name], text)
		}
		delete(is, name)
	}
	for name := range is {
		t.Errorf("%s is not in testdata/read.golden: run the test with -update, and check what it adds", name)
	}
}

// TestFileNamesTellTheOutcome keeps the first line of each file honest: it says "refused" where there is an error.
func TestFileNamesTellTheOutcome(t *testing.T) {
	for _, name := range zoneFiles(t) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		point, _, _ := strings.Cut(string(content), "\n")
		_, err = readAll(content, Config{Origin: origin, File: name, Open: openFile})
		refused := strings.Contains(point, "refused") || strings.Contains(point, "is an error")
		if refused != (err != nil) {
			t.Errorf("%s: %q, error %v", name, point, err)
		}
	}
}

// readAll returns the records of a file.
func readAll(content []byte, config Config) ([]Record, error) {
	var all []Record
	r := NewReader(bytes.NewReader(content), config)
	for {
		record, err := r.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, record)
	}
}

// sameRecord compares all but where the records stand.
func sameRecord(a, b Record) bool {
	return bytes.Equal(a.Name, b.Name) && a.Type == b.Type && a.Class == b.Class && a.TTL == b.TTL && bytes.Equal(a.Data, b.Data)
}

// writeAll returns the file that a Writer makes of records.
func writeAll(records []Record) ([]byte, error) {
	var out bytes.Buffer
	w := NewWriter(&out)
	for _, record := range records {
		if err := w.Record(record); err != nil {
			return nil, err
		}
	}
	err := w.Flush()
	return out.Bytes(), err
}

// writeAndRead checks that a Writer's file is read back to the same octets, and that nothing in it is an annotation.
func writeAndRead(t *testing.T, records []Record) {
	t.Helper()
	written, err := writeAll(records)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(written, []byte("\n")); lines != len(records) {
		t.Fatalf("%d lines for %d records:\n%q", lines, len(records), written)
	}
	for _, c := range written {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("octet 0x%02x in %q", c, written)
		}
	}
	again, err := readAll(written, Config{Origin: []byte{0}, File: "written", Annotate: func(a Annotation) error {
		return fmt.Errorf("annotation of line %d", a.Line)
	}})
	if err != nil {
		t.Fatalf("%v\n%q", err, written)
	}
	if len(again) != len(records) {
		t.Fatalf("%d records became %d:\n%q", len(records), len(again), written)
	}
	for i := range again {
		if !sameRecord(again[i], records[i]) {
			t.Fatalf("%s %s: %x became %x by way of\n%q", dnswire.NameText(records[i].Name),
				dnswire.TypeText(records[i].Type), records[i].Data, again[i].Data, written)
		}
	}
}
