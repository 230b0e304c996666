package dnswire

// Limits of names (RFC 1035 section 2.3.4), in octets.
const (
	// MaxName is the length of the longest name, with all length octets.
	MaxName = 255
	// MaxLabel is the length of the longest label, without its length octet.
	MaxLabel = 63
)

// maxLabels is how many labels the longest name has, with the root's.
const maxLabels = 128

// headerLen is the length of a message's header (RFC 1035 section 4.1.1). No
// name can begin within it.
const headerLen = 12

var (
	errNameLong    = &Error{Reason: "name of more than 255 octets"}
	errNameEnds    = &Error{Reason: "name ends early"}
	errNamePointer = &Error{Reason: "compression pointer that does not point backwards to a name"}
	errNameLabel   = &Error{Reason: "label type that is not assigned"}
	errNamePacked  = &Error{Reason: "compressed name"}
)

// NameLen returns the length of the uncompressed name that b begins with, or 0
// if b does not begin with one.
func NameLen(b []byte) int {
	for i := 0; i < len(b) && i < MaxName; {
		label := int(b[i])
		if label == 0 {
			return i + 1
		}
		if label > MaxLabel {
			return 0
		}
		i += 1 + label
	}
	return 0
}

// nameFault says why NameLen returned 0.
func nameFault(b []byte) error {
	for i := 0; i < len(b); {
		switch label := int(b[i]); {
		case i >= MaxName:
			return errNameLong
		case label >= 0xC0:
			return errNamePacked
		case label > MaxLabel:
			return errNameLabel
		default:
			i += 1 + label
		}
	}
	return errNameEnds
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + ('a' - 'A')
	}
	return b
}

// EqualNames reports whether two names are the same: ASCII letters are compared
// without case (RFC 4343 section 3).
func EqualNames(a, b []byte) bool {
	// A length octet is at most 63 and never a letter.
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// CompareNames orders two whole names canonically (RFC 4034 section 6.1).
func CompareNames(a, b []byte) int {
	var startsA, startsB [maxLabels]uint8
	labelsA, labelsB := labels(a, &startsA), labels(b, &startsB)
	for i := 1; i <= labelsA && i <= labelsB; i++ {
		if c := compareLabels(a[startsA[labelsA-i]:], b[startsB[labelsB-i]:]); c != 0 {
			return c
		}
	}
	return labelsA - labelsB
}

// labels notes where the labels of a name begin, without the root, and returns
// how many there are.
func labels(name []byte, starts *[maxLabels]uint8) int {
	n := 0
	for i := 0; i < len(name) && i < MaxName && name[i] != 0 && n < maxLabels; i += 1 + int(name[i]) {
		starts[n] = uint8(i)
		n++
	}
	return n
}

// compareLabels orders the labels that a and b begin with.
func compareLabels(a, b []byte) int {
	lenA, lenB := min(int(a[0]), len(a)-1), min(int(b[0]), len(b)-1)
	for i := 1; i <= lenA && i <= lenB; i++ {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return lenA - lenB
}

// AppendLower appends a name, or other octets, with ASCII letters in lower
// case: the canonical form of a name (RFC 4034 section 6.2).
func AppendLower(dst, name []byte) []byte {
	at := len(dst)
	dst = append(dst, name...)
	for i, b := range dst[at:] {
		dst[at+i] = lower(b)
	}
	return dst
}

// IsSubdomain reports whether name is parent or below it. Both are whole names.
func IsSubdomain(name, parent []byte) bool {
	for i := 0; len(name)-i >= len(parent); i += 1 + int(name[i]) {
		if len(name)-i == len(parent) {
			return EqualNames(name[i:], parent)
		}
	}
	return false
}

// UnpackName appends the name at off in a message to dst, uncompressed and in
// the case in which it is there, and returns the offset after it. Compression
// pointers (RFC 1035 section 4.1.4) must point before everything that was read
// of the name so far, and not into the header, so that reading ends. The error
// is an [*Error]; dst is then unchanged.
func UnpackName(dst, msg []byte, off int) (name []byte, next int, err error) {
	start := len(dst)
	lowest := off
	for {
		if off < 0 || off >= len(msg) {
			return dst[:start], 0, errNameEnds
		}
		switch c := int(msg[off]); {
		case c <= MaxLabel:
			if off+1+c > len(msg) {
				return dst[:start], 0, errNameEnds
			}
			if len(dst)-start+1+c > MaxName {
				return dst[:start], 0, errNameLong
			}
			dst = append(dst, msg[off:off+1+c]...)
			off += 1 + c
			if c != 0 {
				continue
			}
			if next == 0 {
				next = off
			}
			return dst, next, nil
		case c >= 0xC0:
			if off+2 > len(msg) {
				return dst[:start], 0, errNameEnds
			}
			target := (c&0x3F)<<8 | int(msg[off+1])
			if target >= lowest || target < headerLen {
				return dst[:start], 0, errNamePointer
			}
			if next == 0 {
				next = off + 2
			}
			lowest, off = target, target
		default:
			return dst[:start], 0, errNameLabel
		}
	}
}

// SkipName returns the offset after the name at off in a message without
// following compression. The error is an [*Error].
func SkipName(msg []byte, off int) (next int, err error) {
	for length := 0; off >= 0 && off < len(msg); {
		switch c := int(msg[off]); {
		case c == 0:
			return off + 1, nil
		case c <= MaxLabel:
			if length += 1 + c; length >= MaxName {
				return 0, errNameLong
			}
			off += 1 + c
		case c >= 0xC0:
			if off+2 > len(msg) {
				return 0, errNameEnds
			}
			return off + 2, nil
		default:
			return 0, errNameLabel
		}
	}
	return 0, errNameEnds
}
