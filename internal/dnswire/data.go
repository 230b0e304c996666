package dnswire

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

const hexDigits = "0123456789abcdef"

// hexData is data to the end of the rdata, printed in hexadecimal, at least
// that many octets.
type hexData struct {
	least int
	upper bool
}

func (f hexData) check(rdata []byte, at int) (int, error) { return atLeast(rdata, at, f.least) }

func atLeast(rdata []byte, at, least int) (int, error) {
	if len(rdata)-at < least {
		return 0, errEndsEarly
	}
	return len(rdata), nil
}

func (f hexData) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return appendHex(dst, rdata[at:end], f.upper), true
}

func appendHex(dst, octets []byte, upper bool) []byte {
	digits := hexDigits
	if upper {
		digits = "0123456789ABCDEF"
	}
	for _, b := range octets {
		dst = append(dst, digits[b>>4], digits[b&0xF])
	}
	return dst
}

func (hexData) read(r *reader, rdata []byte) ([]byte, error) { return readHex(r, rdata) }

// readHex reads hexadecimal digits from all the words that are left.
func readHex(r *reader, rdata []byte) ([]byte, error) {
	rdata, err := hex.AppendDecode(rdata, []byte(r.rest()))
	if err != nil {
		return rdata, reason("not hexadecimal digits in pairs")
	}
	return rdata, nil
}

// digest is a digest to the end of the rdata whose algorithm is in the octet
// before it. The digests of some algorithms have a size of their own; those of
// others are at least least octets.
type digest struct {
	hexData
	sizes map[byte]int
}

func (f digest) check(rdata []byte, at int) (int, error) {
	n := len(rdata) - at
	if size, ok := f.sizes[rdata[at-1]]; ok && n != size {
		return 0, reasonf("%d octets where algorithm %d has %d", n, rdata[at-1], size)
	}
	return f.hexData.check(rdata, at)
}

// base64Data is data to the end of the rdata, printed in base64 (RFC 4648
// section 4), at least that many octets.
type base64Data struct{ least int }

func (f base64Data) check(rdata []byte, at int) (int, error) { return atLeast(rdata, at, f.least) }

func (base64Data) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return base64.StdEncoding.AppendEncode(dst, rdata[at:end]), true
}

func (base64Data) read(r *reader, rdata []byte) ([]byte, error) {
	return appendBase64(rdata, r.rest())
}

func appendBase64(rdata []byte, text string) ([]byte, error) {
	rdata, err := base64.StdEncoding.Strict().AppendDecode(rdata, []byte(text))
	if err != nil {
		return rdata, reason("not base64")
	}
	return rdata, nil
}

// noneOrBase64 is base64Data whose text is "-" if it is empty (DOA).
type noneOrBase64 struct{ base64Data }

func (f noneOrBase64) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	if at == end {
		return append(dst, '-'), true
	}
	return f.base64Data.print(dst, rdata, at, end)
}

func (noneOrBase64) read(r *reader, rdata []byte) ([]byte, error) {
	text := r.rest()
	switch text {
	case "":
		return rdata, errNoText
	case "-":
		return rdata, nil
	}
	return appendBase64(rdata, text)
}

// salt is a length octet and that many octets, printed in hexadecimal, or as
// "-" if there are none (RFC 5155 section 3.3).
type salt struct{ characterString }

func (salt) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	if end == at+1 {
		return append(dst, '-'), true
	}
	return appendHex(dst, rdata[at+1:end], true), true
}

func (salt) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	if text == "-" {
		return append(rdata, 0), nil
	}
	octets, err := hex.DecodeString(text)
	if err != nil || len(octets) == 0 || len(octets) > maxString {
		return rdata, reason("not 1 to 255 octets in hexadecimal")
	}
	return append(append(rdata, byte(len(octets))), octets...), nil
}

// hashedOwner is a length octet and a hash of that length, printed in base32
// (RFC 5155 section 3.3). A hash by SHA-1, which the first octet of the rdata
// says, has 20 octets; none is longer than what a label holds in base32.
type hashedOwner struct{ characterString }

const (
	hashSHA1     = 1 // RFC 5155 section 11
	hashSHA1Size = 20
	maxHashSize  = MaxLabel * 5 / 8
)

var base32Hex = base32.HexEncoding.WithPadding(base32.NoPadding)

