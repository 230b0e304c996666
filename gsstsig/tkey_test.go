package gsstsig

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/miekg/dns"
)

// updateMessage is something to sign.
func updateMessage() *dns.Msg {
	m := new(dns.Msg)
	m.SetUpdate("example.test.")
	m.Ns = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: "a.example.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
		A:   []byte{192, 0, 2, 1},
	}}
	return m
}

func TestNegotiate(t *testing.T) {
	standard.Requires(t, "RFC 3645", "2.2 signed reply", "4.1 recognize", "4.1.1 new", "4.1.3 NOERROR", "4.1.3 token", "4.1.3 signed", "4.1.3 continue", "4.1.3 fields", "5.1 digest", "9 SPNEGO", "9 Kerberos", "9 client's SPNEGO")
	standard.Requires(t, "RFC 2930", "2.4 validity", "4.3 own authentication")
	standard.Requires(t, "RFC 8945", "5.3 unsigned request")
	ms := []asn1.ObjectIdentifier{spnego.OIDMSKerberos, spnego.OIDKerberos}
	ntlm := []asn1.ObjectIdentifier{spnego.OIDNTLM, spnego.OIDMSKerberos, spnego.OIDKerberos}
	tests := []struct {
		name   string
		login  login
		rounds int
	}{
		{"SPNEGO", login{}, 1},
		{"SPNEGO, not mutual", login{notMutual: true}, 1},
		{"SPNEGO with MIC, not mutual", login{notMutual: true, sendMIC: true}, 1},
		{"SPNEGO, Microsoft first", login{mechTypes: ms}, 1},
		{"SPNEGO, NTLM first", login{mechTypes: ntlm}, 3},
		{"SPNEGO, NTLM first, not mutual", login{mechTypes: ntlm, notMutual: true}, 2},
		{"SPNEGO, no optimistic token", login{noOptimistic: true}, 2},
		{"raw", login{raw: true}, 1},
		{"raw, not mutual", login{raw: true, notMutual: true}, 1},
		{"Microsoft's algorithm", login{algorithm: AlgorithmGSSMicrosoft}, 1},
		{"algorithm in capitals", login{algorithm: "GSS-TSIG."}, 1},
		{"type 17", login{enctype: 17}, 1},
		{"type 19", login{enctype: 19}, 1},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRealm(t, nil)
			p := r.newPeer(fmt.Sprintf("%d.Sig-ns1.example.test.", i), test.login)
			response, sign := p.run()
			if sign == nil {
				t.Fatal("the completing answer is not signed")
			}
			if len(r.events) != test.rounds {
				t.Errorf("%d rounds, want %d", len(r.events), test.rounds)
			}
			for _, e := range r.events[:len(r.events)-1] {
				if e.Result != ResultContinued {
					t.Errorf("unfinished round: %+v", e)
				}
			}
			e := r.lastEvent()
			if e.Result != ResultEstablished || e.Client != testClient || e.Peer != "host/a.example.test@"+testRealm ||
				e.Service != testService+"@"+testRealm || e.KeyName != strings.ToLower(p.name) ||
				e.Algorithm != strings.ToLower(p.algorithm) || e.Raw != test.login.raw ||
				e.Reason != "" || e.Enctype != krb5.Enctype(p.login.enctype) {
				t.Errorf("event %+v", e)
			}

			tkey := answerOf(t, response)
			if tkey.Hdr.Name != p.name || tkey.Algorithm != p.algorithm || tkey.Mode != modeGSS {
				t.Errorf("answer %s", tkey)
			}
			now := r.clock.now()
			if tkey.Inception != uint32(now.Unix()) || tkey.Expiration != uint32(now.Add(time.Hour).Unix()) {
				t.Errorf("inception %d, expiration %d at %d", tkey.Inception, tkey.Expiration, now.Unix())
			}

			// RFC 3645 section 4.1.3: the completed context signs its answer.
			wire, err := sign.Sign(response)
			if err != nil {
				t.Fatal(err)
			}
			p.verifyAnswer(wire, "", false)
			if got := sign.Identity(); got.KeyName != e.KeyName || got.Principal.String() != e.Peer || got.Static {
				t.Errorf("identity %+v", got)
			}
			if sign.Server() != r.server {
				t.Error("not signed for this server")
			}

			request, mac := p.sign(updateMessage())
			transaction, err := NewAuthenticator(nil, r.server).Authenticate(request)
			if err != nil || transaction == nil {
				t.Fatalf("%v, %v", transaction, err)
			}
			m := new(dns.Msg)
			if err := m.Unpack(request); err != nil {
				t.Fatal(err)
			}
			if wire, err = transaction.Sign(new(dns.Msg).SetReply(m)); err != nil {
				t.Fatal(err)
			}
			p.verifyAnswer(wire, mac, false)
		})
	}
}

