package krb5

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/rfc4757"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

func allowRC4(c *AcceptorConfig) { c.AllowRC4 = true }

func TestRC4AgreesWithGokrb5(t *testing.T) {
	foreign := testKey(RC4HMAC, "cipher")
	own := must(newKey(RC4HMAC, foreign.KeyValue))
	for _, usage := range []uint32{usageTicket, usageAuthenticator, usageAPRep} {
		keys := own.cipherKeys(usage)
		for _, n := range []int{1, 7, 8, 9, 1000} {
			plain := bytes.Repeat([]byte{byte(n)}, n)
			if got, err := crypto.DecryptMessage(must(keys.encrypt(rand.Reader, plain)), foreign, usage); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("gokrb5 reads %x, %v", got, err)
			}
			sealed := must(crypto.GetEncryptedData(plain, foreign, usage, 0))
			if got, err := keys.decrypt(sealed.Cipher); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("gokrb5's is read as %x, %v", got, err)
			}
			sealed.Cipher[len(sealed.Cipher)-1] ^= 1
			if _, err := keys.decrypt(sealed.Cipher); err == nil {
				t.Fatal("a changed message decrypts")
			}
		}
		for n := range md5AndConfounder {
			if _, err := keys.decrypt(make([]byte, n)); err == nil {
				t.Fatalf("%d octets decrypt", n)
			}
		}
	}
	message := []byte("signed")
	want := must(rfc4757.Checksum(foreign.KeyValue, usagePAC, message))
	if got := own.encryption.checksum(own.checksumKey(usagePAC), usagePAC, message); !bytes.Equal(got, want) {
		t.Errorf("checksum %x, want %x", got, want)
	}
}

const md5AndConfounder = 24

func TestRC4IsOffUnlessAllowed(t *testing.T) {
	standard.Deviates(t, "RFC 4121", "6 older types", "RC4 is off unless the Corefile allows it, and DES is not implemented: both are broken.")
	service := ticketSpec{key: testServiceKey(RC4HMAC)}
	session := ticketSpec{session: testKey(RC4HMAC, "session")}
	for _, s := range []ticketSpec{service, session} {
		e, _ := refuse(t, newTestAcceptor(t), requestSpec{ticketSpec: s}.token(), ErrEnctype, codeEtypeNoSupport)
		if !strings.Contains(e.Error(), "arcfour-hmac") || !strings.Contains(e.Fix, "allow RC4") {
			t.Errorf("%v", e)
		}
		accept(t, newTestAcceptor(t, allowRC4), requestSpec{ticketSpec: s}.token())
	}
	refuse(t, newTestAcceptor(t), requestSpec{subkey: testKey(RC4HMAC, "subkey")}.token(), ErrEnctype, codeEtypeNoSupport)
	accept(t, newTestAcceptor(t, allowRC4), requestSpec{subkey: testKey(RC4HMAC, "subkey")}.token())
	// It permits nothing else, and a list stays the list.
	refuse(t, newTestAcceptor(t, allowRC4), requestSpec{ticketSpec: ticketSpec{session: types.EncryptionKey{KeyType: 3, KeyValue: make([]byte, 8)}}, authKey: testKey(18, "session")}.token(), ErrEnctype, codeEtypeNoSupport)
	only := func(c *AcceptorConfig) { c.AllowRC4, c.Enctypes = true, []Enctype{20} }
	accept(t, newTestAcceptor(t, only), requestSpec{ticketSpec: ticketSpec{key: testServiceKey(RC4HMAC), session: testKey(20, "session")}}.token())
	refuse(t, newTestAcceptor(t, only), requestSpec{}.token(), ErrEnctype, codeEtypeNoSupport)
	c := AcceptorConfig{Keytabs: openKeytab(t, serviceKeytab()), Replays: NewReplayCache(1), Enctypes: []Enctype{18, RC4HMAC}}
	if _, err := NewAcceptor(c); err == nil {
		t.Error("the list alone permits RC4")
	}
	i := InitiatorConfig{Ticket: ticketSpec{}.ticket(), SessionKey: testKey(RC4HMAC, "session"), Client: testClient}
	if _, err := NewInitiator(i); err == nil {
		t.Error("the initiator takes RC4 unasked")
	}
}

