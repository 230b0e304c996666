package gsstsig

import (
	"encoding/asn1"
	"encoding/hex"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

const otherService = "DNS/ns2.example.test"

// twoServers makes two servers of a realm for one address, the first one for
// testService, the second one for otherService.
func twoServers(t *testing.T) (r *realm, first, second *Server) {
	t.Helper()
	r = newRealm(t, nil)
	if err := r.keys.AddEntry(otherService, testRealm, "another password", r.clock.now(), 3, 18); err != nil {
		t.Fatal(err)
	}
	octets, err := r.keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dns.keytab")
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	keytabs, err := krb5.OpenKeytabs(file)
	if err != nil {
		t.Fatal(err)
	}
	serve := func(service string) *Server {
		principal, err := krb5.ParsePrincipal(service + "@" + testRealm)
		if err != nil {
			t.Fatal(err)
		}
		config := r.config
		config.Contexts = NewTable(TableConfig{Now: r.clock.now})
		config.Acceptor, err = krb5.NewAcceptor(krb5.AcceptorConfig{Keytabs: keytabs, Replays: krb5.NewReplayCache(1 << 10),
			Now: r.clock.now, Services: []krb5.Principal{principal}})
		if err != nil {
			t.Fatal(err)
		}
		server, err := NewServer(config)
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	return r, serve(testService), serve(otherService)
}

// through negotiates to the end with whatever server n finds, and returns the
// transaction that signs the last response, nil if it was refused.
func through(n *Authenticator, p *peer) *Transaction {
	p.r.t.Helper()
	token := p.first()
	for range maxRounds + 1 {
		request, _ := overTheWire(p.r.t, tkeyMessage(p.name, p.algorithm, modeGSS, token))
		response, sign := n.Negotiate(request, testClient, nil)
		reply := answerOf(p.r.t, response)
		if reply.Error != 0 {
			return nil
		}
		octets, err := hex.DecodeString(reply.Key)
		if err != nil {
			p.r.t.Fatal(err)
		}
		if !p.outer.Established() {
			if token, err = p.outer.Init(octets); err != nil {
				p.r.t.Fatal(err)
			}
		}
		if sign != nil {
			return sign
		}
	}
	p.r.t.Fatal("the negotiation does not end")
	return nil
}

// A ticket is for one of the servers on an address, whenever it comes in the
// course of the negotiation.
func TestNegotiateFindsTheServer(t *testing.T) {
	ntlmFirst := []asn1.ObjectIdentifier{spnego.OIDNTLM, spnego.OIDKerberos}
	for name, l := range map[string]login{
		"raw":                                {raw: true},
		"SPNEGO":                             {},
		"SPNEGO with MICs":                   {sendMIC: true},
		"SPNEGO without token":               {noOptimistic: true},
		"SPNEGO without token, with MICs":    {noOptimistic: true, sendMIC: true},
		"SPNEGO, another mechanism first":    {mechTypes: ntlmFirst},
		"without mutual authentication":      {noOptimistic: true, notMutual: true},
		"MICs without mutual authentication": {sendMIC: true, notMutual: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, first, second := twoServers(t)
			n := NewAuthenticator(nil, first, second)
			v := NewAuthenticator(nil, first, second)
			for service, server := range map[string]*Server{testService: first, otherService: second} {
				l.service = service
				p := r.newPeer("k."+service[4:]+".", l)
				if sign := through(n, p); sign == nil || sign.Server() != server {
					t.Fatalf("%s: %+v", service, r.lastEvent())
				}
				wire, _ := p.sign(updateMessage())
				if transaction, err := v.Authenticate(wire); err != nil || transaction.Server() != server {
					t.Errorf("%s: %v", service, err)
				}
			}
			for _, s := range []*Server{first, second} {
				if live, halfOpen := s.contexts.Len(); live != 1 || halfOpen != 0 {
					t.Errorf("%d contexts, %d unfinished", live, halfOpen)
				}
			}
		})
	}
}

// What one server's key has proven makes no context of another one, though all
// that is still missing is the MIC over the mechanisms.
func TestNegotiationStaysWhereKerberosBegan(t *testing.T) {
	r, first, second := twoServers(t)
	n := NewAuthenticator(nil, first, second)
	p := r.newPeer("k.example.test.", login{mechTypes: []asn1.ObjectIdentifier{spnego.OIDNTLM, spnego.OIDKerberos}})
	token := p.first()
	for range 2 {
		response, _ := n.Negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, token), testClient, nil)
		reply, err := hex.DecodeString(answerOf(t, response).Key)
		if err != nil {
			t.Fatal(err)
		}
		if token, err = p.outer.Init(reply); err != nil || token == nil {
			t.Fatalf("%v: %+v", err, r.lastEvent())
		}
	}
	name, _ := tsig.NameFromText(p.name)
	m := tkeyMessage(p.name, p.algorithm, modeGSS, token)
	if !first.contexts.begun(name) || n.choose(m, nil) != first {
		t.Error("the negotiation does not go on where it began")
	}
	answer, sign := second.answer(m, &negotiation{beside: n.servers})
	if answerOf(t, answer).Error != dns.RcodeBadKey || sign != nil {
		t.Errorf("another server has taken it over: %+v", r.lastEvent())
	}
	if first.contexts.hasHalfOpen(name) || second.contexts.hasHalfOpen(name) {
		t.Error("it is still there")
	}
}

