package etcd

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const (
	headVersion = 1
	// maxServer bounds the name of a server.
	maxServer = 255

	// The bits of the octet that says what follows and how the zone is frozen.
	headWithSOA = 1
	headSealed  = 2
)

// An id identifies a batch: the epoch (4), then random octets.
type id [16]byte

func (i id) epoch() uint32 { return binary.BigEndian.Uint32(i[:]) }

// A head is the state of a zone that every batch moves on. Its encoding is its fields in order.
type head struct {
	sequence uint64
	serial   uint32
	batch    id
	// oldest is the sequence of the oldest batch in the log, and one more than sequence if there is none.
	oldest uint64
	// marks is the oldest sequence whose marks are kept apart from the log, which has those from oldest on. It is
	// oldest if there is none.
	marks uint64
	// frozen is zero if the zone is not.
	frozen store.Freeze
	// server committed the batch, or made the epoch.
	server string
	// soa is the zone's SOA record. It changes with almost every batch, and so is not among its name's records.
	// Without a name there is none.
	soa store.Record
}

var (
	errOldest    = errors.New("has a log that begins behind its end, or marks that begin behind the log")
	errHeadFlags = errors.New("has flags that are not known")
)

func (h *head) append(dst []byte) []byte {
	dst = append(dst, headVersion)
	dst = binary.AppendUvarint(dst, h.sequence)
	dst = binary.AppendUvarint(dst, uint64(h.serial))
	dst = append(dst, h.batch[:]...)
	dst = binary.AppendUvarint(dst, h.oldest)
	dst = binary.AppendUvarint(dst, h.marks)
	dst = appendTime(dst, h.frozen.Since)
	dst = appendBytes(dst, h.server)
	var flags byte
	if h.frozen.Sealed {
		flags |= headSealed
	}
	if h.soa.Name == "" {
		return append(dst, flags)
	}
	return appendRecord(append(dst, flags|headWithSOA), "", &h.soa)
}

func decodeHead(value []byte) (head, error) {
	d := decode(value, headVersion)
	var h head
	h.sequence = d.uvarint(math.MaxInt64)
	h.serial = uint32(d.uvarint(math.MaxUint32))
	copy(h.batch[:], d.take(len(h.batch)))
	h.oldest = d.uvarint(math.MaxInt64)
	h.marks = d.uvarint(math.MaxInt64)
	h.frozen.Since = d.time()
	h.server = string(d.bytes(maxServer))
	flags := d.octet()
	h.frozen.Sealed = flags&headSealed != 0
	d.checkFreeze(h.frozen)
	switch {
	case d.err != nil:
	case flags&^(headWithSOA|headSealed) != 0:
		d.fail(errHeadFlags)
	case flags&headWithSOA != 0:
		h.soa = d.record("")
	}
	if d.err == nil && (h.oldest > h.sequence+1 || h.marks > h.oldest || h.oldest-h.marks > 2*maxMarked) {
		d.fail(errOldest)
	}
	return h, d.end()
}
