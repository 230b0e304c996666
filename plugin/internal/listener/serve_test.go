package listener

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/pires/go-proxyproto"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

var networks = []string{"udp", "tcp"}

func TestQueriesAndUpdates(t *testing.T) {
	standard.Requires(t, "RFC 2136", "2.1 transport", "3.8 where to")
	standard.Requires(t, "RFC 8945", "5.3 same key", "5.3 unsigned request", "5.4.1 another key")
	port := freePort(t)
	start(t, fmt.Sprintf(`
		example.org:%[1]s {
			bind 127.0.0.1
			errors
			probe a
			%[2]s
		}
		.:%[1]s {
			bind 127.0.0.1
			errors
			cache
			whoami
		}`, port, tsigBlock))
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			at := local(port)
			expect(t, ask(t, network, at, query("x.example.org.", dns.TypeTXT)), dns.RcodeSuccess, "a unsigned", false)
			expect(t, ask(t, network, at, signed(query("x.example.org.", dns.TypeTXT))), dns.RcodeSuccess, "a "+keyName, true)
			expect(t, ask(t, network, at, signed(query("raw.example.org.", dns.TypeTXT))), dns.RcodeSuccess, "raw "+keyName, true)
			expect(t, ask(t, network, at, query("raw.example.org.", dns.TypeTXT)), dns.RcodeSuccess, "raw unsigned", false)

			update := func() *dns.Msg {
				m := new(dns.Msg)
				m.SetUpdate("example.org.")
				for i := range 20 {
					rr, err := dns.NewRR(fmt.Sprintf("h%d.example.org. 60 TXT %s", i, strings.Repeat("x", 80)))
					if err != nil {
						t.Fatal(err)
					}
					m.Insert([]dns.RR{rr})
				}
				return m
			}
			if n := update().Len(); n <= 512 {
				t.Fatalf("the update has %d octets only", n)
			}
			expect(t, ask(t, network, at, update()), dns.RcodeRefused, "", false)
			expect(t, ask(t, network, at, signed(update())), dns.RcodeSuccess, "", true)

			// The block without gsstsig on the same address.
			r := ask(t, network, at, query("elsewhere.test.", dns.TypeA))
			if r.Rcode != dns.RcodeSuccess || len(r.Extra) == 0 {
				t.Errorf("whoami does not answer:\n%v", r)
			}
		})
	}
}

// Whatever answers a signed request, the answer is signed.
func TestErrorsAreSigned(t *testing.T) {
	standard.Requires(t, "RFC 6891", "6.1.3 version", "6.1.1 one OPT")
	standard.Requires(t, "RFC 8945", "5.2 TSIG in the reply", "5.3 unsigned request", "5.3.2 other errors")
	port := freePort(t)
	start(t, fmt.Sprintf(`
		example.org:%[1]s {
			bind 127.0.0.1
			probe a
		}
		plain.test:%[1]s {
			bind 127.0.0.1
			%[2]s
			whoami
		}`, port, tsigBlock))
	ofOpcode := func(opcode int) *dns.Msg {
		m := query("plain.test.", dns.TypeSOA)
		m.Opcode = opcode
		return m
	}
	chaos := query("x.example.org.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	oldEDNS := query("x.example.org.", dns.TypeTXT)
	oldEDNS.SetEdns0(1232, false)
	oldEDNS.IsEdns0().SetVersion(7)
	full := query("x.example.org.", dns.TypeTXT)
	full.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4zero},
		&dns.A{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4zero}}
	twoOPT := query("x.example.org.", dns.TypeTXT)
	twoOPT.SetEdns0(1232, false)
	twoOPT.SetEdns0(1232, false)
	for name, c := range map[string]struct {
		m     *dns.Msg
		rcode int
	}{
		"handler refuses":       {query("refuse.example.org.", dns.TypeA), dns.RcodeRefused},
		"handler panics":        {query("panic.example.org.", dns.TypeA), dns.RcodeServerFailure},
		"no zone":               {query("no.zone.", dns.TypeA), dns.RcodeRefused},
		"class CH":              {chaos, dns.RcodeRefused},
		"EDNS version":          {oldEDNS, dns.RcodeBadVers},
		"UPDATE elsewhere":      {ofOpcode(dns.OpcodeUpdate), dns.RcodeNotImplemented},
		"opcode STATUS":         {ofOpcode(dns.OpcodeStatus), dns.RcodeNotImplemented},
		"opcode 15":             {ofOpcode(15), dns.RcodeNotImplemented},
		"full answer section":   {full, dns.RcodeFormatError},
		"two OPT records":       {twoOPT, dns.RcodeFormatError},
		"behind the tsig block": {query("plain.test.", dns.TypeMX), dns.RcodeSuccess},
	} {
		t.Run(name, func(t *testing.T) {
			for _, network := range networks {
				expect(t, ask(t, network, local(port), c.m.Copy()), c.rcode, "", false)
				again := c.m.Copy()
				again.Id = dns.Id() // else the second network's is a replay of the first one's
				r := ask(t, network, local(port), signed(again))
				expect(t, r, c.rcode, "", true)
				for i, rr := range r.Extra {
					if _, ok := rr.(*dns.TSIG); ok && i != len(r.Extra)-1 {
						t.Errorf("TSIG is not last:\n%v", r)
					}
				}
			}
		})
	}
}

