package krb5

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/common"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

func TestDerivedKeysAgreeWithGokrb5(t *testing.T) {
	for _, id := range testTypes {
		k := testKey(id, "derive")
		e := encryptions[id]
		et := must(crypto.GetEtype(int32(id)))
		for d := range foldedConstants {
			var constant []byte
			switch d.purpose {
			case forChecksum:
				constant = common.GetUsageKc(d.usage)
			case forIntegrity:
				constant = common.GetUsageKi(d.usage)
			case forEncryption:
				constant = common.GetUsageKe(d.usage)
			}
			want := must(et.DeriveKey(k.KeyValue, constant))
			if got := e.derive(k.KeyValue, d.usage, d.purpose); !bytes.Equal(got, want) {
				t.Errorf("%s usage %d purpose %#x: %x, want %x", id, d.usage, d.purpose, got, want)
			}
		}
	}
}

// The vectors of RFC 8009, appendix A.
func TestDerivedKeysOfRFC8009(t *testing.T) {
	for _, c := range []struct {
		id      Enctype
		key     string
		purpose byte
		want    string
	}{
		{19, "3705d96080c17728a0e800eab6e0d23c", forChecksum, "b31a018a48f54776f403e9a396325dc3"},
		{19, "3705d96080c17728a0e800eab6e0d23c", forEncryption, "9b197dd1e8c5609d6e67c3e37c62c72e"},
		{19, "3705d96080c17728a0e800eab6e0d23c", forIntegrity, "9fda0e56ab2d85e1569a688696c26a6c"},
		{20, "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52", forChecksum, "ef5718be86cc84963d8bbb5031e9f5c4ba41f28faf69e73d"},
		{20, "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52", forEncryption, "56ab22bee63d82d7bc5227f6773f8ea7a5eb1c825160c38312980c442e5c7e49"},
		{20, "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52", forIntegrity, "69b16514e3cd8e56b82010d5c73012b622c4d00ffc23ed1f"},
	} {
		got := encryptions[c.id].derive(must(hex.DecodeString(c.key)), 2, c.purpose)
		if hex.EncodeToString(got) != c.want {
			t.Errorf("%s purpose %#x: %x, want %s", c.id, c.purpose, got, c.want)
		}
	}
}

func TestCipherAgreesWithGokrb5(t *testing.T) {
	standard.Requires(t, "RFC 4120", "7.5.1 usages", "8.1 AES256", "8.1 AES128")
	for _, id := range testTypes {
		foreign := testKey(id, "cipher")
		own := must(newKey(id, foreign.KeyValue))
		keys := own.cipherKeys(usageAPRep)
		for n := range 70 {
			plain := bytes.Repeat([]byte{byte(n)}, n)
			sealed := must(keys.encrypt(rand.Reader, plain))
			if got, err := crypto.DecryptMessage(sealed, foreign, usageAPRep); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%s, %d octets: gokrb5 does not decrypt: %v", id, n, err)
			}
			if n == 0 {
				continue // gokrb5 does not encrypt nothing alike
			}
			sealed = must(crypto.GetEncryptedData(plain, foreign, usageAPRep, 0)).Cipher
			if got, err := keys.decrypt(sealed); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%s, %d octets: what gokrb5 sealed does not decrypt: %v", id, n, err)
			}
			for i := range sealed {
				damaged := bytes.Clone(sealed)
				damaged[i] ^= 1
				if _, err := keys.decrypt(damaged); err == nil {
					t.Fatalf("%s, %d octets: damage at %d goes unnoticed", id, n, i)
				}
			}
		}
	}
}

func TestShortMessagesDoNotDecrypt(t *testing.T) {
	for _, id := range testTypes {
		keys := must(newKey(id, testKey(id, "k").KeyValue)).cipherKeys(usageTicket)
		for n := range 64 {
			if _, err := keys.decrypt(make([]byte, n)); err == nil {
				t.Errorf("%s: %d zeros decrypt", id, n)
			}
		}
	}
}

// What gokrb5's cipher might yet do is caught.
func TestPanicInCipherIsAnError(t *testing.T) {
	_, err := cts(func(_, _ []byte) ([]byte, error) { panic("index out of range") }, nil, nil)
	if err == nil {
		t.Fatal("a panic is no error")
	}
}

// gokrb5 gives 24 octets for type 20, the length of its checksum keys.
func TestAES256SHA2KeysHave32Octets(t *testing.T) {
	for id, size := range testKeySizes {
		for n := range 48 {
			_, err := newKey(id, make([]byte, n))
			if (err == nil) != (n == size) {
				t.Errorf("%s: a key of %d octets: %v", id, n, err)
			}
		}
		k := must(randomKey(rand.Reader, encryptions[id]))
		if len(k.value) != size {
			t.Errorf("%s: random keys have %d octets", id, len(k.value))
		}
	}
	for _, id := range []Enctype{0, 1, 3, 16, 24, -1} {
		if _, err := newKey(id, make([]byte, 16)); err == nil {
			t.Errorf("%s is supported", id)
		}
	}
}

func TestEncryptionTypeName(t *testing.T) {
	for id, want := range map[Enctype]string{
		18: "aes256-cts-hmac-sha1-96", 20: "aes256-cts-hmac-sha384-192", 23: "arcfour-hmac", 99: "encryption type 99", -7: "encryption type -7",
	} {
		if got := id.String(); got != want {
			t.Errorf("%d: %q, want %q", id, got, want)
		}
	}
}

func TestParseEnctype(t *testing.T) {
	for name, want := range map[string]Enctype{
		"aes256-cts": AES256SHA1, "aes256-sha1": AES256SHA1, "AES256-CTS-HMAC-SHA1-96": AES256SHA1,
		"aes128-cts": AES128SHA1, "aes128-sha2": AES128SHA2, "aes256-sha2": AES256SHA2,
		"rc4-hmac": RC4HMAC, "arcfour-hmac-md5": RC4HMAC, "des3-cbc-sha1-kd": 16, "camellia256-cts": 26,
	} {
		if got, err := ParseEnctype(name); err != nil || got != want {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	for id := range Enctype(30) {
		named := !strings.HasPrefix(id.String(), "encryption type")
		if got, err := ParseEnctype(id.String()); named && (err != nil || got != id) || !named && err == nil {
			t.Errorf("%d is %s, which is %d, %v", id, id, got, err)
		}
	}
	for _, name := range []string{"", "aes", "18", "encryption type 5"} {
		if got, err := ParseEnctype(name); err == nil {
			t.Errorf("%q: %d", name, got)
		}
	}
}
