package policy_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// A machine may change the addresses of its own name.
func Example() {
	rule, err := policy.ParseRule(strings.Fields("EXAMPLE.TEST krb5-self . A AAAA"), "Corefile:7", false)
	if err != nil {
		log.Fatal(err)
	}
	p, err := policy.New(policy.Config{Rules: []policy.Rule{rule}})
	if err != nil {
		log.Fatal(err)
	}
	z, err := zone.Open(zone.Config{
		Origin: "example.test.",
		Store:  store.NewMemory(store.MemoryOptions{}),
		Seed:   func() ([]store.Record, error) { return zone.GeneratedApex("example.test.", "ns1.example.test.") },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer z.Close()

	client := policy.Identity{
		Kind: policy.Kerberos, Name: "host/client1.example.test@EXAMPLE.TEST",
		Components: []string{"host", "client1.example.test"}, Realm: "EXAMPLE.TEST",
	}
	for _, name := range []string{"client1.example.test.", "client2.example.test."} {
		rr, err := dns.NewRR(name + " 300 IN A 192.0.2.1")
		if err != nil {
			log.Fatal(err)
		}
		m := new(dns.Msg).SetUpdate("example.test.")
		m.Insert([]dns.RR{rr})
		message, err := m.Pack()
		if err != nil {
			log.Fatal(err)
		}
		proposal, err := z.Propose(message)
		if err != nil {
			log.Fatal(err)
		}
		decision := p.Authorizer(client)(proposal)
		fmt.Println(decision.Allow, decision.Rule)
		if decision.Reason != "" {
			fmt.Println(decision.Reason)
		}
	}
	// Output:
	// true Corefile:7: grant EXAMPLE.TEST krb5-self . A AAAA
	// false no rule
	// client2.example.test. A: no rule grants it to host/client1.example.test@EXAMPLE.TEST
}
