package listener

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// mixed is a Corefile with a block that uses gsstsig, one with the tsig plugin, and one with neither, all on one address.
func mixed(port string) string {
	return fmt.Sprintf(`
		example.org:%[1]s {
			bind 127.0.0.1
			probe a
		}
		tsig.test:%[1]s {
			bind 127.0.0.1
			%[2]s
			whoami
		}
		other.test:%[1]s {
			bind 127.0.0.1
			status
		}`, port, tsigBlock)
}

func wireOf(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// withCount changes the count of a section: 0 is the question's, 3 the additional one's.
func withCount(wire []byte, section, by int) []byte {
	wire = append([]byte(nil), wire...)
	at := wire[4+2*section:]
	binary.BigEndian.PutUint16(at, uint16(int(binary.BigEndian.Uint16(at))+by))
	return wire
}

func optOwnedBy(owner string) *dns.OPT {
	return &dns.OPT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeOPT, Class: 1232}}
}

// Forms on which RFC 6891, BIND and CoreDNS disagree: blocks that use gsstsig do as the RFC and BIND do, others as CoreDNS.
func TestForms(t *testing.T) {
	standard.Requires(t, "RFC 6891", "6.1.1 one OPT", "6.1.2 owner")
	standard.Requires(t, "RFC 1035", "4.1.1 FORMERR")
	port := freePort(t)
	start(t, mixed(port))
	alone := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe a\n}", alone))
	make := func(change func(m *dns.Msg)) func(name string) []byte {
		return func(name string) []byte {
			m := query(name, dns.TypeTXT)
			change(m)
			return wireOf(t, m)
		}
	}
	plain := make(func(*dns.Msg) {})
	optional := &dns.A{Hdr: dns.RR_Header{Name: "x.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}
	for what, c := range map[string]struct {
		wire       func(name string) []byte
		own, other int
	}{
		"plain":           {plain, dns.RcodeSuccess, dns.RcodeSuccess},
		"an octet behind": {func(n string) []byte { return append(plain(n), 0) }, dns.RcodeSuccess, dns.RcodeSuccess},
		"a record behind, not counted": {func(n string) []byte {
			return withCount(make(func(m *dns.Msg) { m.SetEdns0(1232, false) })(n), 3, -1)
		}, dns.RcodeSuccess, dns.RcodeSuccess},
		"an additional record missing": {func(n string) []byte { return withCount(plain(n), 3, 1) }, dns.RcodeFormatError, dns.RcodeSuccess},
		"an answer missing":            {func(n string) []byte { return withCount(plain(n), 1, 1) }, dns.RcodeFormatError, dns.RcodeSuccess},
		"two questions":                {func(n string) []byte { return withCount(plain(n), 0, 1) }, dns.RcodeFormatError, dns.RcodeFormatError},
		"no question":                  {func(n string) []byte { return withCount(plain(n), 0, -1) }, dns.RcodeFormatError, dns.RcodeFormatError},
		"two OPT records": {make(func(m *dns.Msg) { m.Extra = []dns.RR{optOwnedBy("."), optOwnedBy(".")} }),
			dns.RcodeFormatError, dns.RcodeSuccess},
		"two authority records":     {make(func(m *dns.Msg) { m.Ns = []dns.RR{optional, optional} }), dns.RcodeFormatError, dns.RcodeFormatError},
		"two answers":               {make(func(m *dns.Msg) { m.Answer = []dns.RR{optional, optional} }), dns.RcodeFormatError, dns.RcodeFormatError},
		"three additional ones":     {make(func(m *dns.Msg) { m.Extra = []dns.RR{optional, optional, optional} }), dns.RcodeFormatError, dns.RcodeFormatError},
		"OPT of another owner":      {make(func(m *dns.Msg) { m.Extra = []dns.RR{optOwnedBy("x.")} }), dns.RcodeFormatError, dns.RcodeSuccess},
		"OPT in the answer section": {make(func(m *dns.Msg) { m.Answer = []dns.RR{optOwnedBy(".")} }), dns.RcodeFormatError, dns.RcodeSuccess},
	} {
		t.Run(what, func(t *testing.T) {
			for name, want := range map[string]int{"x.example.org.": c.own, "x.other.test.": c.other} {
				if r := exchange(t, port, c.wire(name)); r.Rcode != want {
					t.Errorf("%s: want %s, got:\n%v", name, dns.RcodeToString[want], r)
				}
			}
			if r := exchange(t, alone, c.wire("x.example.org.")); r.Rcode != c.own {
				t.Errorf("without other blocks: want %s, got:\n%v", dns.RcodeToString[c.own], r)
			}
		})
	}
}

// A block that uses neither gsstsig nor tsig answers whatever signature comes with a question. What it asks of TsigStatus
// is never that an unverified signature is a good one.
func TestUnverifiedSignaturesElsewhere(t *testing.T) {
	port := freePort(t)
	start(t, mixed(port))
	signedBy := func(name, key string, age int64) []byte {
		m := query(name, dns.TypeTXT)
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix()-age)
		wire, _, err := dns.TsigGenerate(m, keySecret, "", false)
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	for what, c := range map[string]struct {
		wire   func(name string) []byte
		rcode  int
		error  uint16
		status error
	}{
		"unknown key": {func(n string) []byte { return signedBy(n, "nobody.test.", 0) }, dns.RcodeNotAuth, dns.RcodeBadKey, dns.ErrSecret},
		"wrong MAC": {func(n string) []byte {
			wire := signedBy(n, keyName, 0)
			wire[13] ^= 0x20 // the case of a letter of the question
			return wire
		}, dns.RcodeNotAuth, dns.RcodeBadSig, dns.ErrSig},
		"too old": {func(n string) []byte { return signedBy(n, keyName, 3600) }, dns.RcodeNotAuth, dns.RcodeBadTime, dns.ErrTime},
		"not the last record": {func(n string) []byte {
			m := new(dns.Msg)
			if err := m.Unpack(signedBy(n, keyName, 0)); err != nil {
				t.Fatal(err)
			}
			m.Extra = append(m.Extra, optOwnedBy("."))
			return wireOf(t, m)
		}, dns.RcodeFormatError, 0, dns.ErrSig},
	} {
		t.Run(what, func(t *testing.T) {
			for _, zone := range []string{"example.org.", "tsig.test."} {
				r := exchange(t, port, c.wire("x."+zone))
				if r.Rcode != c.rcode || len(r.Answer) != 0 {
					t.Errorf("%s: want %s, got:\n%v", zone, dns.RcodeToString[c.rcode], r)
				}
				tsig := r.IsTsig()
				if c.error != 0 && (tsig == nil || tsig.Error != c.error || (tsig.MACSize > 0) != (c.error == dns.RcodeBadTime)) {
					t.Errorf("%s: TSIG %v", zone, tsig)
				}
				if zone == "tsig.test." && c.error != 0 && (tsig.TimeSigned != 0) != (c.error == dns.RcodeBadTime) {
					t.Errorf("%s: not as CoreDNS answers: TSIG %v", zone, tsig)
				}
			}
			// A question that a plugin asks within another request is not that request.
			r := exchange(t, port, c.wire("via.other.test."))
			if r.Rcode != dns.RcodeSuccess || texts(r) != "a unsigned" {
				t.Errorf("asked by a plugin:\n%v", r)
			}
			r = exchange(t, port, c.wire("x.other.test."))
			if r.Rcode != dns.RcodeSuccess || texts(r) != c.status.Error() || r.IsTsig() != nil {
				t.Errorf("want an unsigned answer and %v, got:\n%v", c.status, r)
			}
		})
	}

	good := exchange(t, port, signedBy("x.other.test.", keyName, 0))
	if texts(good) != "verified" || good.IsTsig() == nil {
		t.Errorf("a good signature:\n%v", good)
	}
}

// NOTIMP and FORMERR are a header, with the flags that the client is waiting for, and OPT where the request has one.
func TestRejectionsAreShort(t *testing.T) {
	standard.Requires(t, "RFC 1035", "4.1.1 NOTIMP", "4.1.1 FORMERR")
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe a\n%s}", port, tsigBlock))
	for _, opcode := range []int{dns.OpcodeIQuery, dns.OpcodeStatus, 3, 6, 15} {
		for _, edns := range []bool{false, true} {
			m := query("x.example.org.", dns.TypeTXT)
			m.Opcode = opcode
			if edns {
				m.SetEdns0(1232, false)
			}
			r := exchange(t, port, wireOf(t, m))
			if r.Rcode != dns.RcodeNotImplemented || r.Opcode != opcode || !r.RecursionDesired || len(r.Question) != 0 || (r.IsEdns0() != nil) != edns {
				t.Errorf("got:\n%v", r)
			}
		}
	}
	r := exchange(t, port, wireOf(t, query("x.example.org.", dns.TypeTXT))[:20])
	if r.Rcode != dns.RcodeFormatError || !r.RecursionDesired || len(r.Question) != 0 {
		t.Errorf("got:\n%v", r)
	}
}

