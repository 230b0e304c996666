package masterfile

import (
	"fmt"
	"strings"
)

// An Error says where a master file is wrong, and why.
type Error struct {
	// File is the name that the configuration or $INCLUDE gave.
	File string
	// Line counts from 1. A record that spans lines has the number of its
	// first.
	Line int
	// Reason is for people. It may end in advice, which "Fix:" introduces.
	Reason string
	// Err is the cause, nil if there is none beyond the reason.
	Err error
}

func (e *Error) Error() string { return position(e.File, e.Line) + e.Reason }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Problems are the errors of a file in the order of their lines. A [Reader]
// returns them at the end, if it may collect more than one.
type Problems []*Error

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, e := range p {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single errors.
func (p Problems) Unwrap() []error {
	all := make([]error, len(p))
	for i, e := range p {
		all[i] = e
	}
	return all
}

// A Warning is about something that was read, but perhaps not as it was meant.
type Warning struct {
	File string
	Line int
	Text string
}

func (w Warning) String() string { return position(w.File, w.Line) + w.Text }

func position(file string, line int) string { return fmt.Sprintf("%s:%d: ", file, line) }

// quote prints what a file says in an error: on one line, and not all of it.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		return fmt.Sprintf("%q...", text[:most])
	}
	return fmt.Sprintf("%q", text)
}
