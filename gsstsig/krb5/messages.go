package krb5

import (
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The messages of an authentication exchange (RFC 4120, sections 5.3, 5.5 and
// 5.9), reduced to the fields that are looked at. Slices point into the
// message they were read from.

const protocolVersion = 5

// Application tags, which for messages are also their types.
const (
	tagTicket        = 1
	tagAuthenticator = 2
	tagEncTicketPart = 3
	tagAPReq         = 14
	tagAPRep         = 15
	tagEncAPRepPart  = 27
	tagKRBError      = 30
)

// Bits of ap-options and of a ticket's flags.
const (
	optionUseSessionKey  = 1
	optionMutualRequired = 2
	ticketInvalid        = 7
	ticketTransitChecked = 12
)

type apReq struct {
	options       bitFlags
	ticket        ticket
	authenticator encryptedData
}

type ticket struct {
	service Principal
	enc     encryptedData
}

func parseAPReq(b []byte) (apReq, bool) {
	var r apReq
	s, ok := readMessage(b, tagAPReq)
	ok = ok && readVersion(&s, 0, protocolVersion) && readVersion(&s, 1, tagAPReq) &&
		readFlags(&s, 2, &r.options) &&
		readTicket(&s, 3, &r.ticket) &&
		readEncryptedData(&s, 4, &r.authenticator) && s.Empty()
	return r, ok
}

func readTicket(s *cryptobyte.String, n uint8, out *ticket) bool {
	var f cryptobyte.String
	if !s.ReadASN1(&f, field(n)) {
		return false
	}
	t, ok := readMessage(f, tagTicket)
	return ok && readVersion(&t, 0, protocolVersion) &&
		readName(&t, 1, &out.service.Realm) && out.service.Realm != "" &&
		readPrincipalName(&t, 2, &out.service.Components) &&
		readEncryptedData(&t, 3, &out.enc) && t.Empty()
}

// appendAPReq encodes an AP-REQ around an encoded ticket.
func appendAPReq(b *cryptobyte.Builder, options bitFlags, ticket []byte, authenticator encryptedData) {
	addMessage(b, tagAPReq, func(b *cryptobyte.Builder) {
		addInteger(b, 0, protocolVersion)
		addInteger(b, 1, tagAPReq)
		addFlags(b, 2, options)
		b.AddASN1(field(3), func(b *cryptobyte.Builder) { b.AddBytes(ticket) })
		addEncryptedData(b, 4, authenticator)
	})
}

// encTicketPart is what the KDC tells the service. Addresses are checked for
// their outermost shape only.
type encTicketPart struct {
	flags         bitFlags
	keyType       Enctype
	keyValue      []byte
	client        Principal
	transitedType int32
	transited     []byte // realms passed on the way, compressed; empty for one hop
	authTime      time.Time
	start, end    time.Time
	authorization []byte // an encoded AuthorizationData; nil when absent
}

func parseEncTicketPart(b []byte) (encTicketPart, bool) {
	var p encTicketPart
	var renew time.Time
	var authorization cryptobyte.String
	s, ok := readMessage(b, tagEncTicketPart)
	ok = ok && readFlags(&s, 0, &p.flags) &&
		readTypedOctets(&s, 1, &p.keyType, &p.keyValue) &&
		readName(&s, 2, &p.client.Realm) && p.client.Realm != "" &&
		readPrincipalName(&s, 3, &p.client.Components) &&
		readTypedOctets(&s, 4, &p.transitedType, &p.transited) &&
		readTime(&s, 5, &p.authTime)
	p.start = p.authTime // where starttime is missing
	ok = ok &&
		(!s.PeekASN1Tag(field(6)) || readTime(&s, 6, &p.start)) &&
		readTime(&s, 7, &p.end) &&
		(!s.PeekASN1Tag(field(8)) || readTime(&s, 8, &renew)) &&
		s.SkipOptionalASN1(field(9)) &&
		(!s.PeekASN1Tag(field(10)) || s.ReadASN1(&authorization, field(10))) && s.Empty()
	p.authorization = authorization
	return p, ok
}

// authenticator is what the client says in the session key.
type authenticator struct {
	client       Principal
	checksumType int32
	checksum     []byte // nil when absent
	time         time.Time
	microseconds int
	subkeyType   Enctype
	subkey       []byte    // nil when absent
	sequence     uint32    // 0 when absent
	encryptions  []Enctype // that the client would rather use, best first (RFC 4537); nil when absent
}

// at is the client's time.
func (a *authenticator) at() time.Time {
	return a.time.Add(time.Duration(a.microseconds) * time.Microsecond)
}

func parseAuthenticator(b []byte) (authenticator, bool) {
	var a authenticator
	var authorization cryptobyte.String
	s, ok := readMessage(b, tagAuthenticator)
	ok = ok && readVersion(&s, 0, protocolVersion) &&
		readName(&s, 1, &a.client.Realm) &&
		readPrincipalName(&s, 2, &a.client.Components) &&
		(!s.PeekASN1Tag(field(3)) || readTypedOctets(&s, 3, &a.checksumType, &a.checksum)) &&
		readMicroseconds(&s, 4, &a.microseconds) &&
		readTime(&s, 5, &a.time) &&
		(!s.PeekASN1Tag(field(6)) || readTypedOctets(&s, 6, &a.subkeyType, &a.subkey)) &&
		(!s.PeekASN1Tag(field(7)) || readUint32(&s, 7, &a.sequence)) &&
		(!s.PeekASN1Tag(field(8)) || s.ReadASN1(&authorization, field(8))) && s.Empty()
	if ok {
		a.encryptions = parseEnctypes(authorization)
	}
	return a, ok
}

// maxEnctypes bounds a client's list; there are not that many.
const maxEnctypes = 32

// parseEnctypes reads AD-ETYPE-NEGOTIATION (RFC 4537, section 3), if an
// authenticator's authorization data has it. It is an offer: one that cannot
// be read is none.
func parseEnctypes(authorization []byte) []Enctype {
	b, err := findAuthorization(authorization, adTypes)
	if err != nil || b == nil {
		return nil
	}
	var list []Enctype
	var seq cryptobyte.String
	s := cryptobyte.String(b)
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() {
		return nil
	}
	for !seq.Empty() {
		var v int32
		if len(list) == maxEnctypes || !seq.ReadASN1Integer(&v) {
			return nil
		}
		list = append(list, Enctype(v))
	}
	return list
}

// addEnctypes writes the field [8] with a list of encryption types.
func addEnctypes(b *cryptobyte.Builder, types []Enctype) {
	element := func(kind int64, data func(*cryptobyte.Builder)) func(*cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					addInteger(b, 0, kind)
					b.AddASN1(field(1), func(b *cryptobyte.Builder) { b.AddASN1(asn1.OCTET_STRING, data) })
				})
			})
		}
	}
	b.AddASN1(field(8), element(adIfRelevant, element(adTypes, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, t := range types {
				b.AddASN1Int64(int64(t))
			}
		})
	})))
}

