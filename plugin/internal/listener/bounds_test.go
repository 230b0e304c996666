package listener

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

func sourceOf(address string) ratelimit.Key { return ratelimit.Of(netip.MustParseAddr(address)) }

// bounded is a server whose accounts are never filled up again, and a Kerberos realm.
type bounded struct {
	t    *testing.T
	port string
	host string
	keys *keytab.Keytab
}

func startBounded(t *testing.T, limits Limits) *bounded {
	t.Helper()
	moment := time.Now()
	limits.now = func() time.Time { return moment }
	if limits.closeDelay == 0 {
		limits.closeDelay = time.Millisecond
	}
	b := &bounded{t: t, port: freePort(t), host: "one.example.org"}
	server, keys := kerberosServer(t, b.host, time.Now)
	b.keys = keys
	probeServers.Store("one", server)
	probeLimits.Store("one", limits)
	t.Cleanup(func() {
		probeServers.Delete("one")
		probeLimits.Delete("one")
	})
	start(t, fmt.Sprintf("one.org:%s {\n%s\nprobe one\n}", b.port, tsigBlock))
	return b
}

// server is the running one.
func (b *bounded) server() *server {
	b.t.Helper()
	var s *server
	eventually(b.t, "the server is running", func() bool {
		s = endpointOf("dns://:" + b.port).current.Load()
		return s != nil
	})
	return s
}

// limiter is that of the running server.
func (b *bounded) limiter() *limiter {
	b.t.Helper()
	return b.server().limiter
}

// send sends octets from a loopback address and returns the answer, nil if there is none: if it was counted as dropped,
// or, by TCP, if the connection was closed.
func (b *bounded) send(network, from string, wire []byte) *dns.Msg {
	b.t.Helper()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	if network == "udp" {
		dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
	} else {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial(network, local(b.port))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	before := drops()
	c := &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
	if _, err := c.Write(wire); err != nil {
		b.t.Fatal(err)
	}
	wait := 5 * time.Millisecond // between looks at what was dropped
	if network == "tcp" {
		wait = 10 * time.Second
	}
	for end := time.Now().Add(10 * time.Second); ; {
		c.SetReadDeadline(time.Now().Add(wait))
		m, err := c.ReadMsg()
		switch {
		case m != nil && (err == nil || errors.Is(err, dns.ErrSecret) || errors.Is(err, dns.ErrAuth)):
			return m
		case err == nil || !isReset(err): // nothing yet
			if network == "udp" && drops() > before {
				return nil
			}
		case network == "tcp":
			return nil
		default:
			b.t.Fatal(err)
		}
		if time.Now().After(end) {
			b.t.Fatal("neither answered nor dropped")
		}
	}
}

// drops is how many UDP messages were dropped unanswered.
func drops() int {
	n := 0
	for _, reason := range []string{"errors", "forgeries", "handshakes", "suspects", "busy"} {
		n += counts.get(reason)
	}
	return n
}

func pack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// handshake makes a context from an address and returns its side of the key, or what the answer said.
func (b *bounded) handshake(network, from, name string) (*krb5.InitiatorContext, *dns.Msg) {
	b.t.Helper()
	client, token := initiate(b.t, b.host, b.keys)
	answer := b.send(network, from, pack(b.t, tkeyQuery(name, dns.ClassANY, false, token)))
	if answer == nil || len(answer.Answer) == 0 || answer.Answer[0].(*dns.TKEY).Error != 0 {
		return nil, answer
	}
	reply, err := hex.DecodeString(answer.Answer[0].(*dns.TKEY).Key)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := client.Init(reply); err != nil {
		b.t.Fatal(err)
	}
	return client, answer
}

func (b *bounded) signed(key *krb5.InitiatorContext, name string) []byte {
	b.t.Helper()
	m := query("x.one.org.", dns.TypeTXT)
	m.SetTsig(name, "gss-tsig.", 300, time.Now().Unix())
	wire, _, err := dns.TsigGenerateWithProvider(m, provider{key}, "", false)
	if err != nil {
		b.t.Fatal(err)
	}
	return wire
}

// Handshakes of a source that fails too often are refused, but an attacker that forges its address by UDP cannot lock it
// out. The work that an unknown client can cause is bounded (BIND CVE-2024-1975).
func TestFailingHandshakes(t *testing.T) {
	b := startBounded(t, Limits{HandshakeFailures: 3})
	const bad, good = "127.0.0.66", "127.0.0.1"
	key, _ := b.handshake("tcp", bad, "before.test.")
	if key == nil {
		t.Fatal("no context")
	}
	garbage := pack(t, tkeyQuery("k.test.", dns.ClassANY, false, []byte{1}))
	for range 3 {
		if r := b.send("udp", bad, garbage); r == nil || r.Truncated || r.Answer[0].(*dns.TKEY).Error != dns.RcodeBadKey {
			t.Fatalf("answer:\n%v", r)
		}
	}
	before := counts.get("failures")
	client, r := b.handshake("udp", bad, "udp.test.")
	if client != nil || r == nil || !r.Truncated || len(r.Answer) != 0 || r.Rcode != dns.RcodeSuccess {
		t.Errorf("over the limit by UDP:\n%v", r)
	}
	if counts.get("failures") != before+1 {
		t.Error("not counted")
	}
	// The address may be a victim's, who comes by TCP.
	if client, r = b.handshake("tcp", bad, "tcp.test."); client == nil {
		t.Errorf("the victim is shut out:\n%v", r)
	}
	if client, r = b.handshake("udp", good, "good.test."); client == nil {
		t.Errorf("another source:\n%v", r)
	}
	for range 3 {
		if r := b.send("tcp", bad, garbage); r == nil || len(r.Answer) == 0 || r.Answer[0].(*dns.TKEY).Error != dns.RcodeBadKey {
			t.Fatalf("answer:\n%v", r)
		}
	}
	if client, r = b.handshake("tcp", bad, "tcp2.test."); client != nil || r == nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("over the limit by TCP:\n%v", r)
	}
	// What was negotiated before goes on.
	for _, network := range networks {
		if r := b.send(network, bad, b.signed(key, "before.test.")); r == nil || texts(r) != "one before.test." {
			t.Errorf("%s: the source's context is dead:\n%v", network, r)
		}
	}
}

