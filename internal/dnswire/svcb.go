package dnswire

import (
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// serviceParameters are the SvcParams of SVCB and HTTPS (RFC 9460 section 2.2),
// to the end of the rdata. AliasMode should have none, but a recipient must
// ignore them (section 2.4.2).
type serviceParameters struct{}

// Keys of parameters (RFC 9460 section 14.3.2).
const (
	keyMandatory     = 0
	keyALPN          = 1
	keyNoDefaultALPN = 2
	keyPort          = 3
	keyIPv4Hint      = 4
	keyECH           = 5
	keyIPv6Hint      = 6
	keyDoHPath       = 7
	keyTLSGroups     = 9 // draft-ietf-tls-key-share-prediction
)

// keyWords are the names of keys that are read. Of those, the first seven are
// printed, which BIND 9.18 prints too.
var keyWords = []string{
	"mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp", "tls-supported-groups",
}

const printedKeyWords = 7

// genericKey and a number are a key's name that needs no registration.
const genericKey = "key"

// A serviceParameter is one parameter.
type serviceParameter struct {
	key   uint16
	value []byte
}

// cutParameter cuts the first parameter from data. It reports false if data ends
// before.
func cutParameter(data []byte) (p serviceParameter, rest []byte, ok bool) {
	if len(data) < 4 {
		return p, nil, false
	}
	p.key = binary.BigEndian.Uint16(data)
	n := int(binary.BigEndian.Uint16(data[2:]))
	if n > len(data)-4 {
		return p, nil, false
	}
	p.value = data[4 : 4+n]
	return p, data[4+n:], true
}

func (serviceParameters) check(rdata []byte, at int) (int, error) {
	var mandatory []byte // keys that must follow
	last, alpn := -1, false
	for data := rdata[at:]; len(data) > 0; {
		p, rest, ok := cutParameter(data)
		if !ok {
			return 0, errEndsEarly
		}
		if int(p.key) <= last {
			return 0, reason("keys out of order")
		}
		last = int(p.key)
		if why := p.fault(); why != "" {
			return 0, reasonf("%s: %s", keyText(p.key), why)
		}
		switch p.key {
		case keyMandatory:
			mandatory = p.value
		case keyALPN:
			alpn = true
		case keyNoDefaultALPN:
			if !alpn {
				return 0, reason("no-default-alpn without alpn")
			}
		}
		// The keys are in order in both lists.
		if p.key != keyMandatory && len(mandatory) > 0 && binary.BigEndian.Uint16(mandatory) == p.key {
			mandatory = mandatory[2:]
		}
		data = rest
	}
	if len(mandatory) > 0 {
		return 0, reasonf("mandatory: %s is missing", keyText(binary.BigEndian.Uint16(mandatory)))
	}
	return len(rdata), nil
}

// fault returns what is wrong with the parameter's value, or nothing.
func (p serviceParameter) fault() string {
	n := len(p.value)
	switch p.key {
	case keyMandatory:
		if n == 0 || n%2 != 0 {
			return "not a list of keys"
		}
		last := -1
		for keys := p.value; len(keys) > 0; keys = keys[2:] {
			key := int(binary.BigEndian.Uint16(keys))
			if key == keyMandatory {
				return "names itself"
			}
			if key <= last {
				return "keys out of order"
			}
			last = key
		}
	case keyALPN:
		if n == 0 {
			return "empty"
		}
		for ids := p.value; len(ids) > 0; ids = ids[1+int(ids[0]):] {
			if ids[0] == 0 || int(ids[0]) >= len(ids) {
				return "protocol that is empty or ends early"
			}
		}
	case keyNoDefaultALPN:
		if n != 0 {
			return "has a value"
		}
	case keyPort:
		if n != 2 {
			return "not 2 octets"
		}
	case keyIPv4Hint:
		if n == 0 || n%4 != 0 {
			return "not IPv4 addresses"
		}
	case keyIPv6Hint:
		if n == 0 || n%16 != 0 {
			return "not IPv6 addresses"
		}
	case keyDoHPath:
		if !validDoHPath(p.value) {
			return `not a relative URI template with the variable "dns"`
		}
	}
	return ""
}

func keyText(key uint16) string {
	if int(key) < printedKeyWords {
		return keyWords[key]
	}
	return genericKey + strconv.Itoa(int(key))
}

func (serviceParameters) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	first := true
	for data := rdata[at:end]; len(data) > 0; {
		p, rest, _ := cutParameter(data)
		if !first {
			dst = append(dst, ' ')
		}
		first = false
		dst = p.print(append(dst, keyText(p.key)...))
		data = rest
	}
	return dst, true
}

// print appends "=" and the value.
func (p serviceParameter) print(dst []byte) []byte {
	if len(p.value) == 0 {
		return dst
	}
	dst = append(dst, '=')
	switch p.key {
	case keyPort:
		return strconv.AppendUint(dst, uint64(binary.BigEndian.Uint16(p.value)), 10)
	case keyECH:
		return base64.StdEncoding.AppendEncode(dst, p.value)
	case keyMandatory, keyIPv4Hint, keyIPv6Hint:
		return p.printList(dst)
	case keyALPN:
		return appendQuoted(dst, alpnList(p.value))
	}
	return appendQuoted(dst, p.value)
}

