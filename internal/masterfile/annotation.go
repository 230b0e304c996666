package masterfile

import (
	"fmt"
	"strings"
)

// An Annotation is a fact beside the records, in a line that other readers take
// for a comment.
type Annotation struct {
	File string
	Line int
	// Words are what the line says, without quotes and escapes. There is at
	// least one.
	Words []string
}

func (r *Reader) annotate(e entry) error {
	if r.config.Annotate == nil {
		return nil
	}
	a := Annotation{File: r.current().name, Line: e.line}
	for _, w := range e.words {
		text, ok := unescape(w.text)
		if !ok {
			return r.errorf(e.line, "annotation: escape in %s is neither \\DDD nor \\X", quote(w.text))
		}
		a.Words = append(a.Words, text)
	}
	if err := r.config.Annotate(a); err != nil {
		return r.wrap(e.line, "annotation", err)
	}
	return nil
}

// unescape resolves \DDD and \X (RFC 1035 section 5.1).
func unescape(text string) (string, bool) {
	if !strings.Contains(text, `\`) {
		return text, true
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' {
			if i++; i == len(text) {
				return "", false
			}
			if c = text[i]; c >= '0' && c <= '9' {
				if i+3 > len(text) || !isNumber(text[i:i+3]) {
					return "", false
				}
				n := int(c-'0')*100 + int(text[i+1]-'0')*10 + int(text[i+2]-'0')
				if n > 255 {
					return "", false
				}
				c = byte(n)
				i += 2
			}
		}
		out.WriteByte(c)
	}
	return out.String(), true
}

// appendWord prints a word of an annotation, in quotes unless it is plain. What
// is not printable ASCII becomes \DDD.
func appendWord(out []byte, text string) []byte {
	plain := text != ""
	for i := range len(text) {
		c := text[i]
		plain = plain && c > ' ' && c < 0x7f && !endsWord[c] && c != '\\'
	}
	if plain {
		return append(out, text...)
	}
	out = append(out, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ' || c >= 0x7f:
			out = fmt.Appendf(out, `\%03d`, c)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
