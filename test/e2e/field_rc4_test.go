//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// TestRC4 has a domain of old: keys of services and sessions of RC4, which the server takes only where it is told to, and
// leads to AES those who know it.
func TestRC4(t *testing.T) {
	t.Parallel()
	every := append(slices.Clone(realm.AES), realm.RC4) // in the order that clients prefer
	r := startRealm(t, realm.Config{Name: "OLD.TEST", Enctypes: every}, "host/a.old.test")
	type target struct {
		key, session realm.Enctype // of the service and, as its KDC decides, of the session
	}
	hostOf := func(s target) string { return fmt.Sprintf("ns%d-%d.old.test", s.key, s.session) }
	var services []string
	targets := []target{{realm.RC4, realm.RC4}, {realm.RC4, realm.AES256SHA1}, {realm.AES256SHA1, realm.RC4}, {realm.AES256SHA1, realm.AES256SHA1}}
	for _, s := range targets {
		name := "DNS/" + hostOf(s)
		if err := errors.Join(r.AddPrincipal(name, s.key), r.SessionTypes(name, s.session)); err != nil {
			t.Fatal(err)
		}
		services = append(services, name)
	}
	keytab := keytabOf(t, r, services...)
	on := startCoreDNS(t, server.Config{Corefile: block("old.test", keytab, "allow_rc4"), Probe: "old.test"})
	off := startCoreDNS(t, server.Config{Corefile: block("old.test", keytab), Probe: "old.test"})
	narrow := startCoreDNS(t, server.Config{
		Corefile: block("old.test", keytab, "enctypes aes128-cts-hmac-sha1-96"), Probe: "old.test",
	})
	modern := logInTo(t, r, "host/a.old.test", every...)
	ancient := logInTo(t, r, "host/a.old.test", realm.RC4)
	for _, s := range targets {
		t.Run(fmt.Sprintf("key=%d/session=%d", s.key, s.session), func(t *testing.T) {
			t.Parallel()
			service := "DNS/" + hostOf(s) + "@OLD.TEST"
			ticket, err := r.Ticket(modern.cache, "DNS/"+hostOf(s), every...)
			if err != nil {
				t.Fatal(err)
			}
			if ticket.Session != s.session || ticket.Key != s.key {
				t.Fatalf("the KDC issued %+v", ticket)
			}
			for _, mechanism := range []string{gssclient.SPNEGO, gssclient.Kerberos} {
				for _, network := range []string{"udp", "tcp"} {
					signsWith(t, on, modern, service, mechanism, network, realm.AES256SHA1)
				}
			}
			if s.session == realm.RC4 {
				for _, network := range []string{"udp", "tcp"} {
					signsWith(t, on, ancient, service, gssclient.Kerberos, network, realm.RC4)
					signsWith(t, on, ancient, service, gssclient.SPNEGO, network, realm.RC4)
				}
				name := fmt.Sprintf("nsupdate%d.old.test", s.key)
				outcome := nsupdate(testContext(t), t, on.Address, "-g", ancient.env, "update add "+name+" 300 A 192.0.2.1")
				// nsupdate asks for the service that the zone's SOA names, whichever that is here.
				if outcome.Rcode != "NOERROR" || !outcome.Signed {
					t.Errorf("rcode %q, signed %v:\n%s", outcome.Rcode, outcome.Signed, outcome.Output)
				}
			}
			switch {
			case s.key == realm.RC4:
				refusedHandshake(t, off.Address, modern, service, "")
				awaitLine(t, off.Log(), 0, "the ticket for "+service+" is encrypted in arcfour-hmac", "or allow RC4")
			case s.session == realm.RC4:
				refusedHandshake(t, off.Address, modern, service, "")
				awaitLine(t, off.Log(), 0, service, "the session key is of type arcfour-hmac", "or allow RC4")
			default:
				signsWith(t, off, modern, service, gssclient.SPNEGO, "udp", realm.AES256SHA1)
			}
			refusedHandshake(t, narrow.Address, modern, service, "")
		})
	}
}

// signsWith has a client make a context, whose signatures must be made with a key of the given type, and use it.
func signsWith(t *testing.T, s *server.Server, who login, service, mechanism, network string, key realm.Enctype) {
	t.Helper()
	c := startClient(t, who, gssclient.Config{Server: s.Address, Service: service, Mechanism: mechanism})
	handshake, err := c.Negotiate(network)
	if err != nil {
		t.Fatal(err)
	}
	if !handshake.Established || handshake.MIC != gssclient.MICOK || handshake.KeyType != int32(key) {
		t.Errorf("%s over %s: %+v, want a key of %v", mechanism, network, handshake, key)
		return
	}
	name := fmt.Sprintf("a-%s-%s-%d", mechanism, network, key)
	for i := range 3 {
		update(t, c, network, "old.test", fmt.Sprintf("%s.old.test. 300 A 192.0.2.%d", name, i))
	}
}
