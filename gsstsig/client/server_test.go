package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

const (
	testService = "DNS/ns1.example.test"
	testRealm   = "EXAMPLE.TEST"
	testClient  = "host/client1.example.test"
)

// testKDC does a KDC's work: it has the service's key in a keytab and makes
// tickets for it.
type testKDC struct {
	keys *keytab.Keytab
	file string
}

func newTestKDC(t testing.TB) *testKDC {
	t.Helper()
	k := &testKDC{keys: keytab.New(), file: filepath.Join(t.TempDir(), "dns.keytab")}
	if err := k.keys.AddEntry(testService, testRealm, "service's password", time.Now(), 1, 18); err != nil {
		t.Fatal(err)
	}
	content, err := k.keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *testKDC) ticket(t testing.TB, lifetime time.Duration) ServiceTicket {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	end := now.Add(lifetime)
	ticket, key, err := messages.NewTicket(
		types.NewPrincipalName(1, testClient), testRealm, types.NewPrincipalName(1, testService), testRealm,
		types.NewKrbFlags(), k.keys, 18, 1, now.Add(-time.Minute), now.Add(-time.Minute), end, end)
	if err != nil {
		t.Fatal(err)
	}
	client, err := krb5.ParsePrincipal(testClient + "@" + testRealm)
	if err != nil {
		t.Fatal(err)
	}
	return ServiceTicket{Ticket: ticket, SessionKey: key, Client: client, Expires: end}
}

func (k *testKDC) acceptor(t *testing.T) *krb5.Acceptor {
	t.Helper()
	keytabs, err := krb5.OpenKeytabs(k.file)
	if err != nil {
		t.Fatal(err)
	}
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{Keytabs: keytabs, Replays: krb5.NewReplayCache(10000)})
	if err != nil {
		t.Fatal(err)
	}
	return acceptor
}

// listen serves the handler's answers on one port of UDP and TCP. The handler
// gives any number of messages for each that comes in; a nil one ends the
// connection.
func listen(t *testing.T, handle func(wire []byte, udp bool) [][]byte) (address string) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		buffer := make([]byte, 0xffff)
		for {
			n, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			for _, reply := range handle(bytes.Clone(buffer[:n]), true) {
				udp.WriteTo(reply, from)
			}
		}
	})
	wait.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer conn.Close()
				serveTCP(conn, handle)
			})
		}
	})
	t.Cleanup(func() {
		tcp.Close()
		udp.Close()
		wait.Wait()
	})
	return tcp.Addr().String()
}

func serveTCP(conn net.Conn, handle func([]byte, bool) [][]byte) {
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		wire := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, wire); err != nil {
			return
		}
		for _, reply := range handle(wire, false) {
			if reply == nil {
				return
			}
			if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
				return
			}
		}
	}
}

// scriptedServer knows raw Kerberos in one round and signs with miekg's digest,
// so that nothing of the client's is checked by itself. What it answers to
// signed requests, the test says.
type scriptedServer struct {
	t        *testing.T
	acceptor *krb5.Acceptor

	mu     sync.Mutex
	keys   map[string]*krb5.AcceptorContext // by key name
	tkey   func(*signedRequest, *dns.Msg) [][]byte
	answer func(*signedRequest) [][]byte
}

