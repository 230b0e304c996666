package etcd

import (
	"errors"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// The value of a name is whether it has an owner, in one octet, the owner, and then its records to the end. The
// name before the first record is the one in the key, in lower case.

const (
	nameVersion = 1

	nameWithoutOwner = 0
	nameWithOwner    = 1
)

var (
	errOwnerFlag = errors.New("has an owner flag that is neither 0 nor 1")
	errOtherName = errors.New("has a record at another name")
)

// appendName appends the value of a name, which is in lower case.
func appendName(dst []byte, name string, records []store.Record, owner *store.Owner) ([]byte, error) {
	dst = appendNameStart(dst, owner)
	before := name
	for i := range records {
		r := &records[i]
		if err := checkRecord(r); err != nil {
			return nil, err
		}
		dst = appendRecord(dst, before, r)
		before = r.Name
	}
	return dst, nil
}

// appendNameStart appends what is before the records.
func appendNameStart(dst []byte, owner *store.Owner) []byte {
	if owner == nil {
		return append(dst, nameVersion, nameWithoutOwner)
	}
	return appendOwner(append(dst, nameVersion, nameWithOwner), owner)
}

// visitName hands the contents of a name to v. broken tells of a fault of the value; err is v's.
func visitName(name string, value []byte, v store.Visitor) (broken, err error) {
	d := decode(value, nameVersion)
	switch flag := d.octet(); {
	case d.err == nil && flag == nameWithOwner:
		owner := d.owner(name)
		if d.err == nil {
			if err := v.Owner(owner); err != nil {
				return nil, err
			}
		}
	case d.err == nil && flag != nameWithoutOwner:
		d.fail(errOwnerFlag)
	}
	before := name
	for d.more() {
		r := d.record(before)
		if d.err == nil && r.Name != before && !dnswire.EqualNames([]byte(r.Name), []byte(name)) {
			d.fail(errOtherName)
		}
		if d.err != nil {
			break
		}
		before = r.Name
		if err := v.Record(r); err != nil {
			return nil, err
		}
	}
	return d.end(), nil
}
