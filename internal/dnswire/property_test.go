package dnswire_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire/dnswiretest"
)

// tokens splits a line that holds no quotes within words but those of
// parameters.
func tokens(t *testing.T, line string) []dnswire.Token {
	t.Helper()
	var list []dnswire.Token
	for line != "" {
		end, inQuotes := 0, false
		for ; end < len(line) && (inQuotes || line[end] != ' '); end++ {
			switch line[end] {
			case '\\':
				end++
			case '"':
				inQuotes = !inQuotes
			case ';', '(', ')':
				if !inQuotes {
					t.Errorf("%q outside of quotes in %s", line[end], line)
				}
			}
		}
		word := line[:min(end, len(line))]
		if inner, quoted := strings.CutPrefix(word, `"`); quoted {
			list = append(list, dnswire.Token{Text: strings.TrimSuffix(inner, `"`), Quoted: true})
		} else {
			list = append(list, dnswire.Token{Text: word})
		}
		line = strings.TrimPrefix(line[len(word):], " ")
	}
	return list
}

// TestGenerated checks what must be true of all rdata, right or wrong.
func TestGenerated(t *testing.T) {
	type outcome struct{ valid, invalid, generic int }
	outcomes := make(map[uint16]*outcome)
	var last dnswiretest.Rdata
	for _, r := range dnswiretest.Generate(1, 100) {
		o := outcomes[r.Type]
		if o == nil {
			o = new(outcome)
			outcomes[r.Type] = o
		}
		name := dnswire.TypeText(r.Type)
		if dnswire.Compare(r.Type, r.Octets, r.Octets) != 0 || !dnswire.Equal(r.Type, r.Octets, r.Octets) {
			t.Errorf("%s %x is not itself", name, r.Octets)
		}
		if last.Type == r.Type {
			a, b := dnswire.AppendCanonical(nil, r.Type, last.Octets), dnswire.AppendCanonical(nil, r.Type, r.Octets)
			if c := dnswire.Compare(r.Type, last.Octets, r.Octets); sign(c) != bytes.Compare(a, b) {
				t.Errorf("%s %x and %x: %d, by their canonical form %d", name, last.Octets, r.Octets, c, bytes.Compare(a, b))
			}
		}
		last = r
		text := dnswire.TextOrGeneric(r.Type, r.Octets)
		if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%s %x: text %q", name, r.Octets, text)
		}
		expanded, expandErr := dnswire.ExpandRdata(nil, r.Octets, 0, len(r.Octets), r.Type)
		err := dnswire.Validate(r.Type, r.Octets)
		if err != nil {
			o.invalid++
			if !strings.HasPrefix(text, `\# `) {
				t.Errorf("%s %x is wrong and has a text: %s", name, r.Octets, text)
			}
			continue
		}
		o.valid++
		if expandErr != nil || !bytes.Equal(expanded, r.Octets) {
			t.Errorf("%s %x expands to %x, %v", name, r.Octets, expanded, expandErr)
		}
		again, err := dnswire.ParseText(r.Type, tokens(t, text), nil)
		if err != nil || !bytes.Equal(again, r.Octets) {
			t.Errorf("%s %x: text %s reads as %x, %v", name, r.Octets, text, again, err)
		}
		if strings.HasPrefix(text, `\# `) {
			o.generic++
			if own, ok := dnswire.AppendText(nil, r.Type, r.Octets); ok {
				t.Errorf("%s %x: text %s does not read back", name, r.Octets, own)
			}
		}
		for n := range dnswire.Names(r.Type, r.Octets) {
			if dnswire.NameLen(r.Octets[n.Start:]) != n.End-n.Start {
				t.Errorf("%s %x: name at %d to %d", name, r.Octets, n.Start, n.End)
			}
		}
	}
	for rrtype, o := range outcomes {
		if o.valid < 80 {
			t.Errorf("%s: %d valid, %d invalid", dnswire.TypeText(rrtype), o.valid, o.invalid)
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func TestGenerateIsDeterministic(t *testing.T) {
	same := func(a, b dnswiretest.Rdata) bool { return a.Type == b.Type && bytes.Equal(a.Octets, b.Octets) }
	if !slices.EqualFunc(dnswiretest.Generate(2, 3), dnswiretest.Generate(2, 3), same) {
		t.Error("two runs of one seed differ")
	}
}
