package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/internal/namekey"
)

// The first octet of a key in the engine is the kind of its value. Names in keys are as package namekey
// writes them.
const (
	keyIdentity = 'i' // identity.text
	keyState    = 's' // state
	keyChange   = 'l' // then the change's number (8): change
	keyOwner    = 'o' // then the name: owner
	keyRecord   = 'r' // then the name, type (2), class (2), rdata: record
)

// Rdata in keys is verbatim if short. Long rdata is in the value, and its SHA-256 in the key.
const (
	dataVerbatim = 0x00
	dataDigest   = 0x01
	maxKeyData   = 255
)

var (
	errBadKey   = namekey.ErrKey
	errBadValue = errors.New("unknown value")
)

// appendRecord appends the key and the value of a record. The value is its TTL (4), its time in hours
// (4), and its rdata if that is long.
func appendRecord(key, value []byte, r store.Record) (_, _ []byte, err error) {
	if key, err = namekey.Append(append(key, keyRecord), r.Name); err != nil {
		return nil, nil, err
	}
	key = binary.BigEndian.AppendUint16(key, r.Type)
	key = binary.BigEndian.AppendUint16(key, r.Class)
	value = binary.BigEndian.AppendUint32(value, r.TTL)
	value = binary.BigEndian.AppendUint32(value, r.Hours)
	if len(r.Data) <= maxKeyData {
		return append(append(key, dataVerbatim), r.Data...), value, nil
	}
	digest := sha256.Sum256(r.Data)
	return append(append(key, dataDigest), digest[:]...), append(value, r.Data...), nil
}

// A recordDecoder decodes records one after the other. A name that comes several times is decoded
// once.
type recordDecoder struct {
	// cut and decode are those of package namekey, or those of format 1.
	cut    func(key []byte) (name, rest []byte, ok bool)
	decode func(name []byte) (string, error)
	// header is how many octets of a value are before the rdata. Before format 3 there was no time.
	header int

	last []byte // encoded
	name string
	data []byte
}

const (
	recordHeader  = 8
	format2Record = 4
)

func newDecoder() *recordDecoder {
	return &recordDecoder{cut: namekey.Cut, decode: namekey.Decode, header: recordHeader}
}

// record decodes what appendRecord made. Its Data is valid until the next call and may be modified,
// which the octets that an engine returns must not be.
func (d *recordDecoder) record(key, value []byte) (r store.Record, err error) {
	name, rest, ok := d.cut(key[1:])
	if !ok || len(rest) < 5 || len(value) < d.header {
		return r, fmt.Errorf("%w %q", errBadKey, key)
	}
	if string(name) != string(d.last) {
		if d.name, err = d.decode(name); err != nil {
			return r, fmt.Errorf("%w %q", err, key)
		}
		d.last = append(d.last[:0], name...)
	}
	r = store.Record{
		Name:  d.name,
		Type:  binary.BigEndian.Uint16(rest),
		Class: binary.BigEndian.Uint16(rest[2:]),
		TTL:   binary.BigEndian.Uint32(value),
	}
	if d.header == recordHeader {
		r.Hours = binary.BigEndian.Uint32(value[4:])
	}
	switch kind := rest[4]; {
	case kind == dataVerbatim && len(value) == d.header:
		d.data = append(d.data[:0], rest[5:]...)
	case kind == dataDigest:
		d.data = append(d.data[:0], value[d.header:]...)
		if digest := sha256.Sum256(d.data); string(digest[:]) != string(rest[5:]) {
			return r, fmt.Errorf("%w of key %q", errBadValue, key)
		}
	default:
		return r, fmt.Errorf("%w %q", errBadKey, key)
	}
	r.Data = d.data
	return r, nil
}

// appendOwner appends the value of an owner: when its name's records went, in seconds of Unix time
// (8), 0 for never, then the principal.
func appendOwner(value []byte, o store.Owner) []byte {
	deleted := int64(0)
	if !o.Deleted.IsZero() {
		deleted = o.Deleted.Unix()
	}
	value = binary.BigEndian.AppendUint64(value, uint64(deleted))
	return append(value, o.Principal...)
}

func (d *recordDecoder) owner(key, value []byte) (o store.Owner, err error) {
	name, rest, ok := d.cut(key[1:])
	if !ok || len(rest) > 0 || len(value) < 8 {
		return o, fmt.Errorf("%w %q", errBadKey, key)
	}
	if o.Name, err = d.decode(name); err != nil {
		return o, fmt.Errorf("%w %q", err, key)
	}
	o.Principal = string(value[8:])
	if deleted := int64(binary.BigEndian.Uint64(value)); deleted != 0 {
		o.Deleted = time.Unix(deleted, 0).UTC()
	}
	return o, nil
}

// state is what every commit moves on. Its encoding is its fields in order.
type state struct {
	commits uint64 // how many there were; Init is the first
	serial  uint32
	logged  uint64 // how many changes there ever were in the log
}

func (s state) append(value []byte) []byte {
	value = binary.BigEndian.AppendUint64(value, s.commits)
	value = binary.BigEndian.AppendUint32(value, s.serial)
	return binary.BigEndian.AppendUint64(value, s.logged)
}

