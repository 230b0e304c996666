package dnswire

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// validDoHPath reports whether value is the path of a DNS server by HTTPS (RFC
// 9461 section 5): a URI template (RFC 6570) in UTF-8 that is relative to the
// origin and has the variable "dns".
func validDoHPath(value []byte) bool {
	if !utf8.Valid(value) || !bytes.HasPrefix(value, []byte("/")) {
		return false
	}
	found := false
	for rest := string(value); rest != ""; {
		switch rest[0] {
		case '{':
			expression, after, ok := strings.Cut(rest[1:], "}")
			if !ok {
				return false
			}
			dns, ok := templateExpression(expression)
			if !ok {
				return false
			}
			found = found || dns
			rest = after
		case '%':
			if !percentEncoded(rest) {
				return false
			}
			rest = rest[3:]
		default:
			rest = rest[1:]
		}
	}
	return found
}

// templateExpression reports whether text, between braces, is an expression
// (RFC 6570 section 2.2), and whether it has the variable "dns". As by BIND,
// operators that are reserved and dots in names of variables are refused, and an
// operator may be before each variable, unless a length is before that.
func templateExpression(text string) (dns, ok bool) {
	afterLength := false
	for name := range strings.SplitSeq(text, ",") {
		if !afterLength && name != "" && strings.IndexByte("+#./;?&", name[0]) >= 0 {
			name = name[1:]
		}
		var length string
		if name, length, afterLength = strings.Cut(name, ":"); afterLength {
			if n, err := parseUint(length, 9999); err != nil || n == 0 || length[0] == '0' {
				return false, false
			}
		} else {
			name, _ = strings.CutSuffix(name, "*")
		}
		if !templateVariable(name) {
			return false, false
		}
		dns = dns || name == "dns"
	}
	return dns, true
}

// templateVariable reports whether name is one of a variable (RFC 6570 section
// 2.3).
func templateVariable(name string) bool {
	for i := 0; i < len(name); i++ {
		switch b := lower(name[i]); {
		case b == '%':
			if !percentEncoded(name[i:]) {
				return false
			}
			i += 2
		case b != '_' && !isDigit(b) && (b < 'a' || b > 'z'):
			return false
		}
	}
	return name != ""
}

// percentEncoded reports whether text begins with "%" and two hexadecimal
// digits.
func percentEncoded(text string) bool {
	isHex := func(b byte) bool { return isDigit(b) || 'a' <= lower(b) && lower(b) <= 'f' }
	return len(text) >= 3 && isHex(text[1]) && isHex(text[2])
}
