package tsig

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

var secret = []byte("a secret that both sides know")

func sign(message []byte) ([]byte, error) {
	h := hmac.New(sha256.New, secret)
	h.Write(message)
	return h.Sum(nil), nil
}

var now = uint64(1767225600)

func fields(t testing.TB) Fields {
	t.Helper()
	name, ok := NameFromText("Key.Example.test.")
	algorithm, also := NameFromText(dns.HmacSHA256)
	if !ok || !also {
		t.Fatal("the names are no names")
	}
	return Fields{Name: name, Algorithm: algorithm, TimeSigned: now, Fudge: DefaultFudge}
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// A request that ClientTransaction signs verifies by miekg's code, and so do
// the messages of the answer that ServerTransaction signs. The client's side
// agrees on what each MAC covers.
func TestTransactions(t *testing.T) {
	standard.Requires(t, "RFC 8945", "4.3.1 request MAC", "4.3.2 message", "4.3.3 variables", "5.3.1 chain")
	query := new(dns.Msg).SetAxfr("example.test.")
	var client ClientTransaction
	wire, err := client.SignRequest(packed(t, query), fields(t), sign)
	if err != nil {
		t.Fatal(err)
	}
	if err := dns.TsigVerify(bytes.Clone(wire), base64.StdEncoding.EncodeToString(secret), "", false); err != nil && !errors.Is(err, dns.ErrTime) {
		t.Errorf("miekg on the request: %v", err)
	}
	var record Record
	request, err := Parse(wire, &record)
	if err != nil || !request.Signed() || record.Name.String() != "key.example.test." || record.TimeSigned != now ||
		request.QuestionType() != dns.TypeAXFR || request.HasOPT {
		t.Fatalf("%v: %+v", err, record)
	}
	var server ServerTransaction
	server.Begin(record.MAC)
	prior := hex.EncodeToString(record.MAC)
	for i := range 6 {
		answer := new(dns.Msg).SetReply(query)
		answer.Answer = []dns.RR{&dns.NULL{Hdr: dns.RR_Header{Name: "example.test.", Rrtype: dns.TypeNULL, Class: dns.ClassINET}, Data: string(rune('a' + i))}}
		digest := Buffer()
		*digest = server.AppendPrior(*digest)
		start := len(*digest)
		*digest = append(*digest, packed(t, answer)...)
		signed, err := server.Sign(digest, start, fields(t), sign)
		Release(digest)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(signed, &record)
		if err != nil || !m.Signed() {
			t.Fatal(err)
		}
		want, _ := sign(client.AppendDigest(nil, &m, &record))
		if !hmac.Equal(want, record.MAC) {
			t.Fatalf("message %d: the sides differ", i)
		}
		if err := dns.TsigVerify(bytes.Clone(signed), base64.StdEncoding.EncodeToString(secret), prior, client.Verified() > 0); err != nil && !errors.Is(err, dns.ErrTime) {
			t.Errorf("miekg on message %d: %v", i, err)
		}
		prior = hex.EncodeToString(record.MAC)
		client.Accept(&record)
	}
}

func TestUnsignedMessages(t *testing.T) {
	standard.Requires(t, "RFC 8945", "5.3.1 unsigned between")
	var client ClientTransaction
	for range maxUnsigned {
		if err := client.Skip(make([]byte, HeaderSize)); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Skip(make([]byte, HeaderSize)); !errors.Is(err, ErrUnsignedRun) {
		t.Errorf("got %v", err)
	}
}

func TestNoRoom(t *testing.T) {
	full := make([]byte, dns.MaxMsgSize-10)
	many := make([]byte, HeaderSize)
	many[10], many[11] = 0xFF, 0xFF
	for name, message := range map[string][]byte{"octets": full, "records": many, "header": make([]byte, HeaderSize-1)} {
		if _, err := new(ClientTransaction).SignRequest(message, fields(t), sign); err == nil {
			t.Errorf("%s: a request was signed", name)
		}
	}
	digest := Buffer()
	defer Release(digest)
	*digest = append(*digest, full...)
	if _, err := new(ServerTransaction).Sign(digest, 0, fields(t), sign); err == nil {
		t.Error("an answer was signed")
	}
	refused := errors.New("no key")
	if _, err := new(ServerTransaction).Sign(digest, 0, fields(t), func([]byte) ([]byte, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}

func TestParseFailures(t *testing.T) {
	query := new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA)
	signed, err := new(ClientTransaction).SignRequest(packed(t, query), fields(t), sign)
	if err != nil {
		t.Fatal(err)
	}
	record := signed[len(packed(t, query)):]
	class := bytes.Clone(signed)
	class[len(packed(t, query))+18+3] = dns.ClassINET
	field := bytes.Clone(signed)
	field[len(field)-1]++ // more other data than there is
	twice := append(bytes.Clone(signed), record...)
	twice[11] = 2
	withOPT := append(bytes.Clone(signed), packed(t, new(dns.Msg).SetEdns0(1232, false))[HeaderSize:]...)
	withOPT[11] = 2
	for name, test := range map[string]struct {
		wire []byte
		want error
		opt  bool
	}{
		"header":   {signed[:HeaderSize-1], ErrHeader, false},
		"records":  {signed[:len(signed)-1], ErrRecords, false},
		"trailing": {append(bytes.Clone(signed), 0), ErrTrailing, false},
		"class":    {class, ErrRecordClass, false},
		"fields":   {field, ErrRecordFields, false},
		"twice":    {twice, ErrRecordPlace, false},
		"OPT":      {withOPT, ErrRecordPlace, true},
	} {
		m, err := Parse(test.wire, new(Record))
		if !errors.Is(err, test.want) || m.Signed() || m.HasOPT != test.opt || m.Record(new(Record)) {
			t.Errorf("%s: %v, signed %t, OPT %t", name, err, m.Signed(), m.HasOPT)
		}
		if name != "header" && m.QuestionType() != dns.TypeSOA {
			t.Errorf("%s: the question is lost", name)
		}
	}
}

// FuzzParse compares with miekg's parser. What Parse takes has its TSIG record
// where miekg sees it, with the same content, and none elsewhere.
func FuzzParse(f *testing.F) {
	query := new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA).SetEdns0(1232, false)
	f.Add(packed(f, query))
	signed, err := new(ClientTransaction).SignRequest(packed(f, query), fields(f), sign)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Fuzz(func(t *testing.T, wire []byte) {
		var record, again Record
		m, err := Parse(wire, &record)
		if m.Record(&again) != m.Signed() || m.Signed() && (again.Name != record.Name || again.Algorithm != record.Algorithm) || err != nil && m.Signed() {
			t.Fatalf("signed %t, %v", m.Signed(), err)
		}
		if len(m.Question()) > len(wire) {
			t.Fatal("a question that is longer than the message")
		}
		parsed := new(dns.Msg)
		if err != nil || parsed.Unpack(wire) != nil {
			return
		}
		opt, count := false, 0
		for _, section := range [][]dns.RR{parsed.Answer, parsed.Ns, parsed.Extra} {
			for _, rr := range section {
				opt = opt || rr.Header().Rrtype == dns.TypeOPT
				if rr.Header().Rrtype == dns.TypeTSIG {
					count++
				}
			}
		}
		if opt != m.HasOPT || count > 1 || (count == 1) != m.Signed() || m.Signed() != (parsed.IsTsig() != nil) {
			t.Fatalf("OPT %t, signed %t; miekg: OPT %t, %d TSIG records", m.HasOPT, m.Signed(), opt, count)
		}
		if q := m.QuestionType(); q != 0 && parsed.Question[0].Qtype != q {
			t.Errorf("question of type %d; miekg: %v", q, parsed.Question[0])
		}
		if !m.Signed() {
			return
		}
		theirs := parsed.IsTsig()
		if dns.CanonicalName(theirs.Hdr.Name) != record.Name.String() || theirs.MAC != hex.EncodeToString(record.MAC) || theirs.TimeSigned != record.TimeSigned ||
			theirs.Fudge != record.Fudge || theirs.OrigId != record.OriginalID || theirs.Error != record.Error || theirs.OtherData != hex.EncodeToString(record.Other) {
			t.Errorf("%+v; miekg: %v", record, theirs)
		}
	})
}
