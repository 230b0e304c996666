package krb5

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// exchange makes both sides verify the other's MICs, several and alternately.
func exchange(t *testing.T, a *AcceptorContext, i *InitiatorContext) {
	t.Helper()
	for n := range 3 {
		message := fmt.Appendf(nil, "message %d", n)
		mic, err := i.GetMIC(message)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.VerifyMIC(message, mic); err != nil {
			t.Fatalf("the acceptor does not verify MIC %d: %v", n, err)
		}
		if err := a.VerifyMIC(message, mic); !errors.Is(err, ErrReplay) {
			t.Fatalf("the same MIC again: %v", err)
		}
		if mic, err = a.GetMIC(message); err != nil {
			t.Fatal(err)
		}
		if err := i.VerifyMIC(message, mic); err != nil {
			t.Fatalf("the initiator does not verify MIC %d: %v", n, err)
		}
		if err := i.VerifyMIC(message, mic); !errors.Is(err, ErrReplay) {
			t.Fatalf("the same MIC again: %v", err)
		}
	}
}

func TestHandshakeOfEveryEncryptionType(t *testing.T) {
	standard.Requires(t, "RFC 4121", "2 key")
	standard.Requires(t, "RFC 4120", "3.2.2 mutual authentication", "8.1 AES256", "8.1 AES128")
	a := newTestAcceptor(t)
	for _, service := range testTypes {
		for _, session := range testTypes {
			for _, mutual := range []bool{false, true} {
				for _, subkey := range []bool{false, true} {
					name := fmt.Sprintf("service %d, session %d, mutual %v, subkey %v", service, session, mutual, subkey)
					t.Run(name, func(t *testing.T) {
						key := testKey(session, "session")
						i, err := NewInitiator(InitiatorConfig{
							Ticket:     ticketSpec{key: testServiceKey(service), session: key}.ticket(),
							SessionKey: key,
							Client:     testClient,
							Mutual:     mutual,
							Subkey:     subkey,
							Now:        func() time.Time { return testNow },
						})
						if err != nil {
							t.Fatal(err)
						}
						token, err := i.Init(nil)
						if err != nil {
							t.Fatal(err)
						}
						c, reply := accept(t, a, token)
						if (reply != nil) != mutual {
							t.Fatalf("reply of %d octets", len(reply))
						}
						if mutual {
							if i.Established() {
								t.Fatal("established before the acceptor proved itself")
							}
							if _, err := i.Init(reply); err != nil {
								t.Fatal(err)
							}
						}
						if !i.Established() {
							t.Fatal("the initiator is not established")
						}
						if !c.Peer().Equal(testClient) || !c.Service().Equal(testService) {
							t.Errorf("peer %v, service %v", c.Peer(), c.Service())
						}
						if !c.Expires().Equal(testNow.Add(10 * time.Hour).Truncate(time.Second)) {
							t.Errorf("expires %v", c.Expires())
						}
						if c.SessionEnctype() != session || i.SessionEnctype() != session {
							t.Errorf("session encryption type %d", c.SessionEnctype())
						}
						exchange(t, c, i)
					})
				}
			}
		}
	}
}

// The AP-REP is read with gokrb5's decoder, and the keys and numbers that it
// agrees on are used with gokrb5's checksum.
func TestAPRepAgreesWithGokrb5(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.1.2 subkey", "3.2.5.1 mutual")
	standard.Requires(t, "RFC 4121", "2 key", "4.2.1 numbers", "4.1 framing")
	standard.Requires(t, "RFC 4120", "3.2.4 AP-REP", "3.2.4 subkey", "7.5.1 usages")
	for _, id := range testTypes {
		for _, subkey := range []types.EncryptionKey{{}, testKey(id, "subkey")} {
			a := newTestAcceptor(t)
			s := requestSpec{sequence: 77, subkey: subkey}
			s.session = testKey(id, "session")
			c, reply := accept(t, a, s.token())
			token, ok := parseToken(reply)
			if !ok || token.id != tokenAPRep {
				t.Fatal("the reply is no AP-REP")
			}
			var rep messages.APRep
			if err := rep.Unmarshal(token.body); err != nil {
				t.Fatal(err)
			}
			if rep.PVNO != 5 || Enctype(rep.EncPart.EType) != id {
				t.Errorf("AP-REP: %d, %d", rep.PVNO, rep.EncPart.EType)
			}
			var part messages.EncAPRepPart
			if err := part.Unmarshal(must(crypto.DecryptEncPart(rep.EncPart, s.session, 12))); err != nil {
				t.Fatal(err)
			}
			if !part.CTime.Equal(testNow.Truncate(time.Second)) || part.Cusec != 123456 {
				t.Errorf("the AP-REP says %v %d", part.CTime, part.Cusec)
			}
			if Enctype(part.Subkey.KeyType) != id || len(part.Subkey.KeyValue) != testKeySizes[id] {
				t.Fatalf("the acceptor's subkey: type %d, %d octets", part.Subkey.KeyType, len(part.Subkey.KeyValue))
			}
			mic := must(c.GetMIC([]byte("from the acceptor")))
			if want := foreignMIC(part.Subkey, []byte("from the acceptor"), 23, 0x05, uint64(part.SequenceNumber)); !bytes.Equal(mic, want) {
				t.Errorf("MIC %x, want %x", mic, want)
			}
			if err := c.VerifyMIC([]byte("from the initiator"), foreignMIC(part.Subkey, []byte("from the initiator"), 25, 0x04, 77)); err != nil {
				t.Error(err)
			}
			// With an acceptor's subkey no other key may be used.
			if err := c.VerifyMIC([]byte("m"), foreignMIC(s.session, []byte("m"), 25, 0, 78)); !errors.Is(err, ErrIntegrity) {
				t.Errorf("MIC with the session key: %v", err)
			}
			if err := c.VerifyMIC([]byte("m"), foreignMIC(s.session, []byte("m"), 25, 0x04, 78)); !errors.Is(err, ErrIntegrity) {
				t.Errorf("MIC with the session key: %v", err)
			}
		}
	}
}