// A raw token without mutual authentication has no answer: the client's own is
// returned (RFC 3645 section 4.1.3).
func TestNegotiateReturnsTheTokenWhenThereIsNothingToSay(t *testing.T) {
	standard.Deviates(t, "RFC 3645", "4.1.3 nothing to say", "The client's token, name and algorithm are returned, with the times of the key: the client's own would not be true.")
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{raw: true, notMutual: true})
	token := p.first()
	response, _ := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, token), testClient, nil)
	if got := answerOf(t, response).Key; got != hex.EncodeToString(token) {
		t.Errorf("key data %s", got)
	}
}

// Only the client's own token can be left out: it tells the client nothing.
func TestWithoutEcho(t *testing.T) {
	standard.Deviates(t, "RFC 3645", "4.1.3 nothing to say", "By UDP the client's own token is left out if the reply does not fit with it: truncated, the client would try again, and find the name in use.")
	r := newRealm(t, nil)
	for name, test := range map[string]struct {
		login login
		token []byte // garbage in place of the login's
		echo  bool
	}{
		"nothing to say": {login{raw: true, notMutual: true}, nil, true},
		"Kerberos' word": {login{raw: true}, nil, false},
		"SPNEGO's word":  {login{notMutual: true}, nil, false},
		"next round":     {login{noOptimistic: true}, nil, false},
		"refused":        {login{}, []byte("garbage"), false},
	} {
		p := r.newPeer(fmt.Sprintf("%d.example.test.", len(name)), test.login)
		token := p.first()
		if test.token != nil {
			token = test.token
		}
		request, _ := overTheWire(t, tkeyMessage(p.name, p.algorithm, modeGSS, token))
		response, _ := r.negotiate(request, testClient, nil)
		before := *answerOf(t, response)
		short := WithoutEcho(request, response)
		if !test.echo {
			if short != response {
				t.Errorf("%s: got\n%s", name, short)
			}
			continue
		}
		want := before
		want.Key, want.KeySize = "", 0
		if got := *answerOf(t, short); got != want || *answerOf(t, response) != before {
			t.Errorf("%s: got\n%s", name, short)
		}
		if _, err := short.Pack(); err != nil {
			t.Error(err)
		}
	}
	for _, m := range []*dns.Msg{nil, new(dns.Msg)} {
		response, _ := r.negotiate(m, testClient, nil)
		if WithoutEcho(m, response) != response {
			t.Error("a response without record is changed")
		}
	}
}

func TestNegotiatePlacement(t *testing.T) {
	standard.Requires(t, "RFC 2930", "4 TKEY record")
	for _, class := range []uint16{dns.ClassANY, dns.ClassINET} {
		for _, qclass := range []uint16{dns.ClassANY, dns.ClassINET} {
			for _, inAnswer := range []bool{false, true} {
				t.Run(fmt.Sprintf("class %d, asked %d, in answer %t", class, qclass, inAnswer), func(t *testing.T) {
					r := newRealm(t, nil)
					p := r.newPeer("Key.Example.TEST.", login{})
					m := tkeyMessage(p.name, p.algorithm, modeGSS, p.first())
					m.Question[0].Qclass = qclass
					m.Question[0].Name = "kEY.eXAMPLE.test."
					m.Extra[0].Header().Class = class
					if inAnswer {
						m.Answer, m.Extra = m.Extra, nil
					}
					m.SetEdns0(4096, false)
					request, _ := overTheWire(t, m)
					response, sign := r.negotiate(request, testClient, nil)
					if sign == nil {
						t.Fatalf("%+v", r.lastEvent())
					}
					tkey := answerOf(t, response)
					if tkey.Hdr.Class != class || tkey.Hdr.Name != p.name || response.Question[0] != m.Question[0] {
						t.Errorf("response\n%s", response)
					}
					if response.IsEdns0() == nil {
						t.Error("OPT is not answered")
					}
				})
			}
		}
	}
}