// What a source has done for it at a time is charged, also beyond the limit, and it has to make up for that: in the long run it gets
// no more than the limit says.
func TestWorkAtATimeIsCharged(t *testing.T) {
	now := time.Unix(1e9, 0)
	g := newLimiter(Limits{HandshakeFailures: 60, SourceErrors: 10, now: func() time.Time { return now }})
	k, key := sourceOf("192.0.2.1"), []byte("k")
	limited := map[string]func() bool{
		"handshakes by TCP": func() bool { return g.handshakesLimited(k, true) },
		"handshakes by UDP": func() bool { return g.handshakesLimited(k, false) },
		"TLS handshakes":    func() bool { return g.tlsLimited(k) },
		"forgeries by TCP":  func() bool { return g.forgeriesLimited(k.With(key), true) },
		"forgeries by UDP":  func() bool { return g.forgeriesLimited(k.With(key), false) },
	}
	for range 256 {
		g.recordHandshake(k, true, false)
		g.recordHandshake(k, false, false)
		g.recordTLSFailure(k)
		g.recordForgery(k, key, true)
		g.recordForgery(k, key, false)
	}
	check := func(after time.Duration, want bool) {
		t.Helper()
		now = now.Add(after)
		for what, is := range limited {
			if strings.HasPrefix(what, "forgeries") {
				continue
			}
			if is() != want {
				t.Errorf("%s: %t", what, !want)
			}
		}
	}
	// 60 at once, then one a second: 256 of them take 196 seconds.
	check(0, true)
	check(196*time.Second, true)
	check(time.Second, false)
	now = time.Unix(1e9, 0)
	for what, is := range limited {
		if !strings.HasPrefix(what, "forgeries") {
			continue
		}
		// 20 at once, then 10 a second.
		now = time.Unix(1e9, 0).Add(236 * time.Second / 10)
		if !is() {
			t.Errorf("%s: not limited", what)
		}
		now = now.Add(time.Second / 10)
		if is() {
			t.Errorf("%s: still limited", what)
		}
	}
	// All that write addresses into UDP messages are one, and 20 times as many.
	now = time.Unix(1e9, 0)
	g = newLimiter(Limits{HandshakeFailures: 60, now: func() time.Time { return now }})
	for i := range 2 * allFailures * 60 {
		g.recordHandshake(sourceOf(fmt.Sprintf("198.51.%d.%d", i>>8, i&255)), false, false)
	}
	now = now.Add(time.Minute)
	if !g.handshakesLimited(k, false) {
		t.Error("UDP from everywhere: not limited after a minute")
	}
	now = now.Add(time.Second)
	if g.handshakesLimited(k, false) {
		t.Error("UDP from everywhere: still limited")
	}
}

