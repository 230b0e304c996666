package krb5

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/types"
)

const testPlace = "contexts"

// pair is a context of both sides, with MICs that went both ways.
func pair(t *testing.T, a *Acceptor, service, session Enctype) (*AcceptorContext, *InitiatorContext) {
	t.Helper()
	key := testKey(session, "session")
	i := must(NewInitiator(InitiatorConfig{
		Ticket:     ticketSpec{key: testServiceKey(service), session: key}.ticket(),
		SessionKey: key, Client: testClient, Mutual: true, Subkey: true,
		Now: func() time.Time { return testNow },
	}))
	c, reply := accept(t, a, must(i.Init(nil)))
	must(i.Init(reply))
	exchange(t, c, i)
	return c, i
}

// TestExport: an imported context goes on where the exported one was, in another process, and the exported one is no more.
func TestExport(t *testing.T) {
	for _, service := range testTypes {
		for _, session := range testTypes {
			c, i := pair(t, newTestAcceptor(t), service, session)
			message := []byte("before the restart")
			mic, late := must(i.GetMIC(message)), must(i.GetMIC(message))
			if err := c.VerifyMIC(message, mic); err != nil {
				t.Fatal(err)
			}
			record, err := c.Export(testPlace, []byte("the caller's"))
			if err != nil {
				t.Fatal(err)
			}
			if c.Established() || c.VerifyMIC(message, late) == nil {
				t.Fatal("the exported context is alive")
			}
			if _, err := c.Export(testPlace, nil); !errors.Is(err, ErrNotEstablished) {
				t.Errorf("exported again: %v", err)
			}
			if len(record) > 600 {
				t.Errorf("a record of %d octets", len(record))
			}
			d, data, err := newTestAcceptor(t).Import(testPlace, record)
			if err != nil {
				t.Fatal(err)
			}
			if string(data) != "the caller's" || !d.Peer().Equal(testClient) || !d.Service().Equal(testService) ||
				!d.Expires().Equal(c.Expires()) || d.SessionEnctype() != session || !d.Established() || d.types != c.types {
				t.Errorf("data %q, peer %v, service %v, expires %v, %s", data, d.Peer(), d.Service(), d.Expires(), d.SessionEnctype())
			}
			if err := d.VerifyMIC(message, mic); !errors.Is(err, ErrReplay) {
				t.Errorf("a message from before the restart: %v", err)
			}
			if err := d.VerifyMIC(message, late); err != nil {
				t.Errorf("a message on its way: %v", err)
			}
			exchange(t, d, i)
		}
	}
}

// TestExportKeepsWhatIsKnownOfTheClient: groups, account and way are those of the ticket.
func TestExportKeepsWhatIsKnownOfTheClient(t *testing.T) {
	c, _ := pair(t, newTestAcceptor(t), 18, 18)
	state := c.state(sessionState{enctype: 18, sign: make([]byte, 32), verify: make([]byte, 32)}, []byte("data"))
	state.groups = []string{"S-1-5-21-1-2-3-1103", "S-1-5-21-1-2-3-515"}
	state.account = Account{Name: "CLIENT1$", SID: "S-1-5-21-1-2-3-1103"}
	state.hasPAC = true
	state.way = transit{checked: true, encoding: 1, realms: []byte("A.TEST,B.TEST")}
	var read contextState
	if !read.unmarshal(must(state.marshal())) || !reflect.DeepEqual(&read, state) {
		t.Fatalf("got  %+v\nwant %+v", read, state)
	}
	d := read.context(newTestAcceptor(t), c.key)
	if !slices.Equal(d.Groups(), state.groups) || d.Account() != state.account || !d.HasPAC() || !reflect.DeepEqual(d.way, state.way) {
		t.Errorf("groups %q, account %v, PAC %t, way %v", d.Groups(), d.Account(), d.HasPAC(), d.way)
	}
	state.groups = make([]string, maxStateGroups+1)
	if _, err := state.marshal(); err == nil {
		t.Error("more groups than a record holds")
	}
}

// TestExportedAuthenticatorIsSeen: the token that made the context is a replay in the next process too.
func TestExportedAuthenticatorIsSeen(t *testing.T) {
	token := requestSpec{}.token()
	before := newTestAcceptor(t, func(c *AcceptorConfig) { c.Now = func() time.Time { return testNow.Add(-time.Second) } })
	c, _ := accept(t, before, token)
	after := newTestAcceptor(t, func(c *AcceptorConfig) { c.Replays.begin(testNow.Add(-time.Hour)) })
	if _, _, err := after.Import(testPlace, must(c.Export(testPlace, nil))); err != nil {
		t.Fatal(err)
	}
	refuse(t, after, token, ErrReplay, codeRepeat)
}