// printList appends the keys or addresses that the value is a list of.
func (p serviceParameter) printList(dst []byte) []byte {
	size := 2
	switch p.key {
	case keyIPv4Hint:
		size = 4
	case keyIPv6Hint:
		size = 16
	}
	for i := 0; i < len(p.value); i += size {
		if i > 0 {
			dst = append(dst, ',')
		}
		if p.key == keyMandatory {
			dst = append(dst, keyText(binary.BigEndian.Uint16(p.value[i:]))...)
			continue
		}
		address, _ := netip.AddrFromSlice(p.value[i : i+size])
		dst = address.AppendTo(dst)
	}
	return dst
}

// alpnList returns the protocols as the list of RFC 9460 appendix A.1: with
// commas between them, and a backslash before a comma or backslash of theirs.
func alpnList(ids []byte) []byte {
	var list []byte
	for len(ids) > 0 {
		if list != nil {
			list = append(list, ',')
		}
		for _, b := range ids[1 : 1+int(ids[0])] {
			if b == ',' || b == '\\' {
				list = append(list, '\\')
			}
			list = append(list, b)
		}
		ids = ids[1+int(ids[0]):]
	}
	return list
}

// read reads the parameters in any order (RFC 9460 section 2.1).
func (serviceParameters) read(r *reader, rdata []byte) ([]byte, error) {
	var parameters []serviceParameter
	for r.left() {
		token, _ := r.next()
		word, text, _ := strings.Cut(token.Text, "=")
		if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
			text = text[1 : len(text)-1]
		}
		key, ok := parseKey(word)
		if !ok {
			return rdata, reason("word that is not a key")
		}
		var value []byte
		var err error
		if strings.HasPrefix(word, genericKey) {
			value, err = appendUnescaped(nil, text) // the octets, also of a key that has a name (RFC 9460 section 2.1)
		} else {
			value, err = parseValue(key, text)
		}
		if err != nil {
			return rdata, reasonf("%s: %s", keyText(key), err)
		}
		if len(value) > maxRdata {
			return rdata, errRdataLong
		}
		parameters = append(parameters, serviceParameter{key, value})
	}
	slices.SortStableFunc(parameters, func(a, b serviceParameter) int { return int(a.key) - int(b.key) })
	for _, p := range parameters {
		rdata = binary.BigEndian.AppendUint16(rdata, p.key)
		rdata = binary.BigEndian.AppendUint16(rdata, uint16(len(p.value)))
		rdata = append(rdata, p.value...)
	}
	return rdata, nil
}

func parseKey(word string) (uint16, bool) {
	if i := slices.Index(keyWords, strings.ToLower(word)); i >= 0 {
		return uint16(i), true
	}
	digits, ok := strings.CutPrefix(word, genericKey)
	if !ok || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	n, err := parseUint(digits, 0xFFFF)
	return uint16(n), err == nil
}

func parseValue(key uint16, text string) ([]byte, error) {
	value, err := appendUnescaped(nil, text)
	if err != nil || key > keyIPv6Hint && key != keyTLSGroups {
		return value, err
	}
	text = string(value)
	value = nil
	switch key {
	case keyNoDefaultALPN:
		return []byte(text), nil // checked with the whole
	case keyPort:
		return appendNumber(nil, text, 2)
	case keyECH:
		return appendBase64(nil, text)
	case keyALPN:
		return parseALPN(text)
	}
	for item := range strings.SplitSeq(text, ",") {
		switch key {
		case keyMandatory:
			k, ok := parseKey(item)
			if !ok {
				return nil, reason("word that is not a key")
			}
			value = binary.BigEndian.AppendUint16(value, k)
		case keyTLSGroups:
			if value, err = appendNumber(value, item, 2); err != nil {
				return nil, err
			}
		case keyIPv4Hint:
			address, err := netip.ParseAddr(item)
			if err != nil || !address.Is4() {
				return nil, reasonf("%.64q is not an IPv4 address", item)
			}
			value = append(value, address.AsSlice()...)
		case keyIPv6Hint:
			if value, err = appendIPv6(value, item); err != nil {
				return nil, err
			}
		}
	}
	if key == keyMandatory {
		value = sortKeys(value)
	}
	return value, nil
}

// sortKeys sorts the keys of mandatory, which may be written in any order.
func sortKeys(value []byte) []byte {
	keys := make([]uint16, 0, len(value)/2)
	for i := 0; i < len(value); i += 2 {
		keys = append(keys, binary.BigEndian.Uint16(value[i:]))
	}
	slices.Sort(keys)
	value = value[:0]
	for _, key := range keys {
		value = binary.BigEndian.AppendUint16(value, key)
	}
	return value
}

// parseALPN reads the list that alpnList makes.
func parseALPN(list string) ([]byte, error) {
	value, at := []byte{0}, 0
	for i := 0; i <= len(list); i++ {
		switch {
		case i == len(list), list[i] == ',':
			n := len(value) - at - 1
			if n == 0 || n > maxString {
				return nil, reason("protocol that is empty or longer than 255 octets")
			}
			value[at] = byte(n)
			if i < len(list) {
				at = len(value)
				value = append(value, 0)
			}
		case list[i] == '\\' && i+1 < len(list):
			i++
			value = append(value, list[i])
		default:
			value = append(value, list[i])
		}
	}
	return value, nil
}