func TestWithoutMutualTheInitiatorsKeyAndNumberCount(t *testing.T) {
	standard.Requires(t, "RFC 4121", "2 key", "4.2.1 numbers")
	for _, subkey := range []types.EncryptionKey{{}, testKey(17, "subkey")} {
		for _, sequence := range []int64{0, 5, 1<<32 - 1} {
			s := requestSpec{checksum: testNotMutual, options: []int{}, subkey: subkey, sequence: sequence}
			c, reply := accept(t, newTestAcceptor(t), s.token())
			if reply != nil {
				t.Fatal("an AP-REP that was not asked for")
			}
			k := testKey(18, "session")
			if subkey.KeyValue != nil {
				k = subkey
			}
			if c.SessionEnctype() != Enctype(k.KeyType) {
				t.Errorf("session encryption type %d", c.SessionEnctype())
			}
			if err := c.VerifyMIC([]byte("m"), foreignMIC(k, []byte("m"), 25, 0, uint64(sequence))); err != nil {
				t.Errorf("sequence %d: %v", sequence, err)
			}
			if got, want := must(c.GetMIC([]byte("m"))), foreignMIC(k, []byte("m"), 23, 1, uint64(sequence)); !bytes.Equal(got, want) {
				t.Errorf("MIC %x, want %x", got, want)
			}
		}
	}
}

func TestSequenceNumberOfTheAuthenticatorIsUnsigned(t *testing.T) {
	standard.Requires(t, "RFC 4120", "5.5.1 sequence numbers")
	// Old implementations encode 2^32-2 as -2.
	c, _ := accept(t, newTestAcceptor(t), requestSpec{checksum: testNotMutual, sequence: -2}.token())
	if err := c.VerifyMIC([]byte("m"), foreignMIC(testKey(18, "session"), []byte("m"), 25, 0, 1<<32-2)); err != nil {
		t.Error(err)
	}
	refuse(t, newTestAcceptor(t), requestSpec{sequence: 1 << 32}.token(), ErrMalformed, codeModified)
}

// Tokens that gokrb5 makes all by itself.
func TestTokenMadeByGokrb5(t *testing.T) {
	standard.Requires(t, "RFC 4120", "7.5.1 usages")
	s := ticketSpec{session: testKey(20, "session")}
	auth := must(types.NewAuthenticator(testRealm, types.NewPrincipalName(1, "host/a.example.test")))
	auth.Cksum = types.Checksum{CksumType: 0x8003, Checksum: testChecksum}
	auth.CTime, auth.Cusec = testNow, testNow.Nanosecond()/1000
	r := must(messages.NewAPReq(s.ticket(), s.session, auth))
	c, _ := accept(t, newTestAcceptor(t), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())))
	if c.Peer().String() != "host/a.example.test@EXAMPLE.TEST" {
		t.Errorf("peer %v", c.Peer())
	}
}

func TestTokenMadeHereIsReadByGokrb5(t *testing.T) {
	standard.Requires(t, "RFC 4121", "4.1.1 sequence number", "4.1.1 checksum", "4.1.1.1 flags")
	standard.Requires(t, "RFC 4120", "7.5.1 usages")
	s := ticketSpec{session: testKey(19, "session")}
	i := must(NewInitiator(InitiatorConfig{
		Ticket: s.ticket(), SessionKey: s.session, Client: testClient, Mutual: true, Subkey: true,
		Now: func() time.Time { return testNow },
	}))
	token, _ := parseToken(must(i.Init(nil)))
	var r messages.APReq
	if err := r.Unmarshal(token.body); err != nil {
		t.Fatal(err)
	}
	if err := r.Ticket.Decrypt(testServiceKey(18)); err != nil {
		t.Fatal(err)
	}
	if err := r.DecryptAuthenticator(r.Ticket.DecryptedEncPart.Key); err != nil {
		t.Fatal(err)
	}
	a := r.Authenticator
	if a.CRealm != testRealm || a.CName.PrincipalNameString() != "host/a.example.test" ||
		!a.CTime.Equal(testNow.Truncate(time.Second)) || a.Cusec != 123456 ||
		a.Cksum.CksumType != 0x8003 || !bytes.Equal(a.Cksum.Checksum, testChecksum) ||
		a.SubKey.KeyType != 19 || len(a.SubKey.KeyValue) != 16 {
		t.Errorf("authenticator %+v", a)
	}
	if !types.IsFlagSet(&r.APOptions, 2) {
		t.Error("mutual-required is not set")
	}
}

