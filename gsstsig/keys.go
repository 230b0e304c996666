package gsstsig

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"hash"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// Identity is who signed a message: a Kerberos principal or the holder of a
// static key.
type Identity struct {
	// Principal comes from the ticket; it is zero for a static key.
	Principal krb5.Principal
	// KeyName is the name of the TSIG key, absolute and in lower case.
	KeyName string
	// Static tells an HMAC key of the configuration from a negotiated one.
	Static bool
}

// StaticKeys are HMAC keys: absolute name in any case to secret in base64, the
// form in which CoreDNS's tsig plugin holds them. A key whose name or secret
// does not parse is no key: what it signs is BADKEY.
type StaticKeys map[string]string

// nameSet holds the names of static keys, in wire form. It includes those without
// a usable secret, because other code may compare names only.
type nameSet map[string]struct{}

func newNameSet(keys StaticKeys) nameSet {
	set := make(nameSet, len(keys))
	for text := range keys {
		if name, ok := tsig.NameFromText(text); ok {
			set[name] = struct{}{}
		}
	}
	return set
}

func (s nameSet) has(name []byte) bool {
	_, ok := s[string(name)]
	return ok
}

// macKey makes MACs. It is safe for concurrent use.
type macKey interface {
	sign(message []byte) ([]byte, error)
	size() int // octets of a MAC that sign makes
}

// The names of the algorithms, RFC 8945 section 6 and RFC 3645 section 2. The
// second GSS name is Microsoft's; it means the same.
const (
	AlgorithmGSS          = "gss-tsig."
	AlgorithmGSSMicrosoft = "gss.microsoft.com."
)

var (
	wireGSS          = mustName(AlgorithmGSS)
	wireGSSMicrosoft = mustName(AlgorithmGSSMicrosoft)
)

// hmacs are the HMAC algorithms that are verified. HMAC-MD5 is not: RFC 8945
// section 6 forbids its use.
var hmacs = [...]struct {
	name string
	hash func() hash.Hash
	size int
}{
	{mustName("hmac-sha256."), sha256.New, sha256.Size},
	{mustName("hmac-sha1."), sha1.New, sha1.Size},
	{mustName("hmac-sha224."), sha256.New224, sha256.Size224},
	{mustName("hmac-sha384."), sha512.New384, sha512.Size384},
	{mustName("hmac-sha512."), sha512.New, sha512.Size},
}

func mustName(text string) string {
	name, ok := tsig.NameFromText(text)
	if !ok {
		panic("gsstsig: no domain name: " + text) // only for the constants above
	}
	return name
}

var errMAC = errors.New("MAC is wrong")

func isGSS(algorithm []byte) bool {
	return string(algorithm) == wireGSS || string(algorithm) == wireGSSMicrosoft
}

// hmacIndex returns the place of an algorithm in hmacs, -1 if it has none.
func hmacIndex(algorithm []byte) int {
	for i := range hmacs {
		if string(algorithm) == hmacs[i].name {
			return i
		}
	}
	return -1
}

// hmacKey is one static key under one algorithm.
type hmacKey struct {
	secret []byte
	hash   func() hash.Hash
	length int
}

func (k *hmacKey) size() int { return k.length }

func (k *hmacKey) sign(message []byte) ([]byte, error) {
	h := hmac.New(k.hash, k.secret)
	h.Write(message)
	return h.Sum(nil), nil
}

// verify accepts a MAC that is cut short; whether it may be is the caller's
// question.
func (k *hmacKey) verify(message, mac []byte) error {
	full, err := k.sign(message)
	if err != nil {
		return err
	}
	if len(mac) > len(full) || !hmac.Equal(full[:len(mac)], mac) {
		return errMAC
	}
	return nil
}

// staticKey is one static key under all algorithms: the configuration names
// none, so the client may choose.
type staticKey struct {
	identity Identity
	name     string // on the wire
	macs     [len(hmacs)]hmacKey
}

// newStaticKeys indexes the keys by their names on the wire.
func newStaticKeys(keys StaticKeys) map[string]*staticKey {
	index := make(map[string]*staticKey, len(keys))
	for text, encoded := range keys {
		name, ok := tsig.NameFromText(text)
		secret, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil {
			continue
		}
		key := &staticKey{name: name, identity: Identity{KeyName: dnswire.NameText([]byte(name)), Static: true}}
		for i, algorithm := range hmacs {
			key.macs[i] = hmacKey{secret: secret, hash: algorithm.hash, length: algorithm.size}
		}
		index[name] = key
	}
	return index
}
