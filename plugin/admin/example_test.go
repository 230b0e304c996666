package admin_test

import (
	"os"
	"slices"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	"github.com/gsstsig/coredns-gsstsig/plugin/admin"
	_ "github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
)

// The main function of a CoreDNS with the plugin gsstsig and its commands. The plugin's place is before transfer. The program
// has the other plugins that it imports: those of CoreDNS by _ "github.com/coredns/coredns/core/plugin".
func ExampleRun() {
	transfer := slices.Index(dnsserver.Directives, "transfer")
	dnsserver.Directives = slices.Insert(dnsserver.Directives, transfer, "gsstsig")
	streams := admin.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	switch args := os.Args[1:]; {
	case len(args) > 0 && args[0] == "gsstsig":
		os.Exit(admin.Run("coredns gsstsig", args[1:], streams))
	case len(args) > 0 && strings.HasPrefix(args[0], "__complete"): // a shell completes a command line
		os.Exit(admin.Run("coredns gsstsig", args, streams))
	}
	coremain.Run()
}
