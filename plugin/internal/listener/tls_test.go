package listener

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/pires/go-proxyproto"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// trusting is a client that takes every certificate.
func trusting() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// dialTLS connects from a loopback address and makes the handshake.
func dialTLS(t testing.TB, from, port string, config *tls.Config) (*tls.Conn, error) {
	t.Helper()
	dialer := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := tls.DialWithDialer(dialer, "tcp", local(port), config)
	if err == nil {
		t.Cleanup(func() { c.NetConn().Close() })
	}
	return c, err
}

func mustDialTLS(t testing.TB, from, port string, config *tls.Config) *tls.Conn {
	t.Helper()
	c, err := dialTLS(t, from, port, config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dialPlain connects without TLS.
func dialPlain(t testing.TB, from, port string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// askOver sends a message on a connection and returns the answer.
func askOver(c net.Conn, m *dns.Msg) (*dns.Msg, error) {
	conn := &dns.Conn{Conn: c, TsigSecret: map[string]string{keyName: keySecret}}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	return conn.ReadMsg()
}

// answersOver fails the test if a query on the connection does not get that text.
func answersOver(t testing.TB, c net.Conn, text string) {
	t.Helper()
	r, err := askOver(c, query("x.example.org.", dns.TypeTXT))
	if err != nil || texts(r) != text {
		t.Fatalf("not %q but %v, %v", text, err, r)
	}
}

// secure is a Corefile with a block of DNS over TLS alone.
func secure(port, label, cert, key, options string) string {
	return fmt.Sprintf("tls://example.org:%s {\nbind 127.0.0.1\ntls %s %s %s\nprobe %s\n%s}\n", port, cert, key, options, label, tsigBlock)
}

// closedWithoutAnswer fails the test if something but an alert comes from the server before it closes the connection.
func closedWithoutAnswer(t testing.TB, what string, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(c)
	if err != nil && !isReset(err) {
		t.Errorf("%s: not closed: %v", what, err)
	}
	if len(got) > 0 && got[0] != 21 { // a record of the type alert
		t.Errorf("%s: answered by %x", what, got)
	}
}

func TestTLS(t *testing.T) {
	standard.Requires(t, "RFC 9103", "7.6 SOA queries")
	port := freePort(t)
	cert, key := certificate(t)
	start(t, secure(port, "a", cert, key, ""))
	for name, config := range map[string]*tls.Config{
		"TLS 1.3":                trusting(),
		"TLS 1.2":                {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12},
		"the protocol dot":       {InsecureSkipVerify: true, NextProtos: []string{"dot"}},
		"several protocols":      {InsecureSkipVerify: true, NextProtos: []string{"h2", "dot"}},
		"the name of a server":   {InsecureSkipVerify: true, ServerName: "ns1.example.org"},
		"a client with a ticket": {InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 2 {
				c := mustDialTLS(t, "127.0.0.1", port, config)
				agreed := ""
				if config.NextProtos != nil {
					agreed = "dot"
				}
				if got := c.ConnectionState().NegotiatedProtocol; got != agreed {
					t.Errorf("protocol %q", got)
				}
				for range 2 {
					answersOver(t, c, "a unsigned")
					r, err := askOver(c, signed(query("x.example.org.", dns.TypeTXT)))
					if err != nil {
						t.Fatal(err)
					}
					expect(t, r, dns.RcodeSuccess, "a "+keyName, true)
				}
				update := new(dns.Msg).SetUpdate("example.org.")
				for n := range 600 {
					rr, err := dns.NewRR(fmt.Sprintf("h%d.example.org. 60 TXT %s", n, strings.Repeat("x", 80)))
					if err != nil {
						t.Fatal(err)
					}
					update.Insert([]dns.RR{rr})
				}
				r, err := askOver(c, signed(update)) // which has several TLS records
				if err != nil {
					t.Fatal(err)
				}
				expect(t, r, dns.RcodeSuccess, "", true)
				if c.ConnectionState().DidResume != (i > 0 && config.ClientSessionCache != nil) {
					t.Error("session resumed or not")
				}
			}
		})
	}
	// By plain DNS there is nobody.
	c := dialPlain(t, "127.0.0.1", port)
	if r, err := askOver(c, query("x.example.org.", dns.TypeTXT)); err == nil {
		t.Errorf("answered in plain text:\n%v", r)
	}
}

// A context that was made by TLS is good by plain DNS, and the other way round.
func TestNegotiationByTLS(t *testing.T) {
	port, tlsPort := freePort(t), freePort(t)
	cert, key := certificate(t)
	server, keys := kerberosServer(t, "one.example.org", time.Now)
	probeServers.Store("one", server)
	t.Cleanup(func() { probeServers.Delete("one") })
	start(t, fmt.Sprintf("one.org:%s tls://one.org:%s {\nbind 127.0.0.1\ntls %s %s\nprobe one\n}", port, tlsPort, cert, key))
	for n, by := range []string{"TLS", "UDP"} {
		name := fmt.Sprintf("%d.sig-one.example.org.", n)
		client, token := initiate(t, "one.example.org", keys)
		ask := func(m *dns.Msg) *dns.Msg { return ask(t, "udp", local(port), m) }
		if by == "TLS" {
			ask = func(m *dns.Msg) *dns.Msg {
				conn := &dns.Conn{Conn: mustDialTLS(t, "127.0.0.1", tlsPort, trusting())}
				if err := conn.WriteMsg(m); err != nil {
					t.Fatal(err)
				}
				r, _ := conn.ReadMsg() // no dns.Conn has the key
				return r
			}
		}
		answer := ask(tkeyQuery(name, dns.ClassANY, false, token))
		if answer == nil || len(answer.Answer) != 1 {
			t.Fatalf("by %s: %v", by, answer)
		}
		reply, err := hex.DecodeString(answer.Answer[0].(*dns.TKEY).Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Init(reply); err != nil {
			t.Fatal(err)
		}
		if got := signedBy(t, provider{client}, "udp", port, name, query("x.one.org.", dns.TypeTXT)); texts(got) != "one "+name {
			t.Errorf("made by %s, used by UDP: %v", by, got)
		}
		m := query("x.one.org.", dns.TypeTXT)
		m.SetTsig(name, "gss-tsig.", 300, time.Now().Unix())
		conn := &dns.Conn{Conn: mustDialTLS(t, "127.0.0.1", tlsPort, trusting()), TsigProvider: provider{client}}
		if err := conn.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
		if r, err := conn.ReadMsg(); err != nil || texts(r) != "one "+name {
			t.Errorf("made by %s, used by TLS: %v, %v", by, err, r)
		}
	}
}

// A reload keeps the connections. Those that come later get the certificate that is in the file then.
func TestReloadOfTLS(t *testing.T) {
	port := freePort(t)
	cert, key := certificate(t)
	r := start(t, secure(port, "a", cert, key, ""))
	old := mustDialTLS(t, "127.0.0.1", port, trusting())
	answersOver(t, old, "a unsigned")
	newCert, newKey := certificate(t)
	for to, from := range map[string]string{cert: newCert, key: newKey} {
		octets, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "a unsigned")
	if err := r.reload(secure(port, "b", cert, key, "")); err != nil {
		t.Fatal(err)
	}
	answersOver(t, old, "b unsigned")
	late := mustDialTLS(t, "127.0.0.1", port, trusting())
	answersOver(t, late, "b unsigned")
	served := func(c *tls.Conn) []byte { return c.ConnectionState().PeerCertificates[0].Raw }
	if bytes.Equal(served(old), served(late)) {
		t.Error("the former certificate is served after the reload")
	}
	// A reload that fails changes nothing.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := r.reload(secure(port, "c", cert, key, "")); err == nil {
		t.Fatal("reloaded without the key")
	}
	answersOver(t, late, "b unsigned")
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "b unsigned")
	r.stop()
	late.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := late.Read(make([]byte, 1)); err == nil || !isReset(err) {
		t.Errorf("after the stop: %v", err)
	}
	mustBeFree(t, port)
}

// A connection that has not proved what a reload has made the server ask for is closed.
func TestReloadAsksForClientCertificates(t *testing.T) {
	standard.Requires(t, "RFC 9103", "9 authentication")
	port := freePort(t)
	cert, key := certificate(t)
	other, _ := certificate(t)
	r := start(t, secure(port, "a", cert, key, ""))
	anonymous := mustDialTLS(t, "127.0.0.1", port, trusting())
	answersOver(t, anonymous, "a unsigned")
	const mutual = "{\nclient_auth require_and_verify\n}"
	if err := r.reload(secure(port, "b", cert, key, cert+" "+mutual)); err != nil {
		t.Fatal(err)
	}
	if m, err := askOver(anonymous, query("x.example.org.", dns.TypeTXT)); err == nil {
		t.Errorf("answered without a certificate:\n%v", m)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	known := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}
	proved := mustDialTLS(t, "127.0.0.1", port, known)
	answersOver(t, proved, "b unsigned")
	if c, err := dialTLS(t, "127.0.0.1", port, trusting()); err == nil {
		if m, err := askOver(c, query("x.example.org.", dns.TypeTXT)); err == nil {
			t.Errorf("answered without a certificate:\n%v", m)
		}
	}
	// The same policy in a new configuration: nothing to prove again.
	if err := r.reload(secure(port, "c", cert, key, cert+" "+mutual)); err != nil {
		t.Fatal(err)
	}
	answersOver(t, proved, "c unsigned")
	if err := r.reload(secure(port, "d", cert, key, other+" "+mutual)); err != nil {
		t.Fatal(err)
	}
	if m, err := askOver(proved, query("x.example.org.", dns.TypeTXT)); err == nil {
		t.Errorf("answered with a certificate of another authority:\n%v", m)
	}
}

// An address without a certificate would be served in plain text by CoreDNS.
func TestTLSWithoutCertificate(t *testing.T) {
	port := freePort(t)
	inst, err := tryStart(fmt.Sprintf("tls://example.org:%s {\nbind 127.0.0.1\nprobe a\n}", port))
	if err == nil {
		(&running{t: t, inst: inst}).stop()
		t.Fatal("started")
	}
	if !strings.Contains(err.Error(), "Fix: add \"tls CERTIFICATE KEY\"") {
		t.Error(err)
	}
	mustBeFree(t, port)
}

// Sites of one address are served together, whether they use the plugin or not, and CoreDNS's rules for them hold.
func TestSitesOfOneTLSAddress(t *testing.T) {
	port := freePort(t)
	cert, key := certificate(t)
	otherCert, otherKey := certificate(t)
	block := func(zone, cert, key, plugins string) string {
		return fmt.Sprintf("tls://%s:%s {\nbind 127.0.0.1\ntls %s %s\n%s\n}\n", zone, port, cert, key, plugins)
	}
	r := start(t, block("other.test", cert, key, "status")+block("example.org", cert, key, "probe a"))
	c := mustDialTLS(t, "127.0.0.1", port, trusting())
	answersOver(t, c, "a unsigned")
	if m, err := askOver(c, query("x.other.test.", dns.TypeTXT)); err != nil || texts(m) != "verified" {
		t.Errorf("the other block: %v, %v", err, m)
	}
	for what, corefile := range map[string]string{
		"another certificate": block("other.test", otherCert, otherKey, "status") + block("example.org", cert, key, "probe b"),
		"a zone twice":        block("example.org", cert, key, "status") + block("example.org", cert, key, "probe b"),
	} {
		if err := r.reload(corefile); err == nil {
			t.Errorf("%s: started", what)
		}
		answersOver(t, c, "a unsigned")
	}
	// The address changes hands between CoreDNS's server and this one.
	for range 2 {
		if err := r.reload(block("example.org", cert, key, "status")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "CoreDNS answers", func() bool {
			c, err := dialTLS(t, "127.0.0.1", port, trusting())
			if err != nil {
				return false
			}
			m, err := askOver(c, query("x.example.org.", dns.TypeTXT))
			return err == nil && texts(m) == "verified"
		})
		if err := r.reload(block("example.org", cert, key, "multisocket 2\nprobe c")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "this server answers", func() bool {
			c, err := dialTLS(t, "127.0.0.1", port, trusting())
			if err != nil {
				return false
			}
			m, err := askOver(c, query("x.example.org.", dns.TypeTXT))
			return err == nil && texts(m) == "c unsigned"
		})
	}
	r.stop()
	mustBeFree(t, port)
}

// With the PROXY protocol, its header comes before TLS.
func TestProxiedTLS(t *testing.T) {
	port := freePort(t)
	cert, key := certificate(t)
	start(t, strings.Replace(secure(port, "a", cert, key, ""), "probe", "proxyproto {\nallow 127.0.0.1/32\n}\nprobe", 1))
	raw := dialPlain(t, "127.0.0.1", port)
	header := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}, DestinationAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 853}}
	if _, err := header.WriteTo(raw); err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, trusting())
	r, err := askOver(c, query("from.example.org.", dns.TypeTXT))
	if err != nil || texts(r) != "a 192.0.2.7:1234" {
		t.Errorf("%v, %v", err, r)
	}
}

