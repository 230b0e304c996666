package masterfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
)

const head = "$TTL 300\n@ SOA ns hostmaster 1 2 3 4 5\n"

// TestProblems collects several errors, and the records between them.
func TestProblems(t *testing.T) {
	const text = head + "a A x\nb A 192.0.2.1\nc TXT \"open\nd WALLETX y\ne )\nf A 192.0.2.2\n$FOO\n;gsstsig: \"\n"
	lines := []int{3, 5, 6, 7, 9, 10}
	config := Config{Origin: origin, File: "zone", Annotate: func(Annotation) error { return nil }, MaxProblems: 20}
	records, err := readAll([]byte(text), config)
	var problems Problems
	if !errors.As(err, &problems) || len(records) != 3 {
		t.Fatalf("%d records: %v", len(records), err)
	}
	var got []int
	for _, p := range problems {
		got = append(got, p.Line)
	}
	if !slices.Equal(got, lines) {
		t.Errorf("errors in lines %v, want %v:\n%v", got, lines, err)
	}
	config.MaxProblems = 2
	if _, err = readAll([]byte(text), config); !errors.As(err, &problems) || len(problems) != 2 {
		t.Errorf("at most two errors: %v", err)
	}
	config.MaxProblems = 0
	var bad *Error
	if _, err = readAll([]byte(text), config); !errors.As(err, &bad) || bad.Line != 3 || errors.As(err, &problems) {
		t.Errorf("one error: %v", err)
	}
}

// TestErrorsStay asks a reader again after its end.
func TestErrorsStay(t *testing.T) {
	for _, text := range []string{head, head + "a A x\n"} {
		r := NewReader(strings.NewReader(text), Config{Origin: origin})
		var first error
		for first == nil {
			_, first = r.Next()
		}
		if _, again := r.Next(); again != first {
			t.Errorf("first %v, then %v", first, again)
		}
	}
}

// TestSourceFails keeps errors of reading apart from those of the file.
func TestSourceFails(t *testing.T) {
	broken := errors.New("disk is broken")
	for _, text := range []string{"", "a TXT ( x", "a TXT \"x", "; comment", head} {
		r := NewReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), Config{Origin: origin, MaxProblems: 5})
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, broken) {
			t.Errorf("%q: %v", text, err)
		}
	}
	r := NewReader(iotest.ErrReader(nil), Config{Origin: origin})
	if _, err := r.Next(); err != io.ErrNoProgress {
		t.Errorf("a source that returns nothing: %v", err)
	}
}

// TestFilesOfOtherKinds: what is no master file is told once, at its beginning, however it is read, and also in an $INCLUDE.
func TestFilesOfOtherKinds(t *testing.T) {
	rest := strings.Repeat("nonsense nonsense nonsense\n", 20)
	for start, says := range map[string]string{
		"\x00\x00\x00\x02\x00\x00\x00\x01": "in BIND's raw format, in which a secondary server writes its zones. Fix: make a text of it, by named-compilezone",
		"\x1f\x8b\x08":                     "compressed. Fix: expand it by gunzip",
		"\xff\xfe@\x00":                    "in UTF-16, as PowerShell writes it. Fix: save it as UTF-8",
		"\xfe\xff\x00@":                    "in UTF-16. Fix: save it as UTF-8",
		"{\n  \"zone\": \"x\",\n":          "JSON. Fix: make the dump without -o json",
		"{\r\n":                            "JSON. Fix: make the dump without -o json",
		"{\"zone\":":                       "JSON. Fix: make the dump without -o json",
	} {
		content := start + rest
		for _, problems := range []int{0, 10} {
			want := "db:1: file is " + says
			_, err := readAll([]byte(content), Config{Origin: origin, File: "db", MaxProblems: problems})
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", start, err)
			}
			r := NewReader(iotest.OneByteReader(strings.NewReader(content)), Config{Origin: origin, File: "db", MaxProblems: problems})
			if _, err := r.Next(); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%q, octet by octet: %v", start, err)
			}
			o := &opener{files: fstest.MapFS{"inc": {Data: []byte(content)}}}
			_, err = readAll([]byte("x\n$INCLUDE inc\n"), Config{Origin: origin, File: "db", Open: o.Open, MaxProblems: problems})
			if problems > 1 && (err == nil || !strings.HasPrefix(err.Error(), "db:1: ") || !strings.Contains(err.Error(), "\ninc:1: file is "+says)) || o.open != 0 {
				t.Errorf("%q, included: %v, %d files open", start, err, o.open)
			}
		}
	}
}

// opener counts the open files of a tree.
type opener struct {
	files fs.FS
	open  int
}

func (o *opener) Open(name string) (io.ReadCloser, error) {
	f, err := o.files.Open(name)
	if err != nil {
		return nil, err
	}
	o.open++
	return closer{f, o}, nil
}

type closer struct {
	fs.File
	o *opener
}

func (c closer) Close() error {
	c.o.open--
	return c.File.Close()
}

