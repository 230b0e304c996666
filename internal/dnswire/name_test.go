package dnswire

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// randomName returns a name of labels with octets of all kinds.
func randomName(random *rand.Rand) []byte {
	var name []byte
	for range random.IntN(5) {
		label := make([]byte, 1+random.IntN(12))
		for i := range label {
			if label[i] = byte(random.IntN(256)); random.IntN(2) == 0 {
				label[i] = "aBz.-_\\\"@*;() '$0"[random.IntN(17)]
			}
		}
		name = append(append(name, byte(len(label))), label...)
	}
	return append(name, 0)
}

func TestNameTextIsMiekgs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		name := randomName(random)
		want, _, err := dns.UnpackDomainName(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		text := NameText(name)
		if text != want {
			t.Fatalf("%x is %q, to miekg %q", name, text, want)
		}
		again, err := ParseName(text, nil)
		if err != nil || !bytes.Equal(again, name) {
			t.Fatalf("%q reads as %x, %v, and was %x", text, again, err, name)
		}
		if relative, err := ParseName(text[:len(text)-1], name); len(name) > 1 && len(name) < 120 {
			if err != nil || !bytes.Equal(relative, append(name[:len(name)-1:len(name)-1], name...)) {
				t.Fatalf("%q without its dot reads as %x, %v", text, relative, err)
			}
		}
	}
}

func TestParseName(t *testing.T) {
	standard.Requires(t, "RFC 1035", "2.3.4 labels", "2.3.4 names")
	origin := []byte("\x04test\x00")
	label63 := strings.Repeat("a", 63)
	long := strings.Repeat(label63+".", 3)
	for _, c := range []struct {
		text   string
		origin []byte
		want   string
		err    string
	}{
		{text: ".", want: "\x00"},
		{text: "a.b.", want: "\x01a\x01b\x00"},
		{text: "a.b", origin: origin, want: "\x01a\x01b\x04test\x00"},
		{text: "@", origin: origin, want: "\x04test\x00"},
		{text: `\@.`, want: "\x01@\x00"},
		{text: `a\.b.`, want: "\x03a.b\x00"},
		{text: `\000\255.`, want: "\x02\x00\xff\x00"},
		{text: `a\032b.`, want: "\x03a b\x00"},
		{text: long + strings.Repeat("b", 61) + ".", want: strings.Repeat("\x3f"+label63, 3) + "\x3d" + strings.Repeat("b", 61) + "\x00"},
		{text: long + strings.Repeat("b", 62) + ".", err: "name of more than 255 octets"},
		{text: long + strings.Repeat("b", 57), origin: origin, err: "name of more than 255 octets"},
		{text: label63 + "a.", err: "label of more than 63 octets"},
		{text: "", err: "empty name"},
		{text: "a..b.", err: "empty label"},
		{text: ".a.", err: "empty label"},
		{text: "..", err: "empty label"},
		{text: "a", err: "relative name without an origin"},
		{text: "@", err: "relative name without an origin"},
		{text: `a\`, err: errEscape.Reason},
		{text: `a\25.`, err: errEscape.Reason},
		{text: `a\256.`, err: errEscape.Reason},
	} {
		name, err := ParseName(c.text, c.origin)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%q: %x, %v, not %q", c.text, name, err, c.err)
			}
			continue
		}
		if err != nil || string(name) != c.want {
			t.Errorf("%q: %x, %v, not %x", c.text, name, err, c.want)
		}
	}
}

func TestNameLen(t *testing.T) {
	longest := append(bytes.Repeat(append([]byte{62}, bytes.Repeat([]byte{'a'}, 62)...), 4), 1, 'b', 0)
	if len(longest) != MaxName {
		t.Fatal(len(longest))
	}
	for _, c := range []struct {
		octets string
		want   int
	}{
		{"", 0}, {"\x00", 1}, {"\x00rest", 1}, {"\x01a\x00", 3}, {"\x01a", 0}, {"\x02a\x00", 0}, {"\x40", 0}, {"\xc0\x0c", 0},
		{string(longest), MaxName}, {"\x01" + string(longest[1:2]) + string(longest), 0},
	} {
		if n := NameLen([]byte(c.octets)); n != c.want {
			t.Errorf("%x: %d, not %d", c.octets, n, c.want)
		}
	}
}

// TestCompareNames has the names of RFC 4034 section 6.1 in their order.
func TestCompareNames(t *testing.T) {
	var names [][]byte
	for _, text := range []string{
		".", "example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.",
		`\001.z.example.`, "*.z.example.", `\200.z.example.`,
	} {
		name, err := ParseName(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	for i, a := range names {
		for j, b := range names {
			if c := CompareNames(a, b); (c < 0) != (i < j) || (c == 0) != (i == j) {
				t.Errorf("%s, %s: %d", NameText(a), NameText(b), c)
			}
			if EqualNames(a, b) != (i == j) {
				t.Errorf("%s, %s: equal", NameText(a), NameText(b))
			}
		}
		upper := slices.Clone(a)
		for i, b := range a {
			if 'a' <= b && b <= 'z' {
				upper[i] = b - ('a' - 'A')
			}
		}
		if CompareNames(a, upper) != 0 || !EqualNames(a, upper) || !bytes.Equal(AppendLower(nil, upper), AppendLower(nil, a)) {
			t.Errorf("%s is not itself in upper case", NameText(a))
		}
	}
	if !IsSubdomain(names[3], names[1]) || !IsSubdomain(names[3], names[0]) || !IsSubdomain(names[5], names[2]) ||
		IsSubdomain(names[1], names[2]) || IsSubdomain(names[6], names[2]) {
		t.Error("IsSubdomain")
	}
}

func TestUnpackName(t *testing.T) {
	standard.Requires(t, "RFC 1035", "2.3.4 names", "4.1.4 compression", "4.1.4 pointers")
	header := make([]byte, headerLen)
	for _, c := range []struct {
		octets string // from offset 12 on
		off    int
		want   string
		next   int
	}{
		{"\x01a\x00", 12, "\x01a\x00", 15},
		{"\x01A\x00\x01b\xc0\x0c!", 15, "\x01b\x01A\x00", 19},
		{"\x01a\x00\xc0\x0c\xc0\x0f", 17, "\x01a\x00", 19},
		{"\xc0\x0c", 12, "", 0},              // itself
		{"\xc0\x0e\x00", 12, "", 0},          // forwards
		{"\x01a\xc0\x0c", 12, "", 0},         // into itself
		{"\x01a\xc0\x0c\xc0\x0e", 16, "", 0}, // a loop behind it
		{"\xc0\x00", 12, "", 0},              // into the header
		{"\x01a\x00\xc0", 15, "", 0},
		{"\x01a", 12, "", 0},
		{"\x02a", 12, "", 0},
		{"\x40", 12, "", 0},
		{"", 12, "", 0},
		{strings.Repeat("\x01a", 127) + "\x00", 12, strings.Repeat("\x01a", 127) + "\x00", 12 + 255},
		{strings.Repeat("\x01a", 127) + "\x00\x01b\xc0\x0c", 12 + 255, "", 0},
	} {
		msg := append(slices.Clone(header), c.octets...)
		name, next, err := UnpackName([]byte("x"), msg, c.off)
		if string(name) != "x"+c.want || next != c.next || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %d, %v", c.octets, name, next, err)
		}
		if skipped, err := SkipName(msg, c.off); c.want != "" && (err != nil || skipped != c.next) {
			t.Errorf("%q: skipped to %d, %v", c.octets, skipped, err)
		}
	}
	if _, _, err := UnpackName(nil, header, -1); err == nil {
		t.Error("offset -1")
	}
}