func TestMSKerberosMechanismInsideTheFraming(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.1.6 mechanism")
	_, reply := accept(t, newTestAcceptor(t), requestSpec{mechanism: mechanismMSKRB5}.token())
	if token, ok := parseToken(reply); !ok || !bytes.Equal(token.mechanism, mechanismMSKRB5) {
		t.Error("the reply does not name the mechanism of the request")
	}
}

func TestServiceNameIgnoresCase(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.5.11 service")
	standard.Deviates(t, "RFC 4120", "6.2 names", "Names of services in the keytab are found regardless of case: clients ask for DNS/ and dns/. Names of clients and realms are compared octet by octet.")
	standard.Requires(t, "RFC 4120", "3.2.3 several realms")
	lower := mustPrincipal("dns/ns1.example.test@EXAMPLE.TEST")
	upper := mustPrincipal("DNS/NS1.Example.TEST@EXAMPLE.TEST")
	for _, held := range []Principal{testService, lower, upper} {
		a := newTestAcceptor(t, withKeytab(t, keytabSpec{held, testVersion, testServiceKey(18)}))
		for _, asked := range []Principal{testService, lower, upper} {
			s := requestSpec{ticketSpec: ticketSpec{service: asked}, at: testNow.Add(time.Duration(len(asked.String())) * time.Millisecond)}
			a.replays = NewReplayCache(0)
			token := s.token()
			if !a.HasKeyFor(token) {
				t.Errorf("%v is not held by %v", asked, held)
			}
			c, _ := accept(t, a, token)
			if !c.Service().Equal(held) {
				t.Errorf("service %v, want the keytab's %v", c.Service(), held)
			}
		}
	}
	// Realms are another matter.
	other := mustPrincipal("DNS/ns1.example.test@example.test")
	refuse(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{service: other}}.token(), ErrNoKey, codeNoKey)
}

func TestServiceIsRestricted(t *testing.T) {
	host := mustPrincipal("host/ns1.example.test@EXAMPLE.TEST")
	ns2 := mustPrincipal("DNS/ns2.example.test@EXAMPLE.TEST")
	deep := mustPrincipal("DNS/ns1/example@EXAMPLE.TEST")
	keys := withKeytab(t,
		keytabSpec{testService, testVersion, testServiceKey(18)},
		keytabSpec{host, testVersion, testServiceKey(18)},
		keytabSpec{ns2, testVersion, testServiceKey(18)},
		keytabSpec{deep, testVersion, testServiceKey(18)})
	only := func(names ...string) func(*AcceptorConfig) {
		return func(c *AcceptorConfig) {
			for _, n := range names {
				c.Services = append(c.Services, mustPrincipal(n))
			}
		}
	}
	for _, c := range []struct {
		services []string
		allowed  []Principal
		refused  []Principal
	}{
		{nil, []Principal{testService, ns2}, []Principal{host, deep}},
		{[]string{"DNS/ns1.example.test@EXAMPLE.TEST"}, []Principal{testService}, []Principal{host, ns2, deep}},
		{[]string{"dns/NS2.example.test"}, []Principal{ns2}, []Principal{host, testService, deep}},
		{[]string{"host/ns1.example.test"}, []Principal{host}, []Principal{testService, ns2, deep}},
		{[]string{"DNS/ns1.example.test@OTHER.TEST"}, nil, []Principal{testService, host, ns2}},
	} {
		a := newTestAcceptor(t, keys, only(c.services...))
		for _, p := range c.allowed {
			token := requestSpec{ticketSpec: ticketSpec{service: p}}.token()
			if !a.HasKeyFor(token) {
				t.Errorf("%v: %v is not held", c.services, p)
			}
			accept(t, a, token)
		}
		for _, p := range c.refused {
			token := requestSpec{ticketSpec: ticketSpec{service: p}}.token()
			if a.HasKeyFor(token) {
				t.Errorf("%v: %v is held", c.services, p)
			}
			refuse(t, a, token, ErrNotAccepted, codeNotUs)
		}
	}
}

func TestKeyVersionFallsBackToEveryKeyOfTheType(t *testing.T) {
	standard.Requires(t, "RFC 4120", "5.2.9 key version")
	old, new, other := testKey(18, "old"), testKey(18, "new"), testKey(18, "other")
	// Version 2 is held twice with different keys, as after a trust was recreated.
	a := newTestAcceptor(t, withKeytab(t,
		keytabSpec{testService, 1, old},
		keytabSpec{testService, 2, other},
		keytabSpec{testService, 2, new},
		keytabSpec{testService, 2, testKey(17, "new")},
	))
	n := 0
	for _, k := range []types.EncryptionKey{old, new, other, testKey(17, "new")} {
		for _, version := range []int{-1, 1, 2, 7, 1 << 16} {
			n++
			accept(t, a, requestSpec{ticketSpec: ticketSpec{key: k, version: version}, at: testNow.Add(time.Duration(n) * time.Millisecond)}.token())
		}
	}
}

