package spnego

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds on what an unauthenticated client may make an acceptor look at and
// remember between two rounds. Real lists hold two to five mechanisms.
const (
	maxMechTypes     = 32
	maxMechTypesSize = 1024 // octets of the DER list
)

// ErrMalformed is wrapped by every error about a token that is not what RFC
// 4178 section 4.2 describes.
var ErrMalformed = errors.New("spnego: malformed token")

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// negState is NegTokenResp's negState, RFC 4178 section 4.2.2.
type negState int

const (
	stateAbsent           negState = -1
	stateAcceptCompleted  negState = 0
	stateAcceptIncomplete negState = 1
	stateReject           negState = 2
	stateRequestMIC       negState = 3
)

// negTokenInit is RFC 4178 section 4.2.1. Its slices share memory with the
// token that it was read from.
type negTokenInit struct {
	mechTypes   [][]byte // contents of the object identifiers
	list        []byte   // the DER of MechTypeList as received: what MICs cover
	mechToken   []byte   // nil when absent
	mechListMIC []byte
}

// negTokenResp is RFC 4178 section 4.2.2, read in the same manner.
type negTokenResp struct {
	state         negState
	supportedMech []byte // contents of the object identifier
	responseToken []byte
	mechListMIC   []byte
}

// context is the tag of field n of a SEQUENCE with explicit tags.
func context(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// optional takes field n of a SEQUENCE, if it is next, and in it one element
// of the given tag and nothing else.
func optional(s *cryptobyte.String, n uint8, tag cbasn1.Tag, out *cryptobyte.String) (present, ok bool) {
	var field cryptobyte.String
	if !s.ReadOptionalASN1(&field, &present, context(n)) {
		return false, false
	}
	if !present {
		return false, true
	}
	return true, field.ReadASN1(out, tag) && field.Empty()
}

func parseInit(token []byte) (*negTokenInit, error) {
	oid, inner, ok := unframe(token)
	if !ok || string(oid) != string(derSPNEGO) {
		return nil, malformed("no SPNEGO frame")
	}
	s := cryptobyte.String(inner)
	var choice, seq cryptobyte.String
	if !s.ReadASN1(&choice, tagNegInit) || !s.Empty() ||
		!choice.ReadASN1(&seq, cbasn1.SEQUENCE) || !choice.Empty() {
		return nil, malformed("no NegTokenInit")
	}

	init := new(negTokenInit)
	var field cryptobyte.String
	if !seq.ReadASN1(&field, context(0)) {
		return nil, malformed("NegTokenInit without mechTypes")
	}
	init.list = field
	var list, element cryptobyte.String
	if !field.ReadASN1(&list, cbasn1.SEQUENCE) || !field.Empty() {
		return nil, malformed("mechTypes is not a list")
	}
	if len(init.list) > maxMechTypesSize {
		return nil, malformed("mechTypes is too long")
	}
	for !list.Empty() {
		if len(init.mechTypes) == maxMechTypes {
			return nil, malformed("too many mechTypes")
		}
		if !list.ReadASN1(&element, cbasn1.OBJECT_IDENTIFIER) {
			return nil, malformed("mechTypes holds something else than an object identifier")
		}
		init.mechTypes = append(init.mechTypes, element)
	}
	if len(init.mechTypes) == 0 {
		return nil, malformed("mechTypes is empty")
	}

	// reqFlags: "SHOULD be ignored by the acceptor" is section 4.2.1's word,
	// since nothing protects them.
	if !seq.SkipOptionalASN1(context(1)) {
		return nil, malformed("reqFlags")
	}
	present, ok := optional(&seq, 2, cbasn1.OCTET_STRING, &element)
	if !ok {
		return nil, malformed("mechToken")
	}
	if present {
		init.mechToken = element
	}
	// Windows' acceptors put hints in [3] and move the MIC to [4] (MS-SPNG
	// 2.2.1). An initiator has no use for hints, but a copied template may
	// carry them: they are skipped, whatever is inside.
	var hints cryptobyte.String
	var hinted bool
	if !seq.ReadOptionalASN1(&hints, &hinted, context(3)) {
		return nil, malformed("mechListMIC")
	}
	if hinted {
		if hints.PeekASN1Tag(cbasn1.OCTET_STRING) {
			if !hints.ReadASN1(&element, cbasn1.OCTET_STRING) || !hints.Empty() {
				return nil, malformed("mechListMIC")
			}
			init.mechListMIC = element
		} else if present, ok := optional(&seq, 4, cbasn1.OCTET_STRING, &element); !ok {
			return nil, malformed("mechListMIC")
		} else if present {
			init.mechListMIC = element
		}
	}
	// The type ends in "...": what a later version adds is skipped by the
	// rules of ASN.1, but it still has to be DER.
	if err := skipRest(seq); err != nil {
		return nil, err
	}
	return init, nil
}

func parseResp(token []byte) (*negTokenResp, error) {
	s := cryptobyte.String(token)
	var choice, seq, element cryptobyte.String
	if !s.ReadASN1(&choice, tagNegResp) || !s.Empty() ||
		!choice.ReadASN1(&seq, cbasn1.SEQUENCE) || !choice.Empty() {
		return nil, malformed("no NegTokenResp")
	}

	resp := &negTokenResp{state: stateAbsent}
	present, ok := optional(&seq, 0, cbasn1.ENUM, &element)
	if !ok {
		return nil, malformed("negState")
	}
	if present {
		if len(element) != 1 || element[0] > byte(stateRequestMIC) {
			return nil, malformed("negState")
		}
		resp.state = negState(element[0])
	}
	if present, ok = optional(&seq, 1, cbasn1.OBJECT_IDENTIFIER, &element); !ok {
		return nil, malformed("supportedMech")
	} else if present {
		resp.supportedMech = element
	}
	if present, ok = optional(&seq, 2, cbasn1.OCTET_STRING, &element); !ok {
		return nil, malformed("responseToken")
	} else if present {
		resp.responseToken = element
	}
	if present, ok = optional(&seq, 3, cbasn1.OCTET_STRING, &element); !ok {
		return nil, malformed("mechListMIC")
	} else if present {
		resp.mechListMIC = element
	}
	if err := skipRest(seq); err != nil {
		return nil, err
	}
	return resp, nil
}

func skipRest(seq cryptobyte.String) error {
	var element cryptobyte.String
	var tag cbasn1.Tag
	for !seq.Empty() {
		if !seq.ReadAnyASN1(&element, &tag) {
			return malformed("octets after the last field")
		}
	}
	return nil
}

// marshal writes the token with its frame.
func (t *negTokenInit) marshal() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(tagToken, func(b *cryptobyte.Builder) {
		addOID(b, derSPNEGO)
		b.AddASN1(tagNegInit, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddBytes(t.list) })
				addOctets(b, 2, t.mechToken)
				addOctets(b, 3, t.mechListMIC)
			})
		})
	})
	return b.Bytes()
}

func (t *negTokenResp) marshal() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(t.responseToken)+len(t.mechListMIC)+64))
	b.AddASN1(tagNegResp, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if t.state != stateAbsent {
				b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(t.state)) })
			}
			if t.supportedMech != nil {
				b.AddASN1(context(1), func(b *cryptobyte.Builder) { addOID(b, t.supportedMech) })
			}
			addOctets(b, 2, t.responseToken)
			addOctets(b, 3, t.mechListMIC)
		})
	})
	return b.Bytes()
}

func marshalMechTypes(oids []asn1.ObjectIdentifier) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, oid := range oids {
			b.AddASN1ObjectIdentifier(oid)
		}
	})
	return b.Bytes()
}

func addOID(b *cryptobyte.Builder, contents []byte) {
	b.AddASN1(cbasn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(contents) })
}

// addOctets writes field n as an OCTET STRING, unless it is nil.
func addOctets(b *cryptobyte.Builder, n uint8, octets []byte) {
	if octets == nil {
		return
	}
	b.AddASN1(context(n), func(b *cryptobyte.Builder) { b.AddASN1OctetString(octets) })
}
