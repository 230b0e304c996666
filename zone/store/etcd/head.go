package etcd

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

const (
	headVersion = 1
	// maxServer bounds the name of a server.
	maxServer = 255
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
	// marks is the oldest sequence whose marks are kept apart from the log, and one more than sequence if there
	// is none.
	marks uint64
	// frozen is since when the zone is frozen; zero if it is not.
	frozen time.Time
	// server committed the batch, or made the epoch.
	server string
}

var errOldest = errors.New("has a log that begins behind its end")

func (h *head) append(dst []byte) []byte {
	dst = append(dst, headVersion)
	dst = binary.AppendUvarint(dst, h.sequence)
	dst = binary.AppendUvarint(dst, uint64(h.serial))
	dst = append(dst, h.batch[:]...)
	dst = binary.AppendUvarint(dst, h.oldest)
	dst = binary.AppendUvarint(dst, h.marks)
	dst = appendTime(dst, h.frozen)
	return appendBytes(dst, h.server)
}

func decodeHead(value []byte) (head, error) {
	d := decode(value, headVersion)
	var h head
	h.sequence = d.uvarint(math.MaxInt64)
	h.serial = uint32(d.uvarint(math.MaxUint32))
	copy(h.batch[:], d.take(len(h.batch)))
	h.oldest = d.uvarint(math.MaxInt64)
	h.marks = d.uvarint(math.MaxInt64)
	h.frozen = d.time()
	h.server = string(d.bytes(maxServer))
	if d.err == nil && (h.oldest > h.sequence+1 || h.marks > h.sequence+1 || h.sequence+1-h.marks > 2*maxMarked) {
		d.fail(errOldest)
	}
	return h, d.end()
}
