package policy

import "fmt"

// Mode says which updates a zone takes at all, before any rule is asked. The names are those of the
// Active Directory zone setting that it mirrors.
type Mode int

const (
	// Secure takes signed updates, as far as the rules allow them. It is the zero value, so that a
	// forgotten setting is the strict one.
	Secure Mode = iota
	// None takes no updates.
	None
	// NonsecureAndSecure takes signed updates as Secure does, and unsigned ones except to names
	// that a principal owns.
	NonsecureAndSecure
)

// ParseMode reads a mode as the Corefile writes it.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "secure":
		return Secure, nil
	case "none":
		return None, nil
	case "nonsecure-and-secure":
		return NonsecureAndSecure, nil
	}
	return Secure, fmt.Errorf("updates: unknown mode %q; the modes are none, secure, nonsecure-and-secure", s)
}

// String returns the word that ParseMode reads.
func (m Mode) String() string {
	switch m {
	case Secure:
		return "secure"
	case None:
		return "none"
	case NonsecureAndSecure:
		return "nonsecure-and-secure"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}
