package client

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// FuzzReply feeds a client with a key whatever a network may bring. Without the
// key nothing can be made that it believes, and only BADKEY and BADSIG can be
// made that it reports as the server's.
func FuzzReply(f *testing.F) {
	ticket := newTestKDC(f).ticket(f, time.Hour)
	kerberos, err := krb5.NewInitiator(krb5.InitiatorConfig{Ticket: ticket.Ticket, SessionKey: ticket.SessionKey, Client: ticket.Client})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := kerberos.Init(nil); err != nil {
		f.Fatal(err)
	}
	key := &Context{
		client:   &Client{config: Config{Now: time.Now}},
		kerberos: kerberos, name: "key.example.", algorithm: AlgorithmGSSTSIG,
	}
	var afterOne tsig.ClientTransaction
	afterOne.Accept(&tsig.Record{MAC: make([]byte, 28)})
	f.Fuzz(func(t *testing.T, wire []byte) {
		var id uint16
		if len(wire) >= 2 {
			id = binary.BigEndian.Uint16(wire)
		}
		transaction := &Transaction{signer: key.signer(), id: id}
		if _, err := transaction.octets.SignRequest(make([]byte, 12), tsig.Fields{}, func([]byte) ([]byte, error) { return make([]byte, 28), nil }); err != nil {
			t.Fatal(err)
		}
		reply, err := transaction.Verify(wire)
		var refused *TSIGError
		switch {
		case err == nil || reply != nil:
			t.Error("a reply without the key's MAC was believed")
		case errors.As(err, &refused) && (refused.Verified || refused.Code != dns.RcodeBadKey && refused.Code != dns.RcodeBadSig):
			t.Errorf("an unsigned reply became %v", err)
		}
		for _, incremental := range []bool{false, true} {
			transfer := &transfer{transaction: &Transaction{signer: key.signer(), id: id, octets: afterOne}, incremental: incremental}
			if over, _ := transfer.message(wire); over || len(transfer.verified) > 0 {
				t.Error("records without a signature were handed out")
			}
		}
		m := new(dns.Msg)
		if m.Unpack(wire) == nil {
			n := &negotiation{client: &Client{config: Config{Algorithm: AlgorithmGSSTSIG}}, name: "."}
			if n.read(m) == nil && (n.answer == nil || n.name == ".") {
				t.Error("a TKEY reply without record or name was taken")
			}
		}
	})
}