// An OPT record that cannot be read is FORMERR, with an OPT record: the client sees that it is not EDNS that is unknown.
func TestMalformedOPT(t *testing.T) {
	standard.Requires(t, "RFC 6891", "6.1.1 one OPT", "6.1.2 owner", "7 malformed OPT")
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe a\n%s}", port, tsigBlock))
	plain := query("x.example.org.", dns.TypeTXT)
	withData := func(data string) []byte {
		wire := withCount(wireOf(t, plain), 3, 1)
		wire = append(wire, 0, 0, byte(dns.TypeOPT), 4, 208, 0, 0, 0, 0, 0, byte(len(data)))
		return append(wire, data...)
	}
	two := plain.Copy()
	two.Extra = []dns.RR{optOwnedBy("."), optOwnedBy(".")}
	owned := plain.Copy()
	owned.Extra = []dns.RR{optOwnedBy("x.")}
	for what, wire := range map[string][]byte{
		"an option beyond the end":     withData("\x00\x03\x00\x05ab"),
		"an option without length":     withData("\x00\x03\x00"),
		"an address of a wrong length": withData("\x00\x08\x00\x05\x00\x01\x21\x00a"),
		"two OPT records":              wireOf(t, two),
		"OPT of another owner":         wireOf(t, owned),
	} {
		r := exchange(t, port, wire)
		opt := r.IsEdns0()
		if r.Rcode != dns.RcodeFormatError || opt == nil || opt.Version() != 0 || opt.Hdr.Name != "." {
			t.Errorf("%s:\n%v", what, r)
		}
	}
	if r := exchange(t, port, wireOf(t, plain)[:20]); r.Rcode != dns.RcodeFormatError || r.IsEdns0() != nil {
		t.Errorf("no OPT record at all:\n%v", r)
	}
}

