//go:build e2e && linux

package mit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/nested"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// Where the versions of those come from that are built from a module of their own.
const (
	clientsModule = "dnsclients"
	clientsDir    = "../" + clientsModule
)

var (
	externalDNS = tested.Client{Name: "external-dns", Module: "sigs.k8s.io/external-dns", ModuleDir: clientsDir}
	lego        = tested.Client{Name: "lego", Module: "github.com/go-acme/lego/v5", ModuleDir: clientsDir}
	certManager = tested.Client{Name: "cert-manager", Module: "github.com/cert-manager/cert-manager", ModuleDir: clientsDir}
	certbot     = tested.Client{Name: "certbot", Package: "python3-certbot-dns-rfc2136"}
	ansible     = tested.Client{Name: "Ansible", Package: "ansible"}

	// They are built when the first test wants them, and may take longer than a test.
	dnsClients = sync.OnceValues(func() (string, error) { return nested.Build(shared.ctx, clientsModule, ".") })
	acmeServer = sync.OnceValues(func() (string, error) {
		return nested.Build(shared.ctx, clientsModule, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	})
)

func built(t *testing.T, build func() (string, error)) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// shell has a machine do what a line of shell says, and returns what that wrote.
func shell(t *testing.T, on *node.Node, line string) (said string, err error) {
	t.Helper()
	return on.Output(on.Command(testContext(t), "sh", "-ec", line))
}

// TestExternalDNS does what docs/external-dns.md says, with external-dns and with Ansible: external-dns finds its records,
// changes and deletes them, and is refused what is not below its name.
func TestExternalDNS(t *testing.T) {
	t.Parallel()
	binary := built(t, dnsClients)
	s := newSite(t, "kdc1")
	client := s.add(t, "client1", 101)
	if err := client.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644); err != nil {
		t.Fatal(err)
	}
	// What Ansible writes must not go to the machine's own /root.
	if err := client.WriteFile("/etc/ansible/ansible.cfg", "[defaults]\nlocal_tmp = /run/ansible\nremote_tmp = /run/ansible\nhome = /run/ansible\n", 0o644); err != nil {
		t.Fatal(err)
	}
	tested.Path(t, ansible, "community.general.nsupdate with a shared key: add, remove, as docs/external-dns.md says")
	s.follow(t, "external-dns.md", client)
	s.expect(t, "web.example.test", dns.TypeA, "10.78.0.20", "10.78.0.21")

	for _, way := range []struct{ name, arguments, domain, owner string }{
		{"Kerberos", "/etc/external-dns/kerberos", "apps.example.test", "cluster1"},
		{"a shared key", "/etc/external-dns/key", "apps2.example.test", "cluster2"},
	} {
		t.Run(way.name, func(t *testing.T) {
			tested.Path(t, externalDNS, "by "+way.name+": create, list by AXFR, update and delete")
			name := "web." + way.domain
			step := func(args string) (string, error) {
				return shell(t, client, fmt.Sprintf("%s external-dns @%s -- %s", binary, way.arguments, args))
			}
			mustStep := func(args string) string {
				t.Helper()
				said, err := step(args)
				if err != nil {
					t.Fatal(err)
				}
				return said
			}
			mark := "heritage=external-dns,external-dns/owner=" + way.owner
			has := func(address string) {
				t.Helper()
				said := mustStep("list " + name)
				for _, want := range []string{
					fmt.Sprintf("\n%s A %s\n", name, address), fmt.Sprintf("\na-%s TXT %s\n", name, mark),
				} {
					if !strings.Contains(said, want) {
						t.Errorf("external-dns does not find %q:\n%s", want, said)
					}
				}
			}
			mustStep("create " + name + " 192.0.2.1")
			has("192.0.2.1")
			mustStep("update " + name + " 192.0.2.1 192.0.2.2")
			has("192.0.2.2")
			s.expect(t, name, dns.TypeA, "192.0.2.2")
			mustStep("delete " + name + " 192.0.2.2")
			s.expect(t, name, dns.TypeA)
			s.expect(t, "a-"+name, dns.TypeTXT)

			other := "web." + map[string]string{"apps.example.test": "apps2.example.test", "apps2.example.test": "apps.example.test"}[way.domain]
			said, err := shell(t, client, fmt.Sprintf("%s external-dns @%s --domain-filter=example.test -- create %s 192.0.2.3", binary, way.arguments, other))
			if err == nil || !strings.Contains(err.Error(), "REFUSED") {
				t.Errorf("%s may be changed: %s, %v", other, said, err)
			}
			s.expect(t, other, dns.TypeA)
		})
	}

	t.Run("by TLS", func(t *testing.T) {
		tested.Path(t, externalDNS, "by a shared key over TLS: create, list by AXFR")
		if _, err := shell(t, s.ns, `cd /etc/coredns
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ns1.key -out ns1.crt -subj /CN=ns1 -addext subjectAltName=DNS:ns1.example.test
sed -i 's|^example.test {|example.test tls://example.test {\n    tls /etc/coredns/ns1.crt /etc/coredns/ns1.key|' Corefile
kill -USR1 $(pidof coredns)
until ss -Hltn sport = 853 | grep -q .; do sleep 0.05; done`); err != nil {
			t.Fatal(err)
		}
		certificate, err := s.ns.ReadFile("/etc/coredns/ns1.crt")
		if err != nil {
			t.Fatal(err)
		}
		if err := client.WriteFile("/etc/external-dns/ca.crt", certificate, 0o644); err != nil {
			t.Fatal(err)
		}
		said, err := shell(t, client, fmt.Sprintf(`cd /etc/external-dns
grep -v -e --rfc2136-host= -e --rfc2136-port= key >>tls
%[1]s external-dns @tls -- create tls.apps2.example.test 192.0.2.4
%[1]s external-dns @tls -- list tls.apps2.example.test`, binary))
		if err != nil || !strings.Contains(said, "\ntls.apps2.example.test A 192.0.2.4\n") {
			t.Errorf("%v\n%s", err, said)
		}
		s.expect(t, "tls.apps2.example.test", dns.TypeA, "192.0.2.4")
	})

	t.Run("Ansible again", func(t *testing.T) {
		tested.Path(t, ansible, "community.general.nsupdate: no change where there is none, change of address and time to live, refused type")
		const task = `ansible localhost -c local -m community.general.nsupdate -a '{"server": "10.78.0.53", "zone": "example.test", ` +
			`"key_name": "ansible-key.", "key_secret": "mQw0VOQYl0WnmbfOdiQjoy7pPHB5mLtZ7tBSTjmoMSg=", "key_algorithm": "hmac-sha256", %s}'`
		for _, row := range []struct{ args, want string }{
			{`"record": "web", "ttl": 300, "value": ["10.78.0.20", "10.78.0.21"]`, `"changed": false`},
			{`"record": "web", "ttl": 300, "value": ["10.78.0.22"]`, `"changed": true`},
			{`"record": "web", "ttl": 600, "value": ["10.78.0.22"], "protocol": "udp"`, `"changed": true`},
			{`"record": "web", "type": "MX", "value": ["10 mail.example.test."]`, `"dns_rc_str": "REFUSED"`},
		} {
			said, err := shell(t, client, fmt.Sprintf(task, row.args))
			if refused := strings.Contains(row.want, "REFUSED"); !strings.Contains(said, row.want) || (err != nil) != refused {
				t.Errorf("%s: %v, not %s:\n%s", row.args, err, row.want, said)
			}
		}
		s.expect(t, "web.example.test", dns.TypeA, "10.78.0.22")
	})
}

