// Command coredns is CoreDNS with the plugin gsstsig and the plugins that an internal DNS server needs. "coredns gsstsig"
// runs the administrator's commands.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	"github.com/gsstsig/coredns-gsstsig/plugin/admin"
	_ "github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
)

func init() {
	dnsserver.Directives = directives(dnsserver.Directives)
}

// directives adds gsstsig to CoreDNS's order of plugins and removes the plugins that this binary does not have, so that
// CoreDNS reports the line of a Corefile that uses one of them.
//
// gsstsig comes after all plugins that filter, cache or sign, and before transfer, which takes zones from it, and the other
// sources of records.
func directives(stock []string) []string {
	built := caddy.ListPlugins()["others"]
	var order []string
	for _, name := range stock {
		if name == "transfer" {
			order = append(order, "gsstsig")
		}
		if slices.Contains(built, "dns."+name) {
			order = append(order, name)
		}
	}
	return order
}

func main() {
	streams := admin.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	switch args := os.Args[1:]; {
	case len(args) > 0 && args[0] == "gsstsig":
		os.Exit(admin.Run("coredns gsstsig", args[1:], streams))
	case len(args) > 0 && strings.HasPrefix(args[0], "__complete"): // a shell completes a command line
		os.Exit(admin.Run("coredns gsstsig", args, streams))
	}
	flag.Usage = func() { usage(flag.CommandLine) }
	coremain.Run()
}

// usage prints CoreDNS's flags, and where the administrator's commands are.
func usage(flags *flag.FlagSet) {
	fmt.Fprintf(flags.Output(), "Usage of %s:\n", flags.Name())
	flags.PrintDefaults()
	fmt.Fprintf(flags.Output(), "\nCommands that check the configuration and administer zones: %s gsstsig help\n", flags.Name())
}
