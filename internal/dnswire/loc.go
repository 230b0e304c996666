package dnswire

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// location is the rdata of LOC (RFC 1876 section 2). Octets of another version
// than 0 are opaque.
type location struct{}

const (
	locationSize = 16
	locEquator   = 1 << 31 // and the prime meridian
	locSea       = 10_000_000
	locDegree    = 3_600_000 // in thousandths of a second of arc
)

var locPrecisions = [3]string{"size", "horizontal precision", "vertical precision"}

func (location) check(rdata []byte, at int) (int, error) {
	switch {
	case at == len(rdata):
		return 0, errEndsEarly
	case rdata[at] != 0:
		return len(rdata), nil
	case at+locationSize > len(rdata):
		return 0, errEndsEarly
	}
	for i, b := range rdata[at+1 : at+4] {
		if b != 0 && (b>>4 == 0 || b>>4 > 9 || b&0xF > 9) {
			return 0, reasonf("%s: 0x%02x is not a digit and a power of ten", locPrecisions[i], b)
		}
	}
	if outOfArc(rdata[at+4:], 90) {
		return 0, reason("latitude: beyond a pole")
	}
	if outOfArc(rdata[at+8:], 180) {
		return 0, reason("longitude: above 180 degrees")
	}
	return at + locationSize, nil
}

// outOfArc reports whether an angle is more than that many degrees from 0.
func outOfArc(b []byte, degrees int64) bool {
	angle := int64(binary.BigEndian.Uint32(b)) - locEquator
	return angle > degrees*locDegree || angle < -degrees*locDegree
}

func (location) print(dst, rdata []byte, at, _ int) ([]byte, bool) {
	if rdata[at] != 0 {
		return dst, false
	}
	dst = append(appendArc(dst, rdata[at+4:], 'N', 'S'), ' ')
	dst = append(appendArc(dst, rdata[at+8:], 'E', 'W'), ' ')
	altitude := int64(binary.BigEndian.Uint32(rdata[at+12:])) - locSea
	if altitude < 0 {
		dst = append(dst, '-')
		altitude = -altitude
	}
	dst = appendMetres(dst, altitude)
	for _, b := range rdata[at+1 : at+4] {
		centimetres := int64(b >> 4)
		for range b & 0xF {
			centimetres *= 10
		}
		dst = appendMetres(append(dst, ' '), centimetres)
	}
	return dst, true
}

func appendArc(dst, b []byte, positive, negative byte) []byte {
	angle := int64(binary.BigEndian.Uint32(b)) - locEquator
	direction := positive
	if angle < 0 {
		direction = negative
		angle = -angle
	}
	dst = strconv.AppendInt(dst, angle/locDegree, 10)
	dst = strconv.AppendInt(append(dst, ' '), angle/60_000%60, 10)
	dst = strconv.AppendInt(append(dst, ' '), angle/1000%60, 10)
	thousandths := angle % 1000
	dst = append(dst, '.', byte('0'+thousandths/100), byte('0'+thousandths/10%10), byte('0'+thousandths%10))
	return append(dst, ' ', direction)
}

func appendMetres(dst []byte, centimetres int64) []byte {
	dst = strconv.AppendInt(dst, centimetres/100, 10)
	if centimetres %= 100; centimetres != 0 {
		dst = append(dst, '.', byte('0'+centimetres/10), byte('0'+centimetres%10))
	}
	return append(dst, 'm')
}

// read reads the form of RFC 1876 section 3. Minutes, seconds and the three
// precisions may be missing.
func (location) read(r *reader, rdata []byte) ([]byte, error) {
	latitude, err := readArc(r, "N", "S", 90)
	if err != nil {
		return rdata, reasonf("latitude: %s", err)
	}
	longitude, err := readArc(r, "E", "W", 180)
	if err != nil {
		return rdata, reasonf("longitude: %s", err)
	}
	text, err := r.word()
	if err != nil {
		return rdata, reasonf("altitude: %s", err)
	}
	digits, negative := strings.CutPrefix(text, "-")
	altitude, err := parseMetres(digits)
	if negative {
		altitude = -altitude
	}
	if altitude += locSea; err != nil || altitude < 0 || altitude > 1<<32-1 {
		return rdata, reason("altitude: not metres from -100000 to 42849672.95")
	}
	precisions := [3]byte{0x12, 0x16, 0x13}
	for i := range precisions {
		if !r.left() {
			break
		}
		if precisions[i], err = readPrecision(r); err != nil {
			return rdata, reasonf("%s: %s", locPrecisions[i], err)
		}
	}
	rdata = append(append(rdata, 0), precisions[:]...)
	rdata = binary.BigEndian.AppendUint32(rdata, latitude)
	rdata = binary.BigEndian.AppendUint32(rdata, longitude)
	return binary.BigEndian.AppendUint32(rdata, uint32(altitude)), nil
}

// readArc reads degrees, minutes and seconds, and on which side of 0 they are.
func readArc(r *reader, positive, negative string, degrees int64) (uint32, error) {
	var angle int64
	for unit := int64(locDegree); ; unit /= 60 {
		text, err := r.word()
		if err != nil {
			return 0, err
		}
		if unit < locDegree && (strings.EqualFold(text, positive) || strings.EqualFold(text, negative)) {
			if strings.EqualFold(text, negative) {
				angle = -angle
			}
			if angle > degrees*locDegree || angle < -degrees*locDegree {
				return 0, reasonf("more than %d degrees", degrees)
			}
			return uint32(angle + locEquator), nil
		}
		most := int64(59)
		if unit == locDegree {
			most = degrees
		}
		whole, fraction, dot := strings.Cut(text, ".")
		value, err := parseUint(whole, uint64(most))
		if err != nil {
			return 0, err
		}
		angle += int64(value) * unit
		switch {
		case unit < 1000:
			return 0, reasonf("no %s or %s after the seconds", positive, negative)
		case unit == 1000:
			thousandths, err := parseFraction(fraction, 3)
			if err != nil {
				return 0, err
			}
			angle += thousandths
		case dot:
			return 0, reason("not a whole number")
		}
	}
}

// parseFraction reads digits after a point as a number of that many digits. Of
// more digits, the rest is cut off.
func parseFraction(text string, digits int) (int64, error) {
	var value int64
	for i := range max(digits, len(text)) {
		digit := byte('0')
		if i < len(text) {
			digit = text[i]
		}
		if !isDigit(digit) {
			return 0, reason("not a number")
		}
		if i < digits {
			value = value*10 + int64(digit-'0')
		}
	}
	return value, nil
}

// parseMetres reads metres, with up to two digits after the point, and returns
// centimetres.
func parseMetres(text string) (int64, error) {
	text, _ = strings.CutSuffix(text, "m")
	whole, fraction, _ := strings.Cut(text, ".")
	value, err := parseUint(whole, 90_000_000)
	if err != nil {
		return 0, err
	}
	if len(fraction) > 2 {
		return 0, reason("more than two digits after the point")
	}
	centimetres, err := parseFraction(fraction, 2)
	return int64(value)*100 + centimetres, err
}

// readPrecision reads a size or precision. What has more digits than the form on
// the wire is rounded down.
func readPrecision(r *reader) (byte, error) {
	text, err := r.word()
	if err != nil {
		return 0, err
	}
	centimetres, err := parseMetres(text)
	if err != nil {
		return 0, err
	}
	power := byte(0)
	for centimetres > 9 {
		centimetres /= 10
		power++
	}
	return byte(centimetres)<<4 | power, nil
}