func TestNegotiateRefuses(t *testing.T) {
	standard.Requires(t, "RFC 2930", "2.3 algorithm", "2.5 modes", "2.6 rcode", "3 one record", "4 TKEY record")
	standard.Deviates(t, "RFC 2930", "2.5 mode 2", "Diffie-Hellman is BADMODE: it proves nobody's identity.")
	standard.Requires(t, "RFC 3645", "4.1.1 mode and algorithm", "4.1.3 NOERROR", "4.1.3 BADKEY")
	standard.Requires(t, "RFC 8945", "5.3 unsigned request")
	r := newRealm(t, nil)
	good := func() []byte { return r.newPeer("x.", login{}).first() }
	edit := func(m *dns.Msg, f func(*dns.Msg)) *dns.Msg { f(m); return m }
	message := func(token []byte) *dns.Msg { return tkeyMessage("k.example.test.", AlgorithmGSS, modeGSS, token) }
	tests := []struct {
		name   string
		m      *dns.Msg
		rcode  int
		tkey   uint16
		result Result
	}{
		{"nil", nil, dns.RcodeFormatError, 0, ResultFormErr},
		{"no question", edit(message(good()), func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError, 0, ResultFormErr},
		{"two questions", edit(message(good()), func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError, 0, ResultFormErr},
		{"another type", edit(message(good()), func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }), dns.RcodeFormatError, 0, ResultFormErr},
		{"class CH", edit(message(good()), func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeFormatError, 0, ResultFormErr},
		{"record of class CH", edit(message(good()), func(m *dns.Msg) { m.Extra[0].Header().Class = dns.ClassCHAOS }), dns.RcodeFormatError, 0, ResultFormErr},
		{"no record", edit(message(good()), func(m *dns.Msg) { m.Extra = nil }), dns.RcodeFormatError, 0, ResultFormErr},
		{"record in authority", edit(message(good()), func(m *dns.Msg) { m.Ns, m.Extra = m.Extra, nil }), dns.RcodeFormatError, 0, ResultFormErr},
		{"two records", edit(message(good()), func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[0]) }), dns.RcodeFormatError, 0, ResultFormErr},
		{"record in both sections", edit(message(good()), func(m *dns.Msg) { m.Answer = m.Extra }), dns.RcodeFormatError, 0, ResultFormErr},
		{"record of another name", edit(message(good()), func(m *dns.Msg) { m.Extra[0].Header().Name = "other.test." }), dns.RcodeFormatError, 0, ResultFormErr},
		{"record with an error", edit(message(good()), func(m *dns.Msg) { m.Extra[0].(*dns.TKEY).Error = 17 }), dns.RcodeFormatError, 0, ResultFormErr},
		{"record without data", edit(message(good()), func(m *dns.Msg) {
			m.Extra[0] = &dns.TKEY{Hdr: *m.Extra[0].Header()}
		}), dns.RcodeFormatError, 0, ResultFormErr},
		{"record cut before the token", edit(message(good()), func(m *dns.Msg) { m.Extra[0].(*dns.TKEY).Key = "" }), dns.RcodeFormatError, 0, ResultFormErr},
		{"record cut before other data", edit(message(good()), func(m *dns.Msg) { m.Extra[0].(*dns.TKEY).OtherLen = 1 }), dns.RcodeFormatError, 0, ResultFormErr},
		{"mode 1", tkeyMessage("k.", AlgorithmGSS, 1, good()), 0, dns.RcodeBadMode, ResultBadMode},
		{"mode 2", tkeyMessage("k.", "hmac-md5.sig-alg.reg.int.", 2, nil), 0, dns.RcodeBadMode, ResultBadMode},
		{"mode 4", tkeyMessage("k.", AlgorithmGSS, 4, nil), 0, dns.RcodeBadMode, ResultBadMode},
		{"mode 65535", tkeyMessage("k.", AlgorithmGSS, 65535, nil), 0, dns.RcodeBadMode, ResultBadMode},
		{"mode 0", tkeyMessage("k.", AlgorithmGSS, 0, nil), 0, dns.RcodeBadMode, ResultBadMode},
		{"HMAC algorithm", tkeyMessage("k.", dns.HmacSHA256, modeGSS, good()), 0, dns.RcodeBadAlg, ResultBadAlg},
		{"root algorithm", tkeyMessage("k.", ".", modeGSS, good()), 0, dns.RcodeBadAlg, ResultBadAlg},
		{"no token", message(nil), 0, dns.RcodeBadKey, ResultBadKey},
		{"huge token", message(make([]byte, maxToken+1)), 0, dns.RcodeBadKey, ResultBadKey},
		{"garbage token", message([]byte("garbage")), 0, dns.RcodeBadKey, ResultBadKey},
		{"NTLM token", message([]byte("NTLMSSP\x00\x01\x00\x00\x00\x07\x82\x08\xa2")), 0, dns.RcodeBadKey, ResultBadKey},
		{"continuation of nothing", message([]byte{0xa1, 2, 0x30, 0}), 0, dns.RcodeBadKey, ResultBadKey},
		{"cut token", message(good()[:200]), 0, dns.RcodeBadKey, ResultBadKey},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response, sign := r.negotiate(test.m, testClient, nil)
			if sign != nil {
				t.Error("signed")
			}
			if !response.Response || response.Rcode != test.rcode {
				t.Errorf("rcode %d, want %d", response.Rcode, test.rcode)
			}
			if test.rcode == 0 {
				tkey := answerOf(t, response)
				if tkey.Error != test.tkey || tkey.Key != "" || tkey.Inception != 0 || tkey.Expiration != 0 {
					t.Errorf("answer %s, want error %d", tkey, test.tkey)
				}
			} else if len(response.Answer) != 0 {
				t.Errorf("answer %s", response.Answer[0])
			}
			if test.m != nil && response.Id != test.m.Id {
				t.Error("ID differs")
			}
			if e := r.lastEvent(); e.Result != test.result || e.Reason == "" {
				t.Errorf("event %+v", e)
			}
			if live, halfOpen := r.table.Len(); live+halfOpen != 0 {
				t.Errorf("%d contexts and %d unfinished ones stay behind", live, halfOpen)
			}
		})
	}
}

