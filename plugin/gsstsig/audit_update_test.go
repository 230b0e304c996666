package gsstsig

import (
	"errors"
	"io"
	clog "log"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// auditing is what audit needs: a zone, an identity, an update.
func auditing(t testing.TB) (*Handler, *zone.Zone, policy.Identity, *dns.Msg) {
	z, err := zone.Open(zone.Config{Origin: "example.test.", Store: store.NewMemory(store.MemoryOptions{}), Seed: func() ([]store.Record, error) {
		return zone.GeneratedApex("example.test.", "ns1.example.test.")
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	m := new(dns.Msg).SetUpdate("example.test.")
	rr, err := dns.NewRR("a.example.test. 300 IN A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	m.RemoveRRset([]dns.RR{rr})
	m.Insert([]dns.RR{rr})
	return &Handler{}, z, policy.Identity{Kind: policy.Kerberos, Name: "host/a.example.test@EXAMPLE.TEST"}, m
}

// TestAuditLine fixes the form of the line, which other programs parse: any text is quoted, and stays one line.
func TestAuditLine(t *testing.T) {
	var lines strings.Builder
	clog.SetOutput(&lines)
	defer clog.SetOutput(&logged)
	h, z, id, m := auditing(t)
	client := netip.MustParseAddrPort("[2001:db8::1]:5353")
	h.audit(z, id, client, m, zone.Result{Rcode: dns.RcodeSuccess, Before: 1, After: 2, Changed: true,
		Decision: zone.Decision{Rule: "Corefile:7: grant", Notes: []string{"took \"it\" back"}}})
	h.audit(z, policy.Identity{TCP: true}, client, m, zone.Result{Rcode: dns.RcodeServerFailure, Before: 2, After: 2,
		Decision: zone.Decision{Allow: true, Reason: "owner"}, Err: errors.New("disk\nfull")})
	// The error of a refusal repeats its reason.
	h.audit(z, policy.Identity{TCP: true}, client, m, zone.Result{Rcode: dns.RcodeRefused, Before: 2, After: 2,
		Decision: zone.Decision{Reason: "no rule"}, Err: errors.New("zone: not permitted: no rule")})
	for _, want := range []string{
		`[INFO] plugin/gsstsig: update zone=example.test. client=[2001:db8::1]:5353 transport=udp ` +
			`identity="host/a.example.test@EXAMPLE.TEST" rcode=NOERROR serial=1->2 records="-a.example.test. A, +a.example.test. A" ` +
			`rule="Corefile:7: grant" note="took \"it\" back"` + "\n",
		`[ERROR] plugin/gsstsig: update zone=example.test. client=[2001:db8::1]:5353 transport=tcp identity="anonymous" ` +
			`rcode=SERVFAIL serial=2->2 records="-a.example.test. A, +a.example.test. A" reason="owner" error="disk\nfull"` + "\n",
		`[INFO] plugin/gsstsig: update zone=example.test. client=[2001:db8::1]:5353 transport=tcp identity="anonymous" ` +
			`rcode=REFUSED serial=2->2 records="-a.example.test. A, +a.example.test. A" reason="no rule"` + "\n",
	} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("logged\n%swant\n%s", lines.String(), want)
		}
	}
}

func BenchmarkAudit(b *testing.B) {
	clog.SetOutput(io.Discard)
	defer clog.SetOutput(&logged)
	h, z, id, m := auditing(b)
	client := netip.MustParseAddrPort("192.0.2.7:5353")
	result := zone.Result{Rcode: dns.RcodeSuccess, Before: 1, After: 2, Changed: true,
		Decision: zone.Decision{Rule: "Corefile:7: grant EXAMPLE.TEST owner ."}}
	b.ReportAllocs()
	for b.Loop() {
		h.audit(z, id, client, m, result)
	}
}
