package zone

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// BenchmarkLargeUpdate compares what updates cost an octet: one of a short name, and updates of as many
// names, of names as long, and of names with as many labels as the limits permit. Each name is added
// and deleted again.
func BenchmarkLargeUpdate(b *testing.B) {
	for _, tc := range []struct {
		name  string
		names int
		of    func(i int) string
	}{
		{"plain", 1, func(i int) string { return fmt.Sprintf("host%d.", i) }},
		{"many", 1000, func(i int) string { return fmt.Sprintf("host%d.", i) }},
		{"long", 250, func(i int) string {
			return fmt.Sprintf("%s%03d.%s.%s.", strings.Repeat("x", 60), i, strings.Repeat("y", 63), strings.Repeat("z", 63))
		}},
		{"deep", 9, func(i int) string { return strings.Repeat("a.", 100) + fmt.Sprintf("x%d.a.a.a.a.a.a.a.a.a.", i) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			z := sized(b, 1e4)
			add, remove := new(dns.Msg).SetUpdate("example.test."), new(dns.Msg).SetUpdate("example.test.")
			for i := range tc.names {
				header := dns.RR_Header{Name: tc.of(i) + "new.example.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}
				add.Insert([]dns.RR{&dns.A{Hdr: header, A: []byte{192, 0, 2, 1}}})
				remove.RemoveName([]dns.RR{&dns.A{Hdr: header}})
			}
			updates := []*Update{{Message: pack(b, add)}, {Message: pack(b, remove)}}
			octets := 0
			for _, u := range updates {
				p, err := z.Propose(u.Message)
				if err != nil {
					b.Fatal(err)
				}
				for i := range p.Names() {
					octets += len(p.Name(i).Wire())
				}
			}
			b.ReportAllocs()
			b.SetBytes(int64(octets))
			for b.Loop() {
				for _, u := range updates {
					if r := z.Apply(context.Background(), u); r.Rcode != dns.RcodeSuccess || !r.Changed {
						b.Fatal(r)
					}
				}
			}
		})
	}
}
