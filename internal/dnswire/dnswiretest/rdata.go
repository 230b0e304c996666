// Package dnswiretest generates rdata, right and wrong, for tests of what reads
// rdata. It knows the types on its own, without the table of package dnswire.
package dnswiretest

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// Rdata is rdata of a type in class IN.
type Rdata struct {
	Type   uint16
	Octets []byte
}

// Generate returns rdata of every type that BIND 9.18 knows and that can be in a
// zone, and of some newer types: about right of each type that many, and of
// each of these two that are changed in one place, which may be right or wrong.
// It returns the same for the same seed.
func Generate(seed uint64, each int) []Rdata {
	g := &generator{rand.New(rand.NewPCG(seed, 0))}
	numbers := make([]uint16, 0, len(makers))
	for rrtype := range makers {
		numbers = append(numbers, rrtype)
	}
	slices.Sort(numbers)
	var all []Rdata
	for _, rrtype := range numbers {
		for range each {
			octets := makers[rrtype](g)
			all = append(all, Rdata{rrtype, octets}, Rdata{rrtype, g.change(octets)}, Rdata{rrtype, g.change(octets)})
		}
	}
	return all
}

type generator struct{ *rand.Rand }

// change returns octets that are changed in one place.
func (g *generator) change(octets []byte) []byte {
	b := slices.Clone(octets)
	if len(b) == 0 {
		return g.octets(1 + g.IntN(3))
	}
	at := g.IntN(len(b))
	if len(b) > 24 && g.IntN(2) == 0 {
		at = g.IntN(24) // where most fields are
	}
	switch g.IntN(6) {
	case 0:
		return b[:at]
	case 1:
		return append(b, g.octets(1+g.IntN(2))...)
	case 2:
		b[at] = []byte{0, 1, 2, 3, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xfd, 0xff}[g.IntN(11)]
	case 3:
		b[at] ^= 1 << g.IntN(8)
	case 4:
		return slices.Insert(b, at, byte(g.Uint32()))
	case 5:
		return slices.Delete(b, at, at+1)
	}
	return b
}

// A part makes some octets of rdata.
type part func(g *generator) []byte

