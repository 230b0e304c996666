package gsstsig

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/sharedcontexts"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

var _ SharedContexts = (*sharedcontexts.Node)(nil)

// site is servers with one keytab and one table of shared contexts.
type site struct {
	t     *testing.T
	table *sharedcontexts.Table
	nodes []*siteNode
}

type siteNode struct {
	*realm
	shared *sharedcontexts.Node
	a      *Authenticator
}

func newSite(t *testing.T, n int, change func(i int, table *TableConfig, config *Config)) *site {
	t.Helper()
	s := &site{t: t, table: sharedcontexts.New()}
	now := time.Now().Truncate(time.Second)
	for i := range n {
		r := newRealm(t, func(table *TableConfig, config *Config) {
			if change != nil {
				change(i, table, config)
			}
		})
		r.clock.at = now
		node := &siteNode{realm: r, shared: s.table.Node(r.clock.now), a: NewAuthenticator(staticKeys, r.server)}
		if err := r.table.Share(Sharing{Contexts: node.shared, Place: "site", Server: fmt.Sprintf("ns%d", i+1)}); err != nil {
			t.Fatal(err)
		}
		s.nodes = append(s.nodes, node)
	}
	return s
}

// accept has a node verify a message and sign an answer.
func (n *siteNode) accept(wire []byte) (*Transaction, []byte) {
	n.t.Helper()
	transaction, err := n.a.Authenticate(wire)
	if err != nil {
		n.t.Fatal(err)
	}
	reply, err := transaction.Sign(new(dns.Msg).SetReply(updateMessage()))
	if err != nil {
		n.t.Fatal(err)
	}
	return transaction, reply
}

func (n *siteNode) refuse(wire []byte, want VerifyErrorKind, cause error) {
	n.t.Helper()
	var failure *VerifyError
	if _, err := n.a.Authenticate(wire); !errors.As(err, &failure) || failure.Kind != want || cause != nil && !errors.Is(err, cause) {
		n.t.Errorf("%v, want %s", err, want)
	}
}

// micNumber is the sequence number of the MIC in a signed message.
func micNumber(t testing.TB, wire []byte) uint64 {
	t.Helper()
	var r tsig.Record
	m, err := tsig.Parse(wire, &r)
	if err != nil || !m.Signed() || len(r.MAC) < 16 {
		t.Fatalf("no MIC: %v", err)
	}
	return binary.BigEndian.Uint64(r.MAC[8:])
}

// TestSharedContexts: a context that one server made is good at the others, at once, once for each message and with one
// number for each answer.
func TestSharedContexts(t *testing.T) {
	for _, l := range []login{
		{}, {raw: true}, {notMutual: true}, {enctype: 17, algorithm: AlgorithmGSSMicrosoft}, {enctype: 19}, {notMutual: true, sendMIC: true}, {noOptimistic: true},
	} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			s := newSite(t, 3, nil)
			s.nodes[1].shared.Behind()
			s.nodes[2].shared.Behind()
			p := s.nodes[0].newPeer("K.Example.TEST.", l)
			response, sign := p.run()
			if e := s.nodes[0].lastEvent(); !e.Shared || e.NotShared != nil || e.Result != ResultEstablished {
				t.Fatalf("%+v", e)
			}
			wire, err := sign.Sign(response)
			if err != nil {
				t.Fatal(err)
			}
			p.verifyAnswer(wire, "", false)
			last := micNumber(t, wire)
			for i := range 7 {
				node := s.nodes[(i+1)%len(s.nodes)]
				request, mac := p.sign(updateMessage())
				transaction, reply := node.accept(request)
				if id := transaction.Identity(); id.KeyName != "k.example.test." || id.Principal.String() != "host/a.example.test@"+testRealm || transaction.Server() != node.server {
					t.Errorf("identity %+v", id)
				}
				p.verifyAnswer(reply, mac, false)
				if number := micNumber(t, reply); number != last+1 {
					t.Errorf("answer %d has number %d, after %d", i, number, last)
				} else {
					last = number
				}
				node.refuse(request, BadSig, krb5.ErrReplay)
			}
			list := s.nodes[2].table.Contexts()
			if len(list) != 1 || !list[0].Shared || list[0].Maker != "ns1" || list[0].Messages != 2 ||
				!list[0].Created.Equal(s.nodes[0].clock.now()) || list[0].Client != testClient {
				t.Errorf("%+v", list)
			}
		})
	}
}

