package main

import (
	"slices"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
)

// TestDirectives: the binary carries what the operator of an internal DNS server expects, gsstsig stands directly before
// transfer, and the order is that of CoreDNS.
func TestDirectives(t *testing.T) {
	for _, name := range []string{"auto", "cache", "chaos", "dns64", "dnssec", "dnstap", "errors", "forward", "health", "hosts", "log",
		"prometheus", "ready", "reload", "secondary", "sign", "tsig", "view"} {
		if !slices.Contains(dnsserver.Directives, name) {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"kubernetes", "route53"} {
		if slices.Contains(dnsserver.Directives, name) {
			t.Errorf("%s is listed, but the binary does not carry it", name)
		}
	}
	at := slices.Index(dnsserver.Directives, "gsstsig")
	if at < 0 || dnsserver.Directives[at+1] != "transfer" || slices.Index(dnsserver.Directives, "tsig") > at {
		t.Errorf("gsstsig is not before transfer and behind tsig: %v", dnsserver.Directives)
	}
}
