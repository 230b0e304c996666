//go:build e2e && linux

package ad

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

const (
	realm       = "CORP.TEST"
	zone        = "corp.test"
	netbios     = "CORP"
	base        = "DC=corp,DC=test"
	controllers = "_msdcs." + zone // AD has a zone for them, and its controllers register a name server for it
	reverse4    = "0.77.10.in-addr.arpa"
	reverse6    = "0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa"

	administrator         = "Administrator"
	administratorPassword = "Adm1n-Passw0rd"

	// alice is any user; bob is a member of DnsAdmins.
	alice, alicePassword = "alice", "Alice-Passw0rd"
	bob, bobPassword     = "bob", "Bob-Passw0rd"

	// The server's service account, and the principal that clients ask a ticket for.
	serviceAccount, servicePassword = "dns-ns1", "Dns-ns1-Passw0rd"
	service                         = "DNS/ns1." + zone

	provisionTimeout = 3 * time.Minute // on a machine under load
)

// addresses are those of the node with the given last octet.
func addresses(octet int) []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("10.77.0.%d/24", octet)),
		netip.MustParsePrefix(fmt.Sprintf("fd77::%d/64", octet)),
	}
}

const (
	dcOctet = 10
	nsOctet = 53
)

var nsAddress = netip.AddrPortFrom(addresses(nsOctet)[0].Addr(), 53)

// domain is an Active Directory domain.
type domain struct {
	network *node.Network
	dc, ns  *node.Node
	samba   *process.Process
	dns     *server.Server // on ns
	keytab  string         // of the service
	data    string         // directory of the zones' databases
}

// newDomain provisions the domain and starts its controller, which has no DNS server to register with yet.
func newDomain(ctx context.Context) (*domain, error) {
	ctx, cancel := context.WithTimeout(ctx, provisionTimeout)
	defer cancel()
	d := &domain{keytab: filepath.Join(shared.dir, "dns.keytab"), data: filepath.Join(shared.dir, "data")}
	var err error
	if d.network, err = node.NewNetwork(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{d.addServers, d.provision, d.addAccounts, d.exportKeytab, d.start} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	return d, nil
}

// close ends the domain, and reports what the race detector found in the server. It may be called more than once.
func (d *domain) close() (err error) {
	if d.dns != nil {
		err = d.dns.Stop()
	}
	d.network.Close()
	return err
}

func (d *domain) addServers(ctx context.Context) (err error) {
	if d.dc, err = d.add(ctx, "dc1", dcOctet); err != nil {
		return err
	}
	d.ns, err = d.add(ctx, "ns1", nsOctet)
	return err
}

// add makes a machine that asks ns1, and that knows of its realm no more than the name: the DNS has to tell the rest.
func (d *domain) add(ctx context.Context, name string, octet int) (*node.Node, error) {
	n, err := d.network.Add(ctx, node.Config{Name: name, Domain: zone, Addresses: addresses(octet), Resolver: nsAddress.Addr()})
	if err != nil {
		return nil, err
	}
	return n, errors.Join(
		// What another program of this machine may have left there is not the node's.
		n.Remove("/etc/krb5.keytab", "/etc/samba/smb.conf", "/var/lib/samba/private/*", "/var/lib/samba/sysvol", "/var/lib/samba/*.tdb",
			"/var/cache/samba/*", "/var/lib/sss/db/*", "/var/lib/sss/mc/*", "/var/log/samba/*", "/var/log/sssd/*"),
		n.WriteFile("/etc/krb5.conf", krb5Conf(""), 0o644),
	)
}

// krb5Conf is a configuration that finds the KDC by SRV records, unless the realm's section names it.
func krb5Conf(section string) string {
	return fmt.Sprintf(`[libdefaults]
    default_realm = %s
    dns_lookup_kdc = true
    dns_lookup_realm = false
    rdns = false
    dns_canonicalize_hostname = false
[domain_realm]
    .%[2]s = %[1]s
    %[2]s = %[1]s
%[3]s`, realm, zone, section)
}

// provision makes the domain's database.
func (d *domain) provision(ctx context.Context) error {
	_, err := d.dc.Output(d.dc.Command(ctx, "samba-tool", "domain", "provision", "--use-rfc2307", "--realm="+realm, "--domain="+netbios,
		"--server-role=dc", "--dns-backend=SAMBA_INTERNAL", "--adminpass="+administratorPassword, "--host-name=dc1",
		"--host-ip="+addresses(dcOctet)[0].Addr().String(), "--host-ip6="+addresses(dcOctet)[1].Addr().String()))
	if err != nil {
		return err
	}
	const conf = "/etc/samba/smb.conf"
	text, err := d.dc.ReadFile(conf)
	if err != nil {
		return err
	}
	var lines []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "dns forwarder") {
			continue
		}
		lines = append(lines, line)
		if strings.HasPrefix(line, "[global]") {
			// No DNS server, and no registration of names before a test asks for it.
			lines = append(lines, "\tserver services = -dns, -dnsupdate\n", "\tinterfaces = lo eth0\n")
		}
	}
	// The controller's own clients cannot find the KDC by records that they are about to register.
	kdc := krb5Conf(fmt.Sprintf("[realms]\n    %s = {\n        kdc = %s\n    }\n", realm, addresses(dcOctet)[0].Addr()))
	return errors.Join(
		d.dc.WriteFile(conf, strings.Join(lines, ""), 0o644),
		d.dc.WriteFile("/etc/krb5.conf", kdc, 0o644),
		d.dc.WriteFile("/var/lib/samba/private/krb5.conf", kdc, 0o644),
	)
}

