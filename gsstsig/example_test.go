package gsstsig_test

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// A server sets up one Authenticator for each address that it serves.
func ExampleNewAuthenticator() {
	keytabs, err := krb5.OpenKeytabs("/etc/dns.keytab")
	if err != nil {
		fmt.Println(err)
		return
	}
	acceptor, err := krb5.NewAcceptor(krb5.AcceptorConfig{Keytabs: keytabs, Replays: krb5.NewReplayCache(0)})
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := gsstsig.NewServer(gsstsig.Config{
		Acceptor: acceptor,
		Contexts: gsstsig.NewTable(gsstsig.TableConfig{}),
		Observe:  func(e gsstsig.Event) { fmt.Println(e.Result, e.Peer, e.Reason, e.Fix) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	authenticator := gsstsig.NewAuthenticator(nil, server)

	// For each message that comes in:
	answer := func(wire []byte, from netip.AddrPort) ([]byte, error) {
		transaction, err := authenticator.Authenticate(wire)
		var failure *gsstsig.VerifyError
		if errors.As(err, &failure) {
			return failure.Reply()
		}
		// What is left is no error or gsstsig.ErrUnsigned.
		request := new(dns.Msg)
		if err := request.Unpack(wire); err != nil {
			return nil, err
		}
		response := new(dns.Msg).SetRcode(request, dns.RcodeRefused)
		if len(request.Question) == 1 && request.Question[0].Qtype == dns.TypeTKEY {
			response, transaction = authenticator.Negotiate(request, from, transaction)
		}
		if transaction == nil {
			return response.Pack()
		}
		return transaction.Sign(response)
	}
	_ = answer
}

// A message that is signed with a static key is verified, and so is the answer.
func ExampleAuthenticator_Authenticate() {
	const secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	authenticator := gsstsig.NewAuthenticator(gsstsig.StaticKeys{"key.example.test.": secret})

	query := new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA)
	plain, err := query.Pack()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = authenticator.Authenticate(plain)
	fmt.Println(err)

	query.SetTsig("key.example.test.", dns.HmacSHA256, 300, time.Now().Unix())
	signed, mac, err := dns.TsigGenerate(query, secret, "", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	transaction, err := authenticator.Authenticate(signed)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("signed by", transaction.Identity().KeyName)
	reply, err := transaction.Sign(new(dns.Msg).SetReply(query))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the client's check:", dns.TsigVerify(reply, secret, mac, false))
	// Output:
	// gsstsig: the message is not signed
	// signed by key.example.test.
	// the client's check: <nil>
}
