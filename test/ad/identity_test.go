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

	t.Run("SIDs of other accounts and of another domain", func(t *testing.T) {
		const foreign = "S-1-5-21-1-2-3-512"
		samba(t, "user", "create", "migrated", alicePassword)
		for _, former := range []string{foreign, sid(t, client1.account), sid(t, "DnsAdmins")} {
			change(t, "CN=migrated,CN=Users", "add", "sIDHistory", former)
		}
		migrated := logIn(t, on, "migrated", alicePassword)
		reconfigure(t, shared.domain.corefile("secure", "grant CORP.TEST owner ."))
		// The owner is compared with the account's own SID.
		migrated.update(t, "REFUSED", take...)
		migrated.update(t, "NOERROR", "update add of-migrated.corp.test 300 A 10.77.0.66")
		reconfigure(t, shared.domain.corefile("secure", "grant sid:"+foreign+" zonesub ANY\n        grant sid:"+sid(t, "DnsAdmins")+" zonesub ANY\n"+
			"        grant CORP.TEST ms-self . A\n        grant CORP.TEST owner ."))
		// Samba's KDC leaves the history of SIDs out of the PAC.
		migrated.update(t, "REFUSED", take...)
		migrated.update(t, "REFUSED", "update add corp.test 300 TXT migrated")
		expect(t, "client1.corp.test", dns.TypeA, "10.77.0.101")
	})

	t.Run("DnsUpdateProxy", func(t *testing.T) {
		const pointer, free = "81.0.77.10.in-addr.arpa", "update add of-dhcp.corp.test 300 A 10.77.0.82"
		proxy := "sid:" + sid(t, "DnsUpdateProxy")
		samba(t, "user", "create", "dhcp1", alicePassword)
		samba(t, "group", "addmembers", "DnsUpdateProxy", "dhcp1")
		dhcp, user := logIn(t, on, "dhcp1", alicePassword), logIn(t, on, alice, alicePassword)
		lease := func(n int, rcode string) {
			t.Helper()
			dhcp.update(t, rcode, "update delete lease.corp.test A", fmt.Sprintf("update add lease.corp.test 300 A 10.77.0.%d", n))
		}
		// The group by itself is no more than any other.
		reconfigure(t, shared.domain.corefile("secure", rules))
		lease(81, "NOERROR")
		user.update(t, "REFUSED", "update delete lease.corp.test A")
		dhcp.update(t, "NOERROR", free)

		reconfigure(t, shared.domain.corefile("secure", "proxies "+proxy+"\n        deny "+proxy+" name denied.corp.test ANY\n"+
			"        grant "+proxy+" subdomain guests.corp.test A\n        "+rules))
		// What it owned before, it owns no more as a proxy.
		lease(82, "REFUSED")
		dhcp.update(t, "NOERROR", "update add leased.corp.test 300 A 10.77.0.81")
		dhcp.update(t, "NOERROR", "update add "+pointer+" 300 PTR leased.corp.test.")
		dhcp.update(t, "NOERROR", "update delete leased.corp.test A", "update add leased.corp.test 300 A 10.77.0.82")
		dhcp.update(t, "NOERROR", "update add a.guests.corp.test 300 A 10.77.0.83")
		dhcp.update(t, "REFUSED", "update add denied.corp.test 300 A 10.77.0.83")
		user.update(t, "NOERROR", "update add denied.corp.test 300 A 10.77.0.83", "update delete denied.corp.test")
		dhcp.update(t, "REFUSED", take...)
		dhcp.update(t, "REFUSED", "update add x.client1.corp.test 300 A 10.77.0.66")
		// The first client that signs becomes the owner, and the proxy is then as any other.
		machine.update(t, "NOERROR", "update delete leased.corp.test A", "update add leased.corp.test 300 A 10.77.0.84")
		user.update(t, "NOERROR", "update delete "+pointer+" PTR", "update add "+pointer+" 600 PTR of-migrated.corp.test.")
		user.update(t, "NOERROR", "update delete a.guests.corp.test A", "update add a.guests.corp.test 300 A 10.77.0.85")
		for _, other := range []login{dhcp, user} {
			other.update(t, "REFUSED", "update delete leased.corp.test A")
		}
		dhcp.update(t, "REFUSED", "update delete "+pointer+" PTR")
		expect(t, "leased.corp.test", dns.TypeA, "10.77.0.84")
		expect(t, pointer, dns.TypePTR, "of-migrated.corp.test.")
	})

	t.Run("machine accounts made by a user", func(t *testing.T) {
		const password = "Machine-Passw0rd"
		// Active Directory lets every user make ten. Samba wants the right to create them in that container.
		const computers = "bf967a86-0de6-11d0-a285-00aa003049e2"
		samba(t, "dsacl", "set", "--objectdn=CN=Computers,"+base, "--sddl=(OA;;CC;"+computers+";;"+sid(t, alice)+")")
		asAlice := []string{"-H", "ldap://dc1." + zone, "-U", alice + "%" + alicePassword}
		made := func(name string) *login {
			t.Helper()
			samba(t, append([]string{"computer", "create", name}, asAlice...)...)
			samba(t, append([]string{"user", "setpassword", strings.ToUpper(name) + "$", "--newpassword=" + password}, asAlice...)...)
			return logInFor(t, on, name, password, strings.ToUpper(name)+"$")
		}
		admins := "grant sid:" + sid(t, "DnsAdmins") + " zonesub ANY\n        " + rules
		reconfigure(t, shared.domain.corefile("secure", admins))
		dnsAdmin := logIn(t, on, bob, bobPassword)
		dnsAdmin.update(t, "NOERROR", "update add intranet.corp.test 300 A 10.77.0.86", "update add portal.corp.test 300 CNAME intranet.corp.test.")
		machine.update(t, "NOERROR", "update add desk.corp.test 300 A 10.77.0.87")

		attacks := []struct {
			as       *login
			commands []string
			always   string // the answer with "reclaim always"
		}{
			{made("intranet"), []string{"update delete intranet.corp.test A", "update add intranet.corp.test 300 A 10.77.0.66"}, "NOERROR"},
			{made("portal"), []string{"update delete portal.corp.test CNAME", "update add portal.corp.test 300 CNAME evil.example."}, "NOERROR"},
			{made("desk"), []string{"update delete desk.corp.test A", "update add desk.corp.test 300 CNAME evil.example."}, "NOERROR"},
			{made("ns1"), []string{"update delete ns1.corp.test A", "update add ns1.corp.test 300 A 10.77.0.66"}, "REFUSED"},
			{made("isatap"), []string{"update add isatap.corp.test 300 A 10.77.0.66"}, "REFUSED"},
		}
		for _, attack := range attacks {
			attack.as.update(t, "REFUSED", attack.commands...)
		}
		attacks[0].as.update(t, "NOERROR", "update add of-intranet.corp.test 300 A 10.77.0.88")
		attacks[0].as.update(t, "REFUSED", "update add x.intranet.corp.test 300 A 10.77.0.66")
		expect(t, "intranet.corp.test", dns.TypeA, "10.77.0.86")
		expect(t, "desk.corp.test", dns.TypeA, "10.77.0.87")

		// What docs and reference warn of.
		reconfigure(t, shared.domain.corefile("secure", "reclaim always\n        "+admins))
		for _, attack := range attacks {
			attack.as.update(t, attack.always, attack.commands...)
		}
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
	change(t, dn, "replace", attribute, value)
}

// change adds to an attribute of an account, or replaces it, also one that the directory maintains by itself.
func change(t *testing.T, dn, how, attribute, value string) {
	t.Helper()
	dc := shared.domain.dc
	cmd := dc.Command(testContext(t), "ldbmodify", "-H", "/var/lib/samba/private/sam.ldb", "--controls=relax:0")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("dn: %s,%s\nchangetype: modify\n%s: %s\n%[4]s: %s\n", dn, base, how, attribute, value))
	if said, err := dc.Output(cmd); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}
