package extrablock

import (
	"slices"

	"github.com/coredns/coredns/core/dnsserver"

	_ "github.com/gsstsig/coredns-gsstsig/plugin/gsstsig" // registers the directive
)

// The ready binary has gsstsig at the same place.
func init() {
	if i := slices.Index(dnsserver.Directives, "transfer"); i >= 0 {
		dnsserver.Directives = slices.Insert(slices.Clone(dnsserver.Directives), i, "gsstsig")
	}
}
