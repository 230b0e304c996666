package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// The first octet of a key in the engine is the kind of its value.
const (
	keyIdentity = 'i' // identity.text
	keyState    = 's' // state
	keyChange   = 'l' // then the change's number (8): change
	keyOwner    = 'o' // then the name: owner
	keyRecord   = 'r' // then the name, type (2), class (2), rdata: record
)

// Names in keys are turned round, so that the names of a subtree are neighbours, as they are in the
// zone's own order, which makes filling its tree fast. A name in the zone has its origin cut off,
// then its labels from the right, each ended by a zero octet, then one more zero octet. Labels are
// as in the presentation form, which has no zero octets. Any other name is kept as it is behind
// nameVerbatim, which begins no label.
const (
	nameEnd      = 0x00
	nameVerbatim = 0x01
)

// Rdata in keys is verbatim if short. Long rdata is in the value, and its SHA-256 in the key.
const (
	dataVerbatim = 0x00
	dataDigest   = 0x01
	maxKeyData   = 255
)

var (
	errBadKey   = errors.New("unknown key")
	errBadValue = errors.New("unknown value")
	errBadName  = errors.New("store: a name holds a zero octet or is too long")
)

// maxName bounds the presentation form of a name: 255 octets, each escaped.
const maxName = 4 * 255

// names encodes the names of one zone.
type names struct {
	origin string // absolute
}

func (n names) append(key []byte, name string) ([]byte, error) {
	if strings.IndexByte(name, 0) >= 0 || len(name) > maxName {
		return nil, errBadName
	}
	start := len(key)
	if name == n.origin {
		return append(key, nameEnd), nil
	}
	relative, ok := strings.CutSuffix(name, n.origin)
	if ok && n.origin != "." {
		relative, ok = strings.CutSuffix(relative, ".")
	} else if ok {
		// The root's own dot ends the last label.
		ok = relative != ""
	}
	for ok {
		// A dot behind a backslash ends no label. One behind an escaped backslash would, but taking
		// both as one label is no harm.
		dot := strings.LastIndexByte(relative, '.')
		for dot > 0 && relative[dot-1] == '\\' {
			dot = strings.LastIndexByte(relative[:dot], '.')
		}
		label := relative[dot+1:]
		if label == "" || label[0] == nameVerbatim {
			break
		}
		key = append(append(key, label...), nameEnd)
		if dot < 0 {
			return append(key, nameEnd), nil
		}
		relative = relative[:dot]
	}
	key = append(append(key[:start], nameVerbatim), name...)
	return append(key, nameEnd), nil
}

// cut splits off the name that key begins with.
func (n names) cut(key []byte) (name, rest []byte, ok bool) {
	if len(key) == 0 {
		return nil, nil, false
	}
	if key[0] == nameVerbatim {
		for i, b := range key {
			if b == nameEnd {
				return key[:i+1], key[i+1:], true
			}
		}
		return nil, nil, false
	}
	for i := 0; i < len(key); i++ {
		if key[i] != nameEnd {
			continue
		}
		if i == 0 || key[i-1] == nameEnd {
			return key[:i+1], key[i+1:], true
		}
	}
	return nil, nil, false
}

// text is the inverse of append for what cut has cut off. buffer is for use again.
func (n names) text(name []byte, buffer []byte) (text string, _ []byte) {
	if name[0] == nameVerbatim {
		return string(name[1 : len(name)-1]), buffer
	}
	buffer = buffer[:0]
	labels := name[:len(name)-1]
	for len(labels) > 0 {
		end := len(labels) - 1
		start := end
		for start > 0 && labels[start-1] != nameEnd {
			start--
		}
		buffer = append(append(buffer, labels[start:end]...), '.')
		labels = labels[:start]
	}
	if n.origin != "." || len(buffer) == 0 {
		buffer = append(buffer, n.origin...)
	}
	return string(buffer), buffer
}

