package gsstsig

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// TestUpdateOfUnservedZone: an update of a zone that no server block has is NOTAUTH (RFC 2136 section 3.1.2), signed if it was
// signed, and there is a line about it, whether or not a block for the root takes the other names.
func TestUpdateOfUnservedZone(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.1.1 authority")
	own := smallCorefile[:strings.Index(smallCorefile, ".:{PORT}")]
	for name, corefile := range map[string]string{"alone": own, "beside the root": smallCorefile} {
		t.Run(name, func(t *testing.T) {
			s := start(t, corefile)
			host := s.context("host/client1.example.test")
			for zone, owner := range map[string]string{"3.0.192.in-addr.arpa.": "", "deep.example.test.": "example.test."} {
				if owner == "" {
					owner = zone
				}
				line := []string{"update zone=" + owner, "rcode=NOTAUTH", `records="+1.` + zone, `fix="add the zone to a server block`}
				signed, unsigned := append(line, `identity="host/client1.example.test@EXAMPLE.TEST"`), append(line, `identity="anonymous"`)
				before, anonymous := len(logged.lines(signed...)), len(logged.lines(unsigned...))
				m := message(t, zone, "+1."+zone+" 300 PTR client1.example.test.")
				want(t, zone+" signed", s.signed(host, m), dns.RcodeNotAuth)
				want(t, zone+" unsigned", s.exchange(m).Rcode, dns.RcodeNotAuth)
				want(t, "lines about the signed one", len(logged.lines(signed...))-before, 1)
				want(t, "lines about the unsigned one", len(logged.lines(unsigned...))-anonymous, 1)
			}
			// A name that tries to look like fields of the line.
			m := message(t, `a\ rcode=NOERROR\ b.test.`)
			want(t, "hostile name", s.exchange(m).Rcode, dns.RcodeNotAuth)
			want(t, "lines about the hostile name", len(logged.lines(`zone="a\\ rcode=NOERROR`)) > 0, true)
			// A signature that does not verify comes first.
			bad := message(t, "3.0.192.in-addr.arpa.").SetTsig("nokey.", dns.HmacSHA256, 300, time.Now().Unix())
			wire, _, err := dns.TsigGenerate(bad, "c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgb2N0ZXRz", "", false)
			if err != nil {
				t.Fatal(err)
			}
			reply := s.exchangeOctets("udp", wire)
			if tsig := reply.IsTsig(); reply.Rcode != dns.RcodeNotAuth || tsig == nil || tsig.Error != dns.RcodeBadKey {
				t.Errorf("unknown key: %v", reply)
			}
		})
	}
	// A block without gsstsig has this zone, and takes no updates of it.
	s := start(t, smallCorefile)
	want(t, "the root", s.exchange(message(t, ".", "+a. 300 A 192.0.2.1")).Rcode, dns.RcodeNotImplemented)
}