// startHostile starts a server with limits of its own, whose accounts are never filled up again.
func startHostile(t *testing.T, limits Limits, options string) (port, address string) {
	t.Helper()
	moment := time.Now()
	limits.now, limits.closeDelay = func() time.Time { return moment }, time.Millisecond
	probeLimits.Store("a", limits)
	t.Cleanup(func() { probeLimits.Delete("a") })
	port = freePort(t)
	cert, key := certificate(t)
	corefile := secure(port, "a", cert, key, options)
	start(t, strings.Replace(corefile, "probe", "timeouts {\nread 1s\nwrite 1s\nidle 30s\n}\nprobe", 1))
	return port, "tls://" + local(port)
}

// unfinishedHandshakes returns how many handshakes of an address the server has not finished. A client finishes its own before.
func unfinishedHandshakes(address string) int {
	table := endpointOf(address).table
	table.mu.Lock()
	defer table.mu.Unlock()
	return table.unfinished.Len()
}

// hello is the beginning of a TLS handshake.
func hello(t testing.TB) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go tls.Client(theirs, trusting()).Handshake()
	octets := make([]byte, 4096)
	n, err := ours.Read(octets)
	if err != nil {
		t.Fatal(err)
	}
	return octets[:n]
}

func TestHostileTLSClients(t *testing.T) {
	port, _ := startHostile(t, Limits{HandshakeFailures: 1000}, "")
	good := mustDialTLS(t, "127.0.0.1", port, trusting())
	answersOver(t, good, "a unsigned")
	begin := hello(t)
	for what, sent := range map[string][]byte{
		"nothing":                   nil,
		"half a hello":              begin[:len(begin)/2],
		"a hello and nothing":       begin,
		"another protocol":          []byte("GET / HTTP/1.1\r\n\r\n"),
		"a record of 65535 octets":  {22, 3, 1, 0xff, 0xff, 1},
		"a hello of 16 MB":          {22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff},
		"an alert":                  {21, 3, 1, 0, 2, 2, 40},
		"data before the handshake": {23, 3, 3, 0, 1, 1},
		"empty records":             bytes.Repeat([]byte{22, 3, 1, 0, 0}, 100),
		"a plain DNS message":       {0, 2, 1, 1},
	} {
		t.Run(what, func(t *testing.T) {
			c := dialPlain(t, "127.0.0.1", port)
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
			if what == "a hello and nothing" {
				if err := ended(c); err != nil && !isReset(err) {
					t.Errorf("not closed: %v", err)
				}
				return
			}
			closedWithoutAnswer(t, what, c)
		})
	}
	t.Run("another protocol by ALPN", func(t *testing.T) {
		if _, err := dialTLS(t, "127.0.0.1", port, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}); err == nil ||
			!strings.Contains(err.Error(), "no application protocol") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an old version", func(t *testing.T) {
		if _, err := dialTLS(t, "127.0.0.1", port, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
			t.Error("TLS 1.1 is spoken")
		}
	})
	t.Run("nothing after the handshake", func(t *testing.T) {
		c := mustDialTLS(t, "127.0.0.1", port, trusting())
		if err := ended(c.NetConn()); err != nil && !isReset(err) {
			t.Errorf("not closed: %v", err)
		}
	})
	t.Run("half a message", func(t *testing.T) {
		c := mustDialTLS(t, "127.0.0.1", port, trusting())
		answersOver(t, c, "a unsigned")
		if _, err := c.Write([]byte{0, 100, 1}); err != nil {
			t.Fatal(err)
		}
		if err := ended(c.NetConn()); err != nil && !isReset(err) {
			t.Errorf("not closed: %v", err)
		}
	})
	// A client may close its side behind its last query. It still gets the answers.
	t.Run("half closed", func(t *testing.T) {
		c := mustDialTLS(t, "127.0.0.1", port, trusting())
		conn := &dns.Conn{Conn: c}
		for range 2 {
			if err := conn.WriteMsg(query("x.example.org.", dns.TypeTXT)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(c.CloseWrite(), c.NetConn().(*net.TCPConn).CloseWrite()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if r, err := conn.ReadMsg(); err != nil || texts(r) != "a unsigned" {
				t.Errorf("%v, %v", err, r)
			}
		}
		if _, err := conn.ReadMsg(); !errors.Is(err, io.EOF) {
			t.Errorf("after the answers: %v", err)
		}
	})
	for what, sent := range map[string][]byte{
		"a huge record after the handshake":       {23, 3, 3, 0xff, 0xff},
		"a record that nobody can have encrypted": append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...),
	} {
		t.Run(what, func(t *testing.T) {
			c := mustDialTLS(t, "127.0.0.1", port, trusting())
			answersOver(t, c, "a unsigned")
			if _, err := c.NetConn().Write(sent); err != nil {
				t.Fatal(err)
			}
			if err := ended(c.NetConn()); err != nil && !isReset(err) {
				t.Errorf("not closed: %v", err)
			}
		})
	}
	answersOver(t, good, "a unsigned")
}

