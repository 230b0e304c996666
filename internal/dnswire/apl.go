package dnswire

import (
	"net/netip"
	"strconv"
	"strings"
)

// addressPrefix is an item of APL (RFC 3123 section 4).
type addressPrefix struct{}

// Address families (RFC 3123 section 4).
const (
	familyIPv4 = 1
	familyIPv6 = 2
)

const aplNegated = 0x80 // beside the length of the address

func (addressPrefix) check(rdata []byte, at int) (int, error) {
	if at+4 > len(rdata) {
		return 0, errEndsEarly
	}
	family, prefix, n := beUint(rdata[at:at+2]), int(rdata[at+2]), int(rdata[at+3]&^aplNegated)
	end, err := fixed(rdata, at+4, n)
	if err != nil {
		return 0, err
	}
	bits := 0
	switch family {
	case familyIPv4:
		bits = 32
	case familyIPv6:
		bits = 128
	}
	switch {
	case bits != 0 && (prefix > bits || n > bits/8):
		return 0, reasonf("address or prefix longer than family %d has", family)
	case n > 0 && rdata[end-1] == 0:
		return 0, reason("address with a zero octet at its end")
	}
	return end, nil
}

func (addressPrefix) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	if rdata[at+3]&aplNegated != 0 {
		dst = append(dst, '!')
	}
	var octets [16]byte
	copy(octets[:], rdata[at+4:end])
	switch beUint(rdata[at : at+2]) {
	case familyIPv4:
		dst = netip.AddrFrom4([4]byte(octets[:4])).AppendTo(append(dst, "1:"...))
	case familyIPv6:
		dst = netip.AddrFrom16(octets).AppendTo(append(dst, "2:"...))
	default:
		return dst, false
	}
	return strconv.AppendUint(append(dst, '/'), uint64(rdata[at+2]), 10), true
}

func (addressPrefix) read(r *reader, rdata []byte) ([]byte, error) {
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	text, negated := strings.CutPrefix(text, "!")
	family, text, _ := strings.Cut(text, ":")
	text, length, ok := strings.Cut(text, "/")
	prefix, err := parseUint(length, 128)
	if !ok || err != nil {
		return rdata, reason("not family:address/prefix")
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" ||
		!(family == "1" && address.Is4() || family == "2" && address.Is6()) {
		return rdata, reason("not an address of family 1 or 2")
	}
	octets := address.AsSlice()
	for len(octets) > 0 && octets[len(octets)-1] == 0 {
		octets = octets[:len(octets)-1]
	}
	n := byte(len(octets))
	if negated {
		n |= aplNegated
	}
	return append(append(rdata, 0, family[0]-'0', byte(prefix), n), octets...), nil
}
