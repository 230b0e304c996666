// Command gsstsigctl has the administrator's commands for a CoreDNS that was built with the plugin gsstsig by plugin.cfg, and
// thus has no commands of its own.
package main

import (
	"os"
	"slices"

	"github.com/coredns/coredns/core/dnsserver"

	"github.com/gsstsig/coredns-gsstsig/plugin/admin"
	_ "github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
)

func main() {
	dnsserver.Directives = slices.Insert(dnsserver.Directives, slices.Index(dnsserver.Directives, "transfer"), "gsstsig")
	os.Exit(admin.Run("gsstsigctl", os.Args[1:], admin.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