// Negotiations of several rounds are charged for until they are done, so that many of them are not for free.
func TestUnfinishedHandshakesAreCharged(t *testing.T) {
	g := newLimiter(Limits{HandshakeFailures: 2, now: func() time.Time { return time.Unix(1e9, 0) }})
	k := sourceOf("192.0.2.1")
	for range 5 {
		g.recordHandshake(k, true, false) // the first round
		g.recordHandshake(k, true, true)  // the second
	}
	if g.handshakesLimited(k, true) {
		t.Error("finished ones are charged for")
	}
	g.recordHandshake(k, true, false)
	g.recordHandshake(k, true, false)
	if !g.handshakesLimited(k, true) || g.handshakesLimited(sourceOf("192.0.2.2"), true) {
		t.Error("unfinished negotiations are not charged to their source")
	}
	// All that write addresses into UDP messages are one.
	for i := range allFailures * 2 {
		g.recordHandshake(sourceOf(fmt.Sprintf("198.51.100.%d", i)), false, false)
	}
	if !g.handshakesLimited(sourceOf("192.0.2.2"), false) || g.handshakesLimited(sourceOf("192.0.2.2"), true) {
		t.Error("UDP from everywhere is unbounded, or TCP bounded by it")
	}
}

// Handshakes beyond those worked on and waiting are turned away at once.
func TestHandshakeQueue(t *testing.T) {
	b := startBounded(t, Limits{Handshakes: 2, HandshakeQueue: 3})
	g := b.limiter()
	established, _ := b.handshake("udp", "127.0.0.1", "first.test.")
	if established == nil {
		t.Fatal("no context")
	}
	for range 2 {
		if !g.handshakes.acquire() {
			t.Fatal("full")
		}
	}
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			if !g.handshakes.acquire() {
				t.Error("no query waits")
				return
			}
			g.handshakes.release()
		})
	}
	eventually(t, "three are waiting", func() bool { return g.handshakes.waiting.Load() == 3 })
	before := counts.get("handshakes")
	if client, r := b.handshake("tcp", "127.0.0.1", "tcp.test."); client != nil || r == nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("by TCP:\n%v", r)
	}
	if client, r := b.handshake("udp", "127.0.0.1", "udp.test."); client != nil || r != nil {
		t.Errorf("by UDP:\n%v", r)
	}
	eventually(t, "both are counted", func() bool { return counts.get("handshakes") == before+2 })
	if r := b.send("udp", "127.0.0.1", b.signed(established, "first.test.")); r == nil || texts(r) != "one first.test." {
		t.Errorf("an established client waits for handshakes:\n%v", r)
	}
	g.handshakes.release()
	g.handshakes.release()
	waiting.Wait()
	if client, r := b.handshake("udp", "127.0.0.1", "after.test."); client == nil {
		t.Errorf("after the rush:\n%v", r)
	}
}

// A handshake that has waited while others of its source failed is refused like one that comes then.
func TestHandshakesAreCountedWhileOneWaits(t *testing.T) {
	b := startBounded(t, Limits{Handshakes: 1, HandshakeFailures: 2})
	g := b.limiter()
	if !g.handshakes.acquire() {
		t.Fatal("full")
	}
	var group sync.WaitGroup
	group.Go(func() {
		if client, r := b.handshake("tcp", "127.0.0.1", "waits.test."); client != nil || r == nil || r.Rcode != dns.RcodeRefused {
			t.Errorf("after failures of others:\n%v", r)
		}
	})
	eventually(t, "one waits", func() bool { return g.handshakes.waiting.Load() == 1 })
	for range 2 {
		g.recordHandshake(sourceOf("127.0.0.1"), true, false)
	}
	g.handshakes.release()
	group.Wait()
}