// TestMarksAreTheSameEverywhere: the mark of a message is the same at every server, also in a context that a replayed handshake
// has made, and each message has another.
func TestMarksAreTheSameEverywhere(t *testing.T) {
	s := newSite(t, 2, nil)
	seen := make(map[Mark]string)
	add := func(what string, wire []byte) {
		t.Helper()
		var marks []Mark
		for _, node := range s.nodes {
			transaction, _ := node.accept(wire)
			marks = append(marks, transaction.Mark())
		}
		if marks[0] != marks[1] || marks[0].Context == (Mark{}).Context {
			t.Errorf("%s: marks %v", what, marks)
		}
		if other, ok := seen[marks[0]]; ok {
			t.Errorf("%s has the mark of %s", what, other)
		}
		seen[marks[0]] = what
	}
	p := s.nodes[0].login("k.example.test.", login{})
	q := s.nodes[1].login("q.example.test.", login{})
	for i := range 3 {
		for of, p := range map[string]*peer{"k": p, "q": q} {
			wire, _ := p.sign(updateMessage())
			add(fmt.Sprint(of, i), wire)
		}
		wire, _ := signStatic(t, updateMessage(), staticName, dns.HmacSHA256, s.nodes[0].clock.now().Add(time.Duration(i)*time.Second))
		add(fmt.Sprint("static ", i), wire)
	}

	// A handshake without mutual authentication that another server has not seen makes the same keys there.
	alone := newSite(t, 2, nil)
	for _, node := range alone.nodes {
		if err := node.table.Share(Sharing{}); err != nil {
			t.Fatal(err)
		}
	}
	victim := alone.nodes[0].newPeer("k.example.test.", login{raw: true, notMutual: true})
	token := victim.first()
	for _, node := range alone.nodes {
		node.clock.advance(time.Second) // after the caches of replays began
		if _, sign := node.negotiate(tkeyMessage(victim.name, victim.algorithm, modeGSS, token), testClient, nil); sign == nil {
			t.Fatalf("%+v", node.lastEvent())
		}
	}
	wire, _ := victim.sign(updateMessage())
	first, _ := alone.nodes[0].accept(wire)
	second, _ := alone.nodes[1].accept(wire)
	if first.Mark() != second.Mark() {
		t.Errorf("marks %v and %v", first.Mark(), second.Mark())
	}
}

// TestSharedNamesAreTaken: a name that has a context anywhere is BADNAME, also where a server has not heard of it.
func TestSharedNamesAreTaken(t *testing.T) {
	s := newSite(t, 2, nil)
	s.nodes[1].shared.Behind()
	s.nodes[0].login("k.example.test.", login{})
	for range 2 {
		p := s.nodes[1].newPeer("k.example.test.", login{})
		response, sign := s.nodes[1].negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, p.first()), testClient, nil)
		if answerOf(t, response).Error != dns.RcodeBadName || sign != nil {
			t.Errorf("TKEY error %d", answerOf(t, response).Error)
		}
		if s.nodes[1].live() != 0 {
			t.Error("the context is there all the same")
		}
	}
	for _, node := range s.nodes {
		node.clock.advance(DefaultLifetime)
	}
	s.nodes[1].login("k.example.test.", login{})
}

// TestSharedDeletion: a context that is deleted at one server is no key at any other.
func TestSharedDeletion(t *testing.T) {
	for deleter := range 2 {
		for _, drop := range []bool{false, true} {
			s := newSite(t, 3, nil)
			p := s.nodes[0].login("k.example.test.", login{})
			for _, node := range s.nodes {
				wire, _ := p.sign(updateMessage())
				node.accept(wire)
			}
			if drop {
				dropped, err := s.nodes[deleter].table.Drop(func(ContextInfo) bool { return true })
				if len(dropped) != 1 || err != nil {
					t.Errorf("dropped %v, %v", dropped, err)
				}
			} else {
				query := tkeyMessage(p.name, p.algorithm, modeDelete, nil)
				wire, _ := p.sign(query)
				signer, _ := s.nodes[deleter].accept(wire)
				response, _ := s.nodes[deleter].a.Negotiate(query, testClient, signer)
				if response.Rcode != dns.RcodeSuccess || s.nodes[deleter].lastEvent().Result != ResultDeleted {
					t.Errorf("%s\n%+v", response, s.nodes[deleter].lastEvent())
				}
			}
			for _, node := range s.nodes {
				wire, _ := p.sign(updateMessage())
				node.refuse(wire, BadKey, nil)
				if len(node.table.Contexts()) != 0 {
					t.Error("it is listed")
				}
			}
			if s.table.Len() != 0 {
				t.Error("the record is there")
			}
		}
	}
}

