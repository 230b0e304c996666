package masterfile

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The bounds of one record. The longest rdata, 65,535 octets, written with an
// escape for each octet or with an octet a word, stays below both.
const (
	maxText  = 1 << 20 // octets in all words
	maxWords = 1 << 17
	// maxAnnotation is the longest annotation in octets.
	maxAnnotation = 1 << 16
)

// A word is a word of an entry, or a quoted string.
type word struct {
	text   string // as it is written, with its escapes, without its quotes
	quoted bool
	joined bool // nothing is between it and the word before it
}

// An entry is a line, or as many lines as its parentheses join.
type entry struct {
	words []word
	line  int
	// blank tells that the first octet is a space or a tab: the record has the
	// owner of the last one.
	blank bool
	// annotation tells that the words are those of an annotation.
	annotation bool
}

// A lexError is an error of the text's form. The reader adds the file.
type lexError struct {
	line   int
	reason string
}

func (e *lexError) Error() string { return e.reason }

// A lexer splits a master file into entries.
type lexer struct {
	source io.Reader
	failed error // of the source, io.EOF at its end
	buffer []byte
	rest   []byte // what is in the buffer and not read yet
	line   int    // of the next octet

	// The words of the entry, kept from one to the next to save allocations.
	text  []byte
	spans []span
	words []word
}

// A span is a word in the making: where it ends in the text.
type span struct {
	end            int
	quoted, joined bool
}

func newLexer(source io.Reader, bufferSize int) *lexer {
	return &lexer{source: source, buffer: make([]byte, bufferSize), line: 1}
}

// reset makes the lexer read another source from its first line.
func (l *lexer) reset(source io.Reader) {
	l.source, l.failed, l.rest, l.line = source, nil, nil, 1
}

// peek returns the next octet without reading it, false at the end.
func (l *lexer) peek() (byte, bool) {
	if len(l.rest) == 0 && !l.fill(1) {
		return 0, false
	}
	return l.rest[0], true
}

// fill fills the empty buffer with as many octets, if there are as many before the end, and reports whether there is one.
func (l *lexer) fill(least int) bool {
	n := 0
	for range 100 { // as bufio does for a source that returns nothing
		if l.failed != nil || n >= least {
			break
		}
		var more int
		more, l.failed = l.source.Read(l.buffer[n:])
		n += more
	}
	if n == 0 && l.failed == nil {
		l.failed = io.ErrNoProgress
	}
	l.rest = l.buffer[:n]
	return n > 0
}

// start returns what the source begins with: as many octets as tell a file of another kind, if there are as many.
func (l *lexer) start() []byte {
	l.fill(startOctets)
	return l.rest
}

// skip reads the octet that peek returned.
func (l *lexer) skip() { l.rest = l.rest[1:] }

// next returns the next entry that has words. The entry is valid until the
// next call. At the end the error is io.EOF. A *lexError does not end the
// reading: the next call goes on with the line after it.
func (l *lexer) next() (entry, error) {
	for {
		e, err := l.entry()
		var bad *lexError
		if errors.As(err, &bad) {
			l.skipLine()
		}
		if err != nil || len(e.words) > 0 {
			return e, err
		}
	}
}

func (l *lexer) errorf(line int, format string, args ...any) error {
	return &lexError{line, fmt.Sprintf(format, args...)}
}

func (l *lexer) entry() (entry, error) {
	l.text, l.spans = l.text[:0], l.spans[:0]
	c, ok := l.peek()
	if !ok {
		return entry{}, l.failed
	}
	e := entry{line: l.line, blank: c == ' ' || c == '\t'}
	if c == ';' {
		return l.comment()
	}
	depth, opened := 0, 0 // parentheses, and the line of the outermost
	afterWord := false    // the last octet was one of a word
	for {
		c, ok := l.peek()
		if !ok {
			if depth > 0 && l.failed == io.EOF {
				return entry{}, l.errorf(opened, "parenthesis is never closed")
			}
			if l.failed != io.EOF {
				return entry{}, l.failed
			}
			return l.finish(e), nil
		}
		joined := afterWord
		afterWord = false
		switch c {
		case '\n':
			l.skip()
			l.line++
			if depth == 0 {
				return l.finish(e), nil
			}
		case '\r':
			l.skip()
			if depth == 0 {
				// A carriage return alone ends a line too, as for BIND.
				if c, ok := l.peek(); ok && c == '\n' {
					l.skip()
					l.line++
				}
				return l.finish(e), nil
			}
		case ' ', '\t':
			l.skip()
		case ';':
			l.skipLine()
		case '(':
			l.skip()
			if depth == 0 {
				opened = l.line
			}
			depth++
		case ')':
			l.skip()
			if depth == 0 {
				return entry{}, l.errorf(l.line, "closing parenthesis without an opening one")
			}
			depth--
		case 0:
			return entry{}, l.errorf(l.line, "NUL octet: this is not a text file, or it is damaged")
		default:
			if len(l.spans) == 0 {
				e.line = l.line
			}
			var err error
			if c == '"' {
				err = l.quotedString(joined)
			} else {
				err = l.word(joined)
			}
			if err != nil {
				return entry{}, err
			}
			afterWord = true
		}
	}
}