const acmePort = "14000"

// startACME runs an ACME server on the KDC's machine, which asks ns1. It returns the URL of its directory.
func (s *site) startACME(t *testing.T) (directory string) {
	t.Helper()
	ctx := testContext(t)
	// Nobody looks at the certificate of its own.
	if _, err := shell(t, s.kdc, "mkdir -p /run/acme; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7 "+
		"-subj /CN="+s.kdc.Host()+" -keyout /run/acme/key.pem -out /run/acme/cert.pem"); err != nil {
		t.Fatal(err)
	}
	const conf = "/run/acme/config.json"
	address := addresses(kdcOctet)[0].Addr().String()
	if err := s.kdc.WriteFile(conf, fmt.Sprintf(`{"pebble": {"listenAddress": "%s:%s", "certificate": "/run/acme/cert.pem",
		"privateKey": "/run/acme/key.pem", "httpPort": 80, "tlsPort": 443, "retryAfter": {"authz": 1, "order": 1},
		"profiles": {"default": {"description": "default", "validityPeriod": 86400}}}}`, address, acmePort), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := s.kdc.Command(context.WithoutCancel(ctx), built(t, acmeServer), "-config", conf, "-dnsserver", nsAddress.String())
	cmd.Env = append(cmd.Env, "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	if err := s.startServer(ctx, cmd, acmePort); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("https://%s:%s/dir", address, acmePort)
}

// TestACME does what docs/acme.md says: certbot and lego get certificates from an ACME server that asks ns1 for the records, and
// cert-manager presents answers to challenges. None of them does so for a name that is not its own.
func TestACME(t *testing.T) {
	t.Parallel()
	binary := built(t, dnsClients)
	s := newSite(t, "kdc1")
	client := s.add(t, "client1", 101)
	directory := s.startACME(t)
	if err := client.WriteFile("/etc/krb5.conf", s.krb5Conf(), 0o644); err != nil {
		t.Fatal(err)
	}
	s.enrol(t, client)
	// Which ACME server it is, and that its certificate proves nothing.
	if err := client.WriteFile("/etc/letsencrypt/cli.ini", "server = "+directory+"\nno-verify-ssl = True\n", 0o644); err != nil {
		t.Fatal(err)
	}
	tested.Path(t, certbot, "dns-rfc2136 with a shared key: a certificate from an ACME server, as docs/acme.md says")
	s.follow(t, "acme.md", client)
	if text, err := client.ReadFile("/etc/letsencrypt/live/www.example.test/fullchain.pem"); err != nil || !strings.Contains(text, "BEGIN CERTIFICATE") {
		t.Errorf("certbot has no certificate: %q, %v", text, err)
	}
	s.expect(t, "_acme-challenge.www.example.test", dns.TypeTXT)

	t.Run("another's name", func(t *testing.T) {
		tested.Path(t, certbot, "dns-rfc2136: refused another's name")
		_, err := shell(t, client, "certbot certonly --non-interactive --agree-tos --register-unsafely-without-email --dns-rfc2136 "+
			"--dns-rfc2136-credentials /etc/letsencrypt/rfc2136.ini --dns-rfc2136-propagation-seconds 0 -d client1.example.test")
		if err == nil || !strings.Contains(err.Error(), "Received response from server: REFUSED") {
			t.Errorf("certbot: %v", err)
		}
	})
	t.Run("cert-manager", func(t *testing.T) {
		const own, issuer, overTCP = "_acme-challenge.www.example.test", "/etc/cert-manager/issuer.yaml", "/run/issuer-tcp.yaml"
		text, err := client.ReadFile(issuer)
		if err == nil {
			err = client.WriteFile(overTCP, strings.Replace(text, "tsigKeyName", "protocol: TCP\n            tsigKeyName", 1), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		solve := func(issuer, secret, domain, value, do string) error {
			_, err := shell(t, client, fmt.Sprintf("%s cert-manager %s %s %s %s %s", binary, issuer, secret, domain, value, do))
			return err
		}
		const secret = "i9M+00yrECfVZG2qCjr4mPpaGim/Bq+IWMiNrLjUO4Y="
		tested.Path(t, certManager, "solver rfc2136 with a shared key, by UDP and TCP, finding name and zone by itself: present two answers, clean up, as docs/acme.md says")
		for _, file := range []string{issuer, overTCP} {
			for _, do := range []string{"present", "clean"} {
				for _, value := range []string{"one", "two"} { // a name and its wildcard have two challenges at a time
					if err := solve(file, secret, "www.example.test", value, do); err != nil {
						t.Errorf("%s, %s %s: %v", file, do, value, err)
					}
				}
				want := []string(nil)
				if do == "present" {
					want = []string{`"one"`, `"two"`}
				}
				s.expect(t, own, dns.TypeTXT, want...)
			}
		}
		tested.Path(t, certManager, "solver rfc2136: refused another's name, and with another secret")
		for _, refused := range []struct{ domain, secret, says string }{
			{"client1.example.test", secret, "Server replied: REFUSED"},
			{"www.example.test", "AAAA" + secret[4:], "bad authentication"},
		} {
			if err := solve(issuer, refused.secret, refused.domain, "x", "present"); err == nil || !strings.Contains(err.Error(), refused.says) {
				t.Errorf("%s: %v", refused.domain, err)
			}
			s.expect(t, "_acme-challenge."+refused.domain, dns.TypeTXT)
		}
	})
	for _, way := range []struct{ name, environment, own, another string }{
		{"a machine's keytab", "/etc/lego/dns.env", "client1.example.test", "www.example.test"},
		{"a shared key", "/etc/lego/key.env", "www.example.test", "client1.example.test"},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			obtain := func(domain string) (string, error) {
				return shell(t, client, fmt.Sprintf("set -a; . %s; exec %s lego %s %s", way.environment, binary, directory, domain))
			}
			tested.Path(t, lego, "dnsupdate by "+way.name+": a certificate from an ACME server, refused another's name")
			if said, err := obtain(way.own); err != nil || !strings.Contains(said, "BEGIN CERTIFICATE") {
				t.Errorf("lego has no certificate: %s, %v", said, err)
			}
			s.expect(t, "_acme-challenge."+way.own, dns.TypeTXT)
			if said, err := obtain(way.another); err == nil || !strings.Contains(err.Error(), "REFUSED") {
				t.Errorf("lego got another's: %s, %v", said, err)
			}
		})
	}
}
