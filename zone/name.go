package zone

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// Names have two forms here. The wire form is that of RFC 1035 section 3.1, uncompressed. A key is
// a name below the origin in a form whose order as a string is the canonical order of RFC 4034
// section 6.1: the labels from the origin's side on, in lower case, each followed by a zero octet.
// The origin's own key is "". All names at or below a name are the keys that start with its key.
// Zero and one octets in a label are escaped by a one, which keeps the order.

const (
	maxKey      = 2 * dnswire.MaxName
	maxLabels   = 127
	endOfLabel  = 0x00
	escapeOctet = 0x01
	wildcardKey = "*\x00"
)

// packWire writes the wire form of an absolute name in presentation form to buf, and returns its
// length. It reports false for what is not an absolute name.
func packWire(buf *[dnswire.MaxName]byte, name string) (n int, ok bool) {
	if name == "" {
		return 0, false
	}
	n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
	return n, err == nil && dnswire.NameLen(buf[:n]) == n
}

// hasUpper reports whether a name in wire form has ASCII letters in upper case. A length octet is
// never a letter.
func hasUpper(wire []byte) bool {
	// Eight octets at a time, because every query comes here (BenchmarkRespond). The high bit of each
	// octet of atLeastA and aboveZ tells how that octet, without its own high bit, compares.
	for len(wire) >= 8 {
		const ones = 0x0101010101010101
		v := binary.LittleEndian.Uint64(wire)
		low := v & (0x7f * ones)
		atLeastA, aboveZ := low+(0x80-'A')*ones, low+(0x7f-'Z')*ones
		if atLeastA&^aboveZ&^v&(0x80*ones) != 0 {
			return true
		}
		wire = wire[8:]
	}
	for _, b := range wire {
		if 'A' <= b && b <= 'Z' {
			return true
		}
	}
	return false
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// origin is the zone's name in the forms that are needed all the time.
type origin struct {
	name   string // presentation form, lower case, absolute
	wire   []byte // lower case
	labels int
	// service says that it is below a service label, or one itself.
	service bool
}

func newOrigin(name string) (*origin, error) {
	wire, err := dnswire.ParseName(dns.Fqdn(name), nil)
	if err != nil {
		return nil, err
	}
	o := &origin{wire: dnswire.AppendLower(nil, wire)}
	o.name = dnswire.NameText(o.wire)
	for i := 0; o.wire[i] != 0; i += 1 + int(o.wire[i]) {
		o.labels++
		o.service = o.service || o.wire[i+1] == '_'
	}
	return o, nil
}

// appendKey appends the key of the name in wire form to dst. It reports false if the name is
// neither the origin nor below it. wire must be a whole name.
func (o *origin) appendKey(dst, wire []byte) ([]byte, bool) {
	end := len(wire) - len(o.wire) // of the labels below the origin
	if end < 0 || !bytes.Equal(wire[end:], o.wire) && !dnswire.EqualNames(wire[end:], o.wire) {
		return dst, false
	}
	labels, last := 0, 0
	for i := 0; i < end; i += 1 + int(wire[i]) {
		labels++
		last = i
	}
	if labels == 0 {
		return dst, true
	}
	next := last + 1 + int(wire[last])
	if next != end {
		return dst, false // the octets of the origin begin within a label
	}
	dst = appendLabel(dst, wire[last+1:next])
	if labels > 1 {
		dst = appendLabels(dst, wire[:last])
	}
	return dst, true
}

// appendLabels appends labels in wire form, the last one first.
func appendLabels(dst, wire []byte) []byte {
	var starts [maxLabels]uint8
	labels := 0
	for i := 0; i < len(wire); i += 1 + int(wire[i]) {
		starts[labels] = uint8(i)
		labels++
	}
	for i := labels - 1; i >= 0; i-- {
		at := int(starts[i])
		dst = appendLabel(dst, wire[at+1:at+1+int(wire[at])])
	}
	return dst
}

func appendLabel(dst, label []byte) []byte {
	for i, b := range label {
		if b <= 0x01 || 'A' <= b && b <= 'Z' {
			return appendAltered(append(dst, label[:i]...), label[i:])
		}
	}
	dst = append(dst, label...)
	return append(dst, endOfLabel)
}

// appendAltered appends the end of a label that is in a key with other octets.
func appendAltered(dst, label []byte) []byte {
	for _, b := range label {
		switch b {
		case 0x00:
			dst = append(dst, escapeOctet, 0x01)
		case 0x01:
			dst = append(dst, escapeOctet, 0x02)
		default:
			dst = append(dst, lower(b))
		}
	}
	return append(dst, endOfLabel)
}

// key returns the key of a name in presentation form.
func (o *origin) key(name string) (string, bool) {
	var wire [dnswire.MaxName]byte
	n, ok := packWire(&wire, name)
	if !ok {
		return "", false
	}
	var buf [maxKey]byte
	key, ok := o.appendKey(buf[:0], wire[:n])
	return string(key), ok
}

// keyOf returns the key of a name in wire form, which may be malformed.
func (o *origin) keyOf(wire string) (string, bool) {
	var wireBuf [dnswire.MaxName]byte
	if len(wire) > len(wireBuf) {
		return "", false
	}
	octets := wireBuf[:copy(wireBuf[:], wire)]
	if len(octets) == 0 || dnswire.NameLen(octets) != len(octets) {
		return "", false
	}
	var buf [maxKey]byte
	key, ok := o.appendKey(buf[:0], octets)
	return string(key), ok
}

// appendName appends a key's name in wire form, in lower case.
func (o *origin) appendName(dst []byte, key string) []byte {
	// The labels are written from the end of the buffer on.
	var buf [dnswire.MaxName]byte
	at := len(buf)
	for key != "" {
		end := strings.IndexByte(key, endOfLabel)
		var label [dnswire.MaxLabel]byte
		n := 0
		for i := 0; i < end; i++ {
			b := key[i]
			if b == escapeOctet {
				i++
				b = key[i] - 1
			}
			label[n] = b
			n++
		}
		at -= n
		copy(buf[at:], label[:n])
		at--
		buf[at] = byte(n)
		key = key[end+1:]
	}
	return append(append(dst, buf[at:]...), o.wire...)
}

// nameOf returns a key's name in presentation form, in lower case.
func (o *origin) nameOf(key string) string {
	if key == "" {
		return o.name
	}
	var buf [dnswire.MaxName]byte
	return dnswire.NameText(o.appendName(buf[:0], key))
}

// wireOf returns a key's name in wire form, in lower case.
func (o *origin) wireOf(key string) string {
	var buf [dnswire.MaxName]byte
	return string(o.appendName(buf[:0], key))
}

// spelled returns the name of a node in wire form, in the spelling in which it was entered.
func (o *origin) spelled(key string, n *node) string {
	if spelling := n.spelling(); spelling != nil {
		return string(spelling)
	}
	return o.wireOf(key)
}

// parentKey returns the key of the name one label up; key is not "".
func parentKey(key string) string {
	return key[:strings.LastIndexByte(key[:len(key)-1], endOfLabel)+1]
}

// commonAncestor returns the length of the longest key that both are at or below.
func commonAncestor(a, b string) int {
	common := 0
	for i := 0; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == endOfLabel {
			common = i + 1
		}
	}
	return common
}
