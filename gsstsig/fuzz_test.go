package gsstsig

import (
	"bytes"
	"errors"
	"testing"

	"github.com/miekg/dns"
)

// FuzzVerify gives the verifier whole messages. Signed with a static key by
// the seeds, they reach every check; what verifies must also have been parsed
// by miekg's unpacker with the TSIG record last and alone.
func FuzzVerify(f *testing.F) {
	r := newRealm(f, nil)
	p := r.login("k.example.test.", login{})
	signed, _ := p.sign(updateMessage())
	f.Add(signed)
	static, _ := signStatic(f, updateMessage(), staticName, dns.HmacSHA256, r.clock.now())
	f.Add(static)
	_, plain := overTheWire(f, updateMessage())
	f.Add(plain)
	v := NewVerifier(staticKeys, r.server)
	f.Fuzz(func(t *testing.T, wire []byte) {
		before := bytes.Clone(wire)
		request := new(dns.Msg)
		parsed := request.Unpack(wire) == nil
		if !parsed {
			request = nil
		}
		var glance Glance
		v.Glance(wire, &glance)
		transaction, err := v.Verify(wire, request)
		if !bytes.Equal(wire, before) {
			t.Fatal("the message was changed")
		}
		var failure *VerifyError
		switch {
		case glance.Malformed && (!errors.As(err, &failure) || failure.Kind != Malformed),
			glance.Signed && !glance.Known && (!errors.As(err, &failure) || failure.Kind != BadKey),
			transaction != nil && !(glance.Signed && glance.Known):
			t.Fatalf("at a glance malformed %t, signed %t, known %t, but %v", glance.Malformed, glance.Signed, glance.Known, err)
		}
		if err != nil {
			replyTo(t, err, request)
			return
		}
		if !parsed {
			return
		}
		if transaction == nil {
			if hasTSIG(request) {
				t.Fatal("a TSIG record was overlooked")
			}
			return
		}
		count := 0
		for _, section := range [][]dns.RR{request.Answer, request.Ns, request.Extra} {
			for _, rr := range section {
				if rr.Header().Rrtype == dns.TypeTSIG {
					count++
				}
			}
		}
		if count != 1 || request.IsTsig() == nil {
			t.Fatalf("verified with %d TSIG records", count)
		}
		if _, err := transaction.Sign(new(dns.Msg)); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzNegotiate gives the server messages as TKEY queries, twice, so that what
// begins a negotiation is also tried as its continuation.
func FuzzNegotiate(f *testing.F) {
	r := newRealm(f, nil)
	other := newRealm(f, nil)
	n := NewNegotiator(nil, other.server, r.server)
	for _, l := range []login{{}, {raw: true}, {noOptimistic: true}, {notMutual: true, sendMIC: true}} {
		p := r.newPeer("seed.example.test.", l)
		_, wire := overTheWire(f, tkeyMessage(p.name, p.algorithm, modeGSS, p.first()))
		f.Add(wire)
	}
	_, wire := overTheWire(f, tkeyMessage("seed.example.test.", AlgorithmGSS, modeDelete, nil))
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		request := new(dns.Msg)
		if request.Unpack(wire) != nil {
			return
		}
		n.choose(request, nil)
		for range 2 {
			response, sign := r.server.Negotiate(request, testClient, nil)
			if response == nil || !response.Response || response.Id != request.Id {
				t.Fatalf("response %v", response)
			}
			if e := r.lastEvent(); e.Result == "" || (e.Result != ResultEstablished) != (sign == nil) {
				t.Fatalf("signed %t, event %+v", sign != nil, e)
			}
			if sign != nil {
				if _, err := sign.Sign(response); err != nil {
					t.Fatal(err)
				}
			} else if _, err := response.Pack(); err != nil {
				t.Fatal(err)
			}
		}
		r.mu.Lock()
		r.events = nil
		r.mu.Unlock()
		if live, halfOpen := r.table.Len(); live > DefaultMaxContexts || halfOpen > DefaultMaxHalfOpen {
			t.Fatalf("%d live, %d unfinished", live, halfOpen)
		}
	})
}