// MICs are made with RC4 only where neither a subkey nor an offer of the client
// allows AES.
func TestRC4Handshakes(t *testing.T) {
	standard.Requires(t, "RFC 4121", "6 older types")
	for _, service := range []Enctype{18, RC4HMAC} {
		for _, session := range []Enctype{17, RC4HMAC} {
			for _, mutual := range []bool{false, true} {
				for _, subkey := range []bool{false, true} {
					for _, offer := range [][]Enctype{nil, {RC4HMAC}, {3, 99, 20, 18, RC4HMAC}} {
						t.Run(fmt.Sprintf("service %d, session %d, mutual %v, subkey %v, offer %v", service, session, mutual, subkey, offer), func(t *testing.T) {
							key := testKey(session, "session")
							c, i := handshakeWith(t, newTestAcceptor(t, allowRC4), InitiatorConfig{
								Ticket:     ticketSpec{key: testServiceKey(service), session: key}.ticket(),
								SessionKey: key,
								Client:     testClient,
								Mutual:     mutual,
								Subkey:     subkey,
								AllowRC4:   true,
								Enctypes:   offer,
								Now:        func() time.Time { return testNow },
							})
							want := session
							if mutual && len(offer) > 1 {
								want = 20
							}
							if c.SessionEnctype() != want || i.SessionEnctype() != want {
								t.Errorf("MICs with %d and %d, want %d", c.SessionEnctype(), i.SessionEnctype(), want)
							}
							exchange(t, c, i)
							size := map[Enctype]int{17: 28, 20: 40, RC4HMAC: 37}[want]
							if n := len(must(c.GetMIC([]byte("m")))); n != size {
								t.Errorf("MICs of %d octets", n)
							}
							c.Wipe()
							if _, err := c.GetMIC(nil); !errors.Is(err, ErrNotEstablished) || c.Established() {
								t.Errorf("after Wipe: %v", err)
							}
							if err := c.VerifyMIC(nil, nil); !errors.Is(err, ErrNotEstablished) {
								t.Errorf("after Wipe: %v", err)
							}
						})
					}
				}
			}
		}
	}
}

// The acceptor takes the first type that both know, and its own where the offer
// is none.
func TestOfferedEncryptionTypes(t *testing.T) {
	for _, c := range []struct {
		offer []Enctype
		want  Enctype
	}{
		{nil, 17}, {[]Enctype{18, 17}, 18}, {[]Enctype{17, 18}, 17}, {[]Enctype{20, 18}, 20}, {[]Enctype{-1, 3, 23}, 17},
		{slices.Repeat([]Enctype{18}, maxEnctypes+1), 17},
	} {
		key := testKey(17, "session")
		a, _ := handshakeWith(t, newTestAcceptor(t), InitiatorConfig{
			Ticket: ticketSpec{session: key}.ticket(), SessionKey: key, Client: testClient,
			Mutual: true, Enctypes: c.offer, Now: func() time.Time { return testNow },
		})
		if a.SessionEnctype() != c.want {
			t.Errorf("%v: %d", c.offer, a.SessionEnctype())
		}
	}
	for name, b := range map[string]string{
		"nothing":    "",
		"no list":    "3000",
		"garbage":    "300c300aa003020101a1030401ff",
		"other kind": "3011300fa003020101a1080406300430020500",
	} {
		if list := parseEnctypes(must(hex.DecodeString(b))); list != nil {
			t.Errorf("%s: %v", name, list)
		}
	}
}

func TestPACSignedWithRC4(t *testing.T) {
	key := testServiceKey(RC4HMAC)
	good := pacSpec(key)
	c, _ := accept(t, newTestAcceptor(t, allowRC4), pacToken(key, good.Encode()))
	if len(c.Groups()) != 3 {
		t.Errorf("groups %q", c.Groups())
	}
	refuse(t, newTestAcceptor(t, allowRC4), pacToken(key, pacSpec(testKey(RC4HMAC, "another")).Encode()), ErrIntegrity, codeModified)
}