// exchange sends octets by UDP and returns the answer unverified.
func exchange(t *testing.T, port string, wire []byte) *dns.Msg {
	t.Helper()
	c, err := net.Dial("udp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(wire); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buffer := make([]byte, 65535)
	n, err := c.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(buffer[:n]); err != nil {
		t.Fatal(err)
	}
	return r
}

func signedWire(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	wire, _, err := dns.TsigGenerate(signed(m), keySecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func TestBadSignatures(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.2 last record", "5.2.1 unsigned", "5.2.2 unsigned", "5.2.3 signed", "5.3.2 not signed", "5.3.2 signed errors")
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe a\n%s}", port, tsigBlock))

	wrongMAC := signedWire(t, query("x.example.org.", dns.TypeTXT))
	wrongMAC[20] ^= 1 // a letter of the question
	unknown := query("x.example.org.", dns.TypeTXT)
	unknown.SetTsig("other.test.", dns.HmacSHA256, 300, time.Now().Unix())
	unknownKey, _, err := dns.TsigGenerate(unknown, keySecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	late := query("x.example.org.", dns.TypeTXT)
	late.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix()-3600)
	tooLate, _, err := dns.TsigGenerate(late, keySecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	// A good signature in front, a stranger's behind it: the identity of the first with the octets of the second.
	two := new(dns.Msg)
	if err := two.Unpack(signedWire(t, query("x.example.org.", dns.TypeTXT))); err != nil {
		t.Fatal(err)
	}
	two.Extra = append(two.Extra, dns.Copy(two.Extra[0]))
	twice, err := two.Pack()
	if err != nil {
		t.Fatal(err)
	}
	notLast := new(dns.Msg)
	if err := notLast.Unpack(signedWire(t, query("x.example.org.", dns.TypeTXT))); err != nil {
		t.Fatal(err)
	}
	notLast.SetEdns0(1232, false)
	optLast, err := notLast.Pack()
	if err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		wire   []byte
		rcode  int
		error  uint16
		signed bool
		kind   string
	}{
		"wrong MAC":   {wrongMAC, dns.RcodeNotAuth, dns.RcodeBadSig, false, "badsig"},
		"unknown key": {unknownKey, dns.RcodeNotAuth, dns.RcodeBadKey, false, "badkey"},
		"too late":    {tooLate, dns.RcodeNotAuth, dns.RcodeBadTime, true, "badtime"},
		"two TSIGs":   {twice, dns.RcodeFormatError, 0, false, "malformed"},
		"not last":    {optLast, dns.RcodeFormatError, 0, false, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			before := counts.get(c.kind)
			r := exchange(t, port, c.wire)
			if r.Rcode != c.rcode || len(r.Answer) != 0 {
				t.Errorf("got:\n%v", r)
			}
			tsig := r.IsTsig()
			if c.rcode == dns.RcodeNotAuth && (tsig == nil || tsig.Error != c.error || (tsig.MACSize > 0) != c.signed) {
				t.Errorf("TSIG in the answer: %v", tsig)
			}
			if n := counts.get(c.kind) - before; n != 1 {
				t.Errorf("observed %d times", n)
			}
		})
	}
}

func TestUnparsable(t *testing.T) {
	standard.Requires(t, "RFC 2136", "2.2 QR")
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe a\n}", port))
	wire, err := query("x.example.org.", dns.TypeTXT).Pack()
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(b []byte)) []byte {
		b := append([]byte(nil), wire...)
		change(b)
		return b
	}
	id := uint16(wire[0])<<8 | uint16(wire[1])
	for name, c := range map[string]struct {
		wire   []byte
		rcode  int
		opcode int
	}{
		"cut in the question":      {wire[:len(wire)-3], dns.RcodeFormatError, 0},
		"header alone":             {wire[:12], dns.RcodeFormatError, 0},
		"records missing":          {with(func(b []byte) { b[11] = 1 }), dns.RcodeFormatError, 0},
		"no question":              {with(func(b []byte) { b[5] = 0 })[:12], dns.RcodeFormatError, 0},
		"cut, in an UPDATE":        {with(func(b []byte) { b[2] = dns.OpcodeUpdate << 3 })[:14], dns.RcodeFormatError, dns.OpcodeUpdate},
		"cut, with another opcode": {with(func(b []byte) { b[2] = 9 << 3 })[:14], dns.RcodeNotImplemented, 9},
	} {
		t.Run(name, func(t *testing.T) {
			r := exchange(t, port, c.wire)
			if r.Id != id || r.Rcode != c.rcode || r.Opcode != c.opcode || !r.Response {
				t.Errorf("got:\n%v", r)
			}
		})
	}
	// Dropped without an answer; the query behind them is answered, so they have been read.
	conn, err := net.Dial("udp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	short, response := counts.get("short"), counts.get("response")
	conn.Write(wire[:11])
	conn.Write(with(func(b []byte) { b[2] |= 0x80 }))
	eventually(t, "both are counted", func() bool {
		return counts.get("short") == short+1 && counts.get("response") == response+1
	})
	conn.Write(wire)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	buffer := make([]byte, 512)
	n, err := conn.Read(buffer)
	r := new(dns.Msg)
	if err != nil || r.Unpack(buffer[:n]) != nil || texts(r) != "a unsigned" {
		t.Errorf("first answer: %v %v", err, r)
	}
}

