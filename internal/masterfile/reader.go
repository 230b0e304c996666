package masterfile

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// Bounds of a file with all that it includes.
const (
	maxDepth    = 16   // files open at once
	maxIncludes = 1024 // $INCLUDE in all
	// maxGenerated is how many records all $GENERATE together may make: the
	// addresses of a /12 network.
	maxGenerated = 1 << 20
)

// A Config says what a [Reader] reads and for whom.
type Config struct {
	// Origin completes relative names until $ORIGIN changes it: the zone's
	// name in wire form. It is required.
	Origin []byte
	// File is the file's name in errors and warnings, and its directory is
	// where $INCLUDE looks for relative names.
	File string
	// Open opens the file of an $INCLUDE. The name is an absolute path, or
	// relative like File. Where Open is nil, $INCLUDE is an error.
	Open func(name string) (io.ReadCloser, error)
	// Warn is told of what may be read otherwise than it was meant. It may be
	// nil.
	Warn func(Warning)
	// Annotate is told of annotations, in their place among the records. Its
	// error counts as one of the file. Where Annotate is nil, annotations are
	// comments.
	Annotate func(Annotation) error
	// MaxProblems is how many errors the reader collects before it gives up.
	// At 0 and 1 the first ends the reading.
	MaxProblems int
}

// A Record is a resource record of a file.
type Record struct {
	// Name is the owner in wire form, in the spelling of the file. Records
	// share it: it must not be changed.
	Name  []byte
	Type  uint16
	Class uint16 // always 1, IN
	TTL   uint32 // in seconds, at most 2^31-1
	Data  []byte // rdata in wire form, without compression
	File  string // where the record is
	Line  int    // its first line there
}

// A Reader reads the records of a master file one by one. It is not for
// concurrent use.
type Reader struct {
	config   Config
	files    []*file // the last is being read
	problems Problems
	ended    error

	// The TTL of a record that has none: $TTL, else that of the last record.
	defaultTTL, lastTTL           uint32
	defaultTTLKnown, lastTTLKnown bool
	lastTTLUsed                   bool // and a warning given

	includes      int
	dated         bool       // $DATE was read
	generate      *generator // the one that makes records now
	generated     int        // records of all of them
	generatedText int        // octets of text they were made of
	tokens        []dnswire.Token
}

// A file is one that is being read.
type file struct {
	name    string
	lexer   *lexer
	started bool
	close   func() error
	origin  []byte
	// owner is that of the last record, nil before the first.
	owner []byte
	// ownerText is what owner was written as, if the origin is still the same.
	ownerText string
	// originChanged tells that $ORIGIN is the last that was read.
	originChanged bool
}

// NewReader returns a reader of r.
func NewReader(r io.Reader, config Config) *Reader {
	reader := &Reader{config: config}
	reader.push(config.File, r, func() error { return nil }, config.Origin, nil)
	return reader
}

func (r *Reader) push(name string, content io.Reader, close func() error, origin, owner []byte) {
	const buffer = 1 << 15
	r.files = append(r.files, &file{
		name: name, lexer: newLexer(content, buffer), close: close, origin: origin, owner: owner,
	})
}

// Next returns the next record. After the last one the error is [io.EOF]. The
// first [*Error] ends the reading, unless the configuration permits more: then
// the records that are right come first, and [Problems] at the end. Another
// error is one of reading the file.
func (r *Reader) Next() (Record, error) {
	for r.ended == nil {
		record, found, err := r.step()
		if err != nil {
			r.report(err)
		} else if found {
			return record, nil
		}
	}
	return Record{}, r.ended
}

// Close closes the files that $INCLUDE opened. It is needed only where the
// caller does not read up to an error.
func (r *Reader) Close() error {
	if r.ended == nil {
		r.ended = errors.New("masterfile: reader is closed")
	}
	return r.closeFiles()
}

func (r *Reader) closeFiles() error {
	var err error
	for _, f := range slices.Backward(r.files) {
		err = errors.Join(err, f.close())
	}
	r.files = nil
	return err
}

// report takes an error in. It ends the reading where it must.
func (r *Reader) report(err error) {
	var bad *Error
	if !errors.As(err, &bad) {
		r.end(err)
		return
	}
	r.problems = append(r.problems, bad)
	switch {
	case r.config.MaxProblems <= 1:
		r.end(bad)
	case len(r.problems) == r.config.MaxProblems:
		r.end(r.problems)
	}
}

func (r *Reader) end(err error) {
	r.ended = err
	_ = r.closeFiles() // they were only read, and err says more
}

// step reads one entry, or makes the next record of a $GENERATE.
func (r *Reader) step() (record Record, found bool, err error) {
	if r.generate != nil {
		return r.nextGenerated()
	}
	if f := r.current(); !f.started {
		f.started = true
		if reason := otherKind(f.lexer.start()); reason != "" {
			// All its lines would be wrong.
			r.problems = append(r.problems, r.errorf(1, "%s", reason).(*Error))
			if r.config.MaxProblems <= 1 {
				r.end(r.problems[0])
			} else {
				r.end(r.problems)
			}
			return Record{}, false, nil
		}
	}
	e, err := r.current().lexer.next()
	var bad *lexError
	switch {
	case err == io.EOF:
		r.pop()
		return Record{}, false, nil
	case errors.As(err, &bad):
		return Record{}, false, r.errorf(bad.line, "%s", bad.reason)
	case err != nil:
		return Record{}, false, err
	case e.annotation:
		return Record{}, false, r.annotate(e)
	}
	first := e.words[0]
	if !e.blank && !first.quoted && strings.HasPrefix(first.text, "$") {
		return Record{}, false, r.directive(e)
	}
	record, err = r.record(e)
	return record, err == nil, err
}

// current is the file that is being read.
func (r *Reader) current() *file { return r.files[len(r.files)-1] }

// pop goes back to the file that includes the one at its end.
func (r *Reader) pop() {
	last := len(r.files) - 1
	switch {
	case last > 0:
		_ = r.files[last].close() // it was only read
		r.files = r.files[:last]
	case len(r.problems) > 0:
		r.end(r.problems)
	default:
		r.end(io.EOF)
	}
}

func (r *Reader) errorf(line int, format string, args ...any) error {
	return &Error{File: r.current().name, Line: line, Reason: fmt.Sprintf(format, args...)}
}

// wrap makes an error of one whose words are for people already.
func (r *Reader) wrap(line int, what string, err error) error {
	return &Error{File: r.current().name, Line: line, Reason: what + ": " + err.Error(), Err: err}
}

func (r *Reader) warn(line int, format string, args ...any) {
	if r.config.Warn != nil {
		r.config.Warn(Warning{r.current().name, line, fmt.Sprintf(format, args...)})
	}
}
