package main

import "testing"

func TestRename(t *testing.T) {
	names := map[string]string{"func One(": "func two("}
	if got, err := rename("package p\n\nfunc One() { One() }\n", names); got != "package p\n\nfunc two() { One() }\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, source := range []string{"package p\n", "package p\n\nfunc One()\nfunc One()\n", "package p\n\nfunc OneMore()\n"} {
		if _, err := rename(source, names); err == nil {
			t.Errorf("renamed in %q", source)
		}
	}
}
