package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
)

// Key is a source, for comparing and counting. The zero Key is that of an
// invalid address.
type Key struct{ high, low uint64 }

// Of returns the source that an address belongs to. An IPv4 address in IPv6
// form is the IPv4 address.
func Of(address netip.Addr) Key {
	switch address = address.Unmap(); {
	case address.Is4():
		b := address.As4()
		return Key{low: 1<<32 | uint64(binary.BigEndian.Uint32(b[:]))}
	case address.Is6():
		b := address.As16()
		return Key{high: binary.BigEndian.Uint64(b[:]), low: 2 << 32}
	}
	return Key{}
}

// seed makes the places of keys unpredictable, so that no sender can aim at the
// account of another.
var seed = maphash.MakeSeed()

// With returns the key of the source together with something else, such as the
// name of a key that it uses.
func (k Key) With(what []byte) Key {
	sum := maphash.Bytes(seed, what)
	return Key{high: k.high ^ sum, low: k.low ^ (sum>>17 | sum<<47)}
}

func (k Key) hash() uint64 { return maphash.Comparable(seed, k) }
