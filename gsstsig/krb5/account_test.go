package krb5

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/internal/pac/pactest"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// The account is who was looked up by the name, not the name.
func TestAccountIsThePACs(t *testing.T) {
	key := testServiceKey(18)
	s := pacSpec(key)
	s.UPN = &pactest.UPN{Name: testClient.String(), Domain: testRealm, Account: "alice", SID: testDomain + "-1103"}
	c, _ := accept(t, newTestAcceptor(t), pacToken(key, s.Encode()))
	if got, want := c.Account(), (Account{"alice", testDomain + "-1103"}); got != want || !c.HasPAC() || !c.Peer().Equal(testClient) {
		t.Errorf("account %+v, PAC %v, peer %v", got, c.HasPAC(), c.Peer())
	}
	s.Logon = nil // as MIT Kerberos makes it
	s.UPN = nil
	c, _ = accept(t, newTestAcceptor(t), pacToken(key, s.Encode()))
	if c.Account() != (Account{}) || c.HasPAC() {
		t.Errorf("account %+v, PAC %v without logon information", c.Account(), c.HasPAC())
	}
	c, _ = accept(t, newTestAcceptor(t), requestSpec{}.token())
	if c.Account() != (Account{}) || c.HasPAC() {
		t.Errorf("account %+v, PAC %v without PAC", c.Account(), c.HasPAC())
	}
}

func TestAccountsOfSambaTickets(t *testing.T) {
	for cache, want := range map[string]Account{
		"alice":         {"alice", sambaDomain + "-1107"},
		"client1":       {"CLIENT1$", sambaDomain + "-1103"},
		"administrator": {"Administrator", sambaDomain + "-500"},
	} {
		config, now := recordedTicket(t, "samba/"+cache, "DNS/ns1.corp.test")
		c, _ := handshakeWith(t, recordedAcceptor(t, "samba", now), config)
		if c.Account() != want || !c.HasPAC() {
			t.Errorf("%s: %+v, PAC %v", cache, c.Account(), c.HasPAC())
		}
	}
}

func TestTicketWithoutPACWhereOneIsRequired(t *testing.T) {
	require := func(realms ...string) func(*AcceptorConfig) {
		return func(c *AcceptorConfig) { c.RequirePAC = realms }
	}
	key := testServiceKey(18)
	plain := requestSpec{}.token()
	bare := pacSpec(key)
	bare.Logon = nil
	refuse(t, newTestAcceptor(t, require("OTHER.TEST", testRealm)), plain, ErrNotAccepted, codePolicy)
	refuse(t, newTestAcceptor(t, require(testRealm)), pacToken(key, bare.Encode()), ErrNotAccepted, codePolicy)
	with, _ := accept(t, newTestAcceptor(t, require(testRealm)), pacToken(key, pacSpec(key).Encode()))
	without, _ := accept(t, newTestAcceptor(t, require("OTHER.TEST", strings.ToLower(testRealm))), plain)
	if a := newTestAcceptor(t, require(testRealm)); !a.WouldAccept(with) || a.WouldAccept(without) {
		t.Error("a context from before the requirement is kept or dropped wrongly")
	}
}

// A KDC of another realm does not vouch for clients of a realm whose own
// tickets are taken, unless [capaths] says so.
func TestRealmVouchesForItsOwnClients(t *testing.T) {
	partner := Principal{Components: testService.Components, Realm: "PARTNER.TEST"}
	both := withKeytab(t, keytabSpec{testService, testVersion, testServiceKey(18)}, keytabSpec{partner, testVersion, testServiceKey(18)})
	realms := func(c *AcceptorConfig) { c.Realms = []string{testRealm, "PARTNER.TEST", "FAR.TEST"} }
	of := func(client string) requestSpec {
		return requestSpec{ticketSpec: ticketSpec{service: partner, client: mustPrincipal(client)}}
	}
	victim := of("host/dc1.example.test@" + testRealm)
	refuse(t, newTestAcceptor(t, both, realms), victim.token(), ErrNotAccepted, codePathRefused)
	marked := victim
	marked.flags = []byte{0, 0x40, 0x80 | 0x08, 0, 0} // transited-policy-checked
	refuse(t, newTestAcceptor(t, both, realms, func(c *AcceptorConfig) { c.Transit = &TransitPolicy{TrustKDC: true} }), marked.token(), ErrNotAccepted, codePathRefused)

	accept(t, newTestAcceptor(t, both, realms), of("host/a.partner.test@PARTNER.TEST").token())
	// No key for tickets of the client's own realm: a trust in one direction.
	accept(t, newTestAcceptor(t, both, realms), of("host/a.far.test@FAR.TEST").token())
	// The key is not one that tickets are taken for.
	accept(t, newTestAcceptor(t, both, realms, func(c *AcceptorConfig) { c.Services = []Principal{partner} }), victim.token())
	listed := writeCapaths(t, "[capaths]\n"+testRealm+" = {\n PARTNER.TEST = .\n}\n")
	c, _ := accept(t, newTestAcceptor(t, both, realms, func(c *AcceptorConfig) { c.Transit = listed }), victim.token())
	if newTestAcceptor(t, both, realms).WouldAccept(c) {
		t.Error("a context from before the entry went is kept")
	}
}

// What was recorded before a restart is not good afterwards, where no key of
// this side takes part in the context.
func TestAuthenticatorFromBeforeTheStart(t *testing.T) {
	standard.Requires(t, "RFC 4120", "3.2.3 lost track")
	standard.Deviates(t, "RFC 4120", "3.2.3 lost track", "After a start, handshakes from before it are refused if they are not mutual. With mutual authentication the key is new, so that who repeats the handshake cannot use the context.")
	start := testNow
	started := func(c *AcceptorConfig) { c.Now = func() time.Time { return start } }
	at := func(d time.Duration, checksum []byte) requestSpec {
		return requestSpec{at: start.Add(d), checksum: checksum}
	}
	refuse(t, newTestAcceptor(t, started), at(-time.Microsecond, testNotMutual).token(), ErrReplay, codeRepeat)
	refuse(t, newTestAcceptor(t, started), at(-time.Minute, testNotMutual).token(), ErrReplay, codeRepeat)
	accept(t, newTestAcceptor(t, started), at(0, testNotMutual).token())
	accept(t, newTestAcceptor(t, started), at(-time.Minute, testChecksum).token())

	rc4 := ticketSpec{key: testServiceKey(RC4HMAC), session: testKey(RC4HMAC, "session")}
	old := requestSpec{ticketSpec: rc4, at: start.Add(-time.Minute)}
	refuse(t, newTestAcceptor(t, started, func(c *AcceptorConfig) { c.AllowRC4 = true }), old.token(), ErrReplay, codeRepeat)

	// A cache that outlives the acceptor remembers.
	cache := NewReplayCache(1000)
	keep := func(now time.Time) func(*AcceptorConfig) {
		return func(c *AcceptorConfig) { c.Replays, c.Now = cache, func() time.Time { return now } }
	}
	a := newTestAcceptor(t, keep(start))
	token := at(time.Second, testNotMutual).token()
	accept(t, a, token)
	reloaded := newTestAcceptor(t, keep(start.Add(time.Minute)))
	if _, err := reloaded.NewContext().Accept(token); !errors.Is(err, ErrReplay) {
		t.Errorf("again after a reload: %v", err)
	}
	accept(t, reloaded, at(2*time.Second, testNotMutual).token())
}