// A token that fails for a reason that Kerberos can name is told in its words.
func TestNegotiateEventExplains(t *testing.T) {
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{})
	m := tkeyMessage(p.name, p.algorithm, modeGSS, p.first())
	if _, sign := r.negotiate(m, testClient, nil); sign == nil {
		t.Fatal("not established")
	}
	m.Question[0].Name, m.Extra[0].Header().Name = "l.example.test.", "l.example.test."
	response, _ := r.negotiate(m, testClient, nil)
	if got := answerOf(t, response).Error; got != dns.RcodeBadKey {
		t.Errorf("replayed token: TKEY error %d", got)
	}
	e := r.lastEvent()
	if e.Result != ResultBadKey || !strings.Contains(e.Reason, "host/a.example.test") || e.Service != testService+"@"+testRealm {
		t.Errorf("event %+v", e)
	}

	r.negotiate(tkeyMessage("k2.", AlgorithmGSS, modeGSS, ntlmOnly(t)), testClient, nil)
	if e := r.lastEvent(); !strings.Contains(e.Fix, "NTLM") {
		t.Errorf("event %+v", e)
	}

	var stale Event
	stale.explain(fmt.Errorf("wrapped: %w", &krb5.Error{Reason: "no such version", Enctype: 18, TicketKVNO: 4, KeytabKVNOs: []uint32{2, 3}}))
	if stale.Enctype != krb5.AES256SHA1 || stale.TicketKVNO != 4 || len(stale.KeytabKVNOs) != 2 {
		t.Errorf("event %+v", stale)
	}
}

// A refusal carries what Kerberos says to the client: the code, and the
// server's time. It is no larger than the token that it answers.
func TestRefusalTellsWhy(t *testing.T) {
	for _, test := range []struct {
		name  string
		code  int32
		token func(r *realm, p *peer) []byte
	}{
		{"clock behind", 37, func(r *realm, p *peer) []byte {
			token := p.first()
			r.clock.advance(10 * time.Minute)
			return token
		}},
		{"ticket over", 32, func(r *realm, p *peer) []byte {
			r.clock.advance(25 * time.Hour)
			return p.first()
		}},
		{"ticket not begun", 33, func(r *realm, p *peer) []byte {
			r.clock.advance(-10 * time.Minute)
			return p.first()
		}},
		{"replay", 34, func(r *realm, p *peer) []byte {
			token := p.first()
			r.negotiate(tkeyMessage("first.example.test.", p.algorithm, modeGSS, token), testClient, nil)
			return token
		}},
	} {
		for _, raw := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, raw %t", test.name, raw), func(t *testing.T) {
				r := newRealm(t, nil)
				p := r.newPeer("k.example.test.", login{raw: raw})
				token := test.token(r, p)
				response, sign := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, token), testClient, nil)
				if sign != nil {
					t.Error("signed")
				}
				response, _ = overTheWire(t, response)
				tkey := answerOf(t, response)
				reply, err := hex.DecodeString(tkey.Key)
				if err != nil || tkey.Error != dns.RcodeBadKey || tkey.Inception != 0 || tkey.Expiration != 0 || len(reply) == 0 || len(reply) > len(token) {
					t.Fatalf("%d octets for %d: %s, %v", len(reply), len(token), tkey, err)
				}
				_, err = p.outer.Init(reply)
				var told *krb5.Error
				if !errors.As(err, &told) || !errors.Is(err, krb5.ErrRefused) || told.Code != test.code || told.Service != testService+"@"+testRealm {
					t.Errorf("the client reads %v", err)
				}
				if want := r.clock.now().UTC().Format(time.RFC3339); test.code == 37 && !strings.Contains(told.Reason, want) {
					t.Errorf("%q does not tell the server's time, %s", told.Reason, want)
				}
			})
		}
	}
}

// A client that learns the server's time from a refusal may come again with the
// same key name.
func TestSameNameAfterARefusal(t *testing.T) {
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{raw: true})
	token := p.first()
	r.clock.advance(10 * time.Minute)
	if _, sign := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, token), testClient, nil); sign != nil {
		t.Fatal("established")
	}
	r.login(p.name, login{raw: true})
}

