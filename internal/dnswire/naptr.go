package dnswire

import "slices"

// substitution is the substitution expression of NAPTR (RFC 3402 section 3.2):
// empty, or a delimiter, an extended regular expression, the delimiter, the
// replacement, the delimiter, and the flag "i" or nothing.
type substitution struct{ characterString }

var errSubstitution error = reason("not a substitution expression")

func (f substitution) check(rdata []byte, at int) (int, error) {
	end, err := f.characterString.check(rdata, at)
	if err == nil && !validSubstitution(rdata[at+1:end]) {
		return 0, errSubstitution
	}
	return end, err
}

func validSubstitution(text []byte) bool {
	if len(text) == 0 {
		return true
	}
	delimiter := text[0]
	if delimiter == 0 || delimiter == '\\' || delimiter == 'i' || isDigit(delimiter) || slices.Contains(text, 0) {
		return false
	}
	ere, rest, ok := cutEscaped(text[1:], delimiter)
	if !ok {
		return false
	}
	replacement, flags, ok := cutEscaped(rest, delimiter)
	if !ok {
		return false
	}
	for _, b := range flags {
		if b != 'i' {
			return false
		}
	}
	reference := 0 // the highest in the replacement
	for i := 0; i < len(replacement); i++ {
		if replacement[i] != '\\' {
			continue
		}
		i++
		switch b := replacement[i]; {
		case b == '0':
			return false
		case isDigit(b):
			reference = max(reference, int(b-'0'))
		}
	}
	groups, ok := regexpGroups(ere)
	return ok && reference <= groups
}

// cutEscaped cuts text at the first delimiter that no backslash precedes.
func cutEscaped(text []byte, delimiter byte) (before, after []byte, found bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case delimiter:
			return text[:i], text[i+1:], true
		case '\\':
			i++
		}
	}
	return nil, nil, false
}

// regexpGroups reports whether ere is an extended regular expression of POSIX
// in the C locale, and how many groups it has. ere holds no zero octet.
func regexpGroups(ere []byte) (groups int, ok bool) {
	p := regexpParser{rest: ere}
	return p.groups, p.expression() && p.open == 0 && p.atom
}

type regexpParser struct {
	rest   []byte
	groups int
	open   int // groups that are not closed yet
	// atom tells that there is something before that a repetition may follow,
	// repeated that there was one.
	atom, repeated bool
	// emptyGroup tells that nothing but "(" has been there of a group.
	emptyGroup bool
	span       bracketRange
}

// take returns the next octet.
func (p *regexpParser) take() byte {
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

func (p *regexpParser) expression() bool {
	for len(p.rest) > 0 {
		switch b := p.take(); b {
		case '\\':
			if len(p.rest) == 0 {
				return false
			}
			if digit := p.take(); '1' <= digit && digit <= '9' && int(digit-'0') > p.groups {
				return false
			}
			p.atom, p.repeated = true, false
		case '[':
			if !p.bracket() {
				return false
			}
			p.atom, p.repeated = true, false
		case '(':
			p.groups++
			p.open++
			p.atom, p.repeated, p.emptyGroup = false, false, true
		case ')':
			if p.open > 0 {
				if !p.atom && !p.emptyGroup {
					return false
				}
				p.open--
			}
			p.atom, p.repeated = true, false
		case '|':
			if !p.atom {
				return false
			}
			p.atom, p.repeated, p.emptyGroup = false, false, false
		case '^', '$':
			p.atom, p.repeated = true, true
		case '+', '*', '?':
			if !p.atom || p.repeated {
				return false
			}
			p.repeated = true
		case '{':
			if len(p.rest) == 0 || !isDigit(p.rest[0]) {
				p.atom, p.repeated = true, false // a literal
				continue
			}
			if !p.atom || p.repeated || !p.bound() {
				return false
			}
			p.repeated = true
		default:
			p.atom, p.repeated = true, false
		}
	}
	return true
}

// bound reads what follows "{": one or two numbers up to 255, and "}".
func (p *regexpParser) bound() bool {
	var low, high int
	comma, highSeen := false, false
	for len(p.rest) > 0 {
		switch b := p.take(); {
		case b == '}':
			return !highSeen || low <= high
		case b == ',' && !comma:
			comma = true
		case isDigit(b) && comma:
			highSeen = true
			high = high*10 + int(b-'0')
		case isDigit(b):
			low = low*10 + int(b-'0')
		default:
			return false
		}
		if low > 255 || high > 255 {
			return false
		}
	}
	return false
}

// A bracketRange is how far a range "a-z" within brackets is read.
type bracketRange struct {
	// state is 2 after "-", 1 after the range's end, where no other "-" may
	// follow.
	state int
	from  int
}

func (r *bracketRange) down() {
	if r.state > 0 {
		r.state--
	}
}

// bracket reads what follows "[", to the "]" that ends it.
func (p *regexpParser) bracket() bool {
	p.span.state = 0
	negated, seen := false, false
	for len(p.rest) > 0 {
		b := p.take()
		switch {
		case b == ']' && seen:
			return true
		case b == '^' && !seen && !negated:
			negated = true
			continue
		case b == '-' && seen && p.span.state != 2:
			if p.span.state == 1 {
				return false
			}
			p.span.state = 2
			continue
		case b == '[':
			if !p.bracketClass() {
				return false
			}
		default:
			if p.span.state == 2 && int(b) < p.span.from {
				return false
			}
			p.span.down()
			p.span.from = int(b)
		}
		seen = true
	}
	return false
}

// bracketClass reads what follows "[" within brackets: a collating element
// "[.x.]", an equivalence class "[=x=]", a character class "[:alpha:]", or
// nothing of its own.
func (p *regexpParser) bracketClass() bool {
	if len(p.rest) == 0 {
		return false
	}
	kind := p.rest[0]
	switch kind {
	case '.':
		p.span.down()
	case '=', ':':
		if p.span.state == 2 {
			return false
		}
	default:
		return true
	}
	p.take()
	content := p.rest
	for i := 0; i+1 < len(content); i++ {
		if content[i] != kind || content[i+1] != ']' {
			continue
		}
		content, p.rest = content[:i], content[i+2:]
		switch {
		case kind == ':':
			return slices.Contains(characterClasses, string(content))
		case len(content) == 0:
			return false
		case kind == '.' && len(content) > 1:
			p.span.from = 256
		case kind == '.':
			// C compares a char, which has a sign.
			p.span.from = int(int8(content[0]))
		}
		return true
	}
	return false
}

var characterClasses = []string{
	"alnum", "digit", "punct", "alpha", "graph", "space", "blank", "lower", "upper", "cntrl", "print", "xdigit",
}
