package zone

import (
	"fmt"
	"strings"
)

// A LimitError says which of Limits an update would have exceeded.
type LimitError struct {
	// Limit is the name of the field in Limits.
	Limit string
	// Max is its value.
	Max int
	// Name is the name concerned or, for a share of an owner, the owner; "" if there is none.
	Name string
}

func (e *LimitError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("zone: limit %s (%d) exceeded", e.Limit, e.Max)
	}
	return fmt.Sprintf("zone: limit %s (%d) exceeded at %s", e.Limit, e.Max, e.Name)
}

// A SeedError says where in a master file something is wrong.
type SeedError struct {
	// File is the file, which may be one that $INCLUDE names.
	File string
	// Line counts from 1; it is 0 for an error of the zone or the file as a whole. For a record that
	// spans lines it is the first of them.
	Line   int
	Reason string
	// Fix is advice. It may be empty.
	Fix string
	// Err is the cause. It may be nil.
	Err error
}

func (e *SeedError) Error() string { return seedMessage(e.File, e.Line, e.Reason, e.Fix) }

// Unwrap returns the cause.
func (e *SeedError) Unwrap() error { return e.Err }

// SeedErrors are several errors of a master file, in the order of files and lines.
type SeedErrors []*SeedError

// Error returns one error in each line.
func (e SeedErrors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single errors.
func (e SeedErrors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// A SeedWarning is about something in a master file that was read, but perhaps not as it was meant.
// Its fields are those of SeedError.
type SeedWarning struct {
	File string
	Line int
	Text string
	Fix  string
}

func (w SeedWarning) String() string { return seedMessage(w.File, w.Line, w.Text, w.Fix) }

func seedMessage(file string, line int, text, fix string) string {
	position := file
	if line > 0 {
		position = fmt.Sprintf("%s:%d", file, line)
	}
	if fix != "" {
		text += fixMark + fix
	}
	return position + ": " + text
}