// A source is told a bounded number of errors, whatever the error.
func TestErrorsAreRationed(t *testing.T) {
	unknown := query("x.one.org.", dns.TypeTXT)
	unknown.SetTsig("other.test.", dns.HmacSHA256, 300, time.Now().Unix())
	unknownKey, _, err := dns.TsigGenerate(unknown, keySecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	wrongMAC := signedWire(t, query("x.one.org.", dns.TypeTXT))
	wrongMAC[20] ^= 1
	cut := pack(t, query("x.one.org.", dns.TypeTXT))[:20]
	for name, wire := range map[string][]byte{"unknown key": unknownKey, "wrong MAC": wrongMAC, "malformed": cut} {
		t.Run(name, func(t *testing.T) {
			b := startBounded(t, Limits{SourceErrors: 2})
			for network, from := range map[string]string{"udp": "127.0.0.66", "tcp": "127.0.0.67"} {
				answers := 0
				for range 20 {
					if b.send(network, from, wire) != nil {
						answers++
					}
				}
				if answers > 4 || answers == 0 {
					t.Errorf("%s: %d answers", network, answers)
				}
				for _, right := range [][]byte{signedWire(t, query("x.one.org.", dns.TypeTXT)), pack(t, query("x.one.org.", dns.TypeTXT))} {
					if r := b.send(network, "127.0.0.1", right); r == nil || r.Rcode != dns.RcodeSuccess {
						t.Errorf("%s: another source pays for it:\n%v", network, r)
					}
				}
				if r := b.send(network, from, pack(t, query("x.one.org.", dns.TypeTXT))); r == nil || r.Rcode != dns.RcodeSuccess {
					t.Errorf("%s: what is right is not answered any more:\n%v", network, r)
				}
			}
		})
	}
}

// Wrong MACs of one key from one source are not even computed in the end. Others with the key, and others at the source,
// do not notice.
func TestForgeries(t *testing.T) {
	b := startBounded(t, Limits{SourceErrors: 2})
	const bad, good = "127.0.0.66", "127.0.0.1"
	attacked, _ := b.handshake("udp", good, "attacked.test.")
	neighbour, _ := b.handshake("udp", bad, "neighbour.test.")
	if attacked == nil || neighbour == nil {
		t.Fatal("no contexts")
	}
	forgeries, badsig := counts.get("forgeries"), counts.get("badsig")
	const n = 20
	for range n {
		forged := b.signed(attacked, "attacked.test.")
		forged[20] ^= 1
		b.send("udp", bad, forged)
	}
	eventually(t, "all are counted", func() bool { return counts.get("forgeries")-forgeries+counts.get("badsig")-badsig == n })
	if computed := counts.get("badsig") - badsig; computed > 4 {
		t.Errorf("%d of %d MACs were computed", computed, n)
	}
	if r := b.send("udp", good, b.signed(attacked, "attacked.test.")); r == nil || texts(r) != "one attacked.test." {
		t.Errorf("the key's owner:\n%v", r)
	}
	if r := b.send("udp", bad, b.signed(neighbour, "neighbour.test.")); r == nil || texts(r) != "one neighbour.test." {
		t.Errorf("another client at the source:\n%v", r)
	}
	if r := b.send("tcp", bad, b.signed(attacked, "attacked.test.")); r == nil || texts(r) != "one attacked.test." {
		t.Errorf("the source, proven:\n%v", r)
	}
}

// Unsigned updates of a source that was refused many wait for each other, so that a flood of them does not fill the
// machine, and alone they are still answered.
func TestSuspects(t *testing.T) {
	b := startBounded(t, Limits{SourceErrors: 2})
	update := new(dns.Msg).SetUpdate("one.org.")
	wire := pack(t, update)
	const bad = "127.0.0.66"
	for i := range 20 {
		if r := b.send("tcp", bad, wire); r == nil || r.Rcode != dns.RcodeRefused {
			t.Fatalf("update %d:\n%v", i, r)
		}
	}
	g := b.limiter()
	if !g.errorsExhausted(sourceOf(bad), true) || g.errorsExhausted(sourceOf("127.0.0.1"), true) {
		t.Fatal("refused updates are not charged for")
	}
	if !g.suspects.acquire() { // another update is worked on
		t.Fatal("full")
	}
	g.suspects.waiting.Add(suspectsWaiting) // and others' wait
	before := counts.get("suspects")
	if r := b.send("tcp", bad, wire); r != nil {
		t.Errorf("answer:\n%v", r)
	}
	if counts.get("suspects") != before+1 {
		t.Error("not counted")
	}
	if r := b.send("tcp", "127.0.0.1", wire); r == nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("another source:\n%v", r)
	}
	key, _ := b.handshake("udp", bad, "k.test.")
	if r := b.send("tcp", bad, b.signed(key, "k.test.")); r == nil || texts(r) != "one k.test." {
		t.Errorf("a signed message of the source:\n%v", r)
	}
	g.suspects.waiting.Add(-suspectsWaiting)
	g.suspects.release()
	if r := b.send("tcp", bad, wire); r == nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("after the rush:\n%v", r)
	}
}

