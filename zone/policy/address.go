package policy

import "net/netip"

const hexDigits = "0123456789abcdef"

// reverseName returns the name of an address in the reverse tree: below in-addr.arpa (RFC 1035
// section 3.5) or ip6.arpa (RFC 3596 section 2.5); empty for no address.
func reverseName(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		name, _ := parseName(netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}).String() + ".in-addr.arpa.")
		return name
	case a.Is6():
		b := a.As16()
		return nibbles(b[:])
	}
	return ""
}

// sixToFourName returns the name of the 6to4 prefix 2002:V4ADDR::/48 (RFC 3056 section 2) that an
// IPv4 address owns or an IPv6 address lies in; empty for every other address.
func sixToFourName(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		return nibbles([]byte{0x20, 0x02, b[0], b[1], b[2], b[3]})
	case a.Is6():
		b := a.As16()
		if b[0] == 0x20 && b[1] == 0x02 {
			return nibbles(b[:6])
		}
	}
	return ""
}

// nibbles writes a prefix of whole octets as its name below ip6.arpa.
func nibbles(prefix []byte) string {
	const suffix = "\x03ip6\x04arpa\x00"
	name := make([]byte, 0, 4*len(prefix)+len(suffix))
	for i := len(prefix) - 1; i >= 0; i-- {
		name = append(name, 1, hexDigits[prefix[i]&0xf], 1, hexDigits[prefix[i]>>4])
	}
	return string(append(name, suffix...))
}
