//go:build e2e && linux

package mit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

const (
	realm    = "EXAMPLE.TEST"
	zone     = "example.test"
	base     = "dc=example,dc=test"
	reverse4 = "0.78.10.in-addr.arpa"
	reverse6 = "0.0.0.0.0.0.0.0.0.0.0.0.8.7.d.f.ip6.arpa"

	password = "Adm1n-Passw0rd" // of both administrators

	startTimeout = time.Minute // on a machine under load
)

// administrators may use kadmin: the one as MIT's manual has it, and the one of FreeIPA.
var administrators = []string{"root/admin", "admin"}

// examples puts the site's names and addresses in the place of those in the recipes.
var examples = strings.NewReplacer(
	"example.com", zone, "EXAMPLE.COM", realm, "2.0.192.in-addr.arpa", reverse4, "192.0.2.", "10.78.0.",
	"0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", reverse6, "2001:db8::", "fd78::",
	"./coredns-gsstsig_", "/run/download/coredns-gsstsig_",
)

// addresses are those of the node with the given last octet.
func addresses(octet int) []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("10.78.0.%d/24", octet)),
		netip.MustParsePrefix(fmt.Sprintf("fd78::%d/64", octet)),
	}
}

const (
	kdcOctet = 10
	nsOctet  = 53
)

var nsAddress = netip.AddrPortFrom(addresses(nsOctet)[0].Addr(), 53)

// site is a realm with its machines.
type site struct {
	network *node.Network
	kdc, ns *node.Node
}

// newSite makes a realm that has no principals but its administrators, on a KDC of the given name, and the machine ns1.
// It is gone with the test.
func newSite(t *testing.T, kdc string) *site {
	t.Helper()
	return newSiteWith(t, kdc, func(*node.Config) {}, (*site).createRealm, (*site).startRealm)
}

