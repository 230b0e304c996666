package admin

import (
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// What clients are called is no command to the terminal of the administrator.
func TestNamesOfClientsAreNoTerminalCommands(t *testing.T) {
	const principal = "a\x1b]0;x\a\u009b2J\u202e\xff\r\x7fé@EXAMPLE.TEST"
	const want = `a\027]0;x\007\194\1552J\226\128\174\255\013\127é@EXAMPLE.TEST`
	var out strings.Builder
	for name, print := range map[string]func() error{
		"names": func() error {
			return printNames(&out, []view.Name{{Name: "a.example.test.", Owner: principal, Records: []view.Record{{Type: "A"}}}})
		},
		"changes": func() error { return printChanges(&out, []view.Change{{Author: principal}}) },
		"owner": func() error {
			return printChanges(&out, []view.Change{{Owners: []view.Name{{Name: "a.", Owner: principal}}}})
		},
		"notes":     func() error { return printApplied(&out, view.Applied{Notes: []string{principal}}) },
		"conflicts": func() error { printConflicts(&out, []view.Conflict{{Name: "a.", Owner: principal}}); return nil },
	} {
		out.Reset()
		if err := print(); err != nil || !strings.Contains(out.String(), want) || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
	}
}