// Ticket, session key, PAC and MICs of type RC4, made by Samba AD and MIT
// Kerberos.
func TestRecordedRC4TokenOfMITClient(t *testing.T) {
	r := readRecordedToken(t, "samba/bob-ns2.json")
	a := recordedAcceptor(t, "samba", time.Unix(r.Time, 0), allowRC4)
	c, reply := accept(t, a, r.Token)
	if reply != nil || c.SessionEnctype() != RC4HMAC || !slices.Contains(c.Groups(), sambaDomain+"-1111") {
		t.Errorf("reply %x, type %d, groups %q", reply, c.SessionEnctype(), c.Groups())
	}
	for _, n := range []int{2, 0, 1} { // in any order
		message := fmt.Appendf(nil, "message %d", n)
		if err := c.VerifyMIC(message, r.MICs[n]); err != nil {
			t.Errorf("MIC %d: %v", n, err)
		}
		if err := c.VerifyMIC(message, r.MICs[n]); !errors.Is(err, ErrReplay) {
			t.Errorf("MIC %d again: %v", n, err)
		}
	}
	refuse(t, recordedAcceptor(t, "samba", time.Unix(r.Time, 0)), r.Token, ErrEnctype, codeEtypeNoSupport)
	// A ticket encrypted in RC4 with a session key of AES, from MIT's KDC.
	config, now := recordedTicket(t, "mit/client1", "DNS/arcfour-hmac.example.test")
	m, i := handshakeWith(t, recordedAcceptor(t, "mit", now, allowRC4), config)
	exchange(t, m, i)
}

func TestBadRC4MICs(t *testing.T) {
	message := []byte("message")
	pair := func() (acceptor, initiator *session) {
		return testSession(RC4HMAC, true, false, 1, 7), testSession(RC4HMAC, false, false, 7, 1)
	}
	_, i := pair()
	good := must(i.getMIC(message))
	for at := range good {
		for bit := range 8 {
			a, _ := pair()
			b := bytes.Clone(good)
			b[at] ^= 1 << bit
			if bytes.Equal(b[2:13], mechanismMSKRB5) {
				continue // the other name of the mechanism
			}
			err := a.verifyMIC(message, b)
			// The sequence number is not protected, but neither is it much of use.
			if sequence := at >= 21 && at < 25; sequence {
				if err != nil && !errors.Is(err, ErrReplay) {
					t.Fatalf("octet %d, bit %d: %v", at, bit, err)
				}
			} else if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrIntegrity) {
				t.Fatalf("octet %d, bit %d: %v", at, bit, err)
			}
		}
	}
	for n := range good {
		a, _ := pair()
		if err := a.verifyMIC(message, good[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d octets: %v", n, err)
		}
	}
	a, _ := pair()
	if err := a.verifyMIC([]byte("another"), good); !errors.Is(err, ErrIntegrity) {
		t.Error(err)
	}
	if err := i.verifyMIC(message, good); !errors.Is(err, ErrIntegrity) {
		t.Errorf("reflected: %v", err)
	}
	if err := a.verifyMIC(message, foreignMIC(testKey(18, "mic"), message, 25, 0, 7)); !errors.Is(err, ErrMalformed) {
		t.Errorf("of RFC 4121: %v", err)
	}
	if err := a.verifyMIC(message, good); err != nil {
		t.Error(err)
	}
}

