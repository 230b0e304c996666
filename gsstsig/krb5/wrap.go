package krb5

import (
	"crypto/hmac"
	"encoding/binary"
	"slices"
)

// Layout of a Wrap token (RFC 4121, section 4.2.6.2). Its flags are those of a
// MIC token.
const (
	tokenWrap      = 0x0504
	wrapHeaderSize = 16
)

// wrapKeys sign the Wrap tokens of an initiator, and verify those of the
// acceptor.
type wrapKeys struct{ sign, verify []byte }

func newWrapKeys(k key) *wrapKeys {
	return &wrapKeys{
		sign:   k.encryption.derive(k.value, usageInitiatorSeal, forChecksum),
		verify: k.encryption.derive(k.value, usageAcceptorSeal, forChecksum),
	}
}

func (k *wrapKeys) wipe() {
	clear(k.sign)
	clear(k.verify)
}

// wrapMessage makes the Wrap token of a message, signed and not encrypted.
func (s *session) wrapMessage(message []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.wrap == nil {
		return nil, ErrNotEstablished
	}
	token := make([]byte, wrapHeaderSize, wrapHeaderSize+len(message)+64) // 64: the largest untruncated hash
	binary.BigEndian.PutUint16(token, tokenWrap)
	token[2], token[3] = s.flags, micFillerHigh
	binary.BigEndian.PutUint64(token[8:], s.sequence.Add(1)-1)
	mac := hmac.New(s.encryption.hash, s.wrap.sign)
	mac.Write(message)
	mac.Write(token) // its lengths count as 0
	binary.BigEndian.PutUint16(token[4:], uint16(s.encryption.macSize))
	size := wrapHeaderSize + len(message) + s.encryption.macSize
	return mac.Sum(append(token, message...))[:size], nil
}

// unwrapMessage returns the message of a token of the peer that is signed and
// not encrypted. Its sequence number counts only once its checksum is right.
func (s *session) unwrapMessage(token []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.wrap == nil {
		return nil, ErrNotEstablished
	}
	size := s.encryption.macSize
	if len(token) < wrapHeaderSize+size || binary.BigEndian.Uint16(token) != tokenWrap || token[3] != micFillerHigh ||
		int(binary.BigEndian.Uint16(token[4:])) != size {
		return nil, ErrMalformed
	}
	if token[2]&micDirectionOrKeys != s.peerFlags {
		return nil, ErrIntegrity
	}
	// What follows the header may be rotated to the right (section 4.2.5).
	body := token[wrapHeaderSize:]
	count := int(binary.BigEndian.Uint16(token[6:])) % len(body)
	body = slices.Concat(body[count:], body[:count])
	message, sum := body[:len(body)-size], body[len(body)-size:]
	var header [wrapHeaderSize]byte
	copy(header[:], token)
	clear(header[4:8])
	mac := hmac.New(s.encryption.hash, s.wrap.verify)
	mac.Write(message)
	mac.Write(header[:])
	if !hmac.Equal(mac.Sum(nil)[:size], sum) {
		return nil, ErrIntegrity
	}
	if !s.window.add(binary.BigEndian.Uint64(token[8:])) {
		return nil, ErrReplay
	}
	return message, nil
}

// Wrap returns a token that carries message with a signature, not encrypted, as
// SASL's integrity protection needs it (RFC 4752). There are none with RC4.
func (c *InitiatorContext) Wrap(message []byte) ([]byte, error) {
	if c.finished == nil {
		return nil, ErrNotEstablished
	}
	return c.finished.wrapMessage(message)
}

// Unwrap returns the message of a token that the acceptor made without
// encryption, once its signature is verified. The errors are those of VerifyMIC.
func (c *InitiatorContext) Unwrap(token []byte) ([]byte, error) {
	if c.finished == nil {
		return nil, ErrNotEstablished
	}
	return c.finished.unwrapMessage(token)
}