// A client may send a chain of certificates, but not for ever.
func TestLongHandshake(t *testing.T) {
	port, _ := startHostile(t, Limits{}, "{\nclient_auth request\n}")
	cert, key := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	chain := func(octets int) *tls.Config {
		long := pair
		for n := len(pair.Certificate[0]); n < octets; n += len(pair.Certificate[0]) {
			long.Certificate = append(long.Certificate, pair.Certificate[0])
		}
		return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{long}}
	}
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, chain(40000)), "a unsigned")
	before := counts.get("tls failed")
	if c, err := dialTLS(t, "127.0.0.1", port, chain(80000)); err == nil {
		if m, err := askOver(c, query("x.example.org.", dns.TypeTXT)); err == nil {
			t.Errorf("answered after a handshake of 80,000 octets:\n%v", m)
		}
	}
	eventually(t, "the failure is told", func() bool { return counts.get("tls failed") > before })
}

// Handshakes that nobody finishes close neither the connections of those who have finished theirs, nor keep others from making
// theirs, although all wait for one slot.
func TestUnfinishedHandshakes(t *testing.T) {
	port, address := startHostile(t, Limits{Connections: 40, Handshakes: 1}, "")
	var established []*tls.Conn
	for i := range 20 {
		c := mustDialTLS(t, fmt.Sprintf("127.0.0.%d", 1+i), port, trusting())
		answersOver(t, c, "a unsigned")
		established = append(established, c)
	}
	begin := hello(t)
	for i := range 300 {
		c := dialPlain(t, fmt.Sprintf("127.0.1.%d", 1+i%250), port)
		if _, err := c.Write(begin[:len(begin)-i%2]); err != nil {
			t.Fatal(err)
		}
		if i%30 == 0 {
			answersOver(t, mustDialTLS(t, "127.0.2.1", port, trusting()), "a unsigned")
		}
		if n := unfinishedHandshakes(address); n > 10 {
			t.Fatalf("%d handshakes are not finished", n)
		}
	}
	for _, c := range established {
		answersOver(t, c, "a unsigned")
	}
	eventually(t, "all handshakes have ended", func() bool { return unfinishedHandshakes(address) == 0 })
}

