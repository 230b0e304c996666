package gsstsig

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/miekg/dns"
)

// kindOf is the kind of a verification's error, 0 for none.
func kindOf(err error) VerifyErrorKind {
	var e *VerifyError
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

const (
	staticName   = "Static.Example.test."
	staticSecret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

var staticKeys = StaticKeys{staticName: staticSecret, "broken.": "?", "bad..name.": staticSecret}

var hmacNames = []string{dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}

// signStatic signs with miekg's code.
func signStatic(t testing.TB, m *dns.Msg, name, algorithm string, at time.Time) (wire []byte, mac string) {
	t.Helper()
	m = m.Copy()
	record := stub(name, algorithm, at)
	record.OrigId = m.Id
	m.Extra = append(m.Extra, record)
	wire, mac, err := dns.TsigGenerate(m, staticSecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return wire, mac
}

func TestVerifyUnsigned(t *testing.T) {
	r := newRealm(t, nil)
	v := NewAuthenticator(staticKeys, r.server)
	for _, m := range []*dns.Msg{updateMessage(), new(dns.Msg), new(dns.Msg).SetQuestion("example.test.", dns.TypeA), new(dns.Msg).SetEdns0(4096, true)} {
		_, wire := overTheWire(t, m)
		if transaction, err := v.Authenticate(wire); transaction != nil || err != ErrUnsigned {
			t.Errorf("%v, %v for\n%s", transaction, err, m)
		}
	}
}

// Both ways with miekg's implementation, for each HMAC.
func TestHMACAgainstMiekg(t *testing.T) {
	standard.Requires(t, "RFC 8945", "4.3.1 request MAC", "4.3.2 message", "4.3.3 variables", "5.3 same key", "6 HMAC-SHA1", "6 HMAC-SHA256")
	v := NewAuthenticator(staticKeys)
	for _, algorithm := range hmacNames {
		t.Run(algorithm, func(t *testing.T) {
			for _, name := range []string{staticName, strings.ToUpper(staticName), strings.ToLower(staticName)} {
				m := updateMessage()
				m.SetEdns0(1232, false)
				wire, mac := signStatic(t, m, name, strings.ToUpper(algorithm), time.Now())
				request := new(dns.Msg)
				if err := request.Unpack(wire); err != nil {
					t.Fatal(err)
				}
				before := bytes.Clone(wire)
				transaction, err := v.Authenticate(wire)
				if err != nil || transaction == nil {
					t.Fatalf("%v, %v", transaction, err)
				}
				if !bytes.Equal(wire, before) {
					t.Error("the message was changed")
				}
				if got := transaction.Identity(); got.KeyName != strings.ToLower(staticName) || !got.Static || len(got.Principal.Components) != 0 {
					t.Errorf("identity %+v", got)
				}
				if transaction.Server() != nil {
					t.Error("a static key has a server")
				}

				// An answer with OPT and with a TSIG that another plugin left.
				response := new(dns.Msg).SetReply(request)
				response.Extra = []dns.RR{stub("stray.", algorithm, time.Now()), &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}}}
				response.Compress = true
				unsigned := response.Copy()
				unsigned.Extra = unsigned.Extra[1:]
				packed, err := unsigned.Pack()
				if err != nil {
					t.Fatal(err)
				}
				overhead := transaction.Overhead()
				signed, err := transaction.Sign(response)
				if err != nil {
					t.Fatal(err)
				}
				if len(response.Extra) != 2 {
					t.Error("the caller's message was changed")
				}
				if got := len(signed) - len(packed); got != overhead {
					t.Errorf("overhead %d, said %d", got, overhead)
				}
				if err := dns.TsigVerify(bytes.Clone(signed), staticSecret, mac, false); err != nil {
					t.Errorf("miekg: %v", err)
				}
				got := new(dns.Msg)
				if err := got.Unpack(signed); err != nil {
					t.Fatal(err)
				}
				if len(got.Extra) != 2 || got.IsTsig() == nil || got.IsEdns0() == nil {
					t.Errorf("additional section %v", got.Extra)
				}
			}
		})
	}
}

// An answer of several messages, as a client of miekg's verifies a transfer:
// the first covers the request's MAC, the others the MAC before and the timers.
func TestSeveralMessages(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.3.1 every message", "5.3.1 chain")
	query := new(dns.Msg).SetAxfr("example.test.")
	wire, mac := signStatic(t, query, staticName, dns.HmacSHA256, time.Now())
	transaction, err := NewAuthenticator(staticKeys).Authenticate(wire)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		message := new(dns.Msg).SetReply(query)
		message.Answer = append(message.Answer, updateMessage().Ns...)
		signed, err := transaction.Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		if err := dns.TsigVerify(bytes.Clone(signed), staticSecret, mac, i > 0); err != nil {
			t.Errorf("message %d: %v", i+1, err)
		}
		got := new(dns.Msg)
		if err := got.Unpack(signed); err != nil {
			t.Fatal(err)
		}
		mac = got.IsTsig().MAC
	}

	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	wire, mac = p.sign(query)
	if transaction, err = NewAuthenticator(nil, r.server).Authenticate(wire); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		r.clock.advance(time.Second)
		signed, err := transaction.Sign(new(dns.Msg).SetReply(query))
		if err != nil {
			t.Fatal(err)
		}
		record := p.verifyAnswer(signed, mac, i > 0)
		if record.TimeSigned != uint64(r.clock.now().Unix()) {
			t.Errorf("message %d: time signed %d", i+1, record.TimeSigned)
		}
		mac = record.MAC
	}
}

