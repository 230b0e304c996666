package main

import (
	"flag"
	"slices"
	"strings"
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

// TestUsage: who asks for the flags learns of the commands, too.
func TestUsage(t *testing.T) {
	flags := flag.NewFlagSet("coredns", flag.ContinueOnError)
	flags.String("conf", "Corefile", "Corefile to load")
	var text strings.Builder
	flags.SetOutput(&text)
	usage(flags)
	for _, want := range []string{"-conf string", "coredns gsstsig help"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in:\n%s", want, text.String())
		}
	}
}
