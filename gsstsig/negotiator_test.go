package gsstsig

import (
	"testing"

	"github.com/miekg/dns"
)

// No context gets the name of a static key, not even of one that is of no use itself.
func TestNegotiatorReservesNamesOfStaticKeys(t *testing.T) {
	r := newRealm(t, nil)
	n := NewNegotiator(staticKeys, r.server)
	for name, want := range map[string]uint16{"static.example.test.": dns.RcodeBadName, "STATIC.example.test.": dns.RcodeBadName,
		"broken.": dns.RcodeBadName, "free.example.test.": 0} {
		p := r.newPeer(name, login{})
		response, sign := n.Negotiate(tkeyMessage(name, p.algorithm, modeGSS, p.first()), testClient, nil)
		if got := answerOf(t, response).Error; got != want || (sign != nil) != (want == 0) {
			t.Errorf("%s: TKEY error %d, signed %v", name, got, sign != nil)
		}
		if want != 0 && (r.lastEvent().Result != ResultBadName || r.lastEvent().Reason == "") {
			t.Errorf("%+v", r.lastEvent())
		}
	}
	if NewNegotiator(staticKeys) != nil {
		t.Error("a negotiator without servers")
	}
}

// A context that has the name of a static key is from before that was configured.
func TestVerifyReservesNamesOfStaticKeys(t *testing.T) {
	r := newRealm(t, nil)
	p := r.login("static.example.test.", login{})
	wire, _ := p.sign(updateMessage())
	if _, err := NewVerifier(nil, r.server).Verify(wire, nil); err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(staticKeys, r.server)
	var glance Glance
	if v.Glance(wire, &glance); !glance.Signed || glance.Known {
		t.Errorf("%+v", glance)
	}
	if _, err := v.Verify(wire, nil); kindOf(err) != BadKey {
		t.Errorf("got %v", err)
	}
}
