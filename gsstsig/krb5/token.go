package krb5

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxToken bounds a context token. TKEY carries at most 65,535 octets.
const maxToken = 1 << 16

// Token identifiers of context establishment (RFC 4121, section 4.1).
const (
	tokenAPReq    = 0x0100
	tokenAPRep    = 0x0200
	tokenKRBError = 0x0300
)

// The encoded object identifiers of the mechanism: 1.2.840.113554.1.2.2, and
// 1.2.840.48018.1.2.2, which is what the former became in an old Windows when
// its second arc was cut to 16 bits, and which Windows offers to this day.
var (
	mechanismKRB5   = []byte{0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02}
	mechanismMSKRB5 = []byte{0x06, 0x09, 0x2A, 0x86, 0x48, 0x82, 0xF7, 0x12, 0x01, 0x02, 0x02}
)

// contextToken is a token taken out of the framing of RFC 2743, section 3.1.
type contextToken struct {
	mechanism []byte // mechanismKRB5 or mechanismMSKRB5
	id        uint16
	body      []byte
}

func parseToken(b []byte) (contextToken, bool) {
	if len(b) > maxToken {
		return contextToken{}, false
	}
	var t contextToken
	var inner, oid cryptobyte.String
	s := cryptobyte.String(b)
	if !s.ReadASN1(&inner, application(0)) || !s.Empty() ||
		!inner.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) || !inner.ReadUint16(&t.id) {
		return contextToken{}, false
	}
	switch {
	case bytes.Equal(oid, mechanismKRB5):
		t.mechanism = mechanismKRB5
	case bytes.Equal(oid, mechanismMSKRB5):
		t.mechanism = mechanismMSKRB5
	default:
		return contextToken{}, false
	}
	t.body = inner
	return t, true
}

// frame wraps what body adds.
func frame(mechanism []byte, id uint16, body func(*cryptobyte.Builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 512))
	b.AddASN1(application(0), func(b *cryptobyte.Builder) {
		b.AddBytes(mechanism)
		b.AddUint16(id)
		body(b)
	})
	return b.Bytes()
}
