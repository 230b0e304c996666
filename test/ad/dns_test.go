//go:build e2e && linux

package ad

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
)

// records asks ns1 from a node, and returns the data of the records in the answer, sorted.
func records(from *node.Node, name string, qtype uint16) ([]string, error) {
	return recordsOf(from, nsAddress, name, qtype)
}

// recordsOf asks another server.
func recordsOf(from *node.Node, server netip.AddrPort, name string, qtype uint16) ([]string, error) {
	conn, err := from.Dial("tcp", server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return dnsutils.Records(conn, name, qtype)
}

// wantRecords tells what is wrong with the answer to a query, if something is.
func wantRecords(name string, qtype uint16, want ...string) error {
	got, err := records(shared.domain.ns, name, qtype)
	if err != nil {
		return err
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		return fmt.Errorf("%s %s is %q, want %q", name, dns.TypeToString[qtype], got, want)
	}
	return nil
}

// expect fails the test unless the answer to a query is as wanted.
func expect(t *testing.T, name string, qtype uint16, want ...string) {
	t.Helper()
	if err := wantRecords(name, qtype, want...); err != nil {
		t.Error(err)
	}
}

// reconfigure has ns1 load another Corefile until the test ends.
func reconfigure(t *testing.T, corefile string) {
	t.Helper()
	d := shared.domain
	if err := d.dns.Reload(testContext(t), corefile); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.dns.Reload(context.WithoutCancel(shared.ctx), d.corefile("secure", rules)); err != nil {
			t.Error(err)
		}
	})
}
