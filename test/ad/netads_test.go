//go:build e2e && linux

package ad

import (
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// netUpdate is a line of the plugin log for an UPDATE message: its ID and its reply's code.
var netUpdate = regexp.MustCompile(`- (\d+) "SOA IN corp\.test\. tcp [^\n]*" ([A-Z]+) `)

// updatesSince lists ID and result of the UPDATE messages that the server has answered since the log had the given length.
func updatesSince(from int) []string {
	var found []string
	for _, m := range netUpdate.FindAllStringSubmatch(shared.domain.dns.Log().String()[from:], -1) {
		found = append(found, m[1]+" "+m[2])
	}
	return found
}

// Net tries its three steps with these message IDs, always the same.
const (
	netProbe    = "9158"  // unsigned, prerequisites only: is everything as it should be?
	netUnsigned = "39017" // the update, unsigned
	netSigned   = "18547" // the update, signed
)

// TestNetADSDNS registers and unregisters names by Samba's net with the machine's account. Net tries without a signature
// first; in secure mode both tries must be refused, whatever is in the zone.
func TestNetADSDNS(t *testing.T) {
	n := client1.joined(t)
	net := func(t *testing.T, want []string, args ...string) {
		t.Helper()
		from := shared.domain.dns.Log().Len()
		said, err := n.Output(n.Command(testContext(t), "net", append([]string{"ads", "dns"}, append(args, "-P")...)...))
		if err != nil {
			t.Error(err)
		}
		// The server logs a request after it has answered it.
		got := updatesSince(from)
		for deadline := time.Now().Add(5 * time.Second); len(got) < len(want) && time.Now().Before(deadline); got = updatesSince(from) {
			runtime.Gosched()
		}
		if !slices.Equal(got, want) {
			t.Errorf("net ads dns %v: %q, want %q; it said:\n%s\nThe server said:\n%s", args, got, want, said,
				shared.domain.dns.Log().String()[from:])
		}
	}
	secure := []string{netProbe + " REFUSED", netUnsigned + " REFUSED", netSigned + " NOERROR"}
	tested.Path(t, netADS, "dns unregister and register, signed after two refusals")
	net(t, secure, "unregister", n.Host())
	expect(t, n.Host(), dns.TypeA)
	expect(t, n.Host(), dns.TypeAAAA)
	for range 2 {
		net(t, secure, "register")
		expect(t, n.Host(), dns.TypeA, "10.77.0.101")
		expect(t, n.Host(), dns.TypeAAAA, "fd77::101")
	}

	// docs/errors.md has what it says when the update is refused.
	said, err := n.Output(n.Command(testContext(t), "net", "ads", "dns", "register", "ns1."+zone, "10.77.0.150", "-P"))
	if err == nil || !strings.Contains(said, "ERROR_DNS_UPDATE_FAILED") {
		t.Errorf("%v\n%s", err, said)
	}

	tested.Path(t, netADS, "dns register, unsigned where that is allowed")
	d := shared.domain
	reconfigure(t, d.corefile("nonsecure-and-secure", rules))
	const other = "printer.corp.test"
	net(t, []string{netProbe + " NXRRSET", netUnsigned + " NOERROR"}, "register", other, "10.77.0.150")
	net(t, []string{netProbe + " NOERROR"}, "register", other, "10.77.0.150")
	expect(t, other, dns.TypeA, "10.77.0.150")
	net(t, []string{netProbe + " NOERROR", netUnsigned + " NOERROR"}, "unregister", other)
	expect(t, other, dns.TypeA)
	// A name that a principal owns stays closed to unsigned updates.
	net(t, []string{netProbe + " NXRRSET", netUnsigned + " REFUSED", netSigned + " NOERROR"}, "register", n.Host(), "10.77.0.151")
	expect(t, n.Host(), dns.TypeA, "10.77.0.151")
	net(t, []string{netProbe + " NXRRSET", netUnsigned + " REFUSED", netSigned + " NOERROR"}, "register")
}
