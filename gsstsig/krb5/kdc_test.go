package krb5

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A KDC and a client for tests, which make tickets and AP-REQs with gokrb5's
// encoders and ciphers, so that what is tested here does not test itself.

const (
	testRealm   = "EXAMPLE.TEST"
	testVersion = 3
)

var (
	testNow        = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	testService    = Principal{Components: []string{"DNS", "ns1.example.test"}, Realm: testRealm}
	testClient     = Principal{Components: []string{"host", "a.example.test"}, Realm: testRealm}
	testTypes      = []Enctype{17, 18, 19, 20}
	testKeySizes   = map[Enctype]int{17: 16, 18: 32, 19: 16, 20: 32, 23: 16}
	testChecksum   = gssBytes(flagMutual | flagReplay | flagIntegrity)
	testNotMutual  = gssBytes(flagReplay | flagIntegrity)
	testServiceKey = func(id Enctype) types.EncryptionKey { return testKey(id, "service") }
)

// testKey is always the same for a type and label: fuzz corpora depend on it.
func testKey(id Enctype, label string) types.EncryptionKey {
	sum := sha256.Sum256([]byte(label + id.String()))
	return types.EncryptionKey{KeyType: int32(id), KeyValue: slices.Clone(sum[:testKeySizes[id]])}
}

func gssBytes(flags uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 16)
	b = append(b, make([]byte, 16)...)
	return binary.LittleEndian.AppendUint32(b, flags)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustPrincipal(s string) Principal { return must(ParsePrincipal(s)) }

// ticketSpec is a ticket to be made; zero fields get usable values.
type ticketSpec struct {
	service    Principal
	key        types.EncryptionKey
	version    int // 0: testVersion, -1: none
	client     Principal
	session    types.EncryptionKey
	start, end time.Time
	flags      []byte // content of the BIT STRING
	transited  []byte
	authData   []byte // content of the field
	cipher     []byte // instead of the encrypted part
}

func (s ticketSpec) withDefaults() ticketSpec {
	if s.service.Components == nil {
		s.service = testService
	}
	if s.client.Components == nil {
		s.client = testClient
	}
	if s.key.KeyValue == nil {
		s.key = testServiceKey(18)
	}
	if s.session.KeyValue == nil {
		s.session = testKey(18, "session")
	}
	if s.start.IsZero() {
		s.start = testNow.Add(-time.Hour)
	}
	if s.end.IsZero() {
		s.end = testNow.Add(10 * time.Hour)
	}
	if s.flags == nil {
		s.flags = []byte{0, 0x40, 0x80, 0, 0}
	}
	return s
}

func (s ticketSpec) plain() []byte {
	var b cryptobyte.Builder
	addMessage(&b, tagEncTicketPart, func(b *cryptobyte.Builder) {
		b.AddASN1(field(0), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes(s.flags) })
		})
		addTypedOctets(b, 1, s.session.KeyType, s.session.KeyValue)
		addName(b, 2, s.client.Realm)
		addPrincipalName(b, 3, 1, s.client.Components)
		addTypedOctets(b, 4, int32(1), s.transited)
		addTime(b, 5, s.start)
		addTime(b, 6, s.start)
		addTime(b, 7, s.end)
		if s.authData != nil {
			b.AddASN1(field(10), func(b *cryptobyte.Builder) { b.AddBytes(s.authData) })
		}
	})
	return b.BytesOrPanic()
}

func (s ticketSpec) ticket() messages.Ticket {
	s = s.withDefaults()
	switch s.version {
	case 0:
		s.version = testVersion
	case -1:
		s.version = 0
	}
	enc := must(crypto.GetEncryptedData(s.plain(), s.key, 2, s.version))
	if s.cipher != nil {
		enc.Cipher = s.cipher
	}
	return messages.Ticket{
		TktVNO:  5,
		Realm:   s.service.Realm,
		SName:   types.PrincipalName{NameType: 2, NameString: s.service.Components},
		EncPart: enc,
	}
}

// requestSpec is an AP-REQ to be made; zero fields get usable values.
type requestSpec struct {
	ticketSpec
	from         Principal // in the authenticator
	at           time.Time
	sequence     int64
	checksumType int32
	checksum     []byte
	subkey       types.EncryptionKey
	// authorization is the authorization data in the authenticator.
	authorization types.AuthorizationData
	authCipher    []byte // instead of the encrypted authenticator
	authKey       types.EncryptionKey
	options       []int // nil: mutual-required
	mechanism     []byte
}

