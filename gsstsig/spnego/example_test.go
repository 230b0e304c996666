package spnego_test

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
)

// hello stands for a mechanism that needs one token each way. Package krb5 has
// the real one.
type hello struct{ done bool }

func (h *hello) Init(token []byte) ([]byte, error) {
	if token == nil {
		return []byte("hello, acceptor"), nil
	}
	h.done = true
	return nil, nil
}

func (h *hello) Accept(token []byte) ([]byte, error) {
	h.done = true
	return []byte("hello, initiator"), nil
}

func (h *hello) Established() bool { return h.done }

func (h *hello) GetMIC(message []byte) ([]byte, error) {
	return append([]byte("MIC of "), message...), nil
}

func (h *hello) VerifyMIC(message, mic []byte) error {
	if want, _ := h.GetMIC(message); !bytes.Equal(mic, want) {
		return errors.New("wrong MIC")
	}
	return nil
}

// An initiator whose first choice is another mechanism, here NTLM, needs more
// rounds than one: the acceptor chooses Kerberos, and both sides prove with a
// MIC that the list of mechanisms was not changed on the way.
func Example() {
	initiator, err := spnego.NewInitiator(spnego.InitiatorConfig{
		Mechanism: new(hello),
		MechTypes: []asn1.ObjectIdentifier{spnego.OIDNTLM, spnego.OIDKerberos},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	acceptor := spnego.NewAcceptor(func() spnego.Mechanism { return new(hello) })
	token, err := initiator.Init(nil)
	rounds := 0
	for err == nil && len(token) > 0 {
		rounds++
		if token, err = acceptor.Accept(token); err == nil && len(token) > 0 {
			token, err = initiator.Init(token)
		}
	}
	fmt.Println(rounds, initiator.Established(), acceptor.Established(), err)
	// Output: 3 true true <nil>
}