// newSiteWith makes the machines, with a name server as configure wants it, and takes the given steps.
func newSiteWith(t *testing.T, kdc string, configure func(*node.Config), steps ...func(*site, context.Context) error) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(testContext(t), startTimeout)
	defer cancel()
	network, err := node.NewNetwork(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	s := &site{network: network}
	s.kdc = s.add(t, kdc, kdcOctet)
	s.ns = s.addWith(t, "ns1", nsOctet, configure)
	for _, n := range []*node.Node{s.kdc, s.ns} {
		if err := n.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range steps {
		if err := step(s, ctx); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// add makes a machine that asks ns1, and that has to find the KDC by what ns1 says.
func (s *site) add(t *testing.T, name string, octet int) *node.Node {
	t.Helper()
	return s.addWith(t, name, octet, func(*node.Config) {})
}

// addWith does the same, as configure wants it.
func (s *site) addWith(t *testing.T, name string, octet int, configure func(*node.Config)) *node.Node {
	t.Helper()
	config := node.Config{Name: name, Domain: zone, Addresses: addresses(octet), Resolver: nsAddress.Addr()}
	configure(&config)
	n, err := s.network.Add(testContext(t), config)
	if err != nil {
		t.Fatal(err)
	}
	const conf = "[libdefaults]\n    default_realm = %s\n    dns_lookup_kdc = true\n    rdns = false\n    dns_canonicalize_hostname = false\n"
	err = errors.Join(
		// What another program of this machine may have left there is not the node's.
		n.Remove("/etc/krb5.keytab", "/etc/krb5kdc/*", "/var/lib/krb5kdc/*", "/var/lib/ldap/*", "/var/lib/sss/db/*", "/var/lib/sss/mc/*",
			"/var/log/sssd/*"),
		n.WriteFile("/etc/krb5.conf", fmt.Sprintf(conf, realm), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// krb5Conf names the KDC.
func (s *site) krb5Conf() string {
	return fmt.Sprintf(`[libdefaults]
    default_realm = %[1]s
    rdns = false
    dns_canonicalize_hostname = false
[realms]
    %[1]s = {
        kdc = %[3]s
        admin_server = %[3]s
    }
[domain_realm]
    .%[2]s = %[1]s
    %[2]s = %[1]s
`, realm, zone, addresses(kdcOctet)[0].Addr())
}

// createRealm makes the KDC's database.
func (s *site) createRealm(ctx context.Context) error {
	kdcConf := fmt.Sprintf("[realms]\n    %s = {\n        database_name = /var/lib/krb5kdc/principal\n"+
		"        key_stash_file = /etc/krb5kdc/stash\n        acl_file = /etc/krb5kdc/kadm5.acl\n    }\n", realm)
	if err := errors.Join(
		s.kdc.WriteFile("/etc/krb5kdc/kdc.conf", kdcConf, 0o600),
		s.kdc.WriteFile("/etc/krb5kdc/kadm5.acl", fmt.Sprintf("*/admin@%[1]s *\nadmin@%[1]s *\n", realm), 0o600),
	); err != nil {
		return err
	}
	if _, err := s.kdc.Output(s.kdc.Command(ctx, "kdb5_util", "create", "-s", "-P", "throw-away")); err != nil {
		return err
	}
	for _, name := range administrators {
		if _, err := s.kdc.Output(s.kdc.Command(ctx, "kadmin.local", "addprinc", "-pw", password, name)); err != nil {
			return err
		}
	}
	return nil
}

// startRealm runs KDC and kadmind.
func (s *site) startRealm(ctx context.Context) error {
	background := context.WithoutCancel(ctx)
	return errors.Join(
		s.startServer(ctx, s.kdc.Command(background, "krb5kdc", "-n"), "88"),
		s.startServer(ctx, s.kdc.Command(background, "kadmind", "-nofork"), "749"),
	)
}

// startServer starts a program on the KDC's machine and waits until it listens.
func (s *site) startServer(ctx context.Context, cmd *exec.Cmd, port string) error {
	p, err := s.kdc.Start(cmd)
	if err != nil {
		return err
	}
	if err := listens(ctx, s.kdc, p, addresses(kdcOctet)[0].Addr().String()+":"+port); err != nil {
		return fmt.Errorf("%s does not come up: %w\n%s", cmd.Path, err, p.Output())
	}
	return nil
}

// listens waits until a program takes connections, or ends.
func listens(ctx context.Context, from *node.Node, p *process.Process, address string) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := from.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-p.Done():
			return p.Err()
		case <-again.C:
		}
	}
}

// slapdConf is that of the directory. Clients sign in by their tickets and may read all.
const slapdConf = `include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
sasl-host %s
sasl-realm %s
database mdb
suffix %s
directory /var/lib/ldap
access to * by * read
`

// startDirectory runs slapd with an empty directory: before it registers a machine, SSSD's provider for FreeIPA wants to
// sign in, and to be told that there is nothing of what it looks for.
func (s *site) startDirectory(ctx context.Context) error {
	const keytab, conf = "/etc/ldap/ldap.keytab", "/etc/ldap/slapd.conf"
	if err := s.kdc.WriteFile(conf, fmt.Sprintf(slapdConf, s.kdc.Host(), realm, base), 0o600); err != nil {
		return err
	}
	load := s.kdc.Command(ctx, "slapadd", "-f", conf)
	load.Stdin = strings.NewReader(fmt.Sprintf("dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: %s\n", base, zone))
	for _, cmd := range []*exec.Cmd{
		s.kdc.Command(ctx, "kadmin.local", "addprinc", "-randkey", "ldap/"+s.kdc.Host()),
		s.kdc.Command(ctx, "kadmin.local", "ktadd", "-k", keytab, "ldap/"+s.kdc.Host()),
		load,
	} {
		if _, err := s.kdc.Output(cmd); err != nil {
			return err
		}
	}
	slapd := s.kdc.Command(context.WithoutCancel(ctx), "slapd", "-d", "stats", "-f", conf, "-h", "ldap:///")
	slapd.Env = append(slapd.Env, "KRB5_KTNAME="+keytab)
	return s.startServer(ctx, slapd, "389")
}
