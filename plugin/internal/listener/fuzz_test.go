package listener

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

// memory is a returnPath that keeps what was sent.
type memory struct{ sent [][]byte }

func (*memory) localAddr() net.Addr  { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53} }
func (*memory) remoteAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 5353} }
func (*memory) close() error         { return nil }

func (m *memory) send(wire []byte) error {
	m.sent = append(m.sent, append([]byte(nil), wire...))
	return nil
}

// patient are limits that no client reaches.
var patient = Limits{HandshakeFailures: 1 << 40, SourceErrors: 1 << 40}

// FuzzMessage sends octets through everything between the socket and the plugins, and back.
func FuzzMessage(f *testing.F) {
	// A panic anywhere ends the process: nothing recovers under debug.
	config := &dnsserver.Config{Zone: ".", Port: "53", Transport: "dns", ListenHosts: []string{""}, Debug: true,
		TsigSecret: map[string]string{keyName: keySecret}}
	config.AllowOpcode(dns.OpcodeUpdate)
	config.AddPlugin(func(next plugin.Handler) plugin.Handler {
		return plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			m := new(dns.Msg)
			m.SetReply(r)
			for range 20 {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT,
					Class: dns.ClassINET}, Txt: []string{"twenty of these do not fit into 512 octets"}})
			}
			return 0, w.WriteMsg(m)
		})
	})
	stock, err := dnsserver.NewServer("dns://:53", []*dnsserver.Config{config})
	if err != nil {
		f.Fatal(err)
	}
	// The signatures of the corpus were made at this time.
	kerberos, _ := kerberosServer(f, "ns1.example.org", func() time.Time { return time.Unix(1767225600, 0) })
	s := &server{Server: stock, debug: true, observer: noObserver{}, limiter: newLimiter(patient), requests: newDrainGroup(),
		authenticator: gsstsig.NewAuthenticator(gsstsig.StaticKeys(stock.TsigSecret), kerberos)}

	f.Fuzz(func(t *testing.T, wire []byte, stream bool) {
		if len(wire) > maxMessage {
			return
		}
		back := &memory{}
		w := &responseWriter{path: back, server: s, stream: stream}
		octets := append([]byte(nil), wire...)
		s.serve(w, octets, s.classify(w, octets))
		if len(wire) < headerSize || wire[2]&0x80 != 0 {
			if len(back.sent) != 0 {
				t.Fatal("answered")
			}
			return
		}
		if len(back.sent) != 1 {
			t.Fatalf("%d answers", len(back.sent))
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(back.sent[0]); err != nil {
			t.Fatalf("answer: %v", err)
		}
		if reply.Id != binary.BigEndian.Uint16(wire) || !reply.Response {
			t.Errorf("answer of another message:\n%v", reply)
		}
		if w.transaction != nil && reply.IsTsig() == nil {
			t.Errorf("signed request, unsigned answer:\n%v", reply)
		}
		if !stream && len(back.sent[0]) > max(dns.MinMsgSize, len(wire)+512, w.limit) {
			t.Errorf("%d octets for %d", len(back.sent[0]), len(wire))
		}
	})
}
