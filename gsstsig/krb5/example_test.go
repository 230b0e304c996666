package krb5_test

import (
	"errors"
	"fmt"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// A service accepts a client's token and then shares a key with it.
func ExampleAcceptor() {
	keytabs, err := krb5.OpenKeytabs("/etc/dns.keytab")
	if err != nil {
		fmt.Println(err)
		return
	}
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{
		Keytabs: keytabs, Replays: krb5.NewReplayCache(0), Enctypes: []krb5.Enctype{krb5.AES256SHA1, krb5.AES256SHA2},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	accept := func(token []byte) {
		c := acceptor.NewContext()
		reply, err := c.Accept(token)
		var refused *krb5.Error
		if errors.As(err, &refused) {
			fmt.Println(refused.Reason, refused.Fix)
			return
		}
		mic, err := c.GetMIC([]byte("a message"))
		fmt.Println(c.Peer(), len(reply), mic, err)
		c.Wipe()
	}
	_ = accept
}

func ExampleParseEnctype() {
	for _, name := range []string{"aes256-cts", "rc4-hmac", "des3-cbc-sha1", "rot13"} {
		e, err := krb5.ParseEnctype(name)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%d %s, supported: %t\n", e, e, e.Supported())
	}
	// Output:
	// 18 aes256-cts-hmac-sha1-96, supported: true
	// 23 arcfour-hmac, supported: true
	// 16 des3-cbc-sha1, supported: false
	// kerberos: unknown encryption type "rot13"
}

func ExampleParsePrincipal() {
	p, err := krb5.ParsePrincipal("DNS/ns1.example.test@EXAMPLE.TEST")
	fmt.Println(p.Components, p.Realm, err)
	// Output: [DNS ns1.example.test] EXAMPLE.TEST <nil>
}
