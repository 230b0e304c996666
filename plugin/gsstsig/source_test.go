package gsstsig

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// TestSources: each who signs is a source of its own wherever the update comes from, and unsigned
// updates are few sources however many addresses they have.
func TestSources(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	alice := policy.Identity{Kind: policy.Kerberos, Name: "x", Client: a}
	key := policy.Identity{Kind: policy.Static, Name: "x", Client: a}
	elsewhere := alice
	elsewhere.Client, elsewhere.TCP = b, true
	if sourceOf(alice) != sourceOf(elsewhere) || sourceOf(alice) == sourceOf(key) ||
		sourceOf(alice) == sourceOf(policy.Identity{Kind: policy.Kerberos, Name: "y"}) {
		t.Error("those who sign")
	}
	seen := make(map[string]bool)
	for i := range uint32(10_000) {
		address := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i)))
		id := policy.Identity{Kind: policy.Anonymous, Client: address}
		if sourceOf(id) != sourceOf(id) {
			t.Fatal("one address, two sources")
		}
		seen[sourceOf(id)] = true
	}
	if len(seen) < 2 || len(seen) > anonymousSources {
		t.Errorf("%d sources of unsigned updates", len(seen))
	}
}
