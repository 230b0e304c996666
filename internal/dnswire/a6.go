package dnswire

import "net/netip"

// A6 (RFC 2874 section 3.1): a prefix's length, the bits of the address after
// the prefix, and the name that has the prefix.

const a6Bits = 128

type prefixLength struct{ number }

func (f prefixLength) check(rdata []byte, at int) (int, error) {
	end, err := f.number.check(rdata, at)
	if err == nil && rdata[at] > a6Bits {
		return 0, reason("more than 128")
	}
	return end, err
}

// addressSuffix are the bits of an address after the prefix, whose length is in
// the first octet of the rdata, with bits of zero before them up to a whole
// octet.
type addressSuffix struct{}

func suffixOctets(rdata []byte) int { return (a6Bits - int(rdata[0]) + 7) / 8 }

func (addressSuffix) check(rdata []byte, at int) (int, error) {
	end, err := fixed(rdata, at, suffixOctets(rdata))
	if err == nil && end > at && rdata[0]%8 != 0 && rdata[at]>>(8-rdata[0]%8) != 0 {
		return 0, reason("bits of the prefix are set")
	}
	return end, err
}

func (addressSuffix) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	if at == end {
		return dst, true
	}
	var address [16]byte
	copy(address[16-(end-at):], rdata[at:end])
	return netip.AddrFrom16(address).AppendTo(dst), true
}

func (addressSuffix) read(r *reader, rdata []byte) ([]byte, error) {
	if rdata[0] > a6Bits {
		return rdata, reason("prefix of more than 128 bits")
	}
	n := suffixOctets(rdata)
	if n == 0 {
		return rdata, nil
	}
	text, err := r.word()
	if err != nil {
		return rdata, err
	}
	address, err := appendIPv6(nil, text)
	if err != nil {
		return rdata, err
	}
	suffix := address[16-n:]
	suffix[0] &= 0xFF >> (rdata[0] % 8)
	return append(rdata, suffix...), nil
}

// prefixName is the name that has the prefix, if its length is not 0.
type prefixName struct{ domainName }

func (f prefixName) check(rdata []byte, at int) (int, error) {
	if !f.present(rdata, at) {
		return at, nil
	}
	return f.domainName.check(rdata, at)
}

func (f prefixName) print(dst, rdata []byte, at, end int) ([]byte, bool) {
	if at == end {
		return dst, true
	}
	return f.domainName.print(dst, rdata, at, end)
}

func (f prefixName) read(r *reader, rdata []byte) ([]byte, error) {
	if !f.present(rdata, 0) {
		return rdata, nil
	}
	return f.domainName.read(r, rdata)
}

func (prefixName) present(rdata []byte, _ int) bool { return rdata[0] != 0 }
