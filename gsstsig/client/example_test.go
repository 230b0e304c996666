package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// An update of an address, signed with a key that the client's keytab gets.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	credentials, err := client.FromKeytab("/etc/krb5.conf", "/etc/krb5.keytab", "host/a.example.test")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.Dial(ctx, client.Config{
		Server: "ns1.example.test:53", ServicePrincipal: "DNS/ns1.example.test", Credentials: credentials,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	key, err := c.Negotiate(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = key.Delete(ctx) }() // the server drops it later anyway

	address, err := dns.NewRR("a.example.test. 300 IN A 192.0.2.1")
	if err != nil {
		fmt.Println(err)
		return
	}
	update := new(dns.Msg).SetUpdate("example.test.")
	update.Insert([]dns.RR{address})
	_, err = key.Update(ctx, update)
	var refused *client.RcodeError
	if errors.As(err, &refused) {
		fmt.Println("the server refuses:", dns.RcodeToString[refused.Rcode])
	}
}
