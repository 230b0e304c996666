package spnego

import (
	"bytes"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of SPNEGO (RFC 4178 section 4) and of the mechanisms that
// this package offers or meets.
var (
	OIDSPNEGO     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	OIDKerberos   = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}
	OIDMSKerberos = asn1.ObjectIdentifier{1, 2, 840, 48018, 1, 2, 2}
	// OIDNTLM is never accepted. Clients list it, and tests need a mechanism
	// that is not Kerberos.
	OIDNTLM = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}
	// OIDNegoEx is never accepted either. Windows lists it.
	OIDNegoEx = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 30}
)

// The same as DER contents: tokens are compared by octets, without building an
// ObjectIdentifier for every name a peer cares to list.
var (
	derSPNEGO     = oidContents(OIDSPNEGO)
	derKerberos   = oidContents(OIDKerberos)
	derMSKerberos = oidContents(OIDMSKerberos)
)

func oidContents(oid asn1.ObjectIdentifier) []byte {
	der, err := asn1.Marshal(oid)
	if err != nil {
		panic("spnego: " + err.Error()) // only for a malformed constant above
	}
	return der[2:]
}

// isKerberos reports whether the contents of an object identifier name
// Kerberos 5 in either spelling.
func isKerberos(oid []byte) bool {
	return bytes.Equal(oid, derKerberos) || bytes.Equal(oid, derMSKerberos)
}

const (
	tagToken   = cbasn1.Tag(0x60) // [APPLICATION 0], RFC 2743 section 3.1
	tagNegInit = cbasn1.Tag(0xa0) // NegotiationToken CHOICE, negTokenInit
	tagNegResp = cbasn1.Tag(0xa1) // NegotiationToken CHOICE, negTokenResp
)

// unframe opens the frame of RFC 2743 section 3.1 and returns the contents of
// its object identifier and what follows.
func unframe(token []byte) (oid, inner []byte, ok bool) {
	s := cryptobyte.String(token)
	var body, id cryptobyte.String
	if !s.ReadASN1(&body, tagToken) || !s.Empty() || !body.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) {
		return nil, nil, false
	}
	return id, body, true
}

// IsToken reports whether b is an initiator's first SPNEGO token, by its
// object identifier. What is inside may still be malformed.
func IsToken(b []byte) bool {
	oid, _, ok := unframe(b)
	return ok && bytes.Equal(oid, derSPNEGO)
}

// IsContinuation reports whether b looks like a later SPNEGO token, a
// NegTokenResp. Only a context that is under way can make anything of it.
func IsContinuation(b []byte) bool {
	return len(b) > 0 && b[0] == byte(tagNegResp)
}

// IsKerberosToken reports whether b is a bare Kerberos token: framed as RFC
// 2743 section 3.1 says, with one of Kerberos' object identifiers.
func IsKerberosToken(b []byte) bool {
	oid, _, ok := unframe(b)
	return ok && isKerberos(oid)
}

// PeekMechToken returns the Kerberos token that an initiator's first token
// carries: b itself when it is a bare Kerberos token, the optimistic mechToken
// when b is SPNEGO with Kerberos as its first choice, nil otherwise. Nothing
// is verified. The result shares memory with b.
func PeekMechToken(b []byte) []byte {
	if IsKerberosToken(b) {
		return b
	}
	init, err := parseInit(b)
	if err != nil || len(init.mechTypes) == 0 || !isKerberos(init.mechTypes[0]) {
		return nil
	}
	return init.mechToken
}

// PeekResponseToken returns the Kerberos token that a later token of an
// initiator carries, such as the first one for the mechanism that the acceptor
// has named; nil if there is none. Nothing is verified. The result shares
// memory with b.
func PeekResponseToken(b []byte) []byte {
	resp, err := parseResp(b)
	if err != nil || !IsKerberosToken(resp.responseToken) {
		return nil
	}
	return resp.responseToken
}
