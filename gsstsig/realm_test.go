package gsstsig

import (
	"encoding/asn1"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/miekg/dns"
)

const (
	testRealm   = "EXAMPLE.TEST"
	testService = "DNS/ns1.example.test"
)

var testClient = netip.MustParseAddrPort("192.0.2.1:53053")

// clock is the time that everything in a test goes by.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// realm plays the KDC and owns the server under test.
type realm struct {
	t       testing.TB
	clock   *clock
	keys    *keytab.Keytab
	keytabs *krb5.Keytabs // the same, as the server reads them
	table   *Table
	config  Config
	server  *Server

	mu     sync.Mutex
	events []Event
}

// serviceKeys is a keytab for testService, made once: deriving keys from a
// password is slow on purpose.
var serviceKeys = sync.OnceValues(func() ([]byte, error) {
	keys := keytab.New()
	for _, enctype := range []int32{17, 18, 19} {
		if err := keys.AddEntry(testService, testRealm, "service password", time.Now(), 3, enctype); err != nil {
			return nil, err
		}
	}
	return keys.Marshal()
})

// negotiate is Negotiate on an address that only the realm's server has.
func (r *realm) negotiate(request *dns.Msg, client netip.AddrPort, signer *Transaction) (*dns.Msg, *Transaction) {
	return NewAuthenticator(nil, r.server).Negotiate(request, client, signer)
}

// newRealm makes a server with a key for testService. change may alter the
// configurations before use.
func newRealm(t testing.TB, change func(*TableConfig, *Config)) *realm {
	t.Helper()
	r := &realm{t: t, clock: &clock{at: time.Now().Truncate(time.Second)}, keys: keytab.New()}
	b, err := serviceKeys()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.keys.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dns.keytab")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	keytabs, err := krb5.OpenKeytabs(file)
	if err != nil {
		t.Fatal(err)
	}
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{
		Keytabs: keytabs,
		Replays: krb5.NewReplayCache(1 << 20),
		Now:     r.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	tableConfig := TableConfig{Now: r.clock.now}
	r.config = Config{Acceptor: acceptor, ServerName: "ns1.example.test.", Now: r.clock.now, Observe: r.observe}
	if change != nil {
		change(&tableConfig, &r.config)
	}
	r.keytabs = keytabs
	r.table = NewTable(tableConfig)
	r.config.Contexts = r.table
	if r.server, err = NewServer(r.config); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *realm) observe(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// lastEvent returns the latest event.
func (r *realm) lastEvent() Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		return Event{}
	}
	return r.events[len(r.events)-1]
}

// login says how a client of a test negotiates.
type login struct {
	client       string // principal without realm; default host/a.example.test
	service      string
	enctype      int32
	raw          bool
	notMutual    bool
	mechTypes    []asn1.ObjectIdentifier
	noOptimistic bool
	sendMIC      bool
	lifetime     time.Duration // of the ticket; default a day
	algorithm    string
}

// initiator is the client's side: bare Kerberos or SPNEGO around it.
type initiator interface {
	Init(token []byte) ([]byte, error)
	Established() bool
}

// peer is one client with one context.
type peer struct {
	r         *realm
	login     login
	kerberos  *krb5.InitiatorContext
	outer     initiator
	name      string
	algorithm string
}

// ticket makes what a KDC would give out.
func (r *realm) ticket(l login) (messages.Ticket, types.EncryptionKey) {
	r.t.Helper()
	client, err := krb5.ParsePrincipal(l.client)
	if err != nil {
		r.t.Fatal(err)
	}
	service, err := krb5.ParsePrincipal(l.service)
	if err != nil {
		r.t.Fatal(err)
	}
	now := r.clock.now().UTC()
	ticket, key, err := messages.NewTicket(
		types.PrincipalName{NameType: 1, NameString: client.Components}, testRealm,
		types.PrincipalName{NameType: 2, NameString: service.Components}, testRealm,
		types.NewKrbFlags(), r.keys, l.enctype, 3,
		now, now.Add(-time.Second), now.Add(l.lifetime), now.Add(l.lifetime))
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket, key
}

