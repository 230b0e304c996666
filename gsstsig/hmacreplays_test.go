package gsstsig

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// An update with a static key is good once; a query may be sent again.
func TestReplayOfStaticKey(t *testing.T) {
	standard.Requires(t, "RFC 2136", "5.1 duplicates")
	shared := NewHMACReplays(0)
	open := func() *Authenticator {
		a := NewAuthenticator(staticKeys)
		a.ShareReplays(shared)
		return a
	}
	a := open()
	refused := func(wire []byte) {
		t.Helper()
		var failure *VerifyError
		if _, err := a.Authenticate(wire); !errors.As(err, &failure) || failure.Kind != BadSig || !errors.Is(err, errHMACReplay) || failure.Fix() == "" || failure.SignsReply() {
			t.Errorf("the same message again: %v", err)
		}
	}
	add, _ := signStatic(t, updateMessage(), staticName, dns.HmacSHA256, time.Now())
	later := updateMessage()
	later.Id++
	remove, _ := signStatic(t, later, staticName, dns.HmacSHA256, time.Now())
	for _, wire := range [][]byte{add, remove} {
		if _, err := a.Authenticate(wire); err != nil {
			t.Fatal(err)
		}
	}
	refused(add)
	a = open() // after a reload
	refused(remove)

	// One that was signed earlier, and comes later, as from another client of the key.
	early := updateMessage()
	early.Id += 2
	wire, _ := signStatic(t, early, staticName, dns.HmacSHA256, time.Now().Add(-time.Minute))
	if _, err := a.Authenticate(wire); err != nil {
		t.Error(err)
	}
	// A wrong MAC leaves no trace.
	forged := updateMessage()
	forged.Id += 3
	wire, _ = signStatic(t, forged, staticName, dns.HmacSHA256, time.Now())
	bad := append([]byte(nil), wire...)
	bad[len(bad)-8] ^= 1
	if _, err := a.Authenticate(bad); err == nil {
		t.Fatal("a wrong MAC is accepted")
	}
	if _, err := a.Authenticate(wire); err != nil {
		t.Error(err)
	}

	query := new(dns.Msg).SetQuestion("example.test.", dns.TypeA)
	wire, _ = signStatic(t, query, staticName, dns.HmacSHA256, time.Now())
	for range 2 {
		if _, err := a.Authenticate(wire); err != nil {
			t.Errorf("a query: %v", err)
		}
	}
}

