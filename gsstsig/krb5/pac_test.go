package krb5

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/internal/pac/pactest"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

const (
	sambaDomain = "S-1-5-21-3473724696-265585956-788610068"
	testDomain  = "S-1-5-21-1-2-3"
)

// recordedTicket is a ticket out of a credential cache in testdata.
func recordedTicket(t testing.TB, cache, service string) (InitiatorConfig, time.Time) {
	t.Helper()
	c, err := credentials.LoadCCache(filepath.Join("testdata", cache+".ccache"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.GetEntries() {
		if strings.Join(e.Server.PrincipalName.NameString, "/") != service {
			continue
		}
		var ticket messages.Ticket
		if err := ticket.Unmarshal(e.Ticket); err != nil {
			t.Fatal(err)
		}
		now := e.StartTime.Add(time.Minute)
		return InitiatorConfig{
			Ticket:     ticket,
			SessionKey: e.Key,
			Client:     Principal{Components: e.Client.PrincipalName.NameString, Realm: e.Client.Realm},
			Expires:    e.EndTime,
			Mutual:     true,
			Now:        func() time.Time { return now },
		}, now
	}
	t.Fatalf("%s has no ticket for %s", cache, service)
	return InitiatorConfig{}, time.Time{}
}

func recordedAcceptor(t testing.TB, realm string, now time.Time, change ...func(*AcceptorConfig)) *Acceptor {
	t.Helper()
	k, err := OpenKeytabs(filepath.Join("testdata", realm, "dns.keytab"))
	if err != nil {
		t.Fatal(err)
	}
	return newTestAcceptor(t, append([]func(*AcceptorConfig){func(c *AcceptorConfig) {
		c.Keytabs, c.Now = k, func() time.Time { return now }
	}}, change...)...)
}

// handshakeWith runs a handshake with a recorded ticket.
func handshakeWith(t testing.TB, a *Acceptor, config InitiatorConfig) (*AcceptorContext, *InitiatorContext) {
	t.Helper()
	i, err := NewInitiator(config)
	if err != nil {
		t.Fatal(err)
	}
	c, reply := accept(t, a, must(i.Init(nil)))
	if config.Mutual {
		if _, err := i.Init(reply); err != nil {
			t.Fatal(err)
		}
	}
	return c, i
}

func TestGroupsOfSambaTickets(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.4.5.3 SIDs")
	standard.Requires(t, "MS-KILE", "3.4.5.3 authorization")
	in := func(rids ...string) (list []string) {
		for _, r := range rids {
			list = append(list, sambaDomain+"-"+r)
		}
		return list
	}
	for _, c := range []struct {
		cache, client string
		want          []string
	}{
		{"alice", "alice", in("1107", "513")},
		// DnsAdmins and zone-local are domain-local groups.
		{"bob", "bob", in("1108", "513", "1111", "1101", "1112")},
		{"client1", "CLIENT1$", in("1103", "515")},
		{"administrator", "Administrator", in("500", "513", "512", "518", "519", "520", "572")},
	} {
		for _, service := range []string{"DNS/ns1.corp.test", "DNS/ns3.corp.test"} {
			config, now := recordedTicket(t, "samba/"+c.cache, service)
			a, i := handshakeWith(t, recordedAcceptor(t, "samba", now), config)
			exchange(t, a, i)
			got := a.Groups()
			if a.Peer().String() != c.client+"@CORP.TEST" || len(got) == 0 || got[0] != c.want[0] {
				t.Errorf("peer %v, groups %q", a.Peer(), got)
			}
			for _, g := range c.want {
				if !slices.Contains(got, g) {
					t.Errorf("%s is not in %s", c.cache, g)
				}
			}
			for _, g := range got {
				if strings.HasPrefix(g, sambaDomain) && !slices.Contains(c.want, g) {
					t.Errorf("%s is in %s", c.cache, g)
				}
			}
		}
	}
}

// MIT Kerberos 1.20 puts a PAC without logon information into its tickets,
// which gokrb5 cannot read.
func TestTicketsOfMITHaveNoGroups(t *testing.T) {
	for _, service := range []string{"DNS/ns1.example.test", "DNS/aes256-cts-hmac-sha384-192.example.test"} {
		config, now := recordedTicket(t, "mit/client1", service)
		a, i := handshakeWith(t, recordedAcceptor(t, "mit", now), config)
		exchange(t, a, i)
		if g := a.Groups(); g != nil {
			t.Errorf("%s: groups %q", service, g)
		}
	}
}

// pacSpec is a PAC for testClient as testRealm's KDC would sign it for key.
func pacSpec(key types.EncryptionKey) pactest.Spec {
	k := must(newKey(Enctype(key.KeyType), key.KeyValue))
	sum := k.checksumKey(usagePAC)
	return pactest.Spec{
		Client:   testClient.Name(),
		AuthTime: testNow.Add(-time.Hour).Truncate(time.Second),
		Logon: &pactest.Logon{
			Domain: testDomain, User: 1103, Primary: 513,
			Groups: []pactest.Group{{RID: 513, Attributes: 7}, {RID: 1105, Attributes: 7}},
		},
		ChecksumType: k.encryption.checksumType,
		Sign:         func(message []byte) []byte { return k.encryption.checksum(sum, usagePAC, message) },
	}
}

func pacToken(key types.EncryptionKey, p []byte) []byte {
	return requestSpec{ticketSpec: ticketSpec{key: key, authData: authorizationData(1, authorizationData(128, p))}}.token()
}

func TestPACIsSignedWithTheServiceKeyOfEveryType(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.4.5.3 PAC")
	want := []string{testDomain + "-1103", testDomain + "-513", testDomain + "-1105"}
	for _, id := range testTypes {
		key := testServiceKey(id)
		good := pacSpec(key)
		c, _ := accept(t, newTestAcceptor(t), pacToken(key, good.Encode()))
		if !slices.Equal(c.Groups(), want) {
			t.Errorf("%d: groups %q", id, c.Groups())
		}
		c.Groups()[0] = "S-1-5-32-544"
		if !slices.Equal(c.Groups(), want) {
			t.Error("a caller changed the groups")
		}
		forged := good.Encode()
		forged[len(forged)/2] ^= 1
		refuse(t, newTestAcceptor(t), pacToken(key, forged), ErrIntegrity, codeModified)
		resigned := pacSpec(testKey(id, "another"))
		refuse(t, newTestAcceptor(t), pacToken(key, resigned.Encode()), ErrIntegrity, codeModified)
		otherType := good
		otherType.ChecksumType = 15
		if id == AES128SHA1 {
			otherType.ChecksumType = 16
		}
		refuse(t, newTestAcceptor(t), pacToken(key, otherType.Encode()), ErrIntegrity, codeModified)
	}
}

func TestPACMustBeTheTickets(t *testing.T) {
	key := testServiceKey(18)
	for name, change := range map[string]func(*pactest.Spec){
		"of another client":  func(s *pactest.Spec) { s.Client = "host/b.example.test" },
		"of another realm":   func(s *pactest.Spec) { s.Client += "@OTHER.TEST" },
		"of no client":       func(s *pactest.Spec) { s.Client = "" },
		"of an older log-on": func(s *pactest.Spec) { s.AuthTime = s.AuthTime.Add(-time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			s := pacSpec(key)
			change(&s)
			a := newTestAcceptor(t)
			refuse(t, a, pacToken(key, s.Encode()), ErrMismatch, codeBadMatch)
			if a.replays.Len() != 0 {
				t.Error("what was refused takes room in the replay cache")
			}
		})
	}
	for _, name := range []string{testClient.String(), strings.ToUpper(testClient.Name())} {
		s := pacSpec(key)
		s.Client = name
		accept(t, newTestAcceptor(t), pacToken(key, s.Encode()))
	}
	for client, name := range map[string]string{`a\/b@EXAMPLE.TEST`: "a/b", `c\@d@EXAMPLE.TEST`: `c\@d`} {
		s := pacSpec(key)
		s.Client = name
		r := requestSpec{ticketSpec: ticketSpec{client: mustPrincipal(client), authData: authorizationData(128, s.Encode())}}
		accept(t, newTestAcceptor(t), r.token())
	}
}

func TestMalformedPACsAreRefused(t *testing.T) {
	key := testServiceKey(18)
	good := pacSpec(key)
	for n := 0; n < len(good.Encode()); n += 7 {
		if _, err := newTestAcceptor(t).NewContext().Accept(pacToken(key, good.Encode()[:n])); err == nil {
			t.Fatalf("cut off after %d octets", n)
		}
	}
	logon := good
	logon.Logon, logon.More = nil, []pactest.Buffer{{Type: 1, Data: []byte("garbage")}}
	refuse(t, newTestAcceptor(t), pacToken(key, logon.Encode()), ErrMalformed, codeModified)
	giant := good
	giant.More = []pactest.Buffer{{Type: 99, Data: make([]byte, 60_000)}}
	accept(t, newTestAcceptor(t), pacToken(key, giant.Encode()))
	giant.More[0].Data = make([]byte, 70_000) // no TKEY holds that
	refuse(t, newTestAcceptor(t), pacToken(key, giant.Encode()), ErrMalformed, codeGeneric)
}

// authorizationList joins elements as authorizationData makes them.
func authorizationList(elements ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range elements {
			s := cryptobyte.String(e)
			var inner cryptobyte.String
			if !s.ReadASN1(&inner, asn1.SEQUENCE) {
				panic("not authorization data")
			}
			b.AddBytes(inner)
		}
	})
	return b.BytesOrPanic()
}

