//go:build e2e && linux

package mit

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// TestLeaseMovesWithSSSD does what docs/freeipa.md says about addresses that move: a machine gets the address of another,
// and SSSD registers it, with the PTR record.
func TestLeaseMovesWithSSSD(t *testing.T) {
	t.Parallel()
	tested.Path(t, sssd, "id_provider = ipa: an address that another machine had, with its PTR record, as docs/freeipa.md says")
	s := newSite(t, "ipa1")
	if err := s.startDirectory(testContext(t)); err != nil {
		t.Fatal(err)
	}
	first, second := s.add(t, "client1", 101), s.add(t, "client2", 102)
	for _, n := range []*node.Node{first, second} { // Debian's unit of SSSD makes it
		if _, err := shell(t, n, "mkdir -p /run/sssd"); err != nil {
			t.Fatal(err)
		}
	}
	rules, settings := inserts(t, "freeipa.md", "rules"), inserts(t, "freeipa.md", "ini")
	const rule, domain = "        grant EXAMPLE.TEST krb5-subdomain-self-rhs . PTR\n", "dyndns_ttl = 1200\n"
	blocks := read(t, "freeipa.md")
	for i, b := range blocks {
		blocks[i].Text = strings.Replace(strings.Replace(b.Text, rule, rules, 1), domain, domain+settings, 1)
	}
	lab := s.followBlocks(t, shared.programs, blocks, first)
	s.expectRegistered(t, first)
	if err := lab.End(first.Name); err != nil {
		t.Fatal(err)
	}

	ctx := testContext(t)
	had := first.Addresses[0]
	if err := errors.Join(first.RemoveAddress(ctx, had), second.RemoveAddress(ctx, second.Addresses[0]), second.AddAddress(ctx, had)); err != nil {
		t.Fatal(err)
	}
	second.Addresses = []netip.Prefix{had, second.Addresses[1]}
	conf, err := first.ReadFile(sssdConf)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.WriteFile(sssdConf, strings.ReplaceAll(conf, first.Host(), second.Host()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.enrol(t, second)
	// The first of its tries is refused, see docs/freeipa.md.
	said, _ := runSSSD(t, second)
	if !strings.Contains(said, "UPDATE, status: REFUSED") {
		t.Errorf("SSSD took the record over at its first try:\n%s", said)
	}
	s.expectRegistered(t, second)
}

// inserts is the text of a document's only block that is no step by itself, ~~~ LANGUAGE.
func inserts(t *testing.T, path, language string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n~~~ "+language+"\n")
	block, _, found := strings.Cut(rest, "~~~\n")
	if !found {
		t.Fatalf("docs/%s has no block ~~~ %s", path, language)
	}
	return examples.Replace(block)
}