func TestTruncation(t *testing.T) {
	standard.Requires(t, "RFC 6891", "6.1.1 OPT in the reply", "6.1.1 without", "6.2.3 size")
	standard.Requires(t, "RFC 1035", "4.2.1 512 octets")
	standard.Requires(t, "RFC 8945", "5.3 no room")
	standard.Deviates(t, "RFC 8945", "5.3 no room", "Beside them there is an OPT record if the request has one, as RFC 6891 has it.")
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe a\n%s}", port, tsigBlock))
	for _, size := range []uint16{0, 1232, 4096, 65535} {
		for _, n := range []int{2, 3, 4, 9, 10, 11, 33, 34, 35, 36, 60, 500} {
			for _, sign := range []bool{false, true} {
				m := query(fmt.Sprintf("big.%d.example.org.", n), dns.TypeTXT)
				if size > 0 {
					m.SetEdns0(size, false)
				}
				if sign {
					signed(m)
				}
				wire, mac := []byte(nil), ""
				var err error
				if sign {
					wire, mac, err = dns.TsigGenerate(m, keySecret, "", false)
				} else {
					wire, err = m.Pack()
				}
				if err != nil {
					t.Fatal(err)
				}
				c, err := net.Dial("udp", local(port))
				if err != nil {
					t.Fatal(err)
				}
				c.Write(wire)
				c.SetReadDeadline(time.Now().Add(5 * time.Second))
				buffer := make([]byte, 65535)
				got, err := c.Read(buffer)
				c.Close()
				if err != nil {
					t.Fatal(err)
				}
				limit := max(512, min(int(size), maxUDPReply))
				r := new(dns.Msg)
				if err := r.Unpack(buffer[:got]); err != nil {
					t.Fatal(err)
				}
				what := fmt.Sprintf("%d records, size %d, signed %v", n, size, sign)
				if got > limit {
					t.Errorf("%s: %d octets", what, got)
				}
				if r.Truncated == (len(r.Answer) == n) {
					t.Errorf("%s: TC %v with %d answers", what, r.Truncated, len(r.Answer))
				}
				if sign {
					if err := dns.TsigVerify(buffer[:got], keySecret, mac, false); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					if r.Truncated && (r.Rcode != dns.RcodeSuccess || len(r.Question) != 1 || len(r.Answer)+len(r.Ns) > 0) {
						t.Errorf("%s: more than the question:\n%v", what, r)
					}
				}
				if (r.IsEdns0() != nil) != (size > 0) {
					t.Errorf("%s: OPT %v", what, r.IsEdns0())
				}
			}
		}
	}
	// TCP takes it all.
	r := ask(t, "tcp", local(port), signed(query("big.500.example.org.", dns.TypeTXT)))
	if len(r.Answer) != 500 || r.IsTsig() == nil || r.Truncated {
		t.Errorf("by TCP: %d answers", len(r.Answer))
	}
}

