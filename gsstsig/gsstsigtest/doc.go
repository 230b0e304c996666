// Package gsstsigtest is the counterpart in the tests of a GSS-TSIG client: a throw-away Kerberos realm and a DNS server that takes
// its clients' updates, within "go test".
//
//	func TestClient(t *testing.T) {
//		k := gsstsigtest.New(t, gsstsigtest.Config{})
//		cache, err := k.CCache(k.Clients()[0])
//		…
//		// Your client updates k.Zone() at k.Address(), with KRB5_CONFIG=k.Krb5Config() and KRB5CCNAME=cache.
//		…
//		if len(k.Records("client.example.test", dns.TypeA)) != 1 {
//			t.Error("not registered")
//		}
//		k.Misbehave(gsstsigtest.WrongMAC, 1)
//		// Now it must notice that the answer is not the server's.
//	}
//
// The realm is MIT Kerberos' KDC, which has to be installed (Debian: krb5-kdc, krb5-admin-server, krb5-user). The server is
// made of this module's libraries, package gsstsig for keys and signatures and package zone for the zone, and answers as
// the gsstsig plugin of CoreDNS does, by UDP and TCP, at a free port of 127.0.0.1. What is CoreDNS's, from metrics to
// transfers, it has not.
//
// Told to, it misbehaves: see [Kit.Misbehave]. A server that is right all the time shows only half of what a client does.
package gsstsigtest
