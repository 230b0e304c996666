//go:build e2e

package gsstsigtest_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/gsstsigtest"
)

// A client registers an address, and then meets a server that has forgotten its
// key.
func Example() {
	ctx := context.Background()
	k, err := gsstsigtest.Start(ctx, gsstsigtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer k.Stop()

	config, err := k.Krb5Config()
	if err != nil {
		log.Fatal(err)
	}
	cache, err := k.CCache(k.Clients()[0])
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := client.FromCCache(config, cache)
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(ctx, client.Config{Server: k.Address().String(), Credentials: credentials, ServicePrincipal: k.Service()})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	key, err := c.Negotiate(ctx)
	if err != nil {
		log.Fatal(err)
	}
	update := new(dns.Msg).SetUpdate(k.Zone())
	update.Insert([]dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: "client.example.test.", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300},
		Txt: []string{"registered"},
	}})
	if _, err := key.Update(ctx, update); err != nil {
		log.Fatal(err)
	}
	fmt.Println(k.Records("client.example.test", dns.TypeTXT)[0].(*dns.TXT).Txt, k.Owner("client.example.test"))

	k.Misbehave(gsstsigtest.ExpiredContext, 1)
	_, err = key.Update(ctx, update)
	var refusal *client.TSIGError
	fmt.Println(errors.As(err, &refusal) && refusal.Code == dns.RcodeBadKey)
	// Output:
	// [registered] host/client.example.test@EXAMPLE.TEST
	// true
}
