package policy_test

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// TestRefusalByModeAlone: what is refused before the zone's state is known is
// just what the mode refuses whatever the rules say.
func TestRefusalByModeAlone(t *testing.T) {
	overTCP := policy.Identity{TCP: true, Client: netip.MustParseAddr("192.0.2.7")}
	for _, rules := range [][]string{nil, {"grant anonymous zonesub ANY", "grant * tcp-self . PTR", "grant * 6to4-self . NS"}} {
		for _, test := range []struct {
			mode   policy.Mode
			sender policy.Identity
			rule   string
		}{
			{policy.Secure, policy.Identity{}, "updates secure"},
			{policy.Secure, overTCP, "updates secure"},
			{policy.Secure, stranger, ""},
			{policy.Secure, policy.Identity{Kind: policy.Static, Name: "key1."}, ""},
			{policy.None, policy.Identity{}, "updates none"},
			{policy.None, overTCP, "updates none"},
			{policy.None, stranger, "updates none"},
			{policy.None, policy.Identity{Kind: policy.Static, Name: "key1."}, "updates none"},
			{policy.NonsecureAndSecure, policy.Identity{}, ""},
			{policy.NonsecureAndSecure, overTCP, ""},
			{policy.NonsecureAndSecure, stranger, ""},
		} {
			p := newPolicy(t, policy.Config{Mode: test.mode, Rules: parseRules(t, rules)})
			u := p.Update(test.sender, new(dns.Msg).SetUpdate("example.test."))
			switch {
			case u.Authorize == nil || u.Message == nil:
				t.Errorf("%v, %v: %+v", test.mode, test.sender, u)
			case test.rule == "":
				if u.Refusal != nil {
					t.Errorf("%v, %v: %+v", test.mode, test.sender, u.Refusal)
				}
			case u.Refusal == nil || u.Refusal.Allow || u.Refusal.Rule != test.rule || u.Refusal.Reason == "":
				t.Errorf("%v, %v: %+v", test.mode, test.sender, u.Refusal)
			}
		}
	}
}