// Updates are remembered to the last second in which they are good, though others of the same second are good for less, and what was
// signed before them is good until then.
func TestHMACReplaysLastAsLongAsTheFudge(t *testing.T) {
	h := NewHMACReplays(0)
	const start = uint64(1_000_000)
	for name, test := range map[string]struct{ first, second, now uint64 }{
		"to the last second":      {5, 5, start + 5},
		"the longer fudge first":  {300, 1, start + 2},
		"the longer fudge second": {1, 300, start + 2},
	} {
		mac := func(n byte) []byte { return append([]byte(name)[:15], append(make([]byte, 16), n)...) }
		first, second := append([]byte{1}, mac(1)...), append([]byte{2}, mac(2)...)
		for _, err := range []error{h.add(name, start, test.first, start, first), h.add(name, start, test.second, start, second)} {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for _, again := range [][]byte{first, second} {
			if err := h.add(name, start, 300, test.now, again); err != errHMACReplay {
				t.Errorf("%s: again: %v", name, err)
			}
		}
		if err := h.add(name, start-1, 300, test.now, append([]byte{3}, mac(3)...)); err != nil {
			t.Errorf("%s: signed a second before: %v", name, err)
		}
	}
}

func TestHMACReplaysAreBounded(t *testing.T) {
	h := NewHMACReplays(64)
	mac := func(n uint64) []byte { return append(binary.BigEndian.AppendUint64(nil, n), make([]byte, 24)...) }
	const start = uint64(1_000_000)
	for n := range uint64(1000) {
		if err := h.add("key", start+n/4, 300, start+n/4, mac(n)); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		if count := h.keys["key"].count; count > 64 {
			t.Fatalf("%d are kept", count)
		}
	}
	// What was forgotten is refused by its time, the rest by its MAC; and nothing of another key.
	for n := range uint64(1000) {
		err := h.add("key", start+n/4, 300, start+250, mac(n))
		if err != errHMACReplay && err != errHMACTime {
			t.Fatalf("%d again: %v", n, err)
		}
		if n == 0 && err != errHMACTime || n == 999 && err != errHMACReplay {
			t.Errorf("%d again: %v", n, err)
		}
	}
	if err := h.add("other", start, 300, start+250, mac(0)); err != nil {
		t.Errorf("another key: %v", err)
	}
	// Within one second more than there is room for.
	for n := range uint64(65) {
		if err := h.add("burst", start, 300, start, mac(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.add("burst", start, 300, start, mac(99)); err != errHMACTime {
		t.Errorf("of a second that was dropped: %v", err)
	}
	if err := h.add("burst", start+1, 300, start+1, mac(99)); err != nil {
		t.Errorf("of the next second: %v", err)
	}

	// Past its time nothing is kept, and nothing comes back when the clock is set back.
	h = NewHMACReplays(64)
	if err := h.add("key", start, 300, start, mac(1)); err != nil {
		t.Fatal(err)
	}
	if err := h.add("key", start+400, 300, start+400, mac(2)); err != nil || h.keys["key"].count != 1 {
		t.Errorf("%v, %d are kept", err, h.keys["key"].count)
	}
	if err := h.add("key", start, 300, start, mac(1)); err != errHMACTime {
		t.Errorf("again, after the clock was set back: %v", err)
	}
}

// The answer to an update of a time that is past remembering tells the server's time.
func TestHMACTimeIsAnsweredBADTIME(t *testing.T) {
	a := NewAuthenticator(staticKeys)
	a.ShareReplays(NewHMACReplays(1))
	now := time.Now()
	for i := range 3 {
		m := updateMessage()
		m.Id += uint16(i)
		wire, _ := signStatic(t, m, staticName, dns.HmacSHA256, now.Add(time.Duration(i)*time.Second))
		if _, err := a.Authenticate(wire); err != nil {
			t.Fatal(err)
		}
	}
	m := updateMessage()
	m.Id += 9
	wire, _ := signStatic(t, m, staticName, dns.HmacSHA256, now)
	var failure *VerifyError
	if _, err := a.Authenticate(wire); !errors.As(err, &failure) || failure.Kind != BadTime || !failure.SignsReply() || failure.Fix() == "" {
		t.Fatal(err)
	}
	reply, err := failure.Reply()
	if err != nil {
		t.Fatal(err)
	}
	answer := new(dns.Msg)
	if err := answer.Unpack(reply); err != nil || answer.Rcode != dns.RcodeNotAuth || answer.IsTsig().Error != dns.RcodeBadTime {
		t.Errorf("%v\n%v", err, answer)
	}
}

// A clock that was ahead, for longer than messages are remembered, locks no key out when it is right again. What was
// signed while it was ahead is not good again when the right time comes to it.
func TestHMACReplaysAfterAClockThatWasAhead(t *testing.T) {
	mac := func(n uint64) []byte { return append(binary.BigEndian.AppendUint64(nil, n), make([]byte, 24)...) }
	const now = uint64(1_800_000_000)
	for name, ahead := range map[string]uint64{"an hour": 3600, "a day": 86_400, "100 years": 100 * 365 * 86_400} {
		h := NewHMACReplays(64)
		n := uint64(0)
		add := func(at uint64) {
			t.Helper()
			if n++; h.add("key", at, 300, at, mac(n)) != nil {
				t.Errorf("%s ahead: an update of %d is refused", name, at)
			}
		}
		at := now - 10_000_000
		for s := range uint64(400) {
			add(at)
			at += 1 + 5*s // with longer and longer pauses
		}
		first := n + 1
		for s := uint64(0); s < 1000; s += 10 {
			add(at + ahead + s)
		}
		last := n
		for s := range uint64(1000) {
			add(at + s)
		}
		for i := first; i <= last; i++ {
			at := at + ahead + 10*(i-first)
			if err := h.add("key", at, 300, at, mac(i)); err == nil {
				t.Errorf("%s ahead: an update is good again", name)
			}
		}
	}
}
