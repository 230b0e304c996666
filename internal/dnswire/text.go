package dnswire

import (
	"bytes"
	"encoding/hex"
	"strconv"
)

// A Token is a word or a quoted string of a line in a master file (RFC 1035
// section 5.1).
type Token struct {
	// Text is as it is written, with its escapes, but without the quotes around a
	// quoted string. Quotes within a word stay, as those in alpn="h2,h3".
	Text string
	// Quoted tells that there were quotes around Text.
	Quoted bool
}

// A reader takes the tokens of rdata.
type reader struct {
	tokens []Token
	origin []byte
}

// left reports whether there are more tokens.
func (r *reader) left() bool { return len(r.tokens) > 0 }

// next returns the next token, if there is one.
func (r *reader) next() (Token, bool) {
	if !r.left() {
		return Token{}, false
	}
	token := r.tokens[0]
	r.tokens = r.tokens[1:]
	return token, true
}

// word returns the text of the next token, which must not be empty.
func (r *reader) word() (string, error) {
	token, _ := r.next()
	if token.Text == "" {
		return "", errNoText
	}
	return token.Text, nil
}

// rest returns the text of all tokens that are left, joined.
func (r *reader) rest() string {
	if len(r.tokens) == 1 {
		text := r.tokens[0].Text
		r.tokens = nil
		return text
	}
	var joined []byte
	for _, token := range r.tokens {
		joined = append(joined, token.Text...)
	}
	r.tokens = nil
	return string(joined)
}

// ParseText reads rdata in the presentation form of its type, or in that of RFC
// 3597 section 5 (\# with the number of octets and the octets in hexadecimal),
// which is the only one for types without a text of their own. origin completes
// relative names, as in [ParseName]. It takes what BIND's named-compilezone
// takes: mnemonics for numbers of DNSSEC, numbers for mnemonics, lists of types
// in any order, data in several words, LOC without seconds and sizes, and names
// and strings with or without quotes. What it returns is valid (see [Validate]).
// The error is an [*Error].
func ParseText(rrtype uint16, tokens []Token, origin []byte) ([]byte, error) {
	t := lookup(rrtype)
	r := reader{tokens: tokens, origin: origin}
	var rdata []byte
	var fault string
	var err error
	switch {
	case isGeneric(rrtype, tokens):
		rdata, err = readGeneric(&r)
	case t == nil || t.fields == nil:
		err = errOpaque
	default:
		rdata, fault, err = readFields(t, &r)
	}
	if err == nil && r.left() {
		fault, err = "", reason("more words than fields")
	}
	if err != nil {
		return nil, inField(rrtype, fault, err)
	}
	if err := Validate(rrtype, rdata); err != nil {
		return nil, err
	}
	return rdata, nil
}

// readFields reads the fields of a type. fault is the one that is wrong.
func readFields(t *typeInfo, r *reader) (rdata []byte, fault string, err error) {
	for i := range t.fields {
		f := &t.fields[i]
		for n := 0; ; n++ {
			if !r.left() && (f.repeat == optional || f.repeat == anyNumber || f.repeat == oneOrMore && n > 0) {
				break
			}
			if rdata, err = f.read(r, rdata); err != nil {
				return nil, f.name, err
			}
			if len(rdata) > maxRdata {
				return nil, f.name, errRdataLong
			}
			if f.repeat == once || f.repeat == optional {
				break
			}
		}
	}
	return rdata, "", nil
}

// isGeneric reports whether the tokens are in the form of RFC 3597 section 5. In
// a TXT record, \# without a number after it is a string, as for BIND.
func isGeneric(rrtype uint16, tokens []Token) bool {
	if len(tokens) == 0 || tokens[0].Quoted || tokens[0].Text != `\#` {
		return false
	}
	if rrtype != TypeTXT {
		return true
	}
	if len(tokens) == 1 || tokens[1].Quoted || tokens[1].Text == "" {
		return false
	}
	for i := range len(tokens[1].Text) {
		if !isDigit(tokens[1].Text[i]) {
			return false
		}
	}
	return true
}

