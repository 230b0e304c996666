package client

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// An HMACKey is a key that client and server were both given (RFC 8945), for
// servers that ask for one where this package's own kind is not known. It is
// safe for concurrent use.
type HMACKey struct {
	name, algorithm string // canonical
	secret          hmacSecret
}

// hmacSecret makes whole MACs, and takes no truncated ones.
type hmacSecret struct {
	hash   func() hash.Hash
	secret []byte
}

var hashes = map[string]func() hash.Hash{
	dns.HmacSHA1: sha1.New, dns.HmacSHA224: sha256.New224, dns.HmacSHA256: sha256.New, dns.HmacSHA384: sha512.New384, dns.HmacSHA512: sha512.New,
}

// NewHMACKey makes a key of its name and its algorithm, hmac-sha1, -sha224,
// -sha256, -sha384 or -sha512, and the octets of its secret. Its errors do not
// contain the secret.
func NewHMACKey(name, algorithm string, secret []byte) (*HMACKey, error) {
	name, err := spelled(name)
	if err != nil {
		return nil, fmt.Errorf("client: key name: %w", err)
	}
	algorithm = dns.CanonicalName(algorithm)
	hash, ok := hashes[algorithm]
	if !ok {
		return nil, diagnose.WithFix(fmt.Errorf("client: key %s: algorithm %q is not supported", name, algorithm),
			"make a key for hmac-sha256, by tsig-keygen for example, and give it to all who use this one")
	}
	if len(secret) == 0 {
		return nil, fmt.Errorf("client: key %s has an empty secret", name)
	}
	return &HMACKey{name: dns.CanonicalName(name), algorithm: algorithm, secret: hmacSecret{hash, slices.Clone(secret)}}, nil
}

// Name returns the key's name in canonical form.
func (k *HMACKey) Name() string { return k.name }

// Sign is Context.Sign with this key, a clock difference of 300 s allowed.
func (k *HMACKey) Sign(m *dns.Msg) ([]byte, *Transaction, error) {
	return signer{k.name, k.algorithm, k.secret, time.Now, defaultFudge}.sign(m)
}

// GetMIC implements macs.
func (s hmacSecret) GetMIC(message []byte) ([]byte, error) {
	mac := hmac.New(s.hash, s.secret)
	mac.Write(message)
	return mac.Sum(nil), nil
}

var errMAC = errors.New("the MAC is another key's or another message's")

// VerifyMIC implements macs.
func (s hmacSecret) VerifyMIC(message, mic []byte) error {
	mac := hmac.New(s.hash, s.secret)
	mac.Write(message)
	if !hmac.Equal(mac.Sum(nil), mic) {
		return errMAC
	}
	return nil
}
