package krb5

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePrincipal(t *testing.T) {
	for _, c := range []struct {
		in         string
		components []string
		realm      string
		out        string // if not in
	}{
		{"user", []string{"user"}, "", ""},
		{"user@EXAMPLE.TEST", []string{"user"}, "EXAMPLE.TEST", ""},
		{"DNS/ns1.example.test@EXAMPLE.TEST", []string{"DNS", "ns1.example.test"}, "EXAMPLE.TEST", ""},
		{"a/b/c", []string{"a", "b", "c"}, "", ""},
		{"a//c@R", []string{"a", "", "c"}, "R", ""},
		{"/b@R", []string{"", "b"}, "R", ""},
		{"CLIENT1$@R", []string{"CLIENT1$"}, "R", ""},
		{`a\/b@R`, []string{"a/b"}, "R", ""},
		{`a\@b@R`, []string{"a@b"}, "R", ""},
		{`a\\@R`, []string{`a\`}, "R", ""},
		{`\n\t\b\0@R`, []string{"\n\t\b\x00"}, "R", ""},
		{`\x@R`, []string{"x"}, "R", "x@R"},
		{`a@R\/S\@T`, []string{"a"}, "R/S@T", ""},
		{"żółw@R", []string{"żółw"}, "R", ""},
	} {
		p, err := ParsePrincipal(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if !slices.Equal(p.Components, c.components) || p.Realm != c.realm {
			t.Errorf("%q: %q @ %q", c.in, p.Components, p.Realm)
		}
		want := c.in
		if c.out != "" {
			want = c.out
		}
		if p.String() != want {
			t.Errorf("%q: String() is %q, want %q", c.in, p.String(), want)
		}
		if name := (Principal{Components: p.Components}).String(); p.Name() != name {
			t.Errorf("%q: Name() is %q, want %q", c.in, p.Name(), name)
		}
	}
	for _, in := range []string{
		"", "@", "@R", "/", "a@", "a@b@c", "a@R/S", `a\`, `a@R\`,
		strings.Repeat("a", maxNameOctets+1), "a@" + strings.Repeat("R", maxNameOctets+1), strings.Repeat("a/", maxComponents) + "a",
	} {
		if p, err := ParsePrincipal(in); err == nil {
			t.Errorf("%.40q: parsed as %q", in, p)
		}
	}
}

func TestPrincipalEqual(t *testing.T) {
	a := mustPrincipal("host/a@R")
	for s, want := range map[string]bool{
		"host/a@R": true, "host/a@r": false, "Host/a@R": false, "host/A@R": false, "host/a": false,
		`host\/a@R`: false, "host@R": false, "host/a/b@R": false,
	} {
		if a.Equal(mustPrincipal(s)) != want {
			t.Errorf("%s: equal is %v", s, !want)
		}
	}
}

func TestShownIsOneShortPrintableLine(t *testing.T) {
	for in, want := range map[string]string{
		"host/a@R":               "host/a@R",
		"a\r\x1b[0m\u00e9":       `a\x0d\x1b[0m\xc3\xa9`,
		strings.Repeat("a", 300): strings.Repeat("a", maxShownOctets) + "...",
	} {
		if got := shown(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
