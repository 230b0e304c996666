package krb5

import (
	"crypto/aes"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
)

// key is a protocol key whose length fits its encryption type.
type key struct {
	encryption *encryption
	value      []byte
}

// newKey copies value. It fails if the type is not supported or the length
// does not fit.
func newKey(enctype Enctype, value []byte) (key, error) {
	e := encryptions[enctype]
	if e == nil {
		return key{}, fmt.Errorf("%s keys are not supported", enctype)
	}
	if len(value) != e.keySize {
		return key{}, fmt.Errorf("a key of %d octets does not fit %s", len(value), enctype)
	}
	return key{encryption: e, value: append([]byte(nil), value...)}, nil
}

// randomKey makes a fresh key of the type. The error is that of the source.
func randomKey(random io.Reader, e *encryption) (key, error) {
	k := key{encryption: e, value: make([]byte, e.keySize)}
	if _, err := io.ReadFull(random, k.value); err != nil {
		return key{}, err
	}
	return k, nil
}

func (k *key) valid() bool { return k.encryption != nil }

// wipe overwrites the key.
func (k *key) wipe() {
	clear(k.value)
	*k = key{}
}

// cipherKeys are the keys that encrypt messages of one usage: Ke and Ki of RFC
// 3961, section 5.3. A keytab's keys keep theirs, because deriving them costs
// as much as the decryption of a ticket.
type cipherKeys struct {
	encryption *encryption
	ke, ki     []byte
}

func (k key) cipherKeys(usage uint32) cipherKeys {
	if k.encryption.rc4 {
		return cipherKeys{encryption: k.encryption, ke: rc4Usage(k.value, usage)}
	}
	return cipherKeys{
		encryption: k.encryption,
		ke:         k.encryption.derive(k.value, usage, forEncryption),
		ki:         k.encryption.derive(k.value, usage, forIntegrity),
	}
}

func (c *cipherKeys) wipe() {
	clear(c.ke)
	clear(c.ki)
}

// errCipher is the one answer to every message that does not decrypt.
var errCipher = errors.New("the message does not decrypt")

// decrypt checks the integrity of a message and returns its plain text, which
// the caller owns and may wipe. It is RFC 3961, section 5.3 with AES of RFC
// 3962, or RFC 8009, section 5.
func (c *cipherKeys) decrypt(message []byte) ([]byte, error) {
	e := c.encryption
	if e.rc4 {
		return rc4Decrypt(c.ke, message)
	}
	// One block of confounder at least; gokrb5 slices without this check.
	if len(message) < aes.BlockSize+e.macSize {
		return nil, errCipher
	}
	body, mac := message[:len(message)-e.macSize], message[len(message)-e.macSize:]
	if e.sha2 && !hmac.Equal(c.integrity(body), mac) {
		return nil, errCipher
	}
	plain, err := cts(e.cipher.DecryptData, c.ke, body)
	if err != nil || len(plain) < aes.BlockSize {
		return nil, errCipher
	}
	if !e.sha2 && !hmac.Equal(c.integrity(plain), mac) {
		clear(plain)
		return nil, errCipher
	}
	return plain[aes.BlockSize:], nil
}

// encrypt seals plain behind a random confounder.
func (c *cipherKeys) encrypt(random io.Reader, plain []byte) ([]byte, error) {
	e := c.encryption
	if e.rc4 {
		return rc4Encrypt(random, c.ke, plain)
	}
	in := make([]byte, aes.BlockSize+len(plain))
	if _, err := io.ReadFull(random, in[:aes.BlockSize]); err != nil {
		return nil, err
	}
	copy(in[aes.BlockSize:], plain)
	defer clear(in)
	body, err := cts(func(k, d []byte) ([]byte, error) {
		_, out, err := e.cipher.EncryptData(k, d)
		return out, err
	}, c.ke, in)
	if err != nil {
		return nil, err
	}
	if e.sha2 {
		return append(body, c.integrity(body)...), nil
	}
	return append(body, c.integrity(in)...), nil
}

// integrity is the truncated HMAC over the plain text, or, for RFC 8009, over
// the initial vector of zeros and the cipher text.
func (c *cipherKeys) integrity(data []byte) []byte {
	mac := hmac.New(c.encryption.hash, c.ki)
	if c.encryption.sha2 {
		var iv [aes.BlockSize]byte
		mac.Write(iv[:])
	}
	mac.Write(data)
	return mac.Sum(nil)[:c.encryption.macSize]
}

// checksumKey is the key of the type's required checksum: Kc of RFC 3961,
// section 5.3, or Ksign of RFC 4757, section 4.
func (k key) checksumKey(usage uint32) []byte {
	if k.encryption.rc4 {
		return rc4Sign(k.value)
	}
	return k.encryption.derive(k.value, usage, forChecksum)
}

// checksum is the type's required checksum with a key of checksumKey (RFC
// 3962, section 7; RFC 8009, section 6; RFC 4757, section 4). Only RC4 needs
// the usage again.
func (e *encryption) checksum(key []byte, usage uint32, message []byte) []byte {
	if e.rc4 {
		return rc4Checksum(key, usage, message)
	}
	mac := hmac.New(e.hash, key)
	mac.Write(message)
	return mac.Sum(nil)[:e.macSize]
}

// cts calls gokrb5's AES with cipher text stealing. Lengths were checked
// before; should it panic nevertheless, that is a message which does not
// decrypt, not the end of the server.
func cts(f func(key, data []byte) ([]byte, error), key, data []byte) (out []byte, err error) {
	defer func() {
		if recover() != nil {
			out, err = nil, errCipher
		}
	}()
	return f(key, data)
}