func TestExportOfRC4(t *testing.T) {
	allow := func(c *AcceptorConfig) { c.AllowRC4 = true }
	for _, c := range []struct{ ticket, session Enctype }{{RC4HMAC, 18}, {18, RC4HMAC}} {
		a := newTestAcceptor(t, allow)
		made, _ := accept(t, a, requestSpec{ticketSpec: ticketSpec{key: testServiceKey(c.ticket), session: testKey(c.session, "session")}, checksum: testNotMutual}.token())
		if _, err := made.Export(testPlace, nil); !errors.Is(err, ErrEnctype) {
			t.Errorf("ticket %s, session %s: %v", c.ticket, c.session, err)
		}
		if made.Established() {
			t.Error("the context is alive")
		}
	}
	if _, err := newTestAcceptor(t).NewContext().Export(testPlace, nil); !errors.Is(err, ErrNotEstablished) {
		t.Error(err)
	}
}

func TestImportRefuses(t *testing.T) {
	export := func() []byte {
		c, _ := pair(t, newTestAcceptor(t), 20, 18)
		return must(c.Export(testPlace, []byte("data")))
	}
	record := export()
	// Every octet counts, and every octet must be there.
	a := newTestAcceptor(t)
	for n := range record {
		changed := bytes.Clone(record)
		changed[n] ^= 1
		if _, _, err := a.Import(testPlace, changed); err == nil {
			t.Fatalf("octet %d is changed, and it is imported", n)
		}
		if _, _, err := a.Import(testPlace, record[:n]); err == nil {
			t.Fatalf("it is cut to %d octets, and imported", n)
		}
	}
	otherKey := keytabBytes(keytabSpec{testService, testVersion, types.EncryptionKey{KeyType: 20, KeyValue: make([]byte, 32)}})
	newKey := keytabBytes(keytabSpec{testService, testVersion + 1, testServiceKey(20)})
	for _, c := range []struct {
		name   string
		place  string
		change func(*AcceptorConfig)
		want   error
	}{
		{"unchanged", testPlace, func(*AcceptorConfig) {}, nil},
		{"another place", "contexts2", func(*AcceptorConfig) {}, ErrIntegrity},
		{"another key of the version", testPlace, func(c *AcceptorConfig) { c.Keytabs = openKeytab(t, otherKey) }, ErrIntegrity},
		{"no key of the version", testPlace, func(c *AcceptorConfig) { c.Keytabs = openKeytab(t, newKey) }, ErrNoKey},
		{"a realm that is not accepted any more", testPlace, func(c *AcceptorConfig) { c.Realms = []string{"OTHER.TEST"} }, ErrNotAccepted},
		{"a type that is not permitted any more", testPlace, func(c *AcceptorConfig) { c.Enctypes = []Enctype{20} }, ErrNotAccepted},
		{"PAC required", testPlace, func(c *AcceptorConfig) { c.RequirePAC = []string{testRealm} }, ErrNotAccepted},
		{"after the end of the ticket", testPlace, func(c *AcceptorConfig) {
			c.Now = func() time.Time { return testNow.Add(10*time.Hour + DefaultClockSkew + time.Second) }
		}, ErrExpired},
	} {
		if _, _, err := newTestAcceptor(t, c.change).Import(c.place, record); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if again := export(); bytes.Equal(again[len(again)-64:], record[len(record)-64:]) {
		t.Error("two records are alike")
	}
}

// FuzzImport reads records, and what is in them once they are decrypted, which only who has the key can make.
func FuzzImport(f *testing.F) {
	keytabs := openKeytab(f, serviceKeytab())
	f.Fuzz(func(t *testing.T, record []byte) {
		a := fuzzAcceptor(keytabs)
		if c, _, err := a.Import(testPlace, record); err == nil && !c.Established() {
			t.Fatal("imported without keys")
		}
		var s contextState
		if !s.unmarshal(record) {
			return
		}
		again, err := s.marshal()
		if err != nil || !bytes.Equal(again, record) {
			t.Fatalf("%x is read and written as %x, %v", record, again, err)
		}
		c := s.context(a, &serviceKey{principal: testService})
		_, _ = a.accepts(c), fmt.Sprint(c.Peer(), c.Groups(), c.Account())
		_ = c.VerifyMIC([]byte("m"), foreignMIC(testKey(18, "session"), []byte("m"), 25, 0, 0))
	})
}
