package gsstsig

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// BenchmarkVerify is one signed update: context found, MAC checked. Messages
// are signed beforehand, since no MIC is good twice.
func BenchmarkVerify(b *testing.B) {
	r := newRealm(b, nil)
	v := NewAuthenticator(nil, r.server)
	p := r.login("12345678.sig-ns1.example.test.", login{})
	messages := make([][]byte, 1000)
	refill := func() {
		for i := range messages {
			messages[i], _ = p.sign(updateMessage())
		}
	}
	refill()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if i == len(messages) {
			b.StopTimer()
			refill()
			i = 0
			b.StartTimer()
		}
		if _, err := v.Authenticate(messages[i]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyHMAC is the same with a static key.
func BenchmarkVerifyHMAC(b *testing.B) {
	r := newRealm(b, nil)
	v := NewAuthenticator(staticKeys, r.server)
	wire, _ := signStatic(b, updateMessage(), staticName, dns.HmacSHA256, r.clock.now())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Authenticate(wire); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSign packs and signs the answer to an update.
func BenchmarkSign(b *testing.B) {
	r := newRealm(b, nil)
	p := r.login("12345678.sig-ns1.example.test.", login{})
	m := updateMessage()
	wire, _ := p.sign(m)
	transaction, err := NewAuthenticator(nil, r.server).Authenticate(wire)
	if err != nil {
		b.Fatal(err)
	}
	response := new(dns.Msg).SetReply(m)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transaction.Sign(response); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNegotiate is one handshake by SPNEGO with mutual authentication,
// from the parsed query to the signed answer.
func BenchmarkNegotiate(b *testing.B) {
	r := newRealm(b, nil)
	r.server.observe = func(Event) {}
	queries := make([]*dns.Msg, 500)
	n := 0
	refill := func() {
		for i := range queries {
			p := r.newPeer(fmt.Sprintf("%d.sig-ns1.example.test.", n), login{})
			queries[i] = tkeyMessage(p.name, p.algorithm, modeGSS, p.first())
			n++
		}
	}
	refill()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if i == len(queries) {
			b.StopTimer()
			refill()
			i = 0
			b.StartTimer()
		}
		response, sign := r.negotiate(queries[i], testClient, nil)
		if sign == nil {
			b.Fatal(answerOf(b, response))
		}
		if _, err := sign.Sign(response); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookup is the table alone, from all cores.
func BenchmarkLookup(b *testing.B) {
	r := newRealm(b, nil)
	names := make([][]byte, DefaultMaxContexts)
	for i := range names {
		c := entry(fmt.Sprintf("%d.sig-ns1.example.test.", i), r.clock.now().Add(DefaultLifetime))
		names[i] = []byte(c.name)
		r.table.insert(c)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			r.table.lookup(names[i%len(names)])
		}
	})
}
