package dnswire

import "encoding/binary"

// A Section is one of the four sections of a message (RFC 1035 section 4.1).
type Section uint8

// The sections in the order in which a message has them. UPDATE calls them
// zone, prerequisite, update and additional (RFC 2136 section 2).
const (
	Questions Section = iota
	Answers
	Authority
	Additional
)

// A Header is the header of a message (RFC 1035 section 4.1.1).
type Header struct {
	ID uint16
	// Flags are the bits from QR to RCODE.
	Flags uint16
	// Counts are the numbers of records by section.
	Counts [4]uint16
}

// Opcode returns the kind of query (RFC 1035 section 4.1.1).
func (h *Header) Opcode() int { return int(h.Flags>>11) & 0xF }

// Rcode returns the response code, without the bits that OPT adds (RFC 6891
// section 6.1.3).
func (h *Header) Rcode() int { return int(h.Flags) & 0xF }

// Response reports whether the QR bit is set.
func (h *Header) Response() bool { return h.Flags&0x8000 != 0 }

// ParseHeader reads the header of a message. Its error is [ErrHeader].
func ParseHeader(msg []byte) (Header, error) {
	if len(msg) < headerLen {
		return Header{}, ErrHeader
	}
	h := Header{ID: binary.BigEndian.Uint16(msg), Flags: binary.BigEndian.Uint16(msg[2:])}
	for i := range h.Counts {
		h.Counts[i] = binary.BigEndian.Uint16(msg[4+2*i:])
	}
	return h, nil
}

// A Record says where in a message a question or a record is, and what it is.
// Its octets stay in the message.
type Record struct {
	Section Section
	// Start is the offset of the record and of its owner's name, End is the
	// offset after the record.
	Start, End int
	Type       uint16
	Class      uint16
	// TTL is the TTL as it is in the message; a question has none.
	TTL uint32
	// RdataStart and RdataEnd enclose the rdata, whose names may be compressed:
	// see [ExpandRdata]. A question has none.
	RdataStart, RdataEnd int
}

// A Walker goes over the questions and records of a message. It checks that
// they are within the message, and nothing in the rdata. It takes no memory for
// a record.
type Walker struct {
	msg     []byte
	header  Header
	at      int
	section Section
	taken   int // of the section
	err     error
}

// NewWalker returns a walker that is before the first question of msg. Its
// error is [ErrHeader].
func NewWalker(msg []byte) (Walker, error) {
	h, err := ParseHeader(msg)
	return Walker{msg: msg, header: h, at: headerLen, err: err}, err
}

// Header returns the header of the message.
func (w *Walker) Header() Header { return w.header }

// Next goes on to the next question or record and describes it in r. It returns
// false at the end and when the message is malformed, which Err tells apart.
func (w *Walker) Next(r *Record) bool {
	if w.err != nil {
		return false
	}
	for w.section <= Additional && w.taken == int(w.header.Counts[w.section]) {
		w.section++
		w.taken = 0
	}
	if w.section > Additional {
		if w.at != len(w.msg) {
			w.err = ErrTrailing
		}
		return false
	}
	*r = Record{Section: w.section, Start: w.at}
	at, err := SkipName(w.msg, w.at)
	fixed := 10
	if w.section == Questions {
		fixed = 4
	}
	if err != nil || at+fixed > len(w.msg) {
		w.err = ErrTruncated
		return false
	}
	r.Type, r.Class = binary.BigEndian.Uint16(w.msg[at:]), binary.BigEndian.Uint16(w.msg[at+2:])
	r.RdataStart, r.RdataEnd = at+fixed, at+fixed
	if w.section != Questions {
		r.TTL = binary.BigEndian.Uint32(w.msg[at+4:])
		r.RdataEnd += int(binary.BigEndian.Uint16(w.msg[at+8:]))
	}
	if r.End = r.RdataEnd; r.End > len(w.msg) {
		w.err = ErrTruncated
		return false
	}
	w.at = r.End
	w.taken++
	return true
}

// Err returns nil if Next went over the whole message, and nothing was left.
// Otherwise it is [ErrHeader], [ErrTruncated], also for an owner that is no
// name, or [ErrTrailing]. It is nil before Next returned false.
func (w *Walker) Err() error { return w.err }

// AppendOwner appends the uncompressed name of a record's owner to dst. The
// error is an [*Error].
func (w *Walker) AppendOwner(dst []byte, r *Record) ([]byte, error) {
	name, _, err := UnpackName(dst, w.msg, r.Start)
	return name, err
}

// AppendRdata appends the record's rdata to dst: see [ExpandRdata].
func (w *Walker) AppendRdata(dst []byte, r *Record) ([]byte, error) {
	return ExpandRdata(dst, w.msg, r.RdataStart, r.RdataEnd, r.Type)
}
