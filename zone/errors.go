package zone

import "fmt"

// A LimitError says which of Limits an update would have exceeded.
type LimitError struct {
	// Limit is the name of the field in Limits.
	Limit string
	// Max is its value.
	Max int
	// Name is the name concerned, if one is.
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
	File string
	// Line counts from 1; it is 0 for an error of the zone as a whole. For a record that spans
	// lines it is the last of them.
	Line   int
	Reason string
}

func (e *SeedError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}