func TestPACIsFoundWhereverItMayBe(t *testing.T) {
	key := testServiceKey(18)
	p := pacSpec(key).Encode()
	element := authorizationData(adPAC, p)
	relevant := func(b []byte) []byte { return authorizationData(adIfRelevant, b) }
	other := authorizationData(141, []byte("a token restriction"))
	for name, c := range map[string]struct {
		data   []byte
		groups int
		want   error
	}{
		"at the top":             {element, 3, nil},
		"usual":                  {relevant(element), 3, nil},
		"nested":                 {relevant(relevant(relevant(element))), 3, nil},
		"behind others":          {authorizationList(other, relevant(other), relevant([]byte{0x30, 0}), relevant(authorizationList(other, element))), 3, nil},
		"empty AD-IF-RELEVANT":   {relevant([]byte{0x30, 0}), 0, nil},
		"empty octets":           {relevant(nil), 0, nil},
		"empty":                  {[]byte{0x30, 0}, 0, nil},
		"only others":            {authorizationList(other, relevant(other)), 0, nil},
		"nested too deeply":      {relevant(relevant(relevant(relevant(element)))), 0, ErrMalformed},
		"two PACs":               {authorizationList(relevant(element), relevant(element)), 0, ErrMalformed},
		"too many elements":      {authorizationList(slices.Repeat([][]byte{other}, 65)...), 0, ErrMalformed},
		"too many in the second": {authorizationList(relevant(other), relevant(authorizationList(slices.Repeat([][]byte{other}, 63)...))), 0, ErrMalformed},
		"garbage":                {[]byte("garbage"), 0, ErrMalformed},
		"garbage inside":         {relevant([]byte("garbage")), 0, ErrMalformed},
		"empty PAC":              {relevant(authorizationData(adPAC, nil)), 0, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			token := requestSpec{ticketSpec: ticketSpec{authData: c.data}}.token()
			if c.want != nil {
				refuse(t, newTestAcceptor(t), token, c.want, codeModified)
				return
			}
			a, _ := accept(t, newTestAcceptor(t), token)
			if len(a.Groups()) != c.groups {
				t.Errorf("groups %q", a.Groups())
			}
		})
	}
}

