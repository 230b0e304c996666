//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
)

// What Kerberos is like in the field: the tests of keys that change, realms that trust each other, clocks that are off
// and ciphers of old have realms of their own.

// startRealm starts a realm for one test, with the principals given.
func startRealm(t *testing.T, config realm.Config, principals ...string) *realm.Realm {
	t.Helper()
	r, err := realm.Start(shared.ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	for _, name := range principals {
		if err := r.AddPrincipal(name); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// keytabOf is a new keytab with the present keys of a realm's principals.
func keytabOf(t *testing.T, r *realm.Realm, principals ...string) string {
	t.Helper()
	path, err := r.Keytab(filepath.Join(t.TempDir(), "dns.keytab"), principals...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// realmFile writes a file that a Corefile can name.
func realmFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// logInTo is logIn for a realm of the test's own.
func logInTo(t *testing.T, r *realm.Realm, principal string, session ...realm.Enctype) login {
	t.Helper()
	cache, err := r.CCache(principal, session...)
	if err != nil {
		t.Fatal(err)
	}
	env, err := r.Env(cache, session...)
	if err != nil {
		t.Fatal(err)
	}
	return login{principal: principal + "@" + r.Name(), cache: cache, env: env}
}

// update has a context add a record, and fails the test unless that worked.
func update(t *testing.T, c *gssclient.Client, network, zone, record string) {
	t.Helper()
	reply, err := c.Exchange(network, add(t, zone, record), gssclient.Misbehaviour{})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Message.Rcode != dns.RcodeSuccess || reply.MIC != gssclient.MICOK {
		t.Fatalf("%s: %s, TSIG error %d, signature %s", record, dns.RcodeToString[reply.Message.Rcode], reply.TSIGError, reply.MIC)
	}
}

// refusedHandshake has a client ask for a context, and fails the test unless it is told BADKEY and, in a token for its
// Kerberos library, the reason. Empty is any.
func refusedHandshake(t *testing.T, address netip.AddrPort, who login, service, reason string) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		for _, mechanism := range []string{gssclient.SPNEGO, gssclient.Kerberos} {
			config := gssclient.Config{Server: address, Service: service, Mechanism: mechanism}
			handshake, err := startClient(t, who, config).Negotiate(network)
			if err != nil {
				t.Fatal(err)
			}
			if handshake.Established || handshake.Rcode != dns.RcodeSuccess || handshake.Error != dns.RcodeBadKey {
				t.Errorf("%s over %s: %+v", mechanism, network, handshake)
			}
			if handshake.Reason == "" || !strings.Contains(handshake.Reason, reason) {
				t.Errorf("%s over %s: the client's library reads %q, want %q", mechanism, network, handshake.Reason, reason)
			}
		}
	}
}

// awaitLine waits until the server has said a line with all of the parts in it.
func awaitLine(t *testing.T, log *process.Output, from int, parts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(testContext(t), 20*time.Second)
	defer cancel()
	err := log.Wait(ctx, from, func(text string) bool {
		for line := range strings.Lines(text) {
			all := strings.HasSuffix(line, "\n")
			for _, part := range parts {
				all = all && strings.Contains(line, part)
			}
			if all {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Errorf("no line with %s: %v", fmt.Sprintf("%q", parts), err)
	}
}
