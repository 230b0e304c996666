package gsstsig

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	golog "log"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// auditing is what an auditor needs: a zone, an identity, an update.
func auditing(t testing.TB) (*zone.Zone, policy.Identity, *dns.Msg) {
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
	return z, policy.Identity{Kind: policy.Kerberos, Name: "host/a.example.test@EXAMPLE.TEST"}, m
}

// record returns a record as a zone's result has it.
func record(t testing.TB, text string) store.Record {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zone.RecordOf(rr)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// changing is the result of an update that gave a name another address.
func changing(t testing.TB) zone.Result {
	soa := "example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. "
	return zone.Result{Rcode: dns.RcodeSuccess, Before: 1, After: 2, Changed: true,
		Removed:  []store.Record{record(t, soa+"1 1 1 1 1"), record(t, "a.example.test. 600 IN A 192.0.2.9"), record(t, `a.example.test. 600 IN TXT "of \"old\""`)},
		Added:    []store.Record{record(t, soa+"2 1 1 1 1"), record(t, "a.example.test. 300 IN A 192.0.2.1")},
		Decision: zone.Decision{Rule: "Corefile:7: grant", Notes: []string{"took \"it\" back", "second"}}}
}

// TestAuditLine fixes the form of the line, which other programs parse: any text is quoted, and stays one line.
func TestAuditLine(t *testing.T) {
	var lines strings.Builder
	golog.SetOutput(&lines)
	defer golog.SetOutput(&logged)
	z, id, m := auditing(t)
	a := newAuditor()
	client := netip.MustParseAddrPort("[2001:db8::1]:5353")
	a.update(z.Origin(), id, sender{client, "udp"}, m, changing(t), corefile.LogWarning)
	a.update(z.Origin(), policy.Identity{}, sender{client, "tcp"}, m, zone.Result{Rcode: dns.RcodeServerFailure, Before: 2, After: 2,
		Decision: zone.Decision{Allow: true, Reason: "owner"}, Err: errors.New("disk\nfull")}, corefile.LogInfo)
	// The error of a refusal repeats its reason.
	refused := zone.Result{Rcode: dns.RcodeRefused, Before: 2, After: 2,
		Decision: zone.Decision{Cause: policy.CauseNoRule, Reason: "no rule"}, Err: errors.New("zone: not permitted: no rule")}
	for _, level := range []corefile.LogLevel{corefile.LogInfo, corefile.LogWarning, corefile.LogError} {
		a.update(z.Origin(), policy.Identity{}, sender{client, "tcp"}, m, refused, level)
	}
	const refusal = `plugin/gsstsig: update zone=example.test. client=[2001:db8::1]:5353 transport=tcp identity="anonymous" ` +
		`rcode=REFUSED serial=2->2 records="-a.example.test. A, +a.example.test. A 192.0.2.1" reason="no rule" cause=no-rule ` +
		`fix="if the client is right, add a grant line for it; \"coredns gsstsig may\" shows which rule decides"` + "\n"
	for _, want := range []string{
		`[INFO] plugin/gsstsig: update zone=example.test. client=[2001:db8::1]:5353 transport=udp ` +
			`identity="host/a.example.test@EXAMPLE.TEST" rcode=NOERROR serial=1->2 records="-a.example.test. A, +a.example.test. A" ` +
			`removed="a.example.test. 600 A 192.0.2.9, a.example.test. 600 TXT \"of \\\"old\\\"\"" added="a.example.test. 300 A 192.0.2.1" ` +
			`rule="Corefile:7: grant" note="took \"it\" back" note="second"` + "\n",
		`[ERROR] plugin/gsstsig: update zone=example.test. client=[2001:db8::1]:5353 transport=tcp identity="anonymous" ` +
			`rcode=SERVFAIL serial=2->2 records="-a.example.test. A, +a.example.test. A 192.0.2.1" reason="owner" error="disk\nfull"` + "\n",
		"[INFO] " + refusal, "[WARNING] " + refusal, "[ERROR] " + refusal,
	} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("logged\n%swant\n%s", lines.String(), want)
		}
	}
}

