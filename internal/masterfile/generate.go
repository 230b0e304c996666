package masterfile

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// The longest texts of the two sides of a $GENERATE, before and after the
// number is in them, as in BIND.
const (
	maxOwnerText = 2048
	maxRdataText = 65535
)

// maxGeneratedText is how many octets of text all $GENERATE together may make
// and be made of. It bounds the work: a short line may ask for long records.
const maxGeneratedText = 1 << 28

// A generator makes the records of a $GENERATE, which is BIND's:
//
//	$GENERATE START-STOP[/STEP] NAME [TTL] [CLASS] TYPE RDATA
//
// NAME and RDATA have dollar signs for the number.
type generator struct {
	line              int
	value, stop, step int64
	owner, rdata      string
	rrtype            uint16
	ttl               uint32
	lexer             *lexer // of what rdata becomes
}

// startGenerate reads the line. The records come with the calls of
// nextGenerated.
func (r *Reader) startGenerate(line int, arguments []word) error {
	start, stop, step, ok := parseRange(arguments[0].text)
	if !ok || arguments[0].quoted {
		return r.errorf(line, "$GENERATE range %s is not START-STOP or START-STOP/STEP, with numbers up to %d, STOP not below START, and STEP above 0",
			quote(arguments[0].text), math.MaxInt32)
	}
	p, rest, err := r.preamble(line, arguments[2:])
	switch {
	case err != nil:
		return err
	case len(rest) != 1:
		return r.errorf(line, "wrong number of words after the type of $GENERATE: %d. Fix: write one, in quotes if it has spaces", len(rest))
	case p.rrtype == dnswire.TypeSOA:
		return r.errorf(line, "$GENERATE cannot make SOA records: a zone has one")
	}
	owner, rdata := arguments[1].text, rest[0].text
	if len(owner) > maxOwnerText || len(rdata) > maxRdataText {
		return r.errorf(line, "$GENERATE name of more than %d octets, or rdata of more than %d", maxOwnerText, maxRdataText)
	}
	if rest[0].quoted {
		rdata = unescapeQuotes(rdata)
	}
	count := (stop-start)/step + 1
	if count > int64(maxGenerated-r.generated) {
		return r.errorf(line, "$GENERATE makes more than %d records in this file", maxGenerated)
	}
	ttl, err := r.ttl(line, p, nil)
	if err != nil {
		return err
	}
	r.generated += int(count)
	const buffer = 512
	r.generate = &generator{
		line: line, value: start, stop: stop, step: step, rrtype: p.rrtype, ttl: ttl,
		owner: owner, rdata: rdata, lexer: newLexer(nil, buffer),
	}
	return nil
}

// parseRange reads START-STOP[/STEP].
func parseRange(text string) (start, stop, step int64, ok bool) {
	first, rest, _ := strings.Cut(text, "-")
	last, by, stepped := strings.Cut(rest, "/")
	if !stepped {
		by = "1"
	}
	var numbers [3]int64
	for i, text := range []string{first, last, by} {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return 0, 0, 0, false
		}
		numbers[i] = int64(n)
	}
	start, stop, step = numbers[0], numbers[1], numbers[2]
	return start, stop, step, start <= stop && step > 0
}