// The mechanism's token never makes an answer larger than its query.
func TestLongReasonIsLeftOut(t *testing.T) {
	for length, want := range map[int]uint16{9: 0, 10: 10, 11: 10} {
		n := &negotiation{answer: new(dns.TKEY)}
		n.tellWhy(make([]byte, 10), make([]byte, length))
		if n.answer.KeySize != want || len(n.answer.Key) != 2*int(want) {
			t.Errorf("%d octets for a token of %d", n.answer.KeySize, length)
		}
	}
}

// ntlmOnly is the first SPNEGO token of a client without Kerberos.
func ntlmOnly(t *testing.T) []byte {
	c, err := spnego.NewInitiator(spnego.InitiatorConfig{
		Mechanism: &krb5.InitiatorContext{}, OtherToken: []byte("NTLMSSP\x00"),
		MechTypes: []asn1.ObjectIdentifier{spnego.OIDNTLM},
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestKeyNameTaken(t *testing.T) {
	standard.Requires(t, "RFC 3645", "4.1.1 established", "4.1.1 expired")
	standard.Requires(t, "RFC 2930", "2.1 one key")
	r := newRealm(t, nil)
	first := r.login("Taken.example.test.", login{})
	for _, client := range []string{"host/a.example.test", "host/b.example.test"} {
		second := r.newPeer("tAKEN.example.test.", login{client: client})
		token := second.first()
		response, sign := r.negotiate(tkeyMessage(second.name, second.algorithm, modeGSS, token), testClient, nil)
		if got := answerOf(t, response).Error; got != dns.RcodeBadName || sign != nil || response.Rcode != 0 {
			t.Errorf("%s: rcode %d, TKEY error %d, signed %t", client, response.Rcode, got, sign != nil)
		}
		if e := r.lastEvent(); e.Result != ResultBadName {
			t.Errorf("event %+v", e)
		}
	}
	wire, _ := first.sign(updateMessage())
	if _, err := NewAuthenticator(nil, r.server).Authenticate(wire); err != nil {
		t.Errorf("the first key does not survive: %v", err)
	}

	// What has expired may be negotiated again.
	r.clock.advance(time.Hour)
	r.login("taken.example.test.", login{client: "host/b.example.test"})
}

func TestServerChoosesName(t *testing.T) {
	standard.Requires(t, "RFC 2930", "2.1 root")
	r := newRealm(t, nil)
	first, second := r.login(".", login{}), r.login(".", login{notMutual: true})
	for _, p := range []*peer{first, second} {
		if !strings.HasSuffix(p.name, ".ns1.example.test.") || len(p.name) < 32 {
			t.Errorf("name %q", p.name)
		}
		wire, _ := p.sign(updateMessage())
		if _, err := NewAuthenticator(nil, r.server).Authenticate(wire); err != nil {
			t.Error(err)
		}
	}
	if first.name == second.name {
		t.Error("the same name twice")
	}
	// More than one round goes on under the name that was chosen.
	third := r.login(".", login{noOptimistic: true})
	if third.name == "." {
		t.Error("no name")
	}
}

func TestLifetime(t *testing.T) {
	standard.Requires(t, "RFC 3645", "4.2.1 end", "5.1 context ended", "5.1 no context")
	standard.Requires(t, "RFC 2930", "2.4 validity")
	for _, test := range []struct {
		configured, ticket, want time.Duration
	}{
		{0, 24 * time.Hour, time.Hour},
		{2 * time.Hour, 24 * time.Hour, 2 * time.Hour},
		{2 * time.Hour, 20 * time.Minute, 20 * time.Minute},
	} {
		r := newRealm(t, func(_ *TableConfig, c *Config) { c.Lifetime = test.configured })
		p := r.newPeer("k.example.test.", login{lifetime: test.ticket})
		response, _ := p.run()
		want := r.clock.now().Add(test.want)
		if got := answerOf(t, response).Expiration; got != uint32(want.Unix()) {
			t.Errorf("%+v: expiration %d, want %d", test, got, want.Unix())
		}
		if e := r.lastEvent(); !e.Expires.Equal(want) {
			t.Errorf("%+v: event says %s", test, e.Expires)
		}
		v := NewAuthenticator(nil, r.server)
		r.clock.advance(test.want - time.Second)
		wire, _ := p.sign(updateMessage())
		if _, err := v.Authenticate(wire); err != nil {
			t.Errorf("%+v: a second before the end: %v", test, err)
		}
		r.clock.advance(time.Second)
		wire, _ = p.sign(updateMessage())
		if _, err := v.Authenticate(wire); kindOf(err) != BadKey {
			t.Errorf("%+v: at the end: %v", test, err)
		}
		if live, _ := r.table.Len(); live != 0 {
			t.Errorf("%+v: %d contexts stay", test, live)
		}
	}
}

// Within the clock skew an expired ticket is accepted, but no expired context
// results.
func TestTicketThatJustEnded(t *testing.T) {
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{lifetime: time.Minute})
	token := p.first()
	r.clock.advance(2 * time.Minute)
	response, sign := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, token), testClient, nil)
	if got := answerOf(t, response).Error; got != dns.RcodeBadKey || sign != nil {
		t.Errorf("TKEY error %d, signed %t", got, sign != nil)
	}
	if live, _ := r.table.Len(); live != 0 {
		t.Error("a context stays")
	}
}

