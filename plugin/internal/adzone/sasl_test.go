package adzone

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// peer makes the tokens of a domain controller, by gokrb5.
type peer struct {
	t        *testing.T
	key      types.EncryptionKey
	sequence uint64
}

// newContext makes both ends of a context whose session key is known.
func newContext(t *testing.T) (*krb5.InitiatorContext, *peer) {
	t.Helper()
	const service, realm = "ldap/dc1.corp.test", "CORP.TEST"
	keys := keytab.New()
	if err := keys.AddEntry(service, realm, "password", time.Now(), 1, 18); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	ticket, key, err := messages.NewTicket(types.NewPrincipalName(1, "bob"), realm, types.NewPrincipalName(1, service), realm,
		types.NewKrbFlags(), keys, 18, 1, now, now, now.Add(time.Hour), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c, err := krb5.NewInitiator(krb5.InitiatorConfig{Ticket: ticket, SessionKey: key, Client: krb5.Principal{Components: []string{"bob"}, Realm: realm}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Init(nil); err != nil || !c.Established() {
		t.Fatal(err)
	}
	return c, &peer{t, key, 1 << 40} // numbers may jump ahead
}

// token is a message of the controller, without the length in front.
func (p *peer) token(message string) []byte {
	p.t.Helper()
	w := gssapi.WrapToken{Flags: 1, SndSeqNum: p.sequence, Payload: []byte(message)}
	p.sequence++
	if err := w.SetCheckSum(p.key, 22); err != nil {
		p.t.Fatal(err)
	}
	w.EC = uint16(len(w.CheckSum))
	token, err := w.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

func framed(token []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)
}

// stream is a connection that one side of a test has written before.
type stream struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *stream) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *stream) Write(p []byte) (int, error) { return s.out.Write(p) }

func TestProtectedConnReads(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "octet by octet": iotest.OneByteReader} {
		context, dc := newContext(t)
		signed := bytes.Join([][]byte{framed(dc.token("one")), framed(dc.token("")), framed(dc.token(strings.Repeat("two", 10000)))}, nil)
		s := &stream{in: io.MultiReader(strings.NewReader("before"), wrap(bytes.NewReader(signed)))}
		c := &protectedConn{Conn: s}
		b := make([]byte, 6)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		c.protect(context)
		after, err := io.ReadAll(c)
		if got := string(b); got != "before" || err != nil || string(after) != "one"+strings.Repeat("two", 10000) {
			t.Errorf("%s: %q, then %d octets, %v", name, got, len(after), err)
		}
	}
}

// TestProtectedConnSwitches: a read that began before the signatures did gets what was sent after.
func TestProtectedConnSwitches(t *testing.T) {
	context, dc := newContext(t)
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	begun := make(chan struct{})
	c := &protectedConn{Conn: readSignal{here, sync.OnceFunc(func() { close(begun) })}}
	got := make(chan string)
	go func() {
		b := make([]byte, 3)
		_, err := io.ReadFull(c, b)
		got <- string(b) + " " + errText(err)
	}()
	<-begun
	c.protect(context)
	if _, err := there.Write(framed(dc.token("one"))); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != "one " {
		t.Errorf("%q", text)
	}
}

// readSignal tells that a read begins.
type readSignal struct {
	net.Conn
	begin func()
}

func (r readSignal) Read(p []byte) (int, error) {
	r.begin()
	return r.Conn.Read(p)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestProtectedConnRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		sent func(*peer) []byte
		want error
		says string
	}{
		"a changed message": {func(p *peer) []byte { b := framed(p.token("one")); b[4+16] ^= 1; return b }, krb5.ErrIntegrity, ""},
		"a message twice":   {func(p *peer) []byte { b := framed(p.token("one")); return append(b, b...) }, krb5.ErrReplay, ""},
		"plain LDAP":        {func(*peer) []byte { return []byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00") }, nil, "octets, more than"},
		"an empty token":    {func(*peer) []byte { return framed(nil) }, krb5.ErrMalformed, ""},
		"too long":          {func(*peer) []byte { return []byte("\xff\xff\xff\xff") }, nil, "octets, more than"},
	} {
		context, dc := newContext(t)
		c := &protectedConn{Conn: &stream{in: bytes.NewReader(test.sent(dc))}}
		c.protect(context)
		got, err := io.ReadAll(c)
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || string(got) != "" && string(got) != "one" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	c := &protectedConn{Conn: &stream{in: io.LimitReader(endless{}, 2*maxUnprotected)}}
	if n, err := io.Copy(io.Discard, c); !errors.Is(err, errUnprotected) || n > maxUnprotected {
		t.Errorf("much before the handshake: %d octets, %v", n, err)
	}
}

// endless has no end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestProtectedConnWrites(t *testing.T) {
	context, dc := newContext(t)
	s := new(stream)
	c := &protectedConn{Conn: s, maxSend: 10}
	if _, err := c.Write([]byte("before")); err != nil || s.out.String() != "before" {
		t.Fatalf("%q, %v", s.out.String(), err)
	}
	s.out.Reset()
	c.protect(context)
	const text = "a message of more octets"
	if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
	var got string
	for s.out.Len() > 0 {
		token := s.out.Next(int(binary.BigEndian.Uint32(s.out.Next(4))))
		var w gssapi.WrapToken
		if err := w.Unmarshal(token, false); err != nil {
			t.Fatal(err)
		}
		if ok, err := w.Verify(dc.key, 24); !ok || len(w.Payload) > 10 {
			t.Errorf("%x: %v", token, err)
		}
		got += string(w.Payload)
	}
	if got != text {
		t.Errorf("%q", got)
	}
}

func TestNegotiateSaslAuth(t *testing.T) {
	for name, test := range map[string]struct {
		offer string
		err   error
	}{
		"all layers":       {"\x07\x00\x04\x00", nil},
		"integrity":        {"\x02\xff\xff\xff", nil},
		"none":             {"\x01\x00\x00\x00", errNoIntegrity},
		"encryption alone": {"\x04\x00\x04\x00", errNoIntegrity},
		"no room":          {"\x07\x00\x00\x40", errNoIntegrity},
		"cut off":          {"\x07\x00\x04", io.ErrUnexpectedEOF},
	} {
		context, dc := newContext(t)
		h := &handshake{context: context}
		token, err := h.NegotiateSaslAuth(dc.token(test.offer), "")
		if !errors.Is(err, test.err) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		var w gssapi.WrapToken
		if err := w.Unmarshal(token, false); err != nil {
			t.Fatal(err)
		}
		if ok, err := w.Verify(dc.key, 24); !ok || string(w.Payload) != "\x02\x10\x00\x00" {
			t.Errorf("%s: chosen %x, %v", name, w.Payload, err)
		}
	}
	context, dc := newContext(t)
	token := dc.token("\x07\x00\x04\x00")
	token[16] ^= 4 // take integrity away
	if _, err := (&handshake{context: context}).NegotiateSaslAuth(token, ""); !errors.Is(err, krb5.ErrIntegrity) {
		t.Errorf("a changed offer: %v", err)
	}
}
