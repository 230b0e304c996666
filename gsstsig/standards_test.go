package gsstsig

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// signFudge signs with miekg's code by a static key, with a fudge of choice.
func signFudge(t testing.TB, m *dns.Msg, at time.Time, fudge uint16) []byte {
	t.Helper()
	m = m.Copy()
	record := stub(staticName, dns.HmacSHA256, at)
	record.OrigId, record.Fudge = m.Id, fudge
	m.Extra = append(m.Extra, record)
	wire, _, err := dns.TsigGenerate(m, staticSecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// The fudge is the request's: a client that allows more would not take an answer for which less is allowed.
func TestFudgeOfAnswers(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.2.3 fudge", "10 fudge")
	v := NewAuthenticator(staticKeys)
	now := time.Now()
	for _, fudge := range []uint16{1, 60, 300, 3600} {
		_, err := v.Authenticate(signFudge(t, updateMessage(), now.Add(-2*time.Hour), fudge))
		if kindOf(err) != BadTime {
			t.Fatalf("fudge %d: %v", fudge, err)
		}
		if got := replyTo(t, err).IsTsig(); got.Fudge != fudge {
			t.Errorf("fudge %d: BADTIME is answered with %d", fudge, got.Fudge)
		}
	}
	// Other answers have the recommended one.
	transaction, err := v.Authenticate(signFudge(t, updateMessage(), now, 3600))
	if err != nil {
		t.Fatal(err)
	}
	wire, err := transaction.Sign(new(dns.Msg).SetReply(updateMessage()))
	if err != nil {
		t.Fatal(err)
	}
	answer := new(dns.Msg)
	if err := answer.Unpack(wire); err != nil || answer.IsTsig().Fudge != 300 {
		t.Errorf("%v, fudge %d", err, answer.IsTsig().Fudge)
	}
}

// Each check comes before the next: a message that fails two is told of the first.
func TestOrderOfChecks(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.2 order")
	v := NewAuthenticator(staticKeys)
	late := time.Now().Add(-time.Hour)
	// cut has the first half of the MAC only.
	cut := func(wire []byte, flip byte) []byte {
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		record := m.IsTsig()
		mac, err := hex.DecodeString(record.MAC[:32])
		if err != nil {
			t.Fatal(err)
		}
		mac[0] ^= flip
		record.MAC, record.MACSize = hex.EncodeToString(mac), 16
		wire, err = m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	unknown, _ := signStatic(t, updateMessage(), "unknown.example.test.", dns.HmacSHA256, late)
	for name, test := range map[string]struct {
		wire []byte
		want VerifyErrorKind
	}{
		"key, MAC, time and truncation": {cut(unknown, 1), BadKey},
		"MAC, time and truncation":      {cut(signFudge(t, updateMessage(), late, 300), 1), BadSig},
		"time and truncation":           {cut(signFudge(t, updateMessage(), late, 300), 0), BadTime},
		"truncation":                    {cut(signFudge(t, updateMessage(), time.Now(), 300), 0), BadTrunc},
	} {
		if _, err := v.Authenticate(test.wire); kindOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// MD5 is not offered, nor are algorithms that are truncated by their name.
func TestAlgorithmsNotOffered(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.2.1 BADKEY", "5.2.1 unsigned")
	standard.Requires(t, "MS-GSSA", "3.1.5.2 HMAC-MD5")
	standard.Deviates(t, "RFC 8945", "6 HMAC-MD5", "HMAC-MD5 is BADKEY. The same line forbids its use, and the log names the "+
		"algorithms that are accepted.")
	standard.Deviates(t, "RFC 8945", "6 others", "The variants that are truncated by their name, such as hmac-sha256-128, are BADKEY: no "+
		"client of the tests needs them.")
	v := NewAuthenticator(staticKeys)
	for _, algorithm := range []string{dns.HmacMD5, "hmac-sha256-128.", "hmac-sha384-192.", "hmac-sha512-256."} {
		m := updateMessage()
		record := stub(staticName, algorithm, time.Now())
		record.OrigId, record.MACSize, record.MAC = m.Id, 16, strings.Repeat("ab", 16)
		m.Extra = append(m.Extra, record)
		_, wire := overTheWire(t, m)
		_, err := v.Authenticate(wire)
		if kindOf(err) != BadKey {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		if got := replyTo(t, err).IsTsig(); got.Error != dns.RcodeBadKey || got.MACSize != 0 {
			t.Errorf("%s: answered %s", algorithm, got)
		}
	}
}

// The secret of a static key is good for each algorithm, while a context is bound to one.
func TestAlgorithmsOfOneKey(t *testing.T) {
	standard.Requires(t, "RFC 8945", "6 HMAC-SHA1", "6 HMAC-SHA256")
	standard.Deviates(t, "RFC 8945", "10 one algorithm", "A static key verifies by each of the five HMAC algorithms: the tsig plugin, which "+
		"has the keys, names none. A context has one algorithm.")
	v := NewAuthenticator(staticKeys)
	for _, algorithm := range hmacNames {
		m := updateMessage()
		m.Id = dns.Id()
		wire, _ := signStatic(t, m, staticName, algorithm, time.Now())
		if _, err := v.Authenticate(wire); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	wire, _ := p.signAs(updateMessage(), p.name, AlgorithmGSSMicrosoft, r.clock.now())
	if _, err := NewAuthenticator(nil, r.server).Authenticate(wire); kindOf(err) != BadKey {
		t.Errorf("a context by the other name: %v", err)
	}
}

// A message of a key may be older than one that came before: datagrams overtake each other.
func TestEarlierTimeSigned(t *testing.T) {
	standard.Deviates(t, "RFC 8945", "5.2.3 latest time", "An earlier time is accepted within the fudge, as the RFC warns that datagrams "+
		"overtake each other. Each message is accepted once: a context's messages are numbered, and the MACs of updates by a static key "+
		"are remembered. If there are too many of them to remember, an earlier time is BADTIME.")
	v := NewAuthenticator(staticKeys)
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	contexts := NewAuthenticator(nil, r.server)
	for i, age := range []time.Duration{0, time.Minute, 4 * time.Minute} {
		m := updateMessage()
		m.Id = uint16(i)
		wire := signFudge(t, m, time.Now().Add(-age), 300)
		if _, err := v.Authenticate(wire); err != nil {
			t.Errorf("static key, %s ago: %v", age, err)
		}
		if _, err := v.Authenticate(wire); kindOf(err) != BadSig {
			t.Errorf("static key, %s ago, again: %v", age, err)
		}
		wire, _ = p.signAs(m, p.name, p.algorithm, r.clock.now().Add(-age))
		if _, err := contexts.Authenticate(wire); err != nil {
			t.Errorf("context, %s ago: %v", age, err)
		}
		if _, err := contexts.Authenticate(wire); kindOf(err) != BadSig {
			t.Errorf("context, %s ago, again: %v", age, err)
		}
	}
}

// The MAC of an answer covers the request's, the message without its TSIG record, and the fields, all as written down here.
func TestWhatTheMACCovers(t *testing.T) {
	standard.Requires(t, "RFC 8945", "4.3.1 request MAC", "4.3.2 message", "4.3.3 variables", "5.3 same key", "7 length of replies")
	standard.Requires(t, "RFC 3645", "5.1 digest")
	v := NewAuthenticator(staticKeys)
	request, mac := signStatic(t, updateMessage(), "STATIC.example.TEST.", "HMAC-SHA256.", time.Now())
	m := new(dns.Msg)
	if err := m.Unpack(request); err != nil {
		t.Fatal(err)
	}
	transaction, err := v.Authenticate(request)
	if err != nil {
		t.Fatal(err)
	}
	response := new(dns.Msg).SetReply(m)
	response.Id += 1000 // as behind a forwarder; the original ID is what is covered
	response.Compress = true
	unsigned, err := response.Pack()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := transaction.Sign(response)
	if err != nil {
		t.Fatal(err)
	}
	record := replyRecord(t, signed)
	if record.OrigId != response.Id {
		t.Errorf("original ID %d of message %d", record.OrigId, response.Id)
	}
	requestMAC, err := hex.DecodeString(mac)
	if err != nil {
		t.Fatal(err)
	}
	var covered bytes.Buffer
	covered.Write([]byte{0, byte(len(requestMAC))})
	covered.Write(requestMAC)
	covered.Write(unsigned)
	covered.WriteString("\x06static\x07example\x04test\x00" + "\x00\xff" + "\x00\x00\x00\x00" + "\x0bhmac-sha256\x00")
	covered.Write(tsig.AppendTime(nil, record.TimeSigned))
	covered.WriteString("\x01\x2c" + "\x00\x00" + "\x00\x00") // fudge, error, length of other data
	secret, err := base64.StdEncoding.DecodeString(staticSecret)
	if err != nil {
		t.Fatal(err)
	}
	want, err := (&hmacKey{secret: secret, hash: hmacs[hmacIndex([]byte("\x0bhmac-sha256\x00"))].hash}).sign(covered.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if record.MAC != hex.EncodeToString(want) || int(record.MACSize) != len(requestMAC) {
		t.Errorf("MAC %s, want %x", record.MAC, want)
	}
	if !strings.EqualFold(record.Hdr.Name, staticName) || !strings.EqualFold(record.Algorithm, dns.HmacSHA256) {
		t.Errorf("TSIG %s", record)
	}
}

func replyRecord(t testing.TB, wire []byte) *dns.TSIG {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil || m.IsTsig() == nil {
		t.Fatalf("%v, no TSIG in\n%s", err, m)
	}
	return m.IsTsig()
}

// The answer's TKEY record has the query's names and mode, the server's times whatever the client's are, and no TTL.
func TestFieldsOfTKEY(t *testing.T) {
	standard.Requires(t, "RFC 3645", "4.1.3 fields", "4.1.3 other fields")
	standard.Requires(t, "RFC 2930", "2.2 TTL", "2.4 validity", "4.3 times")
	for name, change := range map[string]func(r *realm, record *dns.TKEY){
		"no times":     func(*realm, *dns.TKEY) {},
		"times passed": func(_ *realm, record *dns.TKEY) { record.Inception, record.Expiration = 1, 2 },
		"a century": func(r *realm, record *dns.TKEY) {
			record.Inception, record.Expiration = uint32(r.clock.now().Unix()), 0xFFFFFFFF
		},
		"the end first": func(_ *realm, record *dns.TKEY) { record.Inception, record.Expiration = 0xFFFFFFFF, 0 },
		"TTL":           func(_ *realm, record *dns.TKEY) { record.Hdr.Ttl = 3600 },
		"other data":    func(_ *realm, record *dns.TKEY) { record.OtherLen, record.OtherData = 2, "abcd" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRealm(t, nil)
			p := r.newPeer("Key.example.test.", login{})
			m := tkeyMessage(p.name, p.algorithm, modeGSS, p.first())
			change(r, m.Extra[0].(*dns.TKEY))
			response, sign := r.negotiate(m, testClient, nil)
			if sign == nil {
				t.Fatalf("%+v", r.lastEvent())
			}
			response, _ = overTheWire(t, response)
			got, now := answerOf(t, response), r.clock.now()
			if got.Hdr.Name != p.name || got.Hdr.Ttl != 0 || got.Algorithm != p.algorithm || got.Mode != modeGSS || got.Error != 0 ||
				int(got.KeySize) != len(got.Key)/2 || got.KeySize == 0 || got.OtherLen != 0 {
				t.Errorf("answer %s", got)
			}
			if got.Inception != uint32(now.Unix()) || got.Expiration != uint32(now.Add(DefaultLifetime).Unix()) {
				t.Errorf("inception %d, expiration %d at %d", got.Inception, got.Expiration, now.Unix())
			}
		})
	}
}

// A negotiation that does not end is ended.
func TestRoundsAreLimited(t *testing.T) {
	standard.Requires(t, "RFC 3645", "4.1.3 rounds", "4.1.3 ten rounds")
	if maxRounds > 10 {
		t.Errorf("%d rounds are allowed", maxRounds)
	}
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{mechTypes: []asn1.ObjectIdentifier{spnego.OIDNTLM, spnego.OIDKerberos}})
	response, _ := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, p.first()), testClient, nil)
	reply, err := hex.DecodeString(answerOf(t, response).Key)
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.outer.Init(reply)
	if err != nil {
		t.Fatal(err)
	}
	// As if it had gone on for as long as it may: the second of its three rounds is one too many.
	name, _ := tsig.NameFromText(p.name)
	h := r.table.takeHalfOpen(name)
	h.rounds = maxRounds - 1
	r.table.keepHalfOpen(h)
	response, sign := r.negotiate(tkeyMessage(p.name, p.algorithm, modeGSS, second), testClient, nil)
	if got := answerOf(t, response).Error; got != dns.RcodeBadKey || sign != nil || response.Rcode != dns.RcodeSuccess {
		t.Errorf("rcode %d, TKEY error %d, signed %t", response.Rcode, got, sign != nil)
	}
	if live, halfOpen := r.table.Len(); live+halfOpen != 0 {
		t.Errorf("%d contexts and %d unfinished ones stay behind", live, halfOpen)
	}
}

// The key keeps the name that the client gave it.
func TestNameOfTheKey(t *testing.T) {
	standard.Requires(t, "RFC 3645", "4.1.3 fields")
	standard.Deviates(t, "RFC 2930", "2.1 suffix", "The key has the name of the query: RFC 3645 section 4.1.3 has the server return it, and "+
		"clients insist on it.")
	standard.Deviates(t, "RFC 2930", "2.1 name in replies", "Only to a client that names the root, the server gives a name. Others give "+
		"their own, as RFC 3645 has it, and a name that is in use is BADNAME.")
	r := newRealm(t, nil)
	p := r.newPeer("789.client.example.net.", login{})
	response, _ := p.run()
	if got := answerOf(t, response).Hdr.Name; got != p.name {
		t.Errorf("the key is called %s", got)
	}
}

// A key is no witness for the query that it comes from: a name that only the query's own token would give is unknown.
func TestQuerySignedByItsOwnKey(t *testing.T) {
	standard.Requires(t, "RFC 2930", "3 not by itself")
	r := newRealm(t, nil)
	p := r.newPeer("k.example.test.", login{notMutual: true})
	m := tkeyMessage(p.name, p.algorithm, modeGSS, p.first()) // the client has the key already
	wire, _ := p.sign(m)
	if _, err := NewAuthenticator(nil, r.server).Authenticate(wire); kindOf(err) != BadKey {
		t.Errorf("%v", err)
	}
}