// A source whose handshakes fail, or are made for nothing, is not served any more. One that only looks whether the port is open
// is not charged.
func TestFailingTLSHandshakes(t *testing.T) {
	port, address := startHostile(t, Limits{HandshakeFailures: 5}, "")
	const from = "127.0.0.66"
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "a unsigned")
	limiter := endpointOf(address).current.Load().limiter
	for range 20 {
		c := dialPlain(t, from, port)
		c.(*net.TCPConn).CloseWrite()
		if err := ended(c); err != nil {
			t.Fatal(err)
		}
	}
	failed := counts.get("tls failed")
	for range 3 {
		c := dialPlain(t, from, port)
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		closedWithoutAnswer(t, "HTTP", c)
	}
	if n := counts.get("tls failed") - failed; n != 3 {
		t.Errorf("%d failures were told", n)
	}
	for range 2 {
		c := mustDialTLS(t, from, port, trusting())
		c.CloseWrite()
		if err := ended(c); err != nil && !isReset(err) {
			t.Fatal(err)
		}
	}
	eventually(t, "the handshakes were charged", func() bool { return limiter.tlsLimited(sourceOf(from)) })
	dropped := counts.get("tls")
	if _, err := dialTLS(t, from, port, trusting()); err == nil || !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("got %v", err)
	}
	if n := counts.get("tls") - dropped; n != 1 {
		t.Errorf("%d were counted", n)
	}
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "a unsigned")
}

