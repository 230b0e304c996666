package krb5

import (
	"bytes"
	"testing"
	"time"
)

func BenchmarkAccept(b *testing.B) {
	keytabs := openKeytab(b, serviceKeytab())
	for _, id := range testTypes {
		for _, mutual := range []bool{true, false} {
			s := requestSpec{ticketSpec: ticketSpec{key: testServiceKey(id), session: testKey(id, "session")}, subkey: testKey(id, "subkey")}
			name := id.String() + "/mutual"
			if !mutual {
				name, s.checksum = id.String()+"/one-way", testNotMutual
			}
			token := s.token()
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					// An empty cache each time: the token is always the same.
					a := &Acceptor{keytabs: keytabs, replays: NewReplayCache(1), enctypes: testTypes, skew: time.Hour, now: func() time.Time { return testNow }}
					if _, err := a.NewContext().Accept(token); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRefuse is what garbage costs: a ticket that no key decrypts.
func BenchmarkRefuse(b *testing.B) {
	a := newTestAcceptor(b)
	token := requestSpec{ticketSpec: ticketSpec{key: testKey(18, "unknown")}}.token()
	b.ReportAllocs()
	for b.Loop() {
		a.NewContext().Accept(token)
	}
}

var benchMessage = bytes.Repeat([]byte("update"), 50)

func BenchmarkGetMIC(b *testing.B) {
	for _, id := range testTypes {
		b.Run(id.String(), func(b *testing.B) {
			s := testSession(id, true, true, 0, 0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.getMIC(benchMessage); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyMIC(b *testing.B) {
	for _, id := range testTypes {
		b.Run(id.String(), func(b *testing.B) {
			s := testSession(id, true, true, 0, 0)
			mic := foreignMIC(testKey(id, "mic"), benchMessage, 25, 4, 0)
			b.ReportAllocs()
			for b.Loop() {
				s.window = window{}
				if err := s.verifyMIC(benchMessage, mic); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReplayCache(b *testing.B) {
	c := NewReplayCache(1 << 30)
	c.keepFor(time.Second)
	cipher := make([]byte, 200)
	b.RunParallel(func(pb *testing.PB) {
		at := testNow
		for pb.Next() {
			at = at.Add(100 * time.Microsecond)
			c.add(replayKeyOf(testClient, testService, at, cipher), at, at)
		}
	})
}

// BenchmarkAcceptPAC is a handshake with a real ticket of Active Directory.
func BenchmarkAcceptPAC(b *testing.B) {
	config, now := recordedTicket(b, "samba/administrator", "DNS/ns1.corp.test")
	config.Mutual = false
	a := recordedAcceptor(b, "samba", now, func(c *AcceptorConfig) { c.Replays = NewReplayCache(0) })
	tokens := make([][]byte, 64)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%len(tokens) == 0 {
			b.StopTimer()
			for i := range tokens {
				tokens[i] = must(must(NewInitiator(config)).Init(nil))
			}
			b.StartTimer()
		}
		if _, err := a.NewContext().Accept(tokens[n%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}