func (r *realm) newPeer(name string, l login) *peer {
	r.t.Helper()
	if l.client == "" {
		l.client = "host/a.example.test"
	}
	if l.service == "" {
		l.service = testService
	}
	if l.enctype == 0 {
		l.enctype = 18
	}
	if l.lifetime == 0 {
		l.lifetime = 24 * time.Hour
	}
	if l.algorithm == "" {
		l.algorithm = AlgorithmGSS
	}
	ticket, key := r.ticket(l)
	client, err := krb5.ParsePrincipal(l.client + "@" + testRealm)
	if err != nil {
		r.t.Fatal(err)
	}
	p := &peer{r: r, login: l, name: name, algorithm: l.algorithm}
	p.kerberos, err = krb5.NewInitiator(krb5.InitiatorConfig{
		Ticket: ticket, SessionKey: key, Client: client,
		Mutual: !l.notMutual, Subkey: true, Now: r.clock.now,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	p.outer = p.kerberos
	if !l.raw {
		p.outer, err = spnego.NewInitiator(spnego.InitiatorConfig{
			Mechanism: p.kerberos, MechTypes: l.mechTypes,
			NoOptimisticToken: l.noOptimistic, SendMIC: l.sendMIC,
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return p
}

// first returns the first token.
func (p *peer) first() []byte {
	p.r.t.Helper()
	token, err := p.outer.Init(nil)
	if err != nil {
		p.r.t.Fatal(err)
	}
	return token
}

// tkeyMessage is a TKEY query as nsupdate makes it.
func tkeyMessage(name, algorithm string, mode uint16, token []byte) *dns.Msg {
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.Question = []dns.Question{{Name: name, Qtype: dns.TypeTKEY, Qclass: dns.ClassANY}}
	m.Extra = []dns.RR{&dns.TKEY{
		Hdr:       dns.RR_Header{Name: name, Rrtype: dns.TypeTKEY, Class: dns.ClassANY},
		Algorithm: algorithm, Mode: mode,
		KeySize: uint16(len(token)), Key: hex.EncodeToString(token),
	}}
	return m
}

// overTheWire packs and unpacks, so that tests see what a network would carry.
func overTheWire(t testing.TB, m *dns.Msg) (*dns.Msg, []byte) {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := new(dns.Msg)
	if err := out.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	return out, wire
}

// answerOf returns the TKEY record of a response.
func answerOf(t testing.TB, response *dns.Msg) *dns.TKEY {
	t.Helper()
	if len(response.Answer) != 1 {
		t.Fatalf("no single answer in\n%s", response)
	}
	tkey, ok := response.Answer[0].(*dns.TKEY)
	if !ok {
		t.Fatalf("no TKEY answer in\n%s", response)
	}
	return tkey
}

// run negotiates to the end and returns the last response and what signs it.
func (p *peer) run() (response *dns.Msg, sign *Transaction) {
	p.r.t.Helper()
	token := p.first()
	for range maxRounds + 1 {
		request, _ := overTheWire(p.r.t, tkeyMessage(p.name, p.algorithm, modeGSS, token))
		response, sign = p.r.negotiate(request, testClient, nil)
		tkey := answerOf(p.r.t, response)
		if response.Rcode != dns.RcodeSuccess || tkey.Error != 0 {
			p.r.t.Fatalf("rcode %d, TKEY error %d: %+v", response.Rcode, tkey.Error, p.r.lastEvent())
		}
		if p.name == "." {
			p.name = tkey.Hdr.Name
		}
		reply, err := hex.DecodeString(tkey.Key)
		if err != nil {
			p.r.t.Fatal(err)
		}
		if p.outer.Established() {
			return response, sign
		}
		if token, err = p.outer.Init(reply); err != nil {
			p.r.t.Fatal(err)
		}
		if token == nil {
			return response, sign
		}
	}
	p.r.t.Fatal("the negotiation does not end")
	return nil, nil
}

// login negotiates a context of that name to the end.
func (r *realm) login(name string, l login) *peer {
	r.t.Helper()
	p := r.newPeer(name, l)
	if _, sign := p.run(); sign == nil {
		r.t.Fatal("the context is not complete")
	}
	return p
}