func newScriptedServer(t *testing.T) (*scriptedServer, *Client) {
	t.Helper()
	kdc := newTestKDC(t)
	s := &scriptedServer{t: t, acceptor: kdc.acceptor(t), keys: make(map[string]*krb5.AcceptorContext)}
	address := listen(t, s.handle)
	c, err := Dial(t.Context(), Config{
		Server: address, Credentials: FromTicket(kdc.ticket(t, time.Hour)), ServicePrincipal: testService,
		Framing: RawKerberos, Network: "tcp",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

// script says what signed requests get from now on.
func (s *scriptedServer) script(answer func(*signedRequest) [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// scriptTKEY does the same for TKEY queries; it is given the right answer.
func (s *scriptedServer) scriptTKEY(answer func(*signedRequest, *dns.Msg) [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tkey = answer
}

// signedRequest is a request and the key that it names.
type signedRequest struct {
	*dns.Msg
	udp      bool
	key      *krb5.AcceptorContext
	name     string
	mac      string // of the request, hexadecimal
	verified error
}

// micProvider lets miekg sign with a GSS context.
type micProvider struct {
	key     *krb5.AcceptorContext
	between []byte // unsigned messages that the MAC covers, after the one before
}

func (p micProvider) Generate(message []byte, _ *dns.TSIG) ([]byte, error) {
	if p.between != nil {
		prior := 2 + int(binary.BigEndian.Uint16(message))
		message = append(append(bytes.Clone(message[:prior]), p.between...), message[prior:]...)
	}
	return p.key.GetMIC(message)
}

func (p micProvider) Verify(message []byte, tsig *dns.TSIG) error {
	mac, err := hex.DecodeString(tsig.MAC)
	if err != nil {
		return err
	}
	return p.key.VerifyMIC(message, mac)
}

func (s *scriptedServer) handle(wire []byte, udp bool) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		s.t.Errorf("request: %v", err)
		return nil
	}
	r := &signedRequest{Msg: m, udp: udp}
	if tsig := m.IsTsig(); tsig != nil {
		r.name, r.mac, r.key = tsig.Hdr.Name, tsig.MAC, s.keys[tsig.Hdr.Name]
		if r.key == nil {
			s.t.Errorf("request with the unknown key %s", r.name)
			return nil
		}
		r.verified = dns.TsigVerifyWithProvider(wire, micProvider{key: r.key}, "", false)
		if r.verified != nil && !errors.Is(r.verified, dns.ErrTime) {
			s.t.Errorf("request's signature: %v", r.verified)
		}
		return s.answer(r)
	}
	tkey, ok := m.Extra[0].(*dns.TKEY)
	if !ok {
		s.t.Error("unsigned request")
		return nil
	}
	token, err := hex.DecodeString(tkey.Key)
	if err != nil {
		s.t.Error(err)
	}
	r.key, r.name = s.acceptor.NewContext(), tkey.Hdr.Name
	token, err = r.key.Accept(token)
	if err != nil {
		s.t.Errorf("token: %v", err)
	}
	s.keys[r.name] = r.key
	reply := new(dns.Msg).SetReply(m)
	now := uint32(time.Now().Unix())
	reply.Answer = []dns.RR{&dns.TKEY{
		Hdr:       dns.RR_Header{Name: r.name, Rrtype: dns.TypeTKEY, Class: dns.ClassANY},
		Algorithm: tkey.Algorithm, Inception: now, Expiration: now + 3600, Mode: 3,
		KeySize: uint16(len(token)), Key: hex.EncodeToString(token),
	}}
	if s.tkey != nil {
		return s.tkey(r, reply)
	}
	return [][]byte{r.sign(s.t, reply)}
}

// reply makes an unsigned answer with one record.
func (r *signedRequest) reply() *dns.Msg {
	reply := new(dns.Msg).SetReply(r.Msg)
	reply.Answer = []dns.RR{record("answer.example.test. 60 TXT \"all is well\"")}
	return reply
}

func record(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

func pack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// sign signs a single reply now.
func (r *signedRequest) sign(t *testing.T, reply *dns.Msg) []byte {
	wire, _ := r.signWith(t, reply, dns.TSIG{}, r.mac, false, micProvider{key: r.key})
	return wire
}

// signWith signs with what a test wants different; of the TSIG record given,
// fields that are zero get their ordinary value.
func (r *signedRequest) signWith(t *testing.T, reply *dns.Msg, tsig dns.TSIG, prior string, timersOnly bool, provider micProvider) (wire []byte, mac string) {
	t.Helper()
	if tsig.Hdr.Name == "" {
		tsig.Hdr.Name = r.name
	}
	tsig.Hdr.Rrtype, tsig.Hdr.Class = dns.TypeTSIG, dns.ClassANY
	if tsig.Algorithm == "" {
		tsig.Algorithm = AlgorithmGSSTSIG
	}
	if tsig.TimeSigned == 0 {
		tsig.TimeSigned = uint64(time.Now().Unix())
	}
	if tsig.Fudge == 0 {
		tsig.Fudge = 300
	}
	tsig.OrigId = reply.Id
	tsig.OtherLen = uint16(len(tsig.OtherData) / 2)
	signed := reply.Copy()
	signed.Extra = append(signed.Extra, &tsig)
	wire, mac, err := dns.TsigGenerateWithProvider(signed, provider, prior, timersOnly)
	if err != nil {
		t.Errorf("signing: %v", err)
	}
	return wire, mac
}

func negotiate(t *testing.T, c *Client) *Context {
	t.Helper()
	key, err := c.Negotiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Close)
	return key
}

func question() *dns.Msg {
	return new(dns.Msg).SetQuestion("answer.example.test.", dns.TypeTXT)
}
