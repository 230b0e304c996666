package gsstsig

import (
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/miekg/dns"
)

// A fault while an unauthenticated message is handled costs that message only. The
// faults here come from parts that were never set up.
func TestFaultsAreContained(t *testing.T) {
	r := newRealm(t, nil)
	var events []Event
	server, err := NewServer(Config{
		Acceptor: new(krb5.Acceptor), Contexts: r.table, Now: r.clock.now,
		Observe: func(e Event) { events = append(events, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []bool{true, false} {
		m := tkeyMessage("k.example.test.", AlgorithmGSS, modeGSS, r.newPeer("k.", login{raw: raw}).first())
		response, sign := NewAuthenticator(nil, server).Negotiate(m, testClient, nil)
		if got := answerOf(t, response); got.Error != dns.RcodeBadKey || sign != nil {
			t.Errorf("TKEY error %d", got.Error)
		}
		if e := events[len(events)-1]; e.Result != ResultBadKey || !strings.HasPrefix(e.Reason, "internal error") {
			t.Errorf("event %+v", e)
		}
		if got := NewAuthenticator(nil, r.server, server).choose(m, nil); got != r.server {
			t.Error("chosen in spite of a fault")
		}
		if got := NewAuthenticator(nil, server, r.server).choose(m, nil); got != server {
			t.Error("a fault has another server chosen")
		}
	}
	if live, halfOpen := r.table.Len(); live+halfOpen != 0 {
		t.Errorf("%d, %d", live, halfOpen)
	}

	p := r.login("k.example.test.", login{})
	wire, _ := p.sign(updateMessage())
	if transaction, err := NewAuthenticator(nil, r.server, new(Server)).Authenticate(wire); err != nil || transaction == nil {
		t.Fatalf("before the fault: %v", err)
	}
	broken := NewAuthenticator(nil, new(Server))
	broken.now = r.clock.now
	transaction, err := broken.Authenticate(wire)
	if kindOf(err) != Malformed || transaction != nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("%v, %v", transaction, err)
	}
	if m := broken.Inspect(wire); !m.Malformed() || m.Signed() || m.KeyHeld() {
		t.Errorf("malformed %t, signed %t, key held %t", m.Malformed(), m.Signed(), m.KeyHeld())
	}
	if got := faultText("a secret"); got != "panic" {
		t.Errorf("a panic's value shows: %q", got)
	}
}
