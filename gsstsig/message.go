package gsstsig

import (
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"
)

const headerSize = 12 // octets of a DNS header, RFC 1035 section 4.1.1

// tsigRecord is the TSIG record of a received message, RFC 8945 section 4.2.
// Its slices share memory with the message.
type tsigRecord struct {
	start      int // offset of the record: the MAC covers what is before it
	name       wireName
	algorithm  wireName
	timeSigned uint64 // seconds since 1970, 48 bits
	fudge      uint16 // seconds
	mac        []byte
	originalID uint16
	tsigError  uint16
	other      []byte
}

// What makes a message FORMERR before any key is looked at.
var (
	errShort      = errors.New("message ends within its header")
	errRecords    = errors.New("message does not hold the records that its header counts")
	errTrailing   = errors.New("octets after the last record")
	errTSIGPlace  = errors.New("TSIG record is not the last of the additional section")
	errTSIGClass  = errors.New("TSIG record whose class is not ANY or whose TTL is not 0")
	errTSIGFields = errors.New("TSIG record with malformed data")
)

// findTSIG walks over the message to its end and reads the TSIG record, which
// may only be the very last one (RFC 8945 section 5.1). It reports false when
// there is none. The walk is over the octets, not over somebody's parsed form,
// because verifiers that looked at the first TSIG while others believed the
// last have let clients pick their identity.
func (t *tsigRecord) findTSIG(message []byte) (bool, error) {
	if len(message) < headerSize {
		return false, errShort
	}
	off, ok := headerSize, true
	for range binary.BigEndian.Uint16(message[4:]) {
		if off, ok = skipName(message, off); !ok || off+4 > len(message) {
			return false, errRecords
		}
		off += 4
	}
	additional := int(binary.BigEndian.Uint16(message[10:]))
	records := int(binary.BigEndian.Uint16(message[6:])) + int(binary.BigEndian.Uint16(message[8:])) + additional
	for i := range records {
		start := off
		if off, ok = skipName(message, off); !ok || off+10 > len(message) {
			return false, errRecords
		}
		fixed := message[off : off+10]
		data := off + 10
		end := data + int(binary.BigEndian.Uint16(fixed[8:]))
		if end > len(message) {
			return false, errRecords
		}
		off = end
		if binary.BigEndian.Uint16(fixed) != dns.TypeTSIG {
			continue
		}
		if i != records-1 || additional == 0 {
			return false, errTSIGPlace
		}
		if end != len(message) {
			return false, errTrailing
		}
		if binary.BigEndian.Uint16(fixed[2:]) != dns.ClassANY || binary.BigEndian.Uint32(fixed[4:]) != 0 {
			return false, errTSIGClass
		}
		t.start = start
		if _, ok := t.name.readName(message, start); !ok || !t.readData(message, data) {
			return false, errTSIGFields
		}
		return true, nil
	}
	if off != len(message) {
		return false, errTrailing
	}
	return false, nil
}

// readData reads the RDATA from off to the end of the message.
func (t *tsigRecord) readData(message []byte, off int) bool {
	off, ok := t.algorithm.readName(message, off)
	if !ok || off+10 > len(message) {
		return false
	}
	t.timeSigned = uint64(binary.BigEndian.Uint16(message[off:]))<<32 | uint64(binary.BigEndian.Uint32(message[off+2:]))
	t.fudge = binary.BigEndian.Uint16(message[off+6:])
	size := int(binary.BigEndian.Uint16(message[off+8:]))
	off += 10
	if off+size+6 > len(message) {
		return false
	}
	t.mac = message[off : off+size]
	off += size
	t.originalID = binary.BigEndian.Uint16(message[off:])
	t.tsigError = binary.BigEndian.Uint16(message[off+2:])
	size = int(binary.BigEndian.Uint16(message[off+4:]))
	off += 6
	if off+size != len(message) {
		return false
	}
	t.other = message[off:]
	return true
}
