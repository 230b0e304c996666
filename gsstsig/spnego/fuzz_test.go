package spnego

import (
	"bytes"
	"testing"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// FuzzAcceptToken gives an acceptor two tokens, as a client with two rounds
// would send them. Beyond not panicking, what is accepted must be so for a
// reason: established only with the mechanism, and every answer parses.
func FuzzAcceptToken(f *testing.F) {
	kerberos := field(0, cbasn1.SEQUENCE, listOf(derKerberos))
	token := field(2, cbasn1.OCTET_STRING, toyToken("request mutual"))
	f.Add(initToken(kerberos, token), []byte{})
	f.Add(initToken(kerberos), respToken(field(0, cbasn1.ENUM, []byte{1}), token))
	f.Add(initToken(field(0, cbasn1.SEQUENCE, listOf(oidContents(OIDNTLM), derMSKerberos))), respToken(token))
	f.Add(toyToken("request"), respToken())
	f.Fuzz(func(t *testing.T, first, second []byte) {
		PeekMechToken(first)
		mechanism := &toyMechanism{acceptor: true}
		c := NewAcceptor(func() Mechanism { return mechanism })
		for _, token := range [][]byte{first, second} {
			if c.Established() {
				break
			}
			before := bytes.Clone(token)
			reply, err := c.Accept(token)
			if !bytes.Equal(token, before) {
				t.Fatal("the token was changed")
			}
			if c.Established() && (err != nil || !mechanism.Established()) {
				t.Fatalf("established with the mechanism at %t and error %v", mechanism.Established(), err)
			}
			if reply != nil {
				if _, perr := parseResp(reply); perr != nil {
					t.Fatalf("answer does not parse: %v", perr)
				}
			} else if err == nil && !c.Established() {
				t.Fatal("neither answer nor error nor end")
			}
		}
	})
}

// FuzzInitToken does the same for the initiator and an acceptor's answers.
func FuzzInitToken(f *testing.F) {
	f.Add(respToken(field(0, cbasn1.ENUM, []byte{0}), field(1, cbasn1.OBJECT_IDENTIFIER, derKerberos), field(2, cbasn1.OCTET_STRING, []byte("reply"))))
	f.Add(respToken(field(0, cbasn1.ENUM, []byte{3}), field(1, cbasn1.OBJECT_IDENTIFIER, derKerberos)))
	f.Add(respToken(field(0, cbasn1.ENUM, []byte{2})))
	f.Fuzz(func(t *testing.T, answer []byte) {
		mechanism := &toyMechanism{mutual: true}
		c, err := NewInitiator(InitiatorConfig{Mechanism: mechanism})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Init(nil); err != nil {
			t.Fatal(err)
		}
		_, err = c.Init(answer)
		if c.Established() && (err != nil || !mechanism.Established()) {
			t.Fatalf("established with the mechanism at %t and error %v", mechanism.Established(), err)
		}
	})
}
