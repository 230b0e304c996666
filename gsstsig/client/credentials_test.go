package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// countingSource makes tickets that end when the test says.
type countingSource struct {
	mu      sync.Mutex
	asked   int
	expires time.Time
	wait    chan struct{} // when not nil, closed to let a fetch go on
}

func (s *countingSource) ticket(krb5.Principal) (ServiceTicket, error) {
	if s.wait != nil {
		<-s.wait
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return ServiceTicket{Expires: s.expires}, nil
}

func (s *countingSource) withEnctypes([]krb5.Enctype) ticketSource { return s }

func TestTicketsAreKept(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	source := &countingSource{expires: now.Add(time.Hour)}
	c := newCredentials(krb5.Principal{}, source)
	c.now = func() time.Time { return now }

	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if _, err := c.Ticket(t.Context(), testService); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if source.asked != 1 {
		t.Errorf("20 goroutines asked the KDC %d times, want once", source.asked)
	}
	if _, err := c.Ticket(t.Context(), "DNS/other.example.test"); err != nil || source.asked != 2 {
		t.Errorf("another service: %v, asked %d times", err, source.asked)
	}

	now = now.Add(time.Hour)
	if _, err := c.Ticket(t.Context(), testService); !errors.Is(err, ErrTicketExpired) {
		t.Errorf("a ticket that has ended: %v", err)
	}
	source.expires = now.Add(time.Minute)
	if _, err := c.Ticket(t.Context(), testService); err != nil || source.asked != 4 {
		t.Errorf("a new ticket: %v, asked %d times", err, source.asked)
	}
	if _, err := c.Ticket(t.Context(), "a@b@c"); err == nil {
		t.Error("a name with two realms was taken")
	}
}

func TestTicketGivesUpWithItsContext(t *testing.T) {
	source := &countingSource{expires: time.Now().Add(time.Hour), wait: make(chan struct{})}
	c := newCredentials(krb5.Principal{}, source)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // the one that asks, and one that waits for it
		if _, err := c.Ticket(ctx, testService); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	close(source.wait)
	if _, err := c.Ticket(t.Context(), testService); err != nil {
		t.Error(err)
	}
}

const testConfig = `[libdefaults]
default_realm = EXAMPLE.TEST
udp_preference_limit = 1
%s
[realms]
EXAMPLE.TEST = {
  kdc = %s
}
[domain_realm]
.other.test = OTHER.TEST
`

func TestConfiguredEncryptionTypes(t *testing.T) {
	tests := []struct {
		lines          string
		login, tickets []int32
		unusable       bool
	}{
		{lines: "", login: []int32{18, 17, 20, 19}, tickets: []int32{18, 17, 20, 19}},
		// MIT's fallback, which gokrb5 lacks.
		{lines: "permitted_enctypes = aes256-cts-hmac-sha384-192", login: []int32{20}, tickets: []int32{20}},
		{lines: "permitted_enctypes = AES256-SHA2, aes128-sha2", login: []int32{20, 19}, tickets: []int32{20, 19}},
		{lines: "permitted_enctypes = aes256-sha1\ndefault_tgs_enctypes = aes128-cts", login: []int32{18}, tickets: []int32{17}},
		{lines: "default_tkt_enctypes = aes rc4-hmac des3-cbc-sha1 nonsense", login: []int32{18, 17, 20, 19, 23}, tickets: []int32{18, 17, 20, 19}},
		{lines: "permitted_enctypes = camellia256-cts-cmac", unusable: true},
		{lines: "default_tgs_enctypes = camellia256-cts-cmac", unusable: true},
		{lines: "nonsense", unusable: true},
	}
	for _, test := range tests {
		conf, err := loadConfig(writeFile(t, "krb5.conf", fmt.Appendf(nil, testConfig, test.lines, "127.0.0.1:1")))
		if (err != nil) != test.unusable {
			t.Errorf("%q: %v", test.lines, err)
		}
		if err != nil {
			continue
		}
		if !slices.Equal(conf.LibDefaults.DefaultTktEnctypeIDs, test.login) || !slices.Equal(conf.LibDefaults.DefaultTGSEnctypeIDs, test.tickets) {
			t.Errorf("%q: got %v and %v, want %v and %v", test.lines, conf.LibDefaults.DefaultTktEnctypeIDs,
				conf.LibDefaults.DefaultTGSEnctypeIDs, test.login, test.tickets)
		}
	}
	if _, err := loadConfig("/nonexistent/krb5.conf"); err == nil {
		t.Error("a file that does not exist was read")
	}
}

func clientKeytab(t *testing.T) []byte {
	t.Helper()
	keys := keytab.New()
	if err := keys.AddEntry(testClient, testRealm, "client's password", time.Now(), 1, 18); err != nil {
		t.Fatal(err)
	}
	content, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestKeytabErrors(t *testing.T) {
	conf := writeFile(t, "krb5.conf", fmt.Appendf(nil, testConfig, "", "127.0.0.1:1"))
	good := clientKeytab(t)
	for n := range good {
		file := writeFile(t, "client.keytab", good[:n])
		_, err := FromKeytab(conf, file, testClient)
		if err == nil {
			// All that is missing is the 32-bit version, which old ones lack.
			if len(good)-n > 4 {
				t.Errorf("a keytab cut to %d of %d octets was taken", n, len(good))
			}
			continue
		}
		if n > 40 && strings.Contains(err.Error(), string(good[n-10:n])) {
			t.Errorf("the error quotes the keytab: %q", err)
		}
	}
	file := writeFile(t, "client.keytab", good)
	for _, principal := range []string{"host/other.example.test", testClient + "@OTHER.TEST", ""} {
		if _, err := FromKeytab(conf, file, principal); err == nil {
			t.Errorf("%q, which has no key, was taken", principal)
		}
	}
	sha2 := writeFile(t, "krb5.conf", fmt.Appendf(nil, testConfig, "permitted_enctypes = aes256-sha2", "127.0.0.1:1"))
	if _, err := FromKeytab(sha2, file, testClient); err == nil {
		t.Error("a keytab without a permitted key was taken")
	}
	c, err := FromKeytab(conf, file, testClient)
	if err != nil {
		t.Fatal(err)
	}
	if c.Client().String() != testClient+"@"+testRealm {
		t.Errorf("client is %s", c.Client())
	}
}

// gokrb5 slices a cipher by the length of its checksum, whatever its length.
func TestMalformedReplyFromTheKDC(t *testing.T) {
	reply := messages.ASRep{KDCRepFields: messages.KDCRepFields{
		PVNO: 5, MsgType: 11, CRealm: testRealm, CName: types.NewPrincipalName(1, testClient),
		Ticket:  messages.Ticket{TktVNO: 5, Realm: testRealm, SName: types.NewPrincipalName(2, "krbtgt/"+testRealm), EncPart: types.EncryptedData{EType: 18, Cipher: []byte{1}}},
		EncPart: types.EncryptedData{EType: 18, KVNO: 1, Cipher: []byte{1}},
	}}
	wire, err := reply.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var length [4]byte
			if _, err := io.ReadFull(conn, length[:]); err == nil {
				io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(length[:])))
			}
			conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(wire))), wire...))
			conn.Close()
		}
	}()
	conf := writeFile(t, "krb5.conf", fmt.Appendf(nil, testConfig, "", listener.Addr()))
	c, err := FromKeytab(conf, writeFile(t, "client.keytab", clientKeytab(t)), testClient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ticket(t.Context(), testService); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("got %v", err)
	}
}