// word reads a word up to what ends it. A backslash takes the meaning from the
// octet behind it, but for the end of the line.
func (l *lexer) word(joined bool) error {
	escaped := false
	for {
		c, ok := l.peek()
		if !ok || c == '\n' || c == '\r' {
			break
		}
		if !escaped && endsWord[c] || c == 0 {
			break
		}
		escaped = !escaped && c == '\\'
		l.skip()
		l.text = append(l.text, c)
		if len(l.text) > maxText {
			return l.tooLong()
		}
	}
	return l.finishWord(false, joined)
}

var endsWord = [256]bool{' ': true, '\t': true, '(': true, ')': true, '"': true, ';': true, 0: true}

// quotedString reads a string in quotes. A newline in it needs a backslash.
func (l *lexer) quotedString(joined bool) error {
	l.skip()
	begun, escaped := l.line, false
	for {
		c, ok := l.peek()
		if !ok && l.failed != io.EOF {
			return l.failed
		}
		if !ok || c == '\n' && !escaped {
			return l.errorf(begun, "quoted string has no closing quote on its line")
		}
		l.skip()
		if c == '"' && !escaped {
			return l.finishWord(true, joined)
		}
		if c == '\n' {
			l.line++
		}
		escaped = !escaped && c == '\\'
		l.text = append(l.text, c)
		if len(l.text) > maxText {
			return l.tooLong()
		}
	}
}

func (l *lexer) tooLong() error {
	return l.errorf(l.line, "more than %d octets of text in one record", maxText)
}

func (l *lexer) finishWord(quoted, joined bool) error {
	if len(l.spans) == maxWords {
		return l.errorf(l.line, "more than %d words in one record", maxWords)
	}
	l.spans = append(l.spans, span{len(l.text), quoted, joined})
	return nil
}

// finish makes the words of an entry from one string.
func (l *lexer) finish(e entry) entry {
	l.words = l.words[:0]
	text, start := string(l.text), 0
	for _, s := range l.spans {
		l.words = append(l.words, word{text[start:s.end], s.quoted, s.joined})
		start = s.end
	}
	e.words = l.words
	return e
}

// skipLine reads up to the end of the line, which it leaves.
func (l *lexer) skipLine() {
	for {
		c, ok := l.peek()
		if !ok || c == '\n' {
			return
		}
		l.skip()
	}
}

// annotationMark begins an annotation.
const annotationMark = ";gsstsig:"

// comment reads a line that begins with a semicolon, up to its end.
func (l *lexer) comment() (entry, error) {
	for {
		c, ok := l.peek()
		if !ok && l.failed != io.EOF {
			return entry{}, l.failed
		}
		if !ok || c == '\n' {
			break
		}
		if n := len(l.text); n < len(annotationMark) && c != annotationMark[n] {
			l.skipLine()
			return entry{}, nil
		}
		if len(l.text) == maxAnnotation {
			return entry{}, l.errorf(l.line, "annotation of more than %d octets", maxAnnotation)
		}
		l.skip()
		l.text = append(l.text, c)
	}
	content, ok := strings.CutPrefix(string(l.text), annotationMark)
	if !ok {
		return entry{}, nil
	}
	inner := newLexer(strings.NewReader(content), len(content)+1)
	e, err := inner.next()
	if err == nil {
		words := slices.Clone(e.words)
		if _, err = inner.next(); err == io.EOF {
			return entry{words: words, line: l.line, annotation: true}, nil
		}
	}
	var bad *lexError
	if errors.As(err, &bad) {
		return entry{}, l.errorf(l.line, "annotation: %s", bad.reason)
	}
	return entry{}, l.errorf(l.line, "annotation without words, or with a carriage return among them")
}
