package disk

import (
	"fmt"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// formatVersion is that of everything in the directory but the engine's files, whose versions it
// keeps itself: the files' and the keys' layout.
const formatVersion = 3

// A format is how a version of this package has stored a zone. Databases of earlier versions are
// read and converted.
type format struct {
	data    string // the engine's directory
	decoder func(origin string) *recordDecoder
	change  func(value []byte) (store.Change, error)
}

// formats are those that this release knows, by version.
var formats = map[int]format{
	1: {data: "data", decoder: newFormat1Decoder, change: decodeFormat1Change},
	2: {data: "data-2", decoder: newFormat2Decoder, change: decodeFormat2Change},
	3: {data: dataDir, decoder: func(string) *recordDecoder { return newDecoder() }, change: decodeChange},
}

// Format 2 had neither times of records nor authors of changes.

func newFormat2Decoder(string) *recordDecoder {
	d := newDecoder()
	d.header = format2Record
	return d
}

func decodeFormat2Change(value []byte) (store.Change, error) {
	return decodeChangeOf(value, format2Change)
}

// Format 1 had names in presentation form, in lower case. In keys a name had its origin cut off, then
// its labels from the right, each followed by a zero octet, then one more zero octet. A name outside
// the origin was stored as it is behind an octet of one, which begins no label. Everything else is as
// in format 2.

const (
	// format1Verbatim begins a name outside the origin.
	format1Verbatim = 0x01
	// format1End ends a label and a name.
	format1End = 0x00
)

// newFormat1Decoder returns a decoder of the records of a zone with that origin.
func newFormat1Decoder(origin string) *recordDecoder {
	names := format1Names{origin: origin}
	return &recordDecoder{cut: names.cut, decode: names.decode, header: format2Record}
}

// decodeFormat1Change decodes a change of the log, whose names are in presentation form as well.
func decodeFormat1Change(value []byte) (store.Change, error) {
	c, err := decodeFormat2Change(value)
	if err != nil {
		return c, err
	}
	for _, list := range [][]store.Record{c.Removed, c.Added} {
		for i := range list {
			if list[i].Name, err = format1Name(list[i].Name); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// format1Name returns the wire form of a name in presentation form.
func format1Name(text string) (string, error) {
	name, err := dnswire.ParseName(text, nil)
	if err != nil {
		return "", fmt.Errorf("%w: name %q: %w", errBadValue, text, err)
	}
	return string(name), nil
}

// format1Names decodes the names of one zone.
type format1Names struct {
	origin string // absolute
}

// cut splits off the name that key begins with.
func (format1Names) cut(key []byte) (name, rest []byte, ok bool) {
	if len(key) == 0 {
		return nil, nil, false
	}
	if key[0] == format1Verbatim {
		for i, b := range key {
			if b == format1End {
				return key[:i+1], key[i+1:], true
			}
		}
		return nil, nil, false
	}
	for i := 0; i < len(key); i++ {
		if key[i] != format1End {
			continue
		}
		if i == 0 || key[i-1] == format1End {
			return key[:i+1], key[i+1:], true
		}
	}
	return nil, nil, false
}

// decode returns a name that cut has cut off, in wire form.
func (n format1Names) decode(name []byte) (string, error) {
	if name[0] == format1Verbatim {
		return format1Name(string(name[1 : len(name)-1]))
	}
	var text []byte
	for labels := name[:len(name)-1]; len(labels) > 0; {
		end := len(labels) - 1
		start := end
		for start > 0 && labels[start-1] != format1End {
			start--
		}
		text = append(append(text, labels[start:end]...), '.')
		labels = labels[:start]
	}
	if n.origin != "." || len(text) == 0 {
		text = append(text, n.origin...)
	}
	return format1Name(string(text))
}
