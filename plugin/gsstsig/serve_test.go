package gsstsig

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/log"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/tsig"
	_ "github.com/coredns/coredns/plugin/whoami"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// logged is the log of the process.
var logged logBuffer

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines returns the lines that contain all the words.
func (l *logBuffer) lines(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.b.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			found = append(found, line)
		}
	}
	return found
}

// forget empties the log.
func (l *logBuffer) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func TestMain(m *testing.M) {
	caddy.Quiet, dnsserver.Quiet = true, true
	clog.SetOutput(&logged)
	dnsserver.Directives = slices.Insert(dnsserver.Directives, slices.Index(dnsserver.Directives, "transfer"), "holdturn", pluginName, "atsetup")
	plugin.Register("holdturn", setupHoldTurn)
	plugin.Register("atsetup", func(*caddy.Controller) error {
		if do := atSetup.Load(); do != nil {
			return (*do)()
		}
		return nil
	})
	os.Exit(m.Run())
}

// atSetup is what the directive atsetup does. It is set up after all gsstsig blocks of a configuration.
var atSetup atomic.Pointer[func() error]

// setAtSetup has the directive do that until the test ends.
func setAtSetup(t *testing.T, do func() error) {
	t.Helper()
	atSetup.Store(&do)
	t.Cleanup(func() { atSetup.Store(nil) })
}

// coredns is CoreDNS running in this process.
type coredns struct {
	t         *testing.T
	realm     *krb5test.Realm
	keytab    string
	address   string
	network   string      // of clients' messages, "udp" if empty
	tls       *tls.Config // of clients' connections, nil for plain DNS
	directory string      // for databases
	instance  *caddy.Instance
}

// start runs CoreDNS with a Corefile in which {KEYTAB} is the realm's keytab and {DIR} a directory. Every server block is to listen on {PORT}
// of 127.0.0.1. The log is forgotten when the test ends.
func start(t *testing.T, corefile string) *coredns {
	t.Helper()
	s := &coredns{t: t, realm: krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test"), address: freeAddress(t), directory: t.TempDir()}
	s.keytab = s.realm.Keytab()
	instance, err := caddy.Start(s.input(corefile))
	if err != nil {
		t.Fatalf("starting CoreDNS: %v", err)
	}
	s.instance = instance
	t.Cleanup(logged.forget)
	t.Cleanup(s.stop)
	return s
}

// stop ends CoreDNS as a signal does. It may be called again.
func (s *coredns) stop() {
	s.t.Helper()
	if s.instance == nil {
		return
	}
	for _, err := range s.instance.ShutdownCallbacks() {
		s.t.Error(err)
	}
	if err := s.instance.Stop(); err != nil {
		s.t.Error(err)
	}
	s.instance = nil
}

// restart starts it again after stop.
func (s *coredns) restart(corefile string) {
	s.t.Helper()
	if err := s.tryRestart(corefile); err != nil {
		s.t.Fatalf("starting CoreDNS again: %v", err)
	}
}

func (s *coredns) tryRestart(corefile string) error {
	instance, err := caddy.Start(s.input(corefile))
	if err == nil {
		s.instance = instance
	}
	return err
}

// reload replaces the configuration of the running CoreDNS.
func (s *coredns) reload(corefile string) error {
	reloaded, err := s.instance.Restart(s.input(corefile))
	if err == nil {
		s.instance = reloaded
	}
	return err
}

func (s *coredns) input(corefile string) caddy.Input {
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	corefile = strings.NewReplacer("{KEYTAB}", s.keytab, "{DIR}", s.directory, "{PORT}", port).Replace(corefile)
	return caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(corefile), ServerTypeName: "dns"}
}

// freeAddress returns an address of this host that nobody uses, nor will as a client.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return loopback.Address(port).String()
}

// context negotiates a context as that principal.
func (s *coredns) context(principal string) *client.Context {
	s.t.Helper()
	ticket, key := s.realm.Ticket(principal, "DNS/ns1.example.test", 18, time.Hour)
	held, err := s.negotiate(principal, ticket, key)
	if err != nil {
		s.t.Fatalf("negotiating as %s: %v", principal, err)
	}
	return held
}