func TestViews(t *testing.T) {
	port := freePort(t)
	start(t, fmt.Sprintf(`
		example.org:%[1]s {
			bind 127.0.0.1
			view inside {
				expr name() == 'in.example.org.'
			}
			probe inside
		}
		example.org:%[1]s {
			bind 127.0.0.1
			probe outside
		}`, port))
	for _, network := range networks {
		expect(t, ask(t, network, local(port), query("in.example.org.", dns.TypeTXT)), dns.RcodeSuccess, "inside unsigned", false)
		expect(t, ask(t, network, local(port), query("out.example.org.", dns.TypeTXT)), dns.RcodeSuccess, "outside unsigned", false)
	}
}

// The plugins that look for handlers or sockets when they start find them.
func TestNeighbours(t *testing.T) {
	port, prometheus, ready, health := freePort(t), freePort(t), freePort(t), freePort(t)
	start(t, fmt.Sprintf(`
		example.org:%[1]s {
			bind 127.0.0.1
			metadata
			prometheus 127.0.0.1:%[2]s
			ready 127.0.0.1:%[3]s
			health 127.0.0.1:%[4]s
			log
			errors
			probe a
		}
		.:%[1]s {
			bind 127.0.0.1
			forward . 127.0.0.1:%[1]s
			prometheus 127.0.0.1:%[2]s
		}`, port, prometheus, ready, health))
	ask(t, "udp", local(port), query("x.example.org.", dns.TypeTXT))
	get := func(port, path string) string {
		t.Helper()
		r, err := http.Get("http://" + local(port) + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %v", path, r.Status, err)
		}
		return string(body)
	}
	get(ready, "/ready")
	get(health, "/health")
	for _, want := range []string{
		`coredns_plugin_enabled{name="probe",server="dns://127.0.0.1:` + port + `",view="",zone="example.org."} 1`,
		`coredns_dns_requests_total{family="1",proto="udp",server="dns://127.0.0.1:` + port + `",type="other",view="",zone="example.org."} 1`,
	} {
		// TXT counts under its own type.
		want = strings.Replace(want, `type="other"`, `type="TXT"`, 1)
		// CoreDNS counts once the answer is sent.
		eventually(t, "metrics have "+want, func() bool { return strings.Contains(get(prometheus, "/metrics"), want) })
	}
}

