// Package namekey has names as they are in the keys of stores: in an order in which the names of a subtree are
// neighbours, as they are in the zone's own order, which makes filling its tree fast.
package namekey

import (
	"errors"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// The labels are written from the root on, each followed by a zero octet, then one more zero octet. Zero and
// one octets in a label are escaped by a one.
const (
	end    = 0x00
	escape = 0x01
)

// ErrName means that a name is not one in wire form.
var ErrName = errors.New("store: not a name in wire form")

// ErrKey means that a key does not have a name.
var ErrKey = errors.New("unknown key")

// Append appends a name in wire form as it is in keys. The error is ErrName.
func Append(key []byte, name string) ([]byte, error) {
	var starts [dnswire.MaxName / 2]uint8
	labels, at := 0, 0
	for {
		if at >= len(name) || len(name) > dnswire.MaxName || name[at] > dnswire.MaxLabel {
			return nil, ErrName
		}
		if name[at] == 0 {
			break
		}
		starts[labels] = uint8(at)
		labels++
		at += 1 + int(name[at])
	}
	if at != len(name)-1 {
		return nil, ErrName
	}
	for labels--; labels >= 0; labels-- {
		start := int(starts[labels])
		for _, b := range []byte(name[start+1 : start+1+int(name[start])]) {
			if b <= escape {
				key = append(key, escape)
				b++
			}
			key = append(key, b)
		}
		key = append(key, end)
	}
	return append(key, end), nil
}

// Cut splits off the name that key begins with, as it is in keys.
func Cut(key []byte) (name, rest []byte, ok bool) {
	for i := 0; i < len(key); i++ {
		if key[i] == end && (i == 0 || key[i-1] == end) {
			return key[:i+1], key[i+1:], true
		}
	}
	return nil, nil, false
}

// Decode is the inverse of Append for what Cut has cut off. The error is ErrKey.
func Decode(encoded []byte) (string, error) {
	// The labels are written from the end of the buffer on.
	var buf [dnswire.MaxName]byte
	at := len(buf) - 1
	for rest := encoded[:len(encoded)-1]; len(rest) > 0; {
		var label [dnswire.MaxLabel]byte
		n, i := 0, 0
		for ; rest[i] != end; i++ {
			b := rest[i]
			if b == escape {
				if i++; rest[i] == end {
					return "", ErrKey
				}
				b = rest[i] - 1
			}
			if n == len(label) {
				return "", ErrKey
			}
			label[n] = b
			n++
		}
		if at -= 1 + n; at < 0 {
			return "", ErrKey
		}
		buf[at] = byte(n)
		copy(buf[at+1:], label[:n])
		rest = rest[i+1:]
	}
	return string(buf[at:]), nil
}
