package gsstsig

import (
	"crypto/sha256"
	"encoding/binary"
)

// A Mark tells a signed message from all others, at all servers that would accept it. It
// is the same for the same octets, so that servers which keep marks in common do what a
// message asks for once, although each of them has seen it for the first time.
type Mark struct {
	// Context stands for the key: a context of GSS-API, at all servers that have it, or
	// one that an authenticator which was accepted twice has made under the same name.
	// Of a static key it has a part of the MAC.
	Context [16]byte
	// Number is the message's in the context.
	Number uint64
}

// Mark returns the mark of the request. That of a negotiation is zero.
func (t *Transaction) Mark() Mark { return t.mark }

// markOf is what stands for the context in marks. A replayed handshake gives a context
// with the same keys where it is not mutual, but what is signed in it is good under one
// key name only.
func (c *securityContext) markOf() (mark [16]byte) {
	digest := sha256.Sum256(append(c.mechanism.Authenticator(), c.name...))
	copy(mark[:], digest[:])
	return mark
}

// hmacMark is the mark of a message with a static key. The MAC covers all of it.
func hmacMark(key string, mac []byte) (mark Mark) {
	digest := sha256.Sum256(append([]byte(key), mac...))
	copy(mark.Context[:], digest[:])
	mark.Number = binary.BigEndian.Uint64(digest[len(mark.Context):])
	return mark
}