// TestAuditOfFullDisk: the line about an update that could not be written says what to do.
func TestAuditOfFullDisk(t *testing.T) {
	z, id, m := auditing(t)
	var lines strings.Builder
	golog.SetOutput(&lines)
	defer golog.SetOutput(&logged)
	newAuditor().update(z.Origin(), id, sender{netip.MustParseAddrPort("192.0.2.1:53"), "tcp"}, m, zone.Result{Rcode: dns.RcodeServerFailure, Before: 2, After: 2,
		Decision: zone.Decision{Allow: true}, Err: fmt.Errorf("store: commit: %w", syscall.ENOSPC)}, corefile.LogInfo)
	if want := ` error="store: commit: no space left on device" fix="free space on the disk; updates continue by themselves then"`; !strings.Contains(lines.String(), want) {
		t.Errorf("%s does not have %s", lines.String(), want)
	}
}

// TestAuditOfUnusualData: what a client sent is shown as the rdata that it is, also of types and classes that miekg/dns writes in a
// form of their own.
func TestAuditOfUnusualData(t *testing.T) {
	header := func(rrtype, class uint16) dns.RR_Header {
		return dns.RR_Header{Name: "a.example.test.", Rrtype: rrtype, Class: class, Ttl: 60}
	}
	for _, test := range []struct {
		rr   dns.RR
		want event.Record
	}{
		{&dns.RFC3597{Hdr: header(65400, dns.ClassINET), Rdata: "0a20"}, event.Record{Sign: '+', Type: "TYPE65400", Data: `\# 2 0a20`}},
		{&dns.RFC3597{Hdr: header(65400, dns.ClassNONE), Rdata: "0a20"}, event.Record{Sign: '-', Type: "TYPE65400", Data: `\# 2 0a20`}},
		{&dns.RFC3597{Hdr: header(27, dns.ClassINET), Rdata: "000000"}, event.Record{Sign: '+', Type: "GPOS", Data: `"" "" ""`}},
		{&dns.NULL{Hdr: header(10, dns.ClassINET), Data: "a\nb"}, event.Record{Sign: '+', Type: "NULL", Data: `\# 3 610a62`}},
		{&dns.A{Hdr: header(1, dns.ClassNONE), A: net.IPv4(192, 0, 2, 1)}, event.Record{Sign: '-', Type: "A", Data: "192.0.2.1"}},
	} {
		test.want.Name, test.want.TTL = "a.example.test.", 60
		if got := asked([]dns.RR{test.rr}, true); len(got.List) != 1 || got.List[0] != test.want {
			t.Errorf("%+v, want %+v", got.List, test.want)
		}
	}
}

// TestAuditOfSOA: a line tells what has changed of the SOA record besides its serial.
func TestAuditOfSOA(t *testing.T) {
	const soa = "example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. "
	lost := []store.Record{record(t, soa+"1 1 1 1 1")}
	removed, added := changed(lost, []store.Record{record(t, soa+"2 1 1 1 1")})
	if len(removed.List)+len(added.List) != 0 {
		t.Errorf("the serial alone: %v, %v", removed, added)
	}
	removed, added = changed(lost, []store.Record{record(t, soa+"2 7 1 1 1")})
	if len(removed.List) != 1 || len(added.List) != 1 || added.List[0].Data != "ns1.example.test. hostmaster.example.test. 2 7 1 1 1" {
		t.Errorf("another interval: %v, %v", removed, added)
	}
}

