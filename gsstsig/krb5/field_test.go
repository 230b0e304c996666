package krb5

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// What others were bitten by, as far as Kerberos is concerned, and what tickets
// and clocks in the field are like. Lessons about TKEY and TSIG have their
// tests in package gsstsig, those about SPNEGO in package spnego.

// ticketFlags is the content of a BIT STRING with the bits set.
func ticketFlags(bits ...uint) []byte {
	var v uint32
	for _, b := range bits {
		v |= 1 << (31 - b)
	}
	return binary.BigEndian.AppendUint32([]byte{0}, v)
}

func TestTicketFlagsAndTimes(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.1.5.4 postdated")
	standard.Requires(t, "RFC 4120", "3.2.3 not yet", "3.2.3 expired", "5.2.8 flags")
	const postdated, renewable, initial, preauthenticated, forwarded, okAsDelegate = 6, 8, 9, 10, 2, 13
	for _, c := range []struct {
		name       string
		start, end time.Duration
		flags      []byte
		want       error
	}{
		{"of no flags", -time.Hour, time.Hour, ticketFlags(), nil},
		{"of every harmless flag", -time.Hour, time.Hour, ticketFlags(1, forwarded, 3, 4, 5, postdated, renewable, initial, preauthenticated, 11, okAsDelegate), nil},
		{"postdated and validated", -time.Minute, time.Hour, ticketFlags(postdated), nil},
		{"postdated, its time has not come", time.Hour, 2 * time.Hour, ticketFlags(postdated), ErrNotYetValid},
		{"postdated and never validated", -time.Minute, time.Hour, ticketFlags(postdated, ticketInvalid), ErrNotYetValid},
		{"never validated, and not yet valid", time.Hour, 2 * time.Hour, ticketFlags(postdated, ticketInvalid), ErrNotYetValid},
		{"renewable, but not renewed", -2 * time.Hour, -time.Hour, ticketFlags(renewable), ErrExpired},
		{"whose end is before its start", time.Hour, -time.Hour, ticketFlags(), ErrNotYetValid},
		{"of flags to come", -time.Hour, time.Hour, append(ticketFlags(31), 0xFF), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := requestSpec{ticketSpec: ticketSpec{start: testNow.Add(c.start), end: testNow.Add(c.end), flags: c.flags}}.token()
			if c.want == nil {
				accept(t, newTestAcceptor(t), token)
				return
			}
			code := int32(codeTicketNotYet)
			if c.want == ErrExpired {
				code = codeTicketExpired
			}
			refuse(t, newTestAcceptor(t), token, c.want, code)
		})
	}
}

// A ticket may be renewed until later than it ends: that is no longer end.
func TestRenewTillDoesNotExtendATicket(t *testing.T) {
	spec := ticketSpec{end: testNow.Add(time.Hour)}.withDefaults()
	plain := spec.plain()
	withRenewal := func(till time.Time) []byte {
		s := cryptobyte.String(plain)
		var outer, fields cryptobyte.String
		s.ReadASN1(&outer, application(tagEncTicketPart))
		outer.ReadASN1(&fields, asn1.SEQUENCE)
		var b cryptobyte.Builder
		addMessage(&b, tagEncTicketPart, func(b *cryptobyte.Builder) {
			b.AddBytes(fields)
			addTime(b, 8, till)
		})
		return b.BytesOrPanic()
	}
	part, ok := parseEncTicketPart(withRenewal(testNow.Add(24 * time.Hour)))
	if !ok || !part.end.Equal(spec.end.Truncate(time.Second)) {
		t.Errorf("%v, end %v", ok, part.end)
	}
}

func TestStartTimeIsAuthTimeWhereMissing(t *testing.T) {
	config, _ := recordedTicket(t, "mit/client1", "DNS/ns1.example.test")
	if config.Ticket.EncPart.EType != 18 {
		t.Fatal("another ticket was recorded")
	}
	var b cryptobyte.Builder
	s := ticketSpec{}.withDefaults()
	addMessage(&b, tagEncTicketPart, func(b *cryptobyte.Builder) {
		addFlags(b, 0, 0)
		addTypedOctets(b, 1, s.session.KeyType, s.session.KeyValue)
		addName(b, 2, s.client.Realm)
		addPrincipalName(b, 3, 1, s.client.Components)
		addTypedOctets(b, 4, int32(1), nil)
		addTime(b, 5, testNow.Add(time.Hour))
		addTime(b, 7, testNow.Add(2*time.Hour))
	})
	part, ok := parseEncTicketPart(b.BytesOrPanic())
	if !ok || !part.start.Equal(testNow.Add(time.Hour).Truncate(time.Second)) || !part.authTime.Equal(part.start) {
		t.Errorf("%v, start %v", ok, part.start)
	}
}

