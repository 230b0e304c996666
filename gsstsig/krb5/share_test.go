package krb5

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// TestShare: contexts of one record go on beside each other, verify each message once, and number their answers alike.
func TestShare(t *testing.T) {
	for _, session := range testTypes {
		a := newTestAcceptor(t)
		key := testKey(session, "session")
		i := must(NewInitiator(InitiatorConfig{
			Ticket: ticketSpec{key: testServiceKey(18), session: key}.ticket(), SessionKey: key, Client: testClient, Mutual: true, Subkey: true, Now: a.now,
		}))
		first, reply := accept(t, a, must(i.Init(nil)))
		must(i.Init(reply))
		record, err := first.Share(testPlace, []byte("data"))
		if err != nil {
			t.Fatal(err)
		}
		// The TKEY answer is signed after the record was made, and perhaps after the answer to a request that did not wait for it.
		must(first.AnswerMIC([]byte("early"), first.session.window.first))
		complete := must(first.GetMIC([]byte("the TKEY answer")))
		if binary.BigEndian.Uint64(complete[8:]) != first.session.own {
			t.Errorf("the TKEY answer has number %d", binary.BigEndian.Uint64(complete[8:])-first.session.own)
		}
		if err := i.VerifyMIC([]byte("the TKEY answer"), complete); err != nil {
			t.Fatal(err)
		}
		second, data, err := newTestAcceptor(t).Import(testPlace, record)
		if err != nil || string(data) != "data" {
			t.Fatalf("%q, %v", data, err)
		}
		if !bytes.Equal(first.Authenticator(), second.Authenticator()) || len(first.Authenticator()) == 0 {
			t.Error("the authenticators differ")
		}
		next := binary.BigEndian.Uint64(complete[8:])
		for _, c := range []*AcceptorContext{second, first, second} {
			request := must(i.GetMIC([]byte("request")))
			number, err := c.VerifyRequest([]byte("request"), request)
			if err != nil || number != binary.BigEndian.Uint64(request[8:]) {
				t.Fatalf("number %d, %v", number, err)
			}
			if _, err := c.VerifyRequest([]byte("request"), request); !errors.Is(err, ErrReplay) {
				t.Error(err)
			}
			answers := [2][]byte{must(first.AnswerMIC([]byte("answer"), number)), must(second.AnswerMIC([]byte("answer"), number))}
			if !bytes.Equal(answers[0], answers[1]) {
				t.Error("the answers differ")
			}
			if next++; binary.BigEndian.Uint64(answers[0][8:]) != next {
				t.Errorf("an answer has number %d, want %d", binary.BigEndian.Uint64(answers[0][8:]), next)
			}
			if err := i.VerifyMIC([]byte("answer"), answers[0]); err != nil {
				t.Error(err)
			}
		}
		second.Count()
		for range 2 {
			if next++; binary.BigEndian.Uint64(must(second.AnswerMIC([]byte("answer"), 0))[8:]) != next {
				t.Error("the numbers do not go on")
			}
		}
		first.Wipe()
		if _, err := first.Share(testPlace, nil); !errors.Is(err, ErrNotEstablished) {
			t.Error(err)
		}
		if _, err := first.AnswerMIC(nil, 0); !errors.Is(err, ErrNotEstablished) {
			t.Error(err)
		}
		if mic := must(i.GetMIC(nil)); second.VerifyMIC(nil, mic) != nil {
			t.Error("the other context ended as well")
		}
	}
	c := newTestAcceptor(t).NewContext()
	_, err := c.AnswerMIC(nil, 0)
	_, shared := c.Share(testPlace, nil)
	_, verified := c.VerifyRequest(nil, nil)
	for _, err := range []error{err, shared, verified} {
		if !errors.Is(err, ErrNotEstablished) {
			t.Error(err)
		}
	}
}

// TestShareRC4: a context of RC4 is not shared, and goes on. The number of a message is its checksum, since the sequence number
// can be changed.
func TestShareRC4(t *testing.T) {
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.AllowRC4 = true })
	c, _ := accept(t, a, requestSpec{ticketSpec: ticketSpec{key: testServiceKey(18), session: testKey(RC4HMAC, "session")}, checksum: testNotMutual}.token())
	if _, err := c.Share(testPlace, nil); !errors.Is(err, ErrEnctype) {
		t.Error(err)
	}
	if !c.Established() {
		t.Fatal("the context has ended")
	}
	client := newSession(must(newKey(RC4HMAC, testKey(RC4HMAC, "session").KeyValue)), false, false, 0, 0)
	client.sequence.Store(c.session.window.first)
	mic := must(client.getMIC([]byte("m")))
	number, err := c.VerifyRequest([]byte("m"), mic)
	if err != nil || number != binary.BigEndian.Uint64(mic[len(mic)-8:]) {
		t.Errorf("%x, %v", number, err)
	}
	before := c.session.sequence.Load()
	if _, err := c.AnswerMIC([]byte("m"), number); err != nil || c.session.sequence.Load() != before+1 {
		t.Errorf("the number went from %d to %d, %v", before, c.session.sequence.Load(), err)
	}
}
