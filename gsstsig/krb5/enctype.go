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
	"strings"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/etype"
	"github.com/jcmturner/gokrb5/v8/crypto/rfc3961"
)

// Enctype is the number of a Kerberos encryption type, as the IANA registry
// assigns it. The zero Enctype stands for none.
type Enctype int32

// The encryption types that this package implements.
const (
	AES128SHA1 Enctype = 17 // aes128-cts-hmac-sha1-96, RFC 3962
	AES256SHA1 Enctype = 18 // aes256-cts-hmac-sha1-96, RFC 3962
	AES128SHA2 Enctype = 19 // aes128-cts-hmac-sha256-128, RFC 8009
	AES256SHA2 Enctype = 20 // aes256-cts-hmac-sha384-192, RFC 8009
	RC4HMAC    Enctype = 23 // arcfour-hmac, RFC 4757; used only where AllowRC4 is set
)

// enctypes are the registered types that have a name here. The first name is
// the one that klist prints; the others are those that krb5.conf takes too.
var enctypes = []struct {
	id    Enctype
	names []string
}{
	{1, []string{"des-cbc-crc"}},
	{2, []string{"des-cbc-md4"}},
	{3, []string{"des-cbc-md5"}},
	{16, []string{"des3-cbc-sha1", "des3-cbc-sha1-kd", "des3-hmac-sha1"}},
	{AES128SHA1, []string{"aes128-cts-hmac-sha1-96", "aes128-cts", "aes128-sha1"}},
	{AES256SHA1, []string{"aes256-cts-hmac-sha1-96", "aes256-cts", "aes256-sha1"}},
	{AES128SHA2, []string{"aes128-cts-hmac-sha256-128", "aes128-sha2"}},
	{AES256SHA2, []string{"aes256-cts-hmac-sha384-192", "aes256-sha2"}},
	{RC4HMAC, []string{"arcfour-hmac", "arcfour-hmac-md5", "rc4-hmac"}},
	{24, []string{"arcfour-hmac-exp", "arcfour-hmac-md5-exp", "rc4-hmac-exp"}},
	{25, []string{"camellia128-cts-cmac", "camellia128-cts"}},
	{26, []string{"camellia256-cts-cmac", "camellia256-cts"}},
}

// String returns the name that klist prints, for example
// "aes256-cts-hmac-sha1-96" for 18, and "encryption type N" for a number
// without a name.
func (e Enctype) String() string {
	for i := range enctypes {
		if enctypes[i].id == e {
			return enctypes[i].names[0]
		}
	}
	return fmt.Sprintf("encryption type %d", int32(e))
}

// Supported reports whether this package implements the type. RC4HMAC is
// implemented but refused unless AllowRC4 is set.
func (e Enctype) Supported() bool { return encryptions[e] != nil }

// ParseEnctype returns the type of that name, in any case. It knows the names
// that String returns and the aliases of krb5.conf such as "aes256-cts" and
// "aes256-sha2", of unsupported types too; see [Enctype.Supported].
func ParseEnctype(name string) (Enctype, error) {
	for _, e := range enctypes {
		for _, known := range e.names {
			if strings.EqualFold(known, name) {
				return e.id, nil
			}
		}
	}
	return 0, fmt.Errorf("kerberos: unknown encryption type %q", name)
}

// encryption is one encryption type: its sizes in octets, its hash and its
// cipher.
type encryption struct {
	id           Enctype
	checksumType int32 // its required checksum
	keySize      int   // of a key, and of a derived encryption key
	macSize      int   // of the truncated HMAC
	subSize      int   // of a derived integrity or checksum key
	hash         func() hash.Hash
	sha2         bool // RFC 8009: its own derivation, and MAC over the cipher text
	cipher       etype.EType
	rc4          bool // RFC 4757: its own in everything; see rc4.go
}

var encryptions = map[Enctype]*encryption{
	AES128SHA1: {id: AES128SHA1, checksumType: 15, keySize: 16, macSize: 12, subSize: 16, hash: sha1.New, cipher: crypto.Aes128CtsHmacSha96{}},
	AES256SHA1: {id: AES256SHA1, checksumType: 16, keySize: 32, macSize: 12, subSize: 32, hash: sha1.New, cipher: crypto.Aes256CtsHmacSha96{}},
	AES128SHA2: {id: AES128SHA2, checksumType: 19, keySize: 16, macSize: 16, subSize: 16, hash: sha256.New, sha2: true, cipher: crypto.Aes128CtsHmacSha256128{}},
	RC4HMAC:    {id: RC4HMAC, checksumType: checksumHMACMD5, keySize: 16, macSize: 16, hash: md5.New, rc4: true},
	AES256SHA2: {id: AES256SHA2, checksumType: 20, keySize: 32, macSize: 24, subSize: 24, hash: sha512.New384, sha2: true, cipher: crypto.Aes256CtsHmacSha384192{}},
}

// defaultEnctypes are permitted when the configuration names none. RC4 is
// permitted only by AllowRC4.
var defaultEnctypes = []Enctype{AES128SHA1, AES256SHA1, AES128SHA2, AES256SHA2}

// Key usage numbers (RFC 4120, section 7.5.1; RFC 4121, section 2).
const (
	usageTicket        = 2
	usageAuthenticator = 11
	usageAPRep         = 12
	usagePAC           = 17 // for other than Kerberos' own checksums (MS-PAC, section 2.8)
	usageAcceptorSeal  = 22 // of Wrap tokens
	usageAcceptorSign  = 23
	usageInitiatorSeal = 24
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
	for _, usage := range []uint32{usageTicket, usageAuthenticator, usageAPRep, usagePAC,
		usageAcceptorSeal, usageAcceptorSign, usageInitiatorSeal, usageInitiatorSign} {
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
