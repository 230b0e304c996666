package dnswire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// A field is one field of a type's rdata.
type field struct {
	// name is the field's name in the RFC that defines the type, for errors.
	name string
	fieldType
	// repeat says how often the field is there.
	repeat repetition
}

type repetition uint8

const (
	once repetition = iota
	// optional fields may be missing at the end of the rdata.
	optional
	// anyNumber and oneOrMore fields go on to the end of the rdata.
	anyNumber
	oneOrMore
)

// A fieldType knows one form of a field, on the wire and as text. What a field
// holds may depend on octets of the rdata before it, at offsets that no
// compressed name can move.
type fieldType interface {
	// check returns where the field ends that begins at rdata[at:], or what is
	// wrong with it. at is at most len(rdata).
	check(rdata []byte, at int) (end int, err error)
	// print appends the text of rdata[at:end], which check took. It reports
	// false if there is no text that means these octets. It may append nothing.
	print(dst, rdata []byte, at, end int) ([]byte, bool)
	// read reads the field's text and appends its octets to rdata, which holds
	// the fields before it.
	read(r *reader, rdata []byte) ([]byte, error)
}

// A nameField is a field that may hold a name.
type nameField interface {
	fieldType
	// present reports whether a name is all that the field holds.
	present(rdata []byte, at int) bool
	// use says what the name is for.
	use() nameUse
}

// nameUse says how a name in rdata is treated.
type nameUse uint8

const (
	// folded names are compared without case, and are in lower case in the
	// canonical form of the rdata: those of the types that RFC 4034 section 6.2
	// lists, as RFC 6840 section 5.1 amends it.
	folded nameUse = 1 << iota
	// additional names are hosts whose addresses belong to an answer's
	// additional section.
	additional
)

// fixed returns where a field of size octets ends.
func fixed(rdata []byte, at, size int) (int, error) {
	if at+size > len(rdata) {
		return 0, errEndsEarly
	}
	return at + size, nil
}

// number is an unsigned number of 1, 2 or 4 octets. Its text is decimal; words
// may be read for it.
type number struct {
	octets int
	words  map[string]uint32 // in upper case
}

func (f number) check(rdata []byte, at int) (int, error) { return fixed(rdata, at, f.octets) }

func (f number) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return strconv.AppendUint(dst, uint64(beUint(rdata[at:end])), 10), true
}

func (f number) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	if value, ok := f.words[strings.ToUpper(text)]; ok {
		return appendUint(rdata, value, f.octets), nil
	}
	return appendNumber(rdata, text, f.octets)
}

func appendNumber(rdata []byte, text string, octets int) ([]byte, error) {
	value, err := parseUint(text, 1<<(8*octets)-1)
	if err != nil {
		return rdata, err
	}
	return appendUint(rdata, uint32(value), octets), nil
}

// beUint returns up to four octets as a number.
func beUint(b []byte) uint32 {
	var n uint32
	for _, octet := range b {
		n = n<<8 | uint32(octet)
	}
	return n
}

func appendUint(dst []byte, value uint32, octets int) []byte {
	for i := octets - 1; i >= 0; i-- {
		dst = append(dst, byte(value>>(8*i)))
	}
	return dst
}

// parseUint reads a decimal number of digits alone.
func parseUint(text string, most uint64) (uint64, error) {
	if text == "" || len(text) > 20 {
		return 0, reason("not a number")
	}
	for i := range len(text) {
		if !isDigit(text[i]) {
			return 0, reason("not a number")
		}
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil || value > most {
		return 0, reasonf("number above %d", most)
	}
	return value, nil
}

// duration is a number of seconds in 4 octets. It is printed as one number; the
// units w, d, h, m and s are read (as in "1h30m").
type duration struct{ number }

func (f duration) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	seconds, err := parseDuration(text)
	return binary.BigEndian.AppendUint32(rdata, seconds), err
}

// ParseTTL reads a TTL or an interval of an SOA as BIND writes it: seconds, or
// numbers with the units w, d, h, m and s, as in "1h30m".
func ParseTTL(text string) (uint32, error) {
	seconds, err := parseDuration(text)
	if err != nil {
		return 0, &Error{Field: "TTL", Reason: err.Error()}
	}
	return seconds, nil
}

func parseDuration(text string) (uint32, error) {
	if n, err := parseUint(text, 1<<32-1); err == nil {
		return uint32(n), nil
	}
	if text == "" {
		return 0, reason("not a number of seconds")
	}
	var sum uint64
	for text != "" {
		digits := 0
		for digits < len(text) && isDigit(text[digits]) {
			digits++
		}
		if digits == 0 || digits > 10 || digits == len(text) {
			return 0, reason("not a number of seconds, and not numbers with units")
		}
		value, err := parseUint(text[:digits], 1<<32-1)
		if err != nil {
			return 0, err
		}
		switch text[digits] | 0x20 {
		case 'w':
			value *= 7 * 24 * 3600
		case 'd':
			value *= 24 * 3600
		case 'h':
			value *= 3600
		case 'm':
			value *= 60
		case 's':
		default:
			return 0, reason("unit that is not w, d, h, m or s")
		}
		if sum += value; sum > 1<<32-1 {
			return 0, reasonf("number above %d", uint64(1<<32-1))
		}
		text = text[digits+1:]
	}
	return uint32(sum), nil
}