// When there is room for few, it is for those who name a key.
func TestEstablishedComeFirst(t *testing.T) {
	b := startBounded(t, Limits{})
	e := endpointOf("dns://:" + b.port)
	e.busy.Add(maxUnproven)
	defer e.busy.Add(-maxUnproven)
	conn, err := net.Dial("udp", local(b.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := counts.get("busy")
	conn.Write(pack(t, query("x.one.org.", dns.TypeTXT)))
	eventually(t, "the drop is counted", func() bool { return counts.get("busy") == before+1 })
	expect(t, ask(t, "udp", local(b.port), signed(query("x.one.org.", dns.TypeTXT))), dns.RcodeSuccess, "one "+keyName, true)
}

// A client without a ticket cannot make the server send more octets to a forged address than the client sends.
func TestNoAmplification(t *testing.T) {
	b := startBounded(t, Limits{})
	long := ""
	for range 3 {
		long += "a23456789012345678901234567890123456789012345678901234567890123."
	}
	// The question's name stands for those of the TSIG record as well, by pointers.
	compressed := pack(t, query(long+"x.", dns.TypeTXT))
	compressed[11] = 1
	compressed = append(compressed, 0xc0, 12, 0, 250, 0, 255, 0, 0, 0, 0, 0, 2+16, 0xc0, 12, 0, 0, 0, 0, 0, 0, 1, 44, 0, 0, 0, 0, 0, 0, 0, 0)
	tokens := map[string][]byte{
		"":           {1},
		"no mech":    {0x60, 0x03, 0x06, 0x01, 0x2a},
		"Kerberos":   {0x60, 0x0f, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01, 0x00, 0x6e, 0x00},
		"SPNEGO":     {0x60, 0x1b, 0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02, 0xa0, 0x11, 0x30, 0x0f, 0xa0, 0x0d, 0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02},
		"SPNEGO, MS": {0x60, 0x1b, 0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02, 0xa0, 0x11, 0x30, 0x0f, 0xa0, 0x0d, 0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02},
	}
	messages := map[string][]byte{"compressed TSIG": compressed}
	for name, token := range tokens {
		for _, keyName := range []string{".", "k.", long} {
			for _, inAnswer := range []bool{false, true} {
				m := tkeyQuery(keyName, dns.ClassANY, inAnswer, token)
				m.Compress = true
				messages[fmt.Sprintf("%s, %.5s, %v", name, keyName, inAnswer)] = pack(t, m)
				m.SetEdns0(4096, true)
				messages[fmt.Sprintf("%s, %.5s, %v, OPT", name, keyName, inAnswer)] = pack(t, m)
			}
		}
	}
	for name, wire := range messages {
		conn, err := net.Dial("udp", local(b.port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(wire)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		buffer := make([]byte, 65535)
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n > len(wire) {
			t.Errorf("%s: %d octets for %d", name, n, len(wire))
		}
		if err := new(dns.Msg).Unpack(buffer[:n]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Nor does a refusal become larger by the reason in it.
	_, token := initiate(t, b.host, b.keys)
	for n, name := range []string{"first.test.", "again.test."} {
		wire := pack(t, tkeyQuery(name, dns.ClassANY, false, token))
		answer := b.send("udp", "127.0.0.1", wire)
		tkey := answer.Answer[0].(*dns.TKEY)
		if got := len(pack(t, answer)); n == 1 && (tkey.Error != dns.RcodeBadKey || tkey.KeySize == 0 || got > len(wire)) {
			t.Errorf("%d octets for %d:\n%v", got, len(wire), answer)
		}
	}
	// A context that is made is answered in full, by less than was sent.
	if client, r := b.handshake("udp", "127.0.0.1", "k.test."); client == nil || r.Truncated {
		t.Errorf("answer:\n%v", r)
	}
}

// A source's connections beyond its share cost its own.
func TestConnectionsOfASource(t *testing.T) {
	table := newConnectionTable()
	from := func(address string) *connection { return &connection{source: sourceOf(address)} }
	first := from("192.0.2.1")
	add := func(c, evicted *connection, ok bool) {
		t.Helper()
		if e, o := table.add(c, 5, 2); e != evicted || o != ok {
			t.Errorf("evicted %p, %v; want %p, %v", e, o, evicted, ok)
		}
	}
	add(first, nil, true) // the longest idle of all
	a, b, c, d := from("192.0.2.66"), from("192.0.2.66"), from("192.0.2.66"), from("192.0.2.66")
	add(a, nil, true)
	add(b, nil, true)
	table.setBusy(a)
	add(c, b, true)
	table.setBusy(c)
	add(d, nil, false) // both are at work
	table.setIdle(a)
	add(d, a, true)
	table.remove(a) // again
	table.remove(d)
	table.remove(c)
	unknown := [3]connection{}
	for i := range unknown {
		add(&unknown[i], nil, true) // whose source is not known yet
	}
	if len(table.open) != 4 || len(table.sources) != 1 || table.idle != 4 {
		t.Errorf("%d open, %d sources, %d idle", len(table.open), len(table.sources), table.idle)
	}
	table.remove(first)
	for i := range unknown {
		table.remove(&unknown[i])
	}
	if len(table.open) != 0 || len(table.sources) != 0 || table.idle != 0 {
		t.Errorf("%d open, %d sources, %d idle", len(table.open), len(table.sources), table.idle)
	}
}

// Where there are too many connections, those go first that wait for their end, and then those of the source that has the most
// idle ones, the longest idle first. So sources that have few keep theirs, however much the others do. A plain model says
// which one it is, over everything that happens to connections.
func TestWhichConnectionGoes(t *testing.T) {
	const most, mostOfSource, sources = 12, 6, 5
	type state struct{ idle, held, unfinished int } // since when, 0 is not
	var (
		table  = newConnectionTable()
		model  = make(map[*connection]*state)
		ranked = make(map[ratelimit.Key]int) // when one of a source last did something
		random = rand.New(rand.NewPCG(1, 2))
	)
	idleOf := func(source ratelimit.Key) (n int, oldest *connection) {
		for c, s := range model {
			if c.source == source && s.idle != 0 {
				if n++; oldest == nil || s.idle < model[oldest].idle {
					oldest = c
				}
			}
		}
		return n, oldest
	}
	goes := func(from ratelimit.Key, secure bool) (c *connection, full bool) {
		total := make(map[ratelimit.Key]int)
		unfinished := 0
		for c, s := range model {
			total[c.source]++
			unfinished += min(s.unfinished, 1)
		}
		if total[from] >= mostOfSource {
			_, c = idleOf(from)
			return c, true
		}
		tooManyUnfinished := secure && unfinished*unfinishedShare >= most
		if len(model) < most && !tooManyUnfinished {
			return nil, false
		}
		largest := 0
		for source := range total {
			n, oldest := idleOf(source)
			if n > largest || n == largest && n > 0 && ranked[source] < ranked[c.source] {
				largest, c = n, oldest
			}
		}
		if tooManyUnfinished {
			var ofLargest, ofAll *connection
			for other, s := range model {
				if s.unfinished != 0 && other.source == c.source && (ofLargest == nil || s.idle < model[ofLargest].idle) {
					ofLargest = other
				}
				if s.unfinished != 0 && (ofAll == nil || s.unfinished < model[ofAll].unfinished) {
					ofAll = other
				}
			}
			if ofLargest != nil {
				return ofLargest, true
			}
			return ofAll, true
		}
		for other, s := range model {
			if s.held != 0 && (c == nil || model[c].held == 0 || s.held < model[c].held) {
				c = other
			}
		}
		return c, true
	}
	for now := 2; now < 40000; now += 2 {
		if random.IntN(2) == 0 {
			c := &connection{source: sourceOf(fmt.Sprintf("192.0.2.%d", min(random.IntN(2*sources), sources)))}
			if random.IntN(3) == 0 {
				c.secure = new(tlsState)
			}
			want, full := goes(c.source, c.secure != nil)
			evicted, ok := table.add(c, most, mostOfSource)
			if evicted != want || ok != (want != nil || !full) {
				t.Fatalf("step %d: evicted %p, %v; want %p", now, evicted, ok, want)
			}
			if !ok {
				continue
			}
			if want != nil {
				if model[want].idle != 0 {
					ranked[want.source] = now
				}
				delete(model, want)
			}
			model[c] = &state{idle: now}
			if c.secure != nil {
				model[c].unfinished = now
			}
			ranked[c.source] = now + 1
			continue
		}
		var all []*connection
		for c := range table.open {
			all = append(all, c)
		}
		if len(all) == 0 {
			continue
		}
		c := all[random.IntN(len(all))]
		s := model[c]
		wasIdle := s.idle != 0
		switch random.IntN(9) {
		case 0:
			table.remove(c)
			delete(model, c)
			s.idle = 0
		case 1, 2, 3, 4, 5:
			if s.held == 0 {
				table.setFinished(c)
				table.setBusy(c)
				s.idle, s.unfinished = 0, 0
			}
		case 6, 7:
			if s.held == 0 {
				table.setFinished(c)
				s.unfinished = 0
				table.setIdle(c)
				s.idle, ranked[c.source] = now, now
			}
		case 8:
			if s.held == 0 {
				table.closeLater(c, time.Hour, func() {})
				s.held, s.idle = now, -now // before all others of its source
			}
		}
		if wasIdle != (s.idle != 0) {
			ranked[c.source] = now
		}
	}
	for c := range model {
		table.remove(c)
	}
	if len(table.open)+len(table.sources)+table.idle+table.held.Len()+table.unfinished.Len()+table.top != 0 {
		t.Errorf("%d open, %d sources, %d idle, %d held, %d at most of a source", len(table.open), len(table.sources), table.idle, table.held.Len(), table.top)
	}
}

// A connection that waits for its end is closed before older ones, and is not listed if it was closed to make room.
func TestConnectionsThatEndAreClosedFirst(t *testing.T) {
	table := newConnectionTable()
	old, held, late := new(connection), new(connection), new(connection)
	table.add(old, 2, 9)
	table.add(held, 2, 9)
	table.setBusy(held)
	ended := make(chan bool, 1)
	if !table.closeLater(held, time.Hour, func() { ended <- true }) {
		t.Error("not held")
	}
	if evicted, ok := table.add(late, 2, 9); evicted != held || !ok {
		t.Errorf("evicted %p, %v; want %p of %p and %p", evicted, ok, held, old, held)
	}
	<-ended // long before its time
	if table.closeLater(held, time.Hour, func() {}) {
		t.Error("held although it was closed to make room")
	}
	if evicted, ok := table.add(new(connection), 2, 9); evicted != old || !ok {
		t.Errorf("evicted %p, %v; want %p", evicted, ok, old)
	}
}

// A source that exceeded its limit cannot open another connection at once: the one that it has stays open for a while.
func TestConnectionsCloseLater(t *testing.T) {
	const delay = 300 * time.Millisecond
	b := startBounded(t, Limits{closeDelay: delay, SourceErrors: 1})
	b.limiter().allowErrorReply(sourceOf("127.0.0.1"), true)
	b.limiter().allowErrorReply(sourceOf("127.0.0.1"), true)
	for name, frame := range map[string][]byte{
		"discarded":           {0, 1, 0},
		"ended by the client": {},
	} {
		c, err := net.Dial("tcp", local(b.port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(frame); err != nil {
			t.Fatal(err)
		}
		if len(frame) == 0 {
			c.(*net.TCPConn).CloseWrite()
		}
		began := time.Now()
		err = ended(c)
		if passed := time.Since(began); err != nil || (passed >= delay) != (len(frame) > 0) {
			t.Errorf("%s: closed after %v: %v", name, passed, err)
		}
	}
	eventually(t, "none is open", func() bool {
		table := testProcess.connections
		table.mu.Lock()
		defer table.mu.Unlock()
		return len(table.open) == 0 && table.idle == 0
	})
}

// stuck is the way back to a client that does not read.
type stuck struct {
	memory
	sending, release chan struct{}
}

func (p *stuck) send([]byte) error {
	p.sending <- struct{}{}
	<-p.release
	return nil
}

// A client that does not read its answer has no slot: those of others go on.
func TestSlotIsReleasedBeforeTheAnswer(t *testing.T) {
	b := startBounded(t, Limits{Handshakes: 1, SourceErrors: 1, HandshakeFailures: 1})
	s := b.server()
	update := new(dns.Msg)
	update.SetUpdate("one.org.")
	failed := tkeyQuery("f.test.", dns.ClassANY, false, []byte{1})
	_, token := initiate(t, b.host, b.keys)
	good := tkeyQuery("g.test.", dns.ClassANY, false, token)
	for _, c := range []struct {
		what string
		m    *dns.Msg
		as   class
		free *semaphore
	}{
		{"a context", good, ordinary, s.limiter.handshakes},
		{"a handshake that failed", failed, ordinary, s.limiter.handshakes},
		{"one of too many", failed, ordinary, s.limiter.handshakes},
		{"an update", update, suspect, s.limiter.suspects},
	} {
		way := &stuck{sending: make(chan struct{}), release: make(chan struct{})}
		w := &responseWriter{path: way, server: s, stream: true, source: sourceOf("127.0.0.66"), limit: dns.MinMsgSize, opcode: c.m.Opcode}
		wire := pack(t, c.m)
		w.message = s.authenticator.Inspect(wire)
		w.size = len(wire)
		done := make(chan bool)
		go func() {
			s.serve(w, wire, c.as)
			done <- !w.discarded
		}()
		<-way.sending
		if n := len(c.free.slots); n != 0 {
			t.Errorf("%s: %d slots are taken while the answer is being sent", c.what, n)
		}
		close(way.release)
		if !<-done || len(c.free.slots) != 0 {
			t.Errorf("%s: %d slots are taken afterwards", c.what, len(c.free.slots))
		}
	}
	// One that sends nothing has to give its slot back as well.
	w := &responseWriter{path: &memory{}, server: s, stream: true}
	for range 2 {
		if !w.acquire(s.limiter.suspects) {
			t.Fatal("no slot")
		}
		w.release()
	}
	w.release()
}

func TestConnectionsAreBounded(t *testing.T) {
	b := startBounded(t, Limits{SourceConnections: 2})
	dial := func(from string) net.Conn {
		t.Helper()
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", local(b.port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	good := dial("127.0.0.1")
	first := dial("127.0.0.66")
	dial("127.0.0.66")
	dial("127.0.0.66")
	if err := ended(first); err != nil && !isReset(err) {
		t.Errorf("not closed: %v", err)
	}
	c := dns.Conn{Conn: good}
	if err := c.WriteMsg(query("x.one.org.", dns.TypeTXT)); err != nil {
		t.Fatal(err)
	}
	good.SetReadDeadline(time.Now().Add(10 * time.Second))
	if r, err := c.ReadMsg(); err != nil || texts(r) != "one unsigned" {
		t.Errorf("another source's connection: %v, %v", err, r)
	}
}

// A client that does not read its answers keeps nobody out: its connection is idle, since it has last read a message.
func TestUnreadAnswersKeepNobodyOut(t *testing.T) {
	b := startBounded(t, Limits{Connections: 2})
	s := b.server()
	begin := func(name string) (ours *dns.Conn, served chan struct{}) {
		t.Helper()
		client, theirs := net.Pipe() // in which nothing is on its way
		t.Cleanup(func() { client.Close() })
		ours, served = &dns.Conn{Conn: client}, make(chan struct{})
		c := &connection{Conn: theirs, accepted: theirs}
		if !s.endpoint.track(c, s) {
			t.Fatal("the connection is not taken")
		}
		go func() {
			defer close(served)
			s.endpoint.serveConnection(c)
		}()
		if err := ours.WriteMsg(query(name, dns.TypeTXT)); err != nil {
			t.Fatal(err)
		}
		return ours, served
	}
	awaitAnswer := func(c *dns.Conn) (octet byte) {
		t.Helper()
		var read [1]byte
		if _, err := c.Conn.Read(read[:]); err != nil { // the rest is being sent
			t.Fatal(err)
		}
		return read[0]
	}
	slow, _ := begin("twice.one.org.")
	high := awaitAnswer(slow)
	stuck, closed := begin("x.one.org.")
	awaitAnswer(stuck)
	message := make([]byte, int(high)<<8+int(awaitAnswer(slow)))
	if _, err := io.ReadFull(slow.Conn, message); err != nil {
		t.Fatal(err)
	}
	awaitAnswer(slow) // the second one
	if r := ask(t, "tcp", local(b.port), query("x.one.org.", dns.TypeTXT)); texts(r) != "one unsigned" {
		t.Errorf("got %v", r)
	}
	<-closed
	awaitAnswer(slow)
}

// Blocks share the addresses, and with them the widest of what they allow.
func TestLimitsOfSeveralBlocks(t *testing.T) {
	var l Limits
	l.widen(Limits{Handshakes: 3, SourceErrors: 10})
	l.widen(Limits{Handshakes: 2, Connections: 7})
	got := l.orDefaults()
	if got.Handshakes != 3 || got.SourceErrors != 10 || got.Connections != 7 || got.HandshakeQueue != 1024 ||
		got.HandshakeFailures != 300 || got.SourceConnections != 256 {
		t.Errorf("%+v", got)
	}
	if (Limits{}).orDefaults().Handshakes < 1 {
		t.Error("no handshakes at all")
	}
}

// A panic before a message is accepted costs that message alone.
func TestClassifyPanics(t *testing.T) {
	s := &server{Server: new(dnsserver.Server), observer: counts} // without a limiter
	wire, err := signed(query("x.example.org.", dns.TypeTXT)).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if as := s.classify(new(responseWriter), wire); as != discarded {
		t.Errorf("taken for %d", as)
	}
}

// Limits as large as a Corefile may have them let all messages in: what is computed from them does not overflow.
func TestGreatestLimits(t *testing.T) {
	const most = 1 << 40
	g := newLimiter(Limits{Connections: most, SourceConnections: most, Handshakes: most, HandshakeQueue: most, HandshakeFailures: most, SourceErrors: most})
	k := sourceOf("192.0.2.1")
	for _, proven := range []bool{true, false} {
		g.recordHandshake(k, proven, false)
		g.recordForgery(k, []byte("key"), proven)
		if !g.allowErrorReply(k, proven) || g.errorsExhausted(k, proven) || g.handshakesLimited(k, proven) || g.forgeriesLimited(k.With([]byte("key")), proven) {
			t.Errorf("proven %v: a source is limited", proven)
		}
	}
	if !g.handshakes.acquire() || g.tlsLimited(k) {
		t.Error("handshakes are limited")
	}
	table := newConnectionTable()
	if evicted, ok := table.add(&connection{source: k, secure: new(tlsState)}, most, most); evicted != nil || !ok {
		t.Error("connections are limited")
	}
}
