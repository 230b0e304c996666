//go:build e2e && linux

package mit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/recipe"
)

const (
	oldOctet       = 54
	transferSecret = "YSBzZWNyZXQgb2YgMzIgb2N0ZXRzLCBhcyBpdCBpcy4="
	transferKey    = "key \"transfer.example\" { algorithm hmac-sha256; secret \"" + transferSecret + "\"; };\n"
)

// namedConf is that of the BIND that a zone moves from. Transfers are permitted in each of the three ways of docs/migration.md.
const namedConf = `options {
	directory "/var/cache/bind";
	tkey-gssapi-keytab "/etc/bind/dns.keytab";
	recursion no;
	dnssec-validation no;
	listen-on { any; };
};
%s
zone "example.test" {
	type primary;
	file "/var/lib/bind/db.example.test";
	allow-transfer { %s; };
	update-policy {
		grant admin\@EXAMPLE.TEST zonesub ANY;
		grant EXAMPLE.TEST krb5-self . A AAAA;
	};
};
`

const oldZone = `$TTL 3600
@ SOA old hostmaster 41 900 600 86400 300
@ NS old
@ MX 10 mail
old A 10.78.0.54
mail A 10.78.0.25
client1 300 A 10.78.0.7
_ldap._tcp SRV 0 0 389 old
`

