package spnego

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// toyMechanism is both sides of a mechanism with Kerberos' shape: one token to
// the acceptor and, with mutual authentication, one back. Its MICs carry a
// direction and a sequence number and are refused when they repeat.
type toyMechanism struct {
	acceptor bool
	mutual   bool
	begun    bool
	done     bool
	sent     byte
	seen     map[byte]bool
	refuse   error
}

const toySecret = "shared"

var errToy = errors.New("toy mechanism: refused")

func toyToken(body string) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(tagToken, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(OIDKerberos)
		b.AddBytes([]byte(body))
	})
	return b.BytesOrPanic()
}

func (m *toyMechanism) Init(token []byte) ([]byte, error) {
	if !m.begun {
		m.begun = true
		m.done = !m.mutual
		if m.mutual {
			return toyToken("request mutual"), nil
		}
		return toyToken("request"), nil
	}
	if string(token) != "reply" || m.done {
		return nil, errToy
	}
	m.done = true
	return nil, nil
}

func (m *toyMechanism) Accept(token []byte) ([]byte, error) {
	if m.refuse != nil {
		return []byte("error token"), m.refuse
	}
	if m.done || !IsKerberosToken(token) {
		return nil, errToy
	}
	m.done = true
	if bytes.HasSuffix(token, []byte("mutual")) {
		return []byte("reply"), nil
	}
	return nil, nil
}

func (m *toyMechanism) Established() bool { return m.done }

func (m *toyMechanism) mic(acceptor bool, sequence byte, message []byte) []byte {
	h := hmac.New(sha256.New, []byte(toySecret))
	fmt.Fprintf(h, "%t %d ", acceptor, sequence)
	h.Write(message)
	return append(h.Sum(nil), sequence)
}

func (m *toyMechanism) GetMIC(message []byte) ([]byte, error) {
	if !m.done {
		return nil, errToy
	}
	m.sent++
	return m.mic(m.acceptor, m.sent, message), nil
}

func (m *toyMechanism) VerifyMIC(message, mic []byte) error {
	if !m.done || len(mic) != sha256.Size+1 {
		return errToy
	}
	sequence := mic[sha256.Size]
	if m.seen[sequence] || !hmac.Equal(mic, m.mic(!m.acceptor, sequence, message)) {
		return errToy
	}
	if m.seen == nil {
		m.seen = make(map[byte]bool)
	}
	m.seen[sequence] = true
	return nil
}

// field wraps contents in the explicit tag n, for tokens written by hand.
func field(n uint8, tag cbasn1.Tag, contents []byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(context(n), func(b *cryptobyte.Builder) {
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(contents) })
	})
	return b.BytesOrPanic()
}

func initToken(fields ...[]byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(tagToken, func(b *cryptobyte.Builder) {
		addOID(b, derSPNEGO)
		b.AddASN1(tagNegInit, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(fields, nil)) })
		})
	})
	return b.BytesOrPanic()
}

func respToken(fields ...[]byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(tagNegResp, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(fields, nil)) })
	})
	return b.BytesOrPanic()
}

// listOf is the contents of a MechTypeList.
func listOf(oids ...[]byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	for _, oid := range oids {
		addOID(b, oid)
	}
	return b.BytesOrPanic()
}
