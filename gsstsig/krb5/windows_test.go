package krb5

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// Types of authorization data that clients of Windows put into an authenticator (MS-KILE, sections 3.1.5.5 and 3.2.5.8).
const (
	adTokenRestrictions = 141
	adLocal             = 142
	adAPOptions         = 143
	adTarget            = 144
)

// encodedAuthorization is an AuthorizationData.
func encodedAuthorization(elements ...types.AuthorizationDataEntry) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range elements {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addInteger(b, 0, int64(e.ADType))
				b.AddASN1(field(1), func(b *cryptobyte.Builder) { b.AddASN1OctetString(e.ADData) })
			})
		}
	})
	return b.BytesOrPanic()
}

// TestAuthorizationDataOfWindows has a client put into its authenticator what Windows does. None of it concerns this server, and
// the offer of encryption types beside it is read.
func TestAuthorizationDataOfWindows(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.5.5 unknown", "3.2.5.8 restrictions", "3.2.5.8 local", "3.2.5.8 target", "3.4.5.3 restrictions")
	standard.Deviates(t, "MS-KILE", "3.2.5.8 channel binding", "The options are not looked at: GSS-TSIG has no channel bindings, by DNS over TLS either.")
	element := func(kind int32, data []byte) types.AuthorizationDataEntry {
		return types.AuthorizationDataEntry{ADType: kind, ADData: data}
	}
	relevant := func(elements ...types.AuthorizationDataEntry) types.AuthorizationDataEntry {
		return element(adIfRelevant, encodedAuthorization(elements...))
	}
	// KERB-AD-RESTRICTION-ENTRY: type 0, and LSAP_TOKEN_INFO_INTEGRITY, which is flags, the level of integrity and the machine's
	// identifier of 32 octets.
	var restrictions cryptobyte.Builder
	restrictions.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addInteger(b, 0, 0)
			b.AddASN1(field(1), func(b *cryptobyte.Builder) {
				b.AddASN1OctetString(append([]byte{0, 0, 0, 0, 0, 0x40, 0, 0}, make([]byte, 32)...))
			})
		})
	})
	machine := element(adTokenRestrictions, restrictions.BytesOrPanic())
	local := element(adLocal, make([]byte, 16))
	options := func(bits uint32) types.AuthorizationDataEntry {
		return element(adAPOptions, binary.LittleEndian.AppendUint32(nil, bits))
	}
	var target []byte
	for _, c := range "DNS/ns1.example.test@EXAMPLE.TEST" { // UTF-16
		target = binary.LittleEndian.AppendUint16(target, uint16(c))
	}
	offer := element(adTypes, []byte{0x30, 6, 2, 1, 18, 2, 1, 17})
	for what, data := range map[string]types.AuthorizationData{
		"all in one":                {relevant(offer, machine, local, options(0x4000), element(adTarget, target))},
		"one each":                  {relevant(machine), relevant(local), relevant(options(0xc000)), relevant(element(adTarget, target)), relevant(offer)},
		"local outside":             {local, relevant(offer, machine)},
		"what nobody has heard of":  {element(9999, []byte("?")), element(-7, nil), relevant(element(9998, nil), offer)},
		"restrictions not readable": {relevant(element(adTokenRestrictions, []byte{0x30, 0x84}), offer)},
	} {
		t.Run(what, func(t *testing.T) {
			c, reply := accept(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{session: testKey(17, "session")}, authorization: data}.token())
			if reply == nil || c.SessionEnctype() != 18 || !c.Peer().Equal(testClient) {
				t.Errorf("answer of %d octets, encryption type %d, peer %v", len(reply), c.SessionEnctype(), c.Peer())
			}
		})
	}
}

// TestEncryptionTypesOfWindows: AES as Windows has it, RC4 only if the administrator allows it, and none of the older ones.
func TestEncryptionTypesOfWindows(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.5.2 AES")
	standard.Deviates(t, "MS-KILE", "3.1.5.2 RC4", "It is off unless `allow_rc4` is set, since it is broken.")
	standard.Deviates(t, "MS-KILE", "3.1.5.2 others", "The AES types of RFC 8009, which MIT Kerberos has, are accepted too.")
	ticket := func(id Enctype) requestSpec {
		return requestSpec{ticketSpec: ticketSpec{key: testServiceKey(id), session: testKey(id, "session")}}
	}
	for _, id := range []Enctype{17, 18, 19, 20} {
		accept(t, newTestAcceptor(t), ticket(id).token())
	}
	e, _ := refuse(t, newTestAcceptor(t), ticket(RC4HMAC).token(), ErrEnctype, codeEtypeNoSupport)
	if !strings.Contains(e.Fix, "allow RC4") {
		t.Errorf("advice %q", e.Fix)
	}
	accept(t, newTestAcceptor(t, allowRC4), ticket(RC4HMAC).token())
	for _, id := range []int32{1, 3, 24, -128} {
		r := requestSpec{ticketSpec: ticketSpec{session: types.EncryptionKey{KeyType: id, KeyValue: make([]byte, 8)}}, authKey: testKey(18, "session")}
		refuse(t, newTestAcceptor(t, allowRC4), r.token(), ErrEnctype, codeEtypeNoSupport)
	}
}

// TestTicketsOfWindows: how a ticket names its key, and services that Windows' own clients ask for.
func TestTicketsOfWindows(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.5.8 key versions")
	standard.Deviates(t, "MS-KILE", "3.4.5 RestrictedKrbHost", "A ticket for another service than those of the Corefile, by default DNS/ and a host, is refused, whatever key it is encrypted with.")
	standard.Deviates(t, "MS-KILE", "3.4.5 DES", "It is KDC_ERR_ETYPE_NOSUPP, as for every type that is not permitted.")
	// The version of a read-only controller's key has the controller's number in its first 16 bits, which may make it negative.
	for i, version := range []int{testVersion, 1<<16 | testVersion, 0x7fff<<16 | 1, -0x80000000 | 2, -0x10000} {
		accept(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{version: version}, at: testNow.Add(time.Duration(i) * time.Millisecond)}.token())
	}
	restricted := mustPrincipal("RestrictedKrbHost/ns1.example.test@EXAMPLE.TEST")
	keys := withKeytab(t, keytabSpec{testService, testVersion, testServiceKey(18)}, keytabSpec{restricted, testVersion, testServiceKey(18)})
	dns := func(c *AcceptorConfig) { c.Services = []Principal{testService} }
	refuse(t, newTestAcceptor(t, keys, dns), requestSpec{ticketSpec: ticketSpec{service: restricted}}.token(), ErrNotAccepted, codeNotUs)
	for _, des := range []int32{1, 3} {
		r := requestSpec{}.apReq()
		r.Ticket.EncPart.EType = des
		refuse(t, newTestAcceptor(t, allowRC4), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())), ErrEnctype, codeEtypeNoSupport)
	}
}
