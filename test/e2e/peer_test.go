//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// The peer tests put the server beside BIND, or between other servers, and compare what both make of the same.

// A key that both sides hold (RFC 8945).
const (
	peerKey    = "peer.example.test."
	peerSecret = "bm90IGEgc2VjcmV0LCBvbmx5IGEgdGVzdCdzIGtleQ=="
)

// The environment may ask for more than "make test" does: another seed of what is random, and more of it.
const (
	seedVariable    = "PEER_SEED"
	updatesVariable = "PEER_UPDATES"
)

// setting is an integer from the environment.
func setting(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 1 {
		t.Fatalf("%s=%s is not a number above zero", variable, text)
	}
	return value
}

// randomness is the same in every run, unless the environment asks for other. Streams of one test differ.
func randomness(t *testing.T, stream int) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(uint64(setting(t, seedVariable, 1)), uint64(stream)))
}

// startNamed starts BIND. At the end of a test that failed, its last words are shown.
func startNamed(t *testing.T, config named.Config) *named.Server {
	t.Helper()
	s, err := named.Start(shared.ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("named said last:\n%s", last(s.Log(), 30))
		}
		s.Stop()
	})
	return s
}

// freePort is one that a server started later will be given.
func freePort(t *testing.T) uint16 {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// blockOf is a server block with the lines given inside its gsstsig block, and those given behind it.
func blockOf(zones string, inside, beside []string) string {
	return fmt.Sprintf("%s {\n    bind 127.0.0.1\n    gsstsig {\n        keytab %s\n        %s\n    }\n    %s\n    errors\n}\n",
		zones, shared.keytab, strings.Join(inside, "\n        "), strings.Join(beside, "\n    "))
}

// startBlock starts a server with one such block.
func startBlock(t *testing.T, zones string, inside, beside []string, files map[string]string) *server.Server {
	t.Helper()
	probe, _, _ := strings.Cut(zones, " ")
	return startCoreDNS(t, server.Config{Corefile: blockOf(zones, inside, beside), Files: files, Probe: probe})
}

// tsigLine configures the key in a server block.
var tsigLine = fmt.Sprintf("tsig {\n        secret %s %s\n    }", peerKey, peerSecret)

// canonical is a record in a form in which equal ones look the same: names are written in lower case.
func canonical(record dns.RR) string {
	h := record.Header()
	head := h.String()
	data := record.String()[len(head):]
	switch h.Rrtype {
	case dns.TypeTXT, dns.TypeSPF, dns.TypeHINFO, dns.TypeCAA, dns.TypeNAPTR, dns.TypeDNSKEY, dns.TypeRRSIG, dns.TypeKEY:
		return strings.ToLower(head) + data
	}
	return strings.ToLower(head + data)
}

// canonicals are the records as a set: sorted, each once.
func canonicals(records []dns.RR) []string {
	var lines []string
	for _, record := range records {
		if record.Header().Rrtype != dns.TypeOPT && record.Header().Rrtype != dns.TypeTSIG {
			lines = append(lines, canonical(record))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// transferred is a zone as a secondary gets it: its records as a set, and its serial.
func transferred(t *testing.T, address netip.AddrPort, zone string) ([]string, uint32) {
	t.Helper()
	lines, serial, err := transferOf(address, zone, "", "")
	if err != nil {
		t.Fatalf("transfer of %s from %v: %v", zone, address, err)
	}
	return lines, serial
}

// transferOf is the same for a zone that wants a key, with its error.
func transferOf(address netip.AddrPort, zone, key, secret string) ([]string, uint32, error) {
	transfer := &dns.Transfer{DialTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	query := new(dns.Msg).SetAxfr(dns.Fqdn(zone))
	if key != "" {
		transfer.TsigSecret = map[string]string{key: secret}
		query.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	}
	envelopes, err := transfer.In(query, address.String())
	if err != nil {
		return nil, 0, err
	}
	var records []dns.RR
	for envelope := range envelopes {
		if envelope.Error != nil {
			err = envelope.Error
		}
		records = append(records, envelope.RR...)
	}
	if err != nil {
		return nil, 0, err
	}
	soa, ok := records[0].(*dns.SOA)
	if !ok || len(records) < 2 || canonical(records[len(records)-1]) != canonical(soa) {
		return nil, 0, fmt.Errorf("%d records, not between two equal SOA records", len(records))
	}
	return canonicals(records), soa.Serial, nil
}

// apart tells what is in one of two sorted lists alone.
func apart(a, b []string) (onlyA, onlyB []string) {
	for _, line := range a {
		if _, found := slices.BinarySearch(b, line); !found {
			onlyA = append(onlyA, line)
		}
	}
	for _, line := range b {
		if _, found := slices.BinarySearch(a, line); !found {
			onlyB = append(onlyB, line)
		}
	}
	return onlyA, onlyB
}

// sameZone fails the test unless both servers have the same records and serial.
func sameZone(t *testing.T, ours, peer netip.AddrPort, zone string) int {
	t.Helper()
	a, serialA := transferred(t, ours, zone)
	b, serialB := transferred(t, peer, zone)
	onlyA, onlyB := apart(a, b)
	if len(onlyA)+len(onlyB) > 0 || serialA != serialB {
		t.Errorf("zone %s: serial %d, the peer's %d; ours alone: %q; the peer's alone: %q", zone, serialA, serialB, onlyA, onlyB)
	}
	return len(a)
}

// until polls a condition, and fails the test when it does not come true in time.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	ctx := testContext(t)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !met() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		case <-ticker.C:
		}
	}
}