// readGeneric reads the form of RFC 3597 section 5.
func readGeneric(r *reader) ([]byte, error) {
	r.next()
	text, err := r.word()
	if err != nil {
		return nil, reason(`no number of octets after \#`)
	}
	size, err := parseUint(text, maxRdata)
	if err != nil {
		return nil, reasonf(`number of octets after \#: %s`, err)
	}
	rdata, err := readHex(r, nil)
	if err != nil {
		return nil, err
	}
	if len(rdata) != int(size) {
		return nil, reasonf(`%d octets where \# says %d`, len(rdata), size)
	}
	return rdata, nil
}

// AppendText appends rdata in the presentation form of its type. It reports
// false, and appends nothing, for rdata that is not valid, and for what has no
// such form. All that could end or change a line of a master file is in quotes
// or escaped, and nothing but printable ASCII is appended.
//
// Reading the text back gives the same octets for all that this package prints;
// [AppendTextOrGeneric] makes sure of it.
func AppendText(dst []byte, rrtype uint16, rdata []byte) ([]byte, bool) {
	start := len(dst)
	t := lookup(rrtype)
	if t == nil || t.fields == nil || len(rdata) > maxRdata {
		return dst, false
	}
	w := fieldWalk{t: t, rdata: rdata}
	for w.next() {
		before := len(dst)
		if before > start {
			dst = append(dst, ' ')
		}
		separated := len(dst)
		var ok bool
		if dst, ok = w.field.print(dst, rdata, w.at, w.end); !ok {
			return dst[:start], false
		}
		if len(dst) == separated {
			dst = dst[:before]
		}
	}
	if w.err != nil || len(dst) == start {
		return dst[:start], false
	}
	return dst, true
}

// AppendGeneric appends rdata of any type in the form of RFC 3597 section 5.
func AppendGeneric(dst, rdata []byte) []byte {
	dst = strconv.AppendInt(append(dst, `\# `...), int64(len(rdata)), 10)
	if len(rdata) > 0 {
		dst = hex.AppendEncode(append(dst, ' '), rdata)
	}
	return dst
}

// AppendTextOrGeneric appends the text of [AppendText], but only if reading it
// back gives the same octets, and otherwise that of [AppendGeneric]. Both are
// one line of printable ASCII.
func AppendTextOrGeneric(dst []byte, rrtype uint16, rdata []byte) []byte {
	start := len(dst)
	dst, ok := AppendText(dst, rrtype, rdata)
	if ok {
		if tokens, ok := splitTokens(dst[start:]); ok {
			if again, err := ParseText(rrtype, tokens, nil); err == nil && bytes.Equal(again, rdata) {
				return dst
			}
		}
	}
	return AppendGeneric(dst[:start], rdata)
}

// TextOrGeneric returns what [AppendTextOrGeneric] appends.
func TextOrGeneric(rrtype uint16, rdata []byte) string {
	return string(AppendTextOrGeneric(nil, rrtype, rdata))
}

// splitTokens splits a line into tokens, as a reader of master files does. It
// reports false for a line that such a reader may take for something else: one
// with an octet that is not printable ASCII, with a comment or parentheses
// outside of quotes, or with a quote that does not end.
func splitTokens(line []byte) ([]Token, bool) {
	for _, b := range line {
		if b < ' ' || b > '~' {
			return nil, false
		}
	}
	var tokens []Token
	for i := 0; i < len(line); {
		if line[i] == ' ' {
			i++
			continue
		}
		start := i
		quoted, inQuotes := line[i] == '"', false
		for ; i < len(line) && (inQuotes || line[i] != ' '); i++ {
			switch b := line[i]; {
			case b == '\\':
				i++
			case b == '"':
				inQuotes = !inQuotes
			case !inQuotes && (b == ';' || b == '(' || b == ')'):
				return nil, false
			}
		}
		if inQuotes || i > len(line) {
			return nil, false
		}
		text := string(line[start:i])
		if quoted {
			if len(text) < 2 || text[len(text)-1] != '"' {
				return nil, false
			}
			text = text[1 : len(text)-1]
		}
		tokens = append(tokens, Token{Text: text, Quoted: quoted})
	}
	return tokens, true
}
