//go:build e2e

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/debian13"
	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// certificateName is the name in the certificate of a server under test.
const certificateName = "ns1." + forwardZone

// writeCertificate writes a certificate, which is its own authority, and its key into a directory.
func writeCertificate(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: certificateName}, DNSNames: []string{certificateName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: privateDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// secured is a server with DNS over TLS beside plain DNS.
type secured struct {
	*server.Server
	tls         netip.AddrPort
	certificate string // file
	corefile    string
}

// startSecured starts one with the forward zone.
func startSecured(t *testing.T, inside, beside []string, files map[string]string) secured {
	t.Helper()
	certificate, key := writeCertificate(t, t.TempDir())
	at := loopback.Address(freePort(t))
	corefile := blockOf(fmt.Sprintf("%s tls://%s:%d", forwardZone, forwardZone, at.Port()), inside, append(beside, "tls "+certificate+" "+key))
	s := startCoreDNS(t, server.Config{Corefile: corefile, Files: files, Probe: forwardZone})
	return secured{Server: s, tls: at, certificate: certificate, corefile: corefile}
}

// trustAny is a client of DNS over TLS that takes every certificate.
var trustAny = &tls.Config{InsecureSkipVerify: true}

// TestReadersOverTLS has dig and kdig read a zone by DNS over TLS, and check the certificate.
func TestReadersOverTLS(t *testing.T) {
	t.Parallel()
	const records = 3000 // a transfer of several messages
	ours := startSecured(t, []string{"file db " + forwardZone}, []string{"transfer {\n        to 127.0.0.1\n    }", "log"}, map[string]string{"db": largeSeed(records)})
	other, _ := writeCertificate(t, t.TempDir())
	for _, test := range []struct {
		path  string
		args  []string
		ca    string
		match string
		times int
	}{
		{"over TLS, the certificate checked", []string{"h1.example.test", "A"}, ours.certificate, `(?m)^h1\.example\.test\.\s+300\s+IN\s+A\s+10\.0\.0\.1$`, 1},
		{"over TLS, several queries on one connection", []string{"+keepopen", "h1.example.test", "A", "h2.example.test", "A", "h3.example.test", "A"}, ours.certificate,
			`(?m)^h[123]\.example\.test\.\s+300\s+IN\s+A\s`, 3},
		{"AXFR over TLS", []string{forwardZone, "AXFR"}, ours.certificate, `(?m)^h\d+\.example\.test\.`, records},
		{"over TLS, refused another server's certificate", []string{"h1.example.test", "A"}, other, `(?m)^h1\.example\.test\.`, 0},
	} {
		for _, client := range []tested.Client{digClient, kdigClient} {
			t.Run(client.Name+" "+test.path, func(t *testing.T) {
				tested.Path(t, client, test.path)
				program, err := process.LookPath(client.Name)
				if err != nil {
					t.Fatal(err)
				}
				args := append([]string{"@" + ours.tls.Addr().String(), "-p", strconv.Itoa(int(ours.tls.Port())),
					"+tls", "+tls-ca=" + test.ca, "+tls-hostname=" + certificateName}, test.args...)
				output, err := exec.CommandContext(testContext(t), program, args...).CombinedOutput()
				if err != nil && test.times > 0 {
					t.Fatalf("%v\n%s", err, output)
				}
				if got := len(regexp.MustCompile(test.match).FindAll(output, -1)); got != test.times {
					t.Errorf("%s matches %d times, want %d:\n%s", test.match, got, test.times, last(string(output), 30))
				}
			})
		}
	}
	// The server says what its clients did not like.
	said := ours.Log().String()
	if !regexp.MustCompile(`tls client=127\.0\.0\.1:\d+ reason=.* fix=.*if the client does not trust the server`).MatchString(said) {
		t.Errorf("no line about the refused certificate:\n%s", last(said, 10))
	}
	if strings.Contains(said, "in a copy of its own") {
		t.Error("the zone is there once for each transport")
	}
}

// TestNsupdateOverTLS has nsupdate of BIND 9.20, which is the first to speak it, negotiate and update by DNS over TLS alone.
func TestNsupdateOverTLS(t *testing.T) {
	t.Parallel()
	program, err := debian13.LookPath("nsupdate")
	if err != nil {
		t.Fatal(err)
	}
	ours := startSecured(t, []string{"file db " + forwardZone, fmt.Sprintf("grant %s zonesub ANY", peerKey), "grant EXAMPLE.TEST owner ."},
		[]string{tsigLine, "log"}, map[string]string{"db": largeSeed(1)})
	other, _ := writeCertificate(t, t.TempDir())
	machine := logIn(t, host1)
	for _, test := range []struct {
		path, auth, key, ca, rcode string
		signed                     bool
	}{
		{"-S -g", "-g", "", ours.certificate, "NOERROR", true},
		{"-S -y with a key of the tsig plugin", "", "hmac-sha256:" + peerKey + ":" + peerSecret, ours.certificate, "NOERROR", true},
		{"-S unsigned, refused", "", "", ours.certificate, "REFUSED", false},
		{"-S -g, refused another server's certificate", "-g", "", other, "", false},
	} {
		t.Run(test.path, func(t *testing.T) {
			tested.Path(t, tested.Client{Name: "nsupdate", Package: "bind9-dnsutils", Debian13: true}, test.path)
			from := ours.Log().Len()
			outcome, err := dnsutils.Update{
				Program: program, Server: ours.tls, Auth: test.auth, Key: test.key, Env: machine.env, Zone: forwardZone,
				Options:  []string{"-S", "-A", test.ca, "-H", certificateName},
				Commands: []string{"update delete client1.example.test A", "update add client1.example.test 300 A 192.0.2.11"},
			}.Run(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if outcome.Rcode != test.rcode || outcome.Signed != test.signed {
				t.Errorf("rcode %q, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
			}
			said := ours.Log().String()[from:]
			if test.rcode != "" && !strings.Contains(said, "transport=tls") || strings.Contains(said, " udp ") || strings.Contains(said, "transport=udp") {
				t.Errorf("not by TLS alone:\n%s", last(said, 10))
			}
		})
	}
	expect(t, ours.Address, "client1.example.test", dns.TypeA, "192.0.2.11")
}

// TestKnsupdateOverTLS has knsupdate of Knot 3.4, which is the first to speak it, update by DNS over TLS.
func TestKnsupdateOverTLS(t *testing.T) {
	t.Parallel()
	program, err := debian13.LookPath("knsupdate")
	if err != nil {
		t.Fatal(err)
	}
	ours := startSecured(t, []string{"file db " + forwardZone, fmt.Sprintf("grant %s zonesub ANY", peerKey)}, []string{tsigLine}, map[string]string{"db": largeSeed(1)})
	other, _ := writeCertificate(t, t.TempDir())
	for _, test := range []struct {
		path, ca string
		records  []string
	}{
		{"-S -y with a key of the tsig plugin, refused another server's certificate", other, nil},
		{"-S -y with a key of the tsig plugin", ours.certificate, []string{"192.0.2.97"}},
	} {
		tested.Path(t, tested.Client{Name: "knsupdate", Package: "knot-dnsutils", Debian13: true}, test.path)
		cmd := exec.CommandContext(testContext(t), program, "-S", "--ca="+test.ca, "-H", certificateName, "-y", "hmac-sha256:"+peerKey+":"+peerSecret)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("server %s %d\nzone %s\nupdate add knot.example.test. 300 A 192.0.2.97\nsend\n",
			ours.tls.Addr(), ours.tls.Port(), forwardZone))
		if output, err := cmd.CombinedOutput(); (err == nil) != (test.records != nil) {
			t.Errorf("%s: %v\n%s", test.path, err, output)
		}
		expect(t, ours.Address, "knot.example.test", dns.TypeA, test.records...)
	}
	if said := ours.Log().String(); strings.Count(said, "transport=tls") != 1 || strings.Contains(said, "transport=udp") {
		t.Errorf("not by TLS alone:\n%s", last(said, 10))
	}
}

// TestSecondaryBINDOverTLS has BIND follow changes by transfers over TLS, through a reload of the server with another
// certificate. BIND checks that. The changes and NOTIFY come by plain DNS.
func TestSecondaryBINDOverTLS(t *testing.T) {
	t.Parallel()
	tested.Path(t, tested.Client{Name: "BIND", Package: "bind9"}, "secondary by AXFR and IXFR over TLS, the certificate checked")
	peerPort := freePort(t)
	ours := startSecured(t, []string{"file db " + forwardZone, "database " + t.TempDir(), "updates nonsecure-and-secure"},
		[]string{fmt.Sprintf("transfer {\n        to 127.0.0.1:%d\n    }", peerPort)}, map[string]string{"db": largeSeed(2_000)})
	secondary := startNamed(t, named.Config{
		Port: peerPort, Debug: 3, Memory: true,
		Statements: fmt.Sprintf("tls primary { ca-file %q; remote-hostname %q; };\n", ours.certificate, certificateName),
		Zones:      []named.Zone{{Name: forwardZone, Primary: ours.tls, TLS: "primary"}},
	})
	until(t, "the first transfer", func() bool { return len(gotWhole.FindAllString(secondary.Log(), -1)) > 0 })
	caughtUp := func() {
		t.Helper()
		want := serial(t, ours.Address, forwardZone)
		until(t, "BIND catches up", func() bool { return serial(t, secondary.Address, forwardZone) == want })
	}
	const changes = 200
	change(t, ours.Address, 0, changes)
	caughtUp()
	if err := ours.Reload(testContext(t), ours.corefile); err != nil {
		t.Fatal(err)
	}
	change(t, ours.Address, changes, changes)
	caughtUp()
	sameZone(t, ours.Address, secondary.Address, forwardZone)
	said := secondary.Log()
	if whole, incremental := len(gotWhole.FindAllString(said, -1)), len(gotIncremental.FindAllString(said, -1)); whole != 1 || incremental < 2 {
		t.Errorf("%d whole and %d incremental transfers; want 1 whole and the rest incremental", whole, incremental)
	}
	// A certificate of another authority: BIND fetches nothing.
	if err := os.Remove(ours.certificate); err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, filepath.Dir(ours.certificate))
	if err := ours.Reload(testContext(t), "# again\n"+ours.corefile); err != nil {
		t.Fatal(err)
	}
	until(t, "the server shows the other certificate", func() bool {
		conn, err := tls.Dial("tcp", ours.tls.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}})
		if err != nil {
			return false
		}
		defer conn.Close()
		content, err := os.ReadFile(ours.certificate)
		block, _ := pem.Decode(content)
		return err == nil && block != nil && bytes.Equal(block.Bytes, conn.ConnectionState().PeerCertificates[0].Raw)
	})
	// For each NOTIFY BIND makes a connection of its own, one after the other. What it began before the reload may still bring the
	// first change. After a connection that has failed it has none but new ones.
	refused := func() int {
		return strings.Count(secondary.Log(), "failed to connect: TLS peer certificate verification failed")
	}
	change(t, ours.Address, 2*changes, 1)
	until(t, "BIND refuses the certificate", func() bool { return refused() > 0 })
	before, times := serial(t, secondary.Address, forwardZone), refused()
	change(t, ours.Address, 2*changes+1, 1)
	until(t, "BIND refuses the certificate again", func() bool { return refused() > times })
	if now := serial(t, secondary.Address, forwardZone); now != before {
		t.Errorf("BIND has serial %d, and had %d", now, before)
	}
	if !strings.Contains(ours.Log().String(), "tls client=127.0.0.1:") {
		t.Error("the server said nothing of handshakes that failed")
	}
}

// TestRenegotiation has OpenSSL ask for another handshake on an established connection of TLS 1.2. The connection ends, and
// others do not notice.
func TestRenegotiation(t *testing.T) {
	t.Parallel()
	ours := startSecured(t, []string{"file db " + forwardZone}, nil, map[string]string{"db": largeSeed(1)})
	good, err := (&dns.Client{Net: "tcp-tls", Timeout: 10 * time.Second, TLSConfig: trustAny}).Dial(ours.tls.String())
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	openssl, err := process.LookPath("openssl")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), openssl, "s_client", "-tls1_2", "-connect", ours.tls.String())
	cmd.Stdin = strings.NewReader("R\n") // asks for another handshake
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "RENEGOTIATING") || !strings.Contains(string(output), "alert") {
		t.Errorf("%v\n%s", err, last(string(output), 20))
	}
	query := new(dns.Msg).SetQuestion("h0."+forwardZone+".", dns.TypeA)
	if err := good.WriteMsg(query); err != nil {
		t.Fatal(err)
	}
	if reply, err := good.ReadMsg(); err != nil || len(reply.Answer) != 1 {
		t.Errorf("beside it: %v, %v", err, reply)
	}
}
