//go:build e2e && linux

package ad

import (
	_ "embed"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

//go:embed testdata/update.py
var dnspythonClient string

var dnspython = tested.Client{Name: "dnspython", Package: "python3-dnspython"}

// python has the login update two names by dnspython, the given one and one that is out of reach, and wants it to say
// something.
func (l login) python(t *testing.T, want string, server netip.Addr, mechanism, transport, name string) {
	t.Helper()
	const script = "/run/update.py"
	if err := l.on.WriteFile(script, dnspythonClient, 0o644); err != nil {
		t.Fatal(err)
	}
	said, err := l.on.Output(l.command(t, "python3", script, server.String(), "ns1.corp.test", mechanism, transport, zone, name, "10.77.0.220"))
	if err != nil {
		t.Fatal(err)
	}
	if said != want {
		t.Errorf("it said %q, want %q", said, want)
	}
}

// TestDNSPython updates by dnspython on MIT's GSSAPI library, which verifies the signature of every reply, of the TKEY
// reply too. It compresses the owner of its TSIG records, as here the key's name ends with the zone's.
func TestDNSPython(t *testing.T) {
	who := client1.logIn(t)
	for _, mechanism := range []string{"spnego", "krb5"} {
		for transport, path := range map[string]string{
			"udp": "UDP", "tcp": "TCP", "connection": "TCP, context and updates on one connection",
		} {
			t.Run(mechanism+" "+transport, func(t *testing.T) {
				tested.Path(t, dnspython, mechanism+" over "+path)
				name := mechanism + "-" + transport + ".corp.test"
				who.python(t, "NOERROR compressed\nREFUSED compressed\n", nsAddress.Addr(), mechanism, transport, name)
				expect(t, name, dns.TypeA, "10.77.0.220")
			})
		}
	}
}
