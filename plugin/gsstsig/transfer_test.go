package gsstsig

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// TestTransfersOfContexts: who may have a zone by a signature alone is for the property transfers to say. All others are
// treated as if they had not signed, also by the tsig plugin.
func TestTransfersOfContexts(t *testing.T) {
	standard.Requires(t, "RFC 5936", "5 authorization")
	standard.Requires(t, "RFC 9103", "9 authentication")
	const (
		everyone = "transfer {\n to *\n }"
		nobody   = "transfer {\n to 192.0.2.1\n }"
		require  = "tsig {\n secret key1. c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\n require AXFR IXFR\n }"
	)
	for _, c := range []struct {
		name, transfers, plugins string
		listed, other            bool
	}{
		{"no plugin", "", "", false, false},
		{"to everyone", "", everyone, true, true},
		{"to nobody", "", nobody, false, false},
		{"tsig", "", everyone + require, false, false},
		{"transfers alone", "transfers dns1@EXAMPLE.TEST", "", true, false},
		{"transfers, to everyone", "transfers dns1@EXAMPLE.TEST", everyone, true, true},
		{"transfers, to nobody", "transfers dns1@EXAMPLE.TEST", nobody, true, false},
		{"transfers and tsig", "transfers dns1@EXAMPLE.TEST", everyone + require, true, false},
		{"transfers of a realm and tsig", "transfers EXAMPLE.TEST", everyone + require, true, true},
		{"transfers of a group and tsig", "transfers sid:S-1-5-21-1-2-3-1200", everyone + require, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, fmt.Sprintf("example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  %s\n }\n %s\n}", c.transfers, strings.ReplaceAll(c.plugins, "}tsig", "}\n tsig")))
			listed, other := s.context("dns1"), s.context("host/client1.example.test")
			want(t, "listed", s.mayTransfer(listed), c.listed)
			want(t, "other", s.mayTransfer(other), c.other)
			want(t, "listed, IXFR", s.mayTransfer(listed, 99), c.listed)
			want(t, "other, IXFR", s.mayTransfer(other, 99), c.other)
		})
	}
}

// mayTransfer reports whether a signed transfer succeeds.
func (s *coredns) mayTransfer(c *client.Context, serial ...uint32) bool {
	s.t.Helper()
	n := 0
	for _, err := range c.Transfer(s.t.Context(), "example.test.", serial...) {
		if err != nil {
			return false
		}
		n++
	}
	return n > 0
}

// TestLargeTransfer: a zone of several messages, sent without the transfer plugin.
func TestLargeTransfer(t *testing.T) {
	s := start(t, "example.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n  keytab {KEYTAB}\n  transfers EXAMPLE.TEST\n }\n}")
	host := s.context("host/client1.example.test")
	for i := range 4 {
		var lines []string
		for j := range 100 {
			lines = append(lines, fmt.Sprintf("+h%d-%d.example.test. 300 TXT %q %q", i, j, strings.Repeat("x", 250), strings.Repeat("y", 250)))
		}
		want(t, "update", s.signed(host, message(t, "example.test.", lines...)), 0)
	}
	records := s.transferred(host)
	want(t, "records", len(records), 400+4) // SOA twice, NS, the address of ns1
	want(t, "first", records[0], "SOA 5")
	want(t, "last", records[len(records)-1], "SOA 5")
	want(t, "since 4", len(s.transferred(host, 4)), 100+4)
}
