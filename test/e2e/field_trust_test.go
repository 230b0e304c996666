//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// startRealms starts several realms at once.
func startRealms(t *testing.T, configs ...realm.Config) []*realm.Realm {
	t.Helper()
	realms := make([]*realm.Realm, len(configs))
	errs := make([]error, len(configs))
	var all sync.WaitGroup
	for i, config := range configs {
		all.Go(func() { realms[i], errs[i] = realm.Start(shared.ctx, config) })
	}
	all.Wait()
	for _, r := range realms {
		if r != nil {
			t.Cleanup(r.Stop)
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return realms
}

// trusted are realms with a name server each. Clients come
//
//	from EAST.CORP.TEST by CORP.TEST to WEST.CORP.TEST: the hierarchy,
//	from PARTNER.TEST by HUB.TEST to WEST.CORP.TEST: what [capaths] of clients and of WEST's KDC allows,
//	from EVIL.TEST by HUB.TEST to WEST.CORP.TEST: what only the clients think is allowed,
//	from PARTNER.TEST straight to CORP.TEST,
//
// and not in the other direction: every trust is one-way.
type trusted struct {
	east, corp, west, hub, partner, evil *realm.Realm
}

const (
	capathsPartner = "PARTNER.TEST = {\n    WEST.CORP.TEST = HUB.TEST\n}"
	capathsEvil    = "EVIL.TEST = {\n    WEST.CORP.TEST = HUB.TEST\n}"
)

func startTrusted(t *testing.T) trusted {
	t.Helper()
	all := startRealms(t,
		realm.Config{Name: "EAST.CORP.TEST"},
		realm.Config{Name: "CORP.TEST"},
		// Its KDC lets those pass that it does not find allowed: the server is the last to look.
		realm.Config{Name: "WEST.CORP.TEST", Capaths: capathsPartner, BadTransit: true},
		realm.Config{Name: "HUB.TEST"},
		realm.Config{Name: "PARTNER.TEST", Capaths: capathsPartner},
		realm.Config{Name: "EVIL.TEST", Capaths: capathsEvil},
	)
	w := trusted{all[0], all[1], all[2], all[3], all[4], all[5]}
	for _, r := range all {
		others := make([]*realm.Realm, 0, len(all))
		for _, other := range all {
			if other != r {
				others = append(others, other)
			}
		}
		if err := errors.Join(r.Meet(others...), r.AddPrincipal("DNS/"+hostOf(r)), r.AddPrincipal("host/a."+domainOf(r)), r.AddPrincipal("PC7$")); err != nil {
			t.Fatal(err)
		}
	}
	for _, trust := range [][2]*realm.Realm{{w.east, w.corp}, {w.corp, w.west}, {w.partner, w.corp}, {w.partner, w.hub}, {w.evil, w.hub}, {w.hub, w.west}} {
		if err := realm.Trust(trust[0], trust[1]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func domainOf(r *realm.Realm) string { return strings.ToLower(r.Name()) }
func hostOf(r *realm.Realm) string   { return "ns." + domainOf(r) }

// serviceOf is the principal of a realm's name server.
func serviceOf(r *realm.Realm) string { return "DNS/" + hostOf(r) + "@" + r.Name() }

// zoneOf is a server block for a realm's zone.
func zoneOf(t *testing.T, r *realm.Realm, lines ...string) server.Config {
	t.Helper()
	return server.Config{Corefile: block(domainOf(r), keytabOf(t, r, "DNS/"+hostOf(r)), lines...), Probe: domainOf(r)}
}

// updateIn runs nsupdate, which takes the service to be in the client's realm unless told otherwise.
func updateIn(t *testing.T, s *server.Server, who login, service *realm.Realm, command string) dnsutils.Outcome {
	t.Helper()
	commands := []string{command}
	if service != nil {
		commands = append([]string{"realm " + service.Name()}, command)
	}
	return nsupdate(testContext(t), t, s.Address, "-g", who.env, commands...)
}

// registered has nsupdate register a name with a service of a realm.
func registered(t *testing.T, s *server.Server, who login, service *realm.Realm, zone, name string) {
	t.Helper()
	outcome := updateIn(t, s, who, service, "update add "+name+"."+zone+" 300 A 192.0.2.7")
	if outcome.Rcode != "NOERROR" || !outcome.Signed {
		t.Errorf("%s: rcode %q, signed %v:\n%s", who.principal, outcome.Rcode, outcome.Signed, outcome.Output)
	}
	expect(t, s.Address, name+"."+zone, dns.TypeA, "192.0.2.7")
}

// everyRealm lets the clients of all of them in.
const everyRealm = "realm EAST.CORP.TEST CORP.TEST WEST.CORP.TEST HUB.TEST PARTNER.TEST EVIL.TEST"

// TestTrusts has clients update in realms that trust theirs, straight and through a realm between them.
func TestTrusts(t *testing.T) {
	t.Parallel()
	w := startTrusted(t)
	logins := make(map[*realm.Realm]login)
	for _, r := range []*realm.Realm{w.east, w.corp, w.west, w.hub, w.partner, w.evil} {
		logins[r] = logInTo(t, r, "host/a."+domainOf(r))
	}

	t.Run("one way in", func(t *testing.T) {
		t.Parallel()
		s := startCoreDNS(t, zoneOf(t, w.corp))
		registered(t, s, logins[w.corp], w.corp, "corp.test", "own")
		// The trust lets it have a ticket. Whether it may come is for the server to say.
		refusedHandshake(t, s.Address, logins[w.partner], serviceOf(w.corp), "")
		awaitLine(t, s.Log(), 0, "result=badkey", "clients of the realm PARTNER.TEST are not accepted: host/a.partner.test@PARTNER.TEST")
		if err := s.Reload(testContext(t), zoneOf(t, w.corp, "realm CORP.TEST PARTNER.TEST").Corefile); err != nil {
			t.Fatal(err)
		}
		registered(t, s, logins[w.partner], w.corp, "corp.test", "partner")
		// A machine account of a trusted domain is the machine of that name no less.
		registered(t, s, logInTo(t, w.partner, "PC7$"), w.corp, "corp.test", "pc7")
		refusedHandshake(t, s.Address, logins[w.east], serviceOf(w.corp), "")
		// Names of one realm say nothing in another.
		mine := negotiated(t, logInTo(t, w.corp, "PC7$"), gssclient.Config{Server: s.Address, Service: serviceOf(w.corp)}, "tcp")
		reply, err := mine.Exchange("tcp", add(t, "corp.test", "partner.corp.test. 300 A 192.0.2.8"), gssclient.Misbehaviour{})
		if err != nil || reply.Message.Rcode != dns.RcodeRefused || reply.MIC != gssclient.MICOK {
			t.Errorf("another client's name: %+v, %v", reply, err)
		}
	})

	t.Run("one way out", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct{ from, to *realm.Realm }{{w.corp, w.partner}, {w.west, w.corp}, {w.corp, w.east}} {
			s := startCoreDNS(t, zoneOf(t, c.to, everyRealm))
			outcome := updateIn(t, s, logins[c.from], c.to, "update add a."+domainOf(c.to)+" 300 A 192.0.2.7")
			if outcome.Rcode != "" || !strings.Contains(outcome.Output, "not found in Kerberos database") && !strings.Contains(outcome.Output, "Cannot find KDC") {
				t.Errorf("from %s to %s, rcode %q:\n%s", c.from.Name(), c.to.Name(), outcome.Rcode, outcome.Output)
			}
		}
		s := startCoreDNS(t, zoneOf(t, w.west, "realm CORP.TEST"))
		registered(t, s, logins[w.corp], w.west, "west.corp.test", "straight")
	})

	config, err := w.partner.Config()
	if err != nil {
		t.Fatal(err)
	}
	none := realmFile(t, "krb5.conf", "[capaths]\nEAST.CORP.TEST = {\n    WEST.CORP.TEST = .\n}\n")
	const eastPath = "EAST.CORP.TEST > CORP.TEST > WEST.CORP.TEST, of which CORP.TEST is not trusted"
	const partnerPath = "PARTNER.TEST > HUB.TEST > WEST.CORP.TEST, of which HUB.TEST is not trusted"
	const evilPath = "EVIL.TEST > HUB.TEST > WEST.CORP.TEST, of which HUB.TEST is not trusted"
	for _, test := range []struct {
		name    string
		lines   []string
		allowed []*realm.Realm
		refused map[*realm.Realm]string // and the path that the log names
	}{
		{"hierarchy", nil, []*realm.Realm{w.east}, map[*realm.Realm]string{w.partner: partnerPath, w.evil: evilPath}},
		{"capaths", []string{"krb5conf " + config}, []*realm.Realm{w.east, w.partner}, map[*realm.Realm]string{w.evil: evilPath}},
		{"capaths that take the hierarchy away", []string{"krb5conf " + none}, []*realm.Realm{w.corp},
			map[*realm.Realm]string{w.east: eastPath, w.partner: partnerPath}},
		// Its KDC has not found the last one's way allowed, and says so.
		{"the KDC's word", []string{"transit trust-kdc"}, []*realm.Realm{w.east, w.partner}, map[*realm.Realm]string{w.evil: evilPath}},
		{"the KDC's word, and capaths of no use", []string{"transit trust-kdc", "krb5conf " + none}, []*realm.Realm{w.east, w.partner},
			map[*realm.Realm]string{w.evil: evilPath}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startCoreDNS(t, zoneOf(t, w.west, append(test.lines, everyRealm)...))
			for n, r := range test.allowed {
				registered(t, s, logins[r], w.west, "west.corp.test", fmt.Sprintf("allowed%d", n))
			}
			for r, path := range test.refused {
				refusedHandshake(t, s.Address, logins[r], serviceOf(w.west), "")
				awaitLine(t, s.Log(), 0, "result=badkey", path, "[capaths]")
				outcome := updateIn(t, s, logins[r], w.west, "update add evil.west.corp.test 300 A 192.0.2.7")
				if outcome.Rcode != "" || !strings.Contains(outcome.Output, "TKEY is unacceptable") {
					t.Errorf("%s: rcode %q:\n%s", r.Name(), outcome.Rcode, outcome.Output)
				}
			}
			expect(t, s.Address, "evil.west.corp.test", dns.TypeA)
		})
	}
}

// TestUnrelatedRealms has one block for clients of two realms that know nothing of each other, with a keytab of each.
func TestUnrelatedRealms(t *testing.T) {
	t.Parallel()
	other := startRealm(t, realm.Config{Name: "OTHER.TEST", Domains: []string{"example.test", "other.test"}}, service, host1)
	both := shared.keytab + " " + keytabOf(t, other, service)
	s := startCoreDNS(t, server.Config{
		Corefile: block("example.test", both, "file db example.test"), Files: map[string]string{"db": seed("ns1.example.test")}, Probe: "example.test",
	})
	ours, theirs := logIn(t, host1), logInTo(t, other, host1)
	registered(t, s, ours, nil, "example.test", "ours")
	registered(t, s, theirs, nil, "example.test", "theirs")
	// The same name in another realm is another client.
	for name, who := range map[string]login{"theirs": ours, "ours": theirs} {
		outcome := nsupdate(testContext(t), t, s.Address, "-g", who.env, "update add "+name+".example.test 300 A 192.0.2.99")
		if outcome.Rcode != "REFUSED" || !outcome.Signed {
			t.Errorf("%s: rcode %q, signed %v:\n%s", name, outcome.Rcode, outcome.Signed, outcome.Output)
		}
		expect(t, s.Address, name+".example.test", dns.TypeA, "192.0.2.7")
	}
	// Narrowed to one realm, the other's clients go, with the contexts that they have.
	context := negotiated(t, theirs, gssclient.Config{Server: s.Address, Service: service + "@OTHER.TEST"}, "tcp")
	if err := s.Reload(testContext(t), block("example.test", both, "file db example.test", "realm "+realmName)); err != nil {
		t.Fatal(err)
	}
	reply, err := context.Exchange("udp", add(t, "example.test", "theirs.example.test. 300 A 192.0.2.9"), gssclient.Misbehaviour{})
	if err != nil || reply.Message.Rcode != dns.RcodeNotAuth || reply.TSIGError != dns.RcodeBadKey {
		t.Errorf("a context of a realm that is out: %+v, %v", reply, err)
	}
	refusedHandshake(t, s.Address, theirs, service+"@OTHER.TEST", "")
	registered(t, s, ours, nil, "example.test", "still")
}