// Nothing in such a MIC protects its sequence number.
func TestRC4MICWithAnotherNumberIsAReplay(t *testing.T) {
	message := []byte("message")
	a, i := testSession(RC4HMAC, true, false, 0, 0), testSession(RC4HMAC, false, false, 0, 0)
	mic := must(i.getMIC(message))
	if err := a.verifyMIC(message, mic); err != nil {
		t.Fatal(err)
	}
	for bit := range 32 {
		b := bytes.Clone(mic)
		b[21+bit/8] ^= 1 << (bit % 8)
		if err := a.verifyMIC(message, b); !errors.Is(err, ErrReplay) {
			t.Fatalf("with bit %d of its number changed: %v", bit, err)
		}
	}
	// The memory is bounded.
	for n := range 2 * rc4Remembered {
		m := fmt.Appendf(nil, "%d", n)
		if err := a.verifyMIC(m, must(i.getMIC(m))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.remembered.sums); n != rc4Remembered {
		t.Errorf("%d remembered", n)
	}
}

// Numbers have 32 bits, and pass their end.
func TestRC4SequenceWraps(t *testing.T) {
	const first = 1<<32 - 3
	a, i := testSession(RC4HMAC, true, false, 0, first), testSession(RC4HMAC, false, false, first, 0)
	var messages, mics [][]byte
	for n := range 8 {
		messages = append(messages, fmt.Appendf(nil, "%d", n))
		mics = append(mics, must(i.getMIC(messages[n])))
	}
	for _, n := range []int{1, 0, 4, 2, 3, 7, 5, 6} {
		if err := a.verifyMIC(messages[n], mics[n]); err != nil {
			t.Errorf("MIC %d: %v", n, err)
		}
	}
	b, early := testSession(RC4HMAC, true, false, 0, first), testSession(RC4HMAC, false, false, first-1, 0)
	if err := b.verifyMIC(nil, must(early.getMIC(nil))); !errors.Is(err, ErrReplay) {
		t.Errorf("a number before the first: %v", err)
	}
}

// In a context of RC4 an acceptor's RC4 subkey is not used, and in one of AES
// it is refused.
func TestAcceptorsRC4Subkey(t *testing.T) {
	for session, want := range map[Enctype]error{RC4HMAC: nil, 18: ErrEnctype} {
		key := testKey(session, "session")
		i := newTestInitiator(t, func(c *InitiatorConfig) { c.SessionKey, c.AllowRC4 = key, session == RC4HMAC })
		must(i.Init(nil))
		part := encAPRepPart{time: i.sent.time, microseconds: i.sent.microseconds, sequence: 5, subkeyType: RC4HMAC, subkey: testKey(RC4HMAC, "acceptor").KeyValue}
		if _, err := i.Init(answer(key, part)); !errors.Is(err, want) {
			t.Errorf("session key of type %d: %v", session, err)
		}
		if want == nil {
			peer := newSession(must(newKey(RC4HMAC, key.KeyValue)), true, false, 5, 0)
			if err := i.VerifyMIC([]byte("m"), must(peer.getMIC([]byte("m")))); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestRC4MICNamesTheMechanismOfTheHandshake(t *testing.T) {
	s := requestSpec{ticketSpec: ticketSpec{session: testKey(RC4HMAC, "session")}, mechanism: mechanismMSKRB5, checksum: testNotMutual}
	c, _ := accept(t, newTestAcceptor(t, allowRC4), s.token())
	if mic := must(c.GetMIC(nil)); !bytes.Contains(mic, mechanismMSKRB5) {
		t.Errorf("MIC %x", mic)
	}
}

func FuzzVerifyRC4MIC(f *testing.F) {
	f.Fuzz(func(t *testing.T, message, mic []byte) {
		s := testSession(RC4HMAC, true, false, 0, 0)
		if err := s.verifyMIC(message, mic); err != nil {
			if s.window.next != 0 && !errors.Is(err, ErrReplay) {
				t.Fatal("the window moved for a MIC that did not verify")
			}
			return
		}
		own := testSession(RC4HMAC, false, false, uint32(s.window.next-1), 0)
		own.mechanism = mic[2:13]
		if !bytes.Equal(must(own.getMIC(message)), mic) {
			t.Fatalf("verified %x", mic)
		}
		if err := s.verifyMIC(message, mic); !errors.Is(err, ErrReplay) {
			t.Fatalf("again: %v", err)
		}
	})
}
