package zone

import (
	"errors"
	"strings"

	"github.com/miekg/dns"
)

// Names have three forms here. Presentation is miekg's text, for the outside. Wire is RFC 1035
// section 3.1, uncompressed. A key is a name below the origin in a form whose order as a string is
// the canonical order of RFC 4034 section 6.1: the labels from the origin's side on, in lower case,
// each ended by a zero octet. The origin's own key is "". All names at or below a name are the keys
// that start with its key. Zero and one octets in a label are escaped by a one, which keeps the
// order.

const (
	maxWireName  = 255
	maxKey       = 2 * maxWireName
	maxLabels    = 127
	endOfLabel   = 0x00
	escapeOctet  = 0x01
	wildcardKey  = "*\x00"
	maxLabelSize = 63
)

var errBadName = errors.New("not a domain name")

// wireName is a name in wire form without an allocation.
type wireName struct {
	octets [maxWireName]byte
	n      int
}

// set takes name in presentation form, which must be absolute.
func (w *wireName) set(name string) error {
	w.n = 0
	if name == "" {
		return errBadName
	}
	n, err := dns.PackDomainName(name, w.octets[:], 0, nil, false)
	if err != nil {
		return err
	}
	if wireNameLen(w.octets[:n]) != n {
		return errBadName
	}
	w.n = n
	return nil
}

func (w *wireName) bytes() []byte { return w.octets[:w.n] }

// wireNameLen returns the length of the uncompressed name that b begins with, or 0 if it does not
// begin with one.
func wireNameLen(b []byte) int {
	for i := 0; i < len(b) && i < maxWireName; {
		label := int(b[i])
		if label == 0 {
			return i + 1
		}
		if label > maxLabelSize {
			return 0
		}
		i += 1 + label
	}
	return 0
}

// presentation returns wire, a whole name, as text.
func presentation(wire []byte) string {
	name, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return "."
	}
	return name
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// equalFold compares octets, ASCII letters without case. It serves for wire names as they are: a
// length octet is never a letter.
func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// origin is the zone's name in the forms that are needed all the time.
type origin struct {
	name   string // presentation, lower case, absolute
	wire   []byte // lower case
	labels int
}

func newOrigin(name string) (*origin, error) {
	name = dns.Fqdn(name)
	var w wireName
	if err := w.set(name); err != nil {
		return nil, err
	}
	o := &origin{wire: make([]byte, w.n)}
	for i, b := range w.bytes() {
		o.wire[i] = lower(b)
	}
	o.name = presentation(o.wire)
	for i := 0; o.wire[i] != 0; i += 1 + int(o.wire[i]) {
		o.labels++
	}
	return o, nil
}

// appendKey appends the key of the name in wire to dst. It reports false if the name is neither the
// origin nor below it. wire must be a whole name.
func (o *origin) appendKey(dst, wire []byte) ([]byte, bool) {
	var starts [maxLabels]uint8
	labels := 0
	for i := 0; wire[i] != 0; i += 1 + int(wire[i]) {
		starts[labels] = uint8(i)
		labels++
	}
	below := labels - o.labels
	if below < 0 {
		return dst, false
	}
	suffix := len(wire) - 1
	if below < labels {
		suffix = int(starts[below])
	}
	if !equalFold(wire[suffix:], o.wire) {
		return dst, false
	}
	for i := below - 1; i >= 0; i-- {
		at := int(starts[i])
		dst = appendLabel(dst, wire[at+1:at+1+int(wire[at])])
	}
	return dst, true
}

func appendLabel(dst, label []byte) []byte {
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
	var w wireName
	if w.set(name) != nil {
		return "", false
	}
	var buf [maxKey]byte
	key, ok := o.appendKey(buf[:0], w.bytes())
	return string(key), ok
}

// nameOf returns a key's name in presentation form.
func (o *origin) nameOf(key string) string {
	if key == "" {
		return o.name
	}
	// The labels are laid out from the end of the buffer on.
	var buf [maxWireName]byte
	at := len(buf)
	for key != "" {
		end := strings.IndexByte(key, endOfLabel)
		var label [maxLabelSize]byte
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
	wire := make([]byte, 0, maxWireName)
	wire = append(wire, buf[at:]...)
	wire = append(wire, o.wire...)
	return presentation(wire)
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
