package gsstsig

import (
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/miekg/dns"
)

// A fault while a stranger's message is handled costs that message only. The
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
		response, sign := server.Negotiate(m, testClient, nil)
		if got := answerOf(t, response); got.Error != dns.RcodeBadKey || sign != nil {
			t.Errorf("TKEY error %d", got.Error)
		}
		if e := events[len(events)-1]; e.Result != ResultBadKey || !strings.HasPrefix(e.Reason, "internal error") {
			t.Errorf("event %+v", e)
		}
		if got := NewNegotiator(nil, r.server, server).choose(m, nil); got != r.server {
			t.Error("chosen in spite of a fault")
		}
		if got := NewNegotiator(nil, server, r.server).choose(m, nil); got != server {
			t.Error("a fault has another server chosen")
		}
	}
	if live, halfOpen := r.table.Len(); live+halfOpen != 0 {
		t.Errorf("%d, %d", live, halfOpen)
	}

	p := r.login("k.example.test.", login{})
	wire, _ := p.sign(updateMessage())
	if transaction, err := NewVerifier(nil, r.server, new(Server)).Verify(wire, nil); err != nil || transaction == nil {
		t.Fatalf("before the fault: %v", err)
	}
	broken := NewVerifier(nil, new(Server))
	broken.now = r.clock.now
	transaction, err := broken.Verify(wire, nil)
	if kindOf(err) != Malformed || transaction != nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("%v, %v", transaction, err)
	}
	if got := faultText("a secret"); got != "panic" {
		t.Errorf("a panic's value shows: %q", got)
	}
}