func (a *authenticator) marshal() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 256))
	addMessage(b, tagAuthenticator, func(b *cryptobyte.Builder) {
		addInteger(b, 0, protocolVersion)
		addName(b, 1, a.client.Realm)
		addPrincipalName(b, 2, nameTypePrincipal, a.client.Components)
		if a.checksum != nil {
			addTypedOctets(b, 3, a.checksumType, a.checksum)
		}
		addInteger(b, 4, int64(a.microseconds))
		addTime(b, 5, a.time)
		if a.subkey != nil {
			addTypedOctets(b, 6, a.subkeyType, a.subkey)
		}
		addInteger(b, 7, int64(a.sequence))
		if len(a.encryptions) > 0 {
			addEnctypes(b, a.encryptions)
		}
	})
	return b.Bytes()
}

// Name types written into messages (RFC 4120, section 6.2). No peer compares
// them.
const (
	nameTypePrincipal = 1
	nameTypeService   = 2
)

func parseAPRep(b []byte) (encryptedData, bool) {
	var d encryptedData
	s, ok := readMessage(b, tagAPRep)
	ok = ok && readVersion(&s, 0, protocolVersion) && readVersion(&s, 1, tagAPRep) &&
		readEncryptedData(&s, 2, &d) && s.Empty()
	return d, ok
}

func appendAPRep(b *cryptobyte.Builder, enc encryptedData) {
	addMessage(b, tagAPRep, func(b *cryptobyte.Builder) {
		addInteger(b, 0, protocolVersion)
		addInteger(b, 1, tagAPRep)
		addEncryptedData(b, 2, enc)
	})
}

