package masterfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

// FuzzReader reads arbitrary octets. Whatever is a record is written and read again to the same octets.
func FuzzReader(f *testing.F) {
	for _, name := range zoneFiles(f) {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		const most = 1000 // of $GENERATE, so that each run is short
		r := NewReader(bytes.NewReader(content), Config{
			Origin: origin, File: "fuzz", MaxProblems: 3,
			Open: func(string) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(content[:len(content)/2])), nil
			},
			Annotate: func(a Annotation) error {
				var out bytes.Buffer
				w := NewWriter(&out)
				if err := errors.Join(w.Annotate(a.Words...), w.Flush()); err != nil && out.Len() < maxAnnotation {
					t.Fatalf("%q: %v", a.Words, err)
				}
				return nil
			},
		})
		var records []Record
		for len(records) < most {
			record, err := r.Next()
			if err != nil {
				break
			}
			if record.TTL > maxTTL || len(record.Name) == 0 || len(record.Name) > 255 || len(record.Data) > 65535 {
				t.Fatalf("record %+v", record)
			}
			records = append(records, record)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		writeAndRead(t, records)
	})
}
