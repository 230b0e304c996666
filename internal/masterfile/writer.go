package masterfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// A Writer writes a master file that a [Reader] reads back octet by octet: each
// record on a line of its own, with absolute names, TTL and class. It is not
// for concurrent use.
type Writer struct {
	out  *bufio.Writer
	line []byte
}

// NewWriter returns a writer to w. It keeps the first error of w, which every
// later call returns.
func NewWriter(w io.Writer) *Writer {
	const buffer = 1 << 16
	return &Writer{out: bufio.NewWriterSize(w, buffer)}
}

// Record writes a record. Name and Data are expected to be valid. Rdata that has
// no text form, or one that would not be read back to the same octets, is
// written in that of RFC 3597, and so are MD and MF.
func (w *Writer) Record(record Record) error {
	if record.Class != dnswire.ClassIN {
		return fmt.Errorf("masterfile: record of class %d cannot be written, only IN", record.Class)
	}
	if record.TTL > maxTTL {
		return fmt.Errorf("masterfile: TTL %d is more than %d", record.TTL, maxTTL)
	}
	line := w.line[:0]
	if len(record.Name) > 1 && record.Name[1] == '$' {
		line = append(line, '\\') // a dollar sign would begin a directive
	}
	line = dnswire.AppendNameText(line, record.Name)
	line = append(line, ' ')
	line = strconv.AppendUint(line, uint64(record.TTL), 10)
	line = append(line, " IN "...)
	if isObsolete(record.Type) {
		line = fmt.Appendf(line, "TYPE%d ", record.Type)
		line = dnswire.AppendGeneric(line, record.Data)
		return w.write(line)
	}
	line = append(line, dnswire.TypeText(record.Type)...)
	line = append(line, ' ')
	line = dnswire.AppendTextOrGeneric(line, record.Type, record.Data)
	return w.write(line)
}

// Annotate writes an annotation of at least one word.
func (w *Writer) Annotate(words ...string) error {
	if len(words) == 0 {
		return errors.New("masterfile: annotation without words")
	}
	line := append(w.line[:0], annotationMark...)
	for _, word := range words {
		line = append(line, ' ')
		line = appendWord(line, word)
	}
	if len(line) > maxAnnotation {
		return fmt.Errorf("masterfile: annotation of more than %d octets", maxAnnotation)
	}
	return w.write(line)
}

// Comment writes a comment. It never reads as an annotation, and control
// characters in it become question marks.
func (w *Writer) Comment(text string) error {
	line := append(w.line[:0], "; "...)
	for i := range len(text) {
		c := text[i]
		if c < ' ' || c == 0x7f {
			c = '?'
		}
		line = append(line, c)
	}
	return w.write(line)
}

func (w *Writer) write(line []byte) error {
	w.line = append(line, '\n')
	_, err := w.out.Write(w.line)
	return err
}

// Flush writes what is buffered.
func (w *Writer) Flush() error { return w.out.Flush() }