// encAPRepPart is what the service answers in the session key.
type encAPRepPart struct {
	time         time.Time
	microseconds int
	subkeyType   Enctype
	subkey       []byte // nil when absent
	sequence     uint32 // 0 when absent
}

func parseEncAPRepPart(b []byte) (encAPRepPart, bool) {
	var p encAPRepPart
	s, ok := readMessage(b, tagEncAPRepPart)
	ok = ok && readTime(&s, 0, &p.time) && readMicroseconds(&s, 1, &p.microseconds) &&
		(!s.PeekASN1Tag(field(2)) || readTypedOctets(&s, 2, &p.subkeyType, &p.subkey)) &&
		(!s.PeekASN1Tag(field(3)) || readUint32(&s, 3, &p.sequence)) && s.Empty()
	return p, ok
}

func (p *encAPRepPart) marshal() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 128))
	addMessage(b, tagEncAPRepPart, func(b *cryptobyte.Builder) {
		addTime(b, 0, p.time)
		addInteger(b, 1, int64(p.microseconds))
		if p.subkey != nil {
			addTypedOctets(b, 2, p.subkeyType, p.subkey)
		}
		addInteger(b, 3, int64(p.sequence))
	})
	return b.Bytes()
}

// krbError is the message that tells a client why its AP-REQ failed. It is
// not authenticated.
type krbError struct {
	clientTime         time.Time // zero when absent
	clientMicroseconds int
	time               time.Time
	microseconds       int
	code               int32
	service            Principal
	data               []byte // e-data; nil when absent
}

// skewRecovery is KERB-ERROR-DATA of the type KERB_AP_ERR_TYPE_SKEW_RECOVERY ([MS-KILE] section 2.2.2): it lets a client of
// Windows try again with the time of the KRB-ERROR.
var skewRecovery = []byte{0x30, 5, 0xa1, 3, 2, 1, 2}

func parseKRBError(b []byte) (krbError, bool) {
	var e krbError
	s, ok := readMessage(b, tagKRBError)
	ok = ok && readVersion(&s, 0, protocolVersion) && readVersion(&s, 1, tagKRBError) &&
		(!s.PeekASN1Tag(field(2)) || readTime(&s, 2, &e.clientTime)) &&
		(!s.PeekASN1Tag(field(3)) || readMicroseconds(&s, 3, &e.clientMicroseconds)) &&
		readTime(&s, 4, &e.time) && readMicroseconds(&s, 5, &e.microseconds) &&
		readInt32(&s, 6, &e.code) &&
		s.SkipOptionalASN1(field(7)) && s.SkipOptionalASN1(field(8)) &&
		readName(&s, 9, &e.service.Realm) &&
		readPrincipalName(&s, 10, &e.service.Components) &&
		s.SkipOptionalASN1(field(11)) && s.ReadOptionalASN1OctetString(&e.data, nil, field(12)) && s.Empty()
	return e, ok
}

func appendKRBError(b *cryptobyte.Builder, e krbError) {
	addMessage(b, tagKRBError, func(b *cryptobyte.Builder) {
		addInteger(b, 0, protocolVersion)
		addInteger(b, 1, tagKRBError)
		if !e.clientTime.IsZero() {
			addTime(b, 2, e.clientTime)
			addInteger(b, 3, int64(e.clientMicroseconds))
		}
		addTime(b, 4, e.time)
		addInteger(b, 5, int64(e.microseconds))
		addInteger(b, 6, int64(e.code))
		addName(b, 9, e.service.Realm)
		addPrincipalName(b, 10, nameTypeService, e.service.Components)
		if e.data != nil {
			b.AddASN1(field(12), func(b *cryptobyte.Builder) { b.AddASN1OctetString(e.data) })
		}
	})
}

// peekService reads the name of the service from the start of an AP-REQ
// without looking at anything behind it.
func peekService(b []byte) (Principal, bool) {
	var f cryptobyte.String
	var p Principal
	s, ok := readMessage(b, tagAPReq)
	if !ok || !readVersion(&s, 0, protocolVersion) || !readVersion(&s, 1, tagAPReq) ||
		!s.SkipASN1(field(2)) || !s.ReadASN1(&f, field(3)) {
		return p, false
	}
	t, ok := readMessage(f, tagTicket)
	ok = ok && t.SkipASN1(field(0)) && readName(&t, 1, &p.Realm) && readPrincipalName(&t, 2, &p.Components)
	return p, ok
}
