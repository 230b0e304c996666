package krb5conf

import (
	"slices"
	"strings"
	"testing"
)

// TestProfile: what MIT's library (1.20.1, profile_get_values) finds in the same files.
func TestProfile(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"a":     "[s]\n r = a1\n r = a2\n g = {\n k = a1\n }\n[s]\n g = {\n k = a2\n }\n f = {\n k = a\n }*\n",
		"b":     "[s]\n r = b\n o = b\n g = {\n k = b\n }\n f = {\n k = b\n }\n",
		"final": "[s]*\n r = f\n[t]\n g* = {\n k = f\n }\n h* = f\n",
		"after": "[s]\n r = 1\n o = 1\n[t]\n g = {\n k = 1\n }\n h = 1\n",
		"forms": "r = before\n [s]\nr = before\n[s]\n\tq=\"a\\\"b\\n\" c\n e = \"\"\n c = 1 ; 2 # 3\n  # r = no\n;r = no\n x = y = z\n" +
			"n =\n {\n m={\n k = {a\n } \n}\r\nlast = 1",
		"include":   "include part\n[s]\n r = 2\n g = {\ninclude part\n k = 3\n }\n include = no\n",
		"part":      "[s]\n r = 1\n g = {\n k = 1\n",
		"directory": "includedir\td\n[s]\n r = own\n",
		"d/2":       "[s]\n r = 2\n", "d/10-a_B": "[s]\n r = 10\n", "d/z.conf": "[s]\n r = z\n",
		"d/.h.conf": "[s]\n r = h\n", "d/2.rpmnew": "[s]\n r = new\n", "d/2~": "[s]\n r = old\n",
	})
	t.Chdir(dir)
	for _, test := range []struct{ files, path, want string }{
		{"a", "s r", "a1 a2"},
		{"a:b", "s r", "a1 a2 b"},
		{"b:a", "s r", "b a1 a2"},
		{"a:b", "s o", "b"},
		{"a:b", "s g k", "a1 a2 b"},
		{"a:b", "s f k", "a"},
		{"b:a", "s f k", "b a"},
		{"a:b", "s g", ""},
		{"final:after", "s r", "f"},
		{"final:after", "s o", ""},
		{"final:after", "t g k", "f"},
		{"final:after", "t h", "f 1"},
		{"missing:b", "s r", "b"},
		{"b:missing", "s r", "b"},
		{"a::b", "s r", "a1 a2"},
		{"forms", "s r", ""},
		{"forms", "s q", "a\"b\n"},
		{"forms", "s c", "1 ; 2 # 3"},
		{"forms", "s x", "y = z"},
		{"forms", "s n m k", "{a"},
		{"forms", "s last", "1"},
		{"include", "s r", "1 2 1"},
		{"include", "s g k", "1 1 3"},
		{"include", "s include", "no"},
		{"directory", "s r", "10 2 z own"},
	} {
		p, err := readProfile(test.files)
		if err != nil {
			t.Errorf("%s: %v", test.files, err)
			continue
		}
		if got := strings.Join(p.values(strings.Fields(test.path)...), " "); got != test.want {
			t.Errorf("%s: %s is %q, want %q", test.files, test.path, got, test.want)
		}
	}
	p, err := readProfile("a:b")
	if err != nil {
		t.Fatal(err)
	}
	if sections, relations := p.names(true, "s"), p.names(false, "s"); !slices.Equal(sections, []string{"g", "f"}) || !slices.Equal(relations, []string{"r", "o"}) {
		t.Errorf("sections %q, relations %q", sections, relations)
	}
}

// TestProfileErrors: what MIT's library does not take either.
func TestProfileErrors(t *testing.T) {
	files := map[string]string{"circle": "include circle\n", "good": "[s]\n", "d/file": ""}
	wrong := map[string]string{
		"no bracket":        "[s\n",
		"after the bracket": "[s] x\n",
		"inside":            "[s]\ng = {\n[t]\n",
		"closed":            "[s]\n}\n",
		"no value":          "[s]\nx\n",
		"two words":         "[s]\nx y = 1\n",
		"no name":           "[s]\n= 1\n",
		"no brace":          "[s]\ng =\nk = 1\n",
		"no file":           "[s]\ninclude missing\n",
		"no directory":      "includedir missing\n",
		"a directory":       "include d\n",
	}
	for name, text := range wrong {
		files[name] = text
	}
	t.Chdir(writeFiles(t, files))
	for name, text := range wrong {
		if p, err := readProfile("good:" + name); err == nil || !strings.HasPrefix(err.Error(), name+":") {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	for list, words := range map[string]string{"circle": "deep", "missing:none": "missing: no such file or directory\nopen none", "d": "directory"} {
		if p, err := readProfile(list); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, %v", list, p, err)
		}
	}
	// A file that is missing in the standard one does not make that optional.
	if conf, err := load("no file", "no file"); err == nil {
		t.Errorf("%+v", conf)
	}
}