// unescapeQuotes removes the backslash before quotes in a quoted string, because
// its content is read again. Other escapes stay.
func unescapeQuotes(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
			if text[i] != '"' {
				out.WriteByte('\\')
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// nextGenerated makes the record of the present number.
func (r *Reader) nextGenerated() (record Record, found bool, err error) {
	g, f := r.generate, r.current()
	if g.value > g.stop {
		r.generate = nil
		return Record{}, false, nil
	}
	record, err = g.record(r)
	if err != nil {
		r.generate = nil // the next would have the same error
		return Record{}, false, err
	}
	record.File, record.Line = f.name, g.line
	g.value += g.step
	return record, true, nil
}

func (g *generator) record(r *Reader) (Record, error) {
	origin := r.current().origin
	owner, err := expand(g.owner, g.value, maxOwnerText)
	if err != nil {
		return Record{}, r.wrap(g.line, "$GENERATE name", err)
	}
	rdata, err := expand(g.rdata, g.value, maxRdataText)
	if err != nil {
		return Record{}, r.wrap(g.line, "$GENERATE rdata", err)
	}
	r.generatedText += len(g.owner) + len(owner) + len(g.rdata) + len(rdata)
	if r.generatedText > maxGeneratedText {
		return Record{}, r.errorf(g.line, "$GENERATE makes records from more than %d octets of text in this file", maxGeneratedText)
	}
	name, err := dnswire.ParseName(owner, origin)
	if err != nil {
		return Record{}, r.wrap(g.line, "$GENERATE name "+quote(owner), err)
	}
	g.lexer.reset(strings.NewReader(rdata))
	e, err := g.lexer.next()
	if err != nil && err != io.EOF { // without words the type says what it misses
		return Record{}, r.wrap(g.line, "$GENERATE rdata "+quote(rdata), err)
	}
	data, err := r.rdata(g.line, g.rrtype, e.words, origin)
	if err != nil {
		return Record{}, err
	}
	if _, err := g.lexer.next(); err != io.EOF {
		return Record{}, r.errorf(g.line, "$GENERATE rdata %s has more than one line", quote(rdata))
	}
	return Record{Name: name, Type: g.rrtype, Class: dnswire.ClassIN, TTL: g.ttl, Data: data}, nil
}

var errModifier = errors.New("modifier is not ${OFFSET}, ${OFFSET,WIDTH} or ${OFFSET,WIDTH,BASE} with a base of d, o, x, X, n or N")

// expand replaces the dollar signs of a text by the number. $$ and \$ stand for
// a dollar sign.
func expand(text string, number int64, most int) (string, error) {
	var out []byte
	for i := 0; i < len(text); i++ {
		if len(out) > most {
			return "", fmt.Errorf("text becomes longer than %d octets", most)
		}
		switch {
		case text[i] == '\\' && i+1 < len(text):
			out = append(out, text[i], text[i+1])
			i++
		case text[i] != '$':
			out = append(out, text[i])
		case strings.HasPrefix(text[i+1:], "$"):
			out = append(out, '$')
			i++
		case strings.HasPrefix(text[i+1:], "{"):
			modifier, _, closed := strings.Cut(text[i+2:], "}")
			if !closed {
				return "", errModifier
			}
			var err error
			if out, err = appendNumber(out, number, modifier); err != nil {
				return "", err
			}
			i += len("{}") + len(modifier)
		default:
			out = strconv.AppendInt(out, number, 10)
		}
	}
	return string(out), nil
}

// appendNumber prints a number as OFFSET[,WIDTH[,BASE]] says.
func appendNumber(out []byte, number int64, modifier string) ([]byte, error) {
	const maxWidth = 127
	parts := strings.Split(modifier, ",")
	offset, err := strconv.ParseInt(parts[0], 10, 32)
	if err != nil || len(parts) > 3 {
		return nil, errModifier
	}
	var width uint64
	if len(parts) > 1 {
		if width, err = strconv.ParseUint(parts[1], 10, 31); err != nil {
			return nil, errModifier
		}
		if width > maxWidth {
			return nil, fmt.Errorf("width %d is more than %d", width, maxWidth)
		}
	}
	base := "d"
	if len(parts) > 2 {
		base = parts[2]
	}
	number += offset
	if number < math.MinInt32 || number > math.MaxInt32 {
		return nil, fmt.Errorf("number with offset %d does not fit 32 bits", offset)
	}
	unsigned := uint32(number) // as C prints a negative one
	switch base {
	case "d":
		return fmt.Appendf(out, "%0*d", width, number), nil
	case "o":
		return fmt.Appendf(out, "%0*o", width, unsigned), nil
	case "x":
		return fmt.Appendf(out, "%0*x", width, unsigned), nil
	case "X":
		return fmt.Appendf(out, "%0*X", width, unsigned), nil
	case "n":
		return appendNibbles(out, unsigned, int(width), "0123456789abcdef"), nil
	case "N":
		return appendNibbles(out, unsigned, int(width), "0123456789ABCDEF"), nil
	}
	return nil, errModifier
}

// appendNibbles prints a number as ip6.arpa has it, the last digit first. The
// width counts the dots.
func appendNibbles(out []byte, number uint32, width int, digits string) []byte {
	for {
		out = append(out, digits[number&15])
		number >>= 4
		width--
		if number == 0 && width <= 0 {
			return out
		}
		out = append(out, '.')
		width--
		if number == 0 && width <= 0 {
			return out
		}
	}
}