func TestTransferIsSigned(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.3.1 every message", "5.3.1 chain")
	port := freePort(t)
	zone := filepath.Join(t.TempDir(), "db")
	var b strings.Builder
	b.WriteString("$ORIGIN example.org.\n@ 60 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "h%d 60 TXT %s\n", i, strings.Repeat("x", 60))
	}
	if err := os.WriteFile(zone, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tsig := range map[string]string{"behind tsig": tsigBlock, "without tsig": ""} {
		t.Run(name, func(t *testing.T) {
			// Without the plugin in the block the keys come from another block on the address.
			start(t, fmt.Sprintf(`
				example.org:%[1]s {
					bind 127.0.0.1
					%[2]s
					transfer {
						to *
					}
					file %[3]s
				}
				probe.test:%[1]s {
					bind 127.0.0.1
					%[4]s
					probe a
				}`, port, tsig, zone, tsigBlock))
			m := new(dns.Msg)
			m.SetAxfr("example.org.")
			c, err := dns.Dial("tcp", local(port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wire, mac, err := dns.TsigGenerate(signed(m), keySecret, "", false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(wire); err != nil {
				t.Fatal(err)
			}
			// dns.Transfer does not mind a message without TSIG, so look at each.
			messages, records := 0, 0
			for soas := 0; soas < 2; messages++ {
				c.SetReadDeadline(time.Now().Add(5 * time.Second))
				buffer := make([]byte, 65535)
				n, err := c.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				r := new(dns.Msg)
				if err := r.Unpack(buffer[:n]); err != nil {
					t.Fatal(err)
				}
				// TsigVerify takes the record off the octets.
				if err := dns.TsigVerify(buffer[:n], keySecret, mac, messages > 0); err != nil {
					t.Fatalf("message %d: %v", messages, err)
				}
				mac = r.IsTsig().MAC
				records += len(r.Answer)
				for _, rr := range r.Answer {
					if rr.Header().Rrtype == dns.TypeSOA {
						soas++
					}
				}
				if len(r.Answer) == 0 {
					t.Fatalf("got:\n%v", r)
				}
			}
			if messages < 3 || records != 3004 {
				t.Errorf("%d records in %d messages", records, messages)
			}
		})
	}
}

// A block may serve DNS over TLS as well.
func TestMixedTransports(t *testing.T) {
	port, tlsPort := freePort(t), freePort(t)
	cert, key := certificate(t)
	for name, keys := range map[string]string{
		"dns first": "example.org:" + port + " tls://example.org:" + tlsPort,
		"tls first": "tls://example.org:" + tlsPort + " example.org:" + port,
	} {
		t.Run(name, func(t *testing.T) {
			start(t, fmt.Sprintf("%s {\nbind 127.0.0.1\ntls %s %s\nprobe a\n%s}", keys, cert, key, tsigBlock))
			expect(t, ask(t, "udp", local(port), signed(query("x.example.org.", dns.TypeTXT))), dns.RcodeSuccess, "a "+keyName, true)
			c := dns.Client{Net: "tcp-tls", TLSConfig: &tls.Config{InsecureSkipVerify: true}, Timeout: 5 * time.Second}
			r, _, err := c.Exchange(query("x.example.org.", dns.TypeTXT), local(tlsPort))
			if err != nil {
				t.Fatal(err)
			}
			expect(t, r, dns.RcodeSuccess, "a unsigned", false)
		})
	}
}

func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der},
		key:  {Type: "PRIVATE KEY", Bytes: privateDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// On the wildcard address a reply comes from where the query went.
func TestReplySource(t *testing.T) {
	standard.Requires(t, "RFC 2181", "4.1 source address", "4.2 source port")
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nprobe a\n}", port))
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"} {
		// A connected socket takes nothing from elsewhere.
		r := ask(t, "udp", net.JoinHostPort(host, port), query("x.example.org.", dns.TypeTXT))
		expect(t, r, dns.RcodeSuccess, "a unsigned", false)
	}
	if c, err := net.Dial("udp", net.JoinHostPort("::1", port)); err == nil {
		c.Close()
		if _, err := net.ListenPacket("udp", "[::1]:0"); err == nil {
			r := ask(t, "udp", net.JoinHostPort("::1", port), query("x.example.org.", dns.TypeTXT))
			expect(t, r, dns.RcodeSuccess, "a unsigned", false)
		}
	}
}

// A block whose bind shares one address takes its other addresses along.
func TestSharedAddresses(t *testing.T) {
	port := freePort(t)
	start(t, fmt.Sprintf(`
		example.org:%[1]s {
			bind 127.0.0.1
			probe a
			%[2]s
		}
		example.com:%[1]s {
			bind 127.0.0.1 127.0.0.2
			whoami
		}
		example.net:%[1]s {
			bind 127.0.0.2
			whoami
		}
		192.0.2.0/23:%[1]s {
			bind 127.0.0.3
			whoami
		}`, port, tsigBlock))
	for _, at := range []struct{ host, name string }{
		{"127.0.0.1", "example.com."}, {"127.0.0.2", "example.com."}, {"127.0.0.2", "example.net."},
		{"127.0.0.3", "1.2.0.192.in-addr.arpa."}, {"127.0.0.3", "1.3.0.192.in-addr.arpa."},
	} {
		for _, network := range networks {
			if r := ask(t, network, net.JoinHostPort(at.host, port), query(at.name, dns.TypeA)); r.Rcode != dns.RcodeSuccess || len(r.Extra) == 0 {
				t.Errorf("%s on %s by %s:\n%v", at.name, at.host, network, r)
			}
		}
	}
	// The zone of one address is not served on another.
	expect(t, ask(t, "udp", net.JoinHostPort("127.0.0.1", port), query("example.net.", dns.TypeA)), dns.RcodeRefused, "", false)
}

func TestProxyProtocol(t *testing.T) {
	port := freePort(t)
	corefile := func(options string) string {
		return fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\n%s\nprobe a\n%s}", port, options, tsigBlock)
	}
	const proxied = "proxyproto {\nallow 127.0.0.1/32\n}"
	r := start(t, corefile(proxied))
	through := func(t *testing.T) {
		t.Helper()
		wire := signedWire(t, query("from.example.org.", dns.TypeTXT))
		for _, network := range networks {
			c, err := net.Dial(network, local(port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			header := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
				SourceAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}, DestinationAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 53}}
			if network == "udp" {
				header.TransportProtocol = proxyproto.UDPv4
				header.SourceAddr = &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}
				header.DestinationAddr = &net.UDPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 53}
			}
			packet, err := header.Format()
			if err != nil {
				t.Fatal(err)
			}
			if network == "tcp" {
				packet = append(packet, byte(len(wire)>>8), byte(len(wire)))
			}
			if _, err := c.Write(append(packet, wire...)); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			buffer := make([]byte, 4096)
			n, err := (&dns.Conn{Conn: c}).Read(buffer)
			if err != nil {
				t.Fatalf("%s: %v", network, err)
			}
			answer := new(dns.Msg)
			if err := answer.Unpack(buffer[:n]); err != nil {
				t.Fatal(err)
			}
			if answer.IsTsig() == nil || !strings.HasPrefix(texts(answer), "a 192.0.2.7:1234") {
				t.Errorf("%s: %v", network, answer)
			}
		}
	}
	through(t)
	// Sockets are not shared with a configuration that speaks another protocol on them, in either direction, nor with
	// one that speaks the same.
	if err := r.reload(corefile(proxied)); err != nil {
		t.Fatal(err)
	}
	through(t)
	if err := r.reload(corefile("")); err != nil {
		t.Fatal(err)
	}
	for _, network := range networks {
		expect(t, ask(t, network, local(port), signed(query("x.example.org.", dns.TypeTXT))), dns.RcodeSuccess, "a "+keyName, true)
	}
	if err := r.reload(corefile(proxied)); err != nil {
		t.Fatal(err)
	}
	through(t)
	r.stop()
	mustBeFree(t, port)
}
