package axfr

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

const (
	origin  = "example.test."
	keyName = "transfer."
	soa     = "example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 7 900 600 86400 300"
)

var secret = []byte("a secret of 32 octets, as it is.")

// server answers one request with the octets that answer makes of it, and closes the connection.
func server(t *testing.T, answer func(request []byte) [][]byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		request := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, request); err != nil {
			return
		}
		for _, message := range answer(request) {
			framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
			if _, err := conn.Write(framed); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

func records(t *testing.T, lines ...string) []dns.RR {
	t.Helper()
	var all []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rr)
	}
	return all
}

// reply makes one message of an answer.
func reply(t *testing.T, request []byte, rrs ...dns.RR) *dns.Msg {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(request); err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg).SetReply(&m)
	r.Compress, r.Authoritative, r.Answer = true, true, rrs
	return r
}

func pack(t *testing.T, messages ...*dns.Msg) [][]byte {
	t.Helper()
	var all [][]byte
	for _, m := range messages {
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, wire)
	}
	return all
}

// fetched returns what Fetch gets, as text.
func fetched(ctx context.Context, config Config) ([]string, error) {
	config.Zone = origin
	got, err := Fetch(ctx, config)
	var lines []string
	for _, r := range got {
		lines = append(lines, strings.Join([]string{dnswire.NameText([]byte(r.Name)), dnswire.TypeText(r.Type),
			dnswire.TextOrGeneric(r.Type, r.Data)}, " "))
	}
	return lines, err
}

func TestFetch(t *testing.T) {
	zone := records(t, soa, "example.test. 60 IN NS ns1.example.test.", "ns1.example.test. 60 IN A 192.0.2.1", "Host.example.test. 60 IN A 192.0.2.2",
		"host.example.test. 60 IN TYPE65280 \\# 3 010203", soa)
	want := []string{
		"example.test. SOA ns1.example.test. hostmaster.example.test. 7 900 600 86400 300", "example.test. NS ns1.example.test.",
		"ns1.example.test. A 192.0.2.1", "Host.example.test. A 192.0.2.2", `Host.example.test. TYPE65280 \# 3 010203`,
	}
	// Compression carries the case of the name that it points to.
	for messages := 1; messages <= len(zone); messages++ {
		seen := 0
		address := server(t, func(request []byte) [][]byte {
			var all []*dns.Msg
			size := (len(zone) + messages - 1) / messages
			for part := range slices.Chunk(zone, size) {
				all = append(all, reply(t, request, part...))
			}
			for _, m := range all[1:] {
				m.Question = nil
			}
			return pack(t, all...)
		})
		got, err := fetched(t.Context(), Config{Address: address, Progress: func(n int) { seen += n }})
		if err != nil || len(got) != len(want) || !strings.EqualFold(strings.Join(got, "\n"), strings.Join(want, "\n")) || seen != len(want) {
			t.Errorf("in %d messages: %v, %d records told\n%s", messages, err, seen, strings.Join(got, "\n"))
		}
	}
}

