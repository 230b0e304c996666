package page

import (
	"net"
	"net/netip"
	"strings"
)

// hostOf returns the host of a header Host, in lower case and without port, brackets and final dot.
func hostOf(header string) string {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Hosts returns a function for [New] that accepts addresses, localhost, and the given names. An address cannot be that of a page
// elsewhere: a browser that shows one with an address for its name has it from that address.
func Hosts(names ...string) func(host string) bool {
	known := map[string]bool{"localhost": true}
	for _, name := range names {
		known[hostOf(name)] = true
	}
	return func(host string) bool {
		_, err := netip.ParseAddr(host)
		return err == nil || known[host]
	}
}