func decodeState(value []byte) (state, error) {
	if len(value) != 20 {
		return state{}, fmt.Errorf("%w of the state", errBadValue)
	}
	return state{
		commits: binary.BigEndian.Uint64(value),
		serial:  binary.BigEndian.Uint32(value[8:]),
		logged:  binary.BigEndian.Uint64(value[12:]),
	}, nil
}

func appendChangeKey(key []byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(key, keyChange), number)
}

// A change in the log begins with a header: From (4), To (4), time of the commit in seconds of Unix
// time (8), number of removed records (4), length of the author (2), length of the rule (2). Before
// format 3 it ended before the author.
const (
	changeHeader  = 24
	format2Change = 20
)

// appendChange appends the value of a change. The header is followed by the author and the rule, then
// by the records, removed ones first: length of the name (2), length of the rdata (2), type (2),
// class (2), TTL (4), name, rdata.
func appendChange(value []byte, c store.Change, committed int64) ([]byte, error) {
	value = binary.BigEndian.AppendUint32(value, c.From)
	value = binary.BigEndian.AppendUint32(value, c.To)
	value = binary.BigEndian.AppendUint64(value, uint64(committed))
	value = binary.BigEndian.AppendUint32(value, uint32(len(c.Removed)))
	value = binary.BigEndian.AppendUint16(value, uint16(len(c.Author)))
	value = binary.BigEndian.AppendUint16(value, uint16(len(c.Rule)))
	value = append(append(value, c.Author...), c.Rule...)
	for _, list := range [][]store.Record{c.Removed, c.Added} {
		for _, r := range list {
			if len(r.Name) > dnswire.MaxName || len(r.Data) > 65535 {
				return nil, fmt.Errorf("store: a record at %.64q has a name of %d and rdata of %d octets", r.Name, len(r.Name), len(r.Data))
			}
			value = binary.BigEndian.AppendUint16(value, uint16(len(r.Name)))
			value = binary.BigEndian.AppendUint16(value, uint16(len(r.Data)))
			value = binary.BigEndian.AppendUint16(value, r.Type)
			value = binary.BigEndian.AppendUint16(value, r.Class)
			value = binary.BigEndian.AppendUint32(value, r.TTL)
			value = append(append(value, r.Name...), r.Data...)
		}
	}
	return value, nil
}

// decodeChange is the inverse of appendChange. The change shares nothing with value.
func decodeChange(value []byte) (store.Change, error) { return decodeChangeOf(value, changeHeader) }

// decodeChangeOf decodes a change with a header of that size.
func decodeChangeOf(value []byte, header int) (c store.Change, err error) {
	if len(value) < header {
		return c, fmt.Errorf("%w of a change", errBadValue)
	}
	c.From = binary.BigEndian.Uint32(value)
	c.To = binary.BigEndian.Uint32(value[4:])
	c.Committed = time.Unix(changeTime(value), 0).UTC()
	removed := binary.BigEndian.Uint32(value[16:])
	// One copy serves all names, another all rdata.
	text := string(value)
	data := []byte(text)
	at := header
	if header == changeHeader {
		author := at + int(binary.BigEndian.Uint16(data[20:]))
		rule := author + int(binary.BigEndian.Uint16(data[22:]))
		if rule > len(value) {
			return c, fmt.Errorf("%w of a change", errBadValue)
		}
		c.Author, c.Rule, at = strings.Clone(text[at:author]), strings.Clone(text[author:rule]), rule
	}
	for at < len(value) {
		const fixed = 12
		if len(value)-at < fixed {
			return c, fmt.Errorf("%w of a change", errBadValue)
		}
		name, size := int(binary.BigEndian.Uint16(data[at:])), int(binary.BigEndian.Uint16(data[at+2:]))
		if len(value)-at-fixed < name+size {
			return c, fmt.Errorf("%w of a change", errBadValue)
		}
		middle := at + fixed + name
		end := middle + size
		r := store.Record{
			Name:  text[at+fixed : middle],
			Type:  binary.BigEndian.Uint16(data[at+4:]),
			Class: binary.BigEndian.Uint16(data[at+6:]),
			TTL:   binary.BigEndian.Uint32(data[at+8:]),
			Data:  data[middle:end:end],
		}
		if removed > 0 {
			removed--
			c.Removed = append(c.Removed, r)
		} else {
			c.Added = append(c.Added, r)
		}
		at = end
	}
	if removed > 0 {
		return c, fmt.Errorf("%w of a change", errBadValue)
	}
	return c, nil
}

// changeNumber is the inverse of appendChangeKey.
func changeNumber(key []byte) (uint64, error) {
	if len(key) != 9 {
		return 0, fmt.Errorf("%w %q", errBadKey, key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// changeTime returns when a change was committed, in seconds of Unix time.
func changeTime(value []byte) int64 { return int64(binary.BigEndian.Uint64(value[8:])) }

// changeHours returns the same in hours.
func changeHours(value []byte) uint32 { return uint32(changeTime(value) / 3600) }