func TestCandidatesStartWithTheExactVersion(t *testing.T) {
	k := openKeytab(t, keytabBytes(
		keytabSpec{testService, 1, testKey(18, "1")},
		keytabSpec{testService, 3, testKey(18, "3")},
		keytabSpec{testService, 3, testKey(17, "3")},
		keytabSpec{testService, 2, testKey(18, "2")}))
	for _, c := range []struct {
		version uint32
		want    string
	}{{1, "[1 3 2]"}, {2, "[2 3 1]"}, {3, "[3 2 1]"}, {9, "[3 2 1]"}, {0, "[3 2 1]"}} {
		var got []uint32
		for _, s := range candidates(k.set.Load().services[testService.folded()], 18, c.version, testNow) {
			got = append(got, s.version)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("version %d: %v, want %s", c.version, got, c.want)
		}
	}
}

func TestKeyErrorsTellWhatIsHeld(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.4.5 ticket")
	standard.Requires(t, "RFC 4120", "3.2.3 key")
	standard.Requires(t, "RFC 4121", "4.1 KRB-ERROR")
	standard.Deviates(t, "RFC 4120", "3.2.3 ticket integrity", "A ticket that does not decrypt is KRB_AP_ERR_MODIFIED, as with Windows: its usual cause is that the keytab has another key.")
	keys := withKeytab(t,
		keytabSpec{testService, 2, testKey(18, "2")},
		keytabSpec{testService, 1, testKey(18, "1")},
		keytabSpec{testService, 1, testKey(17, "1")})
	for _, c := range []struct {
		name   string
		spec   ticketSpec
		want   error
		code   int32
		wanted uint32
		held   string
		words  []string
	}{
		{
			"newer version", ticketSpec{key: testKey(18, "3"), version: 3}, ErrNoKey, codeBadKeyVersion, 3, "[1 2]",
			[]string{"DNS/ns1.example.test@EXAMPLE.TEST", "aes256-cts-hmac-sha1-96", "version 3", "versions in the keytab: 1, 2", "the keytab lacks version 3 of DNS/ns1.example.test@EXAMPLE.TEST: export it again"},
		},
		{
			"older version", ticketSpec{key: testKey(17, "0"), version: -1}, ErrIntegrity, codeModified, 0, "[1]",
			[]string{"versions 1", "export it again"},
		},
		{
			"same version, other key", ticketSpec{key: testKey(18, "else"), version: 2}, ErrIntegrity, codeModified, 2, "[1 2]",
			[]string{"key version 2", "without its version"},
		},
		{
			"encryption type not held", ticketSpec{key: testKey(20, "2"), version: 2}, ErrNoKey, codeNoKey, 2, "[]",
			[]string{"aes256-cts-hmac-sha384-192", "types in the keytab: aes128-cts-hmac-sha1-96, aes256-cts-hmac-sha1-96"},
		},
		{
			"principal not held", ticketSpec{service: mustPrincipal("DNS/ns9.example.test@EXAMPLE.TEST")}, ErrNoKey, codeNoKey, 3, "[]",
			[]string{"no key for DNS/ns9.example.test@EXAMPLE.TEST", "add the principal"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, reply := refuse(t, newTestAcceptor(t, keys), requestSpec{ticketSpec: c.spec}.token(), c.want, c.code)
			if e.TicketKVNO != c.wanted || fmt.Sprint(e.KeytabKVNOs) != c.held {
				t.Errorf("wanted %d, held %v", e.TicketKVNO, e.KeytabKVNOs)
			}
			for _, w := range c.words {
				if !strings.Contains(e.Error(), w) {
					t.Errorf("%q does not say %q", e.Error(), w)
				}
			}
			if e.Service == "" || e.Enctype == 0 {
				t.Errorf("service %q, encryption type %d", e.Service, e.Enctype)
			}
			checkKRBError(t, reply, c.code)
		})
	}
	// A ticket that is older than all keys of the keytab.
	a := newTestAcceptor(t, withKeytab(t, keytabSpec{testService, 5, testKey(18, "5")}))
	e, _ := refuse(t, a, requestSpec{ticketSpec: ticketSpec{key: testKey(18, "4"), version: 4}}.token(), ErrNoKey, codeBadKeyVersion)
	if !strings.Contains(e.Fix, "kinit") {
		t.Errorf("advice %q", e.Fix)
	}
}

// checkKRBError reads the reply with gokrb5.
func checkKRBError(t *testing.T, reply []byte, code int32) messages.KRBError {
	t.Helper()
	token, ok := parseToken(reply)
	if !ok || token.id != tokenKRBError {
		t.Fatal("the reply is no KRB-ERROR")
	}
	var e messages.KRBError
	if err := e.Unmarshal(token.body); err != nil {
		t.Fatal(err)
	}
	if e.ErrorCode != code || !e.STime.Equal(testNow.Truncate(time.Second)) || e.Susec != 123456 || e.EText != "" {
		t.Errorf("KRB-ERROR %+v", e)
	}
	return e
}

