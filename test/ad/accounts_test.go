//go:build e2e && linux

package ad

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// TestAccounts does with real accounts of the domain what Active Directory's secure mode is known for: any account
// creates names, owners keep them, administrators change everything. Where this server deviates, the row says so.
func TestAccounts(t *testing.T) {
	tested.Path(t, nsupdate, "-g as machine, user and administrator, finding zone and server by itself")
	admins := rules
	for _, group := range []string{"DnsAdmins", "Domain Admins"} {
		admins = fmt.Sprintf("grant sid:%s zonesub ANY\n        %s", sid(t, group), admins)
	}
	on := client1.joined(t)
	reconfigure(t, shared.domain.corefile("secure", admins))
	dc := shared.domain.dc
	const machinePassword = "Client3-Passw0rd"
	for _, args := range [][]string{{"computer", "create", "client3"}, {"user", "setpassword", "CLIENT3$", "--newpassword=" + machinePassword}} {
		if _, err := dc.Output(dc.Command(testContext(t), "samba-tool", args...)); err != nil {
			t.Fatal(err)
		}
	}
	var (
		machine1 = client1.logIn(t)
		machine3 = logIn(t, on, "CLIENT3$", machinePassword)
		long     = longName.logIn(t)
		user     = logIn(t, on, alice, alicePassword)
		dnsAdmin = logIn(t, on, bob, bobPassword)
		root     = logIn(t, on, administrator, administratorPassword)
	)
	for _, row := range []struct {
		name string
		try  func(t *testing.T)
	}{
		{"unsigned updates are refused", func(t *testing.T) {
			outcome := machine1.nsupdate(t, "", "update add client1.corp.test 300 A 10.77.0.200")
			if outcome.Rcode != "REFUSED" || outcome.Signed {
				t.Errorf("%s:\n%s", outcome.Rcode, outcome.Output)
			}
		}},
		{"a machine registers itself", func(t *testing.T) {
			machine1.update(t, "NOERROR", "update delete client1.corp.test A", "update add client1.corp.test 1200 A 10.77.0.101")
			expect(t, "client1.corp.test", dns.TypeA, "10.77.0.101")
		}},
		{"Windows 2000's algorithm name", func(t *testing.T) {
			outcome := machine1.nsupdate(t, "-o", "update add client1.corp.test 1200 TXT o")
			if outcome.Rcode != "NOERROR" || !outcome.Signed {
				t.Errorf("%s:\n%s", outcome.Rcode, outcome.Output)
			}
		}},
		{"any account creates any name", func(t *testing.T) {
			user.update(t, "NOERROR", "update add anything.corp.test 300 A 10.77.0.201")
			user.update(t, "NOERROR", "update add child.anything.corp.test 300 A 10.77.0.202")
		}},
		// AD lets any account have these.
		{"but not below a name of others, nor below the zone's service labels", func(t *testing.T) {
			machine1.update(t, "REFUSED", "update add _test._tcp.corp.test 300 SRV 0 0 1 client1.corp.test.")
			machine1.update(t, "REFUSED", "update add other.anything.corp.test 300 A 10.77.0.202")
			machine1.update(t, "REFUSED", "update add _acme-challenge.anything.corp.test 300 TXT x")
		}},
		// AD lets any account have these.
		{"but not one that speaks for others", func(t *testing.T) {
			for _, add := range []string{"wpad.corp.test 300 A 10.77.0.203", "isatap.corp.test 300 A 10.77.0.203", "*.corp.test 300 A 10.77.0.203",
				"sub.corp.test 300 NS client1.corp.test.", "corp.test 300 A 10.77.0.203", "ns1.corp.test 300 A 10.77.0.203"} {
				user.update(t, "REFUSED", "update add "+add)
			}
		}},
		// AD's word is SERVFAIL.
		{"no other client changes a name that has an owner", func(t *testing.T) {
			for _, other := range []login{machine1, machine3} {
				other.update(t, "REFUSED", "update add anything.corp.test 300 A 10.77.0.204")
				other.update(t, "REFUSED", "update delete anything.corp.test")
			}
			user.update(t, "REFUSED", "update delete client1.corp.test", "update add client1.corp.test 300 A 10.77.0.204")
			expect(t, "anything.corp.test", dns.TypeA, "10.77.0.201")
			expect(t, "client1.corp.test", dns.TypeA, "10.77.0.101")
		}},
		{"an update that changes nothing is welcome from anyone", func(t *testing.T) {
			machine3.update(t, "NOERROR", "update add anything.corp.test 300 A 10.77.0.201")
		}},
		{"administrators may", func(t *testing.T) {
			dnsAdmin.update(t, "NOERROR", "update add anything.corp.test 300 A 10.77.0.205")
			root.update(t, "NOERROR", "update delete anything.corp.test A 10.77.0.205")
			dnsAdmin.update(t, "NOERROR", "update add corp.test 300 TXT administered")
			dnsAdmin.update(t, "NOERROR", "update add www.corp.test 300 A 10.77.0.206")
		}},
		{"a name that an administrator made is closed", func(t *testing.T) {
			user.update(t, "REFUSED", "update add www.corp.test 300 A 10.77.0.207")
			expect(t, "www.corp.test", dns.TypeA, "10.77.0.206")
		}},
		{"a deleted name waits for its owner", func(t *testing.T) {
			user.update(t, "NOERROR", "update delete anything.corp.test")
			machine1.update(t, "REFUSED", "update add anything.corp.test 300 A 10.77.0.208")
			user.update(t, "NOERROR", "update add anything.corp.test 300 A 10.77.0.209")
			expect(t, "anything.corp.test", dns.TypeA, "10.77.0.209")
		}},
		{"one forbidden part refuses the whole", func(t *testing.T) {
			machine1.update(t, "REFUSED", "update add new.corp.test 300 A 10.77.0.210", "update add anything.corp.test 300 A 10.77.0.210")
			expect(t, "new.corp.test", dns.TypeA)
		}},
		{"PTR records go to who comes first", func(t *testing.T) {
			const name = "210.0.77.10.in-addr.arpa"
			machine1.update(t, "NOERROR", "update add "+name+" 300 PTR client1.corp.test.")
			user.update(t, "REFUSED", "update delete "+name+" PTR")
			expect(t, name, dns.TypePTR, "client1.corp.test.")
		}},
		{"outside the zone", func(t *testing.T) {
			machine1.update(t, "NOTZONE", "zone corp.test", "update add client1.example.test 300 A 10.77.0.211")
		}},
		// Every user may create accounts of machines, with any free name.
		{"a machine does not get its own name back from a squatter", func(t *testing.T) {
			user.update(t, "NOERROR", "update add client3.corp.test 300 A 10.77.0.212")
			machine1.update(t, "REFUSED", "update delete client3.corp.test", "update add client3.corp.test 300 A 10.77.0.213")
			machine3.update(t, "REFUSED", "update delete client3.corp.test", "update add client3.corp.test 300 A 10.77.0.103")
			expect(t, "client3.corp.test", dns.TypeA, "10.77.0.212")
		}},
		{"a name longer than the account's is kept by ownership", func(t *testing.T) {
			const name = "averylonghostname01.corp.test"
			long.update(t, "NOERROR", "update delete "+name, "update add "+name+" 1200 A 10.77.0.103")
			machine1.update(t, "REFUSED", "update delete "+name, "update add "+name+" 1200 A 10.77.0.214")
			long.update(t, "NOERROR", "update delete "+name, "update add "+name+" 1200 A 10.77.0.103")
			expect(t, name, dns.TypeA, "10.77.0.103")
		}},
	} {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), row.try)
	}
}