// Two clients have given their contexts, of two servers, the same name.
func TestNegotiateDeletesTheSignersContext(t *testing.T) {
	for _, order := range []string{"first", "second"} {
		r, first, second := twoServers(t)
		n, v := NewAuthenticator(nil, first, second), NewAuthenticator(nil, first, second)
		one := r.newPeer("same.example.test.", login{client: "host/one.example.test"})
		two := r.newPeer("same.example.test.", login{client: "host/two.example.test", service: otherService})
		if through(n, two) == nil || through(n, one) == nil {
			t.Fatalf("%+v", r.lastEvent())
		}
		p, gone, stays := one, first, second
		if order == "second" {
			p, gone, stays = two, second, first
		}
		wire, _ := p.sign(tkeyMessage(p.name, p.algorithm, modeDelete, nil))
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		signer, err := v.Authenticate(wire)
		if err != nil {
			t.Fatal(err)
		}
		for _, try := range []string{"once", "again"} { // as a retransmission that was verified in time
			response, sign := n.Negotiate(m, testClient, signer)
			if answerOf(t, response).Error != 0 || sign != signer || r.lastEvent().Result != ResultDeleted {
				t.Errorf("%s, %s: %+v", order, try, r.lastEvent())
			}
		}
		name, _ := tsig.NameFromText(p.name)
		if gone.contexts.taken(name) || !stays.contexts.taken(name) {
			t.Errorf("%s: there is the first's %v, the second's %v", order, first.contexts.taken(name), second.contexts.taken(name))
		}
	}
}