// Negotiations that are never finished end by themselves (BIND CVE-2026-3039,
// PowerDNS CVE-2026-42002).
func TestHalfOpenExpires(t *testing.T) {
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{noOptimistic: true})
	response, sign := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, p.first()), testClient, nil)
	tkey := answerOf(t, response)
	if sign != nil || tkey.Error != 0 || tkey.Expiration-tkey.Inception != 60 {
		t.Fatalf("signed %t, %s", sign != nil, tkey)
	}
	if _, halfOpen := r.table.Len(); halfOpen != 1 {
		t.Fatalf("%d unfinished", halfOpen)
	}
	reply, _ := hex.DecodeString(tkey.Key)
	second, err := p.outer.Init(reply)
	if err != nil {
		t.Fatal(err)
	}
	r.clock.advance(time.Minute)
	response, _ = r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, second), testClient, nil)
	if got := answerOf(t, response).Error; got != dns.RcodeBadKey {
		t.Errorf("after a minute: TKEY error %d", got)
	}
	if _, halfOpen := r.table.Len(); halfOpen != 0 {
		t.Errorf("%d unfinished", halfOpen)
	}
}

// A client may restart an unfinished negotiation under the same name.
func TestHalfOpenStartsOver(t *testing.T) {
	standard.Deviates(t, "RFC 3645", "4.1.1 unfinished", "A first token begins anew under the same name: it comes from a client that has started over.")
	r := newRealm(t, nil)
	for _, l := range []login{{noOptimistic: true}, {raw: true}, {}} {
		name := fmt.Sprintf("k%t.example.test.", l.raw)
		r.negotiate(tkeyMessage(name, AlgorithmGSS, modeGSS, r.newPeer(name, login{noOptimistic: true}).first()), testClient, nil)
		if _, halfOpen := r.table.Len(); halfOpen != 1 {
			t.Fatalf("%d unfinished", halfOpen)
		}
		r.table.delete(r.login(name, l).context())
	}
}

// context finds the server's side of a peer's context.
func (p *peer) context() *securityContext {
	name, _ := tsig.NameFromText(p.name)
	return p.r.table.lookup([]byte(name))
}

func TestHalfOpenKeepsItsAlgorithm(t *testing.T) {
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{noOptimistic: true})
	response, _ := r.negotiate(tkeyMessage(p.name, AlgorithmGSS, modeGSS, p.first()), testClient, nil)
	reply, _ := hex.DecodeString(answerOf(t, response).Key)
	token, err := p.outer.Init(reply)
	if err != nil {
		t.Fatal(err)
	}
	response, sign := r.negotiate(tkeyMessage(p.name, AlgorithmGSSMicrosoft, modeGSS, token), testClient, nil)
	if got := answerOf(t, response).Error; got != dns.RcodeBadAlg || sign != nil {
		t.Errorf("TKEY error %d", got)
	}
	if live, halfOpen := r.table.Len(); live+halfOpen != 0 {
		t.Error("something stays behind")
	}
}

// The rounds of one negotiation may come from anywhere, and of two that come
// at once only one can be the continuation.
func TestConcurrentContinuation(t *testing.T) {
	standard.Requires(t, "RFC 3645", "4.1.1 unfinished")
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{noOptimistic: true})
	response, _ := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, p.first()), testClient, nil)
	reply, _ := hex.DecodeString(answerOf(t, response).Key)
	token, err := p.outer.Init(reply)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	signed := make(chan bool, 8)
	for range cap(signed) {
		group.Go(func() {
			_, sign := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, token), testClient, nil)
			signed <- sign != nil
		})
	}
	group.Wait()
	close(signed)
	won := 0
	for s := range signed {
		if s {
			won++
		}
	}
	if live, halfOpen := r.table.Len(); won != 1 || live != 1 || halfOpen != 0 {
		t.Errorf("%d won; %d contexts, %d unfinished", won, live, halfOpen)
	}
}

func TestConcurrentSameName(t *testing.T) {
	standard.Requires(t, "RFC 2930", "2.1 one key")
	r := newRealm(t, nil)
	var group sync.WaitGroup
	errors := make(chan uint16, 8)
	for range cap(errors) {
		p := r.newPeer("same.example.test.", login{})
		m := tkeyMessage(p.name, p.algorithm, modeGSS, p.first())
		group.Go(func() {
			response, _ := r.negotiate(m, testClient, nil)
			errors <- response.Answer[0].(*dns.TKEY).Error
		})
	}
	group.Wait()
	close(errors)
	count := map[uint16]int{}
	for e := range errors {
		count[e]++
	}
	if count[0] != 1 || count[dns.RcodeBadName] != cap(errors)-1 {
		t.Errorf("TKEY errors %v", count)
	}
}

