package dnswire

import "slices"

// typeBitmap is a set of types in windows (RFC 4034 section 4.1.2), to the end
// of the rdata.
type typeBitmap struct{ emptyAllowed bool }

// maxWindow is the length of a window's longest bitmap.
const maxWindow = 32

func (f typeBitmap) check(rdata []byte, at int) (int, error) {
	if at == len(rdata) && !f.emptyAllowed {
		return 0, reason("empty")
	}
	last := -1
	for at < len(rdata) {
		if at+2 > len(rdata) {
			return 0, errEndsEarly
		}
		window, n := int(rdata[at]), int(rdata[at+1])
		at += 2
		switch {
		case window <= last:
			return 0, reason("windows out of order")
		case n == 0 || n > maxWindow:
			return 0, reasonf("window of %d octets", n)
		case at+n > len(rdata):
			return 0, errEndsEarly
		case rdata[at+n-1] == 0:
			return 0, reason("window that ends with a zero octet")
		}
		last = window
		at += n
	}
	return at, nil
}

func (typeBitmap) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	start := len(dst)
	for at < end {
		window, n := int(rdata[at]), int(rdata[at+1])
		dst = appendTypes(dst, start, rdata[at+2:at+2+n], window<<8)
		at += 2 + n
	}
	return dst, true
}

// appendTypes appends the types of a bitmap whose first is base. Its text began
// at start.
func appendTypes(dst []byte, start int, bitmap []byte, base int) []byte {
	for i, b := range bitmap {
		for bit := range 8 {
			if b&(0x80>>bit) == 0 {
				continue
			}
			if len(dst) != start {
				dst = append(dst, ' ')
			}
			dst = appendType(dst, uint16(base+8*i+bit))
		}
	}
	return dst
}

func (typeBitmap) read(r *reader, rdata []byte) ([]byte, error) {
	types, err := readTypes(r, ParseType)
	if err != nil {
		return rdata, err
	}
	for i := 0; i < len(types); {
		window := types[i] >> 8
		var bitmap [maxWindow]byte
		n := 0
		for ; i < len(types) && types[i]>>8 == window; i++ {
			low := types[i] & 0xFF
			bitmap[low/8] |= 0x80 >> (low % 8)
			n = int(low/8) + 1
		}
		rdata = append(rdata, byte(window), byte(n))
		rdata = append(rdata, bitmap[:n]...)
	}
	return rdata, nil
}

// readTypes reads types to the end, in any order, and returns them sorted.
func readTypes(r *reader, parse func(string) (uint16, bool)) ([]uint16, error) {
	var types []uint16
	for r.left() {
		text, err := r.word()
		if err != nil {
			return nil, err
		}
		rrtype, ok := parse(text)
		if !ok {
			return nil, reason("word that is not a type")
		}
		types = append(types, rrtype)
	}
	slices.Sort(types)
	return types, nil
}

// nxtBitmap is the set of types of NXT (RFC 2535 section 5.2): one bitmap of
// the types below 128.
type nxtBitmap struct{}

const nxtTypes = 128

func (nxtBitmap) check(rdata []byte, at int) (int, error) {
	bitmap := rdata[at:]
	switch {
	case len(bitmap) == 0:
	case bitmap[0]&0x80 != 0:
		return 0, reason("the bit of type 0 is set")
	case len(bitmap) > nxtTypes/8:
		return 0, reason("more than 16 octets")
	case bitmap[len(bitmap)-1] == 0:
		return 0, reason("ends with a zero octet")
	}
	return len(rdata), nil
}

func (nxtBitmap) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return appendTypes(dst, len(dst), rdata[at:end], 0), true
}

// parseNumberedType reads a type or its number alone, which is how BIND prints
// one without a mnemonic in NXT.
func parseNumberedType(text string) (uint16, bool) {
	if n, err := parseUint(text, 0xFFFF); err == nil {
		return uint16(n), true
	}
	return ParseType(text)
}

func (nxtBitmap) read(r *reader, rdata []byte) ([]byte, error) {
	types, err := readTypes(r, parseNumberedType)
	if err != nil || len(types) == 0 {
		return rdata, err
	}
	var bitmap [nxtTypes / 8]byte
	last := types[len(types)-1]
	if last >= nxtTypes {
		return rdata, reason("type above 127")
	}
	for _, rrtype := range types {
		bitmap[rrtype/8] |= 0x80 >> (rrtype % 8)
	}
	return append(rdata, bitmap[:last/8+1]...), nil
}
