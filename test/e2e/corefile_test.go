//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// Zones of most tests: a forward and a reverse one, whose apex is made from the keytab.
const (
	forwardZone = "example.test"
	reverseZone = "2.0.192.in-addr.arpa"
)

// secureBlock is the server block of those zones. Lines are more of the gsstsig block, such as "updates none".
func secureBlock(lines ...string) string {
	return fmt.Sprintf("%s %s {\n    bind 127.0.0.1\n    gsstsig {\n        keytab %s\n        %s\n    }\n    log\n    errors\n}\n",
		forwardZone, reverseZone, shared.keytab, strings.Join(lines, "\n        "))
}

// startSecure starts a server with that block.
func startSecure(t *testing.T, lines ...string) netip.AddrPort {
	t.Helper()
	return startCoreDNS(t, server.Config{Corefile: secureBlock(lines...), Probe: forwardZone}).Address
}
