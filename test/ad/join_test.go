//go:build e2e && linux

package ad

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

var (
	netADS = tested.Client{Name: "net ads", Package: "samba-common-bin"}
	adcli  = tested.Client{Name: "adcli", Package: "adcli"}
)

// Machines of the domain. The account is what the domain calls them.
type machine struct {
	name    string
	octet   int
	account string
	join    func(*testing.T, *machine)

	node *node.Node
	once sync.Once
}

var (
	client1 = &machine{name: "client1", octet: 101, account: "CLIENT1$", join: joinByNet}
	client2 = &machine{name: "client2", octet: 102, account: "CLIENT2$", join: joinByAdcli}
	// The domain keeps no more than 15 characters of a machine's name.
	longName = &machine{name: "averylonghostname01", octet: 103, account: "AVERYLONGHOSTNA$", join: joinByAdcli}
)

// joined is a machine's node after it has joined the domain.
func (m *machine) joined(t *testing.T) *node.Node {
	t.Helper()
	register(t)
	m.once.Do(func() {
		n, err := shared.domain.add(testContext(t), m.name, m.octet)
		if err != nil {
			t.Fatal(err)
		}
		m.node = n
		m.join(t, m)
	})
	if m.node == nil || t.Failed() {
		t.Fatalf("%s has not joined the domain", m.name)
	}
	return m.node
}

// smbConf is that of a member of the domain.
const smbConf = `[global]
    security = ads
    realm = %s
    workgroup = %s
    netbios name = %s
    kerberos method = secrets and keytab
    dedicated keytab file = /etc/krb5.keytab
    idmap config * : range = 10000-19999
    interfaces = eth0
    bind interfaces only = yes
`

func (m *machine) writeSMBConf(t *testing.T) {
	t.Helper()
	text := fmt.Sprintf(smbConf, realm, netbios, strings.TrimSuffix(m.account, "$"))
	if err := m.node.WriteFile("/etc/samba/smb.conf", text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// joinByNet joins with Samba's net, which is told neither the controller nor its address, and which registers the
// machine's addresses as its last step.
func joinByNet(t *testing.T, m *machine) {
	t.Helper()
	m.writeSMBConf(t)
	if _, err := m.node.Output(m.node.Command(testContext(t), "net", "ads", "join", "-U", administrator+"%"+administratorPassword)); err != nil {
		t.Fatal(err)
	}
}

// joinByAdcli joins with adcli, which is told the domain and no more.
func joinByAdcli(t *testing.T, m *machine) {
	t.Helper()
	m.writeSMBConf(t)
	cmd := m.node.Command(testContext(t), "adcli", "join", "-v", "-D", zone, "--host-fqdn="+m.node.Host(),
		"--computer-name="+strings.TrimSuffix(m.account, "$"), "-U", administrator, "--stdin-password")
	cmd.Stdin = strings.NewReader(administratorPassword)
	if _, err := m.node.Output(cmd); err != nil {
		t.Fatal(err)
	}
}

// TestJoin has machines join the domain. All they know of it is its name: where its controller is, the server tells.
func TestJoin(t *testing.T) {
	tested.Path(t, sambaController, "directory and KDC of a domain whose DNS server is this one: joins by net and adcli")
	t.Run("net", func(t *testing.T) {
		tested.Path(t, netADS, "join, which registers the addresses")
		client1.joined(t)
		expect(t, "client1.corp.test", dns.TypeA, "10.77.0.101")
		expect(t, "client1.corp.test", dns.TypeAAAA, "fd77::101")
	})
	t.Run("adcli", func(t *testing.T) {
		tested.Path(t, adcli, "join")
		client2.joined(t)
		tested.Path(t, adcli, "join under a name longer than 15 characters")
		longName.joined(t)
	})
}
