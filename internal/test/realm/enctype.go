package realm

import (
	"fmt"
	"strings"
)

// Enctype is a Kerberos encryption type by its assigned number (RFC 3961 8).
type Enctype int32

// The encryption types that MIT's KDC offers today, and the old one of early Active Directory domains.
const (
	AES128SHA1 Enctype = 17 // RFC 3962
	AES256SHA1 Enctype = 18 // RFC 3962
	AES128SHA2 Enctype = 19 // RFC 8009
	AES256SHA2 Enctype = 20 // RFC 8009
	RC4        Enctype = 23 // RFC 4757; permitted only where a test names it
)

// AES lists the encryption types that every realm permits, in the order that MIT Kerberos prefers.
var AES = []Enctype{AES256SHA1, AES128SHA1, AES256SHA2, AES128SHA2}

// String is the name that krb5.conf, kadmin and klist use.
func (e Enctype) String() string {
	switch e {
	case AES128SHA1:
		return "aes128-cts-hmac-sha1-96"
	case AES256SHA1:
		return "aes256-cts-hmac-sha1-96"
	case AES128SHA2:
		return "aes128-cts-hmac-sha256-128"
	case AES256SHA2:
		return "aes256-cts-hmac-sha384-192"
	case RC4:
		return "arcfour-hmac"
	}
	return fmt.Sprintf("etype-%d", int32(e))
}

func parseEnctype(name string) Enctype {
	name = strings.TrimPrefix(name, "DEPRECATED:")
	for _, e := range append([]Enctype{RC4}, AES...) {
		if e.String() == name {
			return e
		}
	}
	return 0
}

func names(enctypes []Enctype, suffix string) string {
	words := make([]string, len(enctypes))
	for i, e := range enctypes {
		words[i] = e.String() + suffix
	}
	return strings.Join(words, " ")
}