func TestTimes(t *testing.T) {
	standard.Requires(t, "MS-KILE", "2.2.2 skew recovery", "3.4.5 skew")
	standard.Requires(t, "RFC 4120", "3.2.3 skew", "3.2.3 not yet", "3.2.3 expired", "5.9.1 KRB-ERROR")
	standard.Requires(t, "RFC 4121", "4.1 KRB-ERROR")
	const skew = 5 * time.Minute
	type times struct {
		at, start, end time.Duration // from now
		flags          []byte
	}
	for _, c := range []struct {
		name string
		times
		want error
		code int32
	}{
		{"good", times{0, -time.Hour, time.Hour, nil}, nil, 0},
		{"client at the limit ahead", times{skew, -time.Hour, time.Hour, nil}, nil, 0},
		{"client at the limit behind", times{-skew, -time.Hour, time.Hour, nil}, nil, 0},
		{"client ahead", times{skew + time.Microsecond, -time.Hour, time.Hour, nil}, ErrSkew, codeSkew},
		{"client behind", times{-skew - time.Microsecond, -time.Hour, time.Hour, nil}, ErrSkew, codeSkew},
		{"client a day ahead", times{24 * time.Hour, -time.Hour, time.Hour, nil}, ErrSkew, codeSkew},
		{"client in the year 1", times{time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC).Sub(testNow), -time.Hour, time.Hour, nil}, ErrSkew, codeSkew},
		{"ticket just over", times{0, -time.Hour, -skew + time.Second, nil}, nil, 0},
		{"ticket over", times{0, -time.Hour, -skew - time.Second, nil}, ErrExpired, codeTicketExpired},
		{"ticket about to start", times{0, skew - time.Second, time.Hour, nil}, nil, 0},
		{"ticket not yet started", times{0, skew + 2*time.Second, time.Hour, nil}, ErrNotYetValid, codeTicketNotYet},
		{"ticket never validated", times{0, -time.Hour, time.Hour, []byte{0, 0x01, 0, 0, 0}}, ErrNotYetValid, codeTicketNotYet},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := requestSpec{
				ticketSpec: ticketSpec{start: testNow.Add(c.start), end: testNow.Add(c.end), flags: c.flags},
				at:         testNow.Add(c.at),
			}.token()
			if c.want == nil {
				accept(t, newTestAcceptor(t), token)
				return
			}
			_, reply := refuse(t, newTestAcceptor(t), token, c.want, c.code)
			e := checkKRBError(t, reply, c.code)
			if !e.CTime.Equal(testNow.Add(c.at).Truncate(time.Second)) {
				t.Errorf("the KRB-ERROR repeats the client's time as %v", e.CTime)
			}
			// KERB-ERROR-DATA, whose data-type is 2.
			if recovery := c.code == codeSkew; (len(e.EData) > 0) != recovery || recovery && !bytes.Equal(e.EData, []byte{0x30, 5, 0xa1, 3, 2, 1, 2}) {
				t.Errorf("e-data %x", e.EData)
			}
		})
	}
	wide := newTestAcceptor(t, func(c *AcceptorConfig) { c.ClockSkew = time.Hour })
	accept(t, wide, requestSpec{at: testNow.Add(59 * time.Minute)}.token())
	narrow := newTestAcceptor(t, func(c *AcceptorConfig) { c.ClockSkew = time.Second })
	refuse(t, narrow, requestSpec{at: testNow.Add(2 * time.Second)}.token(), ErrSkew, codeSkew)
}

func TestForeignRealmIsRefusedUnlessListed(t *testing.T) {
	standard.Deviates(t, "MS-KILE", "3.1.5.7 case", "Names of clients and realms are compared octet by octet, as RFC 4120 section 6.2 has it.")
	standard.Requires(t, "RFC 4120", "6.2 names")
	mallory := mustPrincipal("mallory@OTHER.TEST")
	token := requestSpec{ticketSpec: ticketSpec{client: mallory}}.token()
	e, _ := refuse(t, newTestAcceptor(t), token, ErrForeignRealm, codePolicy)
	if !strings.Contains(e.Reason, "OTHER.TEST") {
		t.Errorf("reason %q", e.Reason)
	}
	list := func(realms ...string) func(*AcceptorConfig) {
		return func(c *AcceptorConfig) { c.Realms = realms }
	}
	c, _ := accept(t, newTestAcceptor(t, list("PARTNER.TEST", "OTHER.TEST")), token)
	if !c.Peer().Equal(mallory) {
		t.Errorf("peer %v", c.Peer())
	}
	refuse(t, newTestAcceptor(t, list("other.test")), token, ErrForeignRealm, codePolicy)
	// A list is the whole list.
	refuse(t, newTestAcceptor(t, list("OTHER.TEST")), requestSpec{}.token(), ErrForeignRealm, codePolicy)
}

func TestAnonymousTicketIsRefused(t *testing.T) {
	s := requestSpec{ticketSpec: ticketSpec{client: mustPrincipal("WELLKNOWN/ANONYMOUS@EXAMPLE.TEST")}}
	refuse(t, newTestAcceptor(t), s.token(), ErrNotAccepted, codePolicy)
}

