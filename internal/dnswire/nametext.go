package dnswire

// AppendNameText appends a name in presentation form (RFC 1035 section 5.1),
// absolute, with \X before the characters that mean something in a master file
// and \DDD for what is not printable ASCII. It prints as miekg/dns does. name
// must begin with a whole name; of what does not, the root is printed.
func AppendNameText(dst, name []byte) []byte {
	n := NameLen(name)
	if n <= 1 {
		return append(dst, '.')
	}
	for i := 0; name[i] != 0; i += 1 + int(name[i]) {
		for _, b := range name[i+1 : i+1+int(name[i])] {
			switch b {
			case '.', ' ', '\'', '@', ';', '(', ')', '"', '\\':
				dst = append(dst, '\\', b)
			default:
				dst = appendOctet(dst, b)
			}
		}
		dst = append(dst, '.')
	}
	return dst
}

// appendOctet appends an octet, as \DDD if it is not printable ASCII.
func appendOctet(dst []byte, b byte) []byte {
	if b < ' ' || b > '~' {
		return append(dst, '\\', '0'+b/100, '0'+b/10%10, '0'+b%10)
	}
	return append(dst, b)
}

// NameText returns what [AppendNameText] appends.
func NameText(name []byte) string {
	var buf [MaxName]byte
	return string(AppendNameText(buf[:0], name))
}

var (
	errNameEmpty    = &Error{Reason: "empty name"}
	errLabelEmpty   = &Error{Reason: "empty label"}
	errLabelLong    = &Error{Reason: "label of more than 63 octets"}
	errNameRelative = &Error{Reason: "relative name without an origin"}
	errEscape       = &Error{Reason: "backslash without a character or three digits up to 255 after it"}
)

// ParseName reads a name in presentation form (RFC 1035 section 5.1) with its
// escapes \X and \DDD. A name without a dot at its end is relative and is
// completed with origin, a whole name; "@" is the origin itself. With a nil
// origin, both are errors. The error is an [*Error].
func ParseName(text string, origin []byte) ([]byte, error) {
	var buf [MaxName]byte
	name, err := appendName(buf[:0], text, origin)
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(name)), name...), nil
}

// appendName appends what [ParseName] returns.
func appendName(dst []byte, text string, origin []byte) ([]byte, error) {
	switch text {
	case "":
		return dst, errNameEmpty
	case ".":
		return append(dst, 0), nil
	case "@":
		return appendOrigin(dst, len(dst), origin)
	}
	start := len(dst)
	label := len(dst) // where the label's length goes
	dst = append(dst, 0)
	for i := 0; i < len(text); {
		if text[i] == '.' {
			if len(dst) == label+1 {
				return dst, errLabelEmpty
			}
			dst[label] = byte(len(dst) - label - 1)
			label = len(dst)
			dst = append(dst, 0)
			i++
		} else {
			b, n := unescape(text[i:])
			if n == 0 {
				return dst, errEscape
			}
			dst = append(dst, b)
			i += n
			if len(dst)-label-1 > MaxLabel {
				return dst, errLabelLong
			}
		}
		if len(dst)-start > MaxName {
			return dst, errNameLong
		}
	}
	if len(dst) == label+1 {
		return dst, nil // the root's label is there already
	}
	dst[label] = byte(len(dst) - label - 1)
	return appendOrigin(dst, start, origin)
}

func appendOrigin(dst []byte, start int, origin []byte) ([]byte, error) {
	if len(origin) == 0 {
		return dst, errNameRelative
	}
	dst = append(dst, origin...)
	if len(dst)-start > MaxName {
		return dst, errNameLong
	}
	return dst, nil
}

// unescape returns the octet that text begins with, which may be written as \X
// or \DDD, and how many characters that takes. It takes none if there is no
// such octet.
func unescape(text string) (octet byte, n int) {
	if text[0] != '\\' {
		return text[0], 1
	}
	if len(text) < 2 {
		return 0, 0
	}
	if !isDigit(text[1]) {
		return text[1], 2
	}
	if len(text) < 4 || !isDigit(text[2]) || !isDigit(text[3]) {
		return 0, 0
	}
	value := int(text[1]-'0')*100 + int(text[2]-'0')*10 + int(text[3]-'0')
	if value > 255 {
		return 0, 0
	}
	return byte(value), 4
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
