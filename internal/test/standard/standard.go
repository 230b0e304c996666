// Package standard keeps account of which test sees to which requirement of which standard. docs/standards.md is written
// from it.
//
// The directory lists has one file for each standard, with a line for each of its requirements:
//
//	SECTION WORDS | KEYWORD | PARTY | what is required [| not here: why it does not arise in this server]
//
// SECTION WORDS is how tests cite the requirement, KEYWORD is the standard's own word (MUST, should), or "rule" where it
// says what is done without such a word, and PARTY is whom it binds: server, client, both, or others.
//
// A test says by [Requires] that it fails if the server breaks a requirement. By [Deviates] it says that the server does
// something else on purpose, which the test shows, and why. Both are read from the source, so that their arguments are
// constants. Each requirement that binds a server has such a test, or its line says why it does not arise;
// TestStandards in test/layout checks it.
package standard

import (
	"embed"
	"testing"
)

//go:embed lists/*.txt
var files embed.FS

// Requires says that the test fails if one of the requirements, each cited by its section and words, is broken.
func Requires(t testing.TB, standard string, requirements ...string) {
	t.Helper()
	if len(requirements) == 0 {
		t.Errorf("no requirement of %s is cited", standard)
	}
	for _, requirement := range requirements {
		cited(t, standard, requirement)
	}
}

// Deviates says that the test shows what the server does in place of what is required, and why.
func Deviates(t testing.TB, standard, requirement, why string) {
	t.Helper()
	cited(t, standard, requirement)
	if why == "" {
		t.Errorf("%s %s: no reason for the deviation", standard, requirement)
	}
}

// cited checks that a requirement is in its standard's list.
func cited(t testing.TB, standard, requirement string) {
	t.Helper()
	list, err := listOf(standard)
	if err != nil {
		t.Error(err)
	} else if list.find(requirement) == nil {
		t.Errorf("the list of %s has no requirement %q", standard, requirement)
	}
}