func TestAuthenticatorMustFitTheTicket(t *testing.T) {
	standard.Deviates(t, "MS-KILE", "3.4.5 authenticator", "An authenticator that does not decrypt is KRB_AP_ERR_BAD_INTEGRITY, as RFC 4120 section 3.2.3 has it.")
	standard.Requires(t, "RFC 4120", "3.2.3 match", "3.2.3 authenticator integrity")
	for _, from := range []string{"host/b.example.test@EXAMPLE.TEST", "host@EXAMPLE.TEST", "host/a.example.test/x@EXAMPLE.TEST", "host/a.example.test@OTHER.TEST"} {
		refuse(t, newTestAcceptor(t), requestSpec{from: mustPrincipal(from)}.token(), ErrMismatch, codeBadMatch)
	}
	refuse(t, newTestAcceptor(t), requestSpec{authKey: testKey(18, "another")}.token(), ErrIntegrity, codeBadIntegrity)
	refuse(t, newTestAcceptor(t), requestSpec{authKey: testKey(17, "another")}.token(), ErrIntegrity, codeBadIntegrity)
	r := requestSpec{}.apReq()
	r.EncryptedAuthenticator.EType = 17 // which it is not
	refuse(t, newTestAcceptor(t), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())), ErrIntegrity, codeBadIntegrity)
}

func TestPermittedEnctypes(t *testing.T) {
	sha2 := func(c *AcceptorConfig) { c.Enctypes = []Enctype{19, 20} }
	good := ticketSpec{key: testServiceKey(20), session: testKey(19, "session")}
	accept(t, newTestAcceptor(t, sha2), requestSpec{ticketSpec: good}.token())
	bad := good
	bad.key = testServiceKey(18)
	e, _ := refuse(t, newTestAcceptor(t, sha2), requestSpec{ticketSpec: bad}.token(), ErrEnctype, codeEtypeNoSupport)
	if !strings.Contains(e.Fix, "permit "+AES256SHA1.String()) {
		t.Errorf("advice %q", e.Fix)
	}
	bad = good
	bad.session = testKey(17, "session")
	refuse(t, newTestAcceptor(t, sha2), requestSpec{ticketSpec: bad}.token(), ErrEnctype, codeEtypeNoSupport)
	refuse(t, newTestAcceptor(t, sha2), requestSpec{ticketSpec: good, subkey: testKey(18, "subkey")}.token(), ErrEnctype, codeEtypeNoSupport)
	rc4 := types.EncryptionKey{KeyType: 23, KeyValue: make([]byte, 16)}
	refuse(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{key: rc4}}.token(), ErrEnctype, codeEtypeNoSupport)
	refuse(t, newTestAcceptor(t), requestSpec{ticketSpec: ticketSpec{session: rc4}}.token(), ErrEnctype, codeEtypeNoSupport)
	if _, err := NewAcceptor(AcceptorConfig{Keytabs: openKeytab(t, serviceKeytab()), Replays: NewReplayCache(1), Enctypes: []Enctype{18, 3}}); err == nil {
		t.Error("DES is supported")
	}
}