// miekg's own client takes a signed transfer from us over a connection.
func TestTransferClientAccepts(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.3.1 every message", "5.3.1 chain")
	client, server := net.Pipe()
	defer client.Close()
	soa, err := dns.NewRR("example.test. 300 IN SOA ns1.example.test. h.example.test. 1 2 3 4 5")
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		defer server.Close()
		failed <- func() error {
			conn := &dns.Conn{Conn: server}
			wire, err := conn.ReadMsgHeader(nil)
			if err != nil {
				return err
			}
			query := new(dns.Msg)
			if err := query.Unpack(wire); err != nil {
				return err
			}
			transaction, err := NewAuthenticator(staticKeys).Authenticate(wire)
			if err != nil {
				return err
			}
			for _, answer := range [][]dns.RR{{soa, updateMessage().Ns[0]}, updateMessage().Ns, {soa}} {
				message := new(dns.Msg).SetReply(query)
				message.Answer = answer
				signed, err := transaction.Sign(message)
				if err != nil {
					return err
				}
				// The length goes out with the message: a pipe keeps writes apart.
				if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(signed))), signed...)); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	// miekg looks secrets up by the name in lower case.
	transfer := &dns.Transfer{Conn: &dns.Conn{Conn: client}, TsigSecret: map[string]string{strings.ToLower(staticName): staticSecret}}
	query := new(dns.Msg).SetAxfr("example.test.")
	query.SetTsig(strings.ToLower(staticName), dns.HmacSHA512, 300, time.Now().Unix())
	envelopes, err := transfer.In(query, "")
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for envelope := range envelopes {
		if envelope.Error != nil {
			t.Fatal(envelope.Error)
		}
		records += len(envelope.RR)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if records != 4 {
		t.Errorf("%d records", records)
	}
}

// rewrite unpacks a signed message into what is before the TSIG record and the
// record, and lets edit put it together again.
func rewrite(t testing.TB, wire []byte, edit func(head, record []byte) []byte) []byte {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil || m.IsTsig() == nil {
		t.Fatalf("%v: not signed", err)
	}
	start := len(wire) - dns.Len(m.IsTsig()) // miekg does not compress it
	return edit(bytes.Clone(wire[:start]), bytes.Clone(wire[start:]))
}

