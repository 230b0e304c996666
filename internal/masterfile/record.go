package masterfile

import (
	"encoding/binary"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// record reads the entry of a record.
func (r *Reader) record(e entry) (Record, error) {
	f := r.current()
	words := e.words
	if e.blank {
		if f.owner == nil {
			return Record{}, r.errorf(e.line, "line begins with a space or a tab, which stands for the owner name of the record before, "+
				"and there is none. Fix: write the name")
		}
		if f.originChanged {
			r.warn(e.line, "record right after $ORIGIN has the owner name of the record before it, %s", dnswire.NameText(f.owner))
		}
	} else {
		if text := words[0].text; f.owner == nil || text != f.ownerText {
			name, err := dnswire.ParseName(text, f.origin)
			if err != nil {
				return Record{}, r.wrap(e.line, "owner name "+quote(text), err)
			}
			f.owner, f.ownerText = name, text
		}
		words = words[1:]
	}
	f.originChanged = false
	p, rest, err := r.preamble(e.line, words)
	if err != nil {
		return Record{}, err
	}
	data, err := r.rdata(e.line, p.rrtype, rest, f.origin)
	if err != nil {
		return Record{}, err
	}
	ttl, err := r.ttl(e.line, p, data)
	if err != nil {
		return Record{}, err
	}
	return Record{
		Name: f.owner, Type: p.rrtype, Class: dnswire.ClassIN, TTL: ttl, Data: data, File: f.name, Line: e.line,
	}, nil
}

// A preamble is what stands between the owner name and the rdata.
type preamble struct {
	rrtype   uint16
	explicit bool // the record has a TTL, which is in lastTTL
}

// preamble reads TTL and class, in either order, both of them optional, and the
// type. It returns the words that follow.
func (r *Reader) preamble(line int, words []word) (preamble, []word, error) {
	var p preamble
	class := false
	for i, w := range words {
		if w.quoted {
			return p, nil, r.errorf(line, "quoted string %s where a TTL, a class or a type is expected", quote(w.text))
		}
		if !class {
			if n, ok := parseClass(w.text); ok {
				if n != dnswire.ClassIN {
					return p, nil, r.errorf(line, "class %s: only class IN is served. Fix: write IN, or leave the class out", quote(w.text))
				}
				class = true
				continue
			}
		}
		if !p.explicit {
			if n, ok := parseTTL(w.text); ok {
				r.lastTTL, r.lastTTLKnown, p.explicit = r.limitTTL(line, n), true, true
				continue
			}
		}
		var ok bool
		if p.rrtype, ok = dnswire.ParseType(w.text); !ok {
			return p, nil, r.errorf(line, "%s", notAType(w.text, p.explicit, class))
		}
		if isObsolete(p.rrtype) && !isTypeNumber(w.text) {
			return p, nil, r.errorf(line, "type %s is obsolete (RFC 973). Fix: use MX", dnswire.TypeText(p.rrtype))
		}
		if dnswire.IsMeta(p.rrtype) {
			return p, nil, r.errorf(line, "type %s is for messages, not for zones (RFC 6895 section 3.1)", dnswire.TypeText(p.rrtype))
		}
		return p, words[i+1:], nil
	}
	return p, nil, r.errorf(line, "line ends before the type of the record")
}

// isObsolete tells the types that have been wrong in a master file since 1986
// (RFC 973). A zone can have them by a dynamic update.
func isObsolete(rrtype uint16) bool { return rrtype == dnswire.TypeMD || rrtype == dnswire.TypeMF }

// isTypeNumber tells TYPEn (RFC 3597 section 5) from a mnemonic.
func isTypeNumber(text string) bool {
	return len(text) > len("TYPE") && strings.EqualFold(text[:len("TYPE")], "TYPE")
}

// notAType says what a word would have to be, and is not.
func notAType(text string, ttl, class bool) string {
	what := "neither a TTL, a class nor a type: "
	switch {
	case ttl && class:
		what = "not a type: "
	case ttl:
		what = "neither a class nor a type: "
	case class:
		what = "neither a TTL nor a type: "
	}
	reason := what + quote(text)
	_, isClass := parseClass(text)
	switch {
	case isClass:
		return reason + ". Fix: write the class once"
	case strings.HasPrefix(text, "[AGE:"):
		return reason + ". Fix: delete the words in brackets, which Microsoft's server writes, or load the zone from that server"
	case strings.EqualFold(text, "WINS"), strings.EqualFold(text, "WINSR"), strings.EqualFold(text, "WINS-R"):
		return reason + ". Fix: delete the line, which only Microsoft's server knows"
	case strings.HasPrefix(text, "$"):
		return reason + ". Fix: begin a directive at the start of its line"
	case ttl && isNumber(text):
		return reason + ". Fix: write one TTL"
	case strings.IndexAny(text, "-0123456789") == 0:
		return reason + ". Fix: write a TTL as seconds, at most 2147483647, or as numbers with the units w, d, h, m and s"
	}
	return reason + `. Fix: write a type without a mnemonic as TYPEn \# LENGTH HEX (RFC 3597)`
}

func (r *Reader) limitTTL(line int, ttl uint32) uint32 {
	if ttl > maxTTL {
		r.warn(line, "TTL %d is more than %d and counts as 0 (RFC 2181 section 8)", ttl, maxTTL)
		return 0
	}
	return ttl
}

// ttl returns the TTL of a record, after it was read: an SOA record has one in
// its rdata.
func (r *Reader) ttl(line int, p preamble, data []byte) (uint32, error) {
	switch {
	case p.explicit:
		return r.lastTTL, nil
	case r.defaultTTLKnown:
		r.lastTTL, r.lastTTLKnown = r.defaultTTL, true
		return r.defaultTTL, nil
	case r.lastTTLKnown:
		if !r.lastTTLUsed {
			r.lastTTLUsed = true
			r.warn(line, "record has no TTL and gets that of the record before it (RFC 1035). Fix: begin the file with $TTL")
		}
		return r.lastTTL, nil
	case p.rrtype == dnswire.TypeSOA:
		minimum := binary.BigEndian.Uint32(data[len(data)-4:])
		r.warn(line, "there is no TTL: all records without one get the last number of the SOA record, %d. Fix: begin the file with $TTL", minimum)
		r.defaultTTL, r.defaultTTLKnown = r.limitTTL(line, minimum), true
		return r.defaultTTL, nil
	}
	return 0, r.errorf(line, "record has no TTL, and no $TTL, no record with a TTL and no SOA record is before it. Fix: begin the file with $TTL")
}

// rdata reads the words behind the type.
func (r *Reader) rdata(line int, rrtype uint16, words []word, origin []byte) ([]byte, error) {
	r.tokens = r.tokens[:0]
	pairs := rrtype == dnswire.TypeSVCB || rrtype == dnswire.TypeHTTPS
	for _, w := range words {
		const before = 2 // priority and target
		if last := len(r.tokens) - 1; pairs && w.quoted && last >= before-1 {
			// RFC 9460 section 2.1: key="value" is one word.
			if !w.joined || !strings.HasSuffix(r.tokens[last].Text, "=") {
				return nil, r.errorf(line, `%s: quoted string %s is no parameter. Fix: write key="value" without a blank`,
					dnswire.TypeText(rrtype), quote(w.text))
			}
			r.tokens[last].Text += `"` + w.text + `"`
			continue
		}
		r.tokens = append(r.tokens, dnswire.Token{Text: w.text, Quoted: w.quoted})
	}
	data, err := dnswire.ParseText(rrtype, r.tokens, origin)
	if err != nil {
		return nil, &Error{File: r.current().name, Line: line, Reason: err.Error(), Err: err}
	}
	return data, nil
}
