package krb5

import (
	"encoding/binary"
	"errors"
)

// checksumGSS is the type of the field that is no checksum but carries flags
// (RFC 4121, section 4.1.1).
const checksumGSS = 0x8003

// GSS flags (RFC 4121, section 4.1.1.1; DCE style from MS-KILE).
const (
	flagDelegation = 1 << 0
	flagMutual     = 1 << 1
	flagReplay     = 1 << 2
	flagSequence   = 1 << 3
	flagIntegrity  = 1 << 5
	flagDCEStyle   = 1 << 12
)

// bindingsSize is the length of the channel bindings' hash.
const bindingsSize = 16

// gssChecksum is the content of the authenticator's checksum field.
type gssChecksum struct {
	bindings [bindingsSize]byte // all zero: the initiator gave none
	flags    uint32
}

// parseGSSChecksum reads the field. Delegated credentials are stepped over
// within their bounds: nothing here acts on behalf of a client, and they are
// wiped with the authenticator. What follows them is for extensions, which
// acceptors ignore.
//
// Channel bindings are read but not compared: an acceptor without bindings of
// its own lets any pass (RFC 2743, section 1.1.6, as MIT Kerberos does), and
// DNS has none.
func parseGSSChecksum(b []byte) (gssChecksum, error) {
	var c gssChecksum
	if len(b) < 4+bindingsSize+4 {
		return c, errors.New("its GSS checksum field is too short")
	}
	if binary.LittleEndian.Uint32(b) != bindingsSize {
		return c, errors.New("its channel bindings have a wrong length")
	}
	copy(c.bindings[:], b[4:])
	c.flags = binary.LittleEndian.Uint32(b[4+bindingsSize:])
	if c.flags&flagDelegation != 0 {
		b = b[4+bindingsSize+4:]
		if len(b) < 4 || binary.LittleEndian.Uint16(b) != 1 || int(binary.LittleEndian.Uint16(b[2:])) > len(b)-4 {
			return c, errors.New("its delegated credentials do not fit the GSS checksum field")
		}
	}
	return c, nil
}

func (c gssChecksum) marshal() []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 24), bindingsSize)
	b = append(b, c.bindings[:]...)
	return binary.LittleEndian.AppendUint32(b, c.flags)
}
