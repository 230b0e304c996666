package tsig

import (
	"encoding/binary"
	"fmt"
)

// ServerTransaction signs the messages of one answer. Begin makes it
// ready. It is not safe for concurrent use.
type ServerTransaction struct {
	prior  []byte // MAC of the request, then of the last message signed
	signed int    // messages so far
	room   [64]byte
}

// Begin starts the answer to a request with that MAC, which is empty if the
// request was not signed. It copies the MAC.
func (t *ServerTransaction) Begin(requestMAC []byte) {
	t.prior, t.signed = append(t.room[:0], requestMAC...), 0
}

// Prior returns the MAC that the next message covers. It shares memory with t.
func (t *ServerTransaction) Prior() []byte { return t.prior }

// AppendPrior appends what the MAC covers before the next message.
func (t *ServerTransaction) AppendPrior(b []byte) []byte {
	if len(t.prior) == 0 && t.signed == 0 {
		return b
	}
	return appendCounted(b, t.prior)
}

// Sign returns the message that stands in digest from start to its end, with a
// TSIG record added. digest begins with what AppendPrior appended; Sign appends
// to it. The first message of an answer covers all fields, the later ones the
// timers only (RFC 8945 section 5.3.1). The message returned belongs to the
// caller.
func (t *ServerTransaction) Sign(digest *[]byte, start int, f Fields, sign func([]byte) ([]byte, error)) ([]byte, error) {
	message := (*digest)[start:]
	size := len(message)
	if t.signed > 0 {
		*digest = appendTimers(*digest, f.TimeSigned, f.Fudge)
	} else {
		*digest = appendVariables(*digest, f.Name, f.Algorithm, f.TimeSigned, f.Fudge, f.Error, f.Other)
	}
	mac, err := sign(*digest)
	if err != nil {
		return nil, err
	}
	wire := make([]byte, 0, size+f.Size(len(mac)))
	wire = append(wire, (*digest)[start:start+size]...)
	wire, ok := f.AppendTo(wire, 0, binary.BigEndian.Uint16(wire), mac)
	if !ok {
		return nil, fmt.Errorf("no room for a TSIG record in a message of %d octets", size)
	}
	t.prior = append(t.prior[:0], mac...)
	t.signed++
	return wire, nil
}
