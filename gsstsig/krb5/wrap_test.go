package krb5

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// foreignWrap is a Wrap token made by gokrb5, with what follows its header
// rotated to the right.
func foreignWrap(k types.EncryptionKey, message []byte, usage uint32, flags byte, sequence uint64, rotate uint16) []byte {
	w := gssapi.WrapToken{Flags: flags, SndSeqNum: sequence, Payload: message}
	if err := w.SetCheckSum(k, usage); err != nil {
		panic(err)
	}
	w.EC = uint16(len(w.CheckSum))
	token := must(w.Marshal())
	body := token[16:]
	count := int(rotate) % len(body)
	rotated := slices.Concat(body[len(body)-count:], body[:len(body)-count])
	token = append(token[:16:16], rotated...)
	token[6], token[7] = byte(rotate>>8), byte(rotate)
	return token
}

func TestWrapAgreesWithGokrb5(t *testing.T) {
	standard.Requires(t, "RFC 4121", "4.2.5 rotation")
	for _, id := range testTypes {
		k := testKey(id, "mic")
		for _, message := range [][]byte{{}, {0}, []byte("a message"), bytes.Repeat([]byte("long "), 20000)} {
			for _, flags := range []byte{0, micAcceptorSubkey} {
				initiator := testSession(id, false, flags != 0, 7, 1<<32-1)
				for n := range uint64(3) {
					if got, want := must(initiator.wrapMessage(message)), foreignWrap(k, message, 24, flags, 7+n, 0); !bytes.Equal(got, want) {
						t.Fatalf("%s: token %x, want %x", id, got, want)
					}
					rotate := []uint16{0, 12, 65535}[n]
					got, err := initiator.unwrapMessage(foreignWrap(k, message, 22, flags|micByAcceptor, 1<<32-1+n, rotate))
					if err != nil || !bytes.Equal(got, message) {
						t.Fatalf("%s: rotated by %d: %d octets, %v", id, rotate, len(got), err)
					}
				}
			}
		}
	}
}

func TestBadWraps(t *testing.T) {
	const id = AES256SHA1
	k := testKey(id, "mic")
	good := func() []byte { return foreignWrap(k, []byte("a message"), 22, micByAcceptor, 5, 0) }
	change := func(at int, to byte) []byte {
		token := good()
		token[at] = to
		return token
	}
	for name, test := range map[string]struct {
		token []byte
		want  error
	}{
		"nothing":              {nil, ErrMalformed},
		"header alone":         {good()[:16], ErrMalformed},
		"shorter than a MAC":   {good()[:16+11], ErrMalformed},
		"one octet less":       {good()[:len(good())-1], ErrIntegrity},
		"one octet more":       {append(good(), 0), ErrIntegrity},
		"a MIC":                {foreignMIC(k, []byte("a message"), 23, micByAcceptor, 5), ErrMalformed},
		"encrypted":            {change(2, micByAcceptor|micSealed), ErrIntegrity},
		"its own":              {must(testSession(id, false, false, 5, 5).wrapMessage([]byte("a message"))), ErrIntegrity},
		"of an unknown subkey": {foreignWrap(k, []byte("a message"), 22, micByAcceptor|micAcceptorSubkey, 5, 0), ErrIntegrity},
		"another filler":       {change(3, 0), ErrMalformed},
		"another length":       {change(5, 11), ErrMalformed},
		"another rotation":     {change(7, 1), ErrIntegrity},
		"another number":       {change(15, 6), ErrIntegrity},
		"another message":      {change(16, 'b'), ErrIntegrity},
		"another key":          {foreignWrap(testKey(id, "other"), []byte("a message"), 22, micByAcceptor, 5, 0), ErrIntegrity},
		"another usage":        {foreignWrap(k, []byte("a message"), 24, micByAcceptor, 5, 0), ErrIntegrity},
	} {
		s := testSession(id, false, false, 5, 5)
		if message, err := s.unwrapMessage(test.token); !errors.Is(err, test.want) || message != nil {
			t.Errorf("%s: %q, %v", name, message, err)
		}
	}
	s := testSession(id, false, false, 5, 5)
	if _, err := s.unwrapMessage(good()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.unwrapMessage(good()); !errors.Is(err, ErrReplay) {
		t.Errorf("again: %v", err)
	}
	s.wipe()
	if _, err := s.unwrapMessage(good()); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("wiped: %v", err)
	}
	if _, err := s.wrapMessage(nil); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("wiped: %v", err)
	}
	if _, err := testSession(id, true, false, 5, 5).wrapMessage(nil); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("an acceptor: %v", err)
	}
	if _, err := testSession(RC4HMAC, false, false, 5, 5).wrapMessage(nil); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("RC4: %v", err)
	}
	if _, err := new(InitiatorContext).Wrap(nil); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("no context: %v", err)
	}
	if _, err := new(InitiatorContext).Unwrap(nil); !errors.Is(err, ErrNotEstablished) {
		t.Errorf("no context: %v", err)
	}
}

func FuzzUnwrap(f *testing.F) {
	k := testKey(AES256SHA1, "mic")
	f.Add(foreignWrap(k, []byte("a message"), 22, micByAcceptor, 5, 0))
	f.Fuzz(func(t *testing.T, token []byte) {
		message, err := testSession(AES256SHA1, false, false, 5, 5).unwrapMessage(token)
		if err == nil && string(message) != "a message" {
			t.Errorf("%x: %q", token, message)
		}
	})
}