// TestAuditFields: in CoreDNS's JSON format each field of a line is a member of the object, with its type.
func TestAuditFields(t *testing.T) {
	var lines strings.Builder
	flags := golog.Flags()
	if err := clog.Configure("json", &lines); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := clog.Configure("text", &logged); err != nil {
			t.Error(err)
		}
		golog.SetFlags(flags)
	}()
	z, id, m := auditing(t)
	a := newAuditor()
	client := netip.MustParseAddrPort("[2001:db8::1]:5353")
	for range auditRecords {
		m.RemoveName(m.Ns[:1])
	}
	a.update(z.Origin(), id, sender{client, "udp"}, m, changing(t), corefile.LogInfo)
	a.update(z.Origin(), id, sender{client, "udp"}, m, zone.Result{Rcode: dns.RcodeRefused, Before: 2, After: 2,
		Decision: zone.Decision{Cause: policy.CauseDenied, Reason: "denied", Rule: "Corefile:3: deny"}}, corefile.LogWarning)
	a.handshake(gsstsig.Event{Result: gsstsig.ResultBadKey, Client: client, KeyName: "k.", Service: "DNS/ns1@EXAMPLE.TEST",
		TicketKVNO: 4, KeytabKVNOs: []uint32{2, 3}, Reason: "no such version", Fix: "export"})
	const zoneAndClient = `"plugin":"gsstsig","severity":"%s","zone":"example.test.","client":"[2001:db8::1]:5353","transport":"udp",` +
		`"identity":"host/a.example.test@EXAMPLE.TEST",`
	want := []string{
		`{"level":"INFO","msg":"update",` + strings.Replace(zoneAndClient, "%s", "INFO", 1) + `"rcode":"NOERROR","serial_before":1,"serial_after":2,` +
			`"records":["-a.example.test. A","+a.example.test. A","-a.example.test. ANY","-a.example.test. ANY","-a.example.test. ANY",` +
			`"-a.example.test. ANY","-a.example.test. ANY","-a.example.test. ANY","2 more"],` +
			`"removed":["a.example.test. 600 A 192.0.2.9","a.example.test. 600 TXT \"of \\\"old\\\"\""],"added":["a.example.test. 300 A 192.0.2.1"],` +
			`"rule":"Corefile:7: grant","notes":["took \"it\" back","second"]}`,
		`{"level":"INFO","msg":"update",` + strings.Replace(zoneAndClient, "%s", "WARN", 1) + `"rcode":"REFUSED","serial_before":2,"serial_after":2,` +
			`"records":["-a.example.test. A","+a.example.test. A 192.0.2.1","-a.example.test. ANY","-a.example.test. ANY","-a.example.test. ANY",` +
			`"-a.example.test. ANY","-a.example.test. ANY","-a.example.test. ANY","2 more"],"rule":"Corefile:3: deny","reason":"denied","cause":"denied",` +
			`"fix":"change the deny line if the client is right: the first rule that matches decides"}`,
		`{"level":"INFO","msg":"handshake","plugin":"gsstsig","severity":"WARN","result":"badkey","client":"[2001:db8::1]:5353","key":"k.",` +
			`"service":"DNS/ns1@EXAMPLE.TEST","kvno":4,"keytab_kvno":[2,3],"reason":"no such version","fix":"export"}`,
	}
	got := strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d lines:\n%s", len(got), lines.String())
	}
	for i, line := range got {
		if _, rest, _ := strings.Cut(line, ","); "{"+rest != want[i] || !json.Valid([]byte(line)) {
			t.Errorf("%s\nwant, after the time,\n%s", line, want[i])
		}
	}
}

// TestKeptEvents: events are kept only while someone can see them, those too for which the log has no room.
func TestKeptEvents(t *testing.T) {
	golog.SetOutput(io.Discard)
	defer golog.SetOutput(&logged)
	z, id, m := auditing(t)
	a := newAuditor()
	client := netip.MustParseAddrPort("192.0.2.7:5353")
	happen := func() {
		a.update(z.Origin(), id, sender{client, "udp"}, m, changing(t), corefile.LogInfo)
		a.update(z.Origin(), id, sender{client, "udp"}, m, zone.Result{Rcode: dns.RcodeRefused, Decision: zone.Decision{Cause: policy.CauseDenied}}, corefile.LogInfo)
		a.notAuthoritative("dns://127.0.0.1:53", net.UDPAddrFromAddrPort(client), nil, new(dns.Msg).SetUpdate("elsewhere.test."))
		a.handshake(gsstsig.Event{Result: gsstsig.ResultBadKey, Client: client})
		a.handshake(gsstsig.Event{Result: gsstsig.ResultEstablished, Client: client})
		a.signature(client, &gsstsig.VerifyError{})
	}
	count := func() (n [5]int) {
		r := a.recent
		for i, groups := range [][]event.Group[event.Update]{r.Changes("example.test."), r.Refusals("example.test."), r.Elsewhere()} {
			for _, g := range groups {
				n[i] += g.Count
			}
		}
		for i, kind := range []event.Kind{event.Handshake, event.Signature} {
			for _, g := range r.Failures(kind) {
				n[3+i] += g.Count
			}
		}
		return n
	}
	happen()
	if n := count(); n != [5]int{} {
		t.Errorf("%v events are kept, though nobody can see them", n)
	}
	a.watchers.Add(1)
	happen()
	if n := count(); n != [5]int{1, 1, 1, 1, 1} {
		t.Errorf("%v events are kept", n)
	}
	got := a.recent.Changes("example.test.")[0].Events[0]
	if len(got.Removed.List) != 2 || got.Removed.List[0].String() != "a.example.test. A 192.0.2.9" || got.Added.List[0].Data != "192.0.2.1" {
		t.Errorf("%+v", got)
	}
}

