package krb5

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

func newTestInitiator(t testing.TB, change ...func(*InitiatorConfig)) *InitiatorContext {
	t.Helper()
	c := InitiatorConfig{
		Ticket:     ticketSpec{}.ticket(),
		SessionKey: testKey(18, "session"),
		Client:     testClient,
		Expires:    testNow.Add(time.Hour),
		Mutual:     true,
		Now:        func() time.Time { return testNow },
	}
	for _, f := range change {
		f(&c)
	}
	i, err := NewInitiator(c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// answer makes an AP-REP in a key of the caller's choice.
func answer(k types.EncryptionKey, p encAPRepPart) []byte {
	keys := must(newKey(Enctype(k.KeyType), k.KeyValue)).cipherKeys(usageAPRep)
	cipher := must(keys.encrypt(rand.Reader, must(p.marshal())))
	return must(frame(mechanismKRB5, tokenAPRep, func(b *cryptobyte.Builder) {
		appendAPRep(b, encryptedData{enctype: Enctype(k.KeyType), cipher: cipher})
	}))
}

func TestInitiatorChecksTheAnswer(t *testing.T) {
	standard.Requires(t, "RFC 4120", "3.2.5 check")
	session := testKey(18, "session")
	good := encAPRepPart{time: testNow.Truncate(time.Second), microseconds: 123456, sequence: 9}
	withSubkey, otherTime, otherMicros, badSubkey := good, good, good, good
	withSubkey.subkeyType, withSubkey.subkey = 19, testKey(19, "acceptor").KeyValue
	otherTime.time = good.time.Add(time.Second)
	otherMicros.microseconds++
	badSubkey.subkeyType, badSubkey.subkey = 23, make([]byte, 16)
	short := must(frame(mechanismKRB5, tokenAPRep, func(b *cryptobyte.Builder) {
		appendAPRep(b, encryptedData{enctype: 18, cipher: []byte{1}})
	}))
	for _, c := range []struct {
		name  string
		token []byte
		want  error
	}{
		{"without subkey", answer(session, good), nil},
		{"with subkey", answer(session, withSubkey), nil},
		{"another time", answer(session, otherTime), ErrMismatch},
		{"another microsecond", answer(session, otherMicros), ErrMismatch},
		{"a subkey of an unsupported type", answer(session, badSubkey), ErrEnctype},
		{"another key", answer(testKey(18, "other"), good), ErrIntegrity},
		{"another type of key", answer(testKey(17, "session"), good), ErrMalformed},
		{"short cipher", short, ErrIntegrity},
		{"nothing", nil, ErrMalformed},
		{"empty", []byte{}, ErrMalformed},
		{"an AP-REQ", requestSpec{}.token(), ErrMalformed},
		{"half a KRB-ERROR", frameBytes(mechanismKRB5, tokenKRBError, []byte{0x7E, 0}), ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newTestInitiator(t)
			must(i.Init(nil))
			out, err := i.Init(c.token)
			if !errors.Is(err, c.want) || out != nil {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if i.Established() != (c.want == nil) {
				t.Errorf("established: %v", i.Established())
			}
			if _, err := i.Init(answer(session, good)); !errors.Is(err, ErrMalformed) {
				t.Errorf("one answer more: %v", err)
			}
		})
	}
}

func TestInitiatorTellsTheAcceptorsError(t *testing.T) {
	standard.Requires(t, "RFC 4120", "5.9.1 KRB-ERROR")
	now := testNow.Add(time.Hour)
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Now = func() time.Time { return now } })
	i := newTestInitiator(t)
	reply, err := a.NewContext().Accept(must(i.Init(nil)))
	if !errors.Is(err, ErrSkew) {
		t.Fatal(err)
	}
	_, err = i.Init(reply)
	var e *Error
	if !errors.Is(err, ErrRefused) || !errors.As(err, &e) || e.Code != 37 || e.Service != testService.String() {
		t.Errorf("error %v", err)
	}
	if !bytes.Contains([]byte(e.Reason), []byte("2026-03-01T13:00:00Z")) {
		t.Errorf("reason %q", e.Reason)
	}
}

func TestInitiatorIsNotEstablishedBeforeTheHandshake(t *testing.T) {
	i := newTestInitiator(t)
	if _, err := i.Init(answer(testKey(18, "session"), encAPRepPart{time: testNow})); !errors.Is(err, ErrMalformed) {
		t.Errorf("an answer before the question: %v", err)
	}
	if i.Established() || i.SessionEnctype() != 0 {
		t.Error("established")
	}
	if _, err := i.GetMIC(nil); !errors.Is(err, ErrNotEstablished) {
		t.Error(err)
	}
	if err := i.VerifyMIC(nil, make([]byte, 28)); !errors.Is(err, ErrNotEstablished) {
		t.Error(err)
	}
	if !i.Expires().Equal(testNow.Add(time.Hour)) {
		t.Errorf("expires %v", i.Expires())
	}
}

func TestWipedInitiator(t *testing.T) {
	i := newTestInitiator(t, func(c *InitiatorConfig) { c.Mutual = false })
	must(i.Init(nil))
	if _, err := i.GetMIC([]byte("m")); err != nil {
		t.Fatal(err)
	}
	i.Wipe()
	if i.Established() {
		t.Error("still established")
	}
	if _, err := i.GetMIC([]byte("m")); !errors.Is(err, ErrNotEstablished) {
		t.Error(err)
	}
	unfinished := newTestInitiator(t)
	must(unfinished.Init(nil))
	unfinished.Wipe()
	if _, err := unfinished.Init(answer(testKey(18, "session"), encAPRepPart{time: testNow})); err == nil {
		t.Error("a wiped initiator goes on")
	}
}

func TestInitiatorLeavesItsConfigurationAlone(t *testing.T) {
	session := testKey(18, "session")
	i := newTestInitiator(t, func(c *InitiatorConfig) { c.SessionKey = session })
	must(i.Init(nil))
	i.Wipe()
	if !bytes.Equal(session.KeyValue, testKey(18, "session").KeyValue) {
		t.Error("the caller's session key was wiped")
	}
}

func TestInitiatorConfigIsChecked(t *testing.T) {
	for name, c := range map[string]InitiatorConfig{
		"no client":   {Ticket: ticketSpec{}.ticket(), SessionKey: testKey(18, "s")},
		"no realm":    {Ticket: ticketSpec{}.ticket(), SessionKey: testKey(18, "s"), Client: mustPrincipal("a")},
		"no key":      {Ticket: ticketSpec{}.ticket(), Client: testClient},
		"a short key": {Ticket: ticketSpec{}.ticket(), Client: testClient, SessionKey: types.EncryptionKey{KeyType: 20, KeyValue: make([]byte, 24)}},
	} {
		if _, err := NewInitiator(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
