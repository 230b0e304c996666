package krb5

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// Each flaw of gokrb5 v8.4.4 that a client could reach has its test here,
// unless a test elsewhere is about it: AES256SHA2KeysHave32Octets
// (crypto_test.go), the replay cache (replay_test.go), the key version, the
// checksum field, transited realms and the restriction of the service's name
// (acceptor_test.go), key octets in a keytab's errors (keytab_test.go).

// gokrb5 slices off the HMAC before it looks whether there is one.
func TestShortTicketCipherDoesNotPanic(t *testing.T) {
	a := newTestAcceptor(t)
	for _, id := range testTypes {
		for n := range 64 {
			s := requestSpec{ticketSpec: ticketSpec{key: testServiceKey(id), cipher: make([]byte, n)}}
			refuse(t, a, s.token(), ErrIntegrity, codeModified)
		}
	}
}

func TestShortAuthenticatorCipherDoesNotPanic(t *testing.T) {
	a := newTestAcceptor(t)
	for _, id := range testTypes {
		for n := range 64 {
			s := requestSpec{ticketSpec: ticketSpec{session: testKey(id, "session")}, authCipher: make([]byte, n)}
			refuse(t, a, s.token(), ErrIntegrity, codeBadIntegrity)
		}
	}
}

func TestEmptyNamesDoNotPanic(t *testing.T) {
	a := newTestAcceptor(t)
	for _, names := range [][]string{{}, {""}, {"", ""}} {
		p := Principal{Components: names, Realm: testRealm}
		token := requestSpec{ticketSpec: ticketSpec{service: p}}.token()
		if a.HasKeyFor(token) {
			t.Errorf("%q is held", names)
		}
		refuse(t, a, token, ErrMalformed, codeGeneric)
		refuse(t, a, requestSpec{ticketSpec: ticketSpec{client: p}}.token(), ErrMalformed, codeModified)
		refuse(t, a, requestSpec{from: p}.token(), ErrMalformed, codeModified)
	}
	refuse(t, a, requestSpec{ticketSpec: ticketSpec{service: Principal{Components: testService.Components}}}.token(), ErrMalformed, codeGeneric)
	refuse(t, a, requestSpec{ticketSpec: ticketSpec{client: Principal{Components: testClient.Components}}}.token(), ErrMalformed, codeModified)
}

func TestHugeNamesAreMalformed(t *testing.T) {
	a := newTestAcceptor(t)
	for _, names := range [][]string{
		slices.Repeat([]string{"a"}, maxComponents+1),
		slices.Repeat([]string{""}, 10_000),
		{"DNS", strings.Repeat("a", maxNameOctets)},
	} {
		token := requestSpec{ticketSpec: ticketSpec{service: Principal{Components: names, Realm: testRealm}}}.token()
		refuse(t, a, token, ErrMalformed, codeGeneric)
	}
}

// gokrb5's IsFlagSet indexes the octets of a bit string that may have none.
func TestEmptyBitStringsDoNotPanic(t *testing.T) {
	for _, flags := range [][]byte{{0}, {0, 0}, {7, 0x80}, {0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		accept(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{flags: flags}}.token())
	}
	for _, flags := range [][]byte{{}, {1}, {8, 0}} {
		refuse(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{flags: flags}}.token(), ErrMalformed, codeModified)
	}
	r := requestSpec{}.apReq()
	r.APOptions.Bytes, r.APOptions.BitLength = nil, 0
	accept(t, newTestAcceptor(t), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())))
}

func TestUnusedBitsOfFlagsDoNotCount(t *testing.T) {
	// Bit 7 is set but said to be unused.
	accept(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{flags: []byte{1, 0x01}}}.token())
	refuse(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{flags: []byte{0, 0x01}}}.token(), ErrNotYetValid, codeTicketNotYet)
}

// authorizationData is one element of the type, around other such data.
func authorizationData(adType int32, data []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addInteger(b, 0, int64(adType))
			addOctets(b, 1, data)
		})
	})
	return b.BytesOrPanic()
}

