//go:build e2e && linux

package ad

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// TestIdentity has accounts of the domain try to pass for others, and accounts that are renamed and made again.
func TestIdentity(t *testing.T) {
	tested.Path(t, nsupdate, "-g by accounts that try to pass for others")
	on := client1.joined(t)
	reconfigure(t, shared.domain.corefile("secure", rules))
	machine := client1.logIn(t)
	machine.update(t, "NOERROR", "update delete client1.corp.test A", "update add client1.corp.test 1200 A 10.77.0.101")
	take := []string{"update delete client1.corp.test A", "update add client1.corp.test 1200 A 10.77.0.66"}

	t.Run("user principal name of a machine", func(t *testing.T) {
		samba(t, "user", "create", "mallory", alicePassword)
		as := func(upn string) *login {
			t.Helper()
			modify(t, "CN=mallory,CN=Users", "userPrincipalName", upn+"@"+realm)
			l := logInFor(t, on, "upn", alicePassword, upn+"@"+realm)
			if l == nil {
				t.Fatalf("the KDC gives no ticket for %s", upn)
			}
			return l
		}
		host := as("host/client1.corp.test")
		host.update(t, "REFUSED", take...)
		host.update(t, "NOERROR", "update add of-mallory.corp.test 300 A 10.77.0.66")
		host.update(t, "NOERROR", "update delete of-mallory.corp.test")
		reconfigure(t, shared.domain.corefile("secure", "grant CORP.TEST krb5-self . A\n        grant CORP.TEST ms-self . A\n"+
			"        grant host/client1.corp.test@CORP.TEST zonesub ANY\n        grant ghost$@CORP.TEST zonesub ANY"))
		host.update(t, "REFUSED", take...)
		// Samba lets no account have the name of another, but one that is free.
		as("ghost$").update(t, "REFUSED", "update add ghost.corp.test 300 A 10.77.0.66")
		machine.update(t, "NOERROR", "update delete client1.corp.test A", "update add client1.corp.test 1200 A 10.77.0.101")
		expect(t, "client1.corp.test", dns.TypeA, "10.77.0.101")
	})

	t.Run("ticket without PAC", func(t *testing.T) {
		keytab := []string{"-k", "-t", "/etc/krb5.keytab", "--no-request-pac", client1.account}
		bare := logInFor(t, on, "bare", "", keytab...)
		if bare == nil {
			t.Fatal("no ticket without PAC")
		}
		bare.update(t, "REFUSED", take...)
		machine.update(t, "NOERROR", "update delete client1.corp.test A", "update add client1.corp.test 1200 A 10.77.0.101")

		reconfigure(t, shared.domain.corefile("secure", "deny sid:"+sid(t, "DnsAdmins")+" name denied.corp.test ANY\n        "+rules))
		member, user := logIn(t, on, bob, bobPassword), logIn(t, on, alice, alicePassword)
		escaped := logInFor(t, on, "escaped", bobPassword, "--no-request-pac", bob)
		member.update(t, "REFUSED", "update add denied.corp.test 300 A 10.77.0.66")
		escaped.update(t, "REFUSED", "update add denied.corp.test 300 A 10.77.0.66")
		user.update(t, "NOERROR", "update add denied.corp.test 300 A 10.77.0.67", "update delete denied.corp.test")

		reconfigure(t, shared.domain.corefile("secure", "require_pac\n        "+rules))
		if outcome := escaped.nsupdate(t, "-g", "update add other.corp.test 300 A 10.77.0.66"); !strings.Contains(outcome.Output, "TKEY is unacceptable") {
			t.Errorf("a ticket without PAC is accepted:\n%s", outcome.Output)
		}
		machine.update(t, "NOERROR", "update delete client1.corp.test A", "update add client1.corp.test 1200 A 10.77.0.101")
	})

	t.Run("renamed account", func(t *testing.T) {
		const password = "Renamed-Passw0rd"
		createComputer(t, "renamed1", password)
		before := logInFor(t, on, "renamed", password, "RENAMED1$")
		before.update(t, "NOERROR", "update add service.corp.test 300 A 10.77.0.68")
		modify(t, "CN=renamed1,CN=Computers", "sAMAccountName", "RENAMED2$")
		after := logInFor(t, on, "renamed", password, "RENAMED2$")
		after.update(t, "NOERROR", "update delete service.corp.test", "update add service.corp.test 300 A 10.77.0.69")
		// An account that takes the former name gets no rights by it.
		createComputer(t, "renamed1b", password)
		modify(t, "CN=renamed1b,CN=Computers", "sAMAccountName", "RENAMED1$")
		logInFor(t, on, "usurper", password, "RENAMED1$").update(t, "REFUSED", "update delete service.corp.test")
		expect(t, "service.corp.test", dns.TypeA, "10.77.0.69")
	})

	t.Run("account made again", func(t *testing.T) {
		const password, pointer = "Again-Passw0rd", "70.0.77.10.in-addr.arpa"
		createComputer(t, "again", password)
		first := logInFor(t, on, "again", password, "AGAIN$")
		first.update(t, "NOERROR", "update add again.corp.test 300 A 10.77.0.70")
		first.update(t, "NOERROR", "update add "+pointer+" 300 PTR again.corp.test.")
		first.update(t, "NOERROR", "update add of-again.corp.test 300 A 10.77.0.71")
		samba(t, "computer", "delete", "again")
		createComputer(t, "again", password)
		second := logInFor(t, on, "again", password, "AGAIN$")
		second.update(t, "NOERROR", "update delete again.corp.test A", "update add again.corp.test 300 A 10.77.0.72")
		second.update(t, "NOERROR", "update delete "+pointer+" PTR", "update add "+pointer+" 600 PTR again.corp.test.")
		second.update(t, "REFUSED", "update delete of-again.corp.test A")
		expect(t, "again.corp.test", dns.TypeA, "10.77.0.72")
	})
}

// logInFor gets a ticket into a cache of that name; nil if the KDC gives none. The password is for kinit to ask for.
func logInFor(t *testing.T, on *node.Node, name, password string, args ...string) *login {
	t.Helper()
	l := login{account: args[len(args)-1], on: on, cache: "FILE:/run/krb5cc-identity-" + name}
	cmd := l.command(t, "kinit", args...)
	cmd.Stdin = strings.NewReader(password + "\n")
	if said, err := on.Output(cmd); err != nil {
		t.Logf("kinit %v: %v\n%s", args, err, said)
		return nil
	}
	return &l
}

// samba runs samba-tool on the controller.
func samba(t *testing.T, args ...string) {
	t.Helper()
	dc := shared.domain.dc
	if _, err := dc.Output(dc.Command(testContext(t), "samba-tool", args...)); err != nil {
		t.Fatal(err)
	}
}

func createComputer(t *testing.T, name, password string) {
	t.Helper()
	samba(t, "computer", "create", name)
	samba(t, "user", "setpassword", strings.ToUpper(name)+"$", "--newpassword="+password)
}

// modify sets an attribute of an account.
func modify(t *testing.T, dn, attribute, value string) {
	t.Helper()
	dc := shared.domain.dc
	cmd := dc.Command(testContext(t), "ldbmodify", "-H", "/var/lib/samba/private/sam.ldb")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("dn: %s,%s\nchangetype: modify\nreplace: %s\n%[3]s: %s\n", dn, base, attribute, value))
	if said, err := dc.Output(cmd); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}