func (s requestSpec) apReq() messages.APReq {
	s.ticketSpec = s.ticketSpec.withDefaults()
	if s.from.Components == nil {
		s.from = s.client
	}
	if s.at.IsZero() {
		s.at = testNow
	}
	if s.checksumType == 0 {
		s.checksumType = 0x8003
	}
	if s.checksum == nil {
		s.checksum = testChecksum
	}
	if s.authKey.KeyValue == nil {
		s.authKey = s.session
	}
	auth := types.Authenticator{
		AVNO:      5,
		CRealm:    s.from.Realm,
		CName:     types.PrincipalName{NameType: 1, NameString: s.from.Components},
		Cksum:     types.Checksum{CksumType: s.checksumType, Checksum: s.checksum},
		Cusec:     s.at.Nanosecond() / 1000,
		CTime:     s.at.UTC().Truncate(time.Second),
		SubKey:    s.subkey,
		SeqNumber: s.sequence,

		AuthorizationData: s.authorization,
	}
	if s.checksumType < 0 {
		auth.Cksum = types.Checksum{}
	}
	enc := must(crypto.GetEncryptedData(must(auth.Marshal()), s.authKey, 11, 0))
	if s.authCipher != nil {
		enc.Cipher = s.authCipher
	}
	r := messages.APReq{
		PVNO:                   5,
		MsgType:                14,
		APOptions:              types.NewKrbFlags(),
		Ticket:                 s.ticket(),
		EncryptedAuthenticator: enc,
	}
	if s.options == nil {
		s.options = []int{optionMutualRequired}
	}
	types.SetFlags(&r.APOptions, s.options)
	return r
}

func (s requestSpec) token() []byte {
	r := s.apReq()
	if s.mechanism == nil {
		s.mechanism = mechanismKRB5
	}
	return frameBytes(s.mechanism, tokenAPReq, must(r.Marshal()))
}

func frameBytes(mechanism []byte, id uint16, body []byte) []byte {
	return must(frame(mechanism, id, func(b *cryptobyte.Builder) { b.AddBytes(body) }))
}

// keytabSpec is an entry of a keytab to be written.
type keytabSpec struct {
	principal Principal
	version   uint32
	key       types.EncryptionKey
}

func keytabBytes(entries ...keytabSpec) []byte {
	var b cryptobyte.Builder
	b.AddBytes([]byte{5, 2})
	for _, e := range entries {
		b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(uint16(len(e.principal.Components)))
			for _, part := range append([]string{e.principal.Realm}, e.principal.Components...) {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(part)) })
			}
			b.AddUint32(1)
			b.AddUint32(uint32(testNow.Unix()))
			b.AddUint8(uint8(e.version))
			b.AddUint16(uint16(e.key.KeyType))
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.key.KeyValue) })
			b.AddUint32(e.version)
		})
	}
	return b.BytesOrPanic()
}

func writeFile(t testing.TB, name string, b []byte) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// serviceKeytab has the test service's key of every type.
func serviceKeytab() []byte {
	var entries []keytabSpec
	for _, id := range append([]Enctype{RC4HMAC}, testTypes...) {
		entries = append(entries, keytabSpec{testService, testVersion, testServiceKey(id)})
	}
	return keytabBytes(entries...)
}

func openKeytab(t testing.TB, b []byte) *Keytabs {
	t.Helper()
	k, err := OpenKeytabs(writeFile(t, "dns.keytab", b))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newTestAcceptor(t testing.TB, change ...func(*AcceptorConfig)) *Acceptor {
	t.Helper()
	c := AcceptorConfig{
		Replays: NewReplayCache(1000),
		Now:     func() time.Time { return testNow },
	}
	for _, f := range change {
		f(&c)
	}
	if c.Keytabs == nil {
		c.Keytabs = openKeytab(t, serviceKeytab())
	}
	a, err := NewAcceptor(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func withKeytab(t testing.TB, entries ...keytabSpec) func(*AcceptorConfig) {
	k := openKeytab(t, keytabBytes(entries...))
	return func(c *AcceptorConfig) { c.Keytabs = k }
}

// accept expects the token to be accepted.
func accept(t testing.TB, a *Acceptor, token []byte) (*AcceptorContext, []byte) {
	t.Helper()
	c := a.NewContext()
	reply, err := c.Accept(token)
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	if !c.Established() {
		t.Fatal("the context is not established after a successful Accept")
	}
	return c, reply
}

// refuse expects the token to be refused for the reason given, and the context
// to be useless.
func refuse(t testing.TB, a *Acceptor, token []byte, want error, code int32) (*Error, []byte) {
	t.Helper()
	c := a.NewContext()
	reply, err := c.Accept(token)
	if !errors.Is(err, want) {
		t.Fatalf("Accept: error is %v, want %v", err, want)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("Accept: error is of type %T", err)
	}
	if e.Code != code {
		t.Errorf("error code is %d, want %d (%v)", e.Code, code, err)
	}
	if e.Reason == "" || strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("error text %q is not fit for a log", e.Error())
	}
	if c.Established() || c.Peer().Realm != "" {
		t.Error("a refused context has a peer")
	}
	if _, err := c.GetMIC([]byte("m")); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("GetMIC of a refused context: %v", err)
	}
	if err := c.VerifyMIC([]byte("m"), make([]byte, 28)); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("VerifyMIC of a refused context: %v", err)
	}
	if _, err := c.Accept(token); !errors.Is(err, ErrMalformed) {
		t.Errorf("a second token: %v", err)
	}
	return e, reply
}