// TestMigration does what docs/migration.md says about BIND and about AXFR: a zone that BIND serves moves here with its records and
// rules. Its transfer is permitted by address, then by an HMAC key, then by a principal.
func TestMigration(t *testing.T) {
	s := newSite(t, "kdc1")
	old, client := s.add(t, "old", oldOctet), s.add(t, "client1", 101)
	hosts := fmt.Sprintf("127.0.0.1 localhost\n10.78.0.%d old.example.test old\n10.78.0.%d ns1.example.test ns1\n", oldOctet, nsOctet)
	for _, n := range []*node.Node{old, client, s.ns} {
		if err := errors.Join(n.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644), n.WriteFile("/etc/hosts", hosts, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	// What is there before: BIND with its key, and the keytab of the new server.
	s.giveKeytab(t, old, "/etc/bind/dns.keytab", "DNS/old.example.test")
	s.giveKeytab(t, s.ns, "/etc/coredns/dns.keytab", "DNS/ns1.example.test")
	s.giveKeytab(t, client, "/etc/krb5.keytab", "host/client1.example.test")
	// named gives up the right to read files of other users.
	must(t, old, "sh", "-c", "rm -f /etc/bind/rndc.key; rndc-confgen -a -u root")
	must(t, old, "sh", "-c", "mkdir -p /var/cache/bind /var/lib/bind /run/named")
	must(t, s.ns, "sh", "-c", "mkdir -p /etc/coredns /var/lib/coredns")
	if err := errors.Join(old.WriteFile("/var/lib/bind/db.example.test", oldZone, 0o644), s.ns.WriteFile("/var/tmp/transfer.key", transferKey, 0o600)); err != nil {
		t.Fatal(err)
	}
	const byAddress = "10.78.0.53"
	named := s.startNamed(t, old, byAddress)

	sections := make(map[string][]recipe.Block)
	blocks, err := recipe.Read("../../docs/migration.md", examples)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		sections[b.Section] = append(sections[b.Section], b)
	}
	lab := &recipe.Lab{Machines: map[string]*node.Node{"old": old, "ns1": s.ns}, Programs: shared.programs, Input: strings.Repeat(password+"\n", 10), Up: up}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	follow := func(blocks ...recipe.Block) {
		t.Helper()
		if len(blocks) == 0 {
			t.Fatal("the document has no such commands")
		}
		if err := lab.Follow(testContext(t), blocks); err != nil {
			t.Fatal(err)
		}
	}
	// The server has the zone: its records, with itself as the primary server, and the rules.
	moved := func(nameServers ...string) {
		t.Helper()
		s.expect(t, "example.test", dns.TypeNS, nameServers...)
		s.expect(t, "example.test", dns.TypeMX, "10 mail.example.test.")
		s.expect(t, "client1.example.test", dns.TypeA, "10.78.0.7")
		s.expect(t, "_ldap._tcp.example.test", dns.TypeSRV, "0 0 389 old.example.test.")
		s.expect(t, "ns1.example.test", dns.TypeA, "10.78.0.53")
		if soa, err := s.records("example.test", dns.TypeSOA); err != nil || len(soa) != 1 || !strings.HasPrefix(soa[0], "ns1.example.test. hostmaster.example.test. ") {
			t.Errorf("SOA %q, %v", soa, err)
		}
		must(t, client, "kinit", "-k", "host/client1.example.test")
		for name, rcode := range map[string]string{"client1": "NOERROR", "client2": "REFUSED"} {
			outcome := runNsupdate(t, client, dnsutils.Update{Auth: "-g", Commands: []string{serverLine, zoneLine, "update add " + name + ".example.test 300 AAAA fd78::101"}})
			if outcome.Rcode != rcode || !outcome.Signed {
				t.Errorf("%s: %s, signed %v:\n%s", name, outcome.Rcode, outcome.Signed, outcome.Output)
			}
		}
	}
	bind := sections["From BIND"]
	follow(bind...)
	moved("ns1.example.test.")
	serverStart := bind[len(bind)-1]

	axfr := sections["From a running server by AXFR"]
	if len(axfr) != 4 {
		t.Fatalf("%d blocks about AXFR, want rndc and three ways to load", len(axfr))
	}
	for i, permitted := range []string{byAddress, "key transfer.example", `key "admin\@EXAMPLE.TEST"`} {
		if err := lab.End("ns1"); err != nil {
			t.Fatal(err)
		}
		must(t, s.ns, "sh", "-c", "rm -rf /var/lib/coredns/*")
		named.Stop(0)
		// ns1 has an address in the zone, as the master file has it above.
		if err := old.WriteFile("/var/lib/bind/db.example.test", oldZone+"ns1 A 10.78.0.53\n", 0o644); err != nil {
			t.Fatal(err)
		}
		named = s.startNamed(t, old, permitted)
		follow(axfr[0], axfr[1+i])
		follow(serverStart)
		moved("ns1.example.test.", "old.example.test.")
	}
}

// must runs a command on a machine.
func must(t *testing.T, on *node.Node, program string, args ...string) {
	t.Helper()
	if out, err := on.Output(on.Command(testContext(t), program, args...)); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
}

// giveKeytab makes a principal and writes its key to a file of a machine.
func (s *site) giveKeytab(t *testing.T, to *node.Node, path, principal string) {
	t.Helper()
	made := "/var/tmp/" + to.Name + ".keytab"
	must(t, s.kdc, "kadmin.local", "addprinc", "-randkey", principal)
	must(t, s.kdc, "kadmin.local", "ktadd", "-k", made, principal)
	text, err := s.kdc.ReadFile(made)
	if err == nil {
		err = to.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// startNamed runs BIND with the zone, and waits until it answers.
func (s *site) startNamed(t *testing.T, on *node.Node, permitted string) *process.Process {
	t.Helper()
	key := ""
	if strings.Contains(permitted, "transfer.example") {
		key = transferKey
	}
	if err := on.WriteFile("/etc/bind/named.conf", fmt.Sprintf(namedConf, key, permitted), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := process.LookPath("named")
	if err != nil {
		t.Fatal(err)
	}
	cmd := on.Command(context.WithoutCancel(testContext(t)), path, "-g", "-c", "/etc/bind/named.conf")
	cmd.Env = slices.Concat(cmd.Env, []string{"KRB5RCACHEDIR=/var/tmp"})
	p, err := on.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(0) })
	for _, address := range []string{fmt.Sprintf("10.78.0.%d:53", oldOctet), "127.0.0.1:953"} { // DNS, rndc
		if err := listens(testContext(t), on, p, address); err != nil {
			t.Fatalf("%v\n%s", err, p.Output())
		}
	}
	return p
}