func (g *generator) octets(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// parts makes one after the other.
func parts(list ...part) part {
	return func(g *generator) (b []byte) {
		for _, p := range list {
			b = append(b, p(g)...)
		}
		return b
	}
}

// oneOf makes one of them.
func oneOf(list ...part) part {
	return func(g *generator) []byte { return list[g.IntN(len(list))](g) }
}

// times makes it from least to most times.
func times(least, most int, p part) part {
	return func(g *generator) (b []byte) {
		for range least + g.IntN(most-least+1) {
			b = append(b, p(g)...)
		}
		return b
	}
}

// octets makes from least to most octets.
func octets(least, most int) part {
	return func(g *generator) []byte { return g.octets(least + g.IntN(most-least+1)) }
}

// literal makes these octets.
func literal(text string) part { return func(*generator) []byte { return []byte(text) } }

// among makes one of these octets.
func among(text string) part {
	return func(g *generator) []byte { return []byte{text[g.IntN(len(text))]} }
}

// sized makes what p makes after its length in that many octets.
func sized(size int, p part) part {
	return func(g *generator) []byte {
		b := p(g)
		if size == 1 {
			return append([]byte{byte(len(b))}, b...)
		}
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
}

var (
	u8    = octets(1, 1)
	u16   = octets(2, 2)
	u32   = octets(4, 4)
	ipv6  = octets(16, 16)
	plain = among("abcXYZ019-_.,;()\"\\ @$'=!/{}\x00\x1f\x7f\x80\xff")
	label = sized(1, oneOf(times(1, 8, plain), times(1, 8, among("abcXYZ")), octets(1, 20)))
	name  = oneOf(literal("\x00"), parts(times(1, 4, label), literal("\x00")), parts(label, literal("\x07Example\x04TEST\x00")))
	str   = sized(1, oneOf(times(0, 12, plain), octets(0, 40)))
	digit = among("0123456789")
)

// bitmap makes a set of types in windows.
func bitmap(least int) part {
	return func(g *generator) (b []byte) {
		window := 0
		for range least + g.IntN(3) {
			octets := append(g.octets(g.IntN(31)), 1<<g.IntN(8))
			b = append(append(b, byte(window), byte(len(octets))), octets...)
			window += 1 + g.IntN(80)
		}
		return b
	}
}

// endsWithBit makes a bitmap whose last octet is not zero.
func endsWithBit(most int) part { return parts(octets(0, most-1), among("\x01\x80\xff")) }

// parameters makes parameters of SVCB in order.
func parameters(g *generator) (b []byte) {
	values := []part{
		nil, // mandatory is made of what else there is
		times(1, 3, sized(1, oneOf(times(1, 6, plain), literal("h2")))), literal(""), u16, times(1, 3, u32), octets(0, 20),
		times(1, 3, ipv6), oneOf(literal("/dns-query{?dns}"), literal("/{?dns}"), parts(literal("/{?dns}"), times(0, 9, plain)), parts(literal("/{?dns}{"), times(0, 9, among("aad_,,:*19?+.%")), literal("}")), literal("x{?dns}")),
		octets(0, 9),
	}
	var keys []byte
	for key := 1; key < len(values); key++ {
		if g.IntN(3) != 0 || key == 2 && len(keys) == 0 {
			continue
		}
		value := values[key](g)
		if g.IntN(3) == 0 {
			keys = append(keys, 0, byte(key))
		}
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
	}
	if len(keys) > 0 {
		b = append(append(append([]byte{0, 0}, 0, byte(len(keys))), keys...), b...)
	}
	if g.IntN(3) == 0 {
		b = append(append(b, 0xfd, g.octets(1)[0], 0, 2), g.octets(2)...)
	}
	return b
}

// key makes a key after its flags.
var key = parts(oneOf(literal("\x03"), u8), oneOf(
	parts(among("\x01\x05\x08\x0d\xfe"), octets(1, 40)), parts(literal("\xfd"), name, octets(0, 9)), parts(u8, octets(1, 9))))

// delegationDigest makes DS and its like.
var delegationDigest = parts(u16, u8, oneOf(
	parts(literal("\x01"), octets(20, 20)), parts(literal("\x02"), octets(32, 32)), parts(literal("\x03"), octets(1, 32)),
	parts(literal("\x04"), octets(48, 48)), parts(among("\x00\x05\xff"), octets(1, 9))))

var (
	signature    = parts(oneOf(literal("\x00\x01"), u16), u8, u8, u32, u32, u32, u16, name, octets(1, 40))
	tlsa         = parts(u8, u8, u8, octets(1, 40))
	texts        = times(1, 4, str)
	serviceBind  = oneOf(parts(literal("\x00\x00"), name), parts(literal("\x00"), among("\x00\x01\xff"), name, parameters))
	substitution = sized(1, oneOf(literal(""), literal("!^.*$!sip:info@example.test!"), literal(`/^(a+|[b-d])(x{1,3})*$/\2\1/i`),
		parts(literal("!"), times(0, 12, among(`ab019()[]{}|*+?^$.,-=:\`)), literal("!"), times(0, 4, among(`x\129`)), literal("!"), times(0, 1, literal("i"))),
		parts(literal("![["), oneOf(literal(":alpha:"), literal(":alhpa:"), literal("=a="), literal(".a."), literal(".-."), literal("a")), literal("]"),
			times(0, 4, among("-az]^")), literal("]!!"))))
	prefixes = times(0, 3, oneOf(
		parts(literal("\x00\x01"), among("\x00\x08\x18\x20\x21"), sized(1, endsWithBit(4))), parts(literal("\x00\x01"), among("\x08\x20"), literal("\x84\x01\x02\x03\x04")),
		parts(literal("\x00\x02"), among("\x00\x40\x80\x81"), sized(1, endsWithBit(16))), parts(literal("\x00\x03"), u8, sized(1, endsWithBit(20))),
		parts(literal("\x00"), among("\x01\x02"), literal("\x00\x00"))))
	precision = oneOf(literal("\x00"), among("\x10\x12\x13\x16\x99\x19\x91\x35"))
)

// suffix makes A6.
func suffix(g *generator) []byte {
	length := g.IntN(129)
	b := append([]byte{byte(length)}, g.octets((128-length+7)/8)...)
	if length%8 != 0 {
		b[1] &= 0xff >> (length % 8)
	}
	if length > 0 {
		b = append(b, name(g)...)
	}
	return b
}

// hip makes HIP.
func hip(g *generator) []byte {
	tag, key := g.octets(1+g.IntN(20)), g.octets(1+g.IntN(40))
	b := []byte{byte(len(tag)), byte(g.IntN(4)), 0, byte(len(key))}
	return append(append(append(b, tag...), key...), times(0, 3, name)(g)...)
}

// angle makes an angle of LOC.
func angle(degrees uint32) part {
	return func(g *generator) []byte {
		return binary.BigEndian.AppendUint32(nil, 1<<31-degrees*3_600_000+g.Uint32N(2*degrees*3_600_000+1))
	}
}

var makers = map[uint16]part{
	1:   u32,
	2:   name,
	3:   name,
	4:   name,
	5:   name,
	6:   parts(name, name, octets(20, 20)),
	7:   name,
	8:   name,
	9:   name,
	10:  octets(0, 20),
	11:  parts(u32, oneOf(among("\x06\x11"), u8), oneOf(literal(""), endsWithBit(40))),
	12:  name,
	13:  parts(str, str),
	14:  parts(name, name),
	15:  parts(u16, name),
	16:  texts,
	17:  parts(name, name),
	18:  parts(u16, name),
	19:  sized(1, times(4, 20, digit)),
	20:  times(1, 2, str),
	21:  parts(u16, name),
	22:  octets(1, 20),
	23:  name,
	24:  signature,
	25:  parts(oneOf(u16, literal("\x01\x00"), literal("\xc0\x00")), key),
	26:  parts(u16, name, name),
	27:  parts(str, str, str),
	28:  ipv6,
	29:  oneOf(parts(literal("\x00"), precision, precision, precision, angle(90), angle(180), u32), parts(u8, octets(0, 20))),
	30:  parts(name, oneOf(literal(""), parts(among("\x00\x40\x62\x7f"), endsWithBit(15)), among("\x40\x01"))),
	31:  octets(1, 20),
	32:  octets(1, 20),
	33:  parts(u16, u16, u16, name),
	34:  oneOf(parts(literal("\x01"), times(1, 15, digit)), parts(literal("\x00"), octets(1, 20)), octets(2, 5)),
	35:  parts(u16, u16, str, str, substitution, name),
	36:  parts(u16, name),
	37:  parts(u16, u16, u8, octets(1, 40)),
	38:  suffix,
	39:  name,
	40:  octets(3, 20),
	42:  prefixes,
	43:  delegationDigest,
	44:  parts(u8, oneOf(parts(literal("\x01"), octets(20, 20)), parts(literal("\x02"), octets(32, 32)), parts(among("\x00\x03\xff"), octets(0, 9)))),
	45:  parts(u8, oneOf(parts(literal("\x00"), u8), parts(literal("\x01"), u8, u32), parts(literal("\x02"), u8, ipv6), parts(literal("\x03"), u8, name)), octets(1, 20)),
	46:  signature,
	47:  parts(name, bitmap(1)),
	48:  parts(u16, key),
	49:  octets(1, 40),
	50:  parts(oneOf(parts(literal("\x01"), u8, u16, sized(1, octets(0, 9)), sized(1, octets(20, 20))), parts(u8, u8, u16, sized(1, oneOf(octets(0, 9), octets(250, 255))), sized(1, octets(1, 50)))), bitmap(0)),
	51:  parts(u8, u8, u16, sized(1, octets(0, 9))),
	52:  tlsa,
	53:  tlsa,
	55:  hip,
	56:  texts,
	57:  parts(literal("\x00\x00"), key),
	58:  parts(name, name),
	59:  oneOf(delegationDigest, literal("\x00\x00\x00\x00\x00")),
	60:  oneOf(parts(u16, key), literal("\x00\x00\x03\x00\x00")),
	61:  octets(1, 40),
	62:  parts(u32, u16, bitmap(0)),
	63:  parts(u32, u8, oneOf(parts(literal("\x01"), octets(48, 48)), parts(literal("\x02"), octets(64, 64)), parts(among("\x00\x03\xff"), octets(12, 20)))),
	64:  serviceBind,
	65:  serviceBind,
	66:  parts(u16, u8, u16, name),
	99:  texts,
	100: octets(0, 9),
	101: octets(0, 9),
	102: octets(0, 9),
	103: octets(0, 9),
	104: octets(10, 10),
	105: octets(6, 6),
	106: octets(10, 10),
	107: parts(u16, name),
	108: octets(6, 6),
	109: octets(8, 8),
	256: parts(u16, u16, oneOf(times(0, 20, plain), octets(0, 300))),
	257: parts(u8, sized(1, times(1, 9, among("abcXYZ019"))), oneOf(times(0, 20, plain), octets(0, 300))),
	258: texts,
	259: parts(u32, u32, u8, str, octets(0, 20)),
	260: parts(u8, oneOf(among("\x00\x80"), parts(among("\x01\x81"), u32), parts(among("\x02\x82"), ipv6), parts(among("\x03\x83"), name), parts(among("\x04\x7f\xff"), octets(0, 9)))),
	261: texts,
	262: texts,
	263: octets(0, 9),
	264: octets(0, 9),

	32768: delegationDigest,
	32769: delegationDigest,
	65280: octets(0, 20),
	65535: octets(0, 9),
}