// gokrb5 takes the first element of AD-IF-RELEVANT without looking for one,
// and decodes PACs before they are verified: a count in one made it allocate
// 170 GB.
func TestUnverifiedAuthorizationDataIsNotTrusted(t *testing.T) {
	standard.Requires(t, "RFC 4120", "5.2.6.1 if relevant")
	hostile := []byte{0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 8, 0, 0, 0, 0, 0, 0, 0}
	for name, data := range map[string][]byte{
		"empty":                {0x30, 0},
		"empty AD-IF-RELEVANT": authorizationData(1, []byte{0x30, 0}),
		"unknown":              authorizationData(1, authorizationData(-1, hostile)),
	} {
		c, _ := accept(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{authData: data}}.token())
		if !c.Peer().Equal(testClient) || c.Groups() != nil {
			t.Errorf("%s: peer %v, groups %q", name, c.Peer(), c.Groups())
		}
	}
	for name, data := range map[string][]byte{
		"garbage":             authorizationData(1, []byte("garbage")),
		"hostile PAC":         authorizationData(1, authorizationData(128, hostile)),
		"short PAC":           authorizationData(1, authorizationData(128, []byte{1})),
		"no PAC":              authorizationData(1, authorizationData(128, nil)),
		"not even a sequence": []byte("garbage"),
	} {
		t.Run(name, func(t *testing.T) {
			refuse(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{authData: data}}.token(), ErrMalformed, codeModified)
		})
	}
}

// gokrb5 reports the realm that the client wrote into the authenticator. A
// client of another realm thereby became a user of ours.
func TestRealmIsTheTicketsNotTheAuthenticators(t *testing.T) {
	standard.Requires(t, "RFC 4120", "3.2.3 client", "3.2.3 match", "6.2 names")
	theirs := mustPrincipal("administrator@OTHER.TEST")
	ours := mustPrincipal("administrator@EXAMPLE.TEST")
	both := func(c *AcceptorConfig) { c.Realms = []string{"OTHER.TEST", "EXAMPLE.TEST"} }
	refuse(t, newTestAcceptor(t, both), requestSpec{ticketSpec: ticketSpec{client: theirs}, from: ours}.token(), ErrMismatch, codeBadMatch)
	refuse(t, newTestAcceptor(t, both), requestSpec{ticketSpec: ticketSpec{client: ours}, from: theirs}.token(), ErrMismatch, codeBadMatch)
	c, _ := accept(t, newTestAcceptor(t, both), requestSpec{ticketSpec: ticketSpec{client: theirs}}.token())
	if c.Peer().String() != "administrator@OTHER.TEST" {
		t.Errorf("peer %v", c.Peer())
	}
}

// Names from the network cannot break a log line.
func TestHostileNamesAreSafeToLog(t *testing.T) {
	evil := "x\n2026-01-01 level=info msg=\"all is well\"\x1b[2J\u202e\x00" + strings.Repeat("y", 500)
	a := newTestAcceptor(t)
	for _, s := range []requestSpec{
		{ticketSpec: ticketSpec{service: Principal{Components: []string{"DNS", evil}, Realm: testRealm}}},
		{ticketSpec: ticketSpec{service: Principal{Components: []string{"LDAP", evil}, Realm: evil}}},
		{ticketSpec: ticketSpec{client: Principal{Components: []string{evil}, Realm: evil}}},
		{from: Principal{Components: []string{evil}, Realm: evil}},
	} {
		_, err := a.NewContext().Accept(s.token())
		e, ok := err.(*Error)
		if !ok {
			t.Fatalf("error %v", err)
		}
		for _, text := range []string{e.Error(), e.Service} {
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || len(text) > 1200 {
				t.Errorf("unfit for a log: %q", text)
			}
		}
	}
}

// No error shows octets of keys or tickets.
func TestErrorsShowNoSecrets(t *testing.T) {
	session := types.EncryptionKey{KeyType: 18, KeyValue: []byte("session key, thirty-two octets..")}
	for _, s := range []requestSpec{
		{ticketSpec: ticketSpec{session: session}, from: mustPrincipal("x@Y")},
		{ticketSpec: ticketSpec{session: types.EncryptionKey{KeyType: 20, KeyValue: session.KeyValue[:24]}}, authKey: testKey(20, "x")},
		{ticketSpec: ticketSpec{session: session}, authKey: testKey(18, "x")},
		{ticketSpec: ticketSpec{session: session}, subkey: types.EncryptionKey{KeyType: 17, KeyValue: session.KeyValue}},
	} {
		_, err := newTestAcceptor(t).NewContext().Accept(s.token())
		text := fmt.Sprintf("%v %+v %#v", err, err, err)
		for _, secret := range []string{"session key, ", fmt.Sprintf("%x", session.KeyValue[:12]), fmt.Sprint(session.KeyValue[:12])} {
			if err == nil || strings.Contains(text, strings.Trim(secret, "[]")) {
				t.Errorf("error %s", text)
			}
		}
	}
}
