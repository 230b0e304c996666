package gsstsig

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

const domainSID = "S-1-5-21-1-2-3-"

// forgetAccounts ends what the process has learnt of realms, now and after the test.
func forgetAccounts(t *testing.T) {
	t.Helper()
	forget := func() {
		current.accounts.mu.Lock()
		defer current.accounts.mu.Unlock()
		clear(current.accounts.realms)
	}
	forget()
	t.Cleanup(forget)
}

// account makes a context for an account that logged on by a name. The RID makes its SID.
func (s *coredns) account(name, account string, rid int) *client.Context {
	s.t.Helper()
	return s.accountOf(domainSID, name, account, rid)
}

// accountOf makes a context for an account and groups of the domain with that SID.
func (s *coredns) accountOf(domain, name, account string, rid int, groups ...uint32) *client.Context {
	s.t.Helper()
	ticket, key := s.realm.AccountTicket(name, "DNS/ns1.example.test", 18, time.Hour, krb5.Account{Name: account, SID: fmt.Sprint(domain, rid)}, groups...)
	c, err := s.negotiate(name, ticket, key)
	if err != nil {
		s.t.Fatalf("negotiating as %s: %v", name, err)
	}
	return c
}

// TestAccountOfTheTicket: the account in the PAC reaches the policy, and the log.
func TestAccountOfTheTicket(t *testing.T) {
	forgetAccounts(t)
	corefile := strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nreclaim always", 1)
	s := start(t, corefile)
	add := func(n int) *dns.Msg {
		return message(t, "example.test.", "-client1.example.test. A", fmt.Sprintf("+client1.example.test. 300 A 192.0.2.%d", n))
	}
	// Of a realm of which nothing is known yet, the name has to do.
	early := s.context("host/client1.example.test")
	want(t, "first without PAC", s.signed(early, add(1)), dns.RcodeSuccess)

	want(t, "the machine", s.signed(s.account("CLIENT1$", "CLIENT1$", 1104), add(2)), dns.RcodeSuccess)
	want(t, "a user with the machine's name", s.signed(s.account("host/client1.example.test", "alice", 1103), add(3)), dns.RcodeRefused)
	if lines := logged.lines("rcode=REFUSED", `identity="host/client1.example.test@EXAMPLE.TEST (account alice)"`, "belongs to CLIENT1$@EXAMPLE.TEST "+domainSID+"1104"); len(lines) == 0 {
		t.Error("the log does not name the account")
	}
	// From now on the realm's machines are known to come with PACs.
	want(t, "without PAC", s.signed(early, add(4)), dns.RcodeRefused)
	if err := s.reload(corefile); err != nil {
		t.Fatal(err)
	}
	want(t, "without PAC after a reload", s.signed(early, add(5)), dns.RcodeRefused)
	want(t, "the renamed machine", s.signed(s.account("CLIENT9$", "CLIENT9$", 1104), add(6)), dns.RcodeSuccess)
}

// TestUsersWithPACsAloneTellNothingOfMachines: so it is in FreeIPA.
func TestUsersWithPACsAloneTellNothingOfMachines(t *testing.T) {
	forgetAccounts(t)
	s := start(t, smallCorefile)
	add := message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")
	want(t, "a user", s.signed(s.account("admin", "admin", 500+1000), add), dns.RcodeSuccess)
	want(t, "the machine", s.signed(s.context("host/client1.example.test"), message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)
}

// TestSIDsOfAnotherDomain: accounts and groups of another domain are not those with the same RIDs here.
func TestSIDsOfAnotherDomain(t *testing.T) {
	forgetAccounts(t)
	const foreign = "S-1-5-21-9-8-7-"
	s := start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\ngrant sid:"+domainSID+"1200 zonesub ANY\n"+
		"deny sid:"+domainSID+"1201 name denied.example.test ANY\ngrant EXAMPLE.TEST owner .", 1))
	add := func(name string, n int) *dns.Msg {
		return message(t, "example.test.", "-"+name+".example.test. A", fmt.Sprintf("+%s.example.test. 300 A 192.0.2.%d", name, n))
	}
	want(t, "the owner", s.signed(s.account("alice", "alice", 1103), add("desk", 1)), dns.RcodeSuccess)
	want(t, "the same name and RID", s.signed(s.accountOf(foreign, "alice", "alice", 1103), add("desk", 2)), dns.RcodeRefused)
	want(t, "member", s.signed(s.accountOf(domainSID, "carol", "carol", 1104, 1200), add("wpad", 3)), dns.RcodeSuccess)
	want(t, "member of another group", s.signed(s.accountOf(foreign, "carol", "carol", 1104, 1200), add("wpad", 4)), dns.RcodeRefused)
	want(t, "denied", s.signed(s.accountOf(domainSID, "dave", "dave", 1105, 1201), add("denied", 4)), dns.RcodeRefused)
	want(t, "not denied", s.signed(s.accountOf(foreign, "erin", "erin", 1106, 1201), add("denied", 5)), dns.RcodeSuccess)
}

func TestRequirePAC(t *testing.T) {
	with := func(line string) string {
		return strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n"+line, 1)
	}
	forgetAccounts(t)
	s := start(t, smallCorefile)
	without, machine := s.context("CLIENT1$"), s.account("CLIENT1$", "CLIENT1$", 1104)
	for _, line := range []string{"require_pac", "require_pac EXAMPLE.TEST"} {
		if err := s.reload(with(line)); err != nil {
			t.Fatal(err)
		}
		update := message(t, "example.test.", "+x.example.test. 300 A 192.0.2.1")
		if _, err := without.Update(t.Context(), update); err == nil {
			t.Errorf("%s: an earlier context is good for an update", line)
		}
		want(t, line+": with PAC", s.signed(machine, update), dns.RcodeSuccess)
		ticket, key := s.realm.Ticket("CLIENT1$", "DNS/ns1.example.test", 18, time.Hour)
		if _, err := s.negotiate("CLIENT1$", ticket, key); err == nil {
			t.Errorf("%s: a ticket without PAC is accepted", line)
		}
	}
	if lines := logged.lines("handshake result=badkey", "has no PAC"); len(lines) == 0 {
		t.Error("the log does not say why")
	}
	if err := s.reload(with("require_pac OTHER.TEST")); err == nil || !strings.Contains(err.Error(), "require_pac: clients of the realm OTHER.TEST are not accepted") {
		t.Errorf("a realm whose clients are not accepted: %v", err)
	}
	if err := s.reload(with("require_pac\nrequire_pac EXAMPLE.TEST")); err == nil {
		t.Error("require_pac is taken twice")
	}
}