// Handshakes that were under way when the limit was reached are charged as well: otherwise each token that comes back would pay
// for as many handshakes as a source can begin at a time.
func TestHandshakesAtATimeAreCharged(t *testing.T) {
	const limit, atATime = 5, 30
	port, address := startHostile(t, Limits{HandshakeFailures: limit}, "")
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "a unsigned")
	limiter, source := endpointOf(address).current.Load().limiter, sourceOf("127.0.0.66")
	begin, failed := hello(t), counts.get("tls failed")
	var open []net.Conn
	for range atATime {
		c := dialPlain(t, "127.0.0.66", port)
		if _, err := c.Write(begin); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil { // the server has worked for it
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if limiter.tlsLimited(source) {
		t.Error("limited before one has failed")
	}
	for _, c := range open {
		c.Close()
	}
	eventually(t, "all have failed", func() bool { return counts.get("tls failed")-failed == atATime })
	for range atATime - limit {
		limiter.tls.Return(source)
	}
	if !limiter.tlsLimited(source) {
		t.Error("some of them cost nothing")
	}
	limiter.tls.Return(source)
	if limiter.tlsLimited(source) {
		t.Error("charged more than once")
	}
}

// Handshakes that wait for a slot are not computed any more when their source has reached its limit meanwhile.
func TestWaitingHandshakesOfALimitedSource(t *testing.T) {
	const limit, waiting = 5, 10
	port, address := startHostile(t, Limits{Handshakes: 1, HandshakeFailures: limit}, "")
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "a unsigned")
	limiter, source := endpointOf(address).current.Load().limiter, sourceOf("127.0.0.66")
	limiter.tlsWork.acquire()
	begin, dropped := hello(t), counts.get("tls")
	var open []net.Conn
	for range waiting {
		c := dialPlain(t, "127.0.0.66", port)
		if _, err := c.Write(begin); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	eventually(t, "all wait", func() bool { return limiter.tlsWork.waiting.Load() == waiting })
	for range limit {
		limiter.recordTLSFailure(source)
	}
	limiter.tlsWork.release()
	for _, c := range open {
		closedWithoutAnswer(t, "a handshake that has waited", c)
	}
	if n := counts.get("tls") - dropped; n != waiting {
		t.Errorf("%d were counted", n)
	}
	limiter.tls.Return(source)
	if limiter.tlsLimited(source) {
		t.Error("charged for what was not computed")
	}
}

// A source that opens more connections than it may have pays for those that are closed for it, if they have begun a handshake.
func TestEvictedHandshakesAreCharged(t *testing.T) {
	port, address := startHostile(t, Limits{HandshakeFailures: 5, SourceConnections: 3}, "")
	const from = "127.0.0.66"
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "a unsigned")
	limiter := endpointOf(address).current.Load().limiter
	for range 20 {
		dialPlain(t, from, port)
	}
	begin := hello(t)
	begun := func(source string) net.Conn {
		c := dialPlain(t, source, port)
		if _, err := c.Write(begin[:len(begin)-1]); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if limiter.tlsLimited(sourceOf(from)) {
		t.Error("charged for connections without an octet")
	}
	// None of them lasts until the time for reading has passed.
	eventually(t, "the source is limited", func() bool {
		begun(from)
		return limiter.tlsLimited(sourceOf(from))
	})
}

// A source that has sent a message by TLS makes its next handshakes while those of others wait for a slot.
func TestKnownSources(t *testing.T) {
	port, address := startHostile(t, Limits{Handshakes: 2}, "")
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "a unsigned")
	limiter := endpointOf(address).current.Load().limiter
	mustDialTLS(t, "127.0.0.66", port, trusting()) // and no message
	eventually(t, "the handshake is finished", func() bool { return unfinishedHandshakes(address) == 0 })
	limiter.tlsWork.acquire()
	answersOver(t, mustDialTLS(t, "127.0.0.1", port, trusting()), "a unsigned")
	done := make(chan error)
	go func() {
		_, err := dialTLS(t, "127.0.0.66", port, trusting())
		done <- err
	}()
	eventually(t, "the handshake waits", func() bool { return limiter.tlsWork.waiting.Load() == 1 })
	limiter.tlsWork.release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A client that does not read its answers is closed, and closing it to make room waits for nothing.
func TestUnreadAnswersByTLS(t *testing.T) {
	port, address := startHostile(t, Limits{}, "")
	c := mustDialTLS(t, "127.0.0.66", port, trusting())
	wire := wireOf(t, query("big.600.example.org.", dns.TypeTXT))
	frame := append([]byte{byte(len(wire) >> 8), byte(len(wire))}, wire...)
	c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	for {
		if _, err := c.Write(frame); err != nil {
			if !isReset(err) {
				t.Errorf("not closed: %v", err)
			}
			break
		}
	}
	table := endpointOf(address).table
	eventually(t, "the connection is gone", func() bool {
		table.mu.Lock()
		defer table.mu.Unlock()
		return table.sources[sourceOf("127.0.0.66")] == nil
	})
}
