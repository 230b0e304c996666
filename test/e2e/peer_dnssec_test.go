//go:build e2e

package e2e

import (
	"crypto"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// zoneKey makes a key for the dnssec plugin, in the two files that dnssec-keygen would write, and the file of trust
// anchors for delv.
func zoneKey(t *testing.T, zone string) (base, anchors string) {
	t.Helper()
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: dns.Fqdn(zone), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	var private crypto.PrivateKey
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	base = filepath.Join(dir, fmt.Sprintf("K%s+%03d+%05d", key.Hdr.Name, key.Algorithm, key.KeyTag()))
	anchors = filepath.Join(dir, "anchors")
	for name, text := range map[string]string{
		base + ".key":     key.String() + "\n",
		base + ".private": key.PrivateKeyString(private),
		anchors:           fmt.Sprintf("trust-anchors { %q static-key %d %d %d %q; };\n", key.Hdr.Name, key.Flags, key.Protocol, key.Algorithm, key.PublicKey),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return base, anchors
}

// delv is what BIND's validator says of an answer, with nothing but the zone's key to go by.
func delv(t *testing.T, address netip.AddrPort, anchors, name, qtype string) string {
	t.Helper()
	path, err := process.LookPath("delv")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), path, "@"+address.Addr().String(), "-p", strconv.Itoa(int(address.Port())),
		"-a", anchors, "+root="+forwardZone, "+multiline", name, qtype)
	output, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(output)
}

// TestSignedOnTheFly has CoreDNS's dnssec plugin sign the answers of a zone that changes. A validator finds them right
// after each change. Updates, transfers and what is signed by a ticket go on as they do without it.
func TestSignedOnTheFly(t *testing.T) {
	t.Parallel()
	tested.Path(t, delvClient, "answers that the dnssec plugin signs, validated after each update")
	base, anchors := zoneKey(t, forwardZone)
	text := seed("ns1.example.test") + "ns1 IN A 127.0.0.1\n*.wild IN A 192.0.2.30\nalias IN CNAME moving\na.b.ent IN A 192.0.2.31\n" +
		"sub IN NS ns.sub\nns.sub IN A 192.0.2.32\n"
	ours := startBlock(t, forwardZone, []string{"file db " + forwardZone, fmt.Sprintf("grant %s krb5-subdomain . ANY", realmName)},
		[]string{fmt.Sprintf("dnssec {\n        key file %s\n    }", base), "cache", "transfer {\n        to 127.0.0.1\n    }"}, map[string]string{"db": text})
	ctx := testContext(t)
	key, err := dialClient(t, client.Config{Server: ours.Address.String(), Credentials: keytabCredentials(t, host1)}).Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	update := func(changes ...string) {
		t.Helper()
		m := new(dns.Msg).SetUpdate(forwardZone + ".")
		m.SetEdns0(4096, true) // who asks for signatures gets none in an update's answer
		for _, change := range changes {
			if name, found := strings.CutPrefix(change, "delete "); found {
				m.RemoveName([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: name}}})
			} else {
				m.Insert([]dns.RR{rr(t, change)})
			}
		}
		reply, err := key.Update(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if len(reply.Answer)+len(reply.Ns) != 0 {
			t.Errorf("the answer to an update has records: %v", reply)
		}
	}
	const (
		validated = "; fully validated"
		negative  = "; negative response, fully validated"
	)
	check := func(when, name, qtype string, want ...string) {
		t.Helper()
		output := delv(t, ours.Address, anchors, name, qtype)
		for _, part := range want {
			if !strings.Contains(output, part) {
				t.Errorf("%s, delv %s %s does not say %q:\n%s", when, name, qtype, part, output)
			}
		}
		if want[0] == validated && strings.Contains(output, "negative") {
			t.Errorf("%s, delv %s %s:\n%s", when, name, qtype, output)
		}
	}
	check("before", "moving.example.test", "A", negative)
	check("before", "alias.example.test", "A", "moving.example.test.", validated)
	for i := range 5 {
		address := fmt.Sprintf("192.0.2.%d", 40+i)
		update("delete moving.example.test.", "moving.example.test. 60 A "+address)
		check("after an update", "moving.example.test", "A", validated, address)
		check("after an update", "alias.example.test", "A", validated, address)
		check("after an update", "moving.example.test", "AAAA", negative)
	}
	update("delete moving.example.test.")
	check("after a delete", "moving.example.test", "A", negative)
	check("always", "absent.example.test", "A", negative)
	check("always", "b.ent.example.test", "A", negative)
	check("always", "x.wild.example.test", "A", validated, "192.0.2.30")
	check("always", "x.wild.example.test", "TXT", negative)
	check("always", "example.test", "SOA", validated)
	check("always", "example.test", "NS", validated)
	check("always", "example.test", "DNSKEY", validated)
	check("always", "sub.example.test", "DS", negative)

	// The validator says so of this zone's key alone.
	_, others := zoneKey(t, forwardZone)
	if output := delv(t, ours.Address, others, "ns1.example.test", "A"); strings.Contains(output, validated) {
		t.Errorf("valid by another key:\n%s", output)
	}

	records, err := dnsutils.Dig(ctx, ours.Address, "ns1.example.test", "A", "+dnssec")
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 2 || !strings.Contains(records[1], "RRSIG") {
		t.Errorf("dig +dnssec: %q", records)
	}
	if records, err = dnsutils.Dig(ctx, ours.Address, "ns1.example.test", "A"); err != nil || len(records) != 1 {
		t.Errorf("dig without: %q, %v", records, err)
	}

	// A signed query for signed records.
	m := new(dns.Msg).SetQuestion("ns1.example.test.", dns.TypeA)
	m.SetEdns0(4096, true)
	reply, err := key.Exchange(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.Answer) != 2 {
		t.Errorf("a query signed by a ticket: %v", reply)
	}

	// A secondary gets the zone as it is. One that asked for signatures would get them behind the last record, whichever
	// plugin has the zone: that is CoreDNS's doing, and secondaries do not ask.
	plain, _ := transferred(t, ours.Address, forwardZone)
	for _, line := range plain {
		if strings.Contains(line, "rrsig") || strings.Contains(line, "nsec") {
			t.Errorf("a transfer has %s", line)
		}
	}
}
