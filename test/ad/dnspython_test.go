//go:build e2e && linux

package ad

import (
	_ "embed"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/test/tested"
)

//go:embed testdata/update.py
var dnspythonClient string

// TestDNSPython updates by dnspython on MIT's GSSAPI library, which verifies the signature of every reply, of the TKEY
// reply too. It compresses the owner of its TSIG records, as here the key's name ends with the zone's.
func TestDNSPython(t *testing.T) {
	who := client1.logIn(t)
	const script = "/run/update.py"
	if err := who.on.WriteFile(script, dnspythonClient, 0o644); err != nil {
		t.Fatal(err)
	}
	client := tested.Client{Name: "dnspython", Package: "python3-dnspython"}
	for _, mechanism := range []string{"spnego", "krb5"} {
		for transport, path := range map[string]string{
			"udp": "UDP", "tcp": "TCP", "connection": "TCP, context and updates on one connection",
		} {
			t.Run(mechanism+" "+transport, func(t *testing.T) {
				tested.Path(t, client, mechanism+" over "+path)
				name := mechanism + "-" + transport + ".corp.test"
				said, err := who.on.Output(who.command(t, "python3", script, nsAddress.Addr().String(), "ns1.corp.test", mechanism, transport,
					zone, name, "10.77.0.220"))
				if err != nil {
					t.Fatal(err)
				}
				if want := "NOERROR compressed\nREFUSED compressed\n"; said != want {
					t.Errorf("it said %q, want %q", said, want)
				}
				expect(t, name, dns.TypeA, "10.77.0.220")
			})
		}
	}
}
