package gsstsigtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// Config describes what is started. The zero value is a good one.
type Config struct {
	Realm   string      // of Kerberos; default EXAMPLE.TEST
	Zone    string      // that takes updates; default example.test
	Host    string      // of the server: the zone's primary, with the principal DNS/Host; default ns1 in the zone
	Clients []string    // principals without realm; default host/client in the zone
	Mode    policy.Mode // which updates are taken; default policy.Secure
}

func (c Config) orDefaults() Config {
	if c.Realm == "" {
		c.Realm = "EXAMPLE.TEST"
	}
	if c.Zone == "" {
		c.Zone = "example.test"
	}
	c.Zone = dns.CanonicalName(c.Zone)
	if c.Host == "" {
		c.Host = "ns1." + c.Zone
	}
	c.Host = dns.CanonicalName(c.Host)
	if len(c.Clients) == 0 {
		c.Clients = []string{"host/client." + trimmed(c.Zone)}
	}
	return c
}

// trimmed is a name as Kerberos writes hosts, without the dot at its end.
func trimmed(name string) string { return name[:len(name)-1] }

// Kit is a running realm and server. Its methods are safe for concurrent use.
type Kit struct {
	config Config
	realm  *realm.Realm
	server *server
}

// Start starts realm and server. They end with the context, or by [Kit.Stop].
func Start(ctx context.Context, config Config) (*Kit, error) {
	k := &Kit{config: config.orDefaults()}
	if err := k.start(ctx); err != nil {
		k.Stop()
		return nil, fmt.Errorf("gsstsigtest: %w", err)
	}
	context.AfterFunc(ctx, k.Stop)
	return k, nil
}

// New is Start for a test, or a benchmark: it ends when that does, and an error
// ends it at once.
func New(t testing.TB, config Config) *Kit {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	k, err := Start(ctx, config)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		k.Stop()
	})
	return k
}

func (k *Kit) start(ctx context.Context) (err error) {
	k.realm, err = realm.Start(ctx, realm.Config{Name: k.config.Realm, Domains: []string{trimmed(k.config.Zone)}})
	if err != nil {
		return err
	}
	service := "DNS/" + trimmed(k.config.Host)
	for _, principal := range append([]string{service}, k.config.Clients...) {
		if err := k.realm.AddPrincipal(principal); err != nil {
			return err
		}
	}
	keytab, err := k.realm.Keytab("dns.keytab", service)
	if err != nil {
		return err
	}
	k.server, err = startServer(k.config, keytab)
	return err
}

// Stop ends server and realm and removes what they wrote. It may be called more
// than once.
func (k *Kit) Stop() {
	if k.server != nil {
		k.server.stop()
	}
	if k.realm != nil {
		k.realm.Stop()
	}
}

// Address is where the server answers, by UDP and TCP.
func (k *Kit) Address() netip.AddrPort { return k.server.address }

// Zone is the zone's name, in lower case and absolute.
func (k *Kit) Zone() string { return k.config.Zone }

// Service is the server's principal, without realm.
func (k *Kit) Service() string { return "DNS/" + trimmed(k.config.Host) }

// Clients are the principals that may get tickets, without realm.
func (k *Kit) Clients() []string { return append([]string(nil), k.config.Clients...) }

// Krb5Config returns the path of a krb5.conf for clients, for KRB5_CONFIG.
func (k *Kit) Krb5Config() (string, error) { return k.realm.Config() }

// Keytab returns the path of a keytab with a client's keys.
func (k *Kit) Keytab(principal string) (string, error) {
	if principal == k.Service() {
		return "", errors.New("gsstsigtest: the server's key is the server's")
	}
	return k.realm.Keytab(fileName(principal)+".keytab", principal)
}

// CCache returns the path of a new credential cache with a client's
// ticket-granting ticket, for KRB5CCNAME.
func (k *Kit) CCache(principal string) (string, error) { return k.realm.CCache(principal) }

// Env returns this process's environment for a program that is to act as a
// client: with KRB5_CONFIG, and KRB5CCNAME of a new cache.
func (k *Kit) Env(principal string) ([]string, error) {
	cache, err := k.CCache(principal)
	if err != nil {
		return nil, err
	}
	return k.realm.Env(cache)
}

// Records returns what the zone has at a name, of one type; none if there is
// nothing. No wildcard or alias is followed.
func (k *Kit) Records(name string, rrtype uint16) []dns.RR {
	return k.server.zone.Snapshot().RRset(dns.Fqdn(name), rrtype)
}

// Owner returns the owner of a name: a principal with its realm, "" if the name
// has no owner.
func (k *Kit) Owner(name string) string {
	own, _ := k.server.zone.Snapshot().Owner(dns.Fqdn(name))
	return own.Principal
}

// fileName makes one of a principal.
func fileName(principal string) string {
	return strings.NewReplacer("/", "_", "\\", "_").Replace(principal)
}