// TestCauses: each refusal has one of the causes that the metric counts, and each of these has advice.
func TestCauses(t *testing.T) {
	reference, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, cause := range append(causes, causeNotAuth) {
		if !strings.Contains(string(reference), "| `"+cause+"` |") {
			t.Errorf("the README does not explain %s", cause)
		}
		if fixFor(cause, &event.Update{Rcode: "NOTAUTH"}) == "" {
			t.Errorf("%s: no advice", cause)
		}
	}
	for cause, commands := range map[string][]string{
		policy.CauseOwned:         {"coredns gsstsig own pc.example.test. 'PC$@EXAMPLE.TEST'", "coredns gsstsig release pc.example.test."},
		policy.CauseBelow:         {"coredns gsstsig own pc.example.test. 'PC$@EXAMPLE.TEST'", "coredns gsstsig edit example.test."},
		policy.CauseAdministrator: {"coredns gsstsig own pc.example.test. 'PC$@EXAMPLE.TEST'", "coredns gsstsig edit example.test."},
		zone.CauseFrozen:          {"coredns gsstsig thaw example.test."},
	} {
		for _, command := range commands {
			if fix := fixFor(cause, &event.Update{Zone: "example.test.", Name: "pc.example.test.", Identity: "PC$@EXAMPLE.TEST", Signed: true}); !strings.Contains(fix, command) {
				t.Errorf("%s: %q does not name %q", cause, fix, command)
			}
		}
	}
	long := strings.Repeat("a", auditName) + "..."
	for e, command := range map[*event.Update]string{
		{Name: "a.example.test.", Identity: "key dhcp.", Signed: true}:                        "own a.example.test. dhcp.",
		{Name: "a.example.test.", Identity: "host/a.example.test@EXAMPLE.TEST", Signed: true}: "own a.example.test. host/a.example.test@EXAMPLE.TEST.",
		{Name: "a.example.test.", Identity: "anonymous"}:                                      "own a.example.test. PRINCIPAL",
		{Name: `a';reboot;'.example.test.`, Identity: "a'$(reboot)@B", Signed: true}:          "own NAME PRINCIPAL",
		{Name: "-o", Identity: long, Signed: true}:                                            "own NAME PRINCIPAL",
		{Name: long, Identity: "a\n@B", Signed: true}:                                         "own NAME PRINCIPAL",
		{}: "own NAME PRINCIPAL",
	} {
		if fix := fixFor(policy.CauseOwned, e); !strings.Contains(fix, "coredns gsstsig "+command) {
			t.Errorf("%+v: %q", e, fix)
		}
	}
	for _, test := range []struct {
		result zone.Result
		want   string
	}{
		{zone.Result{Rcode: dns.RcodeSuccess}, ""},
		{zone.Result{Rcode: dns.RcodeServerFailure, Err: errors.New("disk full")}, ""},
		{zone.Result{Rcode: dns.RcodeRefused, Decision: zone.Decision{Cause: policy.CauseOwned}}, policy.CauseOwned},
		{zone.Result{Rcode: dns.RcodeRefused, Err: &zone.LimitError{Limit: "ZoneRecords"}}, causeLimit},
		{zone.Result{Rcode: dns.RcodeRefused, Err: &zone.LimitError{Limit: "Queue"}}, causeQueue},
		{zone.Result{Rcode: dns.RcodeRefused, Err: &zone.LimitError{Limit: "QueueOctets"}}, causeQueue},
		{zone.Result{Rcode: dns.RcodeRefused, Err: errors.New("not permitted"), Decision: zone.Decision{Reason: "a.example.test. has no owner"}}, ""},
	} {
		if got := causeOf(test.result); got != test.want {
			t.Errorf("%+v: cause %q, want %q", test.result, got, test.want)
		}
	}
}

func BenchmarkAudit(b *testing.B) {
	golog.SetOutput(io.Discard)
	defer golog.SetOutput(&logged)
	z, id, m := auditing(b)
	client := netip.MustParseAddrPort("192.0.2.7:5353")
	for _, kept := range []bool{false, true} {
		b.Run(map[bool]string{false: "logged", true: "logged and kept"}[kept], func(b *testing.B) {
			a := newAuditor()
			if kept {
				a.watchers.Add(1)
			}
			result := changing(b)
			b.ReportAllocs()
			for b.Loop() {
				a.update(z.Origin(), id, sender{client, "udp"}, m, result, corefile.LogInfo)
			}
		})
	}
}