// A client may put authorization data of its own into its request to the KDC,
// but a PAC that the KDC did not sign does not get through.
func TestRecordedPACDoesNotFitAnotherTicket(t *testing.T) {
	keytabs := must(OpenKeytabs(filepath.Join("testdata", "samba", "dns.keytab")))
	open := func(cache string) (encTicketPart, *serviceKey) {
		config, _ := recordedTicket(t, "samba/"+cache, "DNS/ns1.corp.test")
		for _, k := range keytabs.set.Load().services["dns/ns1.corp.test@CORP.TEST"] {
			if k.ticket.encryption.id != Enctype(config.Ticket.EncPart.EType) {
				continue
			}
			part, ok := parseEncTicketPart(must(k.ticket.decrypt(config.Ticket.EncPart.Cipher)))
			if !ok {
				t.Fatal("the recorded ticket does not parse")
			}
			return part, k
		}
		t.Fatal("no key")
		return encTicketPart{}, nil
	}
	bob, k := open("bob")
	alice, _ := open("alice")
	h := handshake{key: k, ticket: bob}
	if err := h.checkPAC(); err != nil || len(h.groups) < 4 {
		t.Fatalf("%v, %d groups", err, len(h.groups))
	}
	alice.authorization = bob.authorization
	h = handshake{key: k, ticket: alice}
	if err := h.checkPAC(); err == nil || h.groups != nil {
		t.Errorf("alice came with bob's PAC: %v", err)
	}
}

// recordedToken is a token with the MICs that followed it.
type recordedToken struct {
	Token []byte
	Time  int64
	MICs  [][]byte
}

func readRecordedToken(t testing.TB, name string) recordedToken {
	t.Helper()
	var r struct {
		Token string
		Time  int64
		MICs  []string
	}
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := recordedToken{Token: must(base64.StdEncoding.DecodeString(r.Token)), Time: r.Time}
	for _, m := range r.MICs {
		out.MICs = append(out.MICs, must(base64.StdEncoding.DecodeString(m)))
	}
	return out
}

// The whole way with tokens and MICs that MIT Kerberos made from Samba's
// tickets.
func TestRecordedTokensOfMITClients(t *testing.T) {
	for _, file := range []string{"samba/bob-ns1.json", "samba/bob-ns3.json"} {
		r := readRecordedToken(t, file)
		c, reply := accept(t, recordedAcceptor(t, "samba", time.Unix(r.Time, 0)), r.Token)
		if reply != nil || !slices.Contains(c.Groups(), sambaDomain+"-1111") {
			t.Errorf("%s: reply %x, groups %q", file, reply, c.Groups())
		}
		for n, mic := range r.MICs {
			if err := c.VerifyMIC([]byte("message "+string(rune('0'+n))), mic); err != nil {
				t.Errorf("%s: MIC %d: %v", file, n, err)
			}
		}
	}
}
