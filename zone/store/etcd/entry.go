package etcd

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const (
	entryVersion = 1
	// minChange is how many octets a change takes at least.
	minChange = 9
)

const (
	freezeUnchanged = 0
	freezeSet       = 1
	freezeSealed    = 2
)

var (
	errFreezeFlag = errors.New("has a freeze flag that is none, or of a zone that is sealed and not frozen")
	errSerials    = errors.New("has changes that are no chain of serials")
)

// An entryHeader is what an entry of the log begins with.
type entryHeader struct {
	sequence uint64
	batch    id
	// before is the id of the batch before, so that another history is noticed.
	before id
	// oldest is the oldest sequence in the log with this entry, and marks that of marks kept apart, as in a
	// head.
	oldest, marks uint64
	// from and to are the zone's serials before and after.
	from, to uint32
	time     time.Time
	server   string
	// frozen, unless nil, sets the freeze.
	frozen *store.Freeze
}

// The encoding of an entry is its header's fields in order, its marks and its changes. A change is its serials,
// author and rule, its records removed, added and refreshed, and its owners set and removed.

func appendEntry(dst []byte, h *entryHeader, b *store.Batch) ([]byte, error) {
	dst = append(dst, entryVersion)
	dst = binary.AppendUvarint(dst, h.sequence)
	dst = append(dst, h.batch[:]...)
	dst = append(dst, h.before[:]...)
	dst = binary.AppendUvarint(dst, h.oldest)
	dst = binary.AppendUvarint(dst, h.marks)
	dst = binary.AppendUvarint(dst, uint64(h.from))
	dst = binary.AppendUvarint(dst, uint64(h.to))
	dst = appendTime(dst, h.time)
	dst = appendBytes(dst, h.server)
	switch {
	case h.frozen == nil:
		dst = append(dst, freezeUnchanged)
	case h.frozen.Sealed:
		dst = appendTime(append(dst, freezeSealed), h.frozen.Since)
	default:
		dst = appendTime(append(dst, freezeSet), h.frozen.Since)
	}
	dst = appendMarks(dst, b.Marks)
	dst = binary.AppendUvarint(dst, uint64(len(b.Changes)))
	before := ""
	for i := range b.Changes {
		c := &b.Changes[i]
		dst = binary.AppendUvarint(dst, uint64(c.From))
		dst = binary.AppendUvarint(dst, uint64(c.To))
		dst = appendBytes(dst, c.Author)
		dst = appendBytes(dst, c.Rule)
		for _, list := range [][]store.Record{c.Removed, c.Added, c.Refreshed} {
			var err error
			if dst, err = appendRecords(dst, &before, list); err != nil {
				return nil, err
			}
		}
		dst = binary.AppendUvarint(dst, uint64(len(c.Owners)))
		for j := range c.Owners {
			dst = appendOwner(appendBytes(dst, c.Owners[j].Name), &c.Owners[j])
		}
		dst = binary.AppendUvarint(dst, uint64(len(c.Disowned)))
		for _, name := range c.Disowned {
			dst = appendBytes(dst, name)
		}
	}
	return dst, nil
}

// checkFreeze refuses a zone that is sealed and not frozen.
func (d *decoder) checkFreeze(f store.Freeze) {
	if d.err == nil && f.Sealed && f.Since.IsZero() {
		d.fail(errFreezeFlag)
	}
}

// header takes the header of an entry.
func (d *decoder) header() entryHeader {
	var h entryHeader
	h.sequence = d.uvarint(math.MaxInt64)
	copy(h.batch[:], d.take(len(h.batch)))
	copy(h.before[:], d.take(len(h.before)))
	h.oldest = d.uvarint(math.MaxInt64)
	h.marks = d.uvarint(math.MaxInt64)
	h.from = uint32(d.uvarint(math.MaxUint32))
	h.to = uint32(d.uvarint(math.MaxUint32))
	h.time = d.time()
	h.server = string(d.bytes(maxServer))
	switch flag := d.octet(); {
	case d.err != nil || flag == freezeUnchanged:
	case flag == freezeSet || flag == freezeSealed:
		h.frozen = &store.Freeze{Since: d.time(), Sealed: flag == freezeSealed}
		d.checkFreeze(*h.frozen)
	default:
		d.fail(errFreezeFlag)
	}
	if d.err == nil && (h.oldest > h.sequence || h.marks > h.oldest) {
		d.fail(errOldest)
	}
	return h
}

// decodeHeader decodes the header of an entry and leaves the rest.
func decodeHeader(value []byte) (entryHeader, error) {
	d := decode(value, entryVersion)
	h := d.header()
	return h, d.err
}

// decodeEntry decodes an entry. Its records share memory with value.
func decodeEntry(value []byte) (entryHeader, store.Batch, error) {
	d := decode(value, entryVersion)
	h := d.header()
	b := store.Batch{Frozen: h.frozen, Marks: d.marks()}
	n := d.count(minChange)
	if n > 0 {
		b.Changes = make([]store.Change, n)
	}
	before, serial := "", h.from
	for i := range b.Changes {
		c := &b.Changes[i]
		c.From = uint32(d.uvarint(math.MaxUint32))
		c.To = uint32(d.uvarint(math.MaxUint32))
		c.Author = string(d.bytes(store.MaxText))
		c.Rule = string(d.bytes(store.MaxText))
		c.Committed = h.time.Truncate(time.Second)
		c.Removed = d.records(&before)
		c.Added = d.records(&before)
		c.Refreshed = d.records(&before)
		if n := d.count(4); n > 0 {
			c.Owners = make([]store.Owner, n)
			for j := range c.Owners {
				c.Owners[j] = d.owner(d.name())
			}
		}
		if n := d.count(2); n > 0 {
			c.Disowned = make([]string, n)
			for j := range c.Disowned {
				c.Disowned[j] = d.name()
			}
		}
		if d.err == nil && c.From != serial {
			d.fail(errSerials)
		}
		serial = c.To
	}
	if d.err == nil && serial != h.to {
		d.fail(errSerials)
	}
	if err := d.end(); err != nil {
		return entryHeader{}, store.Batch{}, err
	}
	return h, b, nil
}