func TestContextEndsWithItsTicket(t *testing.T) {
	now := testNow
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Now = func() time.Time { return now } })
	end := testNow.Add(time.Hour).Truncate(time.Second)
	config := InitiatorConfig{
		Ticket: ticketSpec{end: end}.ticket(), SessionKey: testKey(18, "session"), Client: testClient,
		Mutual: true, Now: func() time.Time { return now },
	}
	c, i := handshakeWith(t, a, config)
	if !c.Expires().Equal(end) {
		t.Errorf("expires %v", c.Expires())
	}
	message := []byte("m")
	now = end.Add(5 * time.Minute)
	if err := c.VerifyMIC(message, must(i.GetMIC(message))); err != nil {
		t.Errorf("within the skew: %v", err)
	}
	mic := must(i.GetMIC(message))
	now = now.Add(time.Second)
	if err := c.VerifyMIC(message, mic); !errors.Is(err, ErrExpired) {
		t.Errorf("after the ticket's end: %v", err)
	}
	if _, err := c.GetMIC(message); err != nil {
		t.Errorf("the reply to what came in time: %v", err)
	}
	// A clock that was wrong for a moment ends nothing for good.
	now = testNow
	if err := c.VerifyMIC(message, mic); err != nil {
		t.Error(err)
	}
}

func TestClockThatJumpsAheadAndBack(t *testing.T) {
	now := testNow
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Now = func() time.Time { return now } })
	captured := requestSpec{at: testNow}.token()
	accept(t, a, captured)
	now = testNow.Add(3 * time.Hour)
	_, reply := refuse(t, a, requestSpec{at: testNow.Add(time.Second)}.token(), ErrSkew, codeSkew)
	// The client learns what time it is here.
	if e := checkErrorTime(t, reply); !e.Equal(now.Truncate(time.Second)) {
		t.Errorf("the KRB-ERROR says %v", e)
	}
	accept(t, a, requestSpec{at: now}.token())
	now = testNow.Add(20 * time.Second)
	refuse(t, a, captured, ErrReplay, codeRepeat)
	accept(t, a, requestSpec{at: now}.token())
	now = testNow.Add(-time.Hour)
	refuse(t, a, captured, ErrSkew, codeSkew)
}

func checkErrorTime(t *testing.T, reply []byte) time.Time {
	t.Helper()
	token, ok := parseToken(reply)
	if !ok || token.id != tokenKRBError {
		t.Fatal("no KRB-ERROR")
	}
	e, ok := parseKRBError(token.body)
	if !ok {
		t.Fatal("malformed KRB-ERROR")
	}
	return e.time
}

// An acceptor without channel bindings of its own lets any pass, as MIT's does
// (RFC 2743, section 1.1.6): a client behind TLS that binds is not locked out.
func TestChannelBindingsOfTheInitiatorPass(t *testing.T) {
	standard.Deviates(t, "MS-KILE", "3.4.5 bindings", "Bindings are not looked at: GSS-TSIG has none, by DNS over TLS either.")
	standard.Requires(t, "RFC 4121", "4.1.1 layout", "4.1.1.2 bindings")
	for _, fill := range []byte{0x00, 0xFF, 0x5A} {
		b := gssBytes(flagIntegrity | flagMutual)
		copy(b[4:20], bytes.Repeat([]byte{fill}, bindingsSize))
		accept(t, newTestAcceptor(t), requestSpec{checksum: b}.token())
	}
	for _, size := range []uint32{0, 15, 17, 1 << 31, 1<<32 - 1} {
		b := gssBytes(flagIntegrity)
		binary.LittleEndian.PutUint32(b, size)
		refuse(t, newTestAcceptor(t), requestSpec{checksum: b}.token(), ErrMalformed, codeBadChecksum)
	}
}

// A forwarded ticket-granting ticket is some kilobytes; it is not kept.
func TestDelegatedCredentialsAreBoundedAndDropped(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.2.5.1 delegation")
	standard.Requires(t, "RFC 4121", "4.1.1 delegation", "4.1.1 extensions")
	credential := bytes.Repeat([]byte("KRB-CRED"), 1000)
	delegate := func(length int, octets, extensions []byte) []byte {
		b := gssBytes(flagDelegation | flagIntegrity)
		b = binary.LittleEndian.AppendUint16(b, 1)
		b = binary.LittleEndian.AppendUint16(b, uint16(length))
		return append(append(b, octets...), extensions...)
	}
	c, _ := accept(t, newTestAcceptor(t), requestSpec{checksum: delegate(len(credential), credential, nil)}.token())
	if bytes.Contains(fmt.Appendf(nil, "%s %+v", c.session.sign, c), []byte("KRB-CRED")) {
		t.Error("credentials are kept")
	}
	accept(t, newTestAcceptor(t), requestSpec{checksum: delegate(len(credential), credential, []byte("extension"))}.token())
	accept(t, newTestAcceptor(t), requestSpec{checksum: delegate(0, nil, nil)}.token())
	for _, length := range []int{len(credential) + 1, 65535} {
		refuse(t, newTestAcceptor(t), requestSpec{checksum: delegate(length, credential, nil)}.token(), ErrMalformed, codeBadChecksum)
	}
}

