package krb5

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
)

// fuzzAcceptor forgets what it has accepted, so that inputs do not depend on
// each other.
func fuzzAcceptor(keytabs *Keytabs) *Acceptor {
	return must(NewAcceptor(AcceptorConfig{
		Keytabs:  keytabs,
		Replays:  NewReplayCache(1),
		AllowRC4: true,
		Now:      func() time.Time { return testNow },
	}))
}

// checkAccepted is what must hold of any accepted token: without the keys
// none can be made for another client.
func checkAccepted(t *testing.T, a *Acceptor, token []byte) {
	c := a.NewContext()
	reply, err := c.Accept(token)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Reason == "" || c.Established() {
			t.Fatalf("error %#v", err)
		}
	} else if !c.Established() || !a.HasKeyFor(token) || c.Peer().Realm != testRealm || !c.Service().Equal(testService) || c.Expires().Before(testNow.Add(-a.skew)) {
		t.Fatalf("accepted: peer %v, service %v, expires %v", c.Peer(), c.Service(), c.Expires())
	}
	if len(reply) > 0 {
		if _, ok := parseToken(reply); !ok {
			t.Fatalf("reply %x", reply)
		}
	}
}

func FuzzAccept(f *testing.F) {
	keytabs := openKeytab(f, serviceKeytab())
	f.Fuzz(func(t *testing.T, token []byte) {
		checkAccepted(t, fuzzAcceptor(keytabs), token)
	})
}

// FuzzAcceptDecrypted goes behind the encryption, where only a broken or
// hostile KDC or an authenticated client gets.
func FuzzAcceptDecrypted(f *testing.F) {
	keytabs := openKeytab(f, serviceKeytab())
	session := testKey(18, "session")
	f.Fuzz(func(t *testing.T, ticket, authenticator []byte) {
		seal := func(plain []byte, k types.EncryptionKey, usage uint32, version int) types.EncryptedData {
			if len(plain) == 0 {
				plain = []byte{0} // gokrb5 cannot encrypt nothing
			}
			return must(crypto.GetEncryptedData(plain, k, usage, version))
		}
		r := messages.APReq{
			PVNO:      5,
			MsgType:   14,
			APOptions: types.NewKrbFlags(),
			Ticket: messages.Ticket{
				TktVNO:  5,
				Realm:   testService.Realm,
				SName:   types.PrincipalName{NameType: 2, NameString: testService.Components},
				EncPart: seal(ticket, testServiceKey(18), 2, testVersion),
			},
			EncryptedAuthenticator: seal(authenticator, session, 11, 0),
		}
		checkAccepted(t, fuzzAcceptor(keytabs), frameBytes(mechanismKRB5, tokenAPReq, must(r.Marshal())))
	})
}

// FuzzInit gives the initiator any answer, plain and behind the encryption.
func FuzzInit(f *testing.F) {
	f.Fuzz(func(t *testing.T, answer []byte, sealed bool) {
		i := newTestInitiator(t)
		must(i.Init(nil))
		if sealed {
			keys := i.session.cipherKeys(usageAPRep)
			cipher := must(keys.encrypt(rand.Reader, answer))
			answer = must(frame(mechanismKRB5, tokenAPRep, func(b *cryptobyte.Builder) {
				appendAPRep(b, encryptedData{enctype: 18, cipher: cipher})
			}))
		}
		if _, err := i.Init(answer); (err == nil) != i.Established() {
			t.Fatalf("error %v, established %v", err, i.Established())
		}
	})
}

func FuzzVerifyMIC(f *testing.F) {
	keys := make(map[byte][]byte)
	for _, id := range testTypes {
		keys[byte(id)] = testKey(id, "mic").KeyValue
	}
	f.Fuzz(func(t *testing.T, id byte, message, mic []byte) {
		if keys[id] == nil {
			id = 18
		}
		s := testSession(Enctype(id), true, true, 0, 0)
		if err := s.verifyMIC(message, mic); err != nil {
			if s.window.next != 0 {
				t.Fatal("the window moved for a MIC that did not verify")
			}
			return
		}
		if !bytes.Equal(foreignMIC(testKey(Enctype(id), "mic"), message, 25, mic[2], s.window.next-1), mic) {
			t.Fatalf("verified %x", mic)
		}
		if err := s.verifyMIC(message, mic); !errors.Is(err, ErrReplay) {
			t.Fatalf("again: %v", err)
		}
	})
}

func FuzzKeytab(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseKeytab(b, "fuzz.keytab")
		if err != nil {
			return
		}
		if len(entries) == 0 || len(entries) > len(b)/20 {
			t.Fatalf("%d entries in %d octets", len(entries), len(b))
		}
		for _, e := range entries {
			if !e.info.Principal.bounded() || e.info.Principal.Realm == "" || e.info.File != "fuzz.keytab" {
				t.Fatalf("entry %+v", e.info)
			}
			if e.key.valid() && (e.key.encryption.id != e.info.Enctype || len(e.key.value) != testKeySizes[e.info.Enctype]) {
				t.Fatalf("key of entry %+v", e.info)
			}
		}
		newKeySet([]keytabFile{{entries: entries}}, nil)
	})
}

func FuzzParsePrincipal(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePrincipal(s)
		if err != nil {
			return
		}
		q, err := ParsePrincipal(p.String())
		if err != nil || !q.Equal(p) {
			t.Fatalf("%q: %q is read as %q, %v", s, p.String(), q, err)
		}
	})
}