// contextOverTCP makes one whose messages go by TCP.
func (s *coredns) contextOverTCP(principal string) *client.Context {
	s.t.Helper()
	s.network = "tcp"
	defer func() { s.network = "" }()
	return s.context(principal)
}

// negotiate makes a context with a ticket for the principal.
func (s *coredns) negotiate(principal string, ticket messages.Ticket, key types.EncryptionKey) (*client.Context, error) {
	s.t.Helper()
	c, err := client.Dial(s.t.Context(), client.Config{
		Server:           s.address,
		Network:          s.network,
		TLS:              s.tls,
		ServicePrincipal: "DNS/ns1.example.test@EXAMPLE.TEST",
		Credentials: client.FromTicket(client.ServiceTicket{
			Ticket: ticket, SessionKey: key, Client: s.realm.Principal(principal), Expires: time.Now().Add(time.Hour),
		}),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c.Negotiate(s.t.Context())
}

// message makes an UPDATE: lines with + add a record, lines with - delete an RRset by "NAME TYPE".
func message(t *testing.T, origin string, lines ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate(origin)
	for _, line := range lines {
		text := line[1:]
		if line[0] == '-' {
			name, rrtype, _ := strings.Cut(text, " ")
			m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.StringToType[rrtype]}}})
			continue
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Insert([]dns.RR{rr})
	}
	return m
}

// signed sends an update in a context; the client has verified the reply's signature.
func (s *coredns) signed(c *client.Context, m *dns.Msg) int {
	s.t.Helper()
	_, err := c.Update(s.t.Context(), m)
	var refused *client.RcodeError
	switch {
	case err == nil:
		return dns.RcodeSuccess
	case errors.As(err, &refused):
		return refused.Rcode
	}
	s.t.Fatalf("updating: %v", err)
	return 0
}

// exchange sends a message as it is.
func (s *coredns) exchange(m *dns.Msg) *dns.Msg {
	s.t.Helper()
	reply, err := dns.Exchange(m, s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply
}

// lookup returns an answer section as text.
func (s *coredns) lookup(name string, rrtype uint16) string {
	s.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, rrtype)
	var text []string
	for _, rr := range s.exchange(m).Answer {
		text = append(text, strings.Join(strings.Fields(rr.String()), " "))
	}
	return strings.Join(text, "; ")
}

const smallCorefile = `example.test:{PORT} 2.0.192.in-addr.arpa:{PORT} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
	}
	log
	errors
}
.:{PORT} {
	bind 127.0.0.1
	whoami
}
`

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestUpdates(t *testing.T) {
	taken := []string{"update zone=example.test.", `identity="host/client1.example.test@EXAMPLE.TEST"`, "rcode=NOERROR", "serial=1->2"}
	refused := []string{"update zone=example.test.", `identity="anonymous"`, "rcode=REFUSED", "serial=2->2",
		`rule="updates secure" reason="the update is not signed"`}
	takenBefore, refusedBefore := len(logged.lines(taken...)), len(logged.lines(refused...))
	s := start(t, smallCorefile)
	host := s.context("host/client1.example.test")
	client2 := s.context("host/client2.example.test")

	add := message(t, "example.test.", "-client1.example.test. A", "+client1.example.test. 300 A 192.0.2.1")
	want(t, "the host's own name", s.signed(host, add), dns.RcodeSuccess)
	want(t, "lookup", s.lookup("client1.example.test.", dns.TypeA), "client1.example.test. 300 IN A 192.0.2.1")
	want(t, "PTR", s.signed(host, message(t, "2.0.192.in-addr.arpa.", "+1.2.0.192.in-addr.arpa. 300 PTR client1.example.test.")), dns.RcodeSuccess)
	want(t, "lookup", s.lookup("1.2.0.192.in-addr.arpa.", dns.TypePTR), "1.2.0.192.in-addr.arpa. 300 IN PTR client1.example.test.")

	other := message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.66")
	want(t, "another client", s.signed(client2, other), dns.RcodeRefused)
	want(t, "unsigned", s.exchange(other).Rcode, dns.RcodeRefused)
	want(t, "unchanged", s.lookup("client1.example.test.", dns.TypeA), "client1.example.test. 300 IN A 192.0.2.1")

	want(t, "a zone of another server", s.signed(host, message(t, "sub.example.test.", "+a.sub.example.test. 300 A 192.0.2.1")), dns.RcodeNotAuth)
	want(t, "a name outside the zone", s.signed(host, message(t, "example.test.", "+client1.example.org. 300 A 192.0.2.1")), dns.RcodeNotZone)
	want(t, "the block beside ours", s.exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeA)).Rcode, dns.RcodeSuccess)

	want(t, "lines about the update", len(logged.lines(taken...))-takenBefore, 1)
	want(t, "lines about the unsigned update", len(logged.lines(refused...))-refusedBefore, 1)
}

