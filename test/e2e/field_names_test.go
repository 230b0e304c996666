//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// TestNamesOfOtherRealms: a principal of another realm is never taken for the one of the same name at home, whatever the rule,
// also if the realms differ in their case alone.
func TestNamesOfOtherRealms(t *testing.T) {
	t.Parallel()
	all := startRealms(t, realm.Config{Name: "HOME.TEST"}, realm.Config{Name: "ABROAD.TEST"}, realm.Config{Name: "home.test", Domains: []string{"lower.test"}})
	home, abroad, lower := all[0], all[1], all[2]
	names := []string{"host/same.home.test", "host/late1.home.test", "host/late2.home.test", "PC7$", "admin", "host/named.home.test"}
	for _, r := range all {
		for _, name := range names {
			if err := r.AddPrincipal(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(home.AddPrincipal("DNS/ns.home.test"), abroad.Meet(home), lower.Meet(home), realm.Trust(abroad, home), realm.Trust(lower, home)); err != nil {
		t.Fatal(err)
	}
	keytab := keytabOf(t, home, "DNS/ns.home.test")
	const everyone = "realm HOME.TEST ABROAD.TEST home.test"
	servers := map[string]*server.Server{
		"owner": startCoreDNS(t, server.Config{Corefile: block("home.test", keytab, everyone), Probe: "home.test"}),
		"rules": startCoreDNS(t, server.Config{Corefile: block("home.test", keytab, everyone,
			"deny admin@ABROAD.TEST name denied.home.test ANY",
			"grant HOME.TEST krb5-self . A",
			"grant HOME.TEST ms-self . A",
			"grant admin@HOME.TEST zonesub ANY",
			"grant *.home.test@HOME.TEST name pattern.home.test A",
			"grant *.home.test name realms.home.test A",
			"grant HOME.TEST krb5-subdomain machines.home.test A",
		), Probe: "home.test"}),
	}
	contexts := make(map[string]*gssclient.Client)
	address := 0
	try := func(what string, who *realm.Realm, principal, name string, rcode int) {
		t.Helper()
		id := what + principal + "@" + who.Name()
		if contexts[id] == nil {
			contexts[id] = negotiated(t, logInTo(t, who, principal), gssclient.Config{Server: servers[what].Address, Service: "DNS/ns.home.test@HOME.TEST"}, "tcp")
		}
		address++ // or the update would change nothing, which everybody may
		reply, err := contexts[id].Exchange("tcp", add(t, "home.test", fmt.Sprintf("%s.home.test. 300 A 192.0.2.%d", name, address)), gssclient.Misbehaviour{})
		if err != nil || reply.Message.Rcode != rcode || reply.MIC != gssclient.MICOK {
			t.Errorf("%s: %s@%s, %s: %s, want %s; %v", what, principal, who.Name(), name, dns.RcodeToString[reply.Message.Rcode], dns.RcodeToString[rcode], err)
		}
	}
	const ok, refused = dns.RcodeSuccess, dns.RcodeRefused
	try("owner", home, "host/same.home.test", "same", ok)
	try("owner", home, "PC7$", "pc7", ok)
	try("owner", home, "admin", "thing", ok)
	// Who comes first has a name that is free, until the machine of that name takes it back. Where two realms have the domain,
	// none takes from the other.
	try("owner", abroad, "host/late1.home.test", "late1", ok)
	try("owner", home, "host/late1.home.test", "late1", ok)
	try("owner", abroad, "host/late1.home.test", "late1", refused)
	try("owner", lower, "host/late2.home.test", "late2", ok)
	try("owner", home, "host/late2.home.test", "late2", refused)
	for i, r := range []*realm.Realm{abroad, lower} {
		try("owner", r, "host/same.home.test", "same", refused)
		try("owner", r, "host/same.home.test", "below.same", refused)
		try("owner", r, "PC7$", "pc7", refused)
		try("owner", r, "admin", "thing", refused)
		theirs := fmt.Sprint("theirs", i)
		try("owner", r, "admin", theirs, ok)
		try("owner", home, "admin", theirs, refused)

		try("rules", r, "host/same.home.test", "same", refused)
		try("rules", r, "PC7$", "pc7", refused)
		try("rules", r, "admin", "any", refused)
		try("rules", r, "admin", "denied", refused)
		try("rules", r, "host/named.home.test", "pattern", refused)
		try("rules", r, "host/named.home.test", "x.machines", refused)
	}
	try("rules", home, "host/same.home.test", "same", ok)
	try("rules", home, "PC7$", "pc7", ok)
	try("rules", home, "admin", "any", ok)
	try("rules", home, "admin", "denied", ok)
	try("rules", home, "host/named.home.test", "pattern", ok)
	try("rules", home, "host/named.home.test", "x.machines", ok)
	// Of a pattern without realm BIND takes the realm for a name; ABROAD.TEST is not below home.test.
	try("rules", abroad, "host/named.home.test", "realms", refused)
}