// TestGroups has rules that name groups of the domain. Who is in them, only the ticket says.
func TestGroups(t *testing.T) {
	tested.Path(t, sambaController, "tickets that name the groups of the account")
	tested.Path(t, nsupdate, "-g by groups of the ticket")
	on := client1.joined(t)
	dc := shared.domain.dc
	controllers, admins := sid(t, "Domain Controllers"), sid(t, "DnsAdmins")
	if !strings.HasSuffix(controllers, "-516") {
		t.Errorf("the controllers are %s", controllers)
	}
	const dcKeytab = "/run/dc1.keytab"
	if _, err := dc.Output(dc.Command(testContext(t), "samba-tool", "domain", "exportkeytab", dcKeytab, "--principal=DC1$")); err != nil {
		t.Fatal(err)
	}
	controller := logInByKeytab(t, dc, "DC1$", dcKeytab)
	member, user := logIn(t, on, bob, bobPassword), logIn(t, on, alice, alicePassword)
	machine1 := client1.logIn(t)
	const add = "update add _new._tcp.dc._msdcs.corp.test 300 SRV 0 0 389 dc1.corp.test."

	reconfigure(t, shared.domain.corefile("secure", "grant sid:"+controllers+" zonesub ANY"))
	controller.update(t, "NOERROR", add)
	for _, other := range []login{member, user, machine1} {
		other.update(t, "REFUSED", "update delete _new._tcp.dc._msdcs.corp.test SRV")
	}
	expect(t, "_new._tcp.dc._msdcs.corp.test", dns.TypeSRV, "0 0 389 dc1.corp.test.")

	reconfigure(t, shared.domain.corefile("secure", "grant sid:"+admins+" subdomain _msdcs.corp.test. SRV"))
	for _, other := range []login{controller, user, machine1} {
		other.update(t, "REFUSED", "update delete _new._tcp.dc._msdcs.corp.test SRV")
	}
	member.update(t, "REFUSED", "update add not-below.corp.test 300 SRV 0 0 389 dc1.corp.test.")
	member.update(t, "NOERROR", "update delete _new._tcp.dc._msdcs.corp.test SRV")
	expect(t, "_new._tcp.dc._msdcs.corp.test", dns.TypeSRV)

	// A ticket has the groups that its holder had when he logged in.
	if _, err := dc.Output(dc.Command(testContext(t), "samba-tool", "group", "addmembers", "DnsAdmins", alice)); err != nil {
		t.Fatal(err)
	}
	user.update(t, "REFUSED", add)
	user = logIn(t, on, alice, alicePassword)
	user.update(t, "NOERROR", add)
	if _, err := dc.Output(dc.Command(testContext(t), "samba-tool", "group", "removemembers", "DnsAdmins", alice)); err != nil {
		t.Fatal(err)
	}
	user.update(t, "NOERROR", "update delete _new._tcp.dc._msdcs.corp.test SRV")
	logIn(t, on, alice, alicePassword).update(t, "REFUSED", add)
}
