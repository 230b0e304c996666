package masterfile

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// TestRoundTripOfFiles writes what the files of testdata hold, and reads it again.
func TestRoundTripOfFiles(t *testing.T) {
	for _, name := range zoneFiles(t) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		records, _ := readAll(content, Config{Origin: origin, File: name, Open: openFile})
		writeAndRead(t, records)
	}
}

// TestRoundTripOfOctets writes records with arbitrary octets in names, strings and unknown types.
func TestRoundTripOfOctets(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	octets := func(most int) []byte {
		b := make([]byte, 1+random.IntN(most))
		for i := range b {
			// Half of them are those that mean something.
			if b[i] = byte(random.Uint32()); random.IntN(2) == 0 {
				b[i] = "\n\r\x00\t \"\\();@$.'#"[random.IntN(15)]
			}
		}
		return b
	}
	types := []uint16{dnswire.TypeNULL, dnswire.TypeTXT, dnswire.TypeURI, 65280, dnswire.TypeCNAME, dnswire.TypeHINFO}
	var records []Record
	for range 2000 {
		name := []byte{}
		for range random.IntN(3) {
			label := octets(20)
			name = append(append(name, byte(len(label))), label...)
		}
		name = append(name, 0)
		text := octets(60)
		text = append([]byte{byte(len(text))}, text...)
		record := Record{Name: name, Type: types[random.IntN(len(types))], Class: dnswire.ClassIN, TTL: random.Uint32() >> 1}
		switch record.Type {
		case dnswire.TypeTXT:
			record.Data = text
		case dnswire.TypeHINFO:
			record.Data = slices.Concat(text, text)
		case dnswire.TypeURI:
			record.Data = slices.Concat([]byte{0, 1, 0, 2}, octets(60))
		case dnswire.TypeCNAME:
			record.Data = name
		default:
			record.Data = octets(100)
		}
		records = append(records, record)
	}
	writeAndRead(t, records)
}

// TestRecordsCannotForgeAnnotations puts the lines of an annotation into every part of a record.
func TestRecordsCannotForgeAnnotations(t *testing.T) {
	const forged = "\n;gsstsig: owner admin.example.test. \"x\"\n"
	label := append([]byte{byte(len(forged))}, forged...)
	name := append(slices.Clone(label), origin...)
	writeAndRead(t, []Record{
		{Name: name, Type: dnswire.TypeTXT, Class: dnswire.ClassIN, Data: label},
		{Name: name, Type: dnswire.TypeNULL, Class: dnswire.ClassIN, Data: []byte(forged)},
		{Name: name, Type: dnswire.TypeCNAME, Class: dnswire.ClassIN, Data: name},
		{Name: name, Type: 65280, Class: dnswire.ClassIN, Data: []byte(forged)},
		{Name: name, Type: dnswire.TypeURI, Class: dnswire.ClassIN, Data: append([]byte{0, 1, 0, 1}, forged...)},
		{Name: append([]byte("\x0a;gsstsig: "), origin...), Type: dnswire.TypeTXT, Class: dnswire.ClassIN, Data: label},
		{Name: append([]byte("\x04$TTL"), origin...), Type: dnswire.TypeTXT, Class: dnswire.ClassIN, Data: label},
	})
}

// TestAnnotations writes annotations and reads them back among the records.
func TestAnnotations(t *testing.T) {
	want := [][]string{
		{"owner", "a.example.test.", "host/a.example.test@EXAMPLE.TEST"},
		{"deleted", "2026-01-02T03:04:05Z", ""},
		{"x", "\n;gsstsig: y", "\x00\xff\"\\ ();"},
	}
	var out bytes.Buffer
	w := NewWriter(&out)
	err := errors.Join(w.Comment("zone example.test.\n;gsstsig: forged"), w.Comment("gsstsig: forged"))
	for _, words := range want {
		err = errors.Join(err, w.Annotate(words...), w.Record(Record{
			Name: origin, Type: dnswire.TypeA, Class: dnswire.ClassIN, TTL: 1, Data: []byte{192, 0, 2, 1},
		}))
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	records, err := readAll(out.Bytes(), Config{Origin: origin, Annotate: func(a Annotation) error {
		if a.Line != 3+2*len(got) {
			t.Errorf("line %d for %q", a.Line, a.Words)
		}
		got = append(got, a.Words)
		return nil
	}})
	if err != nil || len(records) != len(want) || !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%q and %d records: %v", got, len(records), err)
	}
}

// TestWrongAnnotations reads annotations that cannot be right.
func TestWrongAnnotations(t *testing.T) {
	refuse := errors.New("no such word")
	for text, want := range map[string]string{
		";gsstsig:":        "annotation without words",
		";gsstsig: \"x":    "annotation: quoted string has no closing quote",
		";gsstsig: a\rb":   "carriage return",
		";gsstsig: a\\300": "escape",
		";gsstsig: (":      "annotation: parenthesis",
		";gsstsig: a":      "annotation: no such word",
		";gsstsig: " + strings.Repeat("x", maxAnnotation): "annotation of more than",
	} {
		_, err := readAll([]byte("\n"+text+"\n"), Config{Origin: origin, File: "f", Annotate: func(Annotation) error { return refuse }})
		var bad *Error
		if !errors.As(err, &bad) || bad.Line != 2 || !strings.Contains(bad.Reason, want) {
			t.Errorf("%q: %v", text[:min(len(text), 20)], err)
		}
	}
}

// TestWriterRefuses writes what is no record of a zone.
func TestWriterRefuses(t *testing.T) {
	w := NewWriter(&bytes.Buffer{})
	record := Record{Name: origin, Type: dnswire.TypeA, Class: dnswire.ClassCH, Data: []byte{192, 0, 2, 1}}
	if w.Record(record) == nil {
		t.Error("class CH was written")
	}
	record.Class, record.TTL = dnswire.ClassIN, maxTTL+1
	if w.Record(record) == nil {
		t.Error("a TTL of 2^31 was written")
	}
	if w.Annotate() == nil || w.Annotate(strings.Repeat("x", maxAnnotation)) == nil {
		t.Error("an annotation without words, or one that is too long, was written")
	}
}