// appendRecord appends the key and the value of a record.
func (n names) appendRecord(key, value []byte, r store.Record) (_, _ []byte, err error) {
	if key, err = n.append(append(key, keyRecord), r.Name); err != nil {
		return nil, nil, err
	}
	key = binary.BigEndian.AppendUint16(key, r.Type)
	key = binary.BigEndian.AppendUint16(key, r.Class)
	value = binary.BigEndian.AppendUint32(value, r.TTL)
	if len(r.Data) <= maxKeyData {
		return append(append(key, dataVerbatim), r.Data...), value, nil
	}
	digest := sha256.Sum256(r.Data)
	return append(append(key, dataDigest), digest[:]...), append(value, r.Data...), nil
}

// A recordDecoder decodes records one after the other. A name that comes several times is made
// once.
type recordDecoder struct {
	names  names
	last   []byte // encoded
	name   string
	buffer []byte
	data   []byte
}

// record decodes what appendRecord made. Its Data is valid until the next call and may be modified,
// which what an engine hands out must not be.
func (d *recordDecoder) record(key, value []byte) (r store.Record, err error) {
	name, rest, ok := d.names.cut(key[1:])
	if !ok || len(rest) < 5 || len(value) < 4 {
		return r, fmt.Errorf("%w %q", errBadKey, key)
	}
	if string(name) != string(d.last) {
		d.last = append(d.last[:0], name...)
		d.name, d.buffer = d.names.text(name, d.buffer)
	}
	r = store.Record{
		Name:  d.name,
		Type:  binary.BigEndian.Uint16(rest),
		Class: binary.BigEndian.Uint16(rest[2:]),
		TTL:   binary.BigEndian.Uint32(value),
	}
	switch kind := rest[4]; {
	case kind == dataVerbatim && len(value) == 4:
		d.data = append(d.data[:0], rest[5:]...)
	case kind == dataDigest:
		d.data = append(d.data[:0], value[4:]...)
		if digest := sha256.Sum256(d.data); string(digest[:]) != string(rest[5:]) {
			return r, fmt.Errorf("%w of %s type %d", errBadValue, r.Name, r.Type)
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
	name, rest, ok := d.names.cut(key[1:])
	if !ok || len(rest) > 0 || len(value) < 8 {
		return o, fmt.Errorf("%w %q", errBadKey, key)
	}
	o.Name, d.buffer = d.names.text(name, d.buffer)
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

// changeHeader is what a change in the log begins with: From (4), To (4), time of the commit in
// seconds of Unix time (8), number of removed records (4).
const changeHeader = 20

// appendChange appends the value of a change. The header is followed by the records, removed ones
// first: length of the name (2), length of the rdata (2), type (2), class (2), TTL (4), name,
// rdata.
func appendChange(value []byte, c store.Change, now time.Time) ([]byte, error) {
	value = binary.BigEndian.AppendUint32(value, c.From)
	value = binary.BigEndian.AppendUint32(value, c.To)
	value = binary.BigEndian.AppendUint64(value, uint64(now.Unix()))
	value = binary.BigEndian.AppendUint32(value, uint32(len(c.Removed)))
	for _, list := range [][]store.Record{c.Removed, c.Added} {
		for _, r := range list {
			if len(r.Name) > maxName || len(r.Data) > 65535 {
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
func decodeChange(value []byte) (c store.Change, err error) {
	if len(value) < changeHeader {
		return c, fmt.Errorf("%w of a change", errBadValue)
	}
	c.From = binary.BigEndian.Uint32(value)
	c.To = binary.BigEndian.Uint32(value[4:])
	removed := binary.BigEndian.Uint32(value[16:])
	// One copy serves all names, another all rdata.
	text := string(value)
	data := []byte(text)
	for at := changeHeader; at < len(value); {
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

// changeHours returns when a change was committed, in hours of Unix time.
func changeHours(value []byte) uint32 {
	return uint32(binary.BigEndian.Uint64(value[8:]) / 3600)
}
