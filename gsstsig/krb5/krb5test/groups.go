package krb5test

import (
	"strconv"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/internal/pac/pactest"
)

// Checksum types that sign PACs with keys of each encryption type.
var checksumTypes = map[krb5.Enctype]int32{krb5.AES128SHA1: 15, krb5.AES256SHA1: 16, krb5.AES128SHA2: 19, krb5.RC4HMAC: -138}

// ticketWithPAC is Ticket with a PAC that has the given logon information and is
// signed with the service's key.
func (r *Realm) ticketWithPAC(client, service string, enctype krb5.Enctype, lifetime time.Duration, logon pactest.Logon) (messages.Ticket, types.EncryptionKey) {
	r.t.Helper()
	ticket, session := r.Ticket(client, service, enctype, lifetime)
	key, version, err := r.keys.GetEncryptionKey(ticket.SName, r.Name, Version, int32(enctype))
	if err != nil {
		r.t.Fatalf("the key of %s: %v", service, err)
	}
	if err := ticket.DecryptEncPart(r.keys, &ticket.SName); err != nil {
		r.t.Fatalf("decrypting the ticket for %s: %v", service, err)
	}
	part := ticket.DecryptedEncPart
	checksum, err := crypto.GetChksumEtype(checksumTypes[enctype])
	if err != nil {
		r.t.Fatalf("the checksum of type %s: %v", enctype, err)
	}
	spec := pactest.Spec{
		Client:       strings.Join(part.CName.NameString, "/"),
		AuthTime:     part.AuthTime,
		Logon:        &logon,
		ChecksumType: checksumTypes[enctype],
		Sign: func(message []byte) []byte {
			sum, err := checksum.GetChecksumHash(key.KeyValue, message, 17)
			if err != nil {
				r.t.Fatalf("signing the PAC: %v", err)
			}
			return sum
		},
	}
	plain := encTicketPart(part, spec.Encode())
	if ticket.EncPart, err = crypto.GetEncryptedData(plain, key, 2, version); err != nil {
		r.t.Fatalf("encrypting the ticket: %v", err)
	}
	ticket.DecryptedEncPart = messages.EncTicketPart{}
	return ticket, session
}

// encTicketPart encodes the encrypted part of a ticket with a PAC (RFC 4120,
// section 5.3).
func encTicketPart(p messages.EncTicketPart, pac []byte) []byte {
	var b cryptobyte.Builder
	field := func(b *cryptobyte.Builder, n uint8, value func(*cryptobyte.Builder)) {
		b.AddASN1(asn1.Tag(n).ContextSpecific().Constructed(), value)
	}
	sequence := func(b *cryptobyte.Builder, fields func(*cryptobyte.Builder)) { b.AddASN1(asn1.SEQUENCE, fields) }
	text := func(s string) func(*cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.Tag(27), func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
		}
	}
	typed := func(kind int64, octets []byte) func(*cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) {
			sequence(b, func(b *cryptobyte.Builder) {
				field(b, 0, func(b *cryptobyte.Builder) { b.AddASN1Int64(kind) })
				field(b, 1, func(b *cryptobyte.Builder) { b.AddASN1OctetString(octets) })
			})
		}
	}
	at := func(t time.Time) func(*cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(t.UTC()) }
	}
	element := func(kind int64, data []byte) []byte {
		var b cryptobyte.Builder
		sequence(&b, typed(kind, data))
		return b.BytesOrPanic()
	}
	b.AddASN1(asn1.Tag(3)|0x60, func(b *cryptobyte.Builder) {
		sequence(b, func(b *cryptobyte.Builder) {
			field(b, 0, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes([]byte{0, 0, 0, 0, 0}) })
			})
			field(b, 1, typed(int64(p.Key.KeyType), p.Key.KeyValue))
			field(b, 2, text(p.CRealm))
			field(b, 3, func(b *cryptobyte.Builder) {
				sequence(b, func(b *cryptobyte.Builder) {
					field(b, 0, func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(p.CName.NameType)) })
					field(b, 1, func(b *cryptobyte.Builder) {
						sequence(b, func(b *cryptobyte.Builder) {
							for _, c := range p.CName.NameString {
								text(c)(b)
							}
						})
					})
				})
			})
			field(b, 4, typed(1, nil))
			field(b, 5, at(p.AuthTime))
			field(b, 7, at(p.EndTime))
			field(b, 10, func(b *cryptobyte.Builder) { b.AddBytes(element(1, element(128, pac))) })
		})
	})
	return b.BytesOrPanic()
}

// AccountTicket is Ticket as Active Directory makes it for an account of a
// domain: with a PAC that names the account, its SID, the domain's group 513
// (Domain Users), and the groups of the domain with the given RIDs. The RID in
// account.SID must be 1000 or greater. client is the name that the account
// logged on with.
func (r *Realm) AccountTicket(client, service string, enctype krb5.Enctype, lifetime time.Duration, account krb5.Account, groups ...uint32) (messages.Ticket, types.EncryptionKey) {
	r.t.Helper()
	at := strings.LastIndexByte(account.SID, '-')
	rid, err := strconv.ParseUint(account.SID[at+1:], 10, 32)
	if err != nil {
		r.t.Fatalf("the SID of %s: %v", account.Name, err)
	}
	logon := pactest.Logon{Domain: account.SID[:at], User: uint32(rid), Primary: 513, Name: account.Name}
	for _, rid := range groups {
		logon.Groups = append(logon.Groups, pactest.Group{RID: rid, Attributes: 7})
	}
	return r.ticketWithPAC(client, service, enctype, lifetime, logon)
}