func TestRealmOfService(t *testing.T) {
	conf, err := loadConfig(writeFile(t, "krb5.conf", fmt.Appendf(nil, testConfig, "", "127.0.0.1:1")))
	if err != nil {
		t.Fatal(err)
	}
	k := &kdc{conf: conf, client: krb5.Principal{Realm: testRealm}}
	for host, want := range map[string]string{"ns1.example.test": testRealm, "ns1.other.test": "OTHER.TEST"} {
		if got := k.realmOf(krb5.Principal{Components: []string{"DNS", host}}); got != want {
			t.Errorf("%s is in %s, want %s", host, got, want)
		}
	}
}

// ccacheFile writes MIT's format.
type ccacheFile struct {
	bytes.Buffer
	version byte
}

func newCCacheFile(version byte) *ccacheFile {
	f := &ccacheFile{version: version}
	f.Write([]byte{5, version})
	if version == 4 {
		f.Write([]byte{0, 12, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0}) // time offset
	}
	f.principal(testClient + "@" + testRealm)
	return f
}

func (f *ccacheFile) number(n uint32) { binary.Write(f, binary.BigEndian, n) }

func (f *ccacheFile) data(b []byte) {
	f.number(uint32(len(b)))
	f.Write(b)
}

func (f *ccacheFile) principal(name string) {
	p, err := krb5.ParsePrincipal(name)
	if err != nil {
		panic(err)
	}
	f.number(1)
	f.number(uint32(len(p.Components)))
	f.data([]byte(p.Realm))
	for _, c := range p.Components {
		f.data([]byte(c))
	}
}

