package dnswire

import "slices"

// maxString is the length of the longest character string (RFC 1035 section
// 3.3).
const maxString = 255

// characterString is a length octet and that many octets (RFC 1035 section
// 3.3). It is printed in quotes.
type characterString struct{}

func (characterString) check(rdata []byte, at int) (int, error) {
	if at == len(rdata) {
		return 0, errEndsEarly
	}
	return fixed(rdata, at, 1+int(rdata[at]))
}

func (characterString) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return appendQuoted(dst, rdata[at+1:end]), true
}

func (characterString) read(r *reader, rdata []byte) ([]byte, error) {
	token, ok := r.next()
	if !ok {
		return rdata, errNoText
	}
	return appendString(rdata, token.Text)
}

// appendString appends text, without its escapes, as a character string.
func appendString(rdata []byte, text string) ([]byte, error) {
	at := len(rdata)
	rdata, err := appendUnescaped(append(rdata, 0), text)
	if err != nil {
		return rdata, err
	}
	n := len(rdata) - at - 1
	if n > maxString {
		return rdata, reason("more than 255 octets")
	}
	rdata[at] = byte(n)
	return rdata, nil
}

// appendUnescaped appends the octets that text stands for.
func appendUnescaped(dst []byte, text string) ([]byte, error) {
	for i := 0; i < len(text); {
		b, n := unescape(text[i:])
		if n == 0 {
			return dst, errEscape
		}
		dst = append(dst, b)
		i += n
	}
	return dst, nil
}

// appendQuoted appends octets in quotes, with the escapes of RFC 1035 section
// 5.1. In quotes, only the quote and the backslash have a meaning.
func appendQuoted(dst, octets []byte) []byte {
	dst = append(dst, '"')
	for _, b := range octets {
		if b == '"' || b == '\\' {
			dst = append(dst, '\\')
		}
		dst = appendOctet(dst, b)
	}
	return append(dst, '"')
}

// digitString is a character string of digits (RFC 1183 section 3.1: at least
// the four of the data network identification code).
type digitString struct{ characterString }

func (f digitString) check(rdata []byte, at int) (int, error) {
	end, err := f.characterString.check(rdata, at)
	switch {
	case err != nil:
		return 0, err
	case end-at-1 < 4:
		return 0, reason("less than 4 digits")
	}
	for _, b := range rdata[at+1 : end] {
		if !isDigit(b) {
			return 0, reasonf("octet 0x%02x is not a digit", b)
		}
	}
	return end, nil
}

// propertyTag is the tag of CAA (RFC 8659 section 4.1): a character string of
// ASCII letters and digits, not empty. It is printed without quotes.
type propertyTag struct{ characterString }

func (f propertyTag) check(rdata []byte, at int) (int, error) {
	end, err := f.characterString.check(rdata, at)
	switch {
	case err != nil:
		return 0, err
	case end == at+1:
		return 0, reason("empty")
	}
	for _, b := range rdata[at+1 : end] {
		if !isDigit(b) && (lower(b) < 'a' || lower(b) > 'z') {
			return 0, reasonf("octet 0x%02x is not a letter or digit", b)
		}
	}
	return end, nil
}

func (propertyTag) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return append(dst, rdata[at+1:end]...), true
}

// text is text without a length, to the end of the rdata, as in URI (RFC 7553
// section 4.5) and CAA (RFC 8659 section 4.1).
type text struct{}

func (text) check(rdata []byte, _ int) (int, error) { return len(rdata), nil }

func (text) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return appendQuoted(dst, rdata[at:end]), true
}

func (text) read(r *reader, rdata []byte) ([]byte, error) {
	token, ok := r.next()
	if !ok {
		return rdata, errNoText
	}
	return appendUnescaped(slices.Grow(rdata, len(token.Text)), token.Text)
}
