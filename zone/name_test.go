package zone

import "testing"

// TestKeys: a key has the labels from the origin's side on, in lower case and escaped. A name
// that is not at or below the origin has none.
func TestKeys(t *testing.T) {
	o, err := newOrigin("example.test.")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"example.test.":                           "",
		"EXAMPLE.Test.":                           "",
		"a.example.test.":                         "a\x00",
		"AbC.ExAmPlE.test.":                       "abc\x00",
		"c.B.a.example.test.":                     "a\x00b\x00c\x00",
		`x\000y.a\001.example.test.`:              "a\x01\x02\x00x\x01\x01y\x00",
		`\255Z\000A\@[.example.test.`:             "\xffz\x01\x01a@[\x00",
		`ab\007example\004test.a.test.`:           "none",
		`ab\007example\004test.`:                  "none", // the octets of the origin, within a label
		`a.ab\007example\004test.`:                "none",
		"test.":                                   "none",
		".":                                       "none",
		"other.test.":                             "none",
		"myexample.test.":                         "none",
		"example.test.other.":                     "none",
		"a.b.c.d.e.f.g.h.example.test.":           "h\x00g\x00f\x00e\x00d\x00c\x00b\x00a\x00",
		`a\.example.test.`:                        "none",
		`a\.b.example.test.`:                      "a.b\x00",
		"aaaaaaaaaaaaaaaaaaaaaaaaA.EXAMPLE.test.": "aaaaaaaaaaaaaaaaaaaaaaaaa\x00",
	} {
		key, ok := o.key(name)
		if !ok {
			key = "none"
		}
		if key != want {
			t.Errorf("%s: got %q, want %q", name, key, want)
		}
	}
	root, err := newOrigin(".")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{".": "", "a.": "a\x00", "b.a.": "a\x00b\x00"} {
		if key, ok := root.key(name); !ok || key != want {
			t.Errorf("%s below the root: got %q, %v, want %q", name, key, ok, want)
		}
	}
}
