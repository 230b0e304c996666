package zone_test

import (
	"context"
	"fmt"
	"log"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// open opens a zone in memory with an SOA and an NS record.
func open() *zone.Zone {
	z, err := zone.Open(zone.Config{
		Origin: "example.test.",
		Store:  store.NewMemory(store.MemoryOptions{}),
		Seed:   func() ([]store.Record, error) { return zone.GeneratedApex("example.test.", "ns1.example.test.") },
	})
	if err != nil {
		log.Fatal(err)
	}
	return z
}

// add returns the octets of an UPDATE message that adds a record.
func add(record string) []byte {
	rr, err := dns.NewRR(record)
	if err != nil {
		log.Fatal(err)
	}
	m := new(dns.Msg).SetUpdate("example.test.")
	m.Insert([]dns.RR{rr})
	message, err := m.Pack()
	if err != nil {
		log.Fatal(err)
	}
	return message
}

func Example() {
	z := open()
	defer z.Close()

	result := z.Apply(context.Background(), &zone.Update{Message: add("Host.example.test. 300 IN A 192.0.2.1")})
	fmt.Printf("%s, serial %d to %d\n", dns.RcodeToString[result.Rcode], result.Before, result.After)

	answer := z.Snapshot().Lookup("host.example.test.", dns.TypeA)
	for _, rr := range answer.Answer {
		fmt.Println(rr)
	}
	// Output:
	// NOERROR, serial 1 to 2
	// Host.example.test.	300	IN	A	192.0.2.1
}

// Authorize sees what an update would do before it is done.
func ExampleUpdate_authorize() {
	z := open()
	defer z.Close()

	noNewNames := func(p *zone.Proposal) zone.Decision {
		for i := range p.Names() {
			if n := p.Name(i); n.Changed() && !n.Exists() {
				return zone.Decision{Reason: n.Text() + " does not exist"}
			}
		}
		return zone.Decision{Allow: true}
	}
	for _, record := range []string{"example.test. 300 IN MX 10 mail.example.test.", "new.example.test. 300 IN A 192.0.2.1"} {
		result := z.Apply(context.Background(), &zone.Update{Message: add(record), Authorize: noNewNames})
		fmt.Printf("%s %q\n", dns.RcodeToString[result.Rcode], result.Decision.Reason)
	}
	// Output:
	// NOERROR ""
	// REFUSED "new.example.test. does not exist"
}