// TestInclude reads files by the caller's function alone, relative to the file that includes, and closes them.
func TestInclude(t *testing.T) {
	o := &opener{files: fstest.MapFS{
		"etc/sub/b": {Data: []byte("b A 192.0.2.1\n$INCLUDE c\n$INCLUDE ../d\n")},
		"etc/sub/c": {Data: []byte("c A 192.0.2.2\n")},
		"etc/d":     {Data: []byte("d A 192.0.2.3\n")},
		"etc/noted": {Data: []byte("\n;gsstsig: x\n")},
		"etc/bad":   {Data: []byte("\nx A y\n")},
	}}
	config := Config{Origin: origin, File: "etc/zone", Open: o.Open}
	records, err := readAll([]byte(head+"$INCLUDE sub/b\n"), config)
	if err != nil || len(records) != 4 || records[2].File != "etc/sub/c" || records[2].Line != 1 || records[3].File != "etc/d" {
		t.Errorf("%v: %v", records, err)
	}
	_, err = readAll([]byte(head+"$INCLUDE bad\n"), config)
	var bad *Error
	if !errors.As(err, &bad) || bad.File != "etc/bad" || bad.Line != 2 {
		t.Errorf("an error in an included file: %v", err)
	}
	if _, err = readAll([]byte(head+"$INCLUDE none\n"), config); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	var words []string
	config.Annotate = func(a Annotation) error {
		words = append(words, fmt.Sprintf("%s:%d %q", a.File, a.Line, a.Words))
		return nil
	}
	if _, err = readAll([]byte(head+"$INCLUDE noted\n"), config); err != nil || !slices.Equal(words, []string{`etc/noted:2 ["x"]`}) {
		t.Errorf("an annotation in an included file: %q, %v", words, err)
	}
	r := NewReader(strings.NewReader("$TTL 1\n$INCLUDE d\n"), config)
	if _, err := r.Next(); err != nil || o.open != 1 {
		t.Fatalf("%d open files: %v", o.open, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Next(); err == nil || err == io.EOF {
		t.Errorf("Next after Close: %v", err)
	}
	if o.open != 0 {
		t.Errorf("%d files are open", o.open)
	}
	config.Open = nil
	if _, err = readAll([]byte(head+"$INCLUDE d\n"), config); err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("$INCLUDE where it is not permitted: %v", err)
	}
}

// TestBounds reads files that would take more than their size.
func TestBounds(t *testing.T) {
	deep, n := Config{Origin: origin, File: "0"}, 0
	deep.Open = func(string) (io.ReadCloser, error) {
		n++
		return io.NopCloser(strings.NewReader(fmt.Sprintf("$INCLUDE %d\n", n))), nil
	}
	wide := Config{Origin: origin, Open: func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("; nothing\n")), nil
	}}
	for _, test := range []struct {
		config Config
		text   string
		want   string
	}{
		{deep, "$INCLUDE x\n", "more than 16 files within each other"},
		{wide, strings.Repeat("$INCLUDE x\n", maxIncludes+1), "more than 1024 $INCLUDE"},
		{wide, head + "a TXT " + strings.Repeat("x", maxText), "octets of text"},
		{wide, head + "a TXT \"" + strings.Repeat("x", maxText) + `"`, "octets of text"},
		{wide, head + "a TXT (" + strings.Repeat(" x", maxWords), "words in one record"},
		{wide, head + "$GENERATE 0-2147483647 a$ A 192.0.2.1", "more than 1048576 records"},
		{wide, head + "$GENERATE 1-2 a$ TYPE65280 \"\\# 1000 " + strings.Repeat("${0,100,x}", 1000) + `"`, "longer than 65535 octets"},
		{wide, head + "$GENERATE 1-2 " + strings.Repeat("${0,60}.", 100) + " A 192.0.2.1", "longer than 2048 octets"},
		{wide, head + "$GENERATE 2147483647-2147483647 a${1} A 192.0.2.1", "does not fit 32 bits"},
		{wide, head + "$GENERATE 1-2 a$ TXT " + strings.Repeat("x", maxRdataText+1), "name of more than 2048 octets, or rdata of more than 65535"},
		{wide, head + "$GENERATE 1-2 a$ TXT \"x\ry z\"", "more than one line"},
		{wide, head + "$GENERATE 1-2 @ SOA \"ns h 1 2 3 4 5\"", "cannot make SOA"},
	} {
		_, err := readAll([]byte(test.text), test.config)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q: %v, want %s", test.text, err, test.want)
		}
	}
}

// TestGeneratedInAll counts the records, and the text they are made of, of all $GENERATE together.
func TestGeneratedInAll(t *testing.T) {
	const text = head + "$GENERATE 1-2 a$ A 192.0.2.1\n$GENERATE 1-2 b$ A 192.0.2.1\n"
	const each = len("a$" + "a1" + "192.0.2.1" + "192.0.2.1") // octets of text
	for _, test := range []struct {
		records, text int // what other $GENERATE took before
		want          string
	}{
		{maxGenerated - 4, maxGeneratedText - 4*each, ""},
		{maxGenerated - 3, 0, ":4: $GENERATE makes more than 1048576 records in this file"},
		{0, maxGeneratedText - 4*each + 1, ":4: $GENERATE makes records from more than 268435456 octets of text in this file"},
	} {
		r := NewReader(strings.NewReader(text), Config{Origin: origin})
		r.generated, r.generatedText = test.records, test.text
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if test.want == "" && err != io.EOF || test.want != "" && err.Error() != test.want {
			t.Errorf("%d records and %d octets before: %v, want %q", test.records, test.text, err, test.want)
		}
	}
}