func TestModes(t *testing.T) {
	standard.Requires(t, "RFC 2136", "7.5 unsigned")
	for mode, rcodes := range map[string]struct{ unsigned, signed, unsignedOnOwned int }{
		"none":                 {dns.RcodeRefused, dns.RcodeRefused, dns.RcodeRefused},
		"secure":               {dns.RcodeRefused, dns.RcodeSuccess, dns.RcodeRefused},
		"nonsecure-and-secure": {dns.RcodeSuccess, dns.RcodeSuccess, dns.RcodeRefused},
	} {
		t.Run(mode, func(t *testing.T) {
			s := start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nupdates "+mode, 1))
			host := s.context("host/client1.example.test")
			want(t, "unsigned", s.exchange(message(t, "example.test.", "+printer.example.test. 300 A 192.0.2.7")).Rcode, rcodes.unsigned)
			want(t, "signed", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")), rcodes.signed)
			want(t, "unsigned on an owned name", s.exchange(message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.66")).Rcode, rcodes.unsignedOnOwned)
		})
	}
}

// TestRefusals: a refused update is logged at the level of the Corefile, and counted by its cause.
func TestRefusals(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.3.1 permission")
	s := start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nlog refused warning", 1))
	line := []string{"[WARNING]", "update zone=example.test.", "rcode=REFUSED", "+warned.example.test. A 192.0.2.7", "cause=unsigned", "nsupdate -g"}
	count := func() float64 {
		return metric(t, "coredns_gsstsig_refusals_total", "zone", "example.test.", "reason", "unsigned")
	}
	before := count()
	want(t, "unsigned", s.exchange(message(t, "example.test.", "+warned.example.test. 300 A 192.0.2.7")).Rcode, dns.RcodeRefused)
	want(t, "lines", len(logged.lines(line...)), 1)
	want(t, "counted", count()-before, 1)
}

// TestModePerZone: a zone may have a mode of its own, as in Active Directory.
func TestModePerZone(t *testing.T) {
	s := start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nupdates nonsecure-and-secure 2.0.192.in-addr.arpa", 1))
	want(t, "the secure zone", s.exchange(message(t, "example.test.", "+printer.example.test. 300 A 192.0.2.7")).Rcode, dns.RcodeRefused)
	want(t, "the other one", s.exchange(message(t, "2.0.192.in-addr.arpa.", "+7.2.0.192.in-addr.arpa. 300 PTR printer.example.test.")).Rcode, dns.RcodeSuccess)
}

// TestReload: contexts and records outlive a reload, and a bad Corefile changes nothing.
func TestReload(t *testing.T) {
	s := start(t, smallCorefile)
	host := s.context("host/client1.example.test")
	want(t, "before", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)

	bad := strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab /nonexistent", 1)
	if err := s.reload(bad); err == nil {
		t.Fatal("a Corefile without keytab was taken")
	}
	want(t, "after a bad Corefile", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)

	noSeed := strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nfile /nonexistent example.test", 1)
	if err := s.reload(noSeed); err == nil {
		t.Fatal("a Corefile without its seed was taken")
	}

	// What is wrong may be in a later block, or show only when the servers start: nothing of the first block may have taken
	// effect then.
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	changed := strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nrealm OTHER.TEST\nlimit rrset-records 1\nlimit contexts 1", 1)
	for what, block := range map[string]string{
		"a keytab":   "other.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n keytab /nonexistent\n }\n}\n",
		"an address": fmt.Sprintf("other.test:%d {\n bind 127.0.0.1\n whoami\n}\n", busy.Addr().(*net.TCPAddr).Port),
	} {
		if err := s.reload(changed + block); err == nil {
			t.Fatalf("a Corefile whose second block cannot have %s was taken", what)
		}
		want(t, "without "+what, s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.3")), dns.RcodeSuccess)
		want(t, "without "+what, s.signed(host, message(t, "example.test.", "-client1.example.test. A",
			"+client1.example.test. 300 A 192.0.2.1", "+client1.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)
		other := s.context("host/client2.example.test")
		want(t, "another client without "+what, s.signed(other, message(t, "example.test.", "+client2.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
		want(t, "the first without "+what, s.signed(host, message(t, "example.test.")), dns.RcodeSuccess)
	}

	for i := range 3 {
		if err := s.reload(smallCorefile + fmt.Sprintf("# %d\n", i)); err != nil {
			t.Fatal(err)
		}
		update := message(t, "example.test.", fmt.Sprintf("+client1.example.test. 300 A 192.0.2.%d", 10+i))
		want(t, "after a reload", s.signed(host, update), dns.RcodeSuccess)
	}
	want(t, "records", strings.Count(s.lookup("client1.example.test.", dns.TypeA), " A "), 5)

	// The contexts of a realm that is no longer permitted end.
	if err := s.reload(strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nrealm OTHER.TEST", 1)); err != nil {
		t.Fatal(err)
	}
	_, err = host.Update(t.Context(), message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.99"))
	var refused *client.TSIGError
	if !errors.As(err, &refused) {
		t.Errorf("a context of a realm that is no longer permitted: got %v, want a TSIG error", err)
	}
}

// TestContextOfAnotherBlock: a context is good for the blocks that would have made it themselves, and for no others.
func TestContextOfAnotherBlock(t *testing.T) {
	strange := krb5test.New(t, "OTHER.TEST", "DNS/ns1.other.test").Keytab()
	block := func(zone, keytab, more string) string {
		return fmt.Sprintf("%s:{PORT} {\n bind 127.0.0.1\n gsstsig {\n keytab %s\n realm EXAMPLE.TEST OTHER.TEST\n %s\n }\n}\n", zone, keytab, more)
	}
	s := start(t, smallCorefile+
		block("same.test", "{KEYTAB}", "grant EXAMPLE.TEST krb5-self . A")+
		strings.Replace(block("realm.test", "{KEYTAB}", ""), "realm EXAMPLE.TEST OTHER.TEST", "realm OTHER.TEST", 1)+
		block("keytab.test", strange, "")+
		block("enctypes.test", "{KEYTAB}", "enctypes aes256-cts-hmac-sha384-192"))
	host := s.context("host/client1.same.test") // the first block claims the ticket
	for origin, rcode := range map[string]int{
		"example.test.": dns.RcodeSuccess, "same.test.": dns.RcodeSuccess, "realm.test.": dns.RcodeRefused,
		"keytab.test.": dns.RcodeRefused, "enctypes.test.": dns.RcodeRefused,
	} {
		want(t, origin, s.signed(host, message(t, origin, "+client1."+origin+" 300 A 192.0.2.1")), rcode)
	}
	// Each block has rules of its own.
	want(t, "by its rules", s.signed(host, message(t, "same.test.", "+other.same.test. 300 A 192.0.2.1")), dns.RcodeRefused)
}

// TestStaticKeys: a key of the tsig plugin may update where a rule says so, whether or not the plugin is in front.
func TestStaticKeys(t *testing.T) {
	s := start(t, `example.test:{PORT} {
	bind 127.0.0.1
	tsig {
		secret loader.example.test. c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgb2N0ZXRz
		secret other.example.test. c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgb2N0ZXRz
	}
	gsstsig {
		keytab {KEYTAB}
		grant loader.example.test. zonesub ANY
	}
}
`)
	for key, rcode := range map[string]int{"loader.example.test.": dns.RcodeSuccess, "other.example.test.": dns.RcodeRefused} {
		m := message(t, "example.test.", "+www.example.test. 300 A 192.0.2.80")
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
		c := &dns.Client{TsigSecret: map[string]string{key: "c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgb2N0ZXRz"}}
		reply, _, err := c.Exchange(m, s.address)
		if err != nil {
			t.Fatal(err)
		}
		want(t, key, reply.Rcode, rcode)
		if reply.IsTsig() == nil {
			t.Errorf("%s: the reply is not signed", key)
		}
	}
}

// transferred fetches a zone, whole or since a serial, and returns its records in short form.
func (s *coredns) transferred(c *client.Context, serial ...uint32) []string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	var records []string
	for rr, err := range c.Transfer(ctx, "example.test.", serial...) {
		if err != nil {
			s.t.Fatal(err)
		}
		text := rr.Header().Name + " " + dns.TypeToString[rr.Header().Rrtype]
		if soa, ok := rr.(*dns.SOA); ok {
			text = fmt.Sprintf("SOA %d", soa.Serial)
		}
		records = append(records, text)
	}
	return records
}

const transferCorefile = `example.test:{PORT} {
	bind 127.0.0.1
	gsstsig {
		keytab {KEYTAB}
	}
	transfer {
		to *
	}
}
`

// TestTransfer: the transfer plugin gets a whole zone in a signed AXFR of several messages.
func TestTransfer(t *testing.T) {
	standard.Requires(t, "RFC 5936", "2.2 ends", "4.1 TCP")
	s := start(t, transferCorefile)
	host := s.context("host/client1.example.test")
	for i := range 4 {
		var lines []string
		for j := range 200 {
			lines = append(lines, fmt.Sprintf("+h%d-%d.example.test. 300 TXT %q", i, j, strings.Repeat("x", 200)))
		}
		want(t, "update", s.signed(host, message(t, "example.test.", lines...)), dns.RcodeSuccess)
	}
	records := s.transferred(host)
	want(t, "records", len(records), 800+4) // SOA twice, NS, the address of ns1
	want(t, "first", records[0], "SOA 5")
	want(t, "last", records[len(records)-1], "SOA 5")
}

// TestIncrementalTransfer: changes since a known serial, the SOA alone for the current one, the zone for an unknown one.
func TestIncrementalTransfer(t *testing.T) {
	standard.Requires(t, "RFC 1995", "2 up to date", "4 ends", "4 sequences", "4 oldest first", "4 whole zone")
	s := start(t, transferCorefile)
	host := s.context("host/client1.example.test")
	want(t, "add", s.signed(host, message(t, "example.test.", "+a.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	want(t, "move", s.signed(host, message(t, "example.test.", "-a.example.test. A", "+a.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)

	for serial, records := range map[uint32]string{
		1:  "SOA 3, SOA 1, SOA 2, a.example.test. A, SOA 2, a.example.test. A, SOA 3, a.example.test. A, SOA 3",
		2:  "SOA 3, SOA 2, a.example.test. A, SOA 3, a.example.test. A, SOA 3",
		3:  "SOA 3",
		4:  "SOA 3",
		99: "SOA 3",
		// Never a serial of this zone, and behind the current one in the arithmetic of RFC 1982.
		4_000_000_000: "SOA 3, example.test. NS, a.example.test. A, ns1.example.test. A, SOA 3",
	} {
		want(t, fmt.Sprintf("since %d", serial), strings.Join(s.transferred(host, serial), ", "), records)
	}
}

// TestTransferByUDP: an IXFR by UDP gets the current SOA, an AXFR nothing; without the transfer plugin neither does.
func TestTransferByUDP(t *testing.T) {
	standard.Requires(t, "RFC 1995", "2 by UDP")
	standard.Requires(t, "RFC 5936", "4.2 UDP")
	standard.Deviates(t, "RFC 1995", "2 does not fit", "By UDP the SOA comes alone, whether or not the changes would fit: as a secondary comes by TCP then, no forged address is sent more.")
	for corefile, rcodes := range map[string][2]int{
		transferCorefile: {dns.RcodeSuccess, dns.RcodeRefused},
		smallCorefile:    {dns.RcodeRefused, dns.RcodeRefused},
	} {
		s := start(t, corefile)
		ixfr := s.exchange(new(dns.Msg).SetIxfr("example.test.", 77, "ns1.example.test.", "hostmaster.example.test."))
		want(t, "IXFR", ixfr.Rcode, rcodes[0])
		if rcodes[0] == dns.RcodeSuccess {
			want(t, "IXFR answer", len(ixfr.Answer), 1)
			want(t, "IXFR serial", ixfr.Answer[0].(*dns.SOA).Serial, 1)
		}
		want(t, "AXFR", s.exchange(new(dns.Msg).SetAxfr("example.test.")).Rcode, rcodes[1])
	}
}

// TestReloadTakesNewLimits: after a reload a zone has the limits of the new Corefile.
func TestReloadTakesNewLimits(t *testing.T) {
	s := start(t, smallCorefile)
	host := s.context("host/client1.example.test")
	add := func(n int) *dns.Msg {
		return message(t, "example.test.", fmt.Sprintf("+client1.example.test. 300 A 192.0.2.%d", n))
	}
	want(t, "the first", s.signed(host, add(1)), dns.RcodeSuccess)
	if err := s.reload(strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nlimit rrset-records 1", 1)); err != nil {
		t.Fatal(err)
	}
	want(t, "one too many", s.signed(host, add(2)), dns.RcodeRefused)
	if lines := logged.lines("rcode=REFUSED", "limit rrset-records ("); len(lines) == 0 {
		t.Error("the log does not name the limit")
	}
}

// TestListenerLimits: the limits of the Corefile reach the table of contexts and the listener, over a reload too.
func TestListenerLimits(t *testing.T) {
	with := func(limits string) string {
		return strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\n"+limits, 1)
	}
	s := start(t, with("limit principal-contexts 1\nlimit source-errors 1"))
	alive := func(key *client.Context) bool {
		t.Helper()
		_, err := key.Exchange(t.Context(), new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA))
		var refused *client.TSIGError
		if err != nil && (!errors.As(err, &refused) || refused.Code != dns.RcodeBadKey) {
			t.Fatal(err)
		}
		return err == nil
	}
	other := s.context("host/client2.example.test")
	first, second := s.context("host/client1.example.test"), s.context("host/client1.example.test")
	if alive(first) || !alive(second) || !alive(other) {
		t.Error("limit principal-contexts has no effect")
	}
	if err := s.reload(with("limit principal-contexts 2")); err != nil {
		t.Fatal(err)
	}
	third := s.context("host/client1.example.test")
	if !alive(second) || !alive(third) || !alive(other) {
		t.Error("limit principal-contexts of the new Corefile has no effect")
	}

	ended := func() bool {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		for range 50 {
			if _, err := c.Write([]byte{0, 13, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63}); err != nil {
				return true
			}
			if _, err := (&dns.Conn{Conn: c}).ReadMsg(); err != nil {
				return true
			}
		}
		return false
	}
	if ended() {
		t.Error("the default of source-errors is less than 50")
	}
	if err := s.reload(with("limit source-errors 1")); err != nil {
		t.Fatal(err)
	}
	if !ended() {
		t.Error("limit source-errors has no effect")
	}
}
