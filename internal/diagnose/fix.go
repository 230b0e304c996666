package diagnose

import (
	"errors"
	"fmt"
	"strings"
)

// fixMark introduces advice in every message.
const fixMark = "Fix: "

func withFix(text, fix string) string {
	if fix == "" {
		return text
	}
	return sentence(text) + " " + fixMark + fix
}

// sentence ends a text with a full stop. The final dot of a domain name is one already.
func sentence(text string) string {
	if strings.HasSuffix(text, ".") && !strings.HasSuffix(text, " .") {
		return text
	}
	return text + "."
}

// fixableError is an error with advice.
type fixableError struct {
	error
	fix string
}

func (e *fixableError) Error() string { return withFix(e.error.Error(), e.fix) }
func (e *fixableError) Unwrap() error { return e.error }

// WithFix adds advice to an error. The text of the error ends with it, also after the error was wrapped by a prefix.
func WithFix(err error, format string, args ...any) error {
	return &fixableError{err, fmt.Sprintf(format, args...)}
}

// FromError makes a finding of severity Error from an error. The advice of WithFix becomes the finding's fix.
func FromError(subject string, err error) Finding {
	f := Finding{Severity: Error, Subject: subject, Problem: err.Error()}
	var fixable *fixableError
	if errors.As(err, &fixable) {
		if problem, ok := strings.CutSuffix(f.Problem, " "+fixMark+fixable.fix); ok {
			if text := fixable.error.Error(); sentence(text) != text {
				problem = strings.TrimSuffix(problem, ".")
			}
			f.Problem, f.Fix = problem, fixable.fix
		}
	}
	f.Problem = strings.TrimPrefix(f.Problem, subject+": ")
	return f
}
