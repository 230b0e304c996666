package dnswire

import (
	"bytes"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// TestGenericOrString reads \# where it is the form of RFC 3597, and in TXT records where it is a string, as
// named-compilezone does.
func TestGenericOrString(t *testing.T) {
	standard.Requires(t, "RFC 3597", "5 text", "5 known types")
	word := func(text string) Token { return Token{Text: text} }
	for _, test := range []struct {
		rrtype uint16
		tokens []Token
		want   string // "" is an error
	}{
		{TypeTXT, []Token{word(`\#`), word("2"), word("0161")}, "\x01a"},
		{TypeTXT, []Token{word(`\#`), word("foo")}, "\x01#\x03foo"},
		{TypeTXT, []Token{word(`\#`), word("1a")}, "\x01#\x021a"},
		{TypeTXT, []Token{word(`\#`)}, "\x01#"},
		{TypeTXT, []Token{word(`\#`), {Text: "1", Quoted: true}}, "\x01#\x011"},
		{TypeTXT, []Token{{Text: `\#`, Quoted: true}, word("1"), word("00")}, "\x01#\x011\x0200"},
		{TypeTXT, []Token{word(`\#`), word("1")}, ""},
		{TypeSPF, []Token{word(`\#`), word("foo")}, ""},
	} {
		got, err := ParseText(test.rrtype, test.tokens, nil)
		if (err == nil) != (test.want != "") || err == nil && !bytes.Equal(got, []byte(test.want)) {
			t.Errorf("%s %v: %q, %v; want %q", TypeText(test.rrtype), test.tokens, got, err, test.want)
		}
	}
}
