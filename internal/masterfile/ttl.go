package masterfile

import "math"

// maxTTL is the longest TTL (RFC 2181 section 8). A longer one counts as 0.
const maxTTL = math.MaxInt32

// parseTTL reads a TTL in seconds, or as a sum of numbers with units: 1h30m.
// Units are weeks, days, hours, minutes and seconds, in any order and case. A
// TTL that does not fit 32 bits is none.
func parseTTL(text string) (uint32, bool) {
	var total, number uint64
	digits := false
	for i := range len(text) {
		c := text[i]
		if c >= '0' && c <= '9' {
			number = number*10 + uint64(c-'0')
			if number > math.MaxUint32 {
				return 0, false
			}
			digits = true
			continue
		}
		unit, ok := ttlUnits[c|0x20]
		if !digits || !ok {
			return 0, false
		}
		total += number * unit
		if total > math.MaxUint32 {
			return 0, false
		}
		number, digits = 0, false
	}
	switch {
	case text == "":
		return 0, false
	case !digits: // ended with a unit
		return uint32(total), true
	case total != 0: // 1h30
		return 0, false
	}
	return uint32(number), true
}

var ttlUnits = map[byte]uint64{'w': 7 * 86400, 'd': 86400, 'h': 3600, 'm': 60, 's': 1}

// isNumber tells whether a word has nothing but digits.
func isNumber(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}
