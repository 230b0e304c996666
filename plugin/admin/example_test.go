package admin_test

import (
	"os"
	"slices"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	"github.com/gsstsig/coredns-gsstsig/plugin/admin"
	_ "github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
)

// The main function of a CoreDNS with the plugin gsstsig and its commands. The plugin's place is before transfer.
func ExampleRun() {
	transfer := slices.Index(dnsserver.Directives, "transfer")
	dnsserver.Directives = slices.Insert(dnsserver.Directives, transfer, "gsstsig")
	if len(os.Args) > 1 && os.Args[1] == "gsstsig" {
		os.Exit(admin.Run("coredns gsstsig", os.Args[2:], admin.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	coremain.Run()
}
