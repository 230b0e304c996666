package client

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const hmacName = "transfer.example."

var hmacOctets = []byte("a secret of 32 octets, as it is.")

// foreignAnswer signs answers as miekg/dns does: the first with all fields of the TSIG record, the others with the timers.
type foreignAnswer struct {
	t         *testing.T
	algorithm string
	requestID uint16
	mac       string
	messages  int
}

func (f *foreignAnswer) message(sign bool, at time.Time) []byte {
	f.t.Helper()
	m := new(dns.Msg)
	m.Id, m.Response = f.requestID, true
	rr, err := dns.NewRR("a.example.test. 60 IN A 192.0.2.1")
	if err != nil {
		f.t.Fatal(err)
	}
	m.Answer = []dns.RR{rr}
	if !sign {
		wire, err := m.Pack()
		if err != nil {
			f.t.Fatal(err)
		}
		return wire
	}
	m.SetTsig(hmacName, f.algorithm, 300, at.Unix())
	wire, mac, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(hmacOctets), f.mac, f.messages > 0)
	if err != nil {
		f.t.Fatal(err)
	}
	f.mac = mac
	f.messages++
	return wire
}

// TestHMACAgreesWithAnotherImplementation has requests verified, and answers of several messages signed, by miekg/dns.
func TestHMACAgreesWithAnotherImplementation(t *testing.T) {
	for algorithm := range hashes {
		key, err := NewHMACKey("Transfer.Example", strings.TrimSuffix(algorithm, "."), hmacOctets)
		if err != nil {
			t.Fatal(err)
		}
		request := new(dns.Msg).SetAxfr("example.test.")
		wire, transaction, err := key.Sign(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := dns.TsigVerify(slices.Clone(wire), base64.StdEncoding.EncodeToString(hmacOctets), "", false); err != nil {
			t.Errorf("%s: request: %v", algorithm, err)
		}
		signed := new(dns.Msg)
		if err := signed.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		answer := foreignAnswer{t: t, algorithm: algorithm, requestID: request.Id, mac: signed.IsTsig().MAC}
		for n := range 3 {
			signed, err := transaction.Next(answer.message(true, time.Now()))
			if err != nil || !signed {
				t.Errorf("%s: message %d: signed %v, %v", algorithm, n, signed, err)
			}
		}
	}
}

func TestHMACRefuses(t *testing.T) {
	key, err := NewHMACKey(hmacName, dns.HmacSHA256, hmacOctets)
	if err != nil {
		t.Fatal(err)
	}
	begin := func() (*Transaction, *foreignAnswer) {
		request := new(dns.Msg).SetAxfr("example.test.")
		wire, transaction, err := key.Sign(request)
		if err != nil {
			t.Fatal(err)
		}
		signed := new(dns.Msg)
		if err := signed.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		return transaction, &foreignAnswer{t: t, algorithm: dns.HmacSHA256, requestID: request.Id, mac: signed.IsTsig().MAC}
	}
	for name, test := range map[string]struct {
		message func(*foreignAnswer) []byte
		want    error
	}{
		"a changed octet": {func(f *foreignAnswer) []byte {
			wire := f.message(true, time.Now())
			wire[12+14] ^= 1 // of the owner's name
			return wire
		}, ErrSignature},
		"no signature":   {func(f *foreignAnswer) []byte { return f.message(false, time.Now()) }, ErrUnsigned},
		"too late":       {func(f *foreignAnswer) []byte { return f.message(true, time.Now().Add(-10*time.Minute)) }, ErrTime},
		"another key":    {func(f *foreignAnswer) []byte { f.algorithm = dns.HmacSHA512; return f.message(true, time.Now()) }, ErrOtherKey},
		"another answer": {func(f *foreignAnswer) []byte { f.requestID++; return f.message(true, time.Now()) }, ErrMalformed},
		"no message":     {func(*foreignAnswer) []byte { return nil }, ErrMalformed},
		"later timers only": {func(f *foreignAnswer) []byte {
			f.messages = 1
			return f.message(true, time.Now())
		}, ErrSignature},
	} {
		transaction, answer := begin()
		if signed, err := transaction.Next(test.message(answer)); signed || !errors.Is(err, test.want) {
			t.Errorf("%s: signed %v, %v", name, signed, err)
		}
	}

	// A refused signature is told as what it is.
	transaction, answer := begin()
	m := new(dns.Msg)
	m.Id, m.Response, m.Rcode = answer.requestID, true, dns.RcodeNotAuth
	m.Extra = []dns.RR{&dns.TSIG{Hdr: dns.RR_Header{Name: hmacName, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: dns.HmacSHA256, OrigId: m.Id, Error: dns.RcodeBadKey}}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var refused *TSIGError
	if _, err := transaction.Next(wire); !errors.As(err, &refused) || refused.Code != dns.RcodeBadKey || refused.Verified {
		t.Errorf("BADKEY: %v", err)
	}

	// Messages without a signature count once one with a signature follows, and there is a limit.
	transaction, answer = begin()
	if _, err := transaction.Next(answer.message(true, time.Now())); err != nil {
		t.Fatal(err)
	}
	for n := range 99 {
		if signed, err := transaction.Next(answer.message(false, time.Now())); signed || err != nil {
			t.Fatalf("message %d without a signature: signed %v, %v", n, signed, err)
		}
	}
	if _, err := transaction.Next(answer.message(false, time.Now())); !errors.Is(err, ErrUnsigned) {
		t.Errorf("100 messages without a signature: %v", err)
	}
}

func TestHMACKeys(t *testing.T) {
	for name, test := range map[string]struct {
		name, algorithm string
		secret          []byte
		says            string
	}{
		"no name":      {strings.Repeat("a", 64), dns.HmacSHA256, hmacOctets, "is not a domain name"},
		"no algorithm": {hmacName, "", hmacOctets, "is not supported"},
		"MD5":          {hmacName, dns.HmacMD5, hmacOctets, "is not supported. Fix: make a key for hmac-sha256"},
		"no secret":    {hmacName, dns.HmacSHA256, nil, "empty secret"},
	} {
		if _, err := NewHMACKey(test.name, test.algorithm, test.secret); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