func setAdditional(head []byte, n uint16) { binary.BigEndian.PutUint16(head[10:], n) }

func TestVerifyMalformed(t *testing.T) {
	standard.Requires(t, "RFC 8945", "4.2 class", "4.2 TTL", "5.2 last record", "5.2 unreadable")
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	v := NewAuthenticator(staticKeys, r.server)
	a := func() []byte { // an A record to put around
		b := make([]byte, 64)
		n, err := dns.PackRR(updateMessage().Ns[0], b, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}()
	// at is the offset of the record's TYPE: behind "k.example.test."
	const at = 16
	tests := []struct {
		name string
		edit func(head, record []byte) []byte
	}{
		{"two TSIGs", func(head, record []byte) []byte {
			setAdditional(head, 2)
			return append(append(head, record...), record...)
		}},
		{"TSIG not last", func(head, record []byte) []byte {
			setAdditional(head, 2)
			return append(append(head, record...), a...)
		}},
		{"TSIG in authority", func(head, record []byte) []byte {
			setAdditional(head, 0)
			binary.BigEndian.PutUint16(head[8:], 2)
			return append(head, record...)
		}},
		{"TSIG in authority, another last", func(head, record []byte) []byte {
			binary.BigEndian.PutUint16(head[8:], 2)
			return append(append(head, record...), record...)
		}},
		{"octets behind it", func(head, record []byte) []byte { return append(append(head, record...), 0) }},
		{"more records promised", func(head, record []byte) []byte {
			setAdditional(head, 2)
			return append(head, record...)
		}},
		{"65535 of everything promised", func(head, record []byte) []byte {
			copy(head[4:], bytes.Repeat([]byte{0xFF}, 8))
			return append(head, record...)
		}},
		{"class IN", func(head, record []byte) []byte { record[at+3] = 1; return append(head, record...) }},
		{"TTL 1", func(head, record []byte) []byte { record[at+7] = 1; return append(head, record...) }},
		{"data longer than the message", func(head, record []byte) []byte { record[at+9]++; return append(head, record...) }},
		{"data shorter than its fields", func(head, record []byte) []byte {
			record[at+9]--
			return append(head, record[:len(record)-1]...)
		}},
		{"MAC longer than the data", func(head, record []byte) []byte {
			record[at+10+10+8]++ // the high octet of the MAC's size
			return append(head, record...)
		}},
		{"no data", func(head, record []byte) []byte {
			record[at+8], record[at+9] = 0, 0
			return append(head, record[:at+10]...)
		}},
		{"owner points to itself", func(head, record []byte) []byte {
			n := len(head)
			return append(append(head, 0xC0|byte(n>>8), byte(n)), record[at:]...)
		}},
		{"owner points forward", func(head, record []byte) []byte {
			n := len(head) + 12
			return append(append(head, 0xC0|byte(n>>8), byte(n)), record[at:]...)
		}},
		{"owner points into the header", func(head, record []byte) []byte {
			return append(append(head, 0xC0, 4), record[at:]...)
		}},
		{"owner of a label type that does not exist", func(head, record []byte) []byte {
			record[0] |= 0x40
			return append(head, record...)
		}},
		{"owner too long", func(head, record []byte) []byte {
			label := append([]byte{63}, bytes.Repeat([]byte{'a'}, 63)...)
			return append(append(head, bytes.Repeat(label, 4)...), record...)
		}},
		{"algorithm points to itself", func(head, record []byte) []byte {
			n := len(head) + at + 10
			record[at+10], record[at+11] = 0xC0|byte(n>>8), byte(n)
			return append(head, record...)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wire, _ := p.sign(updateMessage())
			wire = rewrite(t, wire, test.edit)
			request := new(dns.Msg)
			if request.Unpack(wire) != nil {
				request = nil
			}
			transaction, err := v.Authenticate(wire)
			if transaction != nil || kindOf(err) != Malformed {
				t.Fatalf("%v, %v", transaction, err)
			}
			reply := replyTo(t, err)
			if reply.Rcode != dns.RcodeFormatError || reply.IsTsig() != nil || !reply.Response || reply.Opcode != dns.OpcodeUpdate || reply.Id != binary.BigEndian.Uint16(wire) {
				t.Errorf("answer\n%s", reply)
			}
		})
	}
	for n := range tsig.HeaderSize {
		if _, err := v.Authenticate(make([]byte, n)); kindOf(err) != Malformed {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	// Every cut of a signed message is malformed.
	wire, _ := p.sign(updateMessage())
	for n := range wire {
		if _, err := v.Authenticate(wire[:n]); kindOf(err) != Malformed {
			t.Errorf("first %d octets: %v", n, err)
		}
	}
}

func replyTo(t testing.TB, err error) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(replyWire(t, err)); err != nil {
		t.Fatal(err)
	}
	return m
}

func replyWire(t testing.TB, err error) []byte {
	t.Helper()
	var e *VerifyError
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *VerifyError", err)
	}
	wire, err := e.Reply()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// An unknown algorithm is one of them (BIND CVE-2025-40775).
func TestVerifyBadKeyAndBadSig(t *testing.T) {
	standard.Requires(t, "RFC 8945", "4.2 other data", "4.3.1 unverified MAC", "5.2 TSIG in the reply", "5.2.1 BADKEY", "5.2.1 unsigned", "5.2.2 BADSIG", "5.2.2 unsigned", "5.3 not without key", "5.3.2 unsigned errors", "5.3.2 not signed")
	standard.Requires(t, "RFC 3645", "5.2 errors", "5.2 before acting")
	standard.Requires(t, "RFC 2136", "5.1 duplicates")
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	ms := r.login("ms.example.test.", login{algorithm: AlgorithmGSSMicrosoft})
	other := newRealm(t, nil).login("k.example.test.", login{})
	v := NewAuthenticator(staticKeys, r.server)
	now := r.clock.now()
	gss := func(p *peer, name, algorithm string) []byte {
		wire, _ := p.signAs(updateMessage(), name, algorithm, now)
		return wire
	}
	static := func(name, algorithm string) []byte {
		wire, _ := signStatic(t, updateMessage(), name, algorithm, now)
		return wire
	}
	flip := func(wire []byte, fromEnd int) []byte { wire[len(wire)-fromEnd] ^= 1; return wire }
	replayed := gss(p, p.name, p.algorithm)
	if _, err := v.Authenticate(replayed); err != nil {
		t.Fatal(err)
	}
	fakeAlgorithm := func(wire []byte, from, to string) []byte {
		i := bytes.LastIndex(wire, []byte(from))
		return append(append(bytes.Clone(wire[:i]), to...), wire[i+len(from):]...)
	}
	tests := []struct {
		name string
		wire []byte
		kind VerifyErrorKind
	}{
		{"unknown name", gss(p, "unknown.example.test.", AlgorithmGSS), BadKey},
		{"unknown name, HMAC", static("unknown.example.test.", dns.HmacSHA256), BadKey},
		{"root", gss(p, ".", AlgorithmGSS), BadKey},
		{"the other GSS name", gss(p, p.name, AlgorithmGSSMicrosoft), BadKey},
		{"the other GSS name, the other way", gss(ms, ms.name, AlgorithmGSS), BadKey},
		{"a GSS context under HMAC", static(p.name, dns.HmacSHA256), BadKey},
		{"a static key under GSS", gss(p, staticName, AlgorithmGSS), BadKey},
		{"an unknown algorithm", fakeAlgorithm(static(staticName, dns.HmacSHA256), "hmac-sha256", "hmac-shaxyz"), BadKey},
		{"a static key without secret", static("broken.", dns.HmacSHA256), BadKey},
		{"another realm's context of that name", gss(other, other.name, AlgorithmGSS), BadSig},
		{"a changed MIC", flip(gss(p, p.name, AlgorithmGSS), 7), BadSig},
		{"a changed MAC", flip(static(staticName, dns.HmacSHA256), 7), BadSig},
		{"a changed error field", flip(gss(p, p.name, AlgorithmGSS), 3), BadSig},
		{"a changed original ID", flip(gss(p, p.name, AlgorithmGSS), 5), BadSig},
		{"a changed message", func() []byte { w := gss(p, p.name, AlgorithmGSS); w[14] ^= 1; return w }(), BadSig},
		{"a changed header", func() []byte { w := gss(p, p.name, AlgorithmGSS); w[3] ^= 1; return w }(), BadSig},
		{"a replayed MIC", replayed, BadSig},
		{"no MIC at all", rewrite(t, gss(p, p.name, AlgorithmGSS), func(head, record []byte) []byte {
			const at = 16 + 10 + 10 + 8 // of the MAC's size
			record[at-18-2], record[at-18-1] = 0, 10+16
			record = append(record[:at:at], 0, 0, record[len(record)-6], record[len(record)-5], 0, 0, 0, 0)
			return append(head, record...)
		}), BadSig},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			request := new(dns.Msg)
			if err := request.Unpack(test.wire); err != nil {
				t.Fatal(err)
			}
			transaction, err := v.Authenticate(test.wire)
			if transaction != nil || kindOf(err) != test.kind {
				t.Fatalf("%v, %v; want %s", transaction, err, test.kind)
			}
			record := request.IsTsig()
			var e *VerifyError
			errors.As(err, &e)
			if e.KeyName != strings.ToLower(record.Hdr.Name) || e.Algorithm != record.Algorithm || e.Unwrap() == nil || !strings.Contains(e.Error(), test.kind.String()) {
				t.Errorf("%+v", e)
			}
			reply := replyTo(t, err)
			got := reply.IsTsig()
			if reply.Rcode != dns.RcodeNotAuth || got == nil || len(reply.Question) != 1 || reply.Question[0] != request.Question[0] {
				t.Fatalf("answer\n%s", reply)
			}
			want := map[VerifyErrorKind]uint16{BadKey: dns.RcodeBadKey, BadSig: dns.RcodeBadSig}[test.kind]
			if got.Error != want || got.MACSize != 0 || got.OtherLen != 0 || got.OrigId != request.Id ||
				!strings.EqualFold(got.Hdr.Name, record.Hdr.Name) || !strings.EqualFold(got.Algorithm, record.Algorithm) {
				t.Errorf("TSIG %s", got)
			}
		})
	}
	if _, err := v.Authenticate(replayed); !errors.Is(err, krb5.ErrReplay) {
		t.Errorf("a replay is called %v", err)
	}
	// After all that the context works on.
	if _, err := v.Authenticate(gss(p, strings.ToUpper(p.name), "GSS-tsig.")); err != nil {
		t.Error(err)
	}
}

