package etcd

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

var (
	errName   = errors.New("has a name that is not one in wire form")
	errRecord = errors.New("store: a record has a name or rdata that no message can have")
)

const (
	maxRdata = math.MaxUint16
	// maxPrincipal bounds the principal of an owner. A message cannot carry a longer one.
	maxPrincipal = math.MaxUint16
	// minRecord is how many octets a record takes at least.
	minRecord = 6
)

// A record is its name, type, class, TTL, time in hours and rdata. A name of no octets is that of the record
// before.

func checkRecord(r *store.Record) error {
	if dnswire.NameLen([]byte(r.Name)) != len(r.Name) || r.Name == "" || len(r.Data) > maxRdata {
		return errRecord
	}
	return nil
}

// appendRecord appends a record that follows one at the name before.
func appendRecord(dst []byte, before string, r *store.Record) []byte {
	if r.Name == before {
		dst = append(dst, 0)
	} else {
		dst = appendBytes(dst, r.Name)
	}
	dst = binary.AppendUvarint(dst, uint64(r.Type))
	dst = binary.AppendUvarint(dst, uint64(r.Class))
	dst = binary.AppendUvarint(dst, uint64(r.TTL))
	dst = binary.AppendUvarint(dst, uint64(r.Hours))
	return appendBytes(dst, r.Data)
}

// record takes a record that follows one at the name before. Its Data shares memory with the value.
func (d *decoder) record(before string) store.Record {
	var r store.Record
	r.Name = d.nameAfter(before)
	r.Type = uint16(d.uvarint(math.MaxUint16))
	r.Class = uint16(d.uvarint(math.MaxUint16))
	r.TTL = uint32(d.uvarint(math.MaxUint32))
	r.Hours = uint32(d.uvarint(math.MaxUint32))
	r.Data = d.bytes(maxRdata)
	return r
}

func (d *decoder) nameAfter(before string) string {
	b := d.bytes(dnswire.MaxName)
	if len(b) == 0 {
		if before == "" {
			d.fail(errName)
		}
		return before
	}
	if dnswire.NameLen(b) != len(b) {
		d.fail(errName)
		return ""
	}
	return string(b)
}

// name takes a name in wire form.
func (d *decoder) name() string { return d.nameAfter("") }

func appendRecords(dst []byte, before *string, list []store.Record) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		r := &list[i]
		if err := checkRecord(r); err != nil {
			return nil, err
		}
		dst = appendRecord(dst, *before, r)
		*before = r.Name
	}
	return dst, nil
}

func (d *decoder) records(before *string) []store.Record {
	n := d.count(minRecord)
	if n == 0 {
		return nil
	}
	list := make([]store.Record, n)
	for i := range list {
		list[i] = d.record(*before)
		*before = list[i].Name
	}
	return list
}

// An owner is the principal and when the name's records went.

func appendOwner(dst []byte, o *store.Owner) []byte {
	dst = appendBytes(dst, o.Principal)
	return appendTime(dst, o.Deleted)
}

func (d *decoder) owner(name string) store.Owner {
	return store.Owner{Name: name, Principal: string(d.bytes(maxPrincipal)), Deleted: d.deleted()}
}

// deleted takes a time in whole seconds.
func (d *decoder) deleted() time.Time {
	t := d.time()
	if t.Nanosecond() != 0 {
		d.fail(errNumber)
	}
	return t
}
