package gsstsig

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// TestSources: each signer is one source, whatever address the update comes from. Unsigned updates
// share a few sources, however many addresses they come from.
func TestSources(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	alice := policy.Identity{Kind: policy.Kerberos, Name: "x", Client: a}
	key := policy.Identity{Kind: policy.Static, Name: "x", Client: a}
	elsewhere := alice
	elsewhere.Client, elsewhere.TCP = b, true
	if sourceOf(alice) != sourceOf(elsewhere) || sourceOf(alice) == sourceOf(key) ||
		sourceOf(alice) == sourceOf(policy.Identity{Kind: policy.Kerberos, Name: "y"}) {
		t.Error("the source of a signed update depends on the address, or two signers share a source")
	}
	seen := make(map[string]bool)
	for i := range uint32(10_000) {
		address := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i)))
		id := policy.Identity{Kind: policy.Anonymous, Client: address}
		first := sourceOf(id)
		if id.TCP = true; sourceOf(id) != first {
			t.Fatalf("updates from %v have two sources, one by UDP and one by TCP", address)
		}
		seen[first] = true
	}
	if len(seen) < 2 || len(seen) > anonymousSources {
		t.Errorf("%d sources of unsigned updates", len(seen))
	}
}