func TestFetchRefuses(t *testing.T) {
	ns := "example.test. 60 IN NS ns1.example.test."
	for name, test := range map[string]struct {
		answer func(request []byte) [][]byte
		says   string
	}{
		"REFUSED": {func(request []byte) [][]byte {
			m := reply(t, request)
			m.Rcode = dns.RcodeRefused
			return pack(t, m)
		}, "REFUSED"},
		"no SOA": {func(request []byte) [][]byte { return pack(t, reply(t, request, records(t, ns)...)) }, errNoSOA.Error()},
		"no end": {func(request []byte) [][]byte { return pack(t, reply(t, request, records(t, soa, ns)...)) }, "before the end of the zone"},
		"changed meanwhile": {func(request []byte) [][]byte {
			return pack(t, reply(t, request, records(t, soa, ns, strings.Replace(soa, " 7 ", " 8 ", 1))...))
		}, errSerial.Error()},
		"more after the end": {func(request []byte) [][]byte { return pack(t, reply(t, request, records(t, soa, soa, ns)...)) }, errAfterEnd.Error()},
		"another identifier": {func(request []byte) [][]byte {
			m := reply(t, request, records(t, soa, soa)...)
			m.Id++
			return pack(t, m)
		}, errQuestion.Error()},
		"another question": {func(request []byte) [][]byte {
			m := reply(t, request, records(t, soa, soa)...)
			m.Question[0].Name = "other.test."
			return pack(t, m)
		}, errQuestion.Error()},
		"a query": {func(request []byte) [][]byte { return [][]byte{request} }, errQuestion.Error()},
		"cut short": {func(request []byte) [][]byte {
			return [][]byte{pack(t, reply(t, request, records(t, soa, soa)...))[0][:40]}
		}, "message"},
		"rdata too short": {func(request []byte) [][]byte {
			m := reply(t, request, append(records(t, soa), &dns.RFC3597{Hdr: dns.RR_Header{Name: "a.example.test.", Rrtype: dns.TypeA, Class: 1}, Rdata: "0102"})...)
			return pack(t, m)
		}, "a.example.test. A"},
		"signed": {func(request []byte) [][]byte {
			m := reply(t, request, records(t, soa, soa)...)
			m.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix())
			wire, _, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), "", false)
			if err != nil {
				t.Error(err)
			}
			return [][]byte{wire}
		}, "though the request is not"},
		"nothing": {func([]byte) [][]byte { return [][]byte{{}} }, "header"},
	} {
		if got, err := fetched(t.Context(), Config{Address: server(t, test.answer)}); err == nil || !strings.Contains(err.Error(), test.says) || got != nil {
			t.Errorf("%s: %v, %d records", name, err, len(got))
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	waits := server(t, func([]byte) [][]byte { cancel(); <-canceled.Done(); return nil })
	if _, err := fetched(canceled, Config{Address: waits}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFetchSigned: with a key, the answer is believed only if all of it is signed with that key.
func TestFetchSigned(t *testing.T) {
	key, err := client.NewHMACKey(keyName, dns.HmacSHA256, secret)
	if err != nil {
		t.Fatal(err)
	}
	zone := records(t, soa, "example.test. 60 IN NS ns1.example.test.", "a.example.test. 60 IN A 192.0.2.1", soa)
	for name, test := range map[string]struct {
		signed [4]bool // the messages, each with a record
		says   string
	}{
		"all":                  {[4]bool{true, true, true, true}, ""},
		"the first and last":   {[4]bool{true, false, false, true}, ""},
		"all but the last":     {[4]bool{true, true, true, false}, errUnsigned.Error()},
		"all but the first":    {[4]bool{false, true, true, true}, "not signed"},
		"none, as anyone else": {[4]bool{}, "not signed"},
	} {
		address := server(t, func(request []byte) [][]byte {
			var asked dns.Msg
			if err := asked.Unpack(request); err != nil {
				t.Error(err)
			}
			mac, first := asked.IsTsig().MAC, true
			var all [][]byte
			var between []byte
			for i, rr := range zone {
				m := reply(t, request, rr)
				if !test.signed[i] {
					wire := pack(t, m)[0]
					all, between = append(all, wire), append(between, wire...)
					continue
				}
				all = append(all, sign(t, m, mac, between, first))
				var sent dns.Msg
				if err := sent.Unpack(all[len(all)-1]); err != nil {
					t.Error(err)
				}
				mac, first, between = sent.IsTsig().MAC, false, nil
			}
			return all
		})
		got, err := fetched(t.Context(), Config{Address: address, Sign: key.Sign})
		switch {
		case test.says == "" && (err != nil || len(got) != 3):
			t.Errorf("%s: %v, %d records", name, err, len(got))
		case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says) || got != nil):
			t.Errorf("%s: %v, %d records", name, err, len(got))
		}
	}
}

// sign signs a message of an answer: the MAC covers the one before, and the messages between them (RFC 8945 section 5.3.1).
func sign(t *testing.T, m *dns.Msg, prior string, between []byte, first bool) []byte {
	t.Helper()
	m.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix())
	provider := recordingHMAC{between: between, prior: prior}
	wire, _, err := dns.TsigGenerateWithProvider(m, provider, prior, !first)
	if err != nil {
		t.Error(err)
	}
	return wire
}

// recordingHMAC puts the messages without a signature where miekg/dns, which signs every message, has no place for them.
type recordingHMAC struct {
	between []byte
	prior   string
}

func (p recordingHMAC) Generate(digest []byte, _ *dns.TSIG) ([]byte, error) {
	head := 2 + len(p.prior)/2 // the MAC before, with its length
	return hmacSHA256(slices.Concat(digest[:head], p.between, digest[head:])), nil
}

func (recordingHMAC) Verify([]byte, *dns.TSIG) error { return nil }

func hmacSHA256(message []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(message)
	return mac.Sum(nil)
}

func FuzzTransfer(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		tr := transfer{origin: []byte("\x07example\x04test\x00"), id: 1}
		_ = tr.take(message)
		for i, r := range tr.records {
			if dnswire.NameLen([]byte(r.Name)) != len(r.Name) || dnswire.Validate(r.Type, r.Data) != nil || (i == 0) != (r.Type == dns.TypeSOA && dnswire.EqualNames([]byte(r.Name), tr.origin)) {
				t.Errorf("record %d: %+v", i, r)
			}
		}
	})
}
