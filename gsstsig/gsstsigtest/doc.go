// Package gsstsigtest tests clients of GSS-TSIG: within "go test" it starts a
// Kerberos realm and a DNS server that accepts the clients' updates.
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
// The realm is MIT Kerberos' KDC, which has to be installed (Debian: krb5-kdc,
// krb5-admin-server, krb5-user). The server consists of this module's libraries,
// package gsstsig for keys and signatures and package zone for the zone. It
// answers as the gsstsig plugin of CoreDNS does, by UDP and TCP, at a free port
// of 127.0.0.1. It has no metrics, no transfers and nothing else of CoreDNS.
//
// On request it misbehaves; see [Kit.Misbehave]. A server that is never wrong
// shows only half of what a client does. [FindSignature] reads the TSIG record of
// a captured message.
package gsstsigtest
