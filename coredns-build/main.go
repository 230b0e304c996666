// Command coredns is CoreDNS with the gsstsig plugin and the plugins that the operator of an internal DNS server uses.
// "coredns gsstsig" has commands for the administrator.
package main

import (
	"os"
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	"github.com/gsstsig/coredns-gsstsig/plugin/admin"
	_ "github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
)

func init() {
	dnsserver.Directives = directives(dnsserver.Directives)
}

// directives puts gsstsig into CoreDNS's order of plugins and leaves out those that this binary does not carry, so
// that a Corefile which names one of them is told so by its line.
//
// gsstsig stands behind everything that filters, caches or signs, and in front of transfer, which takes its zones from
// it, and of the other sources of records.
func directives(stock []string) []string {
	carried := caddy.ListPlugins()["others"]
	var ours []string
	for _, name := range stock {
		if name == "transfer" {
			ours = append(ours, "gsstsig")
		}
		if slices.Contains(carried, "dns."+name) {
			ours = append(ours, name)
		}
	}
	return ours
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "gsstsig" {
		os.Exit(admin.Run(admin.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[2:]))
	}
	coremain.Run()
}
