package krb5

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"slices"
	"sync"
)

// MICs of contexts whose key is of type RC4 (RFC 1964, section 1.2.1, as
// changed by RFC 4757, section 7.2): in GSS framing, a header of eight octets,
// the encrypted sequence number with the direction, and eight octets of
// checksum.
//
// The checksum does not cover the sequence number, and RC4 lets single bits of
// it be flipped. An observer of a MIC can therefore make it look new. What
// follows from the message alone cannot be changed: so the last checksums are
// remembered as well, and none is taken twice.

const (
	tokenRC4MIC     = 0x0101
	rc4MICBody      = 8 + 8 + 8
	rc4ChecksumSize = 8
	rc4Remembered   = 256 // checksums; 2 KiB in a context that needs them
)

// rc4Header is TOK_ID, SGN_ALG (HMAC) and filler.
var rc4Header = [8]byte{tokenRC4MIC >> 8, tokenRC4MIC & 0xFF, 0x11, 0x00, 0xFF, 0xFF, 0xFF, 0xFF}

// rc4Keys are made from the context's key.
type rc4Keys struct {
	sign     []byte // Ksign
	sequence []byte // what the key of each sequence number is made from
}

func newRC4Keys(k key) rc4Keys {
	return rc4Keys{sign: rc4Sign(k.value), sequence: hmacMD5(k.value, littleEndian(0))}
}

// checksum is that of a message's MIC.
func (k *rc4Keys) checksum(message []byte) []byte {
	return rc4Checksum(k.sign, usageRC4GSSToken, rc4Header[:], message)[:rc4ChecksumSize]
}

// crypt encrypts or decrypts a sequence number with direction.
func (k *rc4Keys) crypt(sequence, checksum []byte) []byte {
	return rc4Stream(hmacMD5(k.sequence, checksum), sequence)
}

func rc4Direction(byAcceptor bool) [4]byte {
	if byAcceptor {
		return [4]byte{0xFF, 0xFF, 0xFF, 0xFF}
	}
	return [4]byte{}
}

func (k *rc4Keys) token(mechanism, message []byte, number uint32, byAcceptor bool) []byte {
	direction := rc4Direction(byAcceptor)
	sum := k.checksum(message)
	b := make([]byte, 0, 2+len(mechanism)+rc4MICBody)
	b = append(b, 0x60, byte(len(mechanism)+rc4MICBody))
	b = append(b, mechanism...)
	b = append(b, rc4Header[:]...)
	b = append(b, k.crypt(append(binary.BigEndian.AppendUint32(nil, number), direction[:]...), sum)...)
	return append(b, sum...)
}

// verify checks a MIC and returns its sequence number and checksum.
func (k *rc4Keys) verify(message, token []byte, byAcceptor bool) (number uint32, sum [rc4ChecksumSize]byte, err error) {
	t, ok := parseToken(token)
	if !ok || t.id != tokenRC4MIC || len(t.body) != rc4MICBody-2 || !bytes.Equal(t.body[:6], rc4Header[2:]) {
		return 0, sum, ErrMalformed
	}
	copy(sum[:], t.body[14:])
	if !hmac.Equal(k.checksum(message), sum[:]) {
		return 0, sum, ErrIntegrity
	}
	sequence := k.crypt(t.body[6:14], sum[:])
	direction := rc4Direction(byAcceptor)
	if !hmac.Equal(sequence[4:], direction[:]) {
		return 0, sum, ErrIntegrity
	}
	return binary.BigEndian.Uint32(sequence), sum, nil
}

func (k *rc4Keys) wipe() {
	clear(k.sign)
	clear(k.sequence)
}

// rc4Memory is the checksums of the last MICs that were taken. It is safe for
// concurrent use.
type rc4Memory struct {
	mu   sync.Mutex
	sums [][rc4ChecksumSize]byte
	next int
}

// add reports whether the checksum was not there.
func (m *rc4Memory) add(sum [rc4ChecksumSize]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Contains(m.sums, sum) {
		return false
	}
	if len(m.sums) < rc4Remembered {
		m.sums = append(m.sums, sum)
		return true
	}
	m.sums[m.next] = sum
	m.next = (m.next + 1) % rc4Remembered
	return true
}
