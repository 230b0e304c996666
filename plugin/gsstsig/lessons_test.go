package gsstsig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
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

// TestLessonSignaturesOnOtherTransports: the signature of a message that came by DoH, DoQ or gRPC was not verified, so the
// message counts as unsigned, and is refused also where unsigned updates are taken. That of a message by DNS over TLS is
// verified (CoreDNS CVE-2026-33190).
func TestLessonSignaturesOnOtherTransports(t *testing.T) {
	dot, doh := freeAddress(t), freeAddress(t)
	_, port, err := net.SplitHostPort(dot)
	if err != nil {
		t.Fatal(err)
	}
	_, httpPort, err := net.SplitHostPort(doh)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := certificateFiles(t)
	s := start(t, `example.test:{PORT} tls://example.test:`+port+` https://example.test:`+httpPort+` {
	bind 127.0.0.1
	tls `+certificate+" "+key+`
	gsstsig {
		keytab {KEYTAB}
		updates nonsecure-and-secure
	}
}
`)
	want(t, "lines about DoH", len(logged.lines("updates by https://example.test.:"+httpPort+" are refused")), 1)
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
	web := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer web.CloseIdleConnections()
	for name, wire := range map[string][]byte{"signed well": good, "signed badly": forged, "unsigned": unsigned} {
		response, err := web.Post("https://"+doh+"/dns-query", "application/dns-message", bytes.NewReader(wire))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		want(t, name+" by DoH", response.StatusCode, http.StatusBadRequest) // CoreDNS itself takes no updates there

		// What another listener hands on.
		request, recorder := new(dns.Msg), dnstest.NewRecorder(&test.ResponseWriter{TCP: true})
		if err := request.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		if _, err := current.inForce()[0].handler.Load().ServeDNS(t.Context(), recorder, request); err != nil {
			t.Fatal(err)
		}
		want(t, name+" by another listener", recorder.Msg.Rcode, dns.RcodeRefused)
	}
	want(t, "records", s.lookup("client1.example.test.", dns.TypeA), "")

	overTLS := func(wire []byte) *dns.Msg {
		conn, err := dns.DialWithTLS("tcp-tls", dot, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		reply := new(dns.Msg)
		if octets, err := conn.ReadMsgHeader(nil); err != nil || reply.Unpack(octets) != nil {
			t.Fatal(err)
		}
		return reply
	}
	want(t, "signed badly", overTLS(forged).Rcode, dns.RcodeNotAuth)
	want(t, "records", s.lookup("client1.example.test.", dns.TypeA), "")
	want(t, "signed well", overTLS(good).Rcode, dns.RcodeSuccess)
	want(t, "records", s.lookup("client1.example.test.", dns.TypeA), "client1.example.test. 300 IN A 192.0.2.1")
	want(t, "again", overTLS(good).Rcode, dns.RcodeNotAuth)
	want(t, "unsigned, without a change", overTLS(unsigned).Rcode, dns.RcodeSuccess)
	want(t, "by UDP", s.signed(host, update), dns.RcodeSuccess)
}

// certificateFiles makes a self-signed certificate.
func certificateFiles(t *testing.T) (certificate, key string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return writeCertificate(t, s.Certificate().Raw, s.TLS.Certificates[0].PrivateKey)
}

// expiredCertificateFiles makes one that was valid an hour ago.
func expiredCertificateFiles(t *testing.T) (certificate, key string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return writeCertificate(t, raw, private)
}

func writeCertificate(t *testing.T, raw []byte, privateKey any) (certificate, key string) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(privateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(t.TempDir(), "certificate"), filepath.Join(t.TempDir(), "key")
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: raw},
		key:         {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