func (f hashedOwner) check(rdata []byte, at int) (int, error) {
	end, err := f.characterString.check(rdata, at)
	switch {
	case err != nil:
		return 0, err
	case end == at+1:
		return 0, reason("empty")
	case end-at-1 > maxHashSize:
		return 0, reasonf("more than %d octets", maxHashSize)
	case rdata[0] == hashSHA1 && end != at+1+hashSHA1Size:
		return 0, reasonf("%d octets where a SHA-1 hash has %d", end-at-1, hashSHA1Size)
	}
	return end, nil
}

func (hashedOwner) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return base32Hex.AppendEncode(dst, rdata[at+1:end]), true
}

func (hashedOwner) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	octets, err := base32Hex.DecodeString(strings.ToUpper(text))
	if err != nil || len(octets) > maxHashSize {
		return rdata, reasonf("not base32 of up to %d octets", maxHashSize)
	}
	return append(append(rdata, byte(len(octets))), octets...), nil
}

// nsapAddress is an NSAP address, printed in hexadecimal after "0x" (RFC 1706
// section 5). Dots between the digits are read.
type nsapAddress struct{ hexData }

func (nsapAddress) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	return appendHex(append(dst, "0x"...), rdata[at:end], true), true
}

func (nsapAddress) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	if len(text) < 2 || text[0] != '0' || lower(text[1]) != 'x' {
		return rdata, reason(`no "0x" before it`)
	}
	return appendDottedHex(rdata, text[2:])
}

func appendDottedHex(rdata []byte, text string) ([]byte, error) {
	rdata, err := hex.AppendDecode(rdata, []byte(strings.ReplaceAll(text, ".", "")))
	if err != nil {
		return rdata, reason("not hexadecimal digits in pairs")
	}
	return rdata, nil
}

// atmAddress is the format and the address of ATMA (ATM Name System, section
// 5.2): digits after "+" for an E.164 address, hexadecimal digits for an AESA.
type atmAddress struct{}

const (
	atmAESA = 0
	atmE164 = 1
)

func (atmAddress) check(rdata []byte, at int) (int, error) {
	if len(rdata)-at < 2 {
		return 0, errEndsEarly
	}
	if rdata[at] == atmE164 {
		for _, b := range rdata[at+1:] {
			if !isDigit(b) {
				return 0, reasonf("octet 0x%02x is not a digit", b)
			}
		}
	}
	return len(rdata), nil
}

func (atmAddress) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	switch rdata[at] {
	case atmAESA:
		return appendHex(dst, rdata[at+1:end], false), true
	case atmE164:
		return append(append(dst, '+'), rdata[at+1:end]...), true
	}
	return dst, false
}

func (atmAddress) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	if digits, ok := strings.CutPrefix(text, "+"); ok {
		return append(append(rdata, atmE164), strings.ReplaceAll(digits, ".", "")...), nil
	}
	return appendDottedHex(append(rdata, atmAESA), text)
}

// sizedData is data after its length in 2 octets, as in TKEY and TSIG. It has
// no text here.
type sizedData struct{}

func (sizedData) check(rdata []byte, at int) (int, error) {
	end, err := fixed(rdata, at, 2)
	if err != nil {
		return 0, err
	}
	return fixed(rdata, end, int(beUint(rdata[at:end])))
}

func (sizedData) print(dst, _ []byte, _, _ int) ([]byte, bool) { return dst, false }

func (sizedData) read(_ *reader, rdata []byte) ([]byte, error) { return rdata, errOpaque }

// octets are that many octets without a text of their own.
type octets struct{ size int }

func (f octets) check(rdata []byte, at int) (int, error) { return fixed(rdata, at, f.size) }

func (octets) print(dst, _ []byte, _, _ int) ([]byte, bool) { return dst, false }

func (octets) read(_ *reader, rdata []byte) ([]byte, error) { return rdata, errOpaque }

// opaque is rdata of any octets, which has no text but that of RFC 3597.
type opaque struct{}

func (opaque) check(rdata []byte, _ int) (int, error) { return len(rdata), nil }

func (opaque) print(dst, _ []byte, _, _ int) ([]byte, bool) { return dst, false }

func (opaque) read(_ *reader, rdata []byte) ([]byte, error) { return rdata, errOpaque }

var errOpaque error = reason(`has no text of its own; write \# with the number of octets and the octets in hexadecimal (RFC 3597 section 5)`)

// ednsOption is an option of OPT (RFC 6891 section 6.1.2): a code, a length,
// and that many octets.
type ednsOption struct{ sizedData }

func (f ednsOption) check(rdata []byte, at int) (int, error) {
	end, err := fixed(rdata, at, 2)
	if err != nil {
		return 0, err
	}
	return f.sizedData.check(rdata, end)
}