// A TKEY query that is signed is answered under the key that signed it.
func TestNegotiateSigned(t *testing.T) {
	standard.Requires(t, "RFC 2930", "3 authenticated replies")
	r := newRealm(t, nil)
	old := r.login("old.example.test.", login{})
	p := r.newPeer("new.example.test.", login{})
	wire, mac := old.sign(tkeyMessage(p.name, p.algorithm, modeGSS, p.first()))
	request := new(dns.Msg)
	if err := request.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	signer, err := NewAuthenticator(nil, r.server).Authenticate(wire)
	if err != nil {
		t.Fatal(err)
	}
	response, sign := r.negotiate(request, testClient, signer)
	if sign != signer {
		t.Fatalf("signed by %v: %+v", sign, r.lastEvent())
	}
	if wire, err = sign.Sign(response); err != nil {
		t.Fatal(err)
	}
	old.verifyAnswer(wire, mac, false)
	reply, _ := hex.DecodeString(answerOf(t, response).Key)
	if _, err := p.outer.Init(reply); err != nil {
		t.Fatal(err)
	}
	wire, _ = p.sign(updateMessage())
	if _, err := NewAuthenticator(nil, r.server).Authenticate(wire); err != nil {
		t.Errorf("the new key: %v", err)
	}
	// Errors are signed as well.
	if _, sign := r.negotiate(tkeyMessage("k.", ".", 9, nil), testClient, signer); sign != signer {
		t.Error("BADMODE is not signed")
	}
	if _, sign := r.negotiate(new(dns.Msg), testClient, signer); sign != signer {
		t.Error("FORMERR is not signed")
	}
}

func TestDelete(t *testing.T) {
	standard.Requires(t, "RFC 2930", "3 authenticated queries", "3 NOTAUTH", "3 authenticated replies", "4.2 deletion", "4.2 unknown key", "4.2 signed", "4.2 discard")
	r := newRealm(t, nil)
	static := StaticKeys{"static.example.test.": "c2VjcmV0IHNlY3JldA=="}
	v := NewAuthenticator(static, r.server)
	own := r.login("own.example.test.", login{})
	same := r.login("same.example.test.", login{})
	foreign := r.login("foreign.example.test.", login{client: "host/b.example.test"})

	// signed returns the transaction of a deletion of name, signed by p.
	signed := func(p *peer, name string) (*dns.Msg, *Transaction, string) {
		t.Helper()
		wire, mac := p.sign(tkeyMessage(name, p.algorithm, modeDelete, nil))
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		signer, err := v.Authenticate(wire)
		if err != nil {
			t.Fatal(err)
		}
		return m, signer, mac
	}
	expect := func(what string, m *dns.Msg, signer *Transaction, rcode int, tkeyError uint16, result Result, live int) {
		t.Helper()
		response, sign := r.negotiate(m, testClient, signer)
		if got := answerOf(t, response); response.Rcode != rcode || got.Error != tkeyError || got.Mode != modeDelete {
			t.Errorf("%s: rcode %d, TKEY error %d", what, response.Rcode, got.Error)
		}
		if sign != signer {
			t.Errorf("%s: signed by %v", what, sign)
		}
		if e := r.lastEvent(); e.Result != result {
			t.Errorf("%s: event %+v", what, e)
		}
		if got, _ := r.table.Len(); got != live {
			t.Errorf("%s: %d contexts, want %d", what, got, live)
		}
	}

	expect("unsigned", tkeyMessage(own.name, own.algorithm, modeDelete, nil), nil, dns.RcodeNotAuth, dns.RcodeBadKey, ResultBadKey, 3)
	expect("unsigned, of nothing", tkeyMessage("none.", own.algorithm, modeDelete, nil), nil, dns.RcodeNotAuth, dns.RcodeBadKey, ResultBadKey, 3)
	m, signer, _ := signed(foreign, own.name)
	expect("by another principal", m, signer, dns.RcodeNotAuth, dns.RcodeBadKey, ResultBadKey, 3)
	m, signer, _ = signed(own, "none.example.test.")
	expect("of nothing", m, signer, 0, dns.RcodeBadName, ResultBadName, 3)
	m, signer, _ = signed(own, own.name)
	m.Extra[0].(*dns.TKEY).Algorithm = AlgorithmGSSMicrosoft
	expect("under another algorithm", m, signer, 0, dns.RcodeBadName, ResultBadName, 3)

	update := tkeyMessage(own.name, own.algorithm, modeDelete, nil)
	update.Extra = append(update.Extra, stub("static.example.test.", dns.HmacSHA256, r.clock.now()))
	wire, _, err := dns.TsigGenerate(update, static["static.example.test."], "", false)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = v.Authenticate(wire); err != nil {
		t.Fatal(err)
	}
	expect("by a static key", tkeyMessage(own.name, own.algorithm, modeDelete, nil), signer, dns.RcodeNotAuth, dns.RcodeBadKey, ResultBadKey, 3)
	expect("of itself by a static key", tkeyMessage("static.example.test.", own.algorithm, modeDelete, nil), signer, dns.RcodeNotAuth, dns.RcodeBadKey, ResultBadKey, 3)

	m, signer, _ = signed(same, own.name)
	expect("by the same principal's other key", m, signer, 0, 0, ResultDeleted, 2)
	wire, _ = own.sign(updateMessage())
	if _, err := v.Authenticate(wire); kindOf(err) != BadKey {
		t.Errorf("a deleted key: %v", err)
	}

	// The answer is signed with the key that it says is gone.
	m, signer, mac := signed(same, strings.ToUpper(same.name))
	response, sign := r.negotiate(m, testClient, signer)
	if answerOf(t, response).Error != 0 || sign != signer {
		t.Fatalf("by itself: %+v", r.lastEvent())
	}
	if wire, err = sign.Sign(response); err != nil {
		t.Fatal(err)
	}
	same.verifyAnswer(wire, mac, false)
	// Once more, as a retransmission that was verified in time would be.
	expect("again", m, signer, 0, 0, ResultDeleted, 1)
}

