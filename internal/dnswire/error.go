package dnswire

import (
	"errors"
	"fmt"
)

// An Error says what is wrong with a name or with rdata.
type Error struct {
	// Type is the type of the record, or 0 if it is not about rdata.
	Type uint16
	// Field is the field of the rdata by the name that its RFC gives it. It is
	// empty if the rdata as a whole is wrong.
	Field string
	// Reason is what is wrong. It holds no octets of the input that could break
	// a line of a log.
	Reason string
}

// Error returns type, field and reason, separated by colons.
func (e *Error) Error() string {
	text := e.Reason
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Type != 0 {
		text = TypeText(e.Type) + ": " + text
	}
	return text
}

// A reason is why a field is wrong. The caller adds type and field.
type reason string

func (r reason) Error() string { return string(r) }

func reasonf(format string, args ...any) error { return reason(fmt.Sprintf(format, args...)) }

var (
	errEndsEarly error = reason("ends early")
	errNoText    error = reason("missing")
)

// inField makes an [Error] of what a field's method returned.
func inField(rrtype uint16, field string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		// A name's own error.
		return &Error{Type: rrtype, Field: field, Reason: e.Reason}
	}
	return &Error{Type: rrtype, Field: field, Reason: err.Error()}
}

// Errors of messages.
var (
	// ErrHeader is a message that is shorter than its header (RFC 1035 section
	// 4.1.1).
	ErrHeader = errors.New("message ends within its header")
	// ErrTruncated is a message that ends before all the records that its header
	// counts.
	ErrTruncated = errors.New("message has fewer records than its header counts")
	// ErrTrailing is a message with octets after the last record that its header
	// counts.
	ErrTrailing = errors.New("octets after the last record")
)