// A context outlives its acceptor over a change of the configuration, but not
// what the new one permits.
func TestContextOfAnotherAcceptor(t *testing.T) {
	c, _ := accept(t, newTestAcceptor(t), requestSpec{
		ticketSpec: ticketSpec{key: testServiceKey(20), session: testKey(18, "session")}, subkey: testKey(19, "subkey"),
	}.token())
	for _, test := range []struct {
		name   string
		change func(*AcceptorConfig)
		want   bool
	}{
		{"same", func(*AcceptorConfig) {}, true},
		{"another realm", func(c *AcceptorConfig) { c.Realms = []string{"OTHER.TEST"} }, false},
		{"this realm", func(c *AcceptorConfig) { c.Realms = []string{testRealm} }, true},
		{"another service", func(c *AcceptorConfig) { c.Services = []Principal{mustPrincipal("DNS/other.example.test")} }, false},
		{"this service", func(c *AcceptorConfig) { c.Services = []Principal{testService} }, true},
		{"without the ticket's type", func(c *AcceptorConfig) { c.Enctypes = []Enctype{17, 18, 19} }, false},
		{"without the session key's type", func(c *AcceptorConfig) { c.Enctypes = []Enctype{17, 19, 20} }, false},
		{"without the subkey's type", func(c *AcceptorConfig) { c.Enctypes = []Enctype{17, 18, 20} }, false},
		{"with all three", func(c *AcceptorConfig) { c.Enctypes = []Enctype{18, 19, 20} }, true},
	} {
		if got := newTestAcceptor(t, test.change).WouldAccept(c); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}

func TestKeysMustFitTheirType(t *testing.T) {
	s := requestSpec{ticketSpec: ticketSpec{session: types.EncryptionKey{KeyType: 20, KeyValue: make([]byte, 24)}}, authKey: testKey(20, "session")}
	refuse(t, newTestAcceptor(t), s.token(), ErrMalformed, codeModified)
	refuse(t, newTestAcceptor(t), requestSpec{subkey: types.EncryptionKey{KeyType: 18, KeyValue: make([]byte, 16)}}.token(), ErrMalformed, codeModified)
}

func TestUserToUserIsRefused(t *testing.T) {
	standard.Deviates(t, "MS-KILE", "3.2.5.8 user-to-user", "A service with a keytab has no ticket of its own: the flag is refused.")
	refuse(t, newTestAcceptor(t), requestSpec{options: []int{1, 2}}.token(), ErrNotAccepted, codeNoKey)
}

func TestChecksumMustCarryGSSFlags(t *testing.T) {
	standard.Deviates(t, "MS-KILE", "3.4.5 checksum", "A handshake without the checksum is refused: it does not ask for integrity, without which nothing can be signed.")
	standard.Requires(t, "RFC 4121", "4.1.1 checksum", "4.1.1 layout", "4.1.1 delegation", "4.1.1 extensions", "4.1.1.2 bindings")
	delegate := func(dlgOpt, length uint16, octets int) []byte {
		b := gssBytes(flagDelegation | flagMutual | flagReplay | flagIntegrity)
		b = binary.LittleEndian.AppendUint16(b, dlgOpt)
		b = binary.LittleEndian.AppendUint16(b, length)
		return append(b, make([]byte, octets)...)
	}
	bound := bytes.Clone(testChecksum)
	copy(bound[4:], "0123456789abcdef")
	wrongLength := bytes.Clone(testChecksum)
	wrongLength[0] = 15
	for _, c := range []struct {
		name     string
		kind     int32
		checksum []byte
		want     error
		code     int32
	}{
		{"flags", 0x8003, testChecksum, nil, 0},
		{"integrity alone", 0x8003, gssBytes(flagIntegrity), nil, 0},
		{"bindings are the initiator's affair", 0x8003, bound, nil, 0},
		{"delegated credentials", 0x8003, delegate(1, 1000, 1000), nil, 0},
		{"delegated credentials and extensions", 0x8003, delegate(1, 10, 40), nil, 0},
		{"extensions", 0x8003, append(bytes.Clone(testChecksum), 1, 2, 3), nil, 0},
		{"none", -1, nil, ErrMalformed, codeBadChecksum},
		{"another type", 15, testChecksum, ErrMalformed, codeBadChecksum},
		{"short", 0x8003, testChecksum[:23], ErrMalformed, codeBadChecksum},
		{"empty", 0x8003, []byte{}, ErrMalformed, codeBadChecksum},
		{"wrong length of bindings", 0x8003, wrongLength, ErrMalformed, codeBadChecksum},
		{"delegation without credentials", 0x8003, gssBytes(flagDelegation | flagIntegrity), ErrMalformed, codeBadChecksum},
		{"delegation of another kind", 0x8003, delegate(2, 4, 4), ErrMalformed, codeBadChecksum},
		{"delegation beyond the end", 0x8003, delegate(1, 1001, 1000), ErrMalformed, codeBadChecksum},
		{"delegation far beyond the end", 0x8003, delegate(1, 65535, 0), ErrMalformed, codeBadChecksum},
		{"without integrity", 0x8003, gssBytes(flagMutual | flagReplay), ErrNoIntegrity, codeGeneric},
		{"DCE style", 0x8003, gssBytes(flagMutual | flagIntegrity | flagDCEStyle), ErrNoIntegrity, codeGeneric},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := requestSpec{checksumType: c.kind, checksum: c.checksum}.token()
			if c.want == nil {
				accept(t, newTestAcceptor(t), token)
			} else {
				refuse(t, newTestAcceptor(t), token, c.want, c.code)
			}
		})
	}
}

func TestDelegatedCredentialsAreWiped(t *testing.T) {
	secret := []byte("delegated credentials")
	b := gssBytes(flagDelegation | flagIntegrity)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(secret)))
	b = append(b, secret...)
	token, _ := parseToken(requestSpec{checksum: b}.token())
	req, _ := parseAPReq(token.body)
	h := handshake{acceptor: newTestAcceptor(t), now: testNow, req: req}
	if err := h.verify(); err != nil {
		t.Fatal(err)
	}
	plain := h.plain[1]
	if !bytes.Contains(plain, secret) {
		t.Fatal("the test does not look at the authenticator")
	}
	key := h.session.value
	h.wipe()
	for _, b := range [][]byte{plain, h.plain[0], key} {
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Error("secrets outlive the handshake")
		}
	}
}

func TestReplayedAuthenticatorIsRefused(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.1.1 replay cache")
	standard.Requires(t, "RFC 4120", "3.2.3 replays")
	now := testNow
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Now = func() time.Time { return now } })
	token := requestSpec{}.token()
	accept(t, a, token)
	_, reply := refuse(t, a, token, ErrReplay, codeRepeat)
	checkKRBError(t, reply, codeRepeat)
	for now.Before(testNow.Add(5 * time.Minute)) {
		now = now.Add(10 * time.Second)
		refuse(t, a, token, ErrReplay, codeRepeat)
	}
	now = now.Add(time.Second)
	refuse(t, a, token, ErrSkew, codeSkew)
	// A clock set back does not let it in again.
	now = now.Add(time.Hour)
	accept(t, a, requestSpec{at: now}.token())
	now = testNow
	refuse(t, a, token, ErrReplay, codeRepeat)
}

// What is refused for another reason does not fill the cache.
func TestOnlyAcceptedAuthenticatorsAreRemembered(t *testing.T) {
	a := newTestAcceptor(t)
	refuse(t, a, requestSpec{checksum: gssBytes(flagMutual)}.token(), ErrNoIntegrity, codeGeneric)
	refuse(t, a, requestSpec{at: testNow.Add(time.Hour)}.token(), ErrSkew, codeSkew)
	if n := a.replays.Len(); n != 0 {
		t.Errorf("%d remembered", n)
	}
	accept(t, a, requestSpec{}.token())
	if n := a.replays.Len(); n != 1 {
		t.Errorf("%d remembered", n)
	}
}