// Queries that have no token for a server go by the name, or to the first one.
func TestNegotiateGoesByTheName(t *testing.T) {
	r, first, second := twoServers(t)
	n := NewAuthenticator(nil, first, second)
	p := r.newPeer("live.example.test.", login{service: otherService})
	signer := through(n, p)
	half := r.newPeer("half.example.test.", login{noOptimistic: true})
	NewAuthenticator(nil, second).Negotiate(tkeyMessage(half.name, half.algorithm, modeGSS, half.first()), testClient, nil)
	nothing := func(name string) *dns.Msg {
		return tkeyMessage(name, AlgorithmGSS, modeGSS, r.newPeer(name, login{noOptimistic: true}).first())
	}
	for _, test := range []struct {
		name   string
		m      *dns.Msg
		signer *Transaction
		want   *Server
	}{
		{"deletion", tkeyMessage("Live.example.test.", AlgorithmGSS, modeDelete, nil), nil, second},
		{"deletion of nothing", tkeyMessage("none.", AlgorithmGSS, modeDelete, nil), nil, first},
		{"deletion of nothing, signed", tkeyMessage("none.", AlgorithmGSS, modeDelete, nil), signer, second},
		{"SPNEGO without token for a live name", nothing(p.name), nil, second},
		{"SPNEGO without token", nothing("n."), nil, first},
		{"SPNEGO without token, signed", nothing("n."), signer, second},
		{"half-open name", tkeyMessage(half.name, AlgorithmGSS, modeGSS, []byte{0xa1}), nil, second},
		{"later token of nothing", tkeyMessage("n.", AlgorithmGSS, modeGSS, []byte{0xa1}), nil, first},
		{"garbage", tkeyMessage("n.", AlgorithmGSS, modeGSS, []byte("garbage")), nil, first},
		{"no token", tkeyMessage("n.", AlgorithmGSS, modeGSS, nil), nil, first},
		{"no TKEY", new(dns.Msg), nil, first},
		{"nil", nil, nil, first},
	} {
		if got := n.choose(test.m, test.signer); got != test.want {
			t.Errorf("%s: not for that server", test.name)
		}
	}
}

// No context gets the name of a static key, not even of one that is of no use
// itself.
func TestNegotiateReservesNamesOfStaticKeys(t *testing.T) {
	r := newRealm(t, nil)
	n := NewAuthenticator(staticKeys, r.server)
	for name, want := range map[string]uint16{"static.example.test.": dns.RcodeBadName, "STATIC.example.test.": dns.RcodeBadName,
		"broken.": dns.RcodeBadName, "free.example.test.": 0} {
		p := r.newPeer(name, login{})
		response, sign := n.Negotiate(tkeyMessage(name, p.algorithm, modeGSS, p.first()), testClient, nil)
		if got := answerOf(t, response).Error; got != want || (sign != nil) != (want == 0) {
			t.Errorf("%s: TKEY error %d, signed %v", name, got, sign != nil)
		}
		if want != 0 && (r.lastEvent().Result != ResultBadName || r.lastEvent().Reason == "") {
			t.Errorf("%+v", r.lastEvent())
		}
	}
}

// A context that has the name of a static key is from before that was configured.
func TestVerifyReservesNamesOfStaticKeys(t *testing.T) {
	r := newRealm(t, nil)
	p := r.login("static.example.test.", login{})
	wire, _ := p.sign(updateMessage())
	if _, err := NewAuthenticator(nil, r.server).Authenticate(wire); err != nil {
		t.Fatal(err)
	}
	v := NewAuthenticator(staticKeys, r.server)
	if m := v.Inspect(wire); !m.Signed() || m.KeyHeld() {
		t.Errorf("signed %t, key held %t", m.Signed(), m.KeyHeld())
	}
	if _, err := v.Authenticate(wire); kindOf(err) != BadKey {
		t.Errorf("got %v", err)
	}
}

// Without a server there is no context to be had. A signed query still gets a
// signed answer.
func TestNegotiateWithoutServers(t *testing.T) {
	standard.Requires(t, "RFC 2930", "3 no state")
	a := NewAuthenticator(staticKeys)
	if a.Negotiates() || !NewAuthenticator(nil, newRealm(t, nil).server).Negotiates() {
		t.Error("Negotiates does not tell whether there is a server")
	}
	signer := new(Transaction)
	m := tkeyMessage("k.", AlgorithmGSS, modeGSS, []byte{1})
	response, sign := a.Negotiate(m, testClient, signer)
	if response.Rcode != dns.RcodeRefused || response.Id != m.Id || len(response.Answer) != 0 || sign != signer {
		t.Errorf("%v, signed %v", response, sign)
	}
	if response, sign = a.Negotiate(nil, testClient, nil); response.Rcode != dns.RcodeRefused || sign != nil {
		t.Errorf("%v, signed %v", response, sign)
	}
}
