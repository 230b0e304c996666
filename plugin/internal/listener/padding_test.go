package listener

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// octets reads one message from a connection.
func octets(t *testing.T, c net.Conn) []byte {
	t.Helper()
	wire, err := (&dns.Conn{Conn: c}).ReadMsgHeader(nil)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// TestPadding: who pads gets padded replies by TLS, signed ones too, and nobody by TCP.
func TestPadding(t *testing.T) {
	standard.Requires(t, "RFC 9103", "7.9.1 padding")
	port, tlsPort := freePort(t), freePort(t)
	cert, key := certificate(t)
	server, _ := kerberosServer(t, "ns1.example.org", time.Now)
	probeServers.Store("a", server)
	t.Cleanup(func() { probeServers.Delete("a") })
	start(t, fmt.Sprintf("example.org:%s tls://example.org:%s {\nbind 127.0.0.1\ntls %s %s\nprobe a\n%s}", port, tlsPort, cert, key, tsigBlock))
	encrypted, plain := mustDialTLS(t, "127.0.0.1", tlsPort, trusting()), dialPlain(t, "127.0.0.1", port)
	with := func(m *dns.Msg, options ...dns.EDNS0) *dns.Msg {
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = options
		return m
	}
	few := func() *dns.EDNS0_PADDING { return &dns.EDNS0_PADDING{Padding: make([]byte, 3)} }
	update := func() *dns.Msg { return new(dns.Msg).SetUpdate("example.org.") }
	for what, test := range map[string]struct {
		m      *dns.Msg
		over   net.Conn
		padded bool
	}{
		"a query":                       {with(query("x.example.org.", dns.TypeTXT), few()), encrypted, true},
		"an empty option":               {with(query("x.example.org.", dns.TypeTXT), new(dns.EDNS0_PADDING)), encrypted, true},
		"beside another option":         {with(query("x.example.org.", dns.TypeTXT), &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, few()), encrypted, true},
		"a long answer":                 {with(query("big.100.example.org.", dns.TypeTXT), few()), encrypted, true},
		"the longest answer":            {with(query("big.575.example.org.", dns.TypeTXT), few()), encrypted, true},
		"signed":                        {signed(with(query("x.example.org.", dns.TypeTXT), few())), encrypted, true},
		"an update":                     {signed(with(update(), few())), encrypted, true},
		"a negotiation":                 {with(tkeyQuery("1.sig-ns1.example.org.", dns.ClassANY, false, []byte("no token")), few()), encrypted, true},
		"an update that is refused":     {with(update(), few()), encrypted, true},
		"an error":                      {with(query("refuse.example.org.", dns.TypeTXT), few()), encrypted, true},
		"a query without padding":       {with(query("x.example.org.", dns.TypeTXT)), encrypted, false},
		"a query without EDNS":          {query("x.example.org.", dns.TypeTXT), encrypted, false},
		"in plain text":                 {with(query("x.example.org.", dns.TypeTXT), few()), plain, false},
		"in plain text, with signature": {signed(with(query("x.example.org.", dns.TypeTXT), few())), plain, false},
	} {
		t.Run(what, func(t *testing.T) {
			conn := &dns.Conn{Conn: test.over, TsigSecret: map[string]string{keyName: keySecret}}
			if err := conn.WriteMsg(test.m); err != nil {
				t.Fatal(err)
			}
			wire := octets(t, test.over)
			reply := new(dns.Msg)
			if err := reply.Unpack(wire); err != nil {
				t.Fatal(err)
			}
			opt := reply.IsEdns0()
			if got := opt != nil && slices.ContainsFunc(opt.Option, isPadding); got != test.padded {
				t.Errorf("padded: %v\n%v", got, reply)
			}
			if test.padded && len(wire)%paddingBlock != 0 && len(wire) != maxMessage {
				t.Errorf("%d octets", len(wire))
			}
			if test.m.IsTsig() != nil {
				if reply.IsTsig() == nil {
					t.Errorf("not signed:\n%v", reply)
				}
			}
		})
	}
	// The signature covers the padding.
	if r, err := askOver(encrypted, signed(with(query("x.example.org.", dns.TypeTXT), few()))); err != nil || texts(r) != "a "+keyName {
		t.Errorf("%v, %v", err, r)
	}
}
