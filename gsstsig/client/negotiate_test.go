package client

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// newServer runs package gsstsig's own server, which speaks every framing.
// Signed requests are answered NOERROR, with what the client asked.
func newServer(t *testing.T) (address string, kdc *testKDC) {
	t.Helper()
	return newServerThat(t, func(*dns.TKEY) {})
}

// newServerThat is newServer, but for what edit changes in the TKEY records of
// unsigned replies.
func newServerThat(t *testing.T, edit func(*dns.TKEY)) (address string, kdc *testKDC) {
	t.Helper()
	kdc = newTestKDC(t)
	server, err := gsstsig.NewServer(gsstsig.Config{
		Acceptor: kdc.acceptor(t), Contexts: gsstsig.NewTable(gsstsig.TableConfig{}), ServerName: "ns1.example.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	authenticator := gsstsig.NewAuthenticator(nil, server)
	return listen(t, func(wire []byte, _ bool) [][]byte {
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Errorf("request: %v", err)
			return nil
		}
		transaction, err := authenticator.Authenticate(wire)
		var refusal *gsstsig.VerifyError
		if errors.As(err, &refusal) {
			reply, err := refusal.Reply()
			if err != nil {
				t.Error(err)
			}
			return [][]byte{reply}
		}
		reply := new(dns.Msg).SetReply(m)
		if m.Question[0].Qtype == dns.TypeTKEY {
			reply, transaction = authenticator.Negotiate(m, netip.AddrPort{}, transaction)
		}
		if transaction == nil {
			edit(reply.Answer[0].(*dns.TKEY))
			return [][]byte{pack(t, reply)}
		}
		signed, err := transaction.Sign(reply)
		if err != nil {
			t.Error(err)
		}
		return [][]byte{signed}
	}), kdc
}

func dial(t *testing.T, config Config) *Client {
	t.Helper()
	config.ServicePrincipal = testService
	c, err := Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNegotiateEveryWay(t *testing.T) {
	standard.Requires(t, "RFC 3645", "3.1.1 flags", "3.1.2 query")
	address, kdc := newServer(t)
	credentials := FromTicket(kdc.ticket(t, time.Hour))
	for _, network := range []string{"udp", "tcp"} {
		for _, algorithm := range []string{AlgorithmGSSTSIG, AlgorithmMicrosoft} {
			for framing := SPNEGO; framing <= SPNEGOWindows; framing++ {
				for flags := range 16 {
					config := Config{
						Server: address, Network: network, Credentials: credentials, Algorithm: algorithm, Framing: framing,
						Quirks: Quirks{OneWay: flags&1 != 0, NoSubkey: flags&2 != 0, MechListMIC: flags&4 != 0, TKEYInAnswer: flags&8 != 0},
					}
					name := fmt.Sprintf("%s %s framing %d one-way %t without subkey %t mechListMIC %t in answer %t", network,
						algorithm, framing, config.Quirks.OneWay, config.Quirks.NoSubkey, config.Quirks.MechListMIC, config.Quirks.TKEYInAnswer)
					key, err := dial(t, config).Negotiate(t.Context())
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					if key.Algorithm() != algorithm || key.Enctype() != 18 {
						t.Errorf("%s: got %s, encryption type %d", name, key.Algorithm(), key.Enctype())
					}
					if _, err := key.Exchange(t.Context(), question()); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					if err := key.Delete(t.Context()); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		}
	}
}

func TestKeyNames(t *testing.T) {
	address, kdc := newServer(t)
	config := Config{Server: address, Credentials: FromTicket(kdc.ticket(t, 30*time.Minute))}
	for _, class := range []uint16{dns.ClassANY, dns.ClassINET} {
		config.Quirks.Class, config.Quirks.RecordClass = class, class
		for _, test := range []struct{ ask, got string }{
			{"", ""}, {".", ""}, {"Mine.Example", "mine.example."}, {"\\109ine2.example.", "mine2.example."},
		} {
			config.KeyName = test.ask
			key, err := dial(t, config).Negotiate(t.Context())
			if err != nil {
				t.Errorf("%q: %v", test.ask, err)
				continue
			}
			if test.got != "" && key.KeyName() != test.got || key.KeyName() == "." {
				t.Errorf("%q became %q", test.ask, key.KeyName())
			}
			// The ticket ends before the hour that was asked for.
			if from, until := key.Lifetime(); until.Sub(from) > 30*time.Minute || !until.After(from) {
				t.Errorf("%q lives from %v until %v", test.ask, from, until)
			}
			if test.got != "" {
				_, err = dial(t, config).Negotiate(t.Context())
				var refused *TKEYError
				if !errors.As(err, &refused) || refused.Code != dns.RcodeBadName {
					t.Errorf("%q again: %v", test.ask, err)
				}
			}
			if err := key.Delete(t.Context()); err != nil {
				t.Errorf("%q: %v", test.ask, err)
			}
		}
	}
}

func TestDeleteKey(t *testing.T) {
	standard.Requires(t, "RFC 2930", "4.2 deletion", "4.2 unknown key")
	standard.Requires(t, "RFC 3645", "3.2.1 end")
	address, kdc := newServer(t)
	c := dial(t, Config{Server: address, Credentials: FromTicket(kdc.ticket(t, time.Hour))})
	first, second := negotiate(t, c), negotiate(t, c)
	if err := second.DeleteKey(t.Context(), first.KeyName()); err != nil {
		t.Fatal(err)
	}
	_, err := first.Exchange(t.Context(), question())
	var refused *TSIGError
	if !errors.As(err, &refused) || refused.Code != dns.RcodeBadKey {
		t.Errorf("the deleted key: %v", err)
	}
	var unknown *TKEYError
	if err := second.DeleteKey(t.Context(), first.KeyName()); !errors.As(err, &unknown) {
		t.Errorf("deleting it again: %v", err)
	}
}

func TestBadTimeByOwnServer(t *testing.T) {
	address, kdc := newServer(t)
	var mu sync.Mutex
	offset := time.Duration(0)
	c := dial(t, Config{Server: address, Credentials: FromTicket(kdc.ticket(t, time.Hour)), Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Now().Add(offset)
	}})
	key := negotiate(t, c)
	mu.Lock()
	offset = time.Hour
	mu.Unlock()
	_, err := key.Exchange(t.Context(), question())
	var refused *TSIGError
	if !errors.As(err, &refused) || refused.Code != dns.RcodeBadTime || !refused.Verified {
		t.Fatalf("got %v", err)
	}
	if d := time.Since(refused.ServerTime); d > time.Minute || d < -time.Minute {
		t.Errorf("server's time is %v", refused.ServerTime)
	}
}

func TestReplayIsRefused(t *testing.T) {
	standard.Requires(t, "RFC 2136", "5.1 duplicates")
	standard.Requires(t, "RFC 3645", "5.2 errors")
	address, kdc := newServer(t)
	c := dial(t, Config{Server: address, Credentials: FromTicket(kdc.ticket(t, time.Hour))})
	wire, transaction, err := negotiate(t, c).Sign(question())
	if err != nil {
		t.Fatal(err)
	}
	send := func() error {
		return c.transport.tcp(t.Context(), wire, func(received []byte) (bool, error) {
			_, err := transaction.Verify(received)
			return true, err
		})
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	var refused *TSIGError
	if err := send(); !errors.As(err, &refused) || refused.Code != dns.RcodeBadSig {
		t.Errorf("the same message again: %v", err)
	}
}

func TestManyContexts(t *testing.T) {
	address, kdc := newServer(t)
	c := dial(t, Config{Server: address, Credentials: FromTicket(kdc.ticket(t, time.Hour))})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 8 {
				key, err := c.Negotiate(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := key.Exchange(t.Context(), question()); err != nil {
					t.Error(err)
				}
				key.Close()
			}
		})
	}
	wait.Wait()
}

func TestNegotiateRefuses(t *testing.T) {
	standard.Requires(t, "RFC 3645", "3.1.3.1 signature", "3.1.3.2 errors")
	tkeyOf := func(m *dns.Msg) *dns.TKEY { return m.Answer[0].(*dns.TKEY) }
	var earlierKey string // the token of the first reply
	tests := []struct {
		name   string
		answer func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte
		want   error
	}{
		{"unsigned", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte { return pack(t, reply) }, ErrUnsigned},
		{"one bit of the MAC", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			wire := r.sign(t, reply)
			wire[len(wire)-7] ^= 1
			return wire
		}, ErrSignature},
		{"a lifetime changed on the way", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			signed := new(dns.Msg)
			if err := signed.Unpack(r.sign(t, reply)); err != nil {
				t.Fatal(err)
			}
			tkeyOf(signed).Expiration += 3600
			return pack(t, signed)
		}, ErrSignature},
		{"the token of another reply", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			tkeyOf(reply).Key, tkeyOf(reply).KeySize = earlierKey, uint16(len(earlierKey)/2)
			return r.sign(t, reply)
		}, ErrNegotiation},
		{"no token", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			tkeyOf(reply).Key, tkeyOf(reply).KeySize = "", 0
			return r.sign(t, reply)
		}, ErrNegotiation},
		{"another key", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			tkeyOf(reply).Hdr.Name = "other.example."
			return r.sign(t, reply)
		}, ErrNegotiation},
		{"another mode", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			tkeyOf(reply).Mode = 2
			return r.sign(t, reply)
		}, ErrNegotiation},
		{"another algorithm", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			tkeyOf(reply).Algorithm = AlgorithmMicrosoft
			return r.sign(t, reply)
		}, ErrNegotiation},
		{"no record", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			reply.Answer = nil
			return r.sign(t, reply)
		}, ErrNegotiation},
		{"another ID", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			reply.Id++
			return r.sign(t, reply)
		}, ErrMalformed},
		{"cut short", func(t *testing.T, r *signedRequest, reply *dns.Msg) []byte {
			wire := r.sign(t, reply)
			return wire[:len(wire)-1]
		}, ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, c := newScriptedServer(t)
			s.scriptTKEY(func(r *signedRequest, reply *dns.Msg) [][]byte {
				earlierKey = tkeyOf(reply).Key
				return [][]byte{r.sign(t, reply)}
			})
			negotiate(t, c)
			s.scriptTKEY(func(r *signedRequest, reply *dns.Msg) [][]byte { return [][]byte{test.answer(t, r, reply)} })
			if _, err := c.Negotiate(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// A context without mutual authentication is complete before the server speaks.
// What may come back is nothing, or what was sent.
func TestLastReplyWithoutToken(t *testing.T) {
	for _, test := range []struct {
		name  string
		token func(sent string) string
		want  error
	}{
		{"none", func(string) string { return "" }, nil},
		{"the client's", func(sent string) string { return sent }, nil},
		{"another", func(string) string { return "6030" }, ErrNegotiation},
	} {
		s, c := newScriptedServer(t)
		c.config.Quirks.OneWay = true
		s.scriptTKEY(func(r *signedRequest, reply *dns.Msg) [][]byte {
			tkey := reply.Answer[0].(*dns.TKEY)
			tkey.Key = test.token(r.Extra[0].(*dns.TKEY).Key)
			tkey.KeySize = uint16(len(tkey.Key) / 2)
			return [][]byte{r.sign(t, reply)}
		})
		if _, err := c.Negotiate(t.Context()); !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
}

func TestRefusedKey(t *testing.T) {
	s, c := newScriptedServer(t)
	for _, test := range []struct {
		rcode int
		code  uint16
	}{{dns.RcodeSuccess, dns.RcodeBadKey}, {dns.RcodeSuccess, dns.RcodeBadAlg}, {dns.RcodeFormatError, 0}, {dns.RcodeRefused, 0}} {
		s.scriptTKEY(func(r *signedRequest, reply *dns.Msg) [][]byte {
			reply.Rcode = test.rcode
			if test.code == 0 {
				reply.Answer = nil
			} else {
				reply.Answer[0].(*dns.TKEY).Error = test.code
			}
			return [][]byte{pack(t, reply)}
		})
		_, err := c.Negotiate(t.Context())
		var refused *TKEYError
		if !errors.As(err, &refused) || refused.Code != test.code || refused.Rcode != test.rcode {
			t.Errorf("%+v: got %v", test, err)
		}
	}
}

// What the server's Kerberos says to a refusal is told; it can say nothing
// else, and nothing that is no refusal.
func TestReasonOfARefusal(t *testing.T) {
	for _, test := range []struct {
		name    string
		framing Framing
		edit    func(*dns.TKEY)
		reason  bool
	}{
		{"SPNEGO", SPNEGO, func(*dns.TKEY) {}, true},
		{"raw", RawKerberos, func(*dns.TKEY) {}, true},
		{"without token", SPNEGO, func(k *dns.TKEY) { k.Key, k.KeySize = "", 0 }, false},
		{"with garbage", RawKerberos, func(k *dns.TKEY) { k.Key, k.KeySize = "0102", 2 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			address, kdc := newServerThat(t, test.edit)
			c := dial(t, Config{
				Server: address, Credentials: FromTicket(kdc.ticket(t, time.Hour)), Framing: test.framing,
				Now: func() time.Time { return time.Now().Add(-10 * time.Minute) },
			})
			_, err := c.Negotiate(t.Context())
			var refused *TKEYError
			if !errors.As(err, &refused) || refused.Code != dns.RcodeBadKey {
				t.Fatalf("got %v", err)
			}
			var reason *krb5.Error
			if got := errors.As(err, &reason); got != test.reason || got && (reason.Code != 37 || !errors.Is(err, krb5.ErrRefused)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A reply cut short comes from a server that has seen the token, and may have
// the key: another try is another key.
func TestTruncatedTKEYReplyBeginsAgainByTCP(t *testing.T) {
	s, c := newScriptedServer(t)
	c.config.Network = "udp"
	var names []string
	s.scriptTKEY(func(r *signedRequest, reply *dns.Msg) [][]byte {
		names = append(names, r.name)
		if r.udp {
			reply.Answer, reply.Truncated = nil, true
			return [][]byte{pack(t, reply)}
		}
		return [][]byte{r.sign(t, reply)}
	})
	negotiate(t, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(names) != 2 || names[0] == names[1] {
		t.Errorf("asked for the keys %q, want two", names)
	}
}