// BIND CVE-2020-8625 and CVE-2021-25216: lengths inside GSS tokens that were
// believed. Every octet of a real token is made to lie, and the token is cut
// at every place; none is accepted and none is worse than refused.
func TestLessonLengthsInTokensAreChecked(t *testing.T) {
	r := readRecordedToken(t, "samba/bob-ns1.json")
	a := recordedAcceptor(t, "samba", time.Unix(r.Time, 0))
	for n := range r.Token {
		a.HasKeyFor(r.Token[:n])
		if _, err := a.NewContext().Accept(r.Token[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut off after %d octets: %v", n, err)
		}
	}
	for at := range r.Token {
		for _, v := range []byte{0x00, 0x7F, 0x80, 0x84, 0xFF} {
			b := bytes.Clone(r.Token)
			if b[at] == v {
				continue
			}
			b[at] = v
			a.HasKeyFor(b)
			c := a.NewContext()
			if _, err := c.Accept(b); err == nil {
				// Only what the acceptor does not have to check may differ:
				// options, and the key's version, which is a hint.
				if !c.Peer().Equal(Principal{Components: []string{"bob"}, Realm: "CORP.TEST"}) {
					t.Fatalf("octet %d made %#x: peer %v", at, v, c.Peer())
				}
				a = recordedAcceptor(t, "samba", time.Unix(r.Time, 0))
			}
		}
	}
}

// BIND CVE-2025-40775: an unknown algorithm.
func TestLessonUnknownEncryptionTypesAreRefused(t *testing.T) {
	for _, id := range []Enctype{-1, 0, 1, 2, 3, 16, 24, 25, 26, 99, 1 << 30, -1 << 31} {
		r := requestSpec{}.apReq()
		r.Ticket.EncPart.EType = int32(id)
		refuse(t, newTestAcceptor(t, allowRC4), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())), ErrEnctype, codeEtypeNoSupport)
		r = requestSpec{}.apReq()
		r.EncryptedAuthenticator.EType = int32(id)
		refuse(t, newTestAcceptor(t, allowRC4), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())), ErrIntegrity, codeBadIntegrity)
		key := types.EncryptionKey{KeyType: int32(id), KeyValue: make([]byte, 32)}
		refuse(t, newTestAcceptor(t, allowRC4), requestSpec{ticketSpec: ticketSpec{session: key}, authKey: testKey(18, "session")}.token(), ErrEnctype, codeEtypeNoSupport)
		if id != 0 { // 0 says that there is none
			refuse(t, newTestAcceptor(t, allowRC4), requestSpec{subkey: key}.token(), ErrEnctype, codeEtypeNoSupport)
		}
	}
}

// BIND CVE-2017-3142: what was not verified must not identify a client. The
// client, its groups and its end come into being with the last check.
func TestLessonNothingIsKnownBeforeTheLastCheck(t *testing.T) {
	key := testServiceKey(18)
	good := requestSpec{ticketSpec: ticketSpec{authData: authorizationData(1, authorizationData(adPAC, pacSpec(key).Encode()))}}
	a := newTestAcceptor(t)
	token := good.token()
	accept(t, a, token)
	for _, bad := range [][]byte{token, func() []byte { s := good; s.authKey = testKey(18, "x"); return s.token() }(), func() []byte { s := good; s.checksum = gssBytes(0); return s.token() }()} {
		c := a.NewContext()
		if _, err := c.Accept(bad); err == nil {
			t.Fatal("accepted")
		}
		if c.Established() || c.Groups() != nil || c.Peer().Realm != "" || c.Service().Realm != "" || !c.Expires().IsZero() || c.SessionEnctype() != 0 {
			t.Errorf("known of a refused client: %v, %v, %q", c.Peer(), c.Service(), c.Groups())
		}
	}
}

