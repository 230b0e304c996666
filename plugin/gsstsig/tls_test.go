package gsstsig

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"
)

// TestTransportOfUpdates: log and metrics tell updates by TLS from those by UDP and TCP, also for a zone that nobody has.
func TestTransportOfUpdates(t *testing.T) {
	dot := freeAddress(t)
	_, port, err := net.SplitHostPort(dot)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := certificateFiles(t)
	s := start(t, `example.test:{PORT} tls://example.test:`+port+` {
	bind 127.0.0.1
	tls `+certificate+" "+key+`
	gsstsig {
		keytab {KEYTAB}
		updates nonsecure-and-secure
	}
}
`)
	for n, by := range []struct{ transport, network, address string }{{"udp", "udp", s.address}, {"tcp", "tcp", s.address}, {"tls", "tcp-tls", dot}} {
		name := fmt.Sprintf("%d.transport.example.test.", n)
		lines := func() int { return len(logged.lines("update zone=example.test.", "transport="+by.transport, "+"+name)) }
		of := func(zone, rcode string) float64 {
			return metric(t, "coredns_gsstsig_updates_total", "zone", zone, "transport", by.transport, "rcode", rcode)
		}
		linesBefore, done, elsewhere := lines(), of("example.test.", "NOERROR"), of("", "NOTAUTH")
		client := &dns.Client{Net: by.network, TLSConfig: &tls.Config{InsecureSkipVerify: true}, Timeout: 10 * time.Second}
		for _, m := range []*dns.Msg{message(t, "example.test.", "+"+name+" 300 A 192.0.2.1"), message(t, "elsewhere.test.", "+a.elsewhere.test. 300 A 192.0.2.1")} {
			if _, _, err := client.Exchange(m, by.address); err != nil {
				t.Fatal(err)
			}
		}
		want(t, "lines about "+by.transport, lines()-linesBefore, 1)
		want(t, "updates by "+by.transport, of("example.test.", "NOERROR")-done, 1)
		want(t, "updates of a zone that nobody has, by "+by.transport, of("", "NOTAUTH")-elsewhere, 1)
	}
}

// TestExpiredCertificate: the start says that clients will refuse the certificate.
func TestExpiredCertificate(t *testing.T) {
	dot := freeAddress(t)
	_, port, err := net.SplitHostPort(dot)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := expiredCertificateFiles(t)
	start(t, "example.test:{PORT} tls://example.test:"+port+" {\n bind 127.0.0.1\n tls "+certificate+" "+key+"\n gsstsig {\n  keytab {KEYTAB}\n }\n}")
	want(t, "lines about the certificate", len(logged.lines("[ERROR]", "the certificate of tls://example.test.:"+port+" was valid until", "Fix: renew the certificate")), 1)
}

// TestEverythingByTLS: with an address of DNS over TLS alone a client negotiates, updates, asks and transfers by one context.
func TestEverythingByTLS(t *testing.T) {
	certificate, key := certificateFiles(t)
	s := start(t, "tls://example.test:{PORT} {\n bind 127.0.0.1\n tls "+certificate+" "+key+"\n gsstsig {\n  keytab {KEYTAB}\n  transfers EXAMPLE.TEST\n }\n}")
	s.tls = &tls.Config{InsecureSkipVerify: true}
	host := s.context("host/client1.example.test")
	want(t, "update", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	want(t, "update of another's name", s.signed(s.context("host/client2.example.test"), message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.2")), dns.RcodeRefused)
	reply, err := host.Exchange(t.Context(), new(dns.Msg).SetQuestion("client1.example.test.", dns.TypeA))
	if err != nil || len(reply.Answer) != 1 {
		t.Errorf("query: %v, %v", err, reply)
	}
	want(t, "transfer", s.mayTransfer(host), true)
	want(t, "incremental transfer", s.mayTransfer(host, 1), true)
	s.tls.MaxVersion = tls.VersionTLS12
	want(t, "transfer by TLS 1.2", s.mayTransfer(s.context("host/client1.example.test")), false)
	if err := host.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

// logTLSFailures has all failed handshakes logged.
func logTLSFailures(t *testing.T) {
	t.Helper()
	tlsFailures.limiter.SetLimit(rate.Inf)
	t.Cleanup(func() { tlsFailures.limiter.SetLimit(1) })
}

// TestTLSFailuresAreLogged: a TLS handshake that fails writes a line that says why, and what to do.
func TestTLSFailuresAreLogged(t *testing.T) {
	certificate, key := certificateFiles(t)
	s := start(t, `tls://example.test:{PORT} {
	bind 127.0.0.1
	tls `+certificate+" "+key+" "+certificate+` {
		client_auth require_and_verify
	}
	gsstsig {
		keytab {KEYTAB}
	}
}
`)
	logTLSFailures(t)
	failures := func() float64 { return metric(t, "coredns_gsstsig_tls_handshake_failures_total") }
	handshake := func(config *tls.Config) func(net.Conn) {
		return func(c net.Conn) {
			client := tls.Client(c, config)
			if client.Handshake() == nil {
				_, _ = client.Read(make([]byte, 1)) // in TLS 1.3 the server's alert comes after the client's part
			}
		}
	}
	send := func(octets string) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := c.Write([]byte(octets)); err != nil {
				t.Error(err)
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
			_, _ = c.Read(make([]byte, 1))
		}
	}
	for reason, test := range map[string]struct {
		client func(net.Conn)
		fix    string
	}{
		"remote error: tls: bad certificate": {handshake(&tls.Config{ServerName: "ns1.example.test"}), "give it the authority that has signed the certificate"},
		// As OpenSSL refuses a certificate: by an alert (unknown_ca) without encryption.
		"local error: tls: bad record MAC": {func(c net.Conn) {
			_ = tls.Client(&onceWritten{Conn: c, then: "\x15\x03\x03\x00\x02\x02\x30"}, &tls.Config{ServerName: "ns1.example.test"}).Handshake()
		}, "give it the authority that has signed the certificate"},
		"client didn't provide a certificate":         {handshake(&tls.Config{InsecureSkipVerify: true}), "give the client a certificate"},
		"client requested unsupported application":    {handshake(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}), "have the client offer the protocol dot"},
		"client offered only unsupported versions":    {handshake(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), "update the client"},
		"first record does not look like a TLS":       {send("GET / HTTP/1.1\r\n\r\n"), "have the client speak TLS"},
		"the client has closed the connection during": {send("\x16\x03\x01\x01\x00\x01"), "give it the authority that has signed the certificate"},
	} {
		t.Run(reason, func(t *testing.T) {
			counted, before := failures(), len(logged.lines("tls client=127.0.0.1:", reason))
			c, err := net.Dial("tcp", s.address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			test.client(c)
			var lines []string
			for end := time.Now().Add(10 * time.Second); len(lines) <= before && time.Now().Before(end); time.Sleep(time.Millisecond) {
				lines = logged.lines("tls client=127.0.0.1:", reason)
			}
			if len(lines) != before+1 || !strings.Contains(lines[before], test.fix) {
				t.Errorf("lines %q", lines)
			}
			want(t, "failures in the metrics", failures()-counted, 1)
		})
	}
}

// onceWritten is a connection that sends what is written first, and other octets in the place of all that is written later.
type onceWritten struct {
	net.Conn
	then    string
	written bool
}

func (c *onceWritten) Write(b []byte) (int, error) {
	octets := b
	if c.written {
		octets = []byte(c.then)
	}
	c.written = true
	if _, err := c.Conn.Write(octets); err != nil {
		return 0, err
	}
	return len(b), nil
}
