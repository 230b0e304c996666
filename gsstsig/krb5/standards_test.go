package krb5

import (
	"bytes"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// Messages are as long as DNS messages can be, and longer.
func TestMICsOfLongMessages(t *testing.T) {
	standard.Requires(t, "RFC 4121", "5.2 16 KB", "5.2 64 KB")
	for _, id := range testTypes {
		acceptor, initiator := testSession(id, true, true, 0, 0), testSession(id, false, true, 0, 0)
		for _, size := range []int{16 << 10, 64 << 10, 1 << 20} {
			message := bytes.Repeat([]byte{0xA5}, size)
			mic := must(initiator.getMIC(message))
			if !bytes.Equal(mic, foreignMIC(testKey(id, "mic"), message, 25, 4, uint64(initiator.sequence.Load()-1))) {
				t.Errorf("%s, %d octets: another MIC", id, size)
			}
			message[size-1]++
			if err := acceptor.verifyMIC(message, mic); err == nil {
				t.Errorf("%s, %d octets: a change at the end is accepted", id, size)
			}
			message[size-1]--
			if err := acceptor.verifyMIC(message, mic); err != nil {
				t.Errorf("%s, %d octets: %v", id, size, err)
			}
		}
	}
}

// Flags that other extensions use, or that are not defined, neither give nor take anything.
func TestUnknownFlagsOfTheChecksum(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.2.5.2 flags")
	standard.Requires(t, "RFC 4121", "4.1.1.1 unknown flags", "4.1.1 extensions")
	for bit := range 32 {
		flag := uint32(1) << bit
		if flag&(flagDelegation|flagMutual|flagIntegrity|flagDCEStyle) != 0 {
			continue
		}
		c, reply := accept(t, newTestAcceptor(t), requestSpec{checksum: gssBytes(flagMutual | flagIntegrity | flag)}.token())
		if reply == nil || !c.Established() {
			t.Errorf("flag %#x", flag)
		}
	}
	accept(t, newTestAcceptor(t), requestSpec{checksum: append(bytes.Clone(testChecksum), make([]byte, 100)...)}.token())
}

// What is no AP-REQ of version 5 is refused as malformed.
func TestVersionOfTheRequest(t *testing.T) {
	standard.Deviates(t, "RFC 4120", "3.2.3 version", "Both are KRB_ERR_GENERIC: such a token is refused as malformed, before there is "+
		"anything to answer in detail.")
	r := requestSpec{}.apReq()
	r.PVNO = 4
	refuse(t, newTestAcceptor(t), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())), ErrMalformed, codeGeneric)
	r = requestSpec{}.apReq()
	r.MsgType = 15
	refuse(t, newTestAcceptor(t), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())), ErrMalformed, codeGeneric)
}

// sealed is a ticket with that encrypted part.
func sealed(plain []byte) ticketSpec {
	return ticketSpec{cipher: must(crypto.GetEncryptedData(plain, testServiceKey(18), 2, testVersion)).Cipher}
}

// The addresses in a ticket do not matter, of whatever kind they are.
func TestAddressesOfTickets(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.5.6 directional")
	standard.Requires(t, "RFC 4120", "5.2.5 addresses")
	standard.Deviates(t, "RFC 4120", "3.2.3 addresses", "Addresses in tickets are ignored, as by other acceptors: behind a translation of "+
		"addresses they are wrong, and the source address of a datagram proves nothing.")
	plain := cryptobyte.String(ticketSpec{}.withDefaults().plain())
	for _, kind := range []int64{2, 3, 24, 99, -1} { // 3 is directional
		outer := plain
		var message, fields cryptobyte.String
		if !outer.ReadASN1(&message, application(tagEncTicketPart)) || !message.ReadASN1(&fields, asn1.SEQUENCE) {
			t.Fatal("no ticket")
		}
		var b cryptobyte.Builder
		addMessage(&b, tagEncTicketPart, func(b *cryptobyte.Builder) {
			b.AddBytes(fields)
			b.AddASN1(field(9), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(field(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(kind) })
						b.AddASN1(field(1), func(b *cryptobyte.Builder) { b.AddASN1OctetString([]byte{203, 0, 113, 1}) })
					})
				})
			})
		})
		c, _ := accept(t, newTestAcceptor(t), requestSpec{ticketSpec: sealed(b.BytesOrPanic())}.token())
		if !c.Peer().Equal(testClient) {
			t.Errorf("addresses of kind %d: peer %v", kind, c.Peer())
		}
	}
}

// Authorization data that are not known are passed over, wherever they are.
func TestUnknownAuthorizationData(t *testing.T) {
	standard.Requires(t, "RFC 4120", "5.2.6.1 if relevant")
	standard.Deviates(t, "RFC 4120", "5.2.6 authorization data", "Kinds that are not known are passed over outside of AD-IF-RELEVANT, too, "+
		"as by other acceptors: kinds that restrict what a ticket is good for are not in use.")
	for _, kind := range []int32{2, 9, 99, 129, -7} {
		bare := authorizationData(kind, []byte("who knows"))
		accept(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{authData: bare}}.token())
		accept(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{authData: authorizationData(1, bare)}}.token())
	}
}

// Microseconds that are none are malformed: nothing is rounded.
func TestMicroseconds(t *testing.T) {
	standard.Requires(t, "RFC 4120", "5.2.4 microseconds")
	for value, want := range map[int]error{0: nil, 999_999: nil, 1_000_000: ErrMalformed, -1: ErrMalformed, 1 << 40: ErrMalformed} {
		authenticator := types.Authenticator{
			AVNO: 5, CRealm: testClient.Realm, CName: types.PrincipalName{NameType: 1, NameString: testClient.Components},
			Cksum: types.Checksum{CksumType: 0x8003, Checksum: testChecksum}, CTime: testNow.UTC().Truncate(time.Second), Cusec: value,
		}
		cipher := must(crypto.GetEncryptedData(must(authenticator.Marshal()), testKey(18, "session"), 11, 0)).Cipher
		token := requestSpec{authCipher: cipher}.token()
		if want == nil {
			accept(t, newTestAcceptor(t), token)
		} else {
			refuse(t, newTestAcceptor(t), token, want, codeModified)
		}
	}
}
