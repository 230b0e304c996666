package gsstsig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/coredns/coredns/plugin/tls"
	"github.com/miekg/dns"
)

// TestLessonUpdatesOfOtherClasses: there is no zone of another class than IN, so that an update of one is NOTAUTH (RFC 2136
// section 3.1.2), signed or not (BIND CVE-2026-5946). No zone has the classes 0 and ANY, which are FORMERR, as with BIND.
func TestLessonUpdatesOfOtherClasses(t *testing.T) {
	s := start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nupdates nonsecure-and-secure", 1))
	host := s.context("host/client1.example.test")
	for _, class := range []uint16{0, 2, dns.ClassCHAOS, dns.ClassHESIOD, dns.ClassNONE, dns.ClassANY, 255 << 8, 65535} {
		m := message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")
		m.Question[0].Qclass = class
		rcode := dns.RcodeNotAuth
		if class == 0 || class == dns.ClassANY {
			rcode = dns.RcodeFormatError
		}
		want(t, fmt.Sprintf("class %d, unsigned", class), s.exchange(m).Rcode, rcode)
		want(t, fmt.Sprintf("class %d, signed", class), s.signed(host, m), rcode)
	}
	want(t, "records", s.lookup("client1.example.test.", dns.TypeA), "")
}

// TestLessonSignaturesOnOtherTransports: the signature of a message that came by DoT, DoH, DoQ or gRPC was not
// verified, so the message counts as unsigned (CoreDNS CVE-2026-33190).
func TestLessonSignaturesOnOtherTransports(t *testing.T) {
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
	host := s.context("host/client1.example.test")
	update := message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")
	good, _, err := host.Sign(update)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(good)
	forged[len(forged)-7] ^= 1
	unsigned, err := update.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for name, wire := range map[string][]byte{"signed well": good, "signed badly": forged, "unsigned": unsigned} {
		conn, err := dns.DialWithTLS("tcp-tls", dot, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		reply := new(dns.Msg)
		if octets, err := conn.ReadMsgHeader(nil); err != nil || reply.Unpack(octets) != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want(t, name, reply.Rcode, dns.RcodeRefused)
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	want(t, "records", s.lookup("client1.example.test.", dns.TypeA), "")
	want(t, "by UDP", s.signed(host, update), dns.RcodeSuccess)
}

// certificateFiles makes a self-signed certificate.
func certificateFiles(t *testing.T) (certificate, key string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	private, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(t.TempDir(), "certificate"), filepath.Join(t.TempDir(), "key")
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: s.Certificate().Raw},
		key:         {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