func (f *ccacheFile) credential(server string, keyType uint16, end time.Time, ticket []byte) {
	f.principal(testClient + "@" + testRealm)
	f.principal(server)
	binary.Write(f, binary.BigEndian, keyType)
	if f.version == 3 {
		binary.Write(f, binary.BigEndian, keyType)
	}
	f.data(bytes.Repeat([]byte{7}, 32))
	for _, at := range []time.Time{{}, {}, end, end} { // authentication, start, end, renewable until
		f.number(uint32(at.Unix()))
	}
	f.WriteByte(0)
	f.number(0x40e10000)                                        // flags
	f.Write([]byte{0, 0, 0, 1, 0, 2, 0, 0, 0, 4, 192, 0, 2, 1}) // an address
	f.Write([]byte{0, 0, 0, 1, 0, 1, 0, 0, 0, 2, 0x30, 0})      // authorization data
	f.data(ticket)
	f.data(nil)
}

func TestCCache(t *testing.T) {
	kdc := newTestKDC(t)
	ticket := kdc.ticket(t, time.Hour).Ticket
	encoded, err := ticket.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	conf := writeFile(t, "krb5.conf", fmt.Appendf(nil, testConfig, "", "127.0.0.1:1"))
	service := testService + "@" + testRealm
	soon, late := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(2*time.Hour).Truncate(time.Second)

	for _, version := range []byte{3, 4} {
		f := newCCacheFile(version)
		f.credential("krb5_ccache_conf_data/pa_type/krbtgt@X-CACHECONF:", 0, time.Time{}, []byte("2"))
		f.credential("krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", 18, time.Now().Add(-time.Hour), encoded)
		f.credential(service, 18, soon, encoded)
		f.credential(service, 18, late, encoded)
		f.credential(service, 23, late.Add(time.Hour), encoded) // of a type that is not asked for
		f.credential("DNS/ns1.example.test@OTHER.TEST", 18, late.Add(time.Hour), encoded)
		path := writeFile(t, "cc", f.Bytes())
		c, err := FromCCache(conf, "FILE:"+path)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if c.Client().String() != testClient+"@"+testRealm {
			t.Errorf("version %d: client is %s", version, c.Client())
		}
		got, err := c.Ticket(t.Context(), testService)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if !got.Expires.Equal(late) || got.SessionKey.KeyType != 18 || len(got.SessionKey.KeyValue) != 32 {
			t.Errorf("version %d: got the ticket of type %d that ends %v", version, got.SessionKey.KeyType, got.Expires)
		}
		if _, err := c.Ticket(t.Context(), "DNS/other.example.test"); !errors.Is(err, ErrTicketExpired) {
			t.Errorf("version %d: a service without ticket: %v", version, err)
		}

		whole := f.Bytes()
		ends := 0
		for n := range whole {
			if _, err := parseCCache(whole[:n]); err == nil {
				ends++ // between two entries
			}
		}
		if ends != 6 {
			t.Errorf("version %d: %d shorter files were taken, want 6", version, ends)
		}
	}

	for name, content := range map[string][]byte{
		"version 2":   {5, 2, 0, 0, 0, 1},
		"huge count":  append([]byte{5, 3, 0, 0, 0, 1}, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0),
		"huge length": append([]byte{5, 3, 0, 0, 0, 1, 0, 0, 0, 1}, 0xff, 0xff, 0xff, 0xff),
		"not a ticket": func() []byte {
			f := newCCacheFile(4)
			f.credential(service, 18, soon, []byte{0x30, 0x84})
			return f.Bytes()
		}(),
		"a ticket cut short": func() []byte {
			f := newCCacheFile(4)
			f.credential(service, 18, soon, encoded[:len(encoded)-1])
			return f.Bytes()
		}(),
	} {
		if _, err := parseCCache(content); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, name := range []string{"KEYRING:persistent:0", "KCM:", "/nonexistent/cc"} {
		if _, err := FromCCache(conf, name); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A cache that another kinit has filled for another principal is not to be used.
func TestCCacheOfAnotherClient(t *testing.T) {
	conf := writeFile(t, "krb5.conf", fmt.Appendf(nil, testConfig, "", "127.0.0.1:1"))
	f := newCCacheFile(4)
	path := writeFile(t, "cc", f.Bytes())
	c, err := FromCCache(conf, path)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(f.Bytes(), []byte("client1"), []byte("client2"), 1)
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ticket(t.Context(), testService); err == nil || !strings.Contains(err.Error(), "client2") {
		t.Errorf("got %v", err)
	}
}
