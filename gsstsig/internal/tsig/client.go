package tsig

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxUnsigned is how many messages of an answer may follow each other without
// a signature (RFC 8945 section 5.3.1).
const maxUnsigned = 99

// ErrUnsignedRun means that too many messages of an answer came without a
// signature.
var ErrUnsignedRun = fmt.Errorf("more than %d messages in a row without a TSIG record", maxUnsigned)

// ClientTransaction follows the answer to one request. It is not safe for
// concurrent use. The zero value is that of a request that was not signed.
type ClientTransaction struct {
	prior    []byte // MAC of the request, then of the last reply that verified
	unsigned []byte // messages since then
	waiting  int    // how many
	verified int    // replies that verified
}

// SignRequest adds a TSIG record to a packed message that has none, and begins
// the transaction. sign makes the MAC.
func (t *ClientTransaction) SignRequest(message []byte, f Fields, sign func([]byte) ([]byte, error)) ([]byte, error) {
	if len(message) < HeaderSize {
		return nil, errors.New("message shorter than a DNS header")
	}
	digest := Buffer()
	defer Release(digest)
	*digest = append(*digest, message...)
	*digest = appendVariables(*digest, f.Name, f.Algorithm, f.TimeSigned, f.Fudge, f.Error, f.Other)
	mac, err := sign(*digest)
	if err != nil {
		return nil, err
	}
	wire := append(make([]byte, 0, len(message)+f.Size(len(mac))), message...)
	wire, ok := f.AppendTo(wire, 0, binary.BigEndian.Uint16(message), mac)
	if !ok {
		return nil, fmt.Errorf("no room for a TSIG record in a message of %d octets", len(message))
	}
	*t = ClientTransaction{prior: mac}
	return wire, nil
}

// Verified returns how many replies have verified.
func (t *ClientTransaction) Verified() int { return t.verified }

// Skip takes a reply without a TSIG record. A later signature covers it.
func (t *ClientTransaction) Skip(message []byte) error {
	if t.waiting++; t.waiting > maxUnsigned {
		return ErrUnsignedRun
	}
	t.unsigned = append(t.unsigned, message...)
	return nil
}

// AppendDigest appends what the MAC of a signed reply covers: the MAC before,
// the replies that were skipped, and the reply. r is the record of m. The first
// reply that verifies covers all fields of the record, the later ones the
// timers only (RFC 8945 section 5.3.1).
func (t *ClientTransaction) AppendDigest(b []byte, m *Message, r *Record) []byte {
	if len(t.prior) > 0 {
		b = appendCounted(b, t.prior)
	}
	b = append(b, t.unsigned...)
	if t.verified == 0 {
		return m.AppendRequestDigest(b, r)
	}
	return appendTimers(m.appendUnsigned(b, r), r.TimeSigned, r.Fudge)
}

// Accept notes that the MAC of a signed reply is right.
func (t *ClientTransaction) Accept(r *Record) {
	t.prior = append(t.prior[:0], r.MAC...)
	t.unsigned, t.waiting = nil, 0
	t.verified++
}
