package krb5test_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
)

func TestAccountTicket(t *testing.T) {
	realm := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test")
	keys, err := krb5.OpenKeytabs(realm.Keytab())
	if err != nil {
		t.Fatal(err)
	}
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{Keytabs: keys, Replays: krb5.NewReplayCache(0)})
	if err != nil {
		t.Fatal(err)
	}
	for _, enctype := range []krb5.Enctype{17, 18, 19} {
		account := krb5.Account{Name: "CLIENT1$", SID: "S-1-5-21-1-2-3-1103"}
		ticket, session := realm.AccountTicket("CLIENT1$", "DNS/ns1.example.test", enctype, time.Hour, account, 1101)
		initiator, err := krb5.NewInitiator(krb5.InitiatorConfig{Ticket: ticket, SessionKey: session, Client: realm.Principal("CLIENT1$"), Mutual: true})
		if err != nil {
			t.Fatal(err)
		}
		token, err := initiator.Init(nil)
		if err != nil {
			t.Fatal(err)
		}
		c := acceptor.NewContext()
		reply, err := c.Accept(token)
		if err != nil {
			t.Fatalf("type %d: %v", enctype, err)
		}
		if _, err := initiator.Init(reply); err != nil {
			t.Fatal(err)
		}
		if want := []string{"S-1-5-21-1-2-3-1103", "S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1101"}; !slices.Equal(c.Groups(), want) {
			t.Errorf("type %d: groups %q", enctype, c.Groups())
		}
	}
}