func TestFullReplayCacheRefuses(t *testing.T) {
	standard.Requires(t, "RFC 4120", "3.2.3 replays")
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Replays = NewReplayCache(1) })
	accept(t, a, requestSpec{}.token())
	refuse(t, a, requestSpec{at: testNow.Add(time.Millisecond)}.token(), ErrReplayCacheFull, codeGeneric)
}

func TestWipedContext(t *testing.T) {
	c, _ := accept(t, newTestAcceptor(t), requestSpec{checksum: testNotMutual}.token())
	sign, verify := c.session.sign, c.session.verify
	mic := foreignMIC(testKey(18, "session"), []byte("m"), 25, 0, 0)
	c.Wipe()
	c.Wipe()
	if c.Established() {
		t.Error("still established")
	}
	if _, err := c.GetMIC([]byte("m")); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("GetMIC: %v", err)
	}
	if err := c.VerifyMIC([]byte("m"), mic); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("VerifyMIC: %v", err)
	}
	if !bytes.Equal(append(sign, verify...), make([]byte, len(sign)+len(verify))) {
		t.Error("the keys are still in memory")
	}
	if !c.Peer().Equal(testClient) {
		t.Error("the peer is forgotten")
	}
	newTestAcceptor(t).NewContext().Wipe()
}

func TestMalformedTokens(t *testing.T) {
	standard.Deviates(t, "MS-KILE", "3.4.5 malformed", "The answer is a KRB-ERROR with the code KRB_ERR_GENERIC.")
	standard.Requires(t, "RFC 4121", "4.1 framing")
	a := newTestAcceptor(t)
	good := requestSpec{}.token()
	unframed, _ := parseToken(good)
	other := bytes.Clone(good)
	other[bytes.Index(other, mechanismKRB5)+10] = 3
	for name, token := range map[string][]byte{
		"nil":               nil,
		"empty":             {},
		"one octet":         {0x60},
		"huge length":       {0x60, 0x84, 0xFF, 0xFF, 0xFF, 0xFF},
		"indefinite length": {0x60, 0x80, 0, 0},
		"NTLM":              append([]byte("NTLMSSP\x00"), make([]byte, 32)...),
		"without framing":   unframed.body,
		"other mechanism":   other,
		"trailing octet":    append(bytes.Clone(good), 0),
		"AP-REP":            frameBytes(mechanismKRB5, tokenAPRep, unframed.body),
		"only framing":      frameBytes(mechanismKRB5, tokenAPReq, nil),
		"too long":          make([]byte, 1<<17),
	} {
		if a.HasKeyFor(token) {
			t.Errorf("%s: held", name)
		}
		t.Run(name, func(t *testing.T) { refuse(t, a, token, ErrMalformed, codeGeneric) })
	}
	// Every truncation, and every octet changed.
	for n := range good {
		if _, err := a.NewContext().Accept(good[:n]); err == nil {
			t.Errorf("accepted when cut to %d octets", n)
		}
	}
	for i := range good {
		for _, x := range []byte{1, 0x80, 0xFF} {
			damaged := bytes.Clone(good)
			damaged[i] ^= x
			a.NewContext().Accept(damaged)
			a.HasKeyFor(damaged)
		}
	}
}

func TestHasKeyFor(t *testing.T) {
	a := newTestAcceptor(t)
	if !a.HasKeyFor(requestSpec{}.token()) {
		t.Error("a good token is not held")
	}
	// It is the name that counts: even nonsense inside is ours to refuse.
	if !a.HasKeyFor(requestSpec{ticketSpec: ticketSpec{cipher: []byte{1}}, authCipher: []byte{1}}.token()) {
		t.Error("a bad token for our service is not held")
	}
	if a.HasKeyFor(requestSpec{ticketSpec: ticketSpec{service: mustPrincipal("DNS/ns2.example.test@EXAMPLE.TEST")}}.token()) {
		t.Error("another's token is held")
	}
}

func TestAcceptorNeedsItsParts(t *testing.T) {
	k := openKeytab(t, serviceKeytab())
	for _, c := range []AcceptorConfig{
		{}, {Keytabs: k}, {Replays: NewReplayCache(1)}, {Keytabs: k, Replays: NewReplayCache(1), ClockSkew: -1},
	} {
		if _, err := NewAcceptor(c); err == nil {
			t.Errorf("%+v is good enough", c)
		}
	}
}

// A reload serves tickets with the new key at once.
func TestAcceptorSeesReloadedKeys(t *testing.T) {
	file := writeFile(t, "dns.keytab", keytabBytes(keytabSpec{testService, 1, testKey(18, "1")}))
	k := must(OpenKeytabs(file))
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Keytabs = k })
	token := requestSpec{ticketSpec: ticketSpec{key: testKey(18, "2"), version: 2}}.token()
	refuse(t, a, token, ErrNoKey, codeBadKeyVersion)
	writeFile(t, file, keytabBytes(keytabSpec{testService, 1, testKey(18, "1")}, keytabSpec{testService, 2, testKey(18, "2")}))
	if changed, err := k.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	accept(t, a, token)
}