// Of several deletions at once each succeeds, and none takes away a context
// that came to the name afterwards.
func TestConcurrentDelete(t *testing.T) {
	r := newRealm(t, nil)
	v := NewAuthenticator(nil, r.server)
	for round := range 20 {
		p := r.login("k.example.test.", login{client: fmt.Sprintf("host/%d.example.test", round)})
		type verified struct {
			m      *dns.Msg
			signer *Transaction
		}
		var requests []verified
		for range 8 {
			m := tkeyMessage(p.name, p.algorithm, modeDelete, nil)
			wire, _ := p.sign(m)
			signer, err := v.Authenticate(wire)
			if err != nil {
				t.Fatal(err)
			}
			requests = append(requests, verified{m, signer})
		}
		var group sync.WaitGroup
		for _, request := range requests {
			group.Go(func() {
				response, sign := r.negotiate(request.m, testClient, request.signer)
				if tkey := response.Answer[0].(*dns.TKEY); response.Rcode != 0 || tkey.Error != 0 {
					t.Errorf("rcode %d, TKEY error %d", response.Rcode, tkey.Error)
				}
				if _, err := sign.Sign(response); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if live, _ := r.table.Len(); live != 0 {
			t.Fatalf("%d contexts", live)
		}
	}
}

// A reload builds a new server on the old table.
func TestTableOutlivesServer(t *testing.T) {
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	half := r.newPeer("half.example.test.", login{noOptimistic: true})
	response, _ := r.negotiate(tkeyMessage(half.name, half.algorithm, modeGSS, half.first()), testClient, nil)
	old := r.server
	server, err := NewServer(r.config)
	if err != nil {
		t.Fatal(err)
	}
	r.server = server

	wire, _ := p.sign(updateMessage())
	transaction, err := NewAuthenticator(nil, r.server).Authenticate(wire)
	if err != nil {
		t.Fatal(err)
	}
	if transaction.Server() != r.server || r.server == old {
		t.Error("the transaction is not the new server's")
	}
	reply, _ := hex.DecodeString(answerOf(t, response).Key)
	token, err := half.outer.Init(reply)
	if err != nil {
		t.Fatal(err)
	}
	if _, sign := r.negotiate(tkeyMessage(half.name, half.algorithm, modeGSS, token), testClient, nil); sign == nil {
		t.Errorf("the negotiation under way ends: %+v", r.lastEvent())
	}
}

func TestNewServerChecks(t *testing.T) {
	standard.Requires(t, "RFC 2930", "3 lifetime")
	r := newRealm(t, nil)
	for name, change := range map[string]func(*Config){
		"no acceptor":       func(c *Config) { c.Acceptor = nil },
		"no table":          func(c *Config) { c.Contexts = nil },
		"negative lifetime": func(c *Config) { c.Lifetime = -1 },
		"a century":         func(c *Config) { c.Lifetime = MaxLifetime + time.Second },
		"no name":           func(c *Config) { c.ServerName = "a..b" },
		"long name":         func(c *Config) { c.ServerName = strings.Repeat("abcdefg.", 30) },
	} {
		config := r.config
		change(&config)
		if _, err := NewServer(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	config := Config{Acceptor: r.config.Acceptor, Contexts: r.table}
	server, err := NewServer(config)
	if err != nil {
		t.Fatal(err)
	}
	name, err := server.chooseName()
	if err != nil || len(name) != 34 {
		t.Errorf("name %q without suffix, %v", name, err)
	}
}
