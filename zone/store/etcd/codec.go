package etcd

import (
	"encoding/binary"
	"errors"
	"time"
)

// Values are a version of the format in one octet, then fields: numbers as varints, texts and octets behind
// their length. A value with another version, with a field that ends behind it, or with octets that no field
// takes is refused.

var (
	errTruncated = errors.New("ends early")
	errTrailing  = errors.New("has octets behind its end")
	errNumber    = errors.New("has a number out of range")
	errVersion   = errors.New("is of another format; all servers need the same release")
)

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// appendTime appends nanoseconds of Unix time; the zero time is 0.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(dst, 0)
	}
	return binary.AppendVarint(dst, t.UnixNano())
}

// A decoder takes fields off a value. After the first error all that it returns is zero.
type decoder struct {
	rest []byte
	err  error
}

// decode returns a decoder of a value's fields.
func decode(value []byte, version byte) decoder {
	d := decoder{rest: value}
	if v := d.octet(); d.err == nil && v != version {
		d.fail(errVersion)
	}
	return d
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

// more reports whether there are octets left.
func (d *decoder) more() bool { return len(d.rest) > 0 }

// end returns the first error; octets that are left are one.
func (d *decoder) end() error {
	if d.more() {
		d.fail(errTrailing)
	}
	return d.err
}

func (d *decoder) octet() byte {
	if len(d.rest) == 0 {
		d.fail(errTruncated)
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

// uvarint takes a number of at most most.
func (d *decoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	switch {
	case n == 0:
		d.fail(errTruncated)
		return 0
	case n < 0 || v > most:
		d.fail(errNumber)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count takes the number of items that follow, each of at least size octets, so that a false number does not
// reserve memory.
func (d *decoder) count(size int) int {
	n := d.uvarint(1 << 62)
	if n > uint64(len(d.rest)/size) {
		d.fail(errTruncated)
		return 0
	}
	return int(n)
}

func (d *decoder) time() time.Time {
	v, n := binary.Varint(d.rest)
	switch {
	case n == 0:
		d.fail(errTruncated)
		return time.Time{}
	case n < 0:
		d.fail(errNumber)
		return time.Time{}
	}
	d.rest = d.rest[n:]
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, v).UTC()
}

// bytes takes octets behind their length. They share memory with the value.
func (d *decoder) bytes(most int) []byte {
	n := d.uvarint(uint64(most))
	if n > uint64(len(d.rest)) {
		d.fail(errTruncated)
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.fail(errTruncated)
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}
