package gsstsig

import (
	"bytes"
	"errors"
	"testing"

	"github.com/miekg/dns"
)

// FuzzVerify verifies whole messages. Signed with a static key by
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
	v := NewAuthenticator(staticKeys, r.server)
	f.Fuzz(func(t *testing.T, wire []byte) {
		before := bytes.Clone(wire)
		request := new(dns.Msg)
		parsed := request.Unpack(wire) == nil
		m := v.Inspect(wire)
		transaction, err := m.Authenticate()
		if !bytes.Equal(wire, before) {
			t.Fatal("the message was changed")
		}
		var failure *VerifyError
		switch {
		case (transaction == nil) == (err == nil),
			err != nil && !errors.Is(err, ErrUnsigned) && !errors.As(err, &failure),
			m.Malformed() && (failure == nil || failure.Kind != Malformed),
			m.Signed() && !m.KeyHeld() && (failure == nil || failure.Kind != BadKey),
			errors.Is(err, ErrUnsigned) == (m.Signed() || m.Malformed()),
			transaction != nil && !(m.Signed() && m.KeyHeld()):
			t.Fatalf("malformed %t, signed %t, key held %t, but %v", m.Malformed(), m.Signed(), m.KeyHeld(), err)
		}
		if failure != nil {
			replyTo(t, err)
			return
		}
		if !parsed {
			return
		}
		if transaction == nil {
			if countTSIG(request) != 0 {
				t.Fatal("a TSIG record was overlooked")
			}
			return
		}
		if count := countTSIG(request); count != 1 || request.IsTsig() == nil {
			t.Fatalf("verified with %d TSIG records", count)
		}
		if _, err := transaction.Sign(new(dns.Msg)); err != nil {
			t.Fatal(err)
		}
	})
}

func countTSIG(m *dns.Msg) (count int) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				count++
			}
		}
	}
	return count
}

// FuzzNegotiate gives the server messages as TKEY queries, twice, so that what
// begins a negotiation is also tried as its continuation.
func FuzzNegotiate(f *testing.F) {
	r := newRealm(f, nil)
	other := newRealm(f, nil)
	n := NewAuthenticator(nil, other.server, r.server)
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
			response, sign := r.negotiate(request, testClient, nil)
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