func TestVerifyBadTime(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.2 order", "5.2.3 BADTIME", "5.2.3 signed", "5.2.3 times", "5.3.2 signed errors")
	standard.Requires(t, "RFC 3645", "5.2 times")
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	v := NewAuthenticator(staticKeys, r.server)
	now := r.clock.now()
	for _, off := range []time.Duration{-301 * time.Second, 301 * time.Second, -time.Hour, 24 * 365 * 200 * time.Hour} {
		m := updateMessage()
		m.SetEdns0(1232, false)
		wire, mac := p.signAs(m, p.name, p.algorithm, now.Add(off))
		request := new(dns.Msg)
		if err := request.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		_, err := v.Authenticate(wire)
		if kindOf(err) != BadTime {
			t.Fatalf("%s off: %v", off, err)
		}
		answer := replyWire(t, err)
		record := p.verifyAnswer(answer, mac, false)
		p.verifyAnswer(replyWire(t, err), mac, false) // as good the second time
		if record.Error != dns.RcodeBadTime || record.TimeSigned != uint64(now.Add(off).Unix()) ||
			record.OtherData != fmt.Sprintf("%012x", now.Unix()) {
			t.Errorf("%s off: TSIG %s", off, record)
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(answer); err != nil {
			t.Fatal(err)
		}
		if reply.Rcode != dns.RcodeNotAuth || reply.IsEdns0() == nil {
			t.Errorf("answer\n%s", reply)
		}
	}
	for _, off := range []time.Duration{-300 * time.Second, 300 * time.Second} {
		wire, _ := p.signAs(updateMessage(), p.name, p.algorithm, now.Add(off))
		if _, err := v.Authenticate(wire); err != nil {
			t.Errorf("%s off: %v", off, err)
		}
	}
	// The log tells a time that is further off than a Duration reaches as one that is far ahead.
	wire, _ := p.signAs(updateMessage(), p.name, p.algorithm, time.Unix(1<<48-1, 0))
	if _, err := v.Authenticate(wire); kindOf(err) != BadTime || !strings.Contains(err.Error(), "time signed is 2562047h47m") {
		t.Error(err)
	}
	// Who cannot sign learns nothing of time: BADSIG comes first.
	wire, _ = p.signAs(updateMessage(), p.name, p.algorithm, now.Add(time.Hour))
	wire[len(wire)-7] ^= 1
	if _, err := v.Authenticate(wire); kindOf(err) != BadSig {
		t.Error(err)
	}
	// miekg signs what it is told, but cannot verify a NOTAUTH answer; the
	// digest is checked by its generator instead.
	wire, mac := signStatic(t, updateMessage(), staticName, dns.HmacSHA256, now.Add(time.Hour))
	_, err := v.Authenticate(wire)
	if kindOf(err) != BadTime {
		t.Fatal(err)
	}
	digest, record := referenceDigest(t, replyWire(t, err), mac, false)
	secret, _ := base64.StdEncoding.DecodeString(staticSecret)
	want, err := (&hmacKey{secret: secret, hash: hmacs[0].hash}).sign(digest)
	if err != nil || record.MAC != hex.EncodeToString(want) {
		t.Errorf("MAC %s, want %x (%v)", record.MAC, want, err)
	}
}

// RFC 8945 section 5.2.2.1 and 5.2.4 (BIND CVE-2020-8617 and CVE-2020-8622).
func TestVerifyTruncatedMAC(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.2 order", "5.2.2.1 MAC too long", "5.2.2.1 MAC too short", "5.2.4 BADTRUNC", "5.3.2 signed errors", "7 length of replies")
	v := NewAuthenticator(staticKeys)
	sizes := map[string]int{dns.HmacSHA1: 20, dns.HmacSHA224: 28, dns.HmacSHA256: 32, dns.HmacSHA384: 48, dns.HmacSHA512: 64}
	for algorithm, full := range sizes {
		for n := 0; n <= full+1; n++ {
			wire, _ := signStatic(t, updateMessage(), staticName, algorithm, time.Now())
			m := new(dns.Msg)
			if err := m.Unpack(wire); err != nil {
				t.Fatal(err)
			}
			record := m.IsTsig()
			record.MAC = (record.MAC + "00")[:2*n]
			record.MACSize = uint16(n)
			wire, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			want := BadTrunc
			switch {
			case n > full || n < 10 || n < full/2:
				want = Malformed
			case n == full:
				want = 0
			}
			_, verr := v.Authenticate(wire)
			if got := kindOf(verr); got != want {
				t.Errorf("%s, %d octets: %v", algorithm, n, verr)
				continue
			}
			if want == BadTrunc {
				// Signed, in full, over the request's MAC as it came.
				answer := replyWire(t, verr)
				reply := new(dns.Msg)
				if err := reply.Unpack(answer); err != nil {
					t.Fatal(err)
				}
				if got := reply.IsTsig(); reply.Rcode != dns.RcodeNotAuth || got.Error != dns.RcodeBadTrunc || int(got.MACSize) != full {
					t.Errorf("answer\n%s", reply)
				}
				digest, got := referenceDigest(t, answer, record.MAC, false)
				expected, _ := dnsHMAC(algorithm, digest)
				if got.MAC != expected {
					t.Errorf("%s, %d octets: the answer's MAC is wrong", algorithm, n)
				}
			}
			if want == BadTrunc && n == full-1 {
				wire[len(wire)-7] ^= 1
				if _, err := v.Authenticate(wire); kindOf(err) != BadSig {
					t.Errorf("%s, cut and wrong: %v", algorithm, err)
				}
			}
		}
	}
}

func dnsHMAC(algorithm string, digest []byte) (string, error) {
	secret, err := base64.StdEncoding.DecodeString(staticSecret)
	if err != nil {
		return "", err
	}
	name, _ := tsig.NameFromText(algorithm)
	for _, a := range hmacs {
		if a.name == name {
			mac, err := (&hmacKey{secret: secret, hash: a.hash}).sign(digest)
			return hex.EncodeToString(mac), err
		}
	}
	return "", errors.New("no such algorithm")
}

// dnspython compresses the owner of its TSIG records.
func TestVerifyCompressedOwner(t *testing.T) {
	r := newRealm(t, nil)
	for _, name := range []string{"example.test.", "k.example.test.", "K.eXample.test."} {
		p := r.login(name, login{client: "host/" + strings.ToLower(name) + "example.test"})
		m := updateMessage() // its zone, at offset 12, is example.test.
		wire, mac := p.sign(m)
		wire = rewrite(t, wire, func(head, record []byte) []byte {
			if name == "example.test." {
				return append(append(head, 0xC0, 12), record[14:]...)
			}
			return append(append(append(head, record[:2]...), 0xC0, 12), record[16:]...)
		})
		if err := new(dns.Msg).Unpack(wire); err != nil {
			t.Fatal(err)
		}
		transaction, err := NewAuthenticator(nil, r.server).Authenticate(wire)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		signed, err := transaction.Sign(new(dns.Msg).SetReply(m))
		if err != nil {
			t.Fatal(err)
		}
		p.verifyAnswer(signed, mac, false)
		r.table.delete(p.context())
	}
}

// A forwarder may have changed the ID; the MAC covers the original one.
func TestVerifyOriginalID(t *testing.T) {
	standard.Requires(t, "RFC 8945", "4.3.2 message")
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	m := updateMessage()
	wire, mac := p.sign(m)
	binary.BigEndian.PutUint16(wire, m.Id+1)
	request := new(dns.Msg)
	if err := request.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	transaction, err := NewAuthenticator(nil, r.server).Authenticate(wire)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := transaction.Sign(new(dns.Msg).SetReply(request))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.verifyAnswer(signed, mac, false).OrigId; got != m.Id+1 {
		t.Errorf("original ID %d, the answer's is %d", got, m.Id+1)
	}
}

// Two servers may have been given the same key name by two clients.
func TestVerifySeveralServers(t *testing.T) {
	one, two := newRealm(t, nil), newRealm(t, nil)
	v := NewAuthenticator(nil, one.server, two.server)
	first := one.login("k.example.test.", login{})
	second := two.login("k.example.test.", login{client: "host/b.example.test"})
	third := two.login("only.example.test.", login{})
	for _, test := range []struct {
		p      *peer
		server *Server
	}{{first, one.server}, {second, two.server}, {third, two.server}, {first, one.server}} {
		wire, _ := test.p.sign(updateMessage())
		transaction, err := v.Authenticate(wire)
		if err != nil {
			t.Fatal(err)
		}
		if transaction.Server() != test.server || transaction.Identity().Principal.Name() != test.p.login.client {
			t.Errorf("%+v", transaction.Identity())
		}
	}
}

// A table outlives its server. A context that another server would not have
// accepted is no key there, and still one for the first server.
func TestVerifyWithChangedConfiguration(t *testing.T) {
	r := newRealm(t, nil)
	wire, _ := r.login("k.example.test.", login{}).sign(updateMessage())
	for _, test := range []struct {
		realm string
		want  VerifyErrorKind
	}{{"OTHER.TEST", BadKey}, {testRealm, 0}} {
		changed := r.config
		var err error
		changed.Acceptor, err = krb5.NewAcceptor(krb5.AcceptorConfig{
			Keytabs: r.keytabs, Replays: krb5.NewReplayCache(1), Realms: []string{test.realm}, Now: r.clock.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		server, err := NewServer(changed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewAuthenticator(nil, server).Authenticate(wire); kindOf(err) != test.want {
			t.Errorf("clients of %s: %v", test.realm, err)
		}
	}
	if live, _ := r.table.Len(); live != 1 {
		t.Errorf("%d contexts are left", live)
	}
}

func TestVerifyConcurrently(t *testing.T) {
	r := newRealm(t, nil)
	v := NewAuthenticator(staticKeys, r.server)
	type sent struct {
		wire []byte
		mac  string
	}
	var group sync.WaitGroup
	for i := range 4 {
		p := r.login(fmt.Sprintf("k%d.example.test.", i), login{})
		var messages []sent
		for range 50 {
			wire, mac := p.sign(updateMessage())
			messages = append(messages, sent{wire, mac})
		}
		for half := range 2 {
			group.Go(func() {
				for j := half; j < len(messages); j += 2 {
					m := new(dns.Msg)
					if err := m.Unpack(messages[j].wire); err != nil {
						t.Error(err)
						return
					}
					transaction, err := v.Authenticate(messages[j].wire)
					if err != nil {
						t.Error(err)
						return
					}
					signed, err := transaction.Sign(new(dns.Msg).SetReply(m))
					if err != nil {
						t.Error(err)
						return
					}
					p.verifyAnswer(signed, messages[j].mac, false)
					if _, err := v.Authenticate(messages[j].wire); kindOf(err) != BadSig {
						t.Errorf("replay: %v", err)
					}
				}
			})
		}
	}
	group.Wait()
}

func TestSignFails(t *testing.T) {
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	wire, _ := p.sign(updateMessage())
	transaction, err := NewAuthenticator(nil, r.server).Authenticate(wire)
	if err != nil {
		t.Fatal(err)
	}
	bad := new(dns.Msg).SetQuestion("no..name.", dns.TypeA)
	if _, err := transaction.Sign(bad); err == nil {
		t.Error("a message that does not pack: no error")
	}
	large := new(dns.Msg).SetQuestion("example.test.", dns.TypeTXT)
	for i := range 255 {
		large.Answer = append(large.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET},
			Txt: []string{strings.Repeat("x", 245-i/254*88)},
		})
	}
	if n := large.Len(); n > dns.MaxMsgSize || n < dns.MaxMsgSize-transaction.Overhead() {
		t.Fatalf("the large message has %d octets", n)
	}
	if _, err := transaction.Sign(large); err == nil {
		t.Error("a message without room for TSIG: no error")
	}
	p.context().mechanism.Wipe()
	if _, err := transaction.Sign(new(dns.Msg)); !errors.Is(err, krb5.ErrNotEstablished) {
		t.Errorf("a key that is gone: %v", err)
	}
}

func TestVerifyErrorKindNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range []VerifyErrorKind{0, Malformed, BadKey, BadSig, BadTime, BadTrunc} {
		if s := k.String(); s == "" || seen[s] {
			t.Errorf("%d is called %q", int(k), s)
		} else {
			seen[s] = true
		}
	}
}