// addAccounts makes the users, and the account that the server's principal belongs to.
func (d *domain) addAccounts(ctx context.Context) error {
	for _, args := range [][]string{
		{"user", "create", serviceAccount, servicePassword},
		{"spn", "add", service, serviceAccount},
		{"user", "create", alice, alicePassword},
		{"user", "create", bob, bobPassword},
		{"group", "addmembers", "DnsAdmins", bob},
	} {
		if _, err := d.dc.Output(d.dc.Command(ctx, "samba-tool", args...)); err != nil {
			return err
		}
	}
	return nil
}

// exportKeytab writes the key of the server's principal to a keytab. Which types of keys an account has is settled when
// its password is set: so first the types, then the password, then the keytab.
func (d *domain) exportKeytab(ctx context.Context) error {
	const exported = "/run/dns.keytab"
	modify := d.dc.Command(ctx, "ldbmodify", "-H", "/var/lib/samba/private/sam.ldb")
	modify.Stdin = strings.NewReader(fmt.Sprintf("dn: CN=%s,CN=Users,%s\nchangetype: modify\n"+
		"replace: msDS-SupportedEncryptionTypes\nmsDS-SupportedEncryptionTypes: 24\n", serviceAccount, base))
	for _, cmd := range []*exec.Cmd{
		modify,
		d.dc.Command(ctx, "samba-tool", "user", "setpassword", serviceAccount, "--newpassword="+servicePassword),
		d.dc.Command(ctx, "samba-tool", "user", "setexpiry", serviceAccount, "--noexpiry"),
		d.dc.Command(ctx, "samba-tool", "domain", "exportkeytab", exported, "--principal="+service),
	} {
		if _, err := d.dc.Output(cmd); err != nil {
			return err
		}
	}
	keys, err := d.dc.ReadFile(exported)
	if err != nil {
		return err
	}
	return os.WriteFile(d.keytab, []byte(keys), 0o600)
}

// start runs the controller and waits until its KDC and directory answer.
func (d *domain) start(ctx context.Context) (err error) {
	if d.samba, err = d.dc.Start(d.dc.Command(context.WithoutCancel(ctx), "samba", "--foreground", "--no-process-group")); err != nil {
		return err
	}
	address := addresses(dcOctet)[0].Addr().String()
	for _, port := range []string{":88", ":389", ":445"} {
		err := poll(ctx, func() error {
			conn, err := d.dc.Dial("tcp", address+port)
			if err != nil {
				return err
			}
			return conn.Close()
		})
		if err != nil {
			return fmt.Errorf("the domain controller does not come up: %w\n%s", err, d.samba.Output())
		}
	}
	// The service dnsupdate would do this, and samba_dnsupdate, at a time of its own.
	_, err = d.dc.Output(d.dc.Command(ctx, "samba_spnupdate"))
	return err
}

// poll tries until there is no error.
func poll(ctx context.Context, try func() error) error {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-again.C:
		}
	}
}

// rules are those of a domain: its controllers may do all that they register, every other account what AD's default is.
const rules = `grant DC1$@CORP.TEST zonesub ANY
        grant CORP.TEST owner .`

// corefile serves the domain's zones in the given mode, by the given rules.
func (d *domain) corefile(mode, rules string) string {
	return fmt.Sprintf(`%s %s %s %s {
    gsstsig {
        keytab %s
        database %s
        updates %s
        %s
    }
    log
    errors
}
`, zone, controllers, reverse4, reverse6, d.keytab, d.data, mode, rules)
}

// serve starts CoreDNS on ns1.
func (d *domain) serve(ctx context.Context) (err error) {
	d.dns, err = server.Start(ctx, server.Config{
		Binary: shared.binary, Corefile: d.corefile("secure", rules), Probe: zone,
		Place: &server.Place{Address: nsAddress, Start: d.ns.Start, Dial: d.ns.Dial},
	})
	return err
}
