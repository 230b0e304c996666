package diagnose

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Severity says how bad a finding is.
type Severity string

const (
	OK      Severity = "ok"      // as it should be
	Warning Severity = "warning" // works, but not for all clients or not permanently
	Error   Severity = "error"   // does not work
)

// A Finding is one thing that was examined. Its JSON form is part of the output of commands: names of fields stay.
type Finding struct {
	Severity Severity `json:"severity"`
	// Subject is what was examined, such as "zone example.com." or a line of the Corefile. It is empty where the problem
	// names it.
	Subject string `json:"subject"`
	// Problem is what was found and what follows from it. Of a finding that is OK it is what was confirmed.
	Problem string `json:"problem"`
	// ClientError is what clients show because of the problem. It is empty where they show nothing.
	ClientError string `json:"client_error,omitempty"`
	// Fix is what the administrator can do about the problem.
	Fix string `json:"fix,omitempty"`
}

// String returns the finding in one line, for a log.
func (f Finding) String() string {
	text := f.Problem
	if f.Subject != "" {
		text = f.Subject + ": " + text
	}
	if f.ClientError != "" {
		text += ". Clients show: " + f.ClientError
	}
	return withFix(text, f.Fix)
}

// Write writes findings for a terminal: each begins with its severity, and what clients show and the fix have lines of their
// own.
func Write(w io.Writer, findings []Finding) error {
	var text strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&text, "%-8s%s: %s\n", f.Severity, f.Subject, f.Problem)
		if f.ClientError != "" {
			fmt.Fprintf(&text, "        Clients show: %s\n", f.ClientError)
		}
		if f.Fix != "" {
			fmt.Fprintf(&text, "        %s%s\n", fixMark, f.Fix)
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// Failed reports whether any of the findings is an error.
func Failed(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Error })
}