// BIND CVE-2024-1975: expensive verification for any sender. However many
// keys there are, a ticket is tried with few, and one for another service or
// of a type that is not held with none.
func TestLessonGarbageIsTriedWithFewKeys(t *testing.T) {
	var entries []keytabSpec
	for n := range uint32(200) {
		entries = append(entries, keytabSpec{testService, n + 1, testKey(18, fmt.Sprint(n))})
	}
	k := openKeytab(t, keytabBytes(entries...))
	keys := k.set.Load().services[testService.folded()]
	for version, want := range map[uint32]uint32{0: 200, 1: 1, 150: 150, 999: 200} {
		try := candidates(keys, 18, version, testNow)
		if len(try) != maxTries || try[0].version != want {
			t.Errorf("version %d: %d keys are tried, first %d", version, len(try), try[0].version)
		}
	}
	if n := len(candidates(keys, 17, 1, testNow)); n != 0 {
		t.Errorf("%d keys of another type are tried", n)
	}
}

// The handshakes that BIND CVE-2026-3039 and its like were about kept something for
// each token. Here a refused one leaves nothing, in the cache or elsewhere.
func TestLessonRefusedHandshakesLeaveNothing(t *testing.T) {
	a := newTestAcceptor(t)
	spec := requestSpec{checksum: gssBytes(0)}
	for range 100 {
		c := a.NewContext()
		c.Accept(spec.token())
		if c.session != nil || c.groups != nil {
			t.Fatal("a refused context keeps something")
		}
	}
	if a.replays.Len() != 0 {
		t.Error("refused authenticators are remembered")
	}
}

// Deleting a key while it is in use, by several at once.
func TestLessonConcurrentWipeIsIdempotent(t *testing.T) {
	for _, id := range []Enctype{18, RC4HMAC} {
		key := testKey(id, "session")
		c, i := handshakeWith(t, newTestAcceptor(t, allowRC4), InitiatorConfig{
			Ticket: ticketSpec{session: key}.ticket(), SessionKey: key, Client: testClient,
			Mutual: true, AllowRC4: true, Now: func() time.Time { return testNow },
		})
		mics := make([][]byte, 50)
		for n := range mics {
			mics[n] = must(i.GetMIC([]byte{byte(n)}))
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for n, mic := range mics {
					if err := c.VerifyMIC([]byte{byte(n)}, mic); err != nil && !errors.Is(err, ErrReplay) && !errors.Is(err, ErrNotEstablished) {
						t.Error(err)
					}
					if _, err := c.GetMIC(nil); err != nil && !errors.Is(err, ErrNotEstablished) {
						t.Error(err)
					}
				}
			})
			wg.Go(c.Wipe)
		}
		wg.Wait()
		if c.Established() {
			t.Error("established after Wipe")
		}
	}
}

// BIND CVE-2020-8617 and CVE-2020-8622: messages cut short at the signature.
func TestLessonTruncatedMICsAreMalformed(t *testing.T) {
	for _, id := range append([]Enctype{RC4HMAC}, testTypes...) {
		initiator := testSession(id, false, false, 0, 0)
		mic := must(initiator.getMIC([]byte("m")))
		for n := range mic {
			if err := testSession(id, true, false, 0, 0).verifyMIC([]byte("m"), mic[:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("type %d, %d octets: %v", id, n, err)
			}
		}
		if err := testSession(id, true, false, 0, 0).verifyMIC([]byte("m"), append(slices.Clone(mic), 0)); !errors.Is(err, ErrMalformed) {
			t.Fatalf("type %d, an octet more: %v", id, err)
		}
	}
}

// BIND CVE-2018-5741: rules must do what their words say. A realm that is
// listed is that realm, to the octet.
func TestLessonRealmsAndServicesMeanWhatTheySay(t *testing.T) {
	for _, realm := range []string{"example.test", "EXAMPLE.TEST.", ".EXAMPLE.TEST", "XEXAMPLE.TEST", "SUB.EXAMPLE.TEST", "EXAMPLE.TES", "*", "EXAMPLE.TEST\x00"} {
		s := requestSpec{ticketSpec: ticketSpec{client: Principal{Components: []string{"a"}, Realm: realm}}}
		refuse(t, newTestAcceptor(t), s.token(), ErrForeignRealm, codePolicy)
	}
	for _, service := range []string{"DNS/ns1.example.test/x", "DNS", "HTTP/ns1.example.test", "DNSX/ns1.example.test", "/ns1.example.test"} {
		s := requestSpec{ticketSpec: ticketSpec{service: mustPrincipal(service + "@" + testRealm)}}
		_, err := newTestAcceptor(t).NewContext().Accept(s.token())
		var e *Error
		if !errors.As(err, &e) || (e.Code != codeNotUs && e.Code != codeNoKey) || !strings.Contains(e.Reason, "DNS") && !strings.Contains(e.Reason, "ns1") {
			t.Errorf("%s: %v", service, err)
		}
	}
}
