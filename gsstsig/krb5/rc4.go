package krb5

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"encoding/binary"
	"io"
)

// RC4-HMAC (RFC 4757), which old domains still need. It is weak: its keys are
// unsalted MD4 of passwords, and its per-message tokens protect the sequence
// number badly (see rc4mic.go). All of it is behind AllowRC4.

const (
	checksumHMACMD5  = -138 // KERB_CHECKSUM_HMAC_MD5
	rc4Confounder    = 8
	rc4SignatureKey  = "signaturekey\x00"
	usageRC4GSSToken = 15 // of a MIC (RFC 4757, section 7.2)
)

func hmacMD5(key []byte, data ...[]byte) []byte {
	mac := hmac.New(md5.New, key)
	for _, d := range data {
		mac.Write(d)
	}
	return mac.Sum(nil)
}

// littleEndian is a usage number as RC4-HMAC writes it. The numbers of the
// messages that are encrypted here mean the same in RFC 4757, section 3.
func littleEndian(usage uint32) []byte { return binary.LittleEndian.AppendUint32(nil, usage) }

// rc4Usage is K1, the key for a usage.
func rc4Usage(key []byte, usage uint32) []byte { return hmacMD5(key, littleEndian(usage)) }

// rc4Sign is Ksign, the key of checksums.
func rc4Sign(key []byte) []byte { return hmacMD5(key, []byte(rc4SignatureKey)) }

// rc4Checksum is the keyed checksum with Ksign.
func rc4Checksum(sign []byte, usage uint32, message ...[]byte) []byte {
	h := md5.New()
	h.Write(littleEndian(usage))
	for _, m := range message {
		h.Write(m)
	}
	return hmacMD5(sign, h.Sum(nil))
}

// rc4Stream encrypts or decrypts with RC4.
func rc4Stream(key, in []byte) []byte {
	c, err := rc4.NewCipher(key)
	if err != nil {
		panic("krb5: an RC4 key of the wrong size") // it is an MD5 always
	}
	out := make([]byte, len(in))
	c.XORKeyStream(out, in)
	return out
}

// rc4Decrypt is DECRYPT of RFC 4757, section 5, with K1.
func rc4Decrypt(k1, message []byte) ([]byte, error) {
	if len(message) < md5.Size+rc4Confounder {
		return nil, errCipher
	}
	sum := message[:md5.Size]
	plain := rc4Stream(hmacMD5(k1, sum), message[md5.Size:])
	if !hmac.Equal(hmacMD5(k1, plain), sum) {
		clear(plain)
		return nil, errCipher
	}
	return plain[rc4Confounder:], nil
}

// rc4Encrypt is ENCRYPT of RFC 4757, section 5, with K1.
func rc4Encrypt(random io.Reader, k1, plain []byte) ([]byte, error) {
	in := make([]byte, rc4Confounder+len(plain))
	if _, err := io.ReadFull(random, in[:rc4Confounder]); err != nil {
		return nil, err
	}
	copy(in[rc4Confounder:], plain)
	defer clear(in)
	sum := hmacMD5(k1, in)
	return append(sum, rc4Stream(hmacMD5(k1, sum), in)...), nil
}