// exchangeOctets sends octets as they are.
func (s *coredns) exchangeOctets(network string, wire []byte) *dns.Msg {
	s.t.Helper()
	conn, err := dns.DialTimeout(network, s.address, 10*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.UDPSize = 4096
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.Write(wire); err != nil {
		s.t.Fatal(err)
	}
	reply := new(dns.Msg)
	if octets, err := conn.ReadMsgHeader(nil); err != nil || reply.Unpack(octets) != nil {
		s.t.Fatalf("reply of %d octets, %v", len(octets), err)
	}
	return reply
}

// TestTransferRcodes: what is not a query for the transfer of one of the zones is told so, and nothing is left to CoreDNS's
// failure for a missing plugin.
func TestTransferRcodes(t *testing.T) {
	standard.Requires(t, "RFC 5936", "2.2 not authoritative", "5 authorization")
	standard.Requires(t, "RFC 1995", "3 query")
	soa := func(name string) *dns.SOA {
		return &dns.SOA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: 1}
	}
	ixfr := func(change func(m *dns.Msg)) *dns.Msg {
		m := new(dns.Msg).SetIxfr("example.test.", 1, ".", ".")
		change(m)
		return m
	}
	empty := &dns.ANY{Hdr: dns.RR_Header{Name: "example.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}}
	otherClass := soa("example.test.")
	otherClass.Hdr.Class = dns.ClassCHAOS
	queries := map[string]struct {
		m     *dns.Msg
		rcode int // 0: depends on the server
	}{
		"AXFR of the zone":      {new(dns.Msg).SetAxfr("example.test."), 0},
		"AXFR in other letters": {new(dns.Msg).SetAxfr("EXAMPLE.test."), 0},
		"AXFR below the apex":   {new(dns.Msg).SetAxfr("ns1.example.test."), dns.RcodeNotAuth},
		"AXFR of no name":       {new(dns.Msg).SetAxfr("gone.example.test."), dns.RcodeNotAuth},
		"IXFR of the zone":      {ixfr(func(*dns.Msg) {}), 0},
		"IXFR below the apex":   {new(dns.Msg).SetIxfr("ns1.example.test.", 1, ".", "."), dns.RcodeNotAuth},
		"IXFR without SOA":      {ixfr(func(m *dns.Msg) { m.Ns = nil }), dns.RcodeFormatError},
		"IXFR, SOA as answer":   {ixfr(func(m *dns.Msg) { m.Answer, m.Ns = m.Ns, nil }), dns.RcodeFormatError},
		"IXFR, SOA too late":    {ixfr(func(m *dns.Msg) { m.Extra, m.Ns = m.Ns, nil }), dns.RcodeFormatError},
		"IXFR, SOA of another":  {ixfr(func(m *dns.Msg) { m.Ns = []dns.RR{soa("ns1.example.test.")} }), dns.RcodeFormatError},
		"IXFR, empty SOA":       {ixfr(func(m *dns.Msg) { m.Ns = []dns.RR{empty} }), dns.RcodeFormatError},
		"IXFR, SOA of class CH": {ixfr(func(m *dns.Msg) { m.Ns = []dns.RR{otherClass} }), dns.RcodeFormatError},
		"IXFR with something": {ixfr(func(m *dns.Msg) {
			m.Ns = m.Ns[:0]
			m.Ns = append(m.Ns, &dns.NS{Hdr: dns.RR_Header{Name: "example.test.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "."})
		}), dns.RcodeFormatError},
		"IXFR in other letters": {ixfr(func(m *dns.Msg) { m.Ns[0].Header().Name = "EXAMPLE.TEST." }), 0},
	}
	for name, corefile := range map[string]struct {
		text  string
		zones int
	}{
		"with transfer":      {transferCorefile, dns.RcodeSuccess},
		"without transfer":   {smallCorefile, dns.RcodeRefused},
		"transfer of others": {strings.Replace(transferCorefile, "transfer {", "transfer other.test {", 1), dns.RcodeRefused},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(logged.lines("no next plugin found"))
			s := start(t, corefile.text)
			for what, query := range queries {
				c := &dns.Client{Net: "tcp", Timeout: 10 * time.Second}
				reply, _, err := c.Exchange(query.m.Copy(), s.address)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				rcode := query.rcode
				if rcode == 0 {
					rcode = corefile.zones
				}
				want(t, what, dns.RcodeToString[reply.Rcode], dns.RcodeToString[rcode])
			}
			want(t, "lines about missing plugins", len(logged.lines("no next plugin found"))-before, 0)
		})
	}
}

// TestNotify: a NOTIFY about a zone that this server is the primary of is answered and changes nothing, as with BIND.
func TestNotify(t *testing.T) {
	standard.Requires(t, "RFC 1996", "3.7 message", "3.11 SOA", "3.10 not a primary", "4 answer")
	before := len(logged.lines("no next plugin found"))
	s := start(t, smallCorefile)
	for name, test := range map[string]struct {
		qtype         uint16
		rcode         int
		authoritative bool
	}{
		"example.test.":     {dns.TypeSOA, dns.RcodeSuccess, true},
		"Example.TEST.":     {dns.TypeSOA, dns.RcodeSuccess, true},
		"sub.example.test.": {dns.TypeSOA, dns.RcodeNotAuth, false},
		"EXAMPLE.test.":     {dns.TypeA, dns.RcodeFormatError, false},
	} {
		m := new(dns.Msg).SetNotify(name)
		m.Question[0].Qtype = test.qtype
		reply := s.exchange(m)
		want(t, name, dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
		want(t, name+" AA", reply.Authoritative, test.authoritative)
		want(t, name+" opcode", reply.Opcode, dns.OpcodeNotify)
	}
	want(t, "lines about missing plugins", len(logged.lines("no next plugin found"))-before, 0)
}

// TestTransferOverTLS: a transfer needs TLS 1.3, and the agreement on the protocol (RFC 9103 sections 7.1 and 7.2).
func TestTransferOverTLS(t *testing.T) {
	standard.Requires(t, "RFC 9103", "7.1 ALPN", "7.2 TLS 1.3", "7.8 refused")
	logTLSFailures(t)
	dot := freeAddress(t)
	_, port, err := net.SplitHostPort(dot)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := certificateFiles(t)
	for _, addresses := range []string{"example.test:{PORT} tls://example.test:" + port, "tls://example.test:" + port + " example.test:{PORT}"} {
		s := start(t, addresses+fmt.Sprintf(" {\n bind 127.0.0.1\n tls %s %s\n gsstsig {\n  keytab {KEYTAB}\n }\n transfer {\n  to *\n }\n}\n", certificate, key))
		for _, refused := range []*tls.Config{
			{InsecureSkipVerify: true},
			{InsecureSkipVerify: true, NextProtos: []string{"dot"}, MaxVersion: tls.VersionTLS12},
		} {
			conn, err := tls.Dial("tcp", dot, refused)
			if err != nil {
				t.Fatal(err)
			}
			overTLS := &dns.Conn{Conn: conn}
			for _, question := range []*dns.Msg{new(dns.Msg).SetAxfr("example.test."), new(dns.Msg).SetIxfr("example.test.", 1, "ns1.example.test.", "x.example.test.")} {
				before := len(logged.lines("a zone transfer needs TLS 1.3"))
				if err := overTLS.WriteMsg(question); err != nil {
					t.Fatal(err)
				}
				reply, err := overTLS.ReadMsg()
				if err != nil {
					t.Fatal(err)
				}
				want(t, fmt.Sprintf("%s by TLS %x, protocols %v", addresses, conn.ConnectionState().Version, refused.NextProtos), reply.Rcode, dns.RcodeRefused)
				want(t, "lines that say why", len(logged.lines("a zone transfer needs TLS 1.3"))-before, 1)
			}
			conn.Close()
		}
		for _, protocols := range [][]string{{"dot"}, {"h2", "dot"}} {
			conn, err := tls.Dial("tcp", dot, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
			if err != nil {
				t.Fatalf("%s, protocols %v: %v", addresses, protocols, err)
			}
			want(t, fmt.Sprintf("%s, protocols %v", addresses, protocols), conn.ConnectionState().NegotiatedProtocol, "dot")
			transfer := &dns.Transfer{Conn: &dns.Conn{Conn: conn}}
			envelopes, err := transfer.In(new(dns.Msg).SetAxfr("example.test."), "")
			if err != nil {
				t.Fatal(err)
			}
			records := 0
			for e := range envelopes {
				if e.Error != nil {
					t.Fatal(e.Error)
				}
				records += len(e.RR)
			}
			want(t, "records", records, 4) // SOA twice, NS, the address of ns1
			conn.Close()
		}
		s.stop()
	}
}

// TestOtherClasses: all zones are of class IN, also where CoreDNS passes on other classes because of a plugin that answers
// some of them.
func TestOtherClasses(t *testing.T) {
	s := start(t, strings.Replace(transferCorefile, "\ttransfer {", "\tforward forwarded.test 127.0.0.1:1\n\ttransfer {", 1))
	ask := func(opcode int, qtype, class uint16) *dns.Msg {
		m := new(dns.Msg).SetQuestion("example.test.", qtype)
		m.Opcode, m.Question[0].Qclass = opcode, class
		return m
	}
	for what, test := range map[string]struct {
		m     *dns.Msg
		rcode int
	}{
		"query, CH":  {ask(dns.OpcodeQuery, dns.TypeSOA, dns.ClassCHAOS), dns.RcodeRefused},
		"query, HS":  {ask(dns.OpcodeQuery, dns.TypeSOA, dns.ClassHESIOD), dns.RcodeRefused},
		"query, 0":   {ask(dns.OpcodeQuery, dns.TypeSOA, 0), dns.RcodeRefused},
		"query, ANY": {ask(dns.OpcodeQuery, dns.TypeSOA, dns.ClassANY), dns.RcodeSuccess},
		"query, IN":  {ask(dns.OpcodeQuery, dns.TypeSOA, dns.ClassINET), dns.RcodeSuccess},
		"AXFR, CH":   {ask(dns.OpcodeQuery, dns.TypeAXFR, dns.ClassCHAOS), dns.RcodeNotAuth},
		"NOTIFY, CH": {ask(dns.OpcodeNotify, dns.TypeSOA, dns.ClassCHAOS), dns.RcodeNotAuth},
		"UPDATE, CH": {ask(dns.OpcodeUpdate, dns.TypeSOA, dns.ClassCHAOS), dns.RcodeNotAuth},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if network == "udp" && test.m.Question[0].Qtype == dns.TypeAXFR {
				continue
			}
			reply, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).Exchange(test.m.Copy(), s.address)
			if err != nil {
				t.Fatalf("%s by %s: %v", what, network, err)
			}
			want(t, what+" by "+network, dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
			if test.rcode != dns.RcodeSuccess {
				want(t, what+" by "+network+", records", len(reply.Answer), 0)
			}
		}
	}
}