// typeCode is the number of a type of records. The type 0 may be refused.
type typeCode struct{ zero bool }

func (f typeCode) check(rdata []byte, at int) (int, error) {
	end, err := fixed(rdata, at, 2)
	if err == nil && !f.zero && beUint(rdata[at:end]) == 0 {
		return 0, reason("type 0")
	}
	return end, err
}

func (typeCode) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return appendType(dst, uint16(beUint(rdata[at:end]))), true
}

func (typeCode) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	rrtype, ok := parseNumberedType(text)
	if !ok {
		return rdata, reason("not a type")
	}
	return binary.BigEndian.AppendUint16(rdata, rrtype), nil
}

// ipv4 is an IPv4 address (RFC 1035 section 3.4.1).
type ipv4 struct{}

func (ipv4) check(rdata []byte, at int) (int, error) { return fixed(rdata, at, 4) }

func (ipv4) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return netip.AddrFrom4([4]byte(rdata[at:end])).AppendTo(dst), true
}

func (ipv4) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	address, err := netip.ParseAddr(text)
	if err != nil || !address.Is4() {
		return rdata, reasonf("%.64q is not an IPv4 address", text)
	}
	octets := address.As4()
	return append(rdata, octets[:]...), nil
}

// ipv6 is an IPv6 address (RFC 3596 section 2.2).
type ipv6 struct{}

func (ipv6) check(rdata []byte, at int) (int, error) { return fixed(rdata, at, 16) }

func (ipv6) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return netip.AddrFrom16([16]byte(rdata[at:end])).AppendTo(dst), true
}

func (ipv6) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	return appendIPv6(rdata, text)
}

func appendIPv6(rdata []byte, text string) ([]byte, error) {
	address, err := netip.ParseAddr(text)
	if err != nil || !address.Is6() || address.Zone() != "" {
		return rdata, reasonf("%.64q is not an IPv6 address", text)
	}
	octets := address.As16()
	return append(rdata, octets[:]...), nil
}

// domainName is a name (RFC 1035 section 3.3).
type domainName struct{ nameUse }

func (domainName) check(rdata []byte, at int) (int, error) {
	n := NameLen(rdata[at:])
	if n == 0 {
		return 0, nameFault(rdata[at:])
	}
	return at + n, nil
}

func (domainName) print(dst, rdata []byte, at, _ int) ([]byte, bool) {
	return AppendNameText(dst, rdata[at:]), true
}

func (domainName) read(r *reader, rdata []byte) ([]byte, error) {
	token, ok := r.next()
	if !ok {
		return rdata, errNoText
	}
	return appendName(rdata, token.Text, r.origin)
}

func (domainName) present([]byte, int) bool { return true }
func (f domainName) use() nameUse           { return f.nameUse }

// linkAddress is an EUI-48 or EUI-64 address (RFC 7043).
type linkAddress struct{ octets int }

func (f linkAddress) check(rdata []byte, at int) (int, error) { return fixed(rdata, at, f.octets) }

func (linkAddress) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return appendGroups(dst, rdata[at:end], 1, '-'), true
}

func (f linkAddress) read(r *reader, rdata []byte) ([]byte, error) {
	return readGroups(r, rdata, f.octets, 1, "-")
}

// locator64 is a node identifier or locator of 64 bits (RFC 6742 sections 2.1
// and 2.3).
type locator64 struct{}

func (locator64) check(rdata []byte, at int) (int, error) { return fixed(rdata, at, 8) }

func (locator64) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return appendGroups(dst, rdata[at:end], 2, ':'), true
}

func (locator64) read(r *reader, rdata []byte) ([]byte, error) {
	return readGroups(r, rdata, 8, 2, ":")
}

// appendGroups appends octets in hexadecimal, with a separator after every
// group of size octets.
func appendGroups(dst, octets []byte, size int, separator byte) []byte {
	for i, b := range octets {
		if i != 0 && i%size == 0 {
			dst = append(dst, separator)
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&0xF])
	}
	return dst
}

// readGroups reads what appendGroups prints. Leading zeros of a group may be
// missing.
func readGroups(r *reader, rdata []byte, octets, size int, separator string) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	groups := 0
	for group := range strings.SplitSeq(text, separator) {
		value, err := strconv.ParseUint(group, 16, 8*size)
		if err != nil || len(group) > 2*size {
			return rdata, reasonf("not groups of %d hexadecimal digits", 2*size)
		}
		rdata = appendUint(rdata, uint32(value), size)
		groups++
	}
	if groups*size != octets {
		return rdata, reasonf("not %d groups", octets/size)
	}
	return rdata, nil
}