// TestElsewhere: contexts of which a server has seen no message are listed, and can be dropped, there too.
func TestElsewhere(t *testing.T) {
	s := newSite(t, 2, nil)
	p, q := s.nodes[0].login("k.example.test.", login{}), s.nodes[0].login("q.example.test.", login{client: "b"})
	wire, _ := q.sign(updateMessage())
	s.nodes[1].accept(wire)
	list := s.nodes[1].server.Elsewhere()
	if len(list) != 1 || list[0].KeyName != "k.example.test." || list[0].Maker != "ns1" || !list[0].Shared || list[0].Principal.String() != "host/a.example.test@"+testRealm {
		t.Fatalf("%+v", list)
	}
	if again := s.nodes[1].server.Elsewhere(); len(again) != 1 || again[0].KeyName != list[0].KeyName || again[0].Maker != "ns1" {
		t.Errorf("the second time: %+v", again)
	}
	if list := s.nodes[0].server.Elsewhere(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	if dropped, err := s.nodes[1].server.DropElsewhere(func(ContextInfo) bool { return false }); dropped != nil || err != nil {
		t.Errorf("%v, %v", dropped, err)
	}
	if dropped, err := s.nodes[1].server.DropElsewhere(func(ContextInfo) bool { return true }); len(dropped) != 1 || err != nil {
		t.Errorf("%v, %v", dropped, err)
	}
	for _, node := range s.nodes {
		wire, _ := p.sign(updateMessage())
		node.refuse(wire, BadKey, nil)
		wire, _ = q.sign(updateMessage())
		node.accept(wire)
	}
}

// TestSharedTableOutOfReach: without the table a server makes contexts that are good there alone, and uses those that it knows.
func TestSharedTableOutOfReach(t *testing.T) {
	s := newSite(t, 2, nil)
	known := s.nodes[0].login("known.example.test.", login{})
	s.nodes[1].shared.Cut(true)
	wire, _ := known.sign(updateMessage())
	s.nodes[1].accept(wire)

	p := s.nodes[1].login("k.example.test.", login{})
	if e := s.nodes[1].lastEvent(); e.Shared || !errors.Is(e.NotShared, context.DeadlineExceeded) {
		t.Errorf("%+v", e)
	}
	for i := range uint64(3) {
		wire, mac := p.sign(updateMessage())
		_, reply := s.nodes[1].accept(wire)
		p.verifyAnswer(reply, mac, false)
		if i == 2 {
			s.nodes[0].refuse(wire, BadKey, nil)
		}
	}
	made := s.nodes[0].login("made.example.test.", login{})
	wire, _ = made.sign(updateMessage())
	s.nodes[1].refuse(wire, BadKey, nil)

	// A deletion is refused, holds here at once, and for all as soon as the table is there.
	query := tkeyMessage(known.name, known.algorithm, modeDelete, nil)
	wire, _ = known.sign(query)
	signer, _ := s.nodes[1].accept(wire)
	response, _ := s.nodes[1].a.Negotiate(query, testClient, signer)
	if response.Rcode != dns.RcodeServerFailure || s.nodes[1].lastEvent().Result != ResultServFail {
		t.Errorf("%s\n%+v", response, s.nodes[1].lastEvent())
	}
	wire, _ = known.sign(updateMessage())
	s.nodes[1].refuse(wire, BadKey, nil)
	s.nodes[0].accept(wire)
	s.nodes[1].shared.Cut(false)
	for s.table.Len() != 1 { // made is left
		time.Sleep(time.Millisecond)
	}
	wire, _ = known.sign(updateMessage())
	s.nodes[0].refuse(wire, BadKey, nil)
}

// TestSharedAnswerIsLost: a record that was written, although the server did not hear so, is good everywhere.
func TestSharedAnswerIsLost(t *testing.T) {
	s := newSite(t, 2, nil)
	s.nodes[0].shared.LoseAnswers(true)
	p := s.nodes[0].login("k.example.test.", login{})
	if e := s.nodes[0].lastEvent(); e.Shared || e.NotShared == nil || e.Result != ResultEstablished {
		t.Errorf("%+v", e)
	}
	s.nodes[0].shared.LoseAnswers(false)
	last := uint64(0)
	for i := range 6 {
		wire, mac := p.sign(updateMessage())
		_, reply := s.nodes[i%2].accept(wire)
		p.verifyAnswer(reply, mac, false)
		if number := micNumber(t, reply); i > 0 && number != last+1 {
			t.Errorf("number %d after %d", number, last)
		} else {
			last = number
		}
	}
	if _, err := s.nodes[1].table.Drop(func(ContextInfo) bool { return true }); err != nil {
		t.Fatal(err)
	}
	wire, _ := p.sign(updateMessage())
	s.nodes[0].refuse(wire, BadKey, nil)
}

// TestTableThatWasNotReadYet: what a server does not know of is not taken for deleted.
func TestTableThatWasNotReadYet(t *testing.T) {
	s := newSite(t, 1, nil)
	p := s.nodes[0].login("k.example.test.", login{})
	s.nodes[0].shared.Forget()
	wire, _ := p.sign(updateMessage())
	s.nodes[0].accept(wire)
}

// acceptorOf accepts tickets for the service in keys of these versions.
func acceptorOf(t *testing.T, now func() time.Time, versions ...uint8) *krb5.Acceptor {
	t.Helper()
	keys := keytab.New()
	for _, version := range versions {
		if err := keys.AddEntry(testService, testRealm, "service password", time.Now(), version, 18); err != nil {
			t.Fatal(err)
		}
	}
	b, err := keys.Marshal()
	if err != nil {
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
	a, err := krb5.NewAcceptor(krb5.AcceptorConfig{Keytabs: keytabs, Replays: krb5.NewReplayCache(0), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestSharedContextsNeedTheKey: a server whose keytab has no key of the version says so; one with the old and the new key takes
// both.
func TestSharedContextsNeedTheKey(t *testing.T) {
	s := newSite(t, 3, func(i int, _ *TableConfig, config *Config) {
		switch i {
		case 1:
			config.Acceptor = acceptorOf(t, config.Now, 4)
		case 2:
			config.Acceptor = acceptorOf(t, config.Now, 3, 4)
		}
	})
	p := s.nodes[0].login("k.example.test.", login{})
	wire, _ := p.sign(updateMessage())
	s.nodes[1].refuse(wire, BadKey, krb5.ErrNoKey)
	_, err := s.nodes[1].a.Authenticate(wire)
	var failure *VerifyError
	if !errors.As(err, &failure) || !strings.Contains(err.Error(), "key version 3 (aes256-cts-hmac-sha1-96)") || !strings.Contains(failure.Fix(), "keytab") {
		t.Errorf("%v; %s", err, failure.Fix())
	}
	s.nodes[2].accept(wire)
}

// TestDeletionFindsTheServerWithTheKey: of two servers on one address, the one that can open the record deletes the context.
func TestDeletionFindsTheServerWithTheKey(t *testing.T) {
	s := newSite(t, 3, func(i int, _ *TableConfig, config *Config) {
		if i == 1 {
			config.Acceptor = acceptorOf(t, config.Now, 4)
		}
	})
	p, q := s.nodes[0].login("k.example.test.", login{}), s.nodes[0].login("q.example.test.", login{})
	a := NewAuthenticator(nil, s.nodes[1].server, s.nodes[2].server)
	query := tkeyMessage(p.name, p.algorithm, modeDelete, nil)
	wire, _ := q.sign(query)
	signer, err := a.Authenticate(wire)
	if err != nil {
		t.Fatal(err)
	}
	signer.server = nil // as if it belonged to neither
	if response, _ := a.Negotiate(query, testClient, signer); response.Rcode != dns.RcodeSuccess || answerOf(t, response).Error != 0 || s.table.Len() != 1 {
		t.Errorf("%s, %d records", response, s.table.Len())
	}
}

// TestRecordsAreOfOnePlaceAndName: who writes the store cannot put a record elsewhere, or under another name.
func TestRecordsAreOfOnePlaceAndName(t *testing.T) {
	s := newSite(t, 2, nil)
	p, q := s.nodes[0].login("k.example.test.", login{}), s.nodes[0].login("q.example.test.", login{})
	record, _ := s.nodes[0].shared.Find(p.context().id)
	s.table.Put(q.context().id, record, time.Now().Add(time.Hour))
	wire, _ := q.sign(updateMessage())
	s.nodes[1].refuse(wire, BadKey, errSharedName)
	if err := s.nodes[1].table.Share(Sharing{Contexts: s.nodes[1].shared, Place: "elsewhere", Server: "ns2"}); err != nil {
		t.Fatal(err)
	}
	wire, _ = p.sign(updateMessage())
	s.nodes[1].refuse(wire, BadKey, krb5.ErrIntegrity)
	if err := s.nodes[1].table.Share(Sharing{Contexts: s.nodes[1].shared, Server: "a\n"}); err == nil {
		t.Error("a name with control characters")
	}
}

// TestMadeUpNames: however many messages name keys that there are not, the shared table is asked once in five milliseconds, and
// those of one source do not keep others from it.
func TestMadeUpNames(t *testing.T) {
	s := newSite(t, 2, nil)
	s.nodes[1].shared.Behind()
	p := s.nodes[0].login("k.example.test.", login{})
	began := time.Now()
	var done sync.WaitGroup
	for i := range 2000 {
		made, _ := p.signAs(updateMessage(), fmt.Sprintf("%d.example.test.", i), AlgorithmGSS, s.nodes[1].clock.now())
		done.Go(func() {
			m := s.nodes[1].a.Inspect(made)
			if m.KeyHeld() || !m.KeyElsewhere() || m.FindKey(t.Context(), netip.MustParseAddr("192.0.2.66"), i%2 == 0) {
				t.Error("a made-up key is held")
			}
		})
	}
	wire, _ := p.sign(updateMessage())
	m := s.nodes[1].a.Inspect(wire)
	if !m.KeyHeld() && !m.FindKey(t.Context(), netip.MustParseAddr("192.0.2.1"), false) || m.KeyElsewhere() {
		t.Error("the key is not found")
	}
	if _, err := m.Authenticate(); err != nil {
		t.Error(err)
	}
	done.Wait()
	if most := int64(time.Since(began)/lookupInterval) + 2; s.nodes[1].shared.Syncs.Load() > most {
		t.Errorf("the table was asked %d times, %d at most are due", s.nodes[1].shared.Syncs.Load(), most)
	}
	// A key that is known costs no request.
	asked := s.nodes[1].shared.Syncs.Load()
	wire, _ = p.sign(updateMessage())
	s.nodes[1].accept(wire)
	s.nodes[0].accept(wire)
	if s.nodes[1].shared.Syncs.Load() != asked || s.nodes[0].shared.Syncs.Load() != 0 {
		t.Error("a known key was looked for")
	}
}

// TestLookupsAreBounded: a source has a share of those who wait.
func TestLookupsAreBounded(t *testing.T) {
	release := make(chan struct{})
	l := &lookups{sync: func(context.Context) error { <-release; return nil }}
	var done sync.WaitGroup
	results := make(chan error, 2*maxSourceLookups)
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range cap(results) {
		done.Go(func() { results <- l.wait(t.Context(), one, false) })
	}
	for range maxSourceLookups {
		if err := <-results; !errors.Is(err, errLookups) {
			t.Fatal(err)
		}
	}
	for _, proven := range []bool{true, false} {
		done.Go(func() {
			if err := l.wait(t.Context(), other, proven); err != nil {
				t.Error(err)
			}
		})
	}
	done.Go(func() {
		if err := l.wait(t.Context(), one, true); err != nil {
			t.Error(err)
		}
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.wait(gone, other, false); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	done.Wait()
	for range maxSourceLookups {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	for _, w := range l.waiting {
		if w.all != 0 || len(w.of) != 0 {
			t.Errorf("%+v", w)
		}
	}
}

// TestSharedFudge: servers that share contexts accept no message for longer than they remember in common what was done.
func TestSharedFudge(t *testing.T) {
	for _, shares := range []bool{true, false} {
		s := newSite(t, 1, nil)
		p := s.nodes[0].login("k.example.test.", login{})
		if !shares {
			if err := s.nodes[0].table.Share(Sharing{}); err != nil {
				t.Fatal(err)
			}
		}
		for off, good := range map[time.Duration]bool{300 * time.Second: true, -300 * time.Second: true, 301 * time.Second: !shares, -time.Hour: !shares} {
			m := updateMessage()
			record := stub(p.name, p.algorithm, s.nodes[0].clock.now().Add(off))
			record.Fudge, record.OrigId = 3600, m.Id
			m.Extra = append(m.Extra, record)
			wire, _, err := dns.TsigGenerateWithProvider(m, p, "", false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.nodes[0].a.Authenticate(wire); (err == nil) != good || !good && kindOf(err) != BadTime {
				t.Errorf("shared %t, %s off: %v", shares, off, err)
			}
		}
	}
}

// TestForgedMessagesDisplaceNothing: a message with the name of a context of another server, and a wrong MAC, takes no place in
// the table.
func TestForgedMessagesDisplaceNothing(t *testing.T) {
	s := newSite(t, 2, nil)
	p := s.nodes[0].login("k.example.test.", login{})
	wire, _ := p.sign(updateMessage())
	forged := bytes.Clone(wire)
	forged[len(forged)-8]++
	s.nodes[1].refuse(forged, BadSig, nil)
	if s.nodes[1].live() != 0 {
		t.Error("it has")
	}
	s.nodes[1].accept(wire)
	if s.nodes[1].live() != 1 || len(s.nodes[1].server.opened.contexts) != 0 {
		t.Error("the context is not kept")
	}

	// Records that were opened for nothing are kept in a bounded number.
	for i := range maxOpened + 10 {
		c := &securityContext{}
		binary.BigEndian.PutUint64(c.id[:], uint64(i))
		s.nodes[1].server.opened.add(c)
		if s.nodes[1].server.opened.of(c.id) != c {
			t.Fatal("the last one is not there")
		}
	}
	if n := len(s.nodes[1].server.opened.contexts); n != maxOpened {
		t.Errorf("%d opened records", n)
	}
}

// TestFirstMessageComesOften: of the same message, sent to a server many times at once that has not seen its context, one is
// accepted.
func TestFirstMessageComesOften(t *testing.T) {
	s := newSite(t, 2, nil)
	for i := range 20 {
		p := s.nodes[0].login(fmt.Sprintf("%d.example.test.", i), login{})
		wire, _ := p.sign(updateMessage())
		var done sync.WaitGroup
		accepted := make(chan bool, 8)
		for range cap(accepted) {
			done.Go(func() {
				_, err := s.nodes[1].a.Authenticate(wire)
				accepted <- err == nil
			})
		}
		done.Wait()
		n := 0
		for range cap(accepted) {
			if <-accepted {
				n++
			}
		}
		if n != 1 {
			t.Errorf("accepted %d times", n)
		}
	}
}

// TestMakerEvicts: a context that has to make room where it was made is good nowhere, and one that has to make room elsewhere,
// for another one of other servers, is good there again.
func TestMakerEvicts(t *testing.T) {
	s := newSite(t, 2, func(i int, table *TableConfig, _ *Config) {
		table.MaxContexts = 2
		if i == 1 {
			table.MaxContexts = 1
		}
	})
	own := s.nodes[1].login("own.example.test.", login{})
	var peers []*peer
	for i := range 3 {
		peers = append(peers, s.nodes[0].login(fmt.Sprintf("%d.example.test.", i), login{}))
	}
	for s.table.Len() != 3 {
		time.Sleep(time.Millisecond)
	}
	wire, _ := peers[0].sign(updateMessage())
	for _, node := range s.nodes {
		node.refuse(wire, BadKey, nil)
	}
	for range 2 {
		for _, p := range peers[1:] {
			for _, node := range s.nodes {
				wire, _ := p.sign(updateMessage())
				node.accept(wire)
			}
		}
	}
	// What others made displaces nothing that was made here.
	for _, node := range s.nodes {
		wire, _ := own.sign(updateMessage())
		node.accept(wire)
	}
	if s.table.Len() != 3 || s.nodes[1].live() != 2 || s.nodes[0].live() != 3 {
		t.Errorf("%d records, %d and %d contexts", s.table.Len(), s.nodes[0].live(), s.nodes[1].live())
	}
}

// TestTransferKeepsAContext: an answer of several messages takes numbers that other servers cannot know, so that the context
// is good at that server alone from then on. The numbers go on there one by one.
func TestTransferKeepsAContext(t *testing.T) {
	for _, at := range []int{0, 1} {
		s := newSite(t, 2, nil)
		p := s.nodes[0].login("k.example.test.", login{})
		for _, node := range s.nodes {
			wire, mac := p.sign(updateMessage())
			_, reply := node.accept(wire)
			p.verifyAnswer(reply, mac, false)
		}
		wire, mac := p.sign(new(dns.Msg).SetAxfr("example.test."))
		transaction, reply := s.nodes[at].accept(wire)
		last := micNumber(t, reply)
		for i := range 4 {
			mac = p.verifyAnswer(reply, mac, i > 0).MAC
			var err error
			if reply, err = transaction.Sign(new(dns.Msg).SetReply(updateMessage())); err != nil {
				t.Fatal(err)
			}
			if number := micNumber(t, reply); number != last+1 {
				t.Errorf("number %d after %d", number, last)
			} else {
				last = number
			}
		}
		wire, mac = p.sign(updateMessage())
		s.nodes[1-at].refuse(wire, BadKey, nil)
		_, reply = s.nodes[at].accept(wire)
		p.verifyAnswer(reply, mac, false)
		if number := micNumber(t, reply); number != last+1 {
			t.Errorf("number %d after the transfer's %d", number, last)
		}
		if s.table.Len() != 0 || s.nodes[at].table.Contexts()[0].Shared {
			t.Error("the context is shared")
		}
	}
}

// TestNoTwoAnswersHaveOneNumber: clients negotiate and ask at any servers at once, and each gets answers that it can tell apart.
func TestNoTwoAnswersHaveOneNumber(t *testing.T) {
	standard.Deviates(t, "RFC 4121", "4.2.1 numbers", "In a context that several servers share, the number of a reply follows from that of its request, and not from the reply before: no two servers use one number.")
	s := newSite(t, 3, nil)
	var done sync.WaitGroup
	for i := range 100 {
		done.Go(func() {
			answers := make(map[uint64][]byte)
			note := func(wire []byte) {
				if other, ok := answers[micNumber(t, wire)]; ok {
					t.Errorf("client %d: %x and %x have one number", i, other, wire)
				}
				answers[micNumber(t, wire)] = wire
			}
			l := login{client: fmt.Sprintf("c%d", i), noOptimistic: i%3 == 0, notMutual: i%5 == 0, raw: i%7 == 0 && i%3 != 0}
			l.sendMIC = !l.raw && i%2 == 0
			p := s.nodes[i%3].newPeer(fmt.Sprintf("%d.example.test.", i), l)
			response, sign := p.run()
			wire, err := sign.Sign(response)
			if err != nil {
				t.Error(err)
				return
			}
			note(wire)
			var requests sync.WaitGroup
			var mu sync.Mutex
			for j := range 12 {
				request, _ := p.sign(updateMessage())
				requests.Go(func() {
					transaction, err := s.nodes[(i+j)%3].a.Authenticate(request)
					if err != nil {
						t.Errorf("client %d: %v", i, err)
						return
					}
					answer := new(dns.Msg).SetReply(updateMessage())
					answer.Id = uint16(j)
					reply, err := transaction.Sign(answer)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					note(reply)
				})
			}
			requests.Wait()
			if len(answers) != 13 {
				t.Errorf("client %d: %d answers", i, len(answers))
			}
		})
	}
	done.Wait()
}

// FuzzSharedData reads what is sealed in a shared record beside the mechanism's state.
func FuzzSharedData(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		from, rest, ok := cutOrigin(data)
		if !ok {
			return
		}
		if again := append(from.append(nil), rest...); !bytes.Equal(again, data) || !printable(from.maker) {
			t.Fatalf("%x is read as %+v and %x, and written as %x", data, from, rest, again)
		}
	})
}
