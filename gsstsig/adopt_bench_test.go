package gsstsig

import (
	"bytes"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/sharedcontexts"
)

// BenchmarkForged is a message with a wrong MAC and the name of a context that is in the shared table alone, and of one that is
// in the server's.
func BenchmarkForged(b *testing.B) {
	for _, known := range []bool{false, true} {
		name := "shared"
		if known {
			name = "known"
		}
		b.Run(name, func(b *testing.B) {
			table := sharedcontexts.New()
			first, second := newRealm(b, nil), newRealm(b, nil)
			for _, r := range []*realm{first, second} {
				if err := r.table.Share(Sharing{Contexts: table.Node(time.Now)}); err != nil {
					b.Fatal(err)
				}
			}
			p := first.login("k.example.test.", login{})
			wire, _ := p.sign(updateMessage())
			a := NewAuthenticator(nil, second.server)
			if known {
				if _, err := a.Authenticate(wire); err != nil {
					b.Fatal(err)
				}
			}
			forged := bytes.Clone(wire)
			forged[len(forged)-8]++
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(forged); err == nil {
					b.Fatal("a forged message verifies")
				}
			}
		})
	}
}
