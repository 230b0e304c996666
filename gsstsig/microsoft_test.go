package gsstsig

import (
	"encoding/hex"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// TestDigestsOfMicrosoft: the last TKEY reply is signed over itself and its TSIG variables. A length of zero, for the MAC that the
// request does not have, would be another digest. The answers behind it have the MACs of their requests, with the length. The digests are made from the octets before a TSIG record whose
// names are not compressed.
func TestDigestsOfMicrosoft(t *testing.T) {
	standard.Requires(t, "MS-GSSA", "3.1.5.1 signed", "3.1.5.1 no request MAC", "3.1.5.1 request MAC", "3.1.5.2 gss-tsig", "3.1.5.4 TSIG")
	for _, algorithm := range []string{AlgorithmGSS, AlgorithmGSSMicrosoft} {
		t.Run(algorithm, func(t *testing.T) {
			r := newRealm(t, nil)
			p := r.newPeer("key.example.", login{client: "host/a", algorithm: algorithm})
			reply, sign := p.run()
			if sign == nil {
				t.Fatal("the context is not complete")
			}
			wire, err := sign.Sign(reply)
			if err != nil {
				t.Fatal(err)
			}
			verifies := func(digest []byte, mac string) bool {
				t.Helper()
				octets, err := hex.DecodeString(mac)
				if err != nil {
					t.Fatal(err)
				}
				return p.kerberos.VerifyMIC(digest, octets) == nil
			}
			digest, record := referenceDigest(t, wire, "", false)
			if verifies(append([]byte{0, 0}, digest...), record.MAC) {
				t.Error("the digest of the TKEY reply has the length of a MAC that is not there")
			}
			if !verifies(digest, record.MAC) {
				t.Error("the TKEY reply is signed over something else")
			}
			m := updateMessage()
			signed, mac := p.sign(m)
			transaction, err := NewAuthenticator(nil, r.server).Authenticate(signed)
			if err != nil {
				t.Fatal(err)
			}
			if wire, err = transaction.Sign(new(dns.Msg).SetReply(m)); err != nil {
				t.Fatal(err)
			}
			without, record := referenceDigest(t, wire, "", false)
			octets, err := hex.DecodeString(mac)
			if err != nil {
				t.Fatal(err)
			}
			if verifies(without, record.MAC) || verifies(append(octets, without...), record.MAC) {
				t.Error("the answer is signed without the request's MAC, or without its length")
			}
			p.verifyAnswer(wire, mac, false)
		})
	}
}
