package gsstsig

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// A Mark tells a signed message from all others, at all servers that would accept it. It
// is the same for the same octets, so that servers which keep marks in common do what a
// message asks for once, although each of them has seen it for the first time.
type Mark struct {
	// Context stands for the key: a context of GSS-API, at all servers that have it, or
	// one that an authenticator which was accepted twice has made under the same name.
	// With a static key, or RC4, there are no numbers to rely on: then it is of one
	// message alone.
	Context [16]byte
	// Number is the message's in the context. Later messages have higher numbers, if not
	// always the next one.
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

// markFor is the mark of the message with that number.
func (c *securityContext) markFor(number uint64) Mark {
	if c.mechanism.SessionEnctype() == krb5.RC4HMAC {
		return markOfOne(string(c.mark[:]), binary.BigEndian.AppendUint64(nil, number))
	}
	return Mark{Context: c.mark, Number: number}
}

// markOfOne is a mark whose context has one message.
func markOfOne(key string, message []byte) (mark Mark) {
	digest := sha256.Sum256(append([]byte(key), message...))
	copy(mark.Context[:], digest[:])
	mark.Number = binary.BigEndian.Uint64(digest[len(mark.Context):])
	return mark
}
