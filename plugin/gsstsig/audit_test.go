package gsstsig

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/event"
)

// failureText is the line about a failure in CoreDNS's text format.
func failureText(f event.Failure) string { return string(failureLine(&f).text) }

// TestFailureLine: the line about a failed handshake has the client, the keys of both sides, the reason and the fix.
func TestFailureLine(t *testing.T) {
	full := gsstsig.Event{
		Result: gsstsig.ResultBadKey, Client: netip.MustParseAddrPort("192.0.2.1:53053"), KeyName: "1.sig-ns1.example.test.",
		Service: "DNS/ns1.example.test@EXAMPLE.TEST", Enctype: krb5.AES256SHA1, TicketKVNO: 4, KeytabKVNOs: []uint32{2, 3},
		Reason: "no such version", Fix: "export the keytab again",
	}
	const want = `handshake result=badkey client=192.0.2.1:53053 key="1.sig-ns1.example.test." ` +
		`service="DNS/ns1.example.test@EXAMPLE.TEST" enctype=aes256-cts-hmac-sha1-96 kvno=4 keytab_kvno=2,3 ` +
		`reason="no such version" fix="export the keytab again"`
	if line := failureText(describeHandshake(full)); line != want {
		t.Errorf("%s\nwant\n%s", line, want)
	}
	bare := gsstsig.Event{Result: gsstsig.ResultFormErr, Client: full.Client, Reason: "no TKEY record"}
	if line := failureText(describeHandshake(bare)); line != `handshake result=formerr client=192.0.2.1:53053 key="" reason="no TKEY record"` {
		t.Error(line)
	}
}

// TestSignatureLine: the line about a signature that does not verify has the client, the key, the reason and the fix.
func TestSignatureLine(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.2.1 log", "5.2.4 log")
	client := netip.MustParseAddrPort("192.0.2.1:53053")
	request := new(dns.Msg).SetUpdate("example.test.")
	static := gsstsig.StaticKeys{"static.example.test.": "c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgb2N0ZXRz"}
	unverified := func(algorithm string) string {
		return `signature result=badkey client=192.0.2.1:53053 key="static.example.test." algorithm="` + algorithm + `" ` +
			`reason="the key is known, but not this algorithm; ` +
			`the server verifies hmac-sha1, -sha224, -sha256, -sha384 and -sha512" fix="have the client sign by hmac-sha256 with the same secret"`
	}
	for _, test := range []struct{ key, algorithm, want string }{
		{"1.sig-ns1.example.test.", "gss-tsig.", `signature result=badkey client=192.0.2.1:53053 key="1.sig-ns1.example.test." algorithm="gss-tsig." ` +
			`reason="no such key; it may have expired or been deleted" ` +
			`fix="have the client negotiate a new context, as most do by themselves; contexts end by time, when the server is killed, and when one that does not keep them stops"`},
		{"1.sig-ns1.example.test.", dns.HmacSHA256, `signature result=badkey client=192.0.2.1:53053 key="1.sig-ns1.example.test." algorithm="hmac-sha256." ` +
			`reason="no such key; it may have expired or been deleted" ` +
			`fix="give the server the HMAC key of that name, or have the client sign with its Kerberos ticket"`},
		{"static.example.test.", dns.HmacMD5, unverified("hmac-md5.sig-alg.reg.int.")},
		{"static.example.test.", "hmac-sha256-128.", unverified("hmac-sha256-128.")},
		{"static.example.test.", dns.HmacSHA256, `signature result=badtrunc client=192.0.2.1:53053 key="static.example.test." algorithm="hmac-sha256." ` +
			`reason="MAC has 16 of 32 octets" ` +
			`fix="have the client send the whole MAC: in BIND's configuration, an algorithm without a number of bits at its end"`},
	} {
		signed := request.Copy().SetTsig(test.key, test.algorithm, 300, 0)
		signed.IsTsig().MAC, signed.IsTsig().MACSize = "00", 1
		wire, err := signed.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(test.want, "badtrunc") {
			wire = signTruncated(t, request, test.key, static[test.key])
		}
		_, err = gsstsig.NewAuthenticator(static).Authenticate(wire)
		var failure *gsstsig.VerifyError
		if !errors.As(err, &failure) {
			t.Fatal(err)
		}
		if line := failureText(describeSignature(client, failure)); line != test.want {
			t.Errorf("%s\nwant\n%s", line, test.want)
		}
	}
}

// signTruncated signs a message by HMAC-SHA256 and sends half of the MAC, as BIND does for hmac-sha256-128.
func signTruncated(t *testing.T, m *dns.Msg, key, secret string) []byte {
	t.Helper()
	wire, mac, err := dns.TsigGenerate(m.Copy().SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix()), secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	signed := new(dns.Msg)
	if err := signed.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	tsig := signed.IsTsig()
	tsig.MAC, tsig.MACSize = mac[:len(mac)/2], tsig.MACSize/2
	if wire, err = signed.Pack(); err != nil {
		t.Fatal(err)
	}
	return wire
}

// TestFailureLinesAreBounded: a flood of failures makes a bounded number of lines, and the next line has the number of the
// suppressed ones.
func TestFailureLinesAreBounded(t *testing.T) {
	l := limitedLog{limiter: rate.NewLimiter(0, 2)}
	written := 0
	for range 1000 {
		if _, ok := l.allow(); ok {
			written++
		}
	}
	if written != 2 {
		t.Errorf("%d lines", written)
	}
	l.limiter = rate.NewLimiter(0, 1)
	if suppressed, ok := l.allow(); !ok || suppressed != 998 {
		t.Errorf("%d, %t", suppressed, ok)
	}
}
