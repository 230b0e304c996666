package krb5

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/etype"
	"github.com/jcmturner/gokrb5/v8/crypto/rfc3961"
)

// Encryption type numbers (RFC 3962, RFC 8009, RFC 4757).
const (
	aes128SHA1 = 17
	aes256SHA1 = 18
	aes128SHA2 = 19
	aes256SHA2 = 20
	rc4HMAC    = 23
)

// encryption is one encryption type: its sizes in octets, its hash and its
// cipher.
type encryption struct {
	id           int32
	checksumType int32 // its required checksum
	keySize      int   // of a key, and of a derived encryption key
	macSize      int   // of the truncated HMAC
	subSize      int   // of a derived integrity or checksum key
	hash         func() hash.Hash
	sha2         bool // RFC 8009: its own derivation, and MAC over the cipher text
	cipher       etype.EType
	rc4          bool // RFC 4757: its own in everything; see rc4.go
}

var encryptions = map[int32]*encryption{
	aes128SHA1: {id: aes128SHA1, checksumType: 15, keySize: 16, macSize: 12, subSize: 16, hash: sha1.New, cipher: crypto.Aes128CtsHmacSha96{}},
	aes256SHA1: {id: aes256SHA1, checksumType: 16, keySize: 32, macSize: 12, subSize: 32, hash: sha1.New, cipher: crypto.Aes256CtsHmacSha96{}},
	aes128SHA2: {id: aes128SHA2, checksumType: 19, keySize: 16, macSize: 16, subSize: 16, hash: sha256.New, sha2: true, cipher: crypto.Aes128CtsHmacSha256128{}},
	rc4HMAC:    {id: rc4HMAC, checksumType: checksumHMACMD5, keySize: 16, macSize: 16, hash: md5.New, rc4: true},
	aes256SHA2: {id: aes256SHA2, checksumType: 20, keySize: 32, macSize: 24, subSize: 24, hash: sha512.New384, sha2: true, cipher: crypto.Aes256CtsHmacSha384192{}},
}

// defaultEncryptionTypes are those let in when the configuration names none.
// RC4 is let in only by AllowRC4.
var defaultEncryptionTypes = []int32{aes128SHA1, aes256SHA1, aes128SHA2, aes256SHA2}

// encryptionTypeNames are the names of the IANA registry in the spelling that
// klist prints.
var encryptionTypeNames = map[int32]string{
	1:          "des-cbc-crc",
	2:          "des-cbc-md4",
	3:          "des-cbc-md5",
	16:         "des3-cbc-sha1",
	aes128SHA1: "aes128-cts-hmac-sha1-96",
	aes256SHA1: "aes256-cts-hmac-sha1-96",
	aes128SHA2: "aes128-cts-hmac-sha256-128",
	aes256SHA2: "aes256-cts-hmac-sha384-192",
	rc4HMAC:    "arcfour-hmac",
	24:         "arcfour-hmac-exp",
	25:         "camellia128-cts-cmac",
	26:         "camellia256-cts-cmac",
}

// EncryptionTypeName returns the name of an encryption type as klist prints
// it, for example "aes256-cts-hmac-sha1-96" for 18, and "encryption type N"
// for a number without a name here.
func EncryptionTypeName(id int32) string {
	if n, ok := encryptionTypeNames[id]; ok {
		return n
	}
	return fmt.Sprintf("encryption type %d", id)
}

// Key usage numbers (RFC 4120, section 7.5.1; RFC 4121, section 2).
const (
	usageTicket        = 2
	usageAuthenticator = 11
	usageAPRep         = 12
	usagePAC           = 17 // for other than Kerberos' own checksums (MS-PAC, section 2.8)
	usageAcceptorSign  = 23
	usageInitiatorSign = 25
)

// The purposes of derived keys: the last octet of the derivation constant
// (RFC 3961, section 5.3).
const (
	forChecksum   = 0x99 // Kc
	forIntegrity  = 0x55 // Ki
	forEncryption = 0xAA // Ke
)

type derivation struct {
	usage   uint32
	purpose byte
}

func (d derivation) constant() []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 5), d.usage), d.purpose)
}

// foldedConstants are the constants of all derivations made here, stretched to
// an AES block by n-fold (RFC 3961, section 5.1). Folding costs several times
// the derivation itself, so it is done once.
var foldedConstants = foldConstants()

func foldConstants() map[derivation][]byte {
	m := make(map[derivation][]byte)
	for _, usage := range []uint32{usageTicket, usageAuthenticator, usageAPRep, usagePAC, usageAcceptorSign, usageInitiatorSign} {
		for _, purpose := range []byte{forChecksum, forIntegrity, forEncryption} {
			d := derivation{usage, purpose}
			m[d] = rfc3961.Nfold(d.constant(), aes.BlockSize*8)
		}
	}
	return m
}

// derive makes the key for a usage and purpose from a protocol key, which must
// have e.keySize octets. Only usages in foldedConstants are derived here.
func (e *encryption) derive(key []byte, usage uint32, purpose byte) []byte {
	size := e.subSize
	if purpose == forEncryption {
		size = e.keySize
	}
	d := derivation{usage, purpose}
	if e.sha2 {
		// RFC 8009, section 3: one round of HMAC in counter mode.
		mac := hmac.New(e.hash, key)
		mac.Write([]byte{0, 0, 0, 1})
		mac.Write(d.constant())
		mac.Write([]byte{0})
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(size*8)))
		return mac.Sum(nil)[:size:size]
	}
	// RFC 3961, section 5.1: the folded constant encrypted again and again
	// until there are enough octets. CTS of a single block is the block cipher.
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("krb5: derive from a key of the wrong size") // lengths were checked where the key came in
	}
	out := make([]byte, size)
	in := foldedConstants[d]
	for i := 0; i < size; i += aes.BlockSize {
		block.Encrypt(out[i:], in)
		in = out[i : i+aes.BlockSize]
	}
	return out
}