// What gets no answer does not end a TCP connection, until its source has sent too much of it.
func TestIgnoredMessagesByTCP(t *testing.T) {
	b := startBounded(t, Limits{SourceErrors: 3})
	conn, err := net.Dial("tcp", local(b.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &dns.Conn{Conn: conn}
	response := wireOf(t, query("x.one.org.", dns.TypeTXT))
	response[2] |= 0x80
	framed := append([]byte{0, byte(len(response))}, response...)
	for _, ignored := range [][]byte{{0, 0}, {0, 3, 1, 2, 3}, framed} {
		if _, err := conn.Write(ignored); err != nil {
			t.Fatal(err)
		}
		if err := c.WriteMsg(query("x.one.org.", dns.TypeTXT)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if r, err := c.ReadMsg(); err != nil || texts(r) != "one unsigned" {
			t.Fatalf("after %x: %v %v", ignored, err, r)
		}
	}
	for range 20 {
		conn.Write([]byte{0, 0})
	}
	c.WriteMsg(query("x.one.org.", dns.TypeTXT))
	if r, err := c.ReadMsg(); err == nil {
		t.Errorf("the connection goes on:\n%v", r)
	}
}

// A TKEY query that is none of GSS-TSIG goes where CoreDNS would have it go.
func TestTKEYElsewhere(t *testing.T) {
	standard.Requires(t, "RFC 2930", "3 no state")
	realmOf(t, "a")
	port := freePort(t)
	start(t, mixed(port))
	tkey := func(name string, mode uint16) *dns.Msg {
		m := query(name, dns.TypeTKEY)
		if mode != 0 {
			m.Extra = []dns.RR{&dns.TKEY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTKEY, Class: dns.ClassANY}, Algorithm: "gss-tsig.",
				Inception: 1, Expiration: 2, Mode: mode, KeySize: 1, Key: "00"}}
		}
		return m
	}
	for _, c := range []struct {
		name  string
		mode  uint16
		rcode int
		text  string
	}{
		{"k.other.test.", 0, dns.RcodeSuccess, "verified"},
		{"k.other.test.", 2, dns.RcodeSuccess, "verified"},
		{"k.no.zone.", 0, dns.RcodeRefused, ""},
		{"k.example.org.", 0, dns.RcodeFormatError, ""},
	} {
		r := exchange(t, port, wireOf(t, tkey(c.name, c.mode)))
		if r.Rcode != c.rcode || texts(r) != c.text {
			t.Errorf("%s, mode %d: want %s, got:\n%v", c.name, c.mode, dns.RcodeToString[c.rcode], r)
		}
	}
	r := exchange(t, port, wireOf(t, tkey("k.example.org.", 2)))
	if len(r.Answer) != 1 || r.Answer[0].(*dns.TKEY).Error != dns.RcodeBadMode {
		t.Errorf("mode 2 in a block of ours:\n%v", r)
	}
	// GSS-TSIG is negotiated whatever the name of the key.
	r = exchange(t, port, wireOf(t, tkey("k.other.test.", 3)))
	if len(r.Answer) != 1 || r.Answer[0].(*dns.TKEY).Error != dns.RcodeBadKey {
		t.Errorf("mode 3:\n%v", r)
	}
}

// RFC 6891 section 6.1.3 goes for TKEY, too.
func TestTKEYOfOtherEDNSVersion(t *testing.T) {
	standard.Requires(t, "RFC 6891", "6.1.3 version")
	b := startBounded(t, Limits{})
	_, token := initiate(t, b.host, b.keys)
	m := tkeyQuery("k.test.", dns.ClassANY, false, token)
	m.SetEdns0(1232, false)
	m.IsEdns0().SetVersion(1)
	r := b.send("udp", "127.0.0.1", pack(t, m))
	if r.Rcode != dns.RcodeBadVers || len(r.Answer) != 0 || r.IsEdns0() == nil || r.IsEdns0().Version() != 0 {
		t.Errorf("got:\n%v", r)
	}
}

// An UPDATE of another class finds no zone, RFC 2136 section 3.1.2.
func TestUpdateOfOtherClass(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.1.1 authority")
	port := freePort(t)
	start(t, mixed(port))
	m := new(dns.Msg)
	m.SetUpdate("example.org.")
	m.Question[0].Qclass = dns.ClassCHAOS
	if r := exchange(t, port, wireOf(t, m)); r.Rcode != dns.RcodeNotAuth || r.Opcode != dns.OpcodeUpdate {
		t.Errorf("got:\n%v", r)
	}
}

// The blocks that use gsstsig send 1,232 octets at most, others what the client takes.
func TestSizeOfUDPReplies(t *testing.T) {
	standard.Requires(t, "RFC 6891", "6.2.3 below 512", "6.2.3 size", "6.2.5 own limit")
	standard.Requires(t, "RFC 1035", "4.2.1 512 octets")
	port := freePort(t)
	start(t, mixed(port))
	for _, size := range []uint16{0, 1, 100, 512, 1000, 1232, 1500, 4096} {
		for zone, limit := range map[string]int{"example.org.": min(max(int(size), 512), maxUDPReply), "other.test.": max(int(size), 512)} {
			m := query("big.250."+zone, dns.TypeTXT)
			if size != 0 {
				m.SetEdns0(size, false)
			}
			c, err := net.Dial("udp", local(port))
			if err != nil {
				t.Fatal(err)
			}
			c.Write(wireOf(t, m))
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			buffer := make([]byte, 65535)
			n, err := c.Read(buffer)
			c.Close()
			if err != nil {
				t.Fatal(err)
			}
			if n > limit || n < limit-200 {
				t.Errorf("%s with %d: %d octets", zone, size, n)
			}
		}
		q := plainQuery{edns: size != 0, size: size}
		if got, want := q.limit(), min(max(int(size), 512), maxUDPReply); got != want {
			t.Errorf("the shortcut with %d: %d octets, want %d", size, got, want)
		}
	}
}

// The buffer of a request is used again while plugins have the request, which must not lie in it.
func TestRequestsOwnTheirOctets(t *testing.T) {
	var records []dns.RR
	for _, text := range []string{
		"x. 1 A 192.0.2.1", "x. 1 AAAA 2001:db8::1", "x. 1 TXT abc def", "x. 1 NULL \\# 3 616263", "x. 1 CAA 0 issue \"ca\"",
		"x. 1 SVCB 1 . alpn=h2 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1 key65000=ab", "x. 1 APL 1:192.0.2.0/24", "x. 1 TYPE65280 \\# 3 616263",
		"x. 1 DS 1 8 2 0102", "x. 1 IPSECKEY 1 1 2 192.0.2.1 AQID", "x. 1 LOC 60 9 0.000 N 24 39 0.000 E 10m", "x. 1 EUI48 01-02-03-04-05-06",
		"x. 1 NSEC x. A", "x. 1 URI 1 1 \"abc\"", "x. 1 L32 1 10.1.2.0",
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(text, err)
		}
		records = append(records, rr)
	}
	opt := optOwnedBy(".")
	opt.Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("abc")}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)}, &dns.EDNS0_PADDING{Padding: []byte("abc")}}
	m := new(dns.Msg)
	m.SetUpdate("x.")
	m.Ns, m.Extra = records, []dns.RR{opt, &dns.TKEY{Hdr: dns.RR_Header{Name: "k.", Rrtype: dns.TypeTKEY, Class: dns.ClassANY}, Algorithm: "a.", KeySize: 1, Key: "61"}}
	wire := wireOf(t, m)
	request := new(dns.Msg)
	if err := request.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	before := request.String()
	clear(wire)
	if after := request.String(); after != before {
		t.Errorf("was:\n%s\nis:\n%s", before, after)
	}
}

// A verified signature stays one although octets follow it, which it does not cover and nothing reads.
func TestOctetsBehindTSIG(t *testing.T) {
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\nprobe a\n%s}", port, tsigBlock))
	r := exchange(t, port, append(signedWire(t, query("x.example.org.", dns.TypeTXT)), strings.Repeat("x", 50)...))
	expect(t, r, dns.RcodeSuccess, "a "+keyName, true)
}

func FuzzEndOfMessage(f *testing.F) {
	f.Add(wireOf(f, query("x.example.org.", dns.TypeTXT).SetEdns0(1232, true)))
	f.Add([]byte("\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0"))
	a := gsstsig.NewAuthenticator(nil)
	f.Fuzz(func(t *testing.T, wire []byte) {
		if len(wire) < headerSize {
			return
		}
		end, ok := messageEnd(wire)
		if ok && (end < headerSize || end > len(wire)) {
			t.Fatalf("end %d of %d octets", end, len(wire))
		}
		// What is well-formed for the authenticator is not cut.
		if m := a.Inspect(wire); !m.Malformed() && (!ok || end != len(wire)) {
			t.Errorf("end %d, %v of %d octets that are well-formed", end, ok, len(wire))
		}
	})
}
