package namekey

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

func wire(t testing.TB, text string) string {
	t.Helper()
	name, err := dnswire.ParseName(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(name)
}

// TestOrder writes names in the order of a zone: the names of a subtree follow its root.
func TestOrder(t *testing.T) {
	names := []string{
		".", "test.", "example.test.", `\000.example.test.`, `\001.example.test.`, `\001\000.example.test.`, `\002.example.test.`,
		"a.example.test.", "z.a.example.test.", `a\000.example.test.`, "a-b.example.test.", "b.example.test.", "examples.test.",
	}
	var keys [][]byte
	for _, name := range names {
		key, err := Append(nil, wire(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		keys = append(keys, key)
		encoded, rest, ok := Cut(append(slices.Clone(key), "rest"...))
		if !ok || !bytes.Equal(encoded, key) || string(rest) != "rest" {
			t.Errorf("%s: cut %q, %q, %v", name, encoded, rest, ok)
		}
		if back, err := Decode(key); err != nil || back != wire(t, name) {
			t.Errorf("%s became %q, %v", name, back, err)
		}
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Errorf("not in order: %q", keys)
	}
}

func TestNotNames(t *testing.T) {
	for _, bad := range []string{"", "a", "\x01", "\x01a", "\x00\x00", "\x40" + strings.Repeat("a", 64) + "\x00", strings.Repeat("\x01a", 127) + "\x01a\x00"} {
		if key, err := Append(nil, bad); !errors.Is(err, ErrName) {
			t.Errorf("%q: %q, %v", bad, key, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{".", "example.test.", `\000\001\002.test.`} {
		key, err := Append(nil, wire(f, text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key)
	}
	f.Add([]byte("a\x01\x00\x00"))
	f.Add([]byte(strings.Repeat("a", 64) + "\x00\x00"))
	f.Fuzz(func(t *testing.T, key []byte) {
		encoded, _, ok := Cut(key)
		if !ok {
			return
		}
		name, err := Decode(encoded)
		if err != nil {
			return
		}
		if again, err := Append(nil, name); err != nil {
			t.Errorf("%q became %q, which is no name: %v", encoded, name, err)
		} else if back, err := Decode(again); err != nil || back != name {
			t.Errorf("%q became %q, %v", name, back, err)
		}
	})
}
