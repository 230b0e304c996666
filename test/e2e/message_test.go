//go:build e2e

package e2e

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
)

// rr parses a record in presentation form.
func rr(t *testing.T, text string) dns.RR {
	t.Helper()
	record, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// add is an UPDATE message that adds records to a zone.
func add(t *testing.T, zone string, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetUpdate(dns.Fqdn(zone))
	for _, record := range records {
		m.Insert([]dns.RR{rr(t, record)})
	}
	return m
}

// remove is an UPDATE message that removes all of a name.
func remove(t *testing.T, zone, name string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetUpdate(dns.Fqdn(zone))
	m.RemoveName([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: dns.Fqdn(name)}}})
	return m
}

// exchange sends a message without signature.
func exchange(t *testing.T, server netip.AddrPort, network string, m *dns.Msg) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: 10 * time.Second}
	reply, _, err := client.ExchangeContext(testContext(t), m, server.String())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// values asks for a name and type and returns the records' data in presentation form, sorted.
func values(t *testing.T, server netip.AddrPort, name string, qtype uint16) []string {
	t.Helper()
	reply := exchange(t, server, "udp", new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype))
	var data []string
	for _, record := range reply.Answer {
		data = append(data, record.String()[len(record.Header().String()):])
	}
	slices.Sort(data)
	return data
}

// expect fails the test unless a name has exactly the given data.
func expect(t *testing.T, server netip.AddrPort, name string, qtype uint16, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := values(t, server, name, qtype); !slices.Equal(got, want) {
		t.Errorf("%s %s is %q, want %q", name, dns.TypeToString[qtype], got, want)
	}
}

// serial is that of a zone's SOA.
func serial(t *testing.T, server netip.AddrPort, zone string) uint32 {
	t.Helper()
	reply := exchange(t, server, "udp", new(dns.Msg).SetQuestion(dns.Fqdn(zone), dns.TypeSOA))
	if len(reply.Answer) == 1 {
		if soa, ok := reply.Answer[0].(*dns.SOA); ok {
			return soa.Serial
		}
	}
	t.Fatalf("no SOA for %s: %s", zone, reply)
	return 0
}

// nsupdate runs it with the given authentication.
func nsupdate(ctx context.Context, t *testing.T, server netip.AddrPort, auth string, env []string, commands ...string) dnsutils.Outcome {
	t.Helper()
	outcome, err := dnsutils.Update{Server: server, Auth: auth, Env: env, Commands: commands}.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}
